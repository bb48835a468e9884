"""Beacons put into a spool by the real writer, without HTTP, and their ledger.

Beacon `number` is always the same: three events of one session, the last of them an `identify` with its evidence.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from collector.spool.writer import SpoolWriter
from tests.chaos.ledger import Ledger
from tests.running_store import make_event, make_evidence, make_id, make_row


def make_line(number: int) -> bytes:
    """Return beacon `number` as a line of the spool."""
    events = [make_event(number * 3 + index) for index in range(2)]
    events.append(make_event(number * 3 + 2, name="identify"))
    evidence = make_evidence(number, number, event_id=events[2].event_id)
    return msgspec.json.encode(make_row(number, events=events, evidence=[evidence]))


def note_sent(ledger: Ledger, number: int) -> None:
    """Note the events of beacon `number` before it is written."""
    ledger.note_sent(make_id(number, 0xA), make_id(number, 0x5), _list_events(number))


def note_acknowledged(ledger: Ledger, number: int) -> None:
    """Note that beacon `number` was acknowledged."""
    ledger.note_acknowledged(_list_events(number))


def _list_events(number: int) -> list[dict[str, Any]]:
    names = ("page_view", "page_view", "identify")
    return [{"i": make_id(number * 3 + index, 0xE), "n": name} for index, name in enumerate(names)]


class Stream:
    """Appends beacons to a spool of its own until `stop`, a few at a time, and keeps their ledger."""

    numbers = itertools.count(1)

    def __init__(self, data: Path, ledger: Ledger) -> None:
        self._folder = data / "spool" / "web-0"
        self._ledger = ledger
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_more(self, count: int = 20) -> None:
        """Wait until so many more events are acknowledged: a store in trouble must not hold them up."""
        wanted = len(self._ledger.acknowledged) + count
        give_up_at = time.monotonic() + 60
        while len(self._ledger.acknowledged) < wanted:
            assert time.monotonic() < give_up_at, "nothing is acknowledged any more"
            time.sleep(0.005)

    async def _run(self) -> None:
        writer = SpoolWriter(self._folder, segment_age_s=0.02)
        while not self._stop.is_set():
            await asyncio.gather(*[self._append(writer) for _ in range(8)])
            await asyncio.sleep(0.01)
        writer.close()

    async def _append(self, writer: SpoolWriter) -> None:
        number = next(self.numbers)
        line = make_line(number)
        note_sent(self._ledger, number)
        await writer.append(line)
        note_acknowledged(self._ledger, number)
