"""Threads with a connection to the store each: for event loops that ask it while somebody waits.

A client belongs to one thread, and opening one costs more than a question. So the threads of one pool keep theirs. A
thread whose question failed connects anew: the store may have been replaced.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from collector.errors import StoreUnavailable
from collector.store.client import StoreClient

Result = TypeVar("Result")
DEFAULT_THREADS = 8


class StoreThreads:
    """A pool of threads. `open_store`: makes a client; called once in each thread."""

    def __init__(self, open_store: Callable[[], StoreClient], threads: int = DEFAULT_THREADS) -> None:
        self._open_store = open_store
        self._own = threading.local()
        self._clients: list[StoreClient] = []
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store")

    async def ask(self, question: Callable[[StoreClient], Result]) -> Result:
        """Put a question in one of the threads. Raises what it raises: StoreError above all.

        Who no longer waits for the answer stops neither the question nor those of others.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, question)

    def close(self) -> None:
        """Let go the connections, after the questions under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for client in self._clients:
            client.close()

    def _ask(self, question: Callable[[StoreClient], Result]) -> Result:
        client: StoreClient | None = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = self._open_store()
            self._clients.append(client)
        try:
            return question(client)
        except StoreUnavailable:
            client.close()
            raise
