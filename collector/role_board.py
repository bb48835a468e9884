"""`run/roles.json`: which roles the supervisor runs, since when, and how often each had to be started again.

For those who look from outside (`tagstitch status`, `/metrics`). Written by the supervisor alone, replaced in one step
at each start and end of a role. After a supervisor that was killed it is out of date: readers ask whether the processes
live.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector import disk
from collector.logs import get_logger


class RoleState(msgspec.Struct):
    """One role. `pid` is 0 between two lives; `last_end` says why it ended last, "" where it never did."""

    name: str
    pid: int = 0
    started_ms: int = 0
    restarts: int = 0
    last_end: str = ""


class RoleBoard:
    """The file of one supervisor."""

    def __init__(self, data: Path, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        """`data`: the instance's folder."""
        self._path = data / "run" / "roles.json"
        self._now_ms = now_ms
        self._roles: dict[str, RoleState] = {}

    def note_start(self, name: str, pid: int) -> None:
        """Note that a process plays the role from now on."""
        role = self._roles.setdefault(name, RoleState(name))
        role.pid, role.started_ms = pid, self._now_ms()
        self._write()

    def note_death(self, name: str, reason: str) -> None:
        """Note that it ended by itself, and that it is going to be started again."""
        role = self._roles.setdefault(name, RoleState(name))
        role.pid, role.restarts, role.last_end = 0, role.restarts + 1, reason[:300]
        self._write()

    def close(self) -> None:
        """Take the file away: nothing runs any more."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        try:
            disk.make_folder(self._path.parent)
            disk.replace_file(self._path, msgspec.json.encode(list(self._roles.values())))
        except OSError as error:
            get_logger().warning("run/roles.json cannot be written", reason=error.strerror or str(error))


def read_roles(data: Path) -> list[RoleState]:
    """Return what the last supervisor wrote, in the order of the first starts. `pid` is 0 where no process lives."""
    try:
        roles = msgspec.json.decode((data / "run" / "roles.json").read_bytes(), type=list[RoleState])
    except (OSError, msgspec.MsgspecError):
        return []
    for role in roles:
        if role.pid and not _lives(role.pid):
            role.pid = 0
    return roles


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
