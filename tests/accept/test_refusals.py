"""Refusals summed up: nothing is lost in the sums, a flood stays small, and a full spool keeps them waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from collector.accept import refusals
from collector.accept.refusals import MAX_SUMS, Refusal, Refusals
from collector.errors import SpoolFull
from collector.event import LandingRow, RejectedRow


class _Spool:
    """A spool in memory that can be full, and that tells when something came."""

    def __init__(self) -> None:
        self.rows: list[LandingRow] = []
        self.is_full = False
        self.came = asyncio.Event()

    async def append(self, line: bytes) -> None:
        await asyncio.sleep(0)
        if self.is_full:
            raise SpoolFull("full")
        self.rows.append(msgspec.json.decode(line, type=LandingRow))
        self.came.set()


def _refusal(reason: str = "shape", site_id: str = "shop", at_ms: int = 1000, **more: Any) -> Refusal:
    return Refusal(at_ms, site_id, "main", RejectedRow(step="validate", reason=reason, **more))


def _sums(spool: _Spool) -> dict[tuple[str, str, str], tuple[int, int, int, str]]:
    found = {}
    for row in spool.rows:
        [refused] = row.rejected
        key = row.site_id, refused.reason, refused.field
        assert key not in found
        found[key] = refused.beacons, refused.events, refused.body_bytes, refused.digest
    return found


def test_equal_refusals_are_one_line() -> None:
    """By site, step, reason and field; counts, events and sizes add up, and what differs is told apart."""

    async def run() -> None:
        spool = _Spool()
        sums = Refusals(spool)
        for number in range(1000):
            sums.note(_refusal(at_ms=1000 + number, events=2, body_bytes=10, digest="d"))
        sums.note(_refusal(field="e[0].t", digest="d1"))
        sums.note(_refusal(field="e[0].t", digest="d2"))
        sums.note(_refusal(site_id="blog"))
        await sums.flush()
        assert _sums(spool) == {
            ("shop", "shape", ""): (1000, 2000, 10_000, "d"),
            ("shop", "shape", "e[0].t"): (2, 0, 0, ""),
            ("blog", "shape", ""): (1, 0, 0, ""),
        }
        assert (spool.rows[0].received_at_ms, spool.rows[0].visitor_proof) == (1000, "none")
        await sums.flush()
        assert len(spool.rows) == 3

    asyncio.run(run())


def test_they_are_written_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer writes what is there, again and again, and none runs while there is nothing."""
    monkeypatch.setattr(refusals, "INTERVAL_S", 0.001)

    async def run() -> None:
        spool = _Spool()
        sums = Refusals(spool)
        for count in (1, 2):
            sums.note(_refusal())
            await asyncio.wait_for(spool.came.wait(), 20)
            spool.came.clear()
            assert len(spool.rows) == count

    asyncio.run(run())


def test_a_full_spool_keeps_them_waiting() -> None:
    """What finds no room is counted on and written when there is some; nothing is counted twice."""

    async def run() -> None:
        spool = _Spool()
        sums = Refusals(spool)
        spool.is_full = True
        for _ in range(3):
            sums.note(_refusal(events=1))
            await sums.flush()
        assert spool.rows == []
        spool.is_full = False
        await sums.flush()
        assert _sums(spool) == {("shop", "shape", ""): (3, 3, 0, "")}

    asyncio.run(run())


def test_a_flood_of_different_fields_is_bounded() -> None:
    """Whoever makes up fields without end gets them summed without their names; the count is still exact."""

    async def run() -> None:
        spool = _Spool()
        sums = Refusals(spool)
        for number in range(MAX_SUMS + 5000):
            sums.note(_refusal(field=f"e[{number}].t"))
        await sums.flush()
        assert len(spool.rows) == MAX_SUMS + 1
        assert sum(beacons for beacons, *_ in _sums(spool).values()) == MAX_SUMS + 5000

    asyncio.run(run())
