"""One replay: what is kept of refused beacons, judged again and put into the spool, file by file.

Two sources: `rejected/` (see `accept.kept_bodies_files`), and `load/refused/`, where the loader puts the lines that the
store would not take; these were accepted once, and go as they are.

Invariants
    1. Repeating it does no harm: an event keeps its id, its time and its visitor, so that it becomes the same row.
    2. Nothing is removed before the spool has synced what takes its place. A file in which nothing is left goes; of
       others what was refused again stays until it is too old. A file that a web process may still write stays whole.
    3. One at a time: the lock of `spool/replay`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from collector import disk
from collector.accept.kept_bodies import KEPT_REASONS, KeptBody
from collector.accept.kept_bodies_files import FILE_MS, KeptFile, list_files, read_bodies, seal
from collector.errors import SpoolFull
from collector.keyring import Keyring
from collector.load.batch import read_facts
from collector.load.loader import REFUSED_NAME
from collector.replaying.judgement import judge
from collector.sites.book import SiteBook
from collector.spool.writer import SpoolWriter

WRITER = "replay"
STORE = "store"
"""In place of a reason: the store would not take it."""
TOGETHER = 200
"""Lines that share a sync."""
CLOSED_MS = FILE_MS + 60_000


class Wanted(NamedTuple):
    """Which bodies. `reason`: a Reason or STORE; "" any. `since_ms`: received since then. `site_id`: "" any."""

    reason: str = ""
    since_ms: int = 0
    site_id: str = ""


@dataclass(slots=True)
class Tally:
    """What became of them. Bodies, and the events in those that were accepted."""

    bodies: int = 0
    accepted: int = 0
    events: int = 0
    skipped: int = 0  # of other sites, or older than wanted
    unreadable: int = 0  # damaged, or sealed with other secrets
    refused: Counter[str] = field(default_factory=Counter)  # events by reason
    accepted_by: Counter[str] = field(default_factory=Counter)  # bodies, by what they had been refused for


class Replay:
    """One replay of one data folder."""

    def __init__(
        self, data: Path, keyring: Keyring, sites: SiteBook, wanted: Wanted, now_ms: int, max_events: int = 500
    ) -> None:
        """`sites`: as they are now. `now_ms`: milliseconds since 1970."""
        self.tally = Tally()
        self._data = data
        self._keyring = keyring
        self._sites = sites
        self._wanted = wanted
        self._now_ms = now_ms
        self._max_events = max_events

    def measure(self) -> int:
        """Return the bytes of the files that are looked at."""
        return sum(file.size for file in self._list_kept()) + sum(path.stat().st_size for path in self._list_refused())

    def try_out(self, advance: Callable[[int], None] = lambda size: None) -> None:
        """Judge everything and write nothing. `advance` is told the size of each file that is done."""
        for file in self._list_kept():
            for _ in self._judge_file(file.path, []):
                pass
            advance(file.size)
        for path in self._list_refused():
            self._take_refused(path)
            advance(path.stat().st_size)

    async def run(self, spool: SpoolWriter, advance: Callable[[int], None] = lambda size: None) -> None:
        """Send everything. Waits while the spool is full. Raises SpoolError where the disk fails, OSError."""
        for file in self._list_kept():
            left: list[KeptBody] = []
            await _send(spool, list(self._judge_file(file.path, left)))
            # A body that nobody can read is nobody's: it goes with the file. Others of a site or time stay.
            if file.began_ms + CLOSED_MS < self._now_ms:
                self._replace(file.path, left)
            advance(file.size)
        for path in self._list_refused():
            size, line = path.stat().st_size, self._take_refused(path)
            if line is not None:
                await _send(spool, [line])
                disk.unlink(path)
            advance(size)

    def _list_kept(self) -> list[KeptFile]:
        return [
            file
            for file in list_files(self._data)
            if self._wanted.reason in ("", file.reason) and file.began_ms + CLOSED_MS >= self._wanted.since_ms
        ]

    def _list_refused(self) -> list[Path]:
        if self._wanted.reason not in ("", STORE):
            return []
        return sorted((self._data / "load" / REFUSED_NAME).glob("*.json"))

    def _judge_file(self, path: Path, left: list[KeptBody]) -> Iterator[bytes]:
        """Yield the lines to be spooled; put into `left` what is to be kept."""
        for kept in read_bodies(path, self._keyring):
            self.tally.bodies += 1
            if kept is None:
                self.tally.unreadable += 1
                continue
            if not self._is_wanted(kept.envelope.site_id, kept.received_at_ms):
                self.tally.skipped += 1
                left.append(kept)
                continue
            judgement = judge(kept, self._sites, self._keyring, self._now_ms, self._max_events)
            self.tally.refused.update({str(reason): count for reason, count in judgement.refused.items()})
            if not judgement.is_settled:
                left.append(kept)
            if judgement.line is not None:
                self.tally.accepted += 1
                self.tally.accepted_by[kept.reason] += 1
                self.tally.events += judgement.events
                yield judgement.line

    def _take_refused(self, path: Path) -> bytes | None:
        self.tally.bodies += 1
        line = path.read_bytes().strip(b"\n")
        facts = read_facts(line)
        if not line.startswith(b"{") or not line.endswith(b"}") or b"\n" in line:
            self.tally.unreadable += 1
            return None
        if not self._is_wanted(facts.site_id, facts.received_at_ms):
            self.tally.skipped += 1
            return None
        self.tally.accepted += 1
        self.tally.accepted_by[STORE] += 1
        self.tally.events += len(facts.events)
        return line

    def _is_wanted(self, site_id: str, received_at_ms: int) -> bool:
        return received_at_ms >= self._wanted.since_ms and self._wanted.site_id in ("", site_id)

    def _replace(self, path: Path, left: list[KeptBody]) -> None:
        if left:
            disk.write_file(path, b"".join(seal(self._keyring, kept) for kept in left))
        else:
            disk.unlink(path)


async def _send(spool: SpoolWriter, lines: list[bytes]) -> None:
    for start in range(0, len(lines), TOGETHER):
        await asyncio.gather(*(_append(spool, line) for line in lines[start : start + TOGETHER]))


async def _append(spool: SpoolWriter, line: bytes) -> None:
    while True:
        try:
            await spool.append(line)
        except SpoolFull as full:
            await asyncio.sleep(full.retry_after_s)
        else:
            return


def list_reasons() -> list[str]:
    """Return the words that `Wanted.reason` may be."""
    return [*sorted(str(reason) for reason in KEPT_REASONS), STORE]
