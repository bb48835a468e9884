"""An adapter in a thread and an event loop of its own, for one whose author may have forgotten not to block.

Whatever it does there, the loop of who asks goes on, so that deadlines hold. A call that is given up is cancelled over
there, and counts as running until it has really ended: what blocks takes the places that its source has, and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

from collector.adapters.contract import Adapter, Described, Record
from collector.errors import AdapterError, AdapterReason

STOP_S = 2.0
"""How long closing waits for the thread; one that blocks is left behind, and does not hold the process up."""


class OwnThread:
    """An adapter that hands everything on to another one, over there."""

    def __init__(self, adapter: Adapter) -> None:
        """`adapter` must not have begun anything in another event loop. The thread starts now, and ends by `close`."""
        self._adapter = adapter
        self._loop = asyncio.new_event_loop()
        self._pending: set[asyncio.Future[asyncio.Task[Any] | None]] = set()
        self._is_closed = False
        name = f"adapter-{adapter.describe().name}"
        self._thread = threading.Thread(target=self._run_loop, name=name, daemon=True)
        self._thread.start()

    def describe(self) -> Described:
        return self._adapter.describe()

    async def retrieve(self, key: str, fields: frozenset[str], deadline_s: float) -> Record | None:
        record: Record | None = await self._call(lambda: self._adapter.retrieve(key, fields, deadline_s))
        return record

    async def search(self, terms: Mapping[str, str], limit: int) -> list[Record]:
        found: list[Record] = await self._call(lambda: self._adapter.search(terms, limit))
        return found

    async def scan(self) -> AsyncIterator[list[Record]]:
        """Who reads a whole source has time: they ask the adapter itself."""
        raise AdapterError(AdapterReason.NOT_SUPPORTED, "a source in a thread of its own is not scanned")
        yield []

    async def close(self) -> None:
        """Close the adapter over there and end the thread, or leave both behind. Every call has an end then."""
        if self._is_closed:
            return
        self._is_closed = True
        closing = asyncio.ensure_future(self._call(self._close))
        await asyncio.wait({closing}, timeout=STOP_S)
        for end in self._pending:
            end.set_result(None)
        await asyncio.wait({closing})
        if not closing.cancelled():
            closing.exception()  # it is gone either way

    async def _close(self) -> None:
        """Over there: end what runs, and then the thread."""
        try:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*others, return_exceptions=True)
                await self._adapter.close()
        finally:
            self._loop.call_soon(self._loop.stop)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _call(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run it over there. Cancelled, this still waits for the end of what it has cancelled."""
        here = asyncio.get_running_loop()
        end: asyncio.Future[asyncio.Task[Any] | None] = here.create_future()
        begun: list[asyncio.Task[Any]] = []

        async def work() -> Any:
            return await call()  # over there, also what it does before it first waits

        def begin() -> None:
            task = self._loop.create_task(work())
            begun.append(task)
            task.add_done_callback(tell)

        def tell(task: asyncio.Task[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop of who asked may be gone
                here.call_soon_threadsafe(settle, task)

        def settle(task: asyncio.Task[Any]) -> None:
            if not end.done():
                end.set_result(task)

        def give_up() -> None:
            for task in begun:
                task.cancel()

        self._pending.add(end)
        end.add_done_callback(self._pending.discard)
        self._loop.call_soon_threadsafe(begin)
        is_given_up = False
        while not end.done():
            try:
                await asyncio.wait({end})
            except asyncio.CancelledError:
                is_given_up = True
                self._loop.call_soon_threadsafe(give_up)
        task = end.result()
        if is_given_up:
            if task is not None and not task.cancelled():
                task.exception()  # nobody wants it any more
            raise asyncio.CancelledError
        if task is None:
            raise AdapterError(AdapterReason.UNREACHABLE, "the adapter was closed")
        return task.result()
