"""A source whose adapter errs, hangs, blocks or lies, in virtual time: it costs the fields, never the time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.adapters.contract import Record
from collector.adapters.source import Source
from collector.errors import AdapterError, AdapterReason
from tests.adapters.scripted_adapter import (
    ADA,
    ALL,
    Behaviour,
    ScriptedAdapter,
    after,
    answer,
    failing,
    hang,
    hang_until,
    make_source,
    one_after_another,
    plain,
)
from tests.adapters.virtual_time import now, run_virtually

DOWN = AdapterError(AdapterReason.UNREACHABLE, "down")
WRONG = AdapterError(AdapterReason.BAD_ANSWER, "wrong")


async def read_reason(source: Source, key: str) -> str:
    return (await source.retrieve(key, ["name"])).unavailable.get("name", "")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AdapterError(AdapterReason.REFUSED, "wrong password"), "refused"),
        (AdapterError(AdapterReason.CONFIG, "no such table"), "config"),
        (WRONG, "bad_answer"),
        (TimeoutError(), "timeout"),
        (ConnectionResetError(), "unreachable"),
        (KeyError("name"), "bad_answer"),
        (asyncio.CancelledError(), "timeout"),
    ],
)
def test_what_it_raises_is_a_reason(error: BaseException, reason: str) -> None:
    """Whatever it is, and it is not kept: the next one asks again."""

    async def story() -> None:
        adapter = ScriptedAdapter(failing(error))
        source = make_source(adapter)
        fetched = await source.retrieve("7", ["name"])
        assert fetched == ({}, {"name": reason}, False)
        adapter.behave = answer
        assert plain(await source.retrieve("7", ["name"])) == {"name": "Ada"}

    run_virtually(story())


def test_a_message_that_nobody_expected_is_not_logged() -> None:
    """It may quote a record; its kind is enough to find it."""

    async def story() -> None:
        source = make_source(ScriptedAdapter(failing(ValueError("Ada Lovelace, ada@example.org"))))
        await source.retrieve("ada@example.org", ["name"])

    with structlog.testing.capture_logs() as lines:
        run_virtually(story())
    assert [line["error"] for line in lines] == ["ValueError"]
    assert "ada@" not in str(lines)


@pytest.mark.parametrize("junk", ["Ada", {"name": "Ada"}, [], 7, Record("7", None), Record("7", {}, None)])  # type: ignore[arg-type]
def test_what_is_no_record_is_a_bad_answer(junk: Any) -> None:
    """An adapter of somebody else's is believed nothing."""

    async def story() -> None:
        async def give(*_: Any) -> Any:
            return junk

        assert await read_reason(make_source(ScriptedAdapter(give)), "7") == "bad_answer"

    run_virtually(story())


@pytest.mark.parametrize("then", [failing(WRONG), hang], ids=["errs", "hangs"])
def test_stale_while_it_errs(then: Behaviour) -> None:
    """A value whose time is over is given as it is, and says so, for as long as the configuration allows."""

    async def story() -> None:
        source = make_source(ScriptedAdapter(one_after_another(answer, then)), stale_s=1_000.0, failures=1_000)
        await source.retrieve("7", ALL)
        await asyncio.sleep(30)
        fetched = await source.retrieve("7", ALL)
        assert plain(fetched) == ADA
        assert {name: value.is_stale for name, value in fetched.values.items()} == {
            "name": False,
            "tier": False,
            "points": True,
        }
        assert fetched.values["points"].fetched_at_ms == 1_000_000
        assert fetched.unavailable == {}
        await asyncio.sleep(985)
        fetched = await source.retrieve("7", ALL)
        assert plain(fetched) == {"name": "Ada", "tier": "gold"}
        assert fetched.unavailable.keys() == {"points"}
        await source.close()

    run_virtually(story())


def test_a_broken_connection_is_tried_once_more() -> None:
    """In time, and once."""

    async def story() -> None:
        adapter = ScriptedAdapter(one_after_another(failing(DOWN), answer))
        source = make_source(adapter)
        assert plain(await source.retrieve("7", ["name"])) == {"name": "Ada"}
        assert len(adapter.calls) == 2
        adapter.behave = failing(DOWN)
        assert await read_reason(source, "8") == "unreachable"
        assert len(adapter.calls) == 4

    run_virtually(story())


def test_a_second_try_counts_like_the_first() -> None:
    """Against the rate; and where the first was a probe, there is none."""

    async def story() -> None:
        adapter = ScriptedAdapter(failing(DOWN))
        source = make_source(adapter, rate_per_s=1.0)
        assert await read_reason(source, "7") == "unreachable"
        assert len(adapter.calls) == 1
        adapter = ScriptedAdapter(failing(DOWN))
        source = make_source(adapter, failures=1, open_s=5.0)
        await read_reason(source, "7")
        assert len(adapter.calls) == 2
        await asyncio.sleep(6.0)
        assert await read_reason(source, "7") == "unreachable"
        assert len(adapter.calls) == 3

    run_virtually(story())


def test_a_probe_that_the_rate_holds_back_is_not_lost() -> None:
    """The next one tries it."""

    async def story() -> None:
        adapter = ScriptedAdapter(one_after_another(failing(WRONG), answer))
        source = make_source(adapter, failures=1, open_s=5.0, rate_per_s=0.1)
        reasons = []
        for _ in range(3):
            reasons.append(await read_reason(source, "7"))
            await asyncio.sleep(5.0)
        assert reasons == ["bad_answer", "rate", ""]

    run_virtually(story())


@pytest.mark.parametrize(
    "behave",
    [
        failing(WRONG),
        failing(AdapterError(AdapterReason.REFUSED, "")),
        failing(TimeoutError()),
        after(0.29, failing(DOWN)),
    ],
    ids=["wrong", "refused", "timeout", "too late"],
)
def test_nothing_else_is_tried_again(behave: Behaviour) -> None:
    """Not what the source has judged, and not when nobody waits any more."""

    async def story() -> None:
        adapter = ScriptedAdapter(behave)
        source = make_source(adapter)
        await source.retrieve("7", ["name"])
        await asyncio.sleep(1.0)
        assert len(adapter.calls) == 1

    run_virtually(story())


def test_a_source_that_keeps_failing_is_left_alone() -> None:
    """At once and for all; then one tries it."""

    async def story() -> None:
        adapter = ScriptedAdapter(failing(WRONG))
        source = make_source(adapter, failures=5, open_s=5.0)
        for number in range(5):
            assert await read_reason(source, str(number)) == "bad_answer"
        assert source.is_open
        for number in range(50):
            assert await read_reason(source, str(number)) == "open"
        assert len(adapter.calls) == 5
        assert source.last_reason is AdapterReason.BAD_ANSWER
        await asyncio.sleep(5.0)
        adapter.behave = after(0.1)
        probe = asyncio.create_task(source.retrieve("7", ["name"]))
        await asyncio.sleep(0.01)
        assert await read_reason(source, "8") == "open"
        assert plain(await probe) == {"name": "Ada"}
        assert plain(await source.retrieve("8", ["name"])) == {"name": "Ada"}
        assert not source.is_open

    with structlog.testing.capture_logs() as lines:
        run_virtually(story())
    assert [line["event"] for line in lines] == ["adapter fails, and is left alone", "adapter answers again"]


def test_a_dead_source_holds_up_few() -> None:
    """Ten minutes of it, ten new people a second: those who waited at all are countable."""

    async def story() -> None:
        source = make_source(ScriptedAdapter(hang))
        slow = 0
        for number in range(6_000):
            began_s = now()
            await source.retrieve(str(number), ALL)
            slow += now() > began_s
            await asyncio.sleep(0.1 - (now() - began_s) % 0.1)
        assert slow <= 20
        await source.close()

    run_virtually(story())


def test_what_cannot_be_cancelled_keeps_its_place() -> None:
    """So that the number of those that hang is bounded; when they end, the source is asked again."""

    async def story() -> None:
        ended = asyncio.Event()
        adapter = ScriptedAdapter(hang_until(ended))
        source = make_source(adapter, max_fetches=4, failures=1_000)
        for number in range(4):
            assert await read_reason(source, str(number)) == "timeout"
        await asyncio.sleep(60)
        for number in range(50):
            began_s = now()
            assert await read_reason(source, str(number)) == "timeout"
            assert now() == began_s
        assert len(adapter.calls) == 4
        ended.set()
        adapter.behave = answer
        await asyncio.sleep(0.1)
        assert plain(await source.retrieve("7", ["name"])) == {"name": "Ada"}

    run_virtually(story())


def test_closing_ends_though_the_adapter_does_not() -> None:
    """What hangs for good costs seconds, once."""

    async def story() -> None:
        ended = asyncio.Event()
        adapter = ScriptedAdapter(hang_until(ended))
        source = make_source(adapter)
        await source.retrieve("7", ["name"])
        await source.close()
        assert now() < 10
        ended.set()
        await asyncio.sleep(1)

    run_virtually(story())


def test_the_rate_is_kept() -> None:
    """One more has what is known already, and the reason for what is not."""

    async def story() -> None:
        adapter = ScriptedAdapter()
        source = make_source(adapter, rate_per_s=2.0)
        assert [await read_reason(source, key) for key in "abc"] == ["", "", "rate"]
        await asyncio.sleep(0.5)
        assert await read_reason(source, "c") == ""
        assert len(adapter.calls) == 3

    run_virtually(story())


def test_too_many_at_once() -> None:
    """No more than `max_fetches` run; one more is told so, where the source is not to blame."""

    async def story() -> None:
        source = make_source(ScriptedAdapter(after(0.1)), max_fetches=2)
        reasons = await asyncio.gather(*(read_reason(source, key) for key in "abc"))
        assert reasons == ["", "", "rate"]

    run_virtually(story())


def test_a_source_that_asks_for_a_rest_gets_it() -> None:
    """It is no failure: the breaker stays closed."""

    async def story() -> None:
        busy = AdapterError(AdapterReason.RATE, "too many", retry_after_s=10.0)
        adapter = ScriptedAdapter(one_after_another(failing(busy), answer))
        source = make_source(adapter, failures=1)
        assert await read_reason(source, "7") == "rate"
        await asyncio.sleep(9.0)
        assert await read_reason(source, "7") == "rate"
        assert len(adapter.calls) == 1
        assert not source.is_open
        await asyncio.sleep(1.5)
        assert await read_reason(source, "7") == ""

    run_virtually(story())


def test_a_question_that_it_cannot_answer_is_no_failure() -> None:
    """A thousand keys of a wrong form do not take the source from others."""

    async def story() -> None:
        adapter = ScriptedAdapter(failing(AdapterError(AdapterReason.NOT_SUPPORTED, "no such key")))
        source = make_source(adapter, failures=2)
        assert {await read_reason(source, str(number)) for number in range(50)} == {"not_supported"}
        adapter.behave = answer
        assert await read_reason(source, "7") == ""

    run_virtually(story())


def test_a_value_that_does_not_fit_costs_its_field() -> None:
    """The others come, and it is asked for again; what was known before is given as stale."""

    async def story() -> None:
        async def odd(key: str, _: frozenset[str]) -> Record:
            return Record(key, {"name": "Grace"}, frozenset({"points"}))

        adapter = ScriptedAdapter(one_after_another(odd, answer, odd))
        source = make_source(adapter)
        fetched = await source.retrieve("7", ["name", "points", "tier"])
        assert (plain(fetched), fetched.unavailable) == ({"name": "Grace"}, {"points": "bad_answer"})
        assert plain(await source.retrieve("7", ["points"])) == {"points": 7}
        await asyncio.sleep(20)
        fetched = await source.retrieve("7", ["points"])
        assert fetched.values["points"].is_stale
        assert [fields for _, fields in adapter.calls[1:]] == [{"points"}] * 2

    run_virtually(story())


behaviours = st.sampled_from(("answer", "slow", "late", "hang", "down", "wrong", "busy", "none"))
questions = st.tuples(
    st.floats(0, 2),  # pause before it
    st.sampled_from("abcd"),
    st.sets(st.sampled_from(sorted(ALL)), min_size=1),
    st.sampled_from((None, 0.0, 0.1, 1.0)),
    st.sampled_from(("", "", "", "forget", "cancel")),
)


@settings(max_examples=150)
@given(st.lists(behaviours, min_size=1, max_size=40), st.lists(questions, min_size=1, max_size=40))
def test_whatever_happens(script: list[str], asked: list[tuple[Any, ...]]) -> None:
    """Any behaviour in any order: answers come in time and are complete, no field is asked for twice at once, and the
    number of requests is bounded."""

    async def story() -> None:
        async def none(*_: Any) -> None:
            return None

        async def numbered(key: str, fields: frozenset[str]) -> Record:
            return Record(key, dict.fromkeys(fields, len(adapter.calls)))

        by_name: dict[str, Behaviour] = {
            "answer": numbered,
            "slow": after(0.2, numbered),
            "late": after(0.7, numbered),
            "hang": hang,
            "down": failing(DOWN),
            "wrong": failing(WRONG),
            "busy": failing(AdapterError(AdapterReason.RATE, "")),
            "none": after(0.1, none),
        }
        scripted = one_after_another(*(by_name[name] for name in script))
        running: list[tuple[str, frozenset[str]]] = []
        forgotten: set[str] = set()  # a request that was forgotten goes on, and is sent again, beside the next one

        async def watched(key: str, fields: frozenset[str]) -> Any:
            entry = (key, fields)
            assert key in forgotten or not any(one[0] == key and one[1] & fields for one in running)
            joinable = [flight.names for flight in source._flights.get(key, ())]
            assert sum(map(len, joinable)) == len(frozenset().union(*joinable))
            running.append(entry)
            assert len(running) <= 5
            try:
                return await scripted(key, fields)
            finally:
                running.remove(entry)

        adapter = ScriptedAdapter(watched)
        source = make_source(adapter, max_fetches=5, timeout_s=3.0, open_s=1.0, most_open_s=4.0, failures=3)

        async def ask(key: str, names: set[str], deadline_s: float | None) -> None:
            began_s = now()
            fetched = await source.retrieve(key, names, deadline_s)
            assert now() <= began_s + (0.3 if deadline_s is None else deadline_s) + 1e-6
            assert fetched.values.keys() | fetched.unavailable.keys() == (set() if fetched.is_none else names)
            assert not fetched.values.keys() & fetched.unavailable.keys()
            for name, value in fetched.values.items():
                age_s = now() - (value.fetched_at_ms - 1_000_000) / 1_000
                assert value.is_stale or age_s <= {"name": 100, "tier": 50, "points": 10}[name] + 1

        tasks = []
        for pause_s, key, names, deadline_s, deed in asked:
            await asyncio.sleep(pause_s)
            tasks.append(asyncio.create_task(ask(key, names, deadline_s)))
            if deed == "forget":
                source.forget(key)
                forgotten.add(key)
            elif deed == "cancel":
                await asyncio.sleep(0.05)
                tasks[-1].cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result
        await source.close()
        assert not running
        assert not source._flights  # what has ended is not remembered

    with structlog.testing.capture_logs() as lines:
        run_virtually(story())
    assert not [line for line in lines if line["log_level"] == "error"], lines  # none of the checks within failed
