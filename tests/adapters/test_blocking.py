"""Threads for what blocks: how many there are, what giving up does, and that closing tells everybody."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from collector.adapters.blocking import BlockingThreads
from collector.errors import AdapterError, AdapterReason


def test_no_more_at_once_than_there_are_threads() -> None:
    """The others wait their turn; idle threads are used before new ones start."""
    most = running = 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1
        return number

    async def story() -> Any:
        threads = BlockingThreads("test", 3)
        first = [await threads.run(lambda: work(0)) for _ in range(3)]
        alone = len(threads._threads)
        results = await asyncio.gather(*(threads.run(lambda number=number: work(number)) for number in range(20)))
        threads.close()
        return first, alone, results

    assert asyncio.run(story()) == ([0, 0, 0], 1, list(range(20)))
    assert most <= 3


def test_what_is_raised_comes_over() -> None:
    """Also what ends processes: it ends no thread."""

    async def story() -> None:
        threads = BlockingThreads("test", 1)
        for error in (ValueError, SystemExit, KeyError):
            with pytest.raises(error):
                await threads.run(lambda error=error: (_ for _ in ()).throw(error()))
        assert await threads.run(lambda: 7) == 7
        threads.close()

    asyncio.run(story())


def test_giving_up_breaks_off_and_waits_for_the_end() -> None:
    """Work that has begun is told; work that has not never begins."""

    async def story() -> Any:
        threads, broken, begun = BlockingThreads("test", 1), threading.Event(), threading.Event()
        done: list[str] = []

        def work() -> None:
            begun.set()
            broken.wait()
            done.append("first")

        first = asyncio.ensure_future(threads.run(work, broken.set))
        second = asyncio.ensure_future(threads.run(lambda: done.append("second")))
        await asyncio.to_thread(begun.wait)
        second.cancel()
        await asyncio.wait({second}, timeout=0.05)
        waits = not second.done()
        first.cancel()
        await asyncio.wait({first, second})
        threads.close()
        return waits, first.cancelled(), second.cancelled(), done

    assert asyncio.run(story()) == (True, True, True, ["first"])


def test_closing_tells_who_waits() -> None:
    """Though the work does not end; and nothing begins after it."""

    async def story() -> None:
        threads, ended = BlockingThreads("test", 1), threading.Event()
        waiting = asyncio.ensure_future(threads.run(ended.wait))
        await asyncio.sleep(0)
        threads.close()
        for asking in (waiting, threads.run(lambda: 1)):
            with pytest.raises(AdapterError) as caught:
                await asking
            assert caught.value.reason is AdapterReason.UNREACHABLE
        ended.set()

    asyncio.run(story())
