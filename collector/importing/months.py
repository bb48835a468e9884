"""Sorts calls by month, on disk: a file for each month, in the order of the source.

A store keeps a partition for each month, and a batch that touched hundreds of them would make as many parts. Memory:
BUFFER_BYTES, whatever the size of the source; disk: about the size of the calls, until they are in the spool.

Layout: `import/<id>/<month>.calls`, a line for each call: number of the row, a space, the call as JSON. Only the
owner can read them: the calls are as the source has them, not minimised yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

BUFFER_BYTES = 33_554_432
SUFFIX = ".calls"


class MonthSorter:
    """Writes the files of one source. Nothing is synced: after a crash the sorting begins anew."""

    def __init__(self, folder: Path) -> None:
        """`folder`: is there. What an earlier try left in it is removed. Raises OSError."""
        self._folder = folder
        self._buffers: dict[str, list[bytes]] = {}
        self._size = 0
        for path in list_months(folder):
            path.unlink()

    def put(self, month: str, number: int, call: bytes) -> None:
        """Take one call. Raises OSError."""
        line = b"%d %b\n" % (number, call)
        self._buffers.setdefault(month, []).append(line)
        self._size += len(line)
        if self._size >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered. Raises OSError."""
        for month, lines in self._buffers.items():
            path = self._folder / f"{month}{SUFFIX}"
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab") as file:
                file.writelines(lines)
        self._buffers.clear()
        self._size = 0


def list_months(folder: Path) -> list[Path]:
    """Return the files that are left, the earliest month first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def read_calls(path: Path, offset: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield number, call and the offset behind it, from an offset on. Raises OSError."""
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            offset += len(line)
            number, _, call = line.rstrip(b"\n").partition(b" ")
            yield int(number), call, offset
