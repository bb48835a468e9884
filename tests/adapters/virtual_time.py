"""Time in tests: an event loop in which it passes only when nothing is left to do, so that an hour takes none."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever come")
        self.loop.now_s += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Nothing of the outside may be waited for in it: no thread, no socket."""

    now_s = 0.0

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now_s


def run_virtually(story: Coroutine[Any, Any, Any]) -> Any:
    """Run a story to its end; then nothing may be left running."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_run(story))


async def _run(story: Coroutine[Any, Any, Any]) -> Any:
    result = await story
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left
    return result


async def wait_until(holds: Callable[[], Awaitable[bool]], most_s: float = 20.0) -> None:
    """Wait in real time until something holds; for what comes from another thread or process."""
    async with asyncio.timeout(most_s):
        while not await holds():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


def now() -> float:
    """Seconds, by the running loop."""
    return asyncio.get_running_loop().time()
