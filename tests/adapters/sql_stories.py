"""What the SQL adapter does with every database: told once, and run with each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.adapters import sql
from collector.adapters.configuration import SqlSettings
from collector.adapters.contract import Described, Field, Record
from collector.adapters.sql import SqlAdapter
from collector.errors import AdapterError, AdapterReason
from tests.adapters.databases import PASSWORD, Server

FIELDS = (
    Field(name="name", type="text"),
    Field(name="points", type="integer"),
    Field(name="rate", type="number"),
    Field(name="vip", type="boolean"),
    Field(name="since", type="date"),
    Field(name="seen", type="time"),
    Field(name="tags", type="json"),
)
ALL = frozenset(field.name for field in FIELDS)
NAME = (FIELDS[0],)
LONG_S = 30.0
ADA = {
    "name": "Ada 100%",
    "points": 7,
    "rate": 0.25,
    "vip": True,
    "since": "2024-02-29",
    "seen": "2026-01-02T03:04:05Z",
    "tags": {"a": [1, "x"]},
}
HOSTILE = [
    "4711' OR '1'='1",
    '4711" OR "1"="1',
    "4711; DROP TABLE customers",
    "4711\\' OR 1=1 -- ",
    "%",
    "471_",
    "4711\0",
    "\ud800",
    "",
    "4711 /* */",
    "x" * 1_000,
]


def make_adapter(
    server: Server, fields: tuple[Field, ...] = FIELDS, timeout_s: float = LONG_S, **said: Any
) -> SqlAdapter:
    what = {} if "query" in said else {"table": "customers"}
    access = {} if server.dialect == "sqlite" else {"password_env": "DB_PASSWORD"}
    settings = msgspec.convert({"url": server.url, "key": "number", **access, **what, **said}, SqlSettings)
    described = Described("crm", "customer", fields, can_search=bool(settings.search), can_scan=True)
    return SqlAdapter(described, settings, Path("/"), {"DB_PASSWORD": PASSWORD}, timeout_s)


def use(adapter: SqlAdapter, story: Callable[[SqlAdapter], Awaitable[Any]]) -> Any:
    """Tell a story with an adapter, and close it."""

    async def tell() -> Any:
        try:
            return await story(adapter)
        finally:
            await adapter.close()

    return asyncio.run(tell())


def ask(adapter: SqlAdapter, *keys: str) -> list[Record | None]:
    """Ask for some keys, one after another."""

    async def story(adapter: SqlAdapter) -> list[Record | None]:
        return [await adapter.retrieve(key, ALL, LONG_S) for key in keys]

    found: list[Record | None] = use(adapter, story)
    return found


def refuse(adapter: SqlAdapter, key: str = "4711") -> AdapterError:
    """Ask for one key, and be told why not; never with the secret, the key or a value."""
    with pytest.raises(AdapterError) as caught:
        ask(adapter, key)
    assert not any(word in str(caught.value) for word in (PASSWORD, "4711", "Ada"))
    return caught.value


class SqlStories:
    """A subclass has the fixture `server`, with tables as `make_tables` says."""

    no_such_table = AdapterReason.CONFIG
    odd_name = 'A b`"%s:x'

    def test_a_record(self, server: Server) -> None:
        """Each value in the form of its field; what is null is not there; who is not there is none."""
        ada, bob, nobody = ask(make_adapter(server), "4711", "4712", "4713")
        assert ada == Record("4711", ADA)
        assert bob == Record("4712", {"name": "Bob"})
        assert nobody is None

    def test_only_the_fields_that_are_asked_for(self, server: Server) -> None:
        wanted = frozenset({"points", "unknown"})
        record = use(make_adapter(server), lambda adapter: adapter.retrieve("4711", wanted, LONG_S))
        assert record == Record("4711", {"points": 7})

    def test_hostile_keys_find_nobody(self, server: Server) -> None:
        """And nothing has happened."""
        for key_column in ("number", "id"):
            assert ask(make_adapter(server, key=key_column), *HOSTILE) == [None] * len(HOSTILE)
        query = "SELECT * FROM customers WHERE number = :key"
        assert ask(make_adapter(server, query=query), *HOSTILE) == [None] * len(HOSTILE)
        assert ask(make_adapter(server), "4711") != [None]

    def test_a_key_is_what_it_is(self, server: Server) -> None:
        """What a database holds for the same, by collation or by turning text into numbers, is somebody else."""
        others = ask(make_adapter(server, fields=NAME), "KEY", "key", "kéy", "Key ", " Key")
        assert others == [None] * 5
        assert ask(make_adapter(server, fields=NAME), "Key") != [None]
        numbers = ["042", "42.0", "42abc", "+42", "4２", "4_2", "9" * 19, "9" * 30, "-0"]
        assert ask(make_adapter(server, key="id", fields=NAME), *numbers) == [None] * len(numbers)
        (found,) = ask(make_adapter(server, key="id", fields=NAME), "42")
        assert found == Record("42", {"name": "Ada 100%"})

    def test_keys_whatever_their_case(self, server: Server) -> None:
        (found,) = ask(make_adapter(server, fields=NAME, ignore_case=True), "kEY")
        assert found == Record("kEY", {"name": "Case"})

    def test_a_key_of_two_rows_has_no_answer(self, server: Server) -> None:
        assert refuse(make_adapter(server, key="mail"), "two@example.org").reason is AdapterReason.BAD_ANSWER

    def test_what_does_not_fit_is_named(self, server: Server) -> None:
        """A bad value costs its field, and no more."""
        fields = (FIELDS[0], Field(name="points", type="date"), Field(name="mail", type="integer"))
        adapter = make_adapter(server, fields=fields)
        wanted = frozenset({"name", "points", "mail"})
        record = use(adapter, lambda adapter: adapter.retrieve("4711", wanted, LONG_S))
        assert record == Record("4711", {"name": "Ada 100%"}, frozenset({"points", "mail"}))

    def test_names_are_quoted(self, server: Server) -> None:
        """Whatever a table and its columns are called."""
        fields = (Field(name="name", type="text"),)
        adapter = make_adapter(server, fields=fields, table="order", key="select", map={"name": self.odd_name})
        assert ask(adapter, "4711") == [Record("4711", {"name": "odd"})]

    def test_names_that_are_not_there(self, server: Server) -> None:
        """They are held against what the database has, which is told; an answer comes when it has them."""
        error = refuse(make_adapter(server, table="customers; DROP TABLE customers"))
        assert error.reason is self.no_such_table and "`table`" in str(error)
        error = refuse(make_adapter(server, map={"name": "name FROM customers --"}))
        assert error.reason is AdapterReason.CONFIG and "it has id, number, name" in str(error)
        error = refuse(make_adapter(server, query="SELECT number FROM customers WHERE number = :key"))
        assert error.reason is AdapterReason.CONFIG and "answer of the query has no column name" in str(error)
        error = refuse(make_adapter(server, query="SELECT nothing FROM customers WHERE number = :key"))
        assert error.reason is AdapterReason.CONFIG
        error = refuse(make_adapter(server, key="rate"))
        assert error.reason is AdapterReason.CONFIG and "cannot be a key" in str(error)

    def test_a_column_that_comes_later(self, server: Server) -> None:
        async def story(adapter: SqlAdapter) -> Record | None:
            with pytest.raises(AdapterError):
                await adapter.retrieve("1", ALL, LONG_S)
            server.execute("ALTER TABLE growing ADD COLUMN name VARCHAR(9)", "UPDATE growing SET name = 'new'")
            return await adapter.retrieve("1", ALL, LONG_S)

        server.execute("DROP TABLE IF EXISTS growing", "CREATE TABLE growing (number VARCHAR(9))")
        server.execute("INSERT INTO growing VALUES ('1')")
        self.grant(server)
        assert use(make_adapter(server, fields=NAME, table="growing"), story) == Record("1", {"name": "new"})

    def test_a_query(self, server: Server) -> None:
        """Its place is bound; percent signs and colons in it are its own."""
        query = """SELECT number, name, points FROM customers
                   WHERE number = :key AND name LIKE '%100%' AND '12:30' = '12:30';"""
        fields = (FIELDS[0], FIELDS[1])
        found = ask(make_adapter(server, fields=fields, query=query), "4711", "4712")
        assert found == [Record("4711", {"name": "Ada 100%", "points": 7}), None]
        by_number = "SELECT id, name FROM customers WHERE id = :key"
        adapter = make_adapter(server, fields=NAME, query=by_number, key="id", key_type="integer")
        assert ask(adapter, "42", "042", "x") == [Record("42", {"name": "Ada 100%"}), None, None]

    def test_searches(self, server: Server) -> None:
        """By how a field begins, whatever the case; nothing in a term means anything but itself; all must fit."""
        terms = [{"name": "ada"}, {"name": "ADA 100%"}, {"name": "%"}, {"name": "a_a"}, {"name": "' OR 1=1"}]
        terms += [{"name": "ada", "points": "7"}, {"name": "ada", "points": "8"}, {"name": "\0"}]

        async def story(adapter: SqlAdapter) -> Any:
            found = [[record.key for record in await adapter.search(term, 10)] for term in terms]
            (record,) = await adapter.search({"name": "ada"}, 10)
            few = await adapter.search({"points": "1"}, 2)
            for wrong in ({}, {"name": " "}, {"rate": "1"}):
                with pytest.raises(AdapterError) as caught:
                    await adapter.search(wrong, 10)
                assert caught.value.reason is AdapterReason.NOT_SUPPORTED
            return found, record, len(few)

        expected = [["4711"], ["4711"], [], [], [], ["4711"], [], []]
        for said in (
            {},
            {
                "query": "SELECT * FROM customers WHERE number = :key",
                "scan_query": "SELECT * FROM customers",
            },
        ):
            found, record, few = use(make_adapter(server, search=["name", "points"], **said), story)
            assert (found, record, few) == (expected, Record("4711", ADA), 2)

    @pytest.mark.parametrize(
        "said", [{}, {"query": "SELECT * FROM many WHERE number = :key", "scan_query": "SELECT * FROM many"}]
    )
    def test_a_scan_gives_all(self, server: Server, said: dict[str, Any]) -> None:
        """In batches; one that is left early lets go of its connection at once."""

        async def story(adapter: SqlAdapter) -> Any:
            begun = adapter.scan()
            first = await anext(begun)
            await begun.aclose()  # type: ignore[attr-defined]
            sizes, keys = [], set()
            async for batch in adapter.scan():
                sizes.append(len(batch))
                keys |= {record.key for record in batch}
            return len(first), sizes, keys, batch[0].values

        table = {} if said else {"table": "many"}
        first, sizes, keys, values = use(make_adapter(server, fields=NAME, **table, **said), story)
        assert first == sql.BATCH_ROWS and sizes == [10_000, 10_000, 5_000]
        assert len(keys) == 25_000 and values["name"].startswith("Customer ")
        assert self.count_connections(server) == 0

    def test_statements_read_only(self, server: Server) -> None:
        """Also for who may write."""
        for query in self.writing_queries():
            error = refuse(make_adapter(server, fields=NAME, query=query, **self.owner(server)))
            assert error.reason is AdapterReason.CONFIG, query
        assert server.execute("SELECT count(*) FROM customers WHERE name = 'Eve'") == [(0,)]

    def test_a_statement_that_takes_too_long(self, server: Server) -> None:
        """The database ends it, and the connection is good for the next one."""

        async def story(adapter: SqlAdapter) -> Any:
            with pytest.raises(AdapterError) as caught:
                await adapter.retrieve("slow", ALL, LONG_S)
            assert caught.value.reason is AdapterReason.TIMEOUT and "index" in str(caught.value)
            return await adapter.retrieve("4711", ALL, LONG_S)

        query = f"SELECT number, name FROM customers WHERE number = :key OR (:key = 'slow' AND {self.slowly()})"
        adapter = make_adapter(server, fields=NAME, timeout_s=0.3, query=query, connections=1)
        assert use(adapter, story) == Record("4711", {"name": "Ada 100%"})

    def grant(self, server: Server) -> None:
        """Let the reader read all tables."""

    def count_connections(self, server: Server) -> int:
        """Count whom the server serves as reader."""
        return 0

    def owner(self, server: Server) -> dict[str, Any]:
        """Settings of who may write."""
        return {}

    def writing_queries(self) -> list[str]:
        raise NotImplementedError

    def slowly(self) -> str:
        """Something that is true after many seconds."""
        raise NotImplementedError


def make_tables(server: Server, types: dict[str, str], odd_column: str, quote: str) -> None:
    """`types`: the database's names for what the others call otherwise."""
    create = (
        f"CREATE TABLE customers (id INTEGER PRIMARY KEY, number VARCHAR(1000), name {types['text']}, points INTEGER,"
        f" rate NUMERIC(10, 2), vip BOOLEAN, since DATE, seen {types['time']}, tags {types['json']}, mail VARCHAR(99))"
    )
    ada = (
        f"42, '4711', 'Ada 100%', 7, 0.25, true, '2024-02-29', {types['moment']}, '{{\"a\": [1, \"x\"]}}', 'a@example'"
    )
    server.execute(
        create,
        f"INSERT INTO customers VALUES ({ada})",
        "INSERT INTO customers (id, number, name) VALUES (43, '4712', 'Bob'), (44, 'Key', 'Case')",
        "INSERT INTO customers (id, number, points, mail) VALUES (45, 'a', 10, 'two@example.org')",
        "INSERT INTO customers (id, number, points, mail) VALUES (46, 'b', 11, 'two@example.org')",
        "INSERT INTO customers (id, number, points) VALUES (47, 'c', 12)",
        f"CREATE TABLE {quote}order{quote} ({quote}select{quote} VARCHAR(9), {odd_column} VARCHAR(9))",
        f"INSERT INTO {quote}order{quote} VALUES ('4711', 'odd')",
        "CREATE TABLE many (number VARCHAR(9), name VARCHAR(99))",
        types["many"],
    )
