"""The ClickHouse adapter with a real engine: as the analyst in our own store, and by a DSN as on another server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.adapters.clickhouse import ClickHouseAdapter
from collector.adapters.configuration import ClickHouseSettings
from collector.adapters.contract import Described, Field, Record, Wrong
from collector.adapters.opening import Place, make_place
from collector.config import Config
from collector.errors import AdapterError, AdapterReason
from collector.instance import MARKER
from collector.keyring import make_keyring
from collector.store.client import StoreClient
from collector.store.dsn import read_dsn
from tests.engine_process import RunningEngine, running_engine

pytestmark = pytest.mark.engine
FIELDS = (
    Field(name="name", type="text"),
    Field(name="points", type="integer"),
    Field(name="rate", type="number"),
    Field(name="vip", type="boolean"),
    Field(name="since", type="date"),
    Field(name="seen", type="time"),
    Field(name="tags", type="json"),
)
NAME = (FIELDS[0],)
ALL = frozenset(field.name for field in FIELDS)
LONG_S = 30.0
ADA = {
    "name": "Ada 'Übel'",
    "points": 2**63,
    "rate": 0.25,
    "vip": True,
    "since": "2024-02-29",
    "seen": "2026-01-02T03:04:05.250000Z",
    "tags": ["a", "b"],
}
TABLES = (
    "CREATE DATABASE IF NOT EXISTS analytics",
    "CREATE VIEW analytics.endless AS SELECT toString(n) AS number, 'Eve' AS name"
    " FROM (SELECT number AS n FROM system.numbers) WHERE n % 2 = 3",
    "CREATE TABLE analytics.people (number String, id UInt32, name LowCardinality(Nullable(String)),"
    " points Nullable(UInt64), rate Nullable(Decimal(10, 2)), vip Nullable(Bool), since Nullable(Date),"
    " seen Nullable(DateTime64(3, 'Asia/Tokyo')), tags Array(String), mail String) ENGINE = MergeTree ORDER BY number",
    "INSERT INTO analytics.people VALUES ('4711', 42, 'Ada \\'Übel\\'', 9223372036854775808, 0.25, true, '2024-02-29',"
    " toDateTime64('2026-01-02 12:04:05.250', 3, 'Asia/Tokyo'), ['a', 'b'], 'two@example.org')",
    "INSERT INTO analytics.people (number, id, name, mail) VALUES ('4712', 43, 'Bob', 'two@example.org')",
    "CREATE TABLE analytics.`o``d\"d` (`a``b` UUID, `n'm` String) ENGINE = MergeTree ORDER BY tuple()",
    "INSERT INTO analytics.`o``d\"d` VALUES ('5a1e3b34-77d1-4f7c-9f0e-2f6d3f4b9c11', 'odd')",
    "CREATE TABLE analytics.many (number UInt64, name String) ENGINE = MergeTree ORDER BY number",
    "INSERT INTO analytics.many SELECT number, concat('Customer ', toString(number)) FROM numbers(25000)",
    "CREATE TABLE analytics.versions (number String, name String, v UInt8) ENGINE = ReplacingMergeTree(v)"
    " ORDER BY number",
    "INSERT INTO analytics.versions VALUES ('4711', 'old', 1)",
    "INSERT INTO analytics.versions VALUES ('4711', 'new', 2)",
    "CREATE DICTIONARY analytics.by_id (id UInt64, name String, points UInt64, seen DateTime('Asia/Tokyo'))"
    " PRIMARY KEY id SOURCE(CLICKHOUSE(QUERY 'SELECT toUInt64(id) AS id, ifNull(name, \\'\\') AS name,"
    " ifNull(points, 0) AS points, toDateTime(ifNull(seen, now())) AS seen FROM analytics.people'))"
    " LIFETIME(0) LAYOUT(HASHED())",
    "CREATE DICTIONARY analytics.by_number (number String, name String)"
    " PRIMARY KEY number SOURCE(CLICKHOUSE(QUERY 'SELECT number, ifNull(name, \\'\\') AS name FROM analytics.people'))"
    " LIFETIME(0) LAYOUT(COMPLEX_KEY_HASHED())",
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with running_engine(tmp_path_factory.mktemp("engine")) as engine:
        with StoreClient(read_dsn(engine.dsn(), "default")) as writer:
            for statement in TABLES:
                writer.command(statement)
        yield engine


def make_adapter(
    engine: RunningEngine,
    fields: tuple[Field, ...] = FIELDS,
    role: str = "analyst",
    timeout_s: float = LONG_S,
    **said: Any,
) -> ClickHouseAdapter:
    """With `dsn_env`: as on another server; else in our own store, as who may read `analytics`."""
    what = {} if "dictionary" in said else {"table": "people"}
    settings = msgspec.convert({"key": "number", **what, **said}, ClickHouseSettings)
    address = read_dsn(engine.dsn(role, "analytics"), "analytics")
    described = Described("scores", "customer", fields, can_search=bool(settings.search), can_scan=True)
    environ = {"OTHER": engine.dsn("writer", "analytics"), "ODD": "ftp://reader:Zq8@x"}
    return ClickHouseAdapter(described, settings, environ, lambda _: StoreClient(address), timeout_s)


def use(adapter: ClickHouseAdapter, story: Callable[[ClickHouseAdapter], Awaitable[Any]]) -> Any:
    async def tell() -> Any:
        try:
            return await story(adapter)
        finally:
            await adapter.close()

    return asyncio.run(tell())


def ask(adapter: ClickHouseAdapter, *keys: str) -> list[Record | None]:
    async def story(adapter: ClickHouseAdapter) -> list[Record | None]:
        return [await adapter.retrieve(key, ALL, LONG_S) for key in keys]

    found: list[Record | None] = use(adapter, story)
    return found


def refuse(adapter: ClickHouseAdapter, key: str = "4711") -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        ask(adapter, key)
    assert "4711" not in str(caught.value) and "Ada" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("said", [{}, {"table": "analytics.people", "dsn_env": "OTHER"}])
def test_a_record(engine: RunningEngine, said: dict[str, Any]) -> None:
    """Each value in the form of its field, points in time in UTC; what is null is not there."""
    ada, bob, nobody = ask(make_adapter(engine, **said), "4711", "4712", "4713")
    assert ada == Record("4711", ADA)
    assert bob == Record("4712", {"name": "Bob", "tags": []})
    assert nobody is None


def test_keys_are_exactly_what_they_are(engine: RunningEngine) -> None:
    """Bound by the server, and of the type of their column."""
    hostile = ["4711' OR '1'='1", "4711\\", "%", "", "4711 ", "\0", "{key:String}", "\ud800", "'"]
    assert ask(make_adapter(engine, fields=NAME), *hostile) == [None] * len(hostile)
    numbers = ["042", "+42", "42.0", "-1", "4294967296", "9" * 90, "x", "4２"]
    assert ask(make_adapter(engine, fields=NAME, key="id"), *numbers) == [None] * len(numbers)
    assert ask(make_adapter(engine, fields=NAME, key="id"), "42") == [Record("42", {"name": ADA["name"]})]


def test_names_are_quoted(engine: RunningEngine) -> None:
    key = "5a1e3b34-77d1-4f7c-9f0e-2f6d3f4b9c11"
    adapter = make_adapter(engine, fields=NAME, table='o`d"d', key="a`b", map={"name": "n'm"})
    assert ask(adapter, key, key.upper(), "x") == [Record(key, {"name": "odd"}), None, None]


def test_names_that_are_not_there(engine: RunningEngine) -> None:
    error = refuse(make_adapter(engine, table="away"))
    assert error.reason is AdapterReason.CONFIG and "analytics.away" in str(error)
    error = refuse(make_adapter(engine, map={"name": "nick"}))
    assert error.reason is AdapterReason.CONFIG and "there is number, id, name" in str(error)
    error = refuse(make_adapter(engine, key="rate"))
    assert error.reason is AdapterReason.CONFIG and "cannot be a key" in str(error)


def test_several_rows_and_versions(engine: RunningEngine) -> None:
    """Two rows of one key are no answer; versions of a row are one, where it is said."""
    assert refuse(make_adapter(engine, fields=NAME, key="mail"), "two@example.org").reason is AdapterReason.BAD_ANSWER
    assert refuse(make_adapter(engine, fields=NAME, table="versions")).reason is AdapterReason.BAD_ANSWER
    (found,) = ask(make_adapter(engine, fields=NAME, table="versions", final=True), "4711")
    assert found == Record("4711", {"name": "new"})


def test_what_does_not_fit_is_named(engine: RunningEngine) -> None:
    fields = (Field(name="name", type="date"), Field(name="points", type="integer"))
    assert ask(make_adapter(engine, fields=fields), "4711") == [Record("4711", {"points": 2**63}, frozenset({"name"}))]


def test_dictionaries(engine: RunningEngine) -> None:
    """By a number, or by text; none is none, though a dictionary has a default for it."""
    fields = tuple(field for field in FIELDS if field.name in ("name", "points", "seen"))
    said = {"dictionary": "analytics.by_id", "key": "id", "dsn_env": "OTHER"}
    ada, nobody, odd = ask(make_adapter(engine, fields=fields, **said), "42", "7", "042")
    expected = {"name": ADA["name"], "points": 2**63, "seen": "2026-01-02T03:04:05Z"}
    assert (ada, nobody, odd) == (Record("42", expected), None, None)
    said = {"dictionary": "by_number", "dsn_env": "OTHER"}
    found = ask(make_adapter(engine, fields=NAME, **said), "4712", "4711' OR 1", "0")
    assert found == [Record("4712", {"name": "Bob"}), None, None]
    assert refuse(make_adapter(engine, fields=NAME, dictionary="away", dsn_env="OTHER")).reason is AdapterReason.CONFIG
    error = refuse(make_adapter(engine, fields=(Field(name="mail"),), **said))
    assert error.reason is AdapterReason.CONFIG and "there is name" in str(error)


def test_searches(engine: RunningEngine) -> None:
    terms = [{"name": "ada 'ü"}, {"name": "BOB"}, {"name": "%"}, {"name": "b", "points": "1"}, {"name": "\ud800"}]

    async def story(adapter: ClickHouseAdapter) -> Any:
        found = [[record.key for record in await adapter.search(term, 10)] for term in terms]
        (ada,) = await adapter.search({"points": "92"}, 10)
        for wrong in ({}, {"name": " "}, {"rate": "1"}):
            with pytest.raises(AdapterError) as caught:
                await adapter.search(wrong, 10)
            assert caught.value.reason is AdapterReason.NOT_SUPPORTED
        return found, ada

    found, ada = use(make_adapter(engine, search=["name", "points"]), story)
    assert found == [["4711"], ["4712"], [], [], []]
    assert ada == Record("4711", ADA)


@pytest.mark.parametrize("said", [{"table": "many"}, {"dictionary": "by_id", "key": "id", "dsn_env": "OTHER"}])
def test_a_scan_gives_all(engine: RunningEngine, said: dict[str, Any]) -> None:
    """In batches; one that is left early ends."""

    async def story(adapter: ClickHouseAdapter) -> Any:
        begun = adapter.scan()
        first = await anext(begun)
        await begun.aclose()  # type: ignore[attr-defined]
        batches = [batch async for batch in adapter.scan()]
        assert batches[0] == first
        return batches

    batches = use(make_adapter(engine, fields=NAME, **said), story)
    keys = {record.key: record.values["name"] for batch in batches for record in batch}
    if "dictionary" in said:
        assert keys == {"42": ADA["name"], "43": "Bob"}
    else:
        assert [len(batch) for batch in batches] == [10_000, 10_000, 5_000]
        assert keys == {str(number): f"Customer {number}" for number in range(25_000)}


def test_what_goes_wrong(engine: RunningEngine) -> None:
    """Who is refused, where nothing listens, what takes too long: by reason, without words that quote."""
    wrong = engine.dsn("analyst", "analytics").replace("://", "://x")
    for dsn, reason in (
        (wrong, AdapterReason.REFUSED),
        ("http://reader:Zq8@127.0.0.1:1/x", AdapterReason.UNREACHABLE),
    ):
        settings = ClickHouseSettings(key="number", table="people", dsn_env="OTHER")
        described = Described("scores", "customer", NAME)
        adapter = ClickHouseAdapter(described, settings, {"OTHER": dsn}, lambda _: pytest.fail("ours"), 1.0)
        assert refuse(adapter).reason is reason
    adapter = make_adapter(engine, fields=NAME, table="endless", timeout_s=0.1, dsn_env="OTHER")
    error = refuse(adapter)
    assert error.reason is AdapterReason.TIMEOUT and "ORDER BY" in str(error)


def test_settings_that_cannot_work(engine: RunningEngine) -> None:
    for name, words in (("AWAY", "is not set"), ("ODD", "ODD holds no address")):
        with pytest.raises(Wrong) as caught:
            make_adapter(engine, dsn_env=name)
        assert caught.value.setting == "dsn_env" and words in str(caught.value) and "Zq8" not in str(caught.value)


def test_our_own_store_is_read_as_the_analyst(engine: RunningEngine, tmp_path: Path) -> None:
    """Where an instance is, with its secrets; and files are indexed in its folder alone."""
    keyring = make_keyring()
    config = Config(data=str(tmp_path), engine_host=engine.host, engine_port=engine.port)
    place = make_place(config, lambda: keyring)
    assert place.data is None
    with place.open_store(1.0) as client:
        address = client.address
    assert (address.host, address.port, address.database) == (engine.host, engine.port, "analytics")
    assert (address.user, address.password) == (keyring.analyst.user, keyring.analyst.password)
    (tmp_path / MARKER).touch()
    assert make_place(config, lambda: keyring).data == tmp_path
    nowhere = Place()
    with pytest.raises(AdapterError) as caught:
        nowhere.open_store(1.0)
    assert caught.value.reason is AdapterReason.CONFIG
