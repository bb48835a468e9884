"""The SQL adapter with a real PostgreSQL."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.adapters.contract import Field, Record
from collector.adapters.sql import SqlAdapter
from collector.errors import AdapterError, AdapterReason
from tests.adapters.certificates import make_authority
from tests.adapters.databases import Server, running_postgresql
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
    "text": "TEXT",
    "time": "TIMESTAMPTZ",
    "json": "JSONB",
    "moment": "'2026-01-02 04:04:05+01'",
    "many": "INSERT INTO many SELECT 'k' || i, 'Customer ' || i FROM generate_series(1, 25000) AS s(i)",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgresql() as server:
        make_tables(server, TYPES, '"A b`""%s:x"', '"')
        server.execute(
            "CREATE SEQUENCE counter",
            "CREATE TABLE odd (number UUID, name TEXT, since DATE, seen TIMESTAMP, rate NUMERIC, tags DATE[])",
            "INSERT INTO odd VALUES ('5a1e3b34-77d1-4f7c-9f0e-2f6d3f4b9c11', 'Ada', 'infinity', '-infinity', 'NaN',"
            " '{2024-02-29}')",
            "CREATE SCHEMA crm",
            "CREATE VIEW crm.people AS SELECT number, name FROM customers",
            "CREATE TABLE padded (number CHAR(8), name TEXT)",
            "INSERT INTO padded VALUES ('4711', 'Ada')",
            "CREATE TABLE secret (number TEXT, name TEXT)",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
            "GRANT USAGE ON SCHEMA crm TO reader",
            "GRANT SELECT ON crm.people TO reader",
            "REVOKE SELECT ON secret FROM reader",
        )
        yield server


class TestStories(SqlStories):
    """With PostgreSQL."""

    def grant(self, server: Server) -> None:
        server.execute("GRANT SELECT ON growing TO reader")

    def count_connections(self, server: Server) -> int:
        return count(server)

    def owner(self, server: Server) -> dict[str, Any]:
        return {"url": server.url.replace("reader", "owner")}

    def writing_queries(self) -> list[str]:
        return [
            "WITH made AS (INSERT INTO customers (id, number, name) VALUES (99, :key, 'Eve') RETURNING number, name)"
            " SELECT * FROM made",
            "SELECT nextval('counter')::text AS number, :key AS name",
        ]

    def slowly(self) -> str:
        return "pg_sleep(60) IS NOT NULL"


def count(server: Server) -> int:
    """Count the connections of the reader, once those that were closed have ended."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'"
    for _ in range(200):
        (found,) = server.execute(sql)
        if found[0] == 0:
            break
        time.sleep(0.02)
    return int(found[0])


def test_values_that_python_has_not(server: Server) -> None:
    """Dates without end and no number cost their fields alone; what a list holds is said as JSON says it."""
    fields = tuple(field for field in FIELDS if field.name not in ("points", "vip"))
    (record,) = ask(make_adapter(server, table="odd", fields=fields), "5a1e3b34-77d1-4f7c-9f0e-2f6d3f4b9c11")
    assert record is not None and record.values == {"name": "Ada", "tags": ["2024-02-29"]}
    assert record.unfit == {"since", "seen", "rate"}


def test_keys_that_are_uuids(server: Server) -> None:
    keys = ["5A1E3B34-77D1-4F7C-9F0E-2F6D3F4B9C11", "5a1e3b3477d14f7c9f0e2f6d3f4b9c11", "x", "4711"]
    assert ask(make_adapter(server, table="odd", fields=NAME), *keys) == [None] * 4
    (found,) = ask(make_adapter(server, table="odd", fields=NAME, ignore_case=False), keys[0].lower())
    assert found is not None


def test_views_in_schemas_and_padded_keys(server: Server) -> None:
    assert ask(make_adapter(server, table="crm.people", fields=NAME), "4711") == [Record("4711", {"name": "Ada 100%"})]
    assert ask(make_adapter(server, table="padded", fields=NAME), "4711", "471") == [
        Record("4711", {"name": "Ada"}),
        None,
    ]


def test_who_is_refused(server: Server) -> None:
    """By password, by rights, and where nothing listens."""
    error = refuse(make_adapter(server, password_env=""))
    assert error.reason is AdapterReason.REFUSED and "password_env" in str(error)
    error = refuse(make_adapter(server, table="secret", fields=NAME))
    assert error.reason is AdapterReason.REFUSED
    error = refuse(make_adapter(server, url=server.url.replace("/shop", "/away")))
    assert error.reason is AdapterReason.CONFIG
    error = refuse(make_adapter(dataclasses.replace(server, port=1)))
    assert error.reason is AdapterReason.UNREACHABLE


def test_tls(server: Server, tmp_path: Path) -> None:
    """Verified against who is trusted; encrypted alone; by default not on this machine."""
    ours, others = str(server.folder / "authority.pem"), str(make_authority(tmp_path).path)
    seen = "SELECT :key AS number, ssl::text AS name FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

    def is_encrypted(**said: Any) -> str:
        (record,) = ask(make_adapter(server, fields=NAME, query=seen, **said), "1")
        assert record is not None
        return str(record.values["name"])

    assert is_encrypted(tls="verify", ca_file=ours) == "true"
    assert is_encrypted(tls="require") == "true"
    assert is_encrypted() == "false"
    for said in ({"tls": "verify", "ca_file": others}, {"tls": "verify"}):
        assert refuse(make_adapter(server, **said)).reason is AdapterReason.UNREACHABLE


def test_a_connection_that_was_ended(server: Server) -> None:
    """It costs one answer, and no more."""

    async def story(adapter: SqlAdapter) -> Record | None:
        await adapter.retrieve("4711", ALL, LONG_S)
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
        with pytest.raises(AdapterError) as caught:
            await adapter.retrieve("4711", ALL, LONG_S)
        assert caught.value.reason is AdapterReason.UNREACHABLE
        return await adapter.retrieve("4711", ALL, LONG_S)

    assert use(make_adapter(server, connections=1), story) is not None


def test_a_server_that_says_nothing_any_more(server: Server) -> None:
    """Who gives up has their thread back, though no timeout of the server's own can come; and the next one is
    answered."""

    async def story(adapter: SqlAdapter) -> Record | None:
        await adapter.retrieve("4711", ALL, LONG_S)
        ((pid,),) = server.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'reader'")
        server.freeze(pid)
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await adapter.retrieve("4711", ALL, LONG_S)
            return await adapter.retrieve("4711", ALL, LONG_S)
        finally:
            server.thaw(pid)

    assert use(make_adapter(server, connections=1), story) is not None


def test_a_scan_that_is_given_up_while_it_waits(server: Server) -> None:
    """It ends at once, and its connection with it."""
    asleep = "SELECT 1 FROM pg_stat_activity WHERE usename = 'reader' AND wait_event = 'PgSleep'"
    slow = "SELECT 'k' AS number, pg_sleep(60)::text AS name"
    adapter = make_adapter(server, fields=NAME, query="SELECT :key AS number, '' AS name", scan_query=slow)

    async def story(adapter: SqlAdapter) -> None:
        async def scan() -> None:
            async for _ in adapter.scan():
                pass

        scanning = asyncio.ensure_future(scan())
        async with asyncio.timeout(LONG_S):
            while not server.execute(asleep):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        scanning.cancel()
        await asyncio.wait({scanning})
        assert scanning.cancelled()

    use(adapter, story)
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
    assert count(server) == 0


def test_many_at_once(server: Server) -> None:
    """No more connections than configured, and each question its own answer."""

    async def story(adapter: SqlAdapter) -> Any:
        keys = ["4711", "4712"] * 50
        found = await asyncio.gather(*(adapter.retrieve(key, frozenset({"name"}), LONG_S) for key in keys))
        (there,) = server.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'")
        assert 1 <= there[0] <= 3
        return [record.values["name"] if record else None for record in found]

    assert use(make_adapter(server, connections=3), story) == ["Ada 100%", "Bob"] * 50


def test_numbers_wider_than_their_column(server: Server) -> None:
    """An INTEGER column is asked for 64 bits: no error, no record."""
    fields = (Field(name="name", type="text"),)
    assert ask(make_adapter(server, key="id", fields=fields), str(2**40), str(-(2**63)), str(2**63)) == [None] * 3
