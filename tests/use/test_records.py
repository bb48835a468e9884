"""Records of several sources: asked at once, by the right key, in time; in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from collector.adapters.configuration import read_adapters
from collector.adapters.contract import Record
from collector.config import Config
from collector.errors import AdapterError, AdapterReason
from collector.profiles.record_keys import Keys, RecordKey
from collector.use.records import is_personal, read_for_page, read_records, search_records
from collector.use.sources import Sources
from tests.adapters.scripted_adapter import Behaviour, ScriptedAdapter, after, answer, failing, hang, make_source
from tests.adapters.virtual_time import now, run_virtually
from tests.edge_examples import KEYRING

FIELDS = {
    "name": {"page": True, "as": "first_name"},
    "tier": {"personal": False, "min_assurance": 2, "page": True},
    "points": {"type": "integer", "personal": False},
}
KEYS: Keys = {"customer": (RecordKey("a", "7"), RecordKey("b", "8"))}


def make_sources(behaviours: dict[str, Behaviour], **said: Any) -> tuple[Sources, dict[str, ScriptedAdapter]]:
    """Sources of these names, open already, whose adapters behave so."""
    section = {"kind": "files", "path": "x.csv", "key": "id", "fields": FIELDS, **said}
    configs = read_adapters({name: dict(section) for name in behaviours}, Path("use.toml"))
    sources = Sources(Config(), KEYRING, configs)
    scripted = {name: ScriptedAdapter(behave) for name, behave in behaviours.items()}
    for name, adapter in scripted.items():
        source = make_source(adapter)
        source.described = source.described.__class__(name, "customer", configs[name].fields, can_search=True)
        sources._opened[name] = source
    return sources, scripted


async def close(sources: Sources) -> None:
    for source in sources._opened.values():
        await source.close()


def test_all_are_asked_at_once_and_nobody_is_waited_for() -> None:
    """Three that hang take one deadline; the fourth has its values."""

    async def story() -> None:
        sources, _ = make_sources({"a": hang, "b": hang, "c": hang, "crm": after(0.1)})
        began_s = now()
        records = await read_records(sources, "main", KEYS)
        assert now() - began_s == pytest.approx(0.3)
        assert records.unavailable == {"a": "timeout", "b": "timeout", "c": "timeout"}
        assert {name: one.value for name, one in records.fields["crm"].items()} == {
            "name": "Ada",
            "tier": "gold",
            "points": 7,
        }
        one = records.fields["crm"]["name"]
        assert (one.source, one.own_person_id, one.is_stale, one.field.personal) == ("adapter:crm", "a", False, True)
        await close(sources)

    run_virtually(story())


def test_a_profile_is_as_quick_with_a_source_that_hangs() -> None:
    """Of a thousand that come fifty a second, fewer than one in a hundred waits at all, and none longer than once."""

    async def story() -> None:
        sources, scripted = make_sources({"crm": after(0.005)}, bounds={"timeout_s": 5})
        for number in range(10):
            await read_records(sources, "main", {"customer": (RecordKey("a", f"warm-{number}"),)})
        scripted["crm"].behave = hang
        waited: list[float] = []

        async def ask(number: int) -> None:
            began_s = now()
            await read_records(sources, "main", {"customer": (RecordKey("a", str(number)),)})
            waited.append(now() - began_s)

        async with asyncio.TaskGroup() as group:
            for number in range(1_000):
                group.create_task(ask(number))
                await asyncio.sleep(0.02)
        assert sum(took_s > 0.001 for took_s in waited) < 10
        assert max(waited) == pytest.approx(0.3)
        await close(sources)

    run_virtually(story())


def test_a_page_is_as_quick_with_a_source_that_hangs() -> None:
    """Two hundred a second, none of whom is kept yet: fewer than one in a hundred waits, and for its own deadline."""

    async def story() -> None:
        sources, scripted = make_sources({"crm": after(0.005)})
        for number in range(10):
            await read_for_page(sources, "main", {"customer": (RecordKey("a", f"warm-{number}"),)}, 3)
        scripted["crm"].behave = hang
        waited: list[float] = []

        async def ask(number: int) -> None:
            began_s = now()
            assert await read_for_page(sources, "main", {"customer": (RecordKey("a", str(number)),)}, 3) == {}
            waited.append(now() - began_s)

        async with asyncio.TaskGroup() as group:
            for number in range(4_000):
                group.create_task(ask(number))
                await asyncio.sleep(0.005)
        assert sum(took_s > 0.001 for took_s in waited) < 40
        assert max(waited) == pytest.approx(0.05)
        await close(sources)

    run_virtually(story())


def test_what_came_too_late_for_a_page_is_there_for_the_next() -> None:
    """And then at once."""

    async def story() -> None:
        sources, scripted = make_sources({"crm": after(0.2)})
        assert await read_for_page(sources, "main", KEYS, 3) == {}
        await asyncio.sleep(0.5)
        began_s = now()
        assert await read_for_page(sources, "main", KEYS, 3) == {"first_name": "Ada", "crm_tier": "gold"}
        assert (now(), len(scripted["crm"].calls)) == (began_s, 1)
        await close(sources)

    run_virtually(story())


@pytest.mark.parametrize(
    ("level", "expected"), [(1, {}), (2, {"crm_tier": "gold"}), (3, {"crm_tier": "gold", "first_name": "Ada"})]
)
def test_a_page_is_told_what_its_level_reaches(level: int, expected: dict[str, str]) -> None:
    """Nothing else is asked for either, and nothing where it is not said that pages may have it."""

    async def story() -> None:
        sources, scripted = make_sources({"crm": answer})
        assert await read_for_page(sources, "main", KEYS, level) == expected
        asked = {name for _, names in scripted["crm"].calls for name in names}
        assert asked == {name.removeprefix("crm_").replace("first_name", "name") for name in expected}
        assert await read_for_page(sources, "other", KEYS, level) == {}
        assert await read_for_page(sources, "main", {}, level) == {}

    run_virtually(story())


def test_another_key_is_tried_where_the_first_has_no_record() -> None:
    """Within the same time; and which it was is told."""

    async def know_eight(key: str, names: frozenset[str]) -> Record | None:
        await asyncio.sleep(0.1)
        return await answer(key, names) if key == "8" else None

    async def story() -> None:
        sources, scripted = make_sources({"crm": know_eight})
        records = await read_records(sources, "main", KEYS)
        assert records.fields["crm"]["tier"].own_person_id == "b"
        assert [key for key, _ in scripted["crm"].calls] == ["7", "8"]
        none, _ = make_sources({"crm": know_eight})
        assert await read_records(none, "main", {"customer": (RecordKey("c", "9"),)}) == ({"crm": {}}, {})

    run_virtually(story())


def test_every_reason_has_its_name() -> None:
    """Of a whole source once, of a single field by its own; a source that is not selected has none."""

    async def half(key: str, _: frozenset[str]) -> Record:
        return Record(key, {"tier": "gold"}, frozenset({"points"}))

    async def story() -> None:
        down = failing(AdapterError(AdapterReason.REFUSED, "no"))
        sources, _ = make_sources({"a": down, "b": half, "c": answer})
        records = await read_records(sources, "main", KEYS, ["a", "b"])
        assert records.unavailable == {"a": "refused", "b.points": "bad_answer"}
        assert records.fields["b"].keys() == {"tier"}
        assert (await read_records(sources, "main", {}, ["c"])).unavailable == {"c": "no_key"}
        sources._opened.pop("c")
        sources._problems.add("c")
        assert (await read_records(sources, "main", KEYS, ["c"])).unavailable == {"c": "config"}

    run_virtually(story())


def test_a_search_waits_for_nobody_either() -> None:
    """Two seconds at most for all together; what others find is there."""

    async def find(_: str, __: frozenset[str]) -> list[Record]:
        return [Record("7", {"name": "Ada", "tier": "gold"})]

    async def story() -> None:
        broken = failing(AdapterError(AdapterReason.NOT_SUPPORTED, "other terms"))
        sources, _ = make_sources({"a": hang, "b": find, "c": broken})
        began_s = now()
        found = await search_records(sources, "main", {"name": "a"}, 5)
        assert now() - began_s == pytest.approx(2.0)
        assert found.unavailable == {"a": "timeout", "c": "not_supported"}
        (candidate,) = found.candidates
        assert (candidate.adapter, candidate.key_kind, candidate.key) == ("b", "customer", "7")
        assert candidate.fields["tier"][0] == "gold"
        await close(sources)

    run_virtually(story())


def test_terms_that_nobody_declares_are_personal() -> None:
    """Only a field that its sources call not personal may be searched by without the scope."""

    async def story() -> None:
        sources, _ = make_sources({"crm": answer})
        assert not is_personal(sources, "main", ["tier"])
        assert is_personal(sources, "main", ["tier", "name"])
        assert is_personal(sources, "main", ["street"])
        assert is_personal(sources, "other", ["tier"])

    run_virtually(story())
