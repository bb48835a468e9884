"""What lies in the spool now, looked at from outside: sizes, numbers, the age of what waits. Reads, takes no lock.

Everything may change while it is looked at: a file that goes meanwhile is not counted. The age is that of the oldest
beacon that is not loaded, by its `received_at`. What was put in later by a command (an import, a replay) has times of
its own and counts as size alone: only the folders of web processes say how far loading is behind.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from collector.spool.reader import list_folders
from collector.spool.segments import parse_name

WEB_PREFIX = "web-"
_FIRST_BYTES = 512
_RECEIVED = re.compile(rb'\{"received_at_ms":(\d{1,15})')


class SpoolSurvey(NamedTuple):
    """`segments`: sealed and waiting; `open_segments`: growing, or left by a dead writer; `bytes`: all files.

    `oldest_ms`: when the oldest beacon that waits was received, milliseconds since 1970; 0: none waits.
    """

    segments: int = 0
    open_segments: int = 0
    bytes: int = 0
    damaged_files: int = 0
    oldest_ms: int = 0


def survey_spool(spool: Path, offsets: dict[str, int] | None = None) -> SpoolSurvey:
    """Look at all folders. `offsets`: bytes of a segment (`folder/segment`) that are loaded already."""
    sealed = growing = size = damaged = 0
    oldest: list[int] = []
    for folder in list_folders(spool):
        waiting: list[tuple[int, Path]] = []
        try:
            paths = list(folder.iterdir())
        except OSError:
            continue
        for path in paths:
            try:
                bytes_ = path.stat().st_size
            except OSError:  # the loader was faster
                continue
            size += bytes_
            damaged += path.name.endswith(".bad")
            name = parse_name(path.name)
            if name is None:
                continue
            sealed, growing = sealed + (not name.is_open), growing + name.is_open
            if bytes_:
                waiting.append((name.number, path))
        if folder.name.startswith(WEB_PREFIX):
            for _, path in sorted(waiting):
                received_ms = _read_received(path, (offsets or {}).get(f"{folder.name}/{path.name}", 0))
                if received_ms:
                    oldest.append(received_ms)
                    break
    return SpoolSurvey(sealed, growing, size, damaged, min(oldest, default=0))


def _read_received(path: Path, start: int) -> int:
    """Return when the first beacon from `start` on was received, 0 where there is none or it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            found = _RECEIVED.search(file.read(_FIRST_BYTES))
    except OSError:
        return 0
    return int(found[1]) if found else 0
