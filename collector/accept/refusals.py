"""Refusals, summed up in memory and spooled once a second: one line for each site, step, reason and field.

A flood of junk would otherwise fill the disk with a line for each. What is counted stays exact, and no answer waits for
it. Bounded: where more kinds of refusal come in a second than MAX_SUMS, the field is left out of further ones.

What is promised: a refusal is on disk a second after its answer. Where the process is killed within that second its
count is lost, and where the spool is full it waits here. (Events are another matter: they are on disk before their
answer.) `flush` before the spool is closed writes what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from collector.errors import SpoolError
from collector.event import LandingRow, RejectedRow
from collector.metrics import count_request
from collector.sites.book import Site

INTERVAL_S = 1.0
MAX_SUMS = 1024
MAX_BYTES = 2**32 - 1  # the store's bound on a sum of bodies

_ENCODE = msgspec.json.Encoder().encode


class Spool(Protocol):
    """Where lines go. See `collector.spool.writer.SpoolWriter`."""

    async def append(self, line: bytes) -> None:
        """Return once the line is on disk. Raises SpoolFull or SpoolError."""

    async def append_all(self, lines: Sequence[bytes]) -> None:
        """Return once all lines are on disk. Raises SpoolFull, then none of them is stored, or SpoolError."""

    def put(self, line: bytes, done: Callable[[SpoolError | None], None]) -> None:
        """Call `done` once the line is on disk, or cannot be. Raises SpoolFull or SpoolError."""


class Refusal(NamedTuple):
    """One refusal, and whose it is. `site_id`: "" where the site is not known."""

    received_at_ms: int
    site_id: str
    space_id: str
    row: RejectedRow
    keep_days: int = Site("").rejected_days


_Key = tuple[str, str, str, str]


class Refusals:
    """The sums of one process. For one event loop."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._sums: dict[_Key, Refusal] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def note(self, refusal: Refusal) -> None:
        """Count a refusal. It is written within INTERVAL_S."""
        self._add(refusal)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._begin_flush)

    async def flush(self) -> None:
        """Write what is counted so far. What the spool does not take is kept for the next time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        sums, self._sums = self._sums, {}
        written = await asyncio.gather(*(self._write(refusal) for refusal in sums.values()))
        for refusal, is_written in zip(sums.values(), written, strict=True):
            if not is_written:
                self.note(refusal)

    async def _write(self, refusal: Refusal) -> bool:
        try:
            await self._spool.append(make_line(refusal))
        except SpoolError:
            count_request("unrecorded")
            return False
        return True

    def _begin_flush(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self.flush())

    def _add(self, refusal: Refusal) -> None:
        row = refusal.row
        key = (refusal.site_id, row.step, row.reason, row.field)
        if key not in self._sums and len(self._sums) >= MAX_SUMS:
            row = msgspec.structs.replace(row, field="")
            key = (refusal.site_id, row.step, row.reason, "")  # as many of these as sites, steps and reasons
        other = self._sums.get(key)
        self._sums[key] = refusal._replace(row=row) if other is None else other._replace(row=_sum(other.row, row))


def make_line(refusal: Refusal) -> bytes:
    """Return the line of the spool that counts a refusal: nothing of what was refused."""
    return _ENCODE(
        LandingRow(
            received_at_ms=refusal.received_at_ms,
            site_id=refusal.site_id,
            space_id=refusal.space_id,
            visitor_proof="none",
            rejected_days=refusal.keep_days,
            rejected=[refusal.row],
        )
    )


def _sum(one: RejectedRow, other: RejectedRow) -> RejectedRow:
    """Add two refusals up. A digest stays where both bodies were the same."""
    return msgspec.structs.replace(
        one,
        body_bytes=min(one.body_bytes + other.body_bytes, MAX_BYTES),
        events=one.events + other.events,
        beacons=one.beacons + other.beacons,
        digest=one.digest if one.digest == other.digest else "",
    )
