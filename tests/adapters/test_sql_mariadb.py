"""The SQL adapter with a real MariaDB."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from collector.adapters.contract import Record
from collector.adapters.sql import SqlAdapter
from collector.errors import AdapterError, AdapterReason
from tests.adapters.certificates import make_authority
from tests.adapters.databases import Server, running_mariadb
from tests.adapters.sql_stories import (
    ALL,
    FIELDS,
    LONG_S,
    NAME,
    SqlStories,
    ask,
    make_adapter,
    make_tables,
    refuse,
    use,
)

pytestmark = pytest.mark.slow
TYPES = {
    "text": "VARCHAR(99)",
    "time": "DATETIME",
    "json": "JSON",
    "moment": "'2026-01-02 03:04:05'",
    "many": "INSERT INTO many SELECT concat('k', seq), concat('Customer ', seq) FROM seq_1_to_25000",
}
SESSIONS = "SELECT id FROM information_schema.processlist WHERE user = 'reader'"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_mariadb() as server:
        make_tables(server, TYPES, '`A b"%s:x`', "`")
        server.execute(
            "CREATE TABLE odd (number VARCHAR(9), name VARCHAR(9), since DATE, vip BIT(1), points VARBINARY(9))",
            "SET SESSION sql_mode = ''",
            "INSERT INTO odd VALUES ('4711', 'Ada', '0000-00-00', b'1', x'ff')",
            "CREATE TABLE secret (number VARCHAR(9), name VARCHAR(9))",
            "CREATE TABLE growing (number VARCHAR(9))",
            *(f"GRANT SELECT ON shop.{name} TO reader@'127.0.0.1'" for name in ("customers", "`order`", "many", "odd")),
            "GRANT SELECT ON shop.growing TO reader@'127.0.0.1'",
        )
        yield server


class TestStories(SqlStories):
    """With MariaDB. It does not tell who may not read a table whether there is one; and of a name with a backtick,
    SQLAlchemy cannot read what MariaDB says of it."""

    no_such_table = AdapterReason.REFUSED
    odd_name = 'A b"%s:x'

    def count_connections(self, server: Server) -> int:
        return count(server)

    def owner(self, server: Server) -> dict[str, Any]:
        return {"url": server.url.replace("reader", "owner")}

    def writing_queries(self) -> list[str]:
        return ["SELECT number, name FROM customers WHERE number = :key FOR UPDATE"]

    def slowly(self) -> str:
        return "SLEEP(60) = 0"


def count(server: Server) -> int:
    """Count the connections of the reader, once those that were closed have ended."""
    for _ in range(200):
        found = server.execute(SESSIONS)
        if not found:
            break
        time.sleep(0.02)
    return len(found)


def end_sessions(server: Server) -> None:
    """End the connections of the reader; one that has ended meanwhile is no fault."""
    for session in server.execute(SESSIONS):
        with contextlib.suppress(pymysql.OperationalError):
            server.execute(f"KILL {session[0]}")


def test_values_that_python_has_not(server: Server) -> None:
    """Days that are none and bytes that are no text cost their fields alone; one bit is a truth value."""
    fields = tuple(field for field in FIELDS if field.name in ("name", "points", "vip", "since"))
    (record,) = ask(make_adapter(server, table="odd", fields=fields), "4711")
    assert record is not None and record.values == {"name": "Ada", "vip": True}
    assert record.unfit == {"since", "points"}


def test_who_is_refused(server: Server) -> None:
    """By password, by rights, and where nothing listens."""
    error = refuse(make_adapter(server, password_env=""))
    assert error.reason is AdapterReason.REFUSED and "password_env" in str(error)
    error = refuse(make_adapter(server, query="SELECT number, name FROM secret WHERE number = :key", fields=NAME))
    assert error.reason is AdapterReason.REFUSED
    assert refuse(make_adapter(server, table="secret")).reason in (AdapterReason.REFUSED, AdapterReason.CONFIG)
    error = refuse(make_adapter(dataclasses.replace(server, port=1)))
    assert error.reason is AdapterReason.UNREACHABLE


def test_tls(server: Server, tmp_path: Path) -> None:
    """Verified against who is trusted; encrypted alone; by default not on this machine."""
    ours, others = str(server.folder / "authority.pem"), str(make_authority(tmp_path).path)
    seen = (
        "SELECT :key AS number, variable_value AS name FROM information_schema.session_status"
        " WHERE variable_name = 'Ssl_version'"
    )

    def find_version(**said: Any) -> str:
        (record,) = ask(make_adapter(server, fields=NAME, query=seen, **said), "1")
        assert record is not None
        return str(record.values["name"])

    assert find_version(tls="verify", ca_file=ours).startswith("TLS")
    assert find_version(tls="require").startswith("TLS")
    assert find_version() == ""
    for said in ({"tls": "verify", "ca_file": others}, {"tls": "verify"}):
        assert refuse(make_adapter(server, **said)).reason is AdapterReason.UNREACHABLE


def test_a_connection_that_was_ended(server: Server) -> None:
    """It costs one answer, and no more."""

    async def story(adapter: SqlAdapter) -> Record | None:
        await adapter.retrieve("4711", ALL, LONG_S)
        end_sessions(server)
        with pytest.raises(AdapterError) as caught:
            await adapter.retrieve("4711", ALL, LONG_S)
        assert caught.value.reason is AdapterReason.UNREACHABLE
        return await adapter.retrieve("4711", ALL, LONG_S)

    assert use(make_adapter(server, connections=1), story) is not None


def test_a_server_that_says_nothing_any_more(server: Server) -> None:
    """Who gives up has their thread back; and the next one is answered when it speaks again."""

    async def story(adapter: SqlAdapter) -> Record | None:
        await adapter.retrieve("4711", ALL, LONG_S)
        server.freeze(server.process.pid)
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await adapter.retrieve("4711", ALL, LONG_S)
        finally:
            server.thaw(server.process.pid)
        return await adapter.retrieve("4711", ALL, LONG_S)

    assert use(make_adapter(server, connections=1), story) is not None


def test_a_scan_that_is_given_up_while_it_waits(server: Server) -> None:
    """It ends at once."""
    slow = "SELECT 'k' AS number, SLEEP(60) AS name"
    adapter = make_adapter(server, fields=NAME, query="SELECT :key AS number, '' AS name", scan_query=slow)

    async def story(adapter: SqlAdapter) -> None:
        async def scan() -> None:
            async for _ in adapter.scan():
                pass

        scanning = asyncio.ensure_future(scan())
        async with asyncio.timeout(LONG_S):
            while not server.execute(f"{SESSIONS} AND state = 'User sleep'"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        scanning.cancel()
        await asyncio.wait({scanning})
        assert scanning.cancelled()

    use(adapter, story)
    end_sessions(server)  # it does not see who has gone
    assert count(server) == 0


def test_backslashes_end_nothing(server: Server) -> None:
    """The driver writes values into the statement itself: quotes and backslashes in any mode of the server."""
    keys = ["\\", "\\'", "\\' OR 1=1 -- ", "'' OR 1=1 -- ", "4711\\"]
    assert ask(make_adapter(server, fields=NAME), *keys) == [None] * len(keys)
    server.execute("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES'")
    try:
        assert ask(make_adapter(server, fields=NAME), *keys) == [None] * len(keys)
        assert ask(make_adapter(server, fields=NAME), "4711") != [None]
    finally:
        server.execute("SET GLOBAL sql_mode = DEFAULT")
