"""An adapter that blocks, in a thread of its own: whoever asks goes on, and nothing piles up."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from collector.adapters.bounds import SourceBounds
from collector.adapters.contract import Record
from collector.adapters.own_thread import OwnThread
from collector.adapters.source import Source
from collector.errors import AdapterError, AdapterReason
from tests.adapters.scripted_adapter import ADA, ALL, ScriptedAdapter, answer, failing, hang, plain
from tests.adapters.virtual_time import wait_until

LONG_S = 20.0


@pytest.fixture(autouse=True)
def no_thread_left() -> Any:
    """Every thread ends."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("adapter-"):
            thread.join(LONG_S)
            assert not thread.is_alive()


async def wait_for_call(adapter: ScriptedAdapter) -> None:
    async def is_called() -> bool:
        return bool(adapter.calls)

    await wait_until(is_called)


def test_it_answers_like_the_adapter_itself() -> None:
    """Records, none, errors and searches; over there."""

    async def story() -> None:
        threads = set()

        async def look(key: str, fields: frozenset[str]) -> Any:
            threads.add(threading.current_thread().name)
            return await answer(key, fields)

        adapter = ScriptedAdapter(look)
        apart = OwnThread(adapter)
        assert apart.describe() == adapter.describe()
        record = await apart.retrieve("7", ALL, 1.0)
        assert record is not None
        assert record.values["name"] == "Ada"
        adapter.behave = failing(AdapterError(AdapterReason.REFUSED, "no"))
        with pytest.raises(AdapterError):
            await apart.retrieve("7", ALL, 1.0)

        async def many(*_: Any) -> list[Record]:
            return [Record("1", {})]

        adapter.behave = many
        assert await apart.search({"name": "Ada"}, 5) == [Record("1", {})]
        await apart.close()
        await apart.close()
        assert adapter.closed
        assert threads == {"adapter-crm"}

    asyncio.run(story())


def test_what_blocks_holds_up_nobody() -> None:
    """The answer comes while it blocks; no more calls wait there than the source has places."""

    async def story() -> None:
        blocked, free = threading.Event(), threading.Event()

        async def block(key: str, fields: frozenset[str]) -> Any:
            blocked.set()
            free.wait(60)
            return await answer(key, fields)

        adapter = ScriptedAdapter(block)
        source = Source(OwnThread(adapter), SourceBounds(deadline_s=0.02, timeout_s=0.05, max_fetches=3, failures=99))
        for number in range(20):
            fetched = await source.retrieve(str(number), ["name"])
            assert fetched.unavailable == {"name": "timeout"}
            await asyncio.sleep(0.01)
        assert blocked.is_set()
        assert len(adapter.calls) == 1
        free.set()
        adapter.behave = answer

        async def is_back() -> bool:
            return plain(await source.retrieve("7", ALL, LONG_S)) == ADA

        await wait_until(is_back)
        await source.close()
        assert adapter.closed

    asyncio.run(story())


def test_what_is_given_up_is_cancelled_over_there() -> None:
    async def story() -> None:
        adapter = ScriptedAdapter(hang)
        apart = OwnThread(adapter)
        task = asyncio.create_task(apart.retrieve("7", ALL, 1.0))
        await wait_for_call(adapter)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await apart.close()

    asyncio.run(story())


def test_closing_leaves_behind_what_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits has an end; the thread ends when it can."""
    monkeypatch.setattr("collector.adapters.own_thread.STOP_S", 0.05)
    free = threading.Event()

    async def story() -> None:
        async def block(*_: Any) -> Any:
            free.wait(60)

        adapter = ScriptedAdapter(block)
        apart = OwnThread(adapter)
        waiting = asyncio.create_task(apart.retrieve("7", ALL, 1.0))
        given_up = asyncio.create_task(apart.retrieve("8", ALL, 1.0))
        await wait_for_call(adapter)
        given_up.cancel()
        await apart.close()
        with pytest.raises(AdapterError):
            await waiting
        with pytest.raises(asyncio.CancelledError):
            await given_up

    asyncio.run(story())
    free.set()
