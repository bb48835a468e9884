"""Connections to a database: where it is and as whom, over which TLS, for reading alone and for so long alone.

PostgreSQL by psycopg, MySQL and MariaDB by PyMySQL, SQLite by Python's own. Every connection reads only, and ends a
statement that takes too long by the database's own means; what hangs for all that is cut off from our side.
"""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import sqlite3
import ssl
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from collector.adapters.configuration import SqlSettings
from collector.adapters.contract import Wrong
from collector.adapters.rest_settings import read_secret
from collector.errors import AdapterError, AdapterReason

if TYPE_CHECKING:
    import sqlalchemy as sa

DIALECTS = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
}
DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "sqlite": "sqlite3"}
LOOKS_LIKE = "it looks like postgresql://user@host:5432/database, mysql://…, or sqlite:///path"
RECYCLE_S = 1_800
CHECK_STEPS = 10_000
"""Of SQLite's machine: after so many it looks at the clock."""

# Loaded as text: a date may be infinite, which Python's cannot, and one such value must not cost the record.
_AS_TEXT = ("date", "timestamp", "timestamptz", "time", "timetz", "interval")

_POSTGRESQL_REASONS = {
    "28": AdapterReason.REFUSED,
    "42501": AdapterReason.REFUSED,
    "3D": AdapterReason.CONFIG,
    "42": AdapterReason.CONFIG,
    "25006": AdapterReason.CONFIG,
    "57014": AdapterReason.TIMEOUT,
    "55P03": AdapterReason.TIMEOUT,
    "22": AdapterReason.BAD_ANSWER,
}
_MYSQL_REASONS = {
    **dict.fromkeys((1044, 1045, 1142, 1143, 1227, 1370, 1698), AdapterReason.REFUSED),
    **dict.fromkeys((1049, 1054, 1064, 1146, 1792), AdapterReason.CONFIG),
    **dict.fromkeys((1205, 1969, 3024), AdapterReason.TIMEOUT),
    **dict.fromkeys((1264, 1292, 1366), AdapterReason.BAD_ANSWER),
}
_HINTS = {
    AdapterReason.REFUSED: "check its user, `password_env`, and whether it may read what `table` or `query` names",
    AdapterReason.CONFIG: "check `table`, `query`, `key` and `map` against the database",
    AdapterReason.TIMEOUT: "it took too long: is there an index on the column of the key?",
    AdapterReason.UNREACHABLE: "is it running, and are host, port and `tls` right?",
    AdapterReason.BAD_ANSWER: "a value is not of its column's kind",
}


class Database(NamedTuple):
    """Where a database is and how it is connected to. `arguments` hold the password: for the driver alone."""

    dialect: str
    arguments: Mapping[str, Any]


def check_installed(dialect: str) -> None:
    """Raise Wrong where what this database needs is not installed."""
    if any(find_spec(name) is None for name in ("sqlalchemy", DRIVERS[dialect])):
        raise Wrong("kind", "what it needs is not installed: pip install 'tagstitch[adapters]'")


def read_database(settings: SqlSettings, folder: Path, environ: Mapping[str, str]) -> Database:
    """Read where the database is. `folder`: where relative paths begin. Raises Wrong, never with URL or secret."""
    setting = "url_env" if settings.url_env else "url"
    url = read_secret("url_env", settings.url_env, environ) if settings.url_env else settings.url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Wrong(setting, f"it is no address; {LOOKS_LIKE}") from None
    if parts.scheme not in DIALECTS:
        raise Wrong(setting, f"it names no database that is known; {LOOKS_LIKE}")
    if parts.query or parts.fragment:
        raise Wrong(setting, "it must end with the database: parameters have settings here, such as `tls` and `socket`")
    if parts.password is not None and setting == "url":
        raise Wrong(setting, "a password has no place in this file: name its variable with `password_env`")
    dialect = DIALECTS[parts.scheme]
    check_installed(dialect)
    if dialect == "sqlite":
        return _read_sqlite(settings, parts, setting, folder)
    if not parts.hostname and not settings.socket:
        raise Wrong(setting, f"it names no host; {LOOKS_LIKE}")
    password = unquote(parts.password or "")
    if settings.password_env:
        password = read_secret("password_env", settings.password_env, environ)
    user, name = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
    if not user or not name:
        raise Wrong(setting, f"it names no {'database' if user else 'user'}; {LOOKS_LIKE}")
    tls = settings.tls or ("off" if settings.socket or _is_here(parts.hostname or "") else "verify")
    ca_file = _find_ca(settings, folder)
    arguments: dict[str, Any] = {"user": user, "password": password}
    if dialect == "postgresql":
        mode = {"verify": "verify-full", "require": "require", "off": "disable"}[tls]
        arguments |= {"dbname": name, "host": settings.socket or parts.hostname, "port": port or 5432, "sslmode": mode}
        if tls == "verify":
            arguments["sslrootcert"] = ca_file or "system"
    else:
        arguments |= {"database": name, "host": parts.hostname or "localhost", "port": port or 3306}
        if settings.socket:
            arguments["unix_socket"] = settings.socket
        arguments |= {"ssl_disabled": True} if tls == "off" else {"ssl": _make_context(tls, ca_file)}
    return Database(dialect, arguments)


def make_engine(database: Database, connections: int, timeout_s: float, *, is_scan: bool = False) -> sa.Engine:
    """Return an engine; it connects when it is first used. `timeout_s`: the longest that connecting, and one
    statement, may take. `is_scan`: its connections are not kept."""
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool, QueuePool

    connect = {"postgresql": _connect_postgresql, "mysql": _connect_mysql, "sqlite": _connect_sqlite}[database.dialect]
    url = {"postgresql": "postgresql+psycopg://", "mysql": "mysql+pymysql://", "sqlite": "sqlite://"}[database.dialect]
    pool: dict[str, Any] = {"poolclass": NullPool}
    if not is_scan:
        pool = {"poolclass": QueuePool, "pool_size": connections, "max_overflow": 0, "pool_use_lifo": True}
        pool |= {"pool_recycle": RECYCLE_S, "pool_timeout": timeout_s}
    arguments = database.arguments
    return sa.create_engine(url, creator=lambda: connect(arguments, timeout_s), hide_parameters=True, **pool)


def limit_statement(connection: Any, timeout_s: float) -> None:
    """Bound what follows on SQLite, which has no timeout of its own; the others are bounded as they connect."""
    if isinstance(connection, sqlite3.Connection):
        ends_s = time.monotonic() + timeout_s
        connection.set_progress_handler(lambda: int(time.monotonic() > ends_s), CHECK_STEPS)


def break_off(connection: Any) -> None:
    """End what a driver's connection does, from another thread: it fails there at once."""
    if isinstance(connection, sqlite3.Connection):
        connection.interrupt()
        return
    try:
        descriptor = connection.fileno() if hasattr(connection, "fileno") else connection._sock.fileno()
        with socket.socket(fileno=os.dup(descriptor)) as shared:
            shared.shutdown(socket.SHUT_RDWR)
    except Exception:  # noqa: S110  it may be closed by now, in as many ways as there are drivers
        pass


def explain(error: Exception, dialect: str) -> AdapterError:
    """Return what went wrong, by the database's own code and without its words, which quote values."""
    import sqlalchemy.exc

    origin = getattr(error, "orig", None) or error
    if not isinstance(error, sqlalchemy.exc.SQLAlchemyError | OSError):
        return AdapterError(
            AdapterReason.BAD_ANSWER, f"what the database gives cannot be read ({type(error).__name__})"
        )
    code: object = ""
    reason = AdapterReason.UNREACHABLE
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        reason = AdapterReason.TIMEOUT
    elif dialect == "postgresql":
        code = getattr(origin, "sqlstate", None) or ""
        reason = _find_postgresql(str(code), origin)
    elif dialect == "mysql":
        code = origin.args[0] if origin.args and isinstance(origin.args[0], int) else ""
        reason = _MYSQL_REASONS.get(code, reason) if isinstance(code, int) else reason
        if code == 2013 and "timed out" in str(origin):
            reason = AdapterReason.TIMEOUT
    else:
        code = getattr(origin, "sqlite_errorname", "")
        reason = _find_sqlite(str(code))
    if reason is AdapterReason.UNREACHABLE and isinstance(
        error, sqlalchemy.exc.DataError | sqlalchemy.exc.NotSupportedError
    ):
        reason = AdapterReason.BAD_ANSWER
    said = f" ({code})" if code else f" ({type(origin).__name__})"
    return AdapterError(reason, f"the database gives no answer{said}: {_HINTS[reason]}")


def _find_postgresql(code: str, origin: BaseException) -> AdapterReason:
    for length in (5, 2):
        if code[:length] in _POSTGRESQL_REASONS:
            return _POSTGRESQL_REASONS[code[:length]]
    if not code and "timeout" in type(origin).__name__.lower():
        return AdapterReason.TIMEOUT
    # A connection that was refused has no code, only words.
    said = str(origin)
    if not code and any(
        word in said for word in ("authentication failed", "no pg_hba.conf entry", "no password supplied")
    ):
        return AdapterReason.REFUSED
    if not code and 'FATAL:  role "' in said:
        return AdapterReason.REFUSED
    if not code and 'FATAL:  database "' in said:
        return AdapterReason.CONFIG
    return AdapterReason.UNREACHABLE


def _find_sqlite(code: str) -> AdapterReason:
    if code in ("SQLITE_ERROR", "SQLITE_READONLY"):
        return AdapterReason.CONFIG
    if code in ("SQLITE_INTERRUPT", "SQLITE_BUSY", "SQLITE_LOCKED"):
        return AdapterReason.TIMEOUT
    return AdapterReason.BAD_ANSWER if code in ("SQLITE_NOTADB", "SQLITE_CORRUPT") else AdapterReason.UNREACHABLE


def _connect_postgresql(arguments: Mapping[str, Any], timeout_s: float) -> Any:
    import psycopg
    from psycopg.types.string import TextLoader

    class Cursor(psycopg.ServerCursor[Any]):
        """One that goes with its connection, without a warning that nobody closed it."""

        def __del__(self, *_: Any) -> None:
            pass

    milliseconds = max(1, round(timeout_s * 1_000))
    connection = psycopg.connect(
        **arguments,
        connect_timeout=max(2, math.ceil(timeout_s)),
        application_name="tagstitch",
        client_encoding="utf8",
        tcp_user_timeout=milliseconds,
        keepalives_idle=30,
        prepare_threshold=None,  # a pooler in between may hand the next statement to another server process
    )
    try:
        for name in _AS_TEXT:
            connection.adapters.register_loader(name, TextLoader)
        connection.execute(
            "SELECT set_config('statement_timeout', %s, false), set_config('timezone', 'UTC', false),"
            " set_config('lock_timeout', %s, false), set_config('datestyle', 'ISO', false),"
            " set_config('idle_in_transaction_session_timeout', '600000', false)",
            (str(milliseconds), str(milliseconds)),
        )
        connection.commit()
        connection.read_only = True
        connection.server_cursor_factory = Cursor
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_mysql(arguments: Mapping[str, Any], timeout_s: float) -> Any:
    import pymysql

    # The server's own timeout comes first; the socket's is for a server that says nothing any more.
    wait_s = math.ceil(timeout_s) + 1
    connection = pymysql.connect(
        **arguments,
        connect_timeout=max(2, math.ceil(timeout_s)),
        read_timeout=wait_s,
        write_timeout=wait_s,
        charset="utf8mb4",
        program_name="tagstitch",
    )
    try:
        with connection.cursor() as cursor:
            if "mariadb" in str(connection.get_server_info()).lower():
                cursor.execute("SET SESSION max_statement_time = %s", (timeout_s,))
            else:
                cursor.execute("SET SESSION max_execution_time = %s", (max(1, round(timeout_s * 1_000)),))
            cursor.execute("SET SESSION time_zone = '+00:00'")
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_sqlite(arguments: Mapping[str, Any], timeout_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(arguments["uri"], uri=True, check_same_thread=False, timeout=timeout_s)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _read_sqlite(settings: SqlSettings, parts: SplitResult, setting: str, folder: Path) -> Database:
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path:
        raise Wrong(setting, "it looks like sqlite:///path, relative to this file, or sqlite:////path from the root")
    if settings.password_env or settings.socket or settings.tls or settings.ca_file:
        raise Wrong(setting, "SQLite is a file: it has no password, socket or TLS")
    return Database("sqlite", {"uri": f"{(folder / path).absolute().as_uri()}?mode=ro"})


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _find_ca(settings: SqlSettings, folder: Path) -> str:
    path = str(folder / settings.ca_file) if settings.ca_file else ""
    if path and not Path(path).is_file():
        raise Wrong("ca_file", "there is no such file")
    return path


def _make_context(tls: str, ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError):
        raise Wrong("ca_file", "it holds no certificates that can be read: it must be PEM") from None
    if tls == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
