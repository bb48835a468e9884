"""The counts of all web processes of a host as one, whichever of them answers: a file for each under `run/metrics/`.

    run/metrics/<writer>.json     what the process that writes `spool/<writer>` and those before it have counted

A scrape reaches one web process of several, by chance. So each writes its totals down, once a second while they change
and before it answers, and the answer is the sum of the files. Not synced: they outlive a killed process, not a power
cut.

Invariants
    1. A file is written by the holder of that writer's spool lock alone, and replaced in one step.
    2. Totals never go back over a restart: a process begins with what its file says. Otherwise the sum of several would
       fall when one starts anew, and Prometheus would count all of it a second time.
    3. What was answered once stands in a file. A kill loses counts of a second at most, none that was seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector import disk
from collector.logs import get_logger
from collector.metrics import Totals, add_totals, read_totals

INTERVAL_S = 1.0
FORMAT = 1
FRESH_MS = 10_000
"""A process whose file is older does not turn any more, or was stopped: each writes at least every FRESH_MS / 4."""


class WebTotals(msgspec.Struct, frozen=True):
    """What stands in a file. Times in milliseconds since 1970."""

    format: int
    writer: str
    pid: int
    started_ms: int
    at_ms: int
    settings_read_at_ms: int  # when this process has last read sites and keys; 0: never
    totals: Totals


class SharedTotals:
    """The file of one web process. For its event loop."""

    def __init__(
        self,
        data: Path,
        writer: str,
        read_more: Callable[[], Totals] = Totals,
        read_settings_at_ms: Callable[[], int] = lambda: 0,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`data`: the instance's folder. `read_more`: totals of the process that are counted elsewhere."""
        self._folder = data / "run" / "metrics"
        self._writer = writer
        self._read_more = read_more
        self._read_settings_at_ms = read_settings_at_ms
        self._now_ms = now_ms
        self._started_ms = now_ms()
        self._base = Totals()
        before = _read_file(self._folder / f"{writer}.json")
        if before is not None:
            self._base = before.totals
        self._written: tuple[Totals, int] | None = None
        self._written_at_ms = 0
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write now and then, until `stop`."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Write a last time."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.write()

    def write(self) -> None:
        """Write what is counted. Where the disk does not let us, say so once and go on: nothing depends on it."""
        now_ms, settings_at_ms = self._now_ms(), self._read_settings_at_ms()
        totals = add_totals(self._base, add_totals(read_totals(), self._read_more()))
        is_due = abs(now_ms - self._written_at_ms) >= FRESH_MS // 4
        if (totals, settings_at_ms) == self._written and not is_due:
            return
        shown = WebTotals(FORMAT, self._writer, os.getpid(), self._started_ms, now_ms, settings_at_ms, totals)
        try:
            disk.make_folder(self._folder)
            disk.replace_file(self._folder / f"{self._writer}.json", msgspec.json.encode(shown))
        except OSError as error:
            if not self._is_failing:
                self._is_failing = True
                get_logger().warning("the metrics' file cannot be written", reason=error.strerror or str(error))
            return
        self._is_failing = False
        self._written, self._written_at_ms = (totals, settings_at_ms), now_ms

    async def _run(self) -> None:
        while True:
            self.write()
            await asyncio.sleep(INTERVAL_S)


def read_web_totals(data: Path) -> list[WebTotals]:
    """Return the files of all web processes that have ever run here, by name. What cannot be read is left out."""
    try:
        paths = sorted((data / "run" / "metrics").glob("*.json"))
    except OSError:
        return []
    found = (_read_file(path) for path in paths)
    return [shown for shown in found if shown is not None]


def sum_totals(files: list[WebTotals]) -> Totals:
    """Return the counts of all together."""
    total = Totals()
    for shown in files:
        total = add_totals(total, shown.totals)
    return total


def is_fresh(shown: WebTotals, now_ms: int) -> bool:
    """Tell whether that process turns now: it has written lately, and it is there."""
    if abs(now_ms - shown.at_ms) > FRESH_MS:
        return False
    try:
        os.kill(shown.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_file(path: Path) -> WebTotals | None:
    try:
        shown = msgspec.json.decode(path.read_bytes(), type=WebTotals)
    except (OSError, msgspec.MsgspecError):
        return None
    return shown if shown.format == FORMAT else None
