"""Where the store is and as whom: addresses for the three roles, and the DSNs that analysts put into their tools.

Embedded: the engine's host and port with the credentials of the secrets file. A server: `dsn` names the writer;
reader and analyst go to the same server with their own credentials (`tagstitch migrate --grants` makes them there).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from collector.config import Config
from collector.errors import ConfigError
from collector.keyring import Keyring

Role = Literal["writer", "reader", "analyst"]
ANALYTICS_DATABASE = "analytics"


@dataclass(frozen=True, slots=True)
class Address:
    """A server, a credential and a database. The password never shows in `repr`."""

    scheme: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str

    @property
    def dsn(self) -> str:
        """The address as a URL, password included: for the terminal of who may see it, never for a log."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            f"{self.scheme}://{quote(self.user, safe='')}:{quote(self.password, safe='')}"
            f"@{host}:{self.port}/{quote(self.database, safe='')}"
        )


def read_dsn(dsn: str, database: str) -> Address:
    """Read `http(s)://user:password@host:port/database`; without a path, `database` is meant.

    Raises ConfigError, whose text never holds the DSN itself.
    """

    def refuse(reason: str) -> ConfigError:
        return ConfigError("dsn", "configuration", f"{reason}; it looks like https://user:password@host:8443/tagstitch")

    try:
        parts = urlsplit(dsn)
        port = parts.port
    except ValueError as error:
        raise refuse("is no address") from error
    if parts.scheme not in ("http", "https"):
        raise refuse("must begin with http:// or https://, ClickHouse's HTTP interface")
    if not parts.hostname:
        raise refuse("names no host")
    return Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or (8443 if parts.scheme == "https" else 8123),
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.strip("/")) or database,
    )


def find_address(config: Config, keyring: Keyring, role: Role) -> Address:
    """Return where `role` reaches the store. The analyst's own database is `analytics`."""
    if config.is_embedded:
        server = Address("http", config.engine_host, config.engine_port, "", "", config.database)
    else:
        server = read_dsn(config.dsn, config.database)
        if role == "writer":
            return server
    credential = {"writer": keyring.writer, "reader": keyring.reader, "analyst": keyring.analyst}[role]
    return Address(
        scheme=server.scheme,
        host=server.host,
        port=server.port,
        user=credential.user,
        password=credential.password,
        database=ANALYTICS_DATABASE if role == "analyst" else server.database,
    )
