"""Make what the services of `compose.yaml` share before their first start; a later start changes nothing.

    /secrets/secrets.json       all secrets of the instance, mode 0600
    /secrets/tagstitch.toml     the settings that hold a password: the store's DSN, mode 0600
    /store-users/tagstitch.xml  the collector's user for the ClickHouse server: a digest, no password

Run by the image's own user, with both folders mounted. Nothing is printed but what was done. Damaged secrets are
never replaced: KeyringError says so, and the backup has them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

from collector.keyring import Keyring, open_keyring

# `default` stays, without a password and from inside the server alone: clickhouse-client in the container uses it.
USERS = """<clickhouse>
    <users>
        <default>
            <networks replace="replace">
                <ip>127.0.0.1</ip>
                <ip>::1</ip>
            </networks>
        </default>
        <{user}>
            <password_sha256_hex>{digest}</password_sha256_hex>
            <networks>
                <ip>::/0</ip>
            </networks>
            <profile>default</profile>
            <quota>default</quota>
            <access_management>1</access_management>
        </{user}>
    </users>
</clickhouse>
"""


def render_settings(keyring: Keyring, host: str, port: int, database: str) -> str:
    """Return the settings file. The user is the keyring's writer."""
    writer = keyring.writer
    dsn = f"http://{quote(writer.user, safe='')}:{quote(writer.password, safe='')}@{host}:{port}/{database}"
    return f'dsn = "{dsn}"\ndatabase = "{database}"\n'


def render_users(keyring: Keyring) -> str:
    """Return ClickHouse's users file. The password stands in it as its SHA-256; it has 192 random bits."""
    digest = hashlib.sha256(keyring.writer.password.encode()).hexdigest()
    return USERS.format(user=escape(keyring.writer.user), digest=digest)


def replace_file(path: Path, text: str, mode: int) -> bool:
    """Write the file in one step. Return False where it already says the same."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return True


def main() -> None:
    """Read the folders from the command line and make what is missing."""
    parser = argparse.ArgumentParser(description="Make the secrets that the services of compose.yaml share.")
    parser.add_argument("--secrets", type=Path, default=Path("/secrets"))
    parser.add_argument("--store-users", type=Path, default=Path("/store-users"))
    parser.add_argument("--store-host", default="clickhouse")
    parser.add_argument("--store-port", type=int, default=8123)
    parser.add_argument("--database", default="tagstitch")
    given = parser.parse_args()
    had_secrets = (given.secrets / "secrets.json").exists()
    keyring = open_keyring(given.secrets / "secrets.json")
    settings = render_settings(keyring, given.store_host, given.store_port, given.database)
    changed = replace_file(given.secrets / "tagstitch.toml", settings, 0o600)
    changed |= replace_file(given.store_users / "tagstitch.xml", render_users(keyring), 0o644)
    print("secrets made" if not had_secrets else "settings renewed" if changed else "nothing to do")  # noqa: T201


if __name__ == "__main__":
    main()
