"""Threads for adapters whose libraries block: as many at once as there are connections, and an end for each call.

A call that is given up counts as running until its thread is free again, so that a source that hangs takes the threads
that it has, and no more. The threads do not hold the process up when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from collector.errors import AdapterError, AdapterReason

Result = TypeVar("Result")


class BlockingThreads:
    """Some daemon threads that carry calls out. Of any event loop; `run` belongs to the running one."""

    def __init__(self, name: str, count: int) -> None:
        """`count`: how many calls run at once. The threads start when they are needed."""
        self._name = name
        self._count = count
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._pending: set[asyncio.Future[Any]] = set()
        self._free = threading.Semaphore(0)
        self._is_closed = False

    async def run(self, work: Callable[[], Result], give_up: Callable[[], None] = lambda: None) -> Result:
        """Return what `work` returns, or raise what it raises. Cancelled, this calls `give_up`, which may break the
        work off, and waits for its end; work that has not begun does not begin. Raises AdapterError `unreachable`
        where the threads were closed."""
        if self._is_closed:
            raise AdapterError(AdapterReason.UNREACHABLE, "the adapter was closed")
        here = asyncio.get_running_loop()
        end: asyncio.Future[tuple[Result | None, BaseException | None]] = here.create_future()
        is_given_up = threading.Event()

        def settle(result: Result | None, error: BaseException | None) -> None:
            if not end.done():
                end.set_result((result, error))

        def call() -> None:
            result, error = None, None
            try:
                if not is_given_up.is_set():
                    result = work()
            except BaseException as raised:
                error = raised
            self._free.release()  # before anybody hears of the end, so that whoever asks next finds this thread free
            with contextlib.suppress(RuntimeError):  # the loop of who asked may be gone
                here.call_soon_threadsafe(settle, result, error)

        self._pending.add(end)
        end.add_done_callback(self._pending.discard)
        self._start_thread()
        self._calls.put(call)
        while not end.done():
            try:
                await asyncio.wait({end})
            except asyncio.CancelledError:
                is_given_up.set()
                give_up()
        result, error = end.result()
        if is_given_up.is_set():
            raise asyncio.CancelledError
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def close(self) -> None:
        """Let the threads end when they are free; who still waits is told that it was in vain."""
        self._is_closed = True
        for end in list(self._pending):
            if not end.done():
                end.set_result((None, AdapterError(AdapterReason.UNREACHABLE, "the adapter was closed")))
        for _ in self._threads:
            self._calls.put(None)

    def _start_thread(self) -> None:
        if self._free.acquire(blocking=False) or len(self._threads) >= self._count:
            return
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
