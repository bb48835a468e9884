"""A fresh event loop for a test, in a thread of its own: playwright keeps one running in the main thread."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run(story: Coroutine[Any, Any, T], limit_s: float = 30) -> T:
    """Run to the end and return the result; fails after `limit_s`."""

    async def limited() -> T:
        return await asyncio.wait_for(story, limit_s)

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(lambda: asyncio.run(limited())).result()
