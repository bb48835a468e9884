"""Segments of the spool as files: their names, their recovery after a crash, their damage set aside.

See `spool` for the layout and the invariants.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from collector import disk
from collector.logs import get_logger
from collector.spool.frames import is_torn, scan_frames

FORMAT = 1
LOCK_NAME = "lock"
_NAME = re.compile(r"^(\d{10})-([0-9a-f]{8})\.v(\d+)\.(open|seg)$")


class SegmentName(NamedTuple):
    """The parts of a segment's file name. `number` orders the segments of a folder, `salt` makes each name unique
    for ever, so that a note about one (see `load_journal`) is never read as a note about another."""

    number: int
    salt: str
    format: int
    is_open: bool


@dataclass(slots=True, frozen=True)
class Recovered:
    """What the recovery of one open segment found."""

    frames: int
    torn_bytes: int
    sealed: Path | None  # None: it held nothing


def make_name(number: int) -> str:
    """Return the file name of a new open segment."""
    return f"{number:010d}-{secrets.token_hex(4)}.v{FORMAT}.open"


def parse_name(name: str) -> SegmentName | None:
    """Return the parts of the name, or None where it is no segment's."""
    match = _NAME.match(name)
    if match is None:
        return None
    return SegmentName(int(match[1]), match[2], int(match[3]), match[4] == "open")


def list_segments(folder: Path, *, is_open: bool) -> list[Path]:
    """Return the open or the sealed segments of this format in the folder, in the order of their numbers."""
    found = []
    for path in folder.iterdir():
        name = parse_name(path.name)
        if name is not None and name.format == FORMAT and name.is_open == is_open:
            found.append((name.number, path.name, path))
    return [path for _, _, path in sorted(found)]


def list_foreign_segments(folder: Path) -> list[Path]:
    """Return the segments of a format that this version does not know. They are left alone."""
    names = [(path, parse_name(path.name)) for path in folder.iterdir()]
    return sorted(path for path, name in names if name is not None and name.format != FORMAT)


def find_next_number(folder: Path) -> int:
    """Return a number above every segment's in the folder."""
    names = [parse_name(path.name) for path in folder.iterdir()]
    return 1 + max((name.number for name in names if name is not None), default=0)


def seal_segment(path: Path, size: int) -> Path | None:
    """Give the open segment its sealed name, cut to its first `size` bytes, and make all of it durable.

    Returns the sealed path, or None where nothing is left of it and it was removed. Safe to repeat after an OSError.
    """
    sealed = path.with_name(path.name.removesuffix(".open") + ".seg") if size else None
    if path.exists():
        fd = disk.open_file(path)
        try:
            if path.stat().st_size != size:
                disk.truncate(fd, size)
            disk.sync(fd)
        finally:
            disk.close(fd)
        if sealed is None:
            disk.unlink(path)
        else:
            disk.rename(path, sealed)
    disk.sync_folder(path.parent)
    return sealed


def recover_segment(path: Path) -> Recovered:
    """Seal an open segment that its writer left behind: cut a torn tail off, keep everything else.

    The caller holds the folder's lock. Damage inside is left for the reader, which sets it aside.
    """
    data = path.read_bytes()
    frames, size = 0, len(data)
    for stretch in scan_frames(data):
        if stretch.line is not None:
            frames += 1
        elif stretch.end == len(data) and is_torn(data, stretch.start):
            size = stretch.start
    sealed = seal_segment(path, size)
    if size < len(data):
        get_logger().warning(
            "cut a torn tail off a spool segment: it was never acknowledged",
            segment=path.name,
            writer=path.parent.name,
            bytes=len(data) - size,
        )
    return Recovered(frames, len(data) - size, sealed)


def recover_folder(folder: Path) -> list[Recovered]:
    """Seal every open segment of the folder. The caller holds the folder's lock."""
    return [recover_segment(path) for path in list_segments(folder, is_open=True)]


def quarantine(segment: Path, start: int, data: bytes) -> bool:
    """Copy damaged bytes of a sealed segment into a file beside it, `SEGMENT.START.bad`. False: it was there already.

    Whoever asks what was lost finds the bytes, their place and their number there.
    """
    target = segment.with_name(f"{segment.name}.{start}.bad")
    if target.exists():
        return False
    disk.write_file(target, data)
    get_logger().error(
        "set a damaged stretch of a spool segment aside: its events are lost",
        segment=segment.name,
        writer=segment.parent.name,
        offset=start,
        bytes=len(data),
        file=target.name,
    )
    return True
