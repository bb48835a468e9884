"""How the instance on this host is doing, read from its data folder alone. For `/metrics` and `tagstitch status`.

Nothing is asked: not the store, which may be away, and no process, which may be dead. Who runs writes down how it is
doing (`run/roles.json`, `run/metrics/`, `run/stitch.json`, `run/activate.json`, `run/govern.json`,
`load/status.json`), and the spool lies there to be looked at. Never raises for what is missing; a folder in which
nothing runs gives a Condition that says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from collector import disk
from collector.audiences.activate_status import ActivateStatus, read_activate_status
from collector.identity.stitching.stitch_status import StitchStatus, read_stitch_status
from collector.load.maintenance import is_maintenance
from collector.load.status import LoadStatus, is_loading, read_load_status
from collector.metrics import Totals
from collector.privacy.govern_status import GovernStatus, read_govern_status
from collector.role_board import RoleState, read_roles
from collector.shared_totals import is_fresh, read_web_totals, sum_totals
from collector.spool.survey import SpoolSurvey, survey_spool

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, frozen=True)
class ProcessUse:
    """What one process uses. `cpu_s`: seconds of a core since its start."""

    name: str
    pid: int
    memory_bytes: int
    cpu_s: float
    open_files: int


@dataclass(slots=True, frozen=True)
class Condition:
    """Everything that was found, at one moment. Times in milliseconds since 1970."""

    at_ms: int
    roles: list[RoleState]  # of the supervisor; empty where the roles run without one
    uses: list[ProcessUse]  # of the processes that live
    web_processes: int  # that turn now
    totals: Totals  # of all web processes, those before them included
    settings_read_at_ms: int  # of the web process that has the oldest sites and keys; 0: not known
    spool: SpoolSurvey
    load: LoadStatus | None
    is_loading: bool
    is_maintenance: bool
    disk_free_bytes: int
    stitch: StitchStatus | None = None
    activate: ActivateStatus | None = None
    govern: GovernStatus | None = None

    @property
    def load_lag_s(self) -> float:
        """Age of the oldest beacon that is not loaded; 0 where none waits."""
        return max(0.0, (self.at_ms - self.spool.oldest_ms) / 1000) if self.spool.oldest_ms else 0.0

    @property
    def paused(self) -> str:
        """Why nothing is loaded: one of `load.status.PAUSES`, `not running`, or "" while all is well."""
        if not self.is_loading or self.load is None:
            return "not running"
        return "maintenance" if self.is_maintenance else self.load.paused

    @property
    def settings_age_s(self) -> float | None:
        """How old sites and keys are at the edge; None where no web process has any."""
        return max(0.0, (self.at_ms - self.settings_read_at_ms) / 1000) if self.settings_read_at_ms else None


def read_condition(data: Path, now_ms: int) -> Condition:
    """Look at an instance's folder."""
    files = read_web_totals(data)
    turning = [shown for shown in files if is_fresh(shown, now_ms)]
    roles = read_roles(data)
    load = read_load_status(data)
    loads = is_loading(load, now_ms)
    pids = {role.name: role.pid for role in roles if role.pid}
    pids |= {shown.writer: shown.pid for shown in turning if shown.pid not in pids.values()}
    if loads and load is not None:
        pids.setdefault("load", load.pid)
    try:
        paused_by_hand = is_maintenance(data)
        free = disk.measure_free(data)
    except OSError:
        paused_by_hand, free = False, 0
    uses = [_read_use(name, pid) for name, pid in pids.items()]
    return Condition(
        at_ms=now_ms,
        roles=roles,
        uses=[use for use in uses if use is not None],
        web_processes=len(turning),
        totals=sum_totals(files),
        settings_read_at_ms=min((shown.settings_read_at_ms for shown in turning), default=0),
        # How much of the oldest segment is loaded only the loader knows.
        spool=survey_spool(data / "spool", load.offsets if load is not None else {}),
        load=load,
        is_loading=loads,
        is_maintenance=paused_by_hand,
        disk_free_bytes=free,
        stitch=read_stitch_status(data),
        activate=read_activate_status(data),
        govern=read_govern_status(data),
    )


def _read_use(name: str, pid: int) -> ProcessUse | None:
    """Return what the process uses; None where the system does not tell."""
    folder = Path(f"/proc/{pid}")
    try:
        pages = int((folder / "statm").read_text().split()[1])
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        files = len(os.listdir(folder / "fd"))  # noqa: PTH208  counted, not opened
    except (OSError, ValueError, IndexError):
        return None
    return ProcessUse(name, pid, pages * PAGE_BYTES, (int(fields[11]) + int(fields[12])) / TICKS, files)
