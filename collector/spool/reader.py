"""The loader's side of the spool: which segments wait, in which order, and what dead writers left behind.

Never writes into a folder whose lock another process holds; see `spool` for layout and invariants.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from collector import disk
from collector.spool.segments import (
    LOCK_NAME,
    Recovered,
    list_foreign_segments,
    list_segments,
    recover_folder,
)

WHOLE = -1


class Place(NamedTuple):
    """Where to read: a segment from `start` on, to `end` or (WHOLE) to its end. `is_last` counts if `end` is given."""

    folder: str
    segment: str
    start: int
    end: int = WHOLE
    is_last: bool = True


def list_folders(spool: Path) -> list[Path]:
    """Return the writers' folders by name; none where there is no spool yet."""
    try:
        return sorted(path for path in spool.iterdir() if path.name != "lost+found" and path.is_dir())
    except FileNotFoundError:
        return []


def adopt_folders(spool: Path) -> Iterator[tuple[Path, Recovered]]:
    """Seal the open segments of folders whose writer is gone, and yield what was found. Raises OSError."""
    for folder in list_folders(spool):
        if not list_segments(folder, is_open=True):
            continue
        lock = disk.take_lock(folder / LOCK_NAME)
        if lock is None:  # its writer lives
            continue
        try:
            for found in recover_folder(folder):
                yield folder, found
        finally:
            disk.close(lock)


def list_places(spool: Path, offsets: dict[str, int], turn: int) -> Iterator[Place]:
    """Yield what waits to be loaded: folder after folder, beginning with another one each turn, segments in order.

    `offsets`: bytes of a segment (`folder/segment`) that are loaded already.
    """
    folders = list_folders(spool)
    start = turn % len(folders) if folders else 0
    for folder in folders[start:] + folders[:start]:
        for path in list_segments(folder, is_open=False):
            yield Place(folder.name, path.name, offsets.get(f"{folder.name}/{path.name}", 0))


def list_foreign(spool: Path) -> list[Path]:
    """Return the segments that a newer version wrote: they wait for that version."""
    return [path for folder in list_folders(spool) for path in list_foreign_segments(folder)]
