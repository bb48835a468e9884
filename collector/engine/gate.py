"""Who may work at once: a few threads for writers, a few for readers, and a bounded queue before each.

Readers have threads of their own, so that inserts never wait behind a report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from collector.engine.errors import TOO_MANY_QUERIES, QueryFailed

T = TypeVar("T")


class Gate:
    """`threads` workers and `queue` places to wait. Lives on one event loop."""

    def __init__(self, name: str, threads: int, queue: int) -> None:
        self._name = name
        self._bound = threads + queue
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"engine-{name}")
        self.busy = 0

    def enter(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Start `work` in a thread as soon as one is free. Raise `QueryFailed` 202 when the queue is full."""
        if self.busy >= self._bound:
            raise QueryFailed(
                TOO_MANY_QUERIES,
                f"Too many statements at once for {self._name}s ({self._bound}): try again in a moment.",
            )
        self.busy += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(self._leave)
        return future

    def _leave(self, _: object) -> None:
        self.busy -= 1

    def close(self) -> None:
        """Let the threads end; work that waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
