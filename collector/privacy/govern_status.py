"""`run/govern.json`: how the role govern is doing, for those who cannot ask it. It has no port.

Replaced in one step, never synced: it says how it is, not how it was.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from collector import disk
from collector.logs import get_logger

FRESH_MS = 60_000


class GovernStatus(msgspec.Struct, frozen=True):
    """What stands in the file. `at_ms`: when it was written; `waiting`, `late`: requests of people; `linked`: entries
    that this life of the role has put into the chain; `erased`: requests that it has carried out; `unlisted`: tables of
    analysts that do not say how people are erased from them; `found_again`: rows of erased people that came in
    afterwards, and were erased too; `trouble`: why it stands still, "" where it does not.
    """

    at_ms: int
    pid: int
    waiting: int = 0
    late: int = 0
    linked: int = 0
    erased: int = 0
    unlisted: int = 0
    found_again: int = 0
    trouble: str = ""

    def is_fresh(self, now_ms: int) -> bool:
        """Whether the role lives, as far as can be told."""
        return now_ms - self.at_ms < FRESH_MS


def write_status(data: Path, status: GovernStatus) -> None:
    """Write it. A disk that does not let us is said in the log: nothing depends on it."""
    path = data / "run" / "govern.json"
    try:
        disk.make_folder(path.parent)
        disk.replace_file(path, msgspec.json.encode(msgspec.structs.replace(status, pid=os.getpid())))
    except OSError as error:
        get_logger().warning("govern's status cannot be written", reason=error.strerror or str(error))


def read_govern_status(data: Path) -> GovernStatus | None:
    """Return what the role of this folder wrote last, None where none did."""
    try:
        return msgspec.json.decode((data / "run" / "govern.json").read_bytes(), type=GovernStatus)
    except (OSError, msgspec.MsgspecError):
        return None
