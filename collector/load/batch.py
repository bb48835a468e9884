"""One batch: which frames of which segments go into it, and the bytes that are sent. Reads the spool, writes nothing.

Invariant: the body is a function of the ranges, the host and the number alone, so that the bytes of a frozen batch
can be made again after a crash. In front of each line's fields come `batch_host` and `batch_seq`; nothing else of a
line is touched, and nothing is decoded but what has to be counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from collector.event import LandingRow, RejectedRow
from collector.load.journal import Manifest, Range
from collector.reasons import Reason
from collector.spool.frames import scan_frames
from collector.spool.reader import WHOLE, Place

MAX_RANGES = 256
"""Most segments in one batch, so that a manifest fits the journal."""


class Damage(NamedTuple):
    """Bytes of a segment that are no frame."""

    folder: str
    segment: str
    start: int
    data: bytes


class _Counted(msgspec.Struct):
    """An event, a piece of evidence or a refusal, of which only the number matters here."""


class LineFacts(msgspec.Struct):
    """What the loader reads of a line. A line that cannot be read has none; the store will say what it thinks of it."""

    received_at_ms: int = 0
    site_id: str = ""
    space_id: str = ""
    events: list[_Counted] = []
    evidence: list[_Counted] = []
    rejected: list[_Counted] = []


_decoder = msgspec.json.Decoder(LineFacts)


@dataclass(slots=True)
class Batch:
    """Lines in order, with the ranges that they came from. `marks`: for each line its range's index and its end."""

    ranges: list[Range] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    prefix_bytes: int = 0
    body_bytes: int = 0
    events: int = 0
    evidence: int = 0
    rejected: int = 0
    first_received_at_ms: int = 0
    last_received_at_ms: int = 0

    def fits(self, line: bytes, facts: LineFacts, most_events: int, most_bytes: int) -> bool:
        """Tell whether the line still goes in. The first always does: a beacon is within every bound of the store."""
        return not self.lines or (
            self.body_bytes + len(line) + self.prefix_bytes <= most_bytes
            and self.events + len(facts.events) <= most_events
            and self.evidence + len(facts.evidence) <= most_events
            and self.rejected + len(facts.rejected) <= most_events
            and len(self.lines) < most_events
        )

    def add(self, line: bytes, facts: LineFacts, end: int) -> None:
        """Take the line, which ends at byte `end` of the range that is being read."""
        self.lines.append(line)
        self.marks.append((len(self.ranges), end))
        self.body_bytes += len(line) + self.prefix_bytes
        self.events += len(facts.events)
        self.evidence += len(facts.evidence)
        self.rejected += len(facts.rejected)
        if facts.received_at_ms:
            first = self.first_received_at_ms or facts.received_at_ms
            self.first_received_at_ms = min(first, facts.received_at_ms)
            self.last_received_at_ms = max(self.last_received_at_ms, facts.received_at_ms)


def collect_batch(
    spool: Path, places: Iterable[Place], most_events: int, most_bytes: int, prefix_bytes: int = 0
) -> Batch:
    """Read frames from the places, in order, until the batch is full.

    `most_bytes` bounds the body, `prefix_bytes` is what `build_body` adds to each line (see `count_prefix`). Raises
    FileNotFoundError where a segment is gone, OSError where it cannot be read.
    """
    batch = Batch(prefix_bytes=prefix_bytes)
    for place in places:
        data = _read(spool / place.folder / place.segment, place.start, place.end)
        position = place.start
        is_full = False
        for stretch in scan_frames(data):
            if stretch.line is None:
                batch.damage.append(Damage(place.folder, place.segment, position, data[stretch.start : stretch.end]))
            else:
                facts = read_facts(stretch.line)
                if not batch.fits(stretch.line, facts, most_events, most_bytes):
                    is_full = True
                    break
                batch.add(stretch.line, facts, place.start + stretch.end)
            position = place.start + stretch.end
        if position > place.start or not is_full:
            batch.ranges.append(
                Range(place.folder, place.segment, place.start, position, is_last=not is_full and place.is_last)
            )
        if is_full or len(batch.ranges) == MAX_RANGES:
            break
    return batch


def split_ranges(batch: Batch, lines: int) -> tuple[list[Range], list[Range]]:
    """Return the ranges of the batch's first `lines` lines, and those of the rest. 1 ≤ lines < the batch's."""
    index, end = batch.marks[lines - 1]
    cut = batch.ranges[index]
    first = [*batch.ranges[:index], Range(cut.folder, cut.segment, cut.start, end, is_last=False)]
    rest = [Range(cut.folder, cut.segment, end, cut.end, cut.is_last), *batch.ranges[index + 1 :]]
    return first, rest


def as_places(ranges: list[Range]) -> list[Place]:
    """Return the ranges as places to read exactly those bytes."""
    return [Place(part.folder, part.segment, part.start, part.end, part.is_last) for part in ranges]


def count_prefix(host: str) -> int:
    """Return the most bytes that `build_body` adds to a line."""
    return len(_make_prefix(host, 2**63))


def build_body(lines: list[bytes], host: str, seq: int) -> bytes:
    """Return the lines as JSON lines for `landing`: one or more, each with host and number in front."""
    prefix = _make_prefix(host, seq)
    return prefix + (b"\n" + prefix).join([line[1:] for line in lines]) + b"\n"


def make_token(body: bytes, host: str, seq: int) -> str:
    """Return the deduplication token: the same for the same bytes only, as the store drops what has a known token."""
    return f"{host}:{seq}:{hashlib.blake2b(body, digest_size=16).hexdigest()}"


def make_manifest(batch: Batch, body: bytes, host: str, seq: int, settings_version: int) -> Manifest:
    """Return the manifest that freezes the batch."""
    return Manifest(
        seq=seq,
        token=make_token(body, host, seq),
        ranges=batch.ranges,
        events=batch.events,
        evidence=batch.evidence,
        rejected=batch.rejected,
        first_received_at_ms=batch.first_received_at_ms,
        last_received_at_ms=batch.last_received_at_ms,
        settings_version=settings_version,
    )


def make_rejection(line: bytes, digest_key: str) -> bytes:
    """Return the line that takes the place of one that the store refused: a rejection without its content."""
    facts = read_facts(line)
    refusal = RejectedRow(
        step="load",
        reason=Reason.SHAPE,
        body_bytes=len(line),
        events=len(facts.events),
        digest=hashlib.blake2b(line, digest_size=16, key=digest_key.encode()[:64]).hexdigest(),
    )
    row = LandingRow(
        received_at_ms=facts.received_at_ms, site_id=facts.site_id, space_id=facts.space_id, rejected=[refusal]
    )
    return msgspec.json.encode(row)


def read_facts(line: bytes) -> LineFacts:
    """Return what has to be known of a line; nothing of a line that is no landing row."""
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, RecursionError):
        return LineFacts()


def _make_prefix(host: str, seq: int) -> bytes:
    return b'{"batch_host":%b,"batch_seq":%d,' % (msgspec.json.encode(host), seq)


def _read(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read() if end == WHOLE else file.read(end - start)
