"""One frame of the spool: how it is written, how it is found again among damage. No I/O here.

    frame  =  checksum  length  " "  line  "\\n"
              8 hex     8 hex        JSON, without a newline of its own

The checksum is CRC-32 of the line, started with the line's length, so that it proves both. The newline at the end
carries nothing; it is there for people (`cut -c18- segment | jq`) and to find the next frame after a bad one: because
no line holds a newline, the next frame can only begin after one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

HEADER_BYTES = 17
OVERHEAD_BYTES = HEADER_BYTES + 1
MAX_LINE_BYTES = 8_388_608 - 4096
"""A line must fit into one insert together with what the loader adds."""


class Stretch(NamedTuple):
    """Bytes `start` … `end` of a segment: a frame with its line, or damage (`line` is None)."""

    start: int
    end: int
    line: bytes | None


def encode_frame(line: bytes) -> bytes:
    """Return the line as a frame. Raises ValueError where it is no JSON object on one line, or too long."""
    size = len(line)
    if size > MAX_LINE_BYTES:
        raise ValueError(f"a spool line has at most {MAX_LINE_BYTES} bytes, this one {size}")
    if line[:1] != b"{" or line[-1:] != b"}" or b"\n" in line:
        raise ValueError("a spool line is one JSON object without a newline")
    return b"%08x%08x %b\n" % (zlib.crc32(line, size), size, line)


def scan_frames(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Stretch]:
    """Yield the stretches of `data[start:end]` in order and without gaps.

    `start` is a frame's beginning. Damage is one stretch up to the next frame that proves itself, or to the end.
    """
    end = len(data) if end is None else end
    while start < end:
        frame = _read_frame(data, start, end)
        if frame is None:
            stop = _find_frame(data, start, end)
            yield Stretch(start, stop, None)
            start = stop
        else:
            yield frame
            start = frame.end


def is_torn(data: bytes, start: int) -> bool:
    """Tell whether `data[start:]`, damage at the end of a segment, is a write that never was completed.

    True for a frame shorter than its header says, for less than a header and for zeros; such a write was never
    acknowledged. False for anything else: somebody may have been told that it is stored. So where a newline has come,
    the frame was whole, and its length is what is damaged.
    """
    rest = len(data) - start
    if rest < HEADER_BYTES or not data[start:].strip(b"\0"):
        return True
    if b"\n" in data[start:]:
        return False
    size = _read_length(data, start)
    return size is not None and size <= MAX_LINE_BYTES and rest < size + OVERHEAD_BYTES


def _read_frame(data: bytes, start: int, end: int) -> Stretch | None:
    size = _read_length(data, start)
    if size is None or start + size + OVERHEAD_BYTES > end:
        return None
    try:
        checksum = int(data[start : start + 8], 16)
    except ValueError:
        return None
    first = start + HEADER_BYTES
    line = data[first : first + size]
    if zlib.crc32(line, size) != checksum:
        return None
    return Stretch(start, first + size + 1, line)


def _read_length(data: bytes, start: int) -> int | None:
    try:
        size = int(data[start + 8 : start + 16], 16)
    except ValueError:
        return None
    return size if size > 0 else None


def _find_frame(data: bytes, start: int, end: int) -> int:
    while True:
        newline = data.find(b"\n", start, end)
        if newline < 0 or newline + 1 >= end:
            return end
        start = newline + 1
        if _read_frame(data, start, end) is not None:
            return start
