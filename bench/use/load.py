"""Requests at a fixed rate, whether or not the answers keep up: the times are those that somebody waiting would see.

Each request is due at a time of its own, and its answer's time is counted from then: an answer that is late because
the one before it was is late. Over keep-alive connections, in this process; what it costs itself is measured by asking
something that costs nothing.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

CONNECTIONS = 32
PATIENCE_S = 30.0


@dataclass
class Times:
    """What a stretch of requests came to. `seconds`: of each good answer; `statuses`: how often each status came."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def find_quantile_ms(self, share: float) -> float:
        """Return the time within which this share of the good answers came, in milliseconds."""
        ordered = sorted(self.seconds)
        if not ordered:
            return math.nan
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] * 1000


def ask_steadily(port: int, rate: float, seconds: float, make_head: Callable[[int], str]) -> Times:
    """Send `rate` requests a second for so long. `make_head`: the head of the nth, without `Host` and its end."""
    return asyncio.run(_ask(port, rate, max(1, int(rate * seconds)), make_head))


async def _ask(port: int, rate: float, count: int, make_head: Callable[[int], str]) -> Times:
    times = Times()
    queue: asyncio.Queue[tuple[int, float] | None] = asyncio.Queue()
    workers = [asyncio.create_task(_work(port, queue, make_head, times)) for _ in range(CONNECTIONS)]
    began_s = time.perf_counter() + 0.1
    for number in range(count):
        due_s = began_s + number / rate
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        queue.put_nowait((number, due_s))
    for _ in workers:
        queue.put_nowait(None)
    async with asyncio.timeout(PATIENCE_S + count / rate):
        await asyncio.gather(*workers)
    return times


async def _work(
    port: int, queue: asyncio.Queue[tuple[int, float] | None], make_head: Callable[[int], str], times: Times
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (item := await queue.get()) is not None:
        number, due_s = item
        writer.write(f"{make_head(number)}\r\nHost: shop.example\r\n\r\n".encode())
        status, is_last = await _read_answer(reader)
        if is_last:
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        times.statuses[status] += 1
        if status == 200:
            times.seconds.append(time.perf_counter() - due_s)
    writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Return the status, and whether the connection is over with it."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines: Sequence[bytes] = head.split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
    await reader.readexactly(length)
    return int(lines[0].split()[1]), b"connection: close" in head.lower()
