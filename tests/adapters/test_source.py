"""A source: cache, single flight and deadline, in virtual time. What fails is in `test_source_faults`."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest

from collector.adapters.bounds import SourceBounds
from collector.adapters.contract import Record
from collector.adapters.source import MAX_KEY_CHARS, FetchedValue, Source
from collector.errors import AdapterError, AdapterReason
from collector.metrics import read_totals
from tests.adapters.scripted_adapter import (
    ADA,
    ALL,
    ScriptedAdapter,
    after,
    answer,
    hang,
    make_source,
    one_after_another,
    plain,
)
from tests.adapters.virtual_time import now, run_virtually


def test_a_record_is_fetched_once_and_kept() -> None:
    """With what was asked for alone, and since when it is known."""

    async def story() -> None:
        adapter = ScriptedAdapter(after(0.2))
        source = make_source(adapter)
        first = await source.retrieve("7", ["name", "tier"])
        assert first.values == {"name": FetchedValue("Ada", 1_000_000), "tier": FetchedValue("gold", 1_000_000)}
        assert (first.unavailable, first.is_none) == ({}, False)
        assert await source.retrieve("7", ["tier"]) == ({"tier": first.values["tier"]}, {}, False)
        assert now() == pytest.approx(0.2)
        assert adapter.calls == [("7", {"name", "tier"})]
        assert adapter.deadlines == [5.0]
        await source.close()
        assert adapter.closed

    run_virtually(story())


def test_only_what_is_missing_is_asked_for() -> None:
    """Fields that are kept are not; fields whose time is over are, and no others."""

    async def story() -> None:
        adapter = ScriptedAdapter()
        source = make_source(adapter)
        await source.retrieve("7", ["name"])
        assert plain(await source.retrieve("7", ALL)) == ADA
        await asyncio.sleep(20)
        assert plain(await source.retrieve("7", ALL)) == ADA
        assert [fields for _, fields in adapter.calls] == [{"name"}, {"tier", "points"}, {"points"}]

    run_virtually(story())


def test_many_who_ask_at_once_are_one_request() -> None:
    """Also where the first of them goes away, and where they want other fields in part."""

    async def story() -> None:
        adapter = ScriptedAdapter(after(0.1))
        source = make_source(adapter)
        first = asyncio.create_task(source.retrieve("7", ["name"]))
        await asyncio.sleep(0)
        others = [asyncio.create_task(source.retrieve("7", ["name", "tier"])) for _ in range(100)]
        await asyncio.sleep(0.01)
        first.cancel()
        for other in others:
            assert plain(await other) == {"name": "Ada", "tier": "gold"}
        assert [fields for _, fields in adapter.calls] == [{"name"}, {"tier"}]
        assert first.cancelled()

    run_virtually(story())


def test_nobody_waits_for_the_fields_of_others() -> None:
    """A request for another field of the same key may take its time."""

    async def story() -> None:
        adapter = ScriptedAdapter(one_after_another(after(0.25), after(0.1)))
        source = make_source(adapter)
        other = asyncio.create_task(source.retrieve("7", ["points"]))
        await asyncio.sleep(0.01)
        assert plain(await source.retrieve("7", ["name"])) == {"name": "Ada"}
        assert now() == pytest.approx(0.11)
        await other

    run_virtually(story())


def test_a_request_is_nobodys_own() -> None:
    """What the first of those who wait has bound to its log lines is not in those of the adapter."""
    bound: ContextVar[str] = ContextVar("bound", default="")
    seen = []

    async def look(key: str, fields: frozenset[str]) -> Record:
        seen.append(bound.get())
        return await answer(key, fields)

    async def story() -> None:
        bound.set("the request of somebody")
        await make_source(ScriptedAdapter(look)).retrieve("7", ["name"])

    run_virtually(story())
    assert seen == [""]


def test_no_record_is_an_answer() -> None:
    """It is kept for its own time, and takes what was known before with it."""

    async def story() -> None:
        async def none(*_: Any) -> None:
            return None

        adapter = ScriptedAdapter(one_after_another(answer, none, answer))
        source = make_source(adapter, none_ttl_s=60.0)
        await source.retrieve("7", ["name"])
        assert await source.retrieve("7", ALL) == ({}, {}, True)
        assert await source.retrieve("7", ["name"]) == ({}, {}, True)
        assert len(adapter.calls) == 2
        await asyncio.sleep(60)
        assert plain(await source.retrieve("7", ALL)) == ADA

    run_virtually(story())


def test_a_field_that_the_record_lacks_is_neither_there_nor_unavailable() -> None:
    """And is not asked for again at once."""

    async def story() -> None:
        async def short(key: str, _: frozenset[str]) -> Record:
            return Record(key, {"name": "Ada"})

        adapter = ScriptedAdapter(short)
        source = make_source(adapter)
        for _ in range(3):
            fetched = await source.retrieve("7", ALL)
            assert (plain(fetched), fetched.unavailable) == ({"name": "Ada"}, {})
        assert len(adapter.calls) == 1

    run_virtually(story())


def test_a_slow_source_costs_no_time_and_fills_the_cache() -> None:
    """The answer comes at the deadline; the next one has the fields."""

    async def story() -> None:
        source = make_source(ScriptedAdapter(after(1.0)))
        fetched = await source.retrieve("7", ALL)
        assert now() == pytest.approx(0.3)
        assert fetched == ({}, dict.fromkeys(ALL, "timeout"), False)
        await asyncio.sleep(1.0)
        fetched = await source.retrieve("7", ALL)
        assert now() == pytest.approx(1.3)
        assert plain(fetched) == ADA
        assert fetched.values["name"].fetched_at_ms == 1_000_000  # as old as the question
        await source.close()

    run_virtually(story())


@pytest.mark.parametrize(("deadline_s", "waited_s"), [(None, 0.3), (0.05, 0.05), (0.0, 0.0), (2.0, 2.0), (60.0, 5.0)])
def test_who_asks_says_how_long(deadline_s: float | None, waited_s: float) -> None:
    """The configuration says it where they do not, and ends every request some time."""

    async def story() -> None:
        source = make_source(ScriptedAdapter(hang))
        fetched = await source.retrieve("7", ["name"], deadline_s)
        assert now() == pytest.approx(waited_s)
        assert fetched.unavailable == {"name": "timeout"}
        await source.close()

    run_virtually(story())


def test_nobody_waits_for_a_source_that_is_late_already() -> None:
    """The first of them wait; the others have the same answer at once, and no more requests than allowed run."""

    async def story() -> None:
        adapter = ScriptedAdapter(hang)
        source = make_source(adapter, max_fetches=8)
        await asyncio.gather(*(source.retrieve(str(number), ALL) for number in range(3)))
        assert now() == pytest.approx(0.3)
        for number in range(100):
            fetched = await source.retrieve(str(number), ALL)
            assert set(fetched.unavailable.values()) == {"timeout"}
        assert now() == pytest.approx(0.3)
        await asyncio.sleep(0.1)
        assert len(adapter.calls) == 8
        await source.close()

    run_virtually(story())


def test_a_bounded_number_waits() -> None:
    """One more has what is known already."""

    async def story() -> None:
        source = make_source(ScriptedAdapter(after(0.1)), max_waiters=2)
        tasks = [asyncio.create_task(source.retrieve("7", ["name"])) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert [task.done() for task in tasks] == [False, False, True]
        assert tasks[2].result().unavailable == {"name": "timeout"}
        assert plain(await tasks[0]) == {"name": "Ada"}
        await asyncio.gather(*tasks)

    run_virtually(story())


def test_what_is_forgotten_is_asked_for_anew() -> None:
    """Also what was on its way: it was asked before, so nobody who asks later gets it."""

    async def story() -> None:
        async def later(key: str, _: frozenset[str]) -> Record:
            return Record(key, {"name": "Grace"})

        adapter = ScriptedAdapter(one_after_another(after(0.2), after(0.1, later), later))
        source = make_source(adapter)
        early = asyncio.create_task(source.retrieve("7", ["name"]))
        await asyncio.sleep(0.05)
        source.forget("7")
        assert plain(await source.retrieve("7", ["name"])) == {"name": "Grace"}
        assert plain(await early) == {"name": "Ada"}
        assert plain(await source.retrieve("7", ["name"])) == {"name": "Grace"}
        assert len(adapter.calls) == 2
        source.forget("7")
        await source.retrieve("7", ["name"])
        assert len(adapter.calls) == 3
        source.forget_all()
        await source.retrieve("7", ["name"])
        assert len(adapter.calls) == 4

    run_virtually(story())


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_CHARS + 1)])
def test_what_is_no_key_has_no_record(key: str) -> None:
    """And the source is not asked."""

    async def story() -> None:
        adapter = ScriptedAdapter()
        assert await make_source(adapter).retrieve(key, ["name"]) == ({}, {}, True)
        assert adapter.calls == []

    run_virtually(story())


def test_a_field_that_the_source_does_not_have() -> None:
    """It is said so, and the others come."""

    async def story() -> None:
        fetched = await make_source(ScriptedAdapter()).retrieve("7", ["name", "shoe_size"])
        assert plain(fetched) == {"name": "Ada"}
        assert fetched.unavailable == {"shoe_size": "not_supported"}

    run_virtually(story())


def test_a_search_is_passed_on_within_its_bounds() -> None:
    """Nothing of it is kept; it ends in time, with a reason."""

    async def story() -> None:
        async def many(*_: Any) -> list[Record]:
            return [Record(str(number), {}) for number in range(5)]

        adapter = ScriptedAdapter(one_after_another(many, hang))
        source = make_source(adapter)
        assert [record.key for record in await source.search({"name": "Ada"}, 3)] == ["0", "1", "2"]
        with pytest.raises(AdapterError) as caught:
            await source.search({"name": "Ada"}, 3, 0.5)
        assert caught.value.reason is AdapterReason.TIMEOUT
        assert now() == pytest.approx(0.5)
        await source.close()

    run_virtually(story())


def test_closing_does_not_wait_for_what_hangs() -> None:
    """Who still waits has an answer, and there is none afterwards."""

    async def story() -> None:
        adapter = ScriptedAdapter(hang)
        source = make_source(adapter)
        waiting = asyncio.create_task(source.retrieve("7", ["name"]))
        await asyncio.sleep(0.1)
        await source.close()
        assert now() == pytest.approx(0.1)
        assert (await waiting).unavailable == {"name": "unreachable"}
        assert (await source.retrieve("8", ["name"])).unavailable == {"name": "unreachable"}
        assert len(adapter.calls) == 1

    run_virtually(story())


def test_answers_are_counted_by_what_became_of_them() -> None:
    """By adapter and outcome, and nothing else."""

    async def story() -> None:
        source = make_source(ScriptedAdapter(one_after_another(answer, hang)))
        await source.retrieve("7", ["name"])
        await source.retrieve("7", ["name"])
        await source.retrieve("8", ["name"])
        await source.close()

    before = read_totals().counters.get("adapter_answers", {})
    run_virtually(story())
    after_it = read_totals().counters["adapter_answers"]
    counted = {name: count - before.get(name, 0) for name, count in after_it.items()}
    assert {name: count for name, count in counted.items() if count} == {
        "crm\tfetched": 1,
        "crm\tkept": 1,
        "crm\ttimeout": 1,
    }


def test_a_blocked_thread_holds_up_nobody() -> None:
    """An adapter that works in threads of its own and hangs in one: the answer comes, while it still hangs."""

    async def story() -> None:
        pool, ended = ThreadPoolExecutor(1), threading.Event()

        async def block(*_: Any) -> None:
            await asyncio.get_running_loop().run_in_executor(pool, ended.wait, 60)

        source = Source(ScriptedAdapter(block), SourceBounds(deadline_s=0.01, timeout_s=0.02))
        try:
            assert (await source.retrieve("7", ["name"])).unavailable == {"name": "timeout"}
            assert not ended.is_set()
        finally:
            ended.set()
            await source.close()
            pool.shutdown()

    asyncio.run(story())
