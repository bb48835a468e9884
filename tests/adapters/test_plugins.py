"""Adapters of installed packages: how they are found and made, and what a broken one costs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from collector.adapters.configuration import AdapterConfig
from collector.adapters.contract import Adapter, Record
from collector.adapters.opening import Place, open_adapter, open_scanned
from collector.adapters.source import Source
from collector.config import Config
from collector.errors import AdapterError, AdapterReason, ConfigError
from collector.use.config import read_use

LONG_S = 30.0
CODE = """
import asyncio, os, sys, time
from datetime import date
from collector.adapters.contract import Described, Field, Record, Wrong
from collector.errors import AdapterError, AdapterReason

class Erp:
    fields = (Field("name"), Field("points", "integer", personal=False), Field("since", "date"), Field("more", "json"))

    def __init__(self, options, environ):
        if options.get("mood") == "wrong":
            raise Wrong("mood", "must be good")
        if options.get("mood"):
            raise {"value": ValueError, "exit": SystemExit}[options["mood"]]("Zq8-s3cr3t")
        self.region = options.get("region", "")
        self.token = environ.get("ERP_TOKEN", "")

    def describe(self):
        return Described("whatever", "whatever", self.fields, can_search=True, can_scan=True)

    async def retrieve(self, key, fields, deadline_s):
        if key == "none":
            return None
        if key == "block":
            time.sleep(0.5)
        if key == "exit":
            sys.exit("Zq8-s3cr3t")
        if key == "value":
            raise ValueError("Zq8-s3cr3t")
        if key == "away":
            raise ConnectionError("Zq8-s3cr3t")
        if key == "late":
            raise TimeoutError
        if key == "rate":
            raise AdapterError(AdapterReason.RATE, "too often", 3.0)
        if key == "text":
            return "Ada"
        if key == "other":
            return Record("4712", {"name": "Bob"})
        return Record(key, {"name": "Ada", "points": "7", "since": date(2024, 2, 29), "more": {"d": date(2024, 1, 1)},
                            "token": self.token})

    async def search(self, terms, limit):
        return [Record(str(n), {"name": terms["name"], "points": "x"}) for n in range(limit + 5)]

    async def scan(self):
        yield [Record("1", {"name": self.region})]
        raise RuntimeError("Zq8-s3cr3t")

    async def close(self):
        raise RuntimeError("Zq8-s3cr3t")

class Nothing(Erp):
    def describe(self):
        return None

class Odd(Erp):
    fields = (Field("Name"),)

class Empty(Erp):
    fields = ()

class Narrow:
    def __init__(self, options, environ): pass
    def describe(self): return Described("x", "x", (Field("name"),))
"""
ENTRIES = """[tagstitch.adapters]
erp = our_erp:Erp
nothing = our_erp:Nothing
odd = our_erp:Odd
empty = our_erp:Empty
narrow = our_erp:Narrow
gone = our_erp:Gone
away = our_erp_away:Erp
ends = our_erp_ends:Erp
twice = our_erp:Erp
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package, as far as Python can tell."""
    site = tmp_path / "site"
    for name, entries in (("our_erp", ENTRIES), ("other", "[tagstitch.adapters]\ntwice = other:Erp\n")):
        about = site / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(entries)
    (site / "our_erp.py").write_text(CODE)
    (site / "our_erp_ends.py").write_text("import sys; sys.exit('Zq8-s3cr3t')")
    (site / "our_erp_away.py").write_text("import a_module_that_is_not_there")
    monkeypatch.syspath_prepend(site)


def configure(tmp_path: Path, text: str = "") -> AdapterConfig:
    path = tmp_path / "use.toml"
    said = text if "plugin" in text else 'plugin = "erp"\n' + text
    path.write_text(f'[adapters.erp]\nkind = "python"\nkey_kind = "email"\n{said}')
    return read_use(Config(use_file=str(path))).adapters["erp"]


def use(adapter: Adapter, story: Callable[[Any], Awaitable[Any]]) -> Any:
    async def tell() -> Any:
        try:
            return await story(adapter)
        finally:
            await adapter.close()

    return asyncio.run(tell())


def test_a_plugin(tmp_path: Path) -> None:
    """It has the options and the environment, and says what its fields are; the configuration says who may see them,
    and what it is called."""
    config = configure(tmp_path, 'options = { region = "eu" }\nfields.name = { ttl_s = 5, min_assurance = 4 }')
    adapter = open_adapter(config, Place(environ={"ERP_TOKEN": "Zq8-s3cr3t"}))
    described = adapter.describe()
    assert (described.name, described.key_kind) == ("erp", "email")
    assert [field.name for field in described.fields] == ["name", "points", "since", "more"]
    assert described.fields[0].min_assurance == 4 and described.fields[1].personal is False
    names = frozenset(field.name for field in described.fields)

    async def story(adapter: Adapter) -> Any:
        found = [await adapter.retrieve(key, names, LONG_S) for key in ("4711", "none")]
        return found, await adapter.search({"name": "Ada"}, 2)

    found, searched = use(adapter, story)
    values = {"name": "Ada", "points": 7, "since": "2024-02-29", "more": {"d": "2024-01-01"}}
    assert found == [Record("4711", values), None]
    assert searched == [Record(key, {"name": "Ada"}, frozenset({"points"})) for key in ("0", "1")]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("exit", AdapterReason.BAD_ANSWER),
        ("value", AdapterReason.BAD_ANSWER),
        ("away", AdapterReason.UNREACHABLE),
        ("late", AdapterReason.TIMEOUT),
        ("rate", AdapterReason.RATE),
        ("text", AdapterReason.BAD_ANSWER),
        ("other", AdapterReason.BAD_ANSWER),
    ],
)
def test_what_a_plugin_does_wrong_costs_its_answer(tmp_path: Path, key: str, reason: AdapterReason) -> None:
    """Whatever it raises, also what ends processes; its words are not repeated. The next question is answered."""

    async def story(adapter: Adapter) -> None:
        with pytest.raises(AdapterError) as caught:
            await adapter.retrieve(key, frozenset({"name"}), LONG_S)
        assert caught.value.reason is reason and "Zq8" not in str(caught.value)
        assert await adapter.retrieve("4711", frozenset({"name"}), LONG_S) == Record("4711", {"name": "Ada"})

    use(open_adapter(configure(tmp_path), Place()), story)
    use(open_scanned(configure(tmp_path), Place()), story)


def test_a_plugin_that_blocks_costs_its_fields_alone(tmp_path: Path) -> None:
    """It has a thread of its own: who asks has their answer by the deadline."""

    async def story() -> Any:
        source = Source(open_adapter(configure(tmp_path), Place()))
        asking = asyncio.ensure_future(source.retrieve("block", ["name"], 0.05))
        turns = 0
        while not asking.done():
            await asyncio.sleep(0.005)
            turns += 1
        await source.close()
        return asking.result(), turns

    fetched, turns = asyncio.run(story())
    assert fetched.unavailable == {"name": "timeout"} and turns > 1


def test_a_scan(tmp_path: Path) -> None:
    async def story(adapter: Any) -> None:
        batches = adapter.scan()
        assert await anext(batches) == [Record("1", {"name": "eu"})]
        with pytest.raises(AdapterError) as caught:
            await anext(batches)
        assert caught.value.reason is AdapterReason.BAD_ANSWER and "Zq8" not in str(caught.value)

    use(open_scanned(configure(tmp_path, 'options = { region = "eu" }'), Place()), story)
    with pytest.raises(AdapterError) as caught:
        open_scanned(_make_rest(tmp_path), Place())
    assert caught.value.reason is AdapterReason.NOT_SUPPORTED


def _make_rest(tmp_path: Path) -> AdapterConfig:
    path = tmp_path / "rest.toml"
    said = 'kind = "rest"\nbase_url = "https://crm.example"\npath = "/c/{key}"\nfields.name = "text"'
    path.write_text(f"[adapters.crm]\n{said}\n")
    return read_use(Config(use_file=str(path))).adapters["crm"]


@pytest.mark.parametrize(
    ("text", "setting", "words"),
    [
        ('plugin = "unknown"', "plugin", "there is away, empty, ends"),
        ('plugin = "twice"', "plugin", "other, our_erp"),
        ('plugin = "gone"', "plugin", "our_erp:Gone of our_erp cannot be loaded (AttributeError)"),
        ('plugin = "away"', "plugin", "needs a_module_that_is_not_there"),
        ('plugin = "ends"', "plugin", "SystemExit"),
        ('plugin = "nothing"', "plugin", "describe()"),
        ('plugin = "odd"', "plugin", "describe()"),
        ('plugin = "empty"', "plugin", "describe()"),
        ('plugin = "narrow"', "plugin", "retrieve() and close()"),
        ('options = { mood = "wrong" }', "options.mood", "must be good"),
        ('options = { mood = "value" }', "options", "ValueError"),
        ('options = { mood = "exit" }', "options", "SystemExit"),
        ('fields.nick = "text"', "fields.nick", "it has name, points"),
        ('fields.points = "text"', "fields.points.type", "integer"),
    ],
)
def test_a_broken_plugin_is_told(tmp_path: Path, text: str, setting: str, words: str) -> None:
    """By the name of its setting, with its package and what it did; never with its words."""
    config = configure(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        open_adapter(config, Place())
    assert caught.value.setting == f"adapters.erp.{setting}" and words in str(caught.value)
    assert "Zq8" not in str(caught.value)
