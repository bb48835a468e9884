"""The counts of several web processes are one, and never go back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from collector import disk
from collector.metrics import Totals, count_request, read_totals
from collector.shared_totals import FRESH_MS, SharedTotals, WebTotals, is_fresh, read_web_totals, sum_totals
from tests.faulty_disk import FaultyOs, fail_with

NOON_MS = 1_790_000_000_000


def _count(data: Path) -> int:
    return sum_totals(read_web_totals(data)).counters.get("edge_requests", {}).get("slow", 0)


def _run_process(data: Path, writer: str, times: int, end: str) -> None:
    """A web process's counts, in a process of its own, which then ends as told."""
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"""
import os, sys
from pathlib import Path
from collector.metrics import count_request
from collector.shared_totals import SharedTotals
shared = SharedTotals(Path(sys.argv[1]), {writer!r})
for _ in range({times}):
    count_request("slow")
shared.write()
{end}
""",
            str(data),
        ],
        check=False,
    )


def test_several_processes_are_one_sum_that_outlives_them(tmp_path: Path) -> None:
    """Two writers count; one is killed and starts anew: the sum grows by what each has counted, and never falls."""
    _run_process(tmp_path, "web-0", 3, "")
    _run_process(tmp_path, "web-1", 4, "os.kill(os.getpid(), 9)")
    assert _count(tmp_path) == 7
    _run_process(tmp_path, "web-1", 0, "")
    assert _count(tmp_path) == 7
    _run_process(tmp_path, "web-1", 5, "")
    assert _count(tmp_path) == 12


def test_a_damaged_file_costs_its_own_counts_alone(tmp_path: Path) -> None:
    """A file that is no file of ours is left out and replaced; the others stand."""
    _run_process(tmp_path, "web-0", 3, "")
    (tmp_path / "run/metrics/web-1.json").write_bytes(b'{"format":1,"tot')
    (tmp_path / "run/metrics/web-2.json").write_bytes(b"")
    assert _count(tmp_path) == 3
    _run_process(tmp_path, "web-1", 2, "")
    assert _count(tmp_path) == 5


def test_what_is_counted_elsewhere_is_added(tmp_path: Path) -> None:
    """Totals that another part of the process keeps stand in the same file."""
    shared = SharedTotals(tmp_path, "web-0", lambda: Totals({"spool_failures": {"": 2}}), lambda: 5)
    shared.write()
    (shown,) = read_web_totals(tmp_path)
    assert shown.totals.counters["spool_failures"] == {"": 2}
    assert (shown.settings_read_at_ms, shown.pid, shown.writer) == (5, os.getpid(), "web-0")


def test_writes_by_itself_and_at_the_end(tmp_path: Path) -> None:
    """Between start and stop the file comes without being asked for; the last counts are in it."""

    async def work() -> None:
        shared = SharedTotals(tmp_path, "web-0")
        shared.start()
        for _ in range(1000):
            await asyncio.sleep(0)
            if read_web_totals(tmp_path):
                break
        count_request("slow")
        await shared.stop()

    before = read_totals().counters.get("edge_requests", {}).get("slow", 0)
    asyncio.run(work())
    assert _count(tmp_path) == before + 1


def test_a_full_disk_is_said_once_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file cannot be written there is one line in the log; later it is written again."""
    shared = SharedTotals(tmp_path, "web-0", now_ms=iter(range(NOON_MS, NOON_MS * 2, FRESH_MS)).__next__)
    monkeypatch.setattr(disk, "os", FaultyOs(1, fail_with(28), times=1000))
    with capture_logs() as logs:
        shared.write()
        shared.write()
    assert [line["log_level"] for line in logs] == ["warning"]
    monkeypatch.setattr(disk, "os", FaultyOs())
    shared.write()
    assert read_web_totals(tmp_path)


def test_a_process_that_is_gone_is_not_fresh() -> None:
    """Fresh means: has written lately, and lives."""
    shown = WebTotals(1, "web-0", os.getpid(), NOON_MS, NOON_MS, 0, Totals())
    assert is_fresh(shown, NOON_MS + FRESH_MS)
    assert not is_fresh(shown, NOON_MS + FRESH_MS + 1)
    assert not is_fresh(msgspec.structs.replace(shown, pid=2**22 + 1), NOON_MS)
