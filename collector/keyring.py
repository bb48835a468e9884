"""The secrets of an instance: made on first start, kept in one file or given by the environment, shared by all hosts.

Format: JSON, mode 0600. `TAGSTITCH_SECRETS` may hold the same JSON instead of a file. A list of keys is newest first:
the first one signs, all of them verify, so that a rotation has a grace period. Every purpose has a key of its own.
Nothing here is ever logged or passed to the engine; the engine gets digests of its credentials. Keys are put in and
taken out by `key_changes`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import uuid
from collections.abc import Mapping
from pathlib import Path

import msgspec

from collector.errors import KeyringError

FORMAT = 1
ENVIRONMENT_NAME = "TAGSTITCH_SECRETS"
FIRST_PERSONAL_ID = "0"
"""Id of the personal key of secrets that name none: it follows from `pseudonym_key`, and so is gone only with that."""


class Key(msgspec.Struct, frozen=True):
    """One secret with the short id that tokens carry."""

    id: str
    secret: str


class LinkKey(Key, frozen=True):
    """A key of tagged links. `made_at_ms`: when it was made; `until_ms`: until when what it has signed still ties a
    visitor, 0 where no end is set. Milliseconds since 1970. `waits`: it verifies, and signs nothing yet."""

    made_at_ms: int = 0
    until_ms: int = 0
    waits: bool = False


class PersonalKey(Key, frozen=True):
    """A key of personal identifiers. `made_at_ms`: when it came into force, milliseconds since 1970."""

    made_at_ms: int = 0


class Credential(msgspec.Struct, frozen=True):
    """A name and password for the store."""

    user: str
    password: str


class Keyring(msgspec.Struct, frozen=True):
    """All secrets of an instance."""

    format: int
    instance_id: str
    cookie_keys: list[Key]  # the visitor cookie
    link_keys: list[LinkKey]  # tagged links
    identify_key: str  # the sites' signing secrets are derived from it
    pseudonym_key: str  # own person ids; changing it changes every person
    digest_key: str  # digests of rejected bodies, hashes of API keys
    operator_key: str  # /metrics and the live page from elsewhere
    writer: Credential
    reader: Credential
    analyst: Credential
    personal_keys: list[PersonalKey] = []  # pseudonyms of personal identifiers, and the vault; see `identity.rotation`

    def __post_init__(self) -> None:
        """Give secrets of the first version their personal key, the same on every host."""
        if not self.personal_keys:
            secret = hmac.new(self.pseudonym_key.encode(), b"personal", hashlib.sha256).hexdigest()
            msgspec.structs.force_setattr(self, "personal_keys", [PersonalKey(id=FIRST_PERSONAL_ID, secret=secret)])

    def derive_identify_secret(self, site_id: str, version: int) -> str:
        """Return the secret with which the site signs identifies: 64 hexadecimal digits."""
        text = f"identify|{site_id}|{version}".encode()
        return hmac.new(self.identify_key.encode(), text, hashlib.sha256).hexdigest()


def make_keyring() -> Keyring:
    """Make fresh secrets, 256 bits each."""

    def key() -> Key:
        return Key(id=secrets.token_hex(2), secret=secrets.token_hex(32))

    def credential(user: str) -> Credential:
        return Credential(user=user, password=secrets.token_urlsafe(24))

    return Keyring(
        format=FORMAT,
        instance_id=str(uuid.uuid4()),
        cookie_keys=[key()],
        link_keys=[make_link_key()],
        identify_key=secrets.token_hex(32),
        pseudonym_key=secrets.token_hex(32),
        digest_key=secrets.token_hex(32),
        operator_key=secrets.token_urlsafe(24),
        writer=credential("writer"),
        reader=credential("reader"),
        analyst=credential("analyst"),
        personal_keys=[make_personal_key()],
    )


def make_link_key(now_ms: int = 0) -> LinkKey:
    """Make a fresh key of tagged links."""
    return LinkKey(id=secrets.token_hex(2), secret=secrets.token_hex(32), made_at_ms=now_ms)


def make_personal_key(now_ms: int = 0) -> PersonalKey:
    """Make a fresh key of personal identifiers."""
    return PersonalKey(id=secrets.token_hex(4), secret=secrets.token_hex(32), made_at_ms=now_ms)


def read_keyring(path: Path, environ: Mapping[str, str] | None = None) -> Keyring:
    """Read the secrets from the environment, else from the file.

    Raises KeyringError where there are none, they are readable for others, or of an unknown format.
    """
    environ = os.environ if environ is None else environ
    text = environ.get(ENVIRONMENT_NAME, "")
    source = ENVIRONMENT_NAME if text else str(path)
    if not text:
        try:
            if path.stat().st_mode & 0o077:
                raise KeyringError(f"secrets {path} can be read by others: chmod 600 it")
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise KeyringError(
                f"no secrets at {path}: start the instance once with `tagstitch run`, or name the folder with --data"
            ) from error
        except OSError as error:
            raise KeyringError(f"secrets {path} cannot be read: {error.strerror}") from error
    try:
        keyring = msgspec.json.decode(text, type=Keyring)
    except msgspec.MsgspecError as error:
        raise KeyringError(f"secrets in {source} are damaged or of another version: restore them") from error
    if keyring.format != FORMAT:
        raise KeyringError(f"secrets in {source} have format {keyring.format}, this version knows {FORMAT}: update")
    return keyring


def open_keyring(path: Path, environ: Mapping[str, str] | None = None) -> Keyring:
    """Read the secrets, or make them where there are none yet. Atomic: two starters end with the same secrets."""
    environ = os.environ if environ is None else environ
    if not environ.get(ENVIRONMENT_NAME) and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(make_keyring()), indent=2))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails where another starter was faster
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return read_keyring(path, environ)
