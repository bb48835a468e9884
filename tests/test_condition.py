"""The condition of an instance is read from its folder, whatever runs there, and shown in Prometheus' format."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from collector.condition import Condition, read_condition
from collector.endpoints.exposition import expose
from collector.load.counts import LoaderCounts
from collector.load.maintenance import set_maintenance
from collector.load.status import PAUSES, LoadStatusFile, Position, read_load_status
from collector.metrics import Histogram, Totals, count_rejected
from collector.role_board import RoleBoard, read_roles
from collector.shared_totals import SharedTotals
from collector.spool.frames import encode_frame
from collector.spool.survey import SpoolSurvey, survey_spool

NOON_MS = 1_790_000_000_000
GONE_PID = 2**22 + 1


def _fill(data: Path, writer: str, name: str, *received_ms: int) -> Path:
    folder = data / "spool" / writer
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"".join(encode_frame(b'{"received_at_ms":%d,"site_id":"shop"}' % ms) for ms in received_ms))
    return path


def _write_load(data: Path, trouble: str = "", counts: LoaderCounts | None = None, at_ms: int = NOON_MS) -> None:
    (data / "load").mkdir(exist_ok=True)
    position = Position("abc", 7)
    LoadStatusFile(data, lambda: position, lambda: trouble, counts or LoaderCounts(), lambda: at_ms).write()


def _read_samples(condition: Condition) -> dict[str, float]:
    """What a scraper sees: by name, with the labels' values behind it."""
    families = text_string_to_metric_families(expose(condition).decode())
    return {
        " ".join((sample.name.removeprefix("tagstitch_"), *sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_an_empty_folder_is_a_condition_too(tmp_path: Path) -> None:
    """Where nothing has ever run, it says so and raises nothing; it can be scraped all the same."""
    condition = read_condition(tmp_path / "nowhere", NOON_MS)
    assert (condition.roles, condition.load, condition.paused) == ([], None, "not running")
    assert condition.spool == SpoolSurvey()
    assert _read_samples(condition)["load_paused not running"] == 1


def test_the_spool_is_surveyed(tmp_path: Path) -> None:
    """Sealed and open segments, bytes, damage; the oldest beacon is the first that is not loaded, of web alone."""
    first = _fill(tmp_path, "web-0", "0000000001-00000000.v1.seg", NOON_MS - 9000, NOON_MS - 8000)
    _fill(tmp_path, "web-1", "0000000004-00000000.v1.open", NOON_MS - 5000)
    _fill(tmp_path, "import-1", "0000000001-00000000.v1.seg", 1)
    (tmp_path / "spool/web-1/lock").touch()
    (tmp_path / "spool/web-1/0000000001-00000000.v1.seg.0.bad").write_bytes(b"??")
    survey = survey_spool(tmp_path / "spool")
    assert (survey.segments, survey.open_segments, survey.damaged_files) == (2, 1, 1)
    assert survey.oldest_ms == NOON_MS - 9000
    assert survey.bytes == sum(path.stat().st_size for path in tmp_path.rglob("*.*"))
    half = first.stat().st_size // 2
    offsets = {"web-0/0000000001-00000000.v1.seg": half}
    assert survey_spool(tmp_path / "spool", offsets).oldest_ms == NOON_MS - 8000
    offsets["web-0/0000000001-00000000.v1.seg"] = half * 2
    assert survey_spool(tmp_path / "spool", offsets).oldest_ms == NOON_MS - 5000


@pytest.mark.parametrize("trouble", ["", "away", "schema", "refusal 241", "rejection", "disk", "maintenance"])
def test_a_pause_has_a_word_of_a_closed_set(tmp_path: Path, trouble: str) -> None:
    """What keeps the loader from loading is one of PAUSES; a refusal's code stands beside it."""
    _write_load(tmp_path, trouble)
    condition = read_condition(tmp_path, NOON_MS)
    assert condition.paused == ("refused" if trouble == "refusal 241" else trouble)
    assert condition.load is not None
    assert condition.load.paused_code == (241 if trouble == "refusal 241" else 0)
    samples = _read_samples(condition)
    assert {reason: samples[f"load_paused {reason}"] for reason in PAUSES} == {
        reason: float(reason == condition.paused) for reason in PAUSES
    }


def test_a_loader_that_is_silent_does_not_run(tmp_path: Path) -> None:
    """An old status, or one of a process that is gone, says that nothing is loaded."""
    _write_load(tmp_path)
    assert read_condition(tmp_path, NOON_MS).paused == ""
    assert read_condition(tmp_path, NOON_MS + 60_000).paused == "not running"
    status = read_load_status(tmp_path)
    assert status is not None
    dead = msgspec.structs.replace(status, pid=GONE_PID)
    (tmp_path / "load/status.json").write_bytes(msgspec.json.encode(dead))
    assert read_condition(tmp_path, NOON_MS).paused == "not running"


def test_maintenance_shows_before_the_loader_has_seen_it(tmp_path: Path) -> None:
    """The switch is what counts."""
    _write_load(tmp_path)
    set_maintenance(tmp_path, True)
    assert read_condition(tmp_path, NOON_MS).paused == "maintenance"


def test_roles_start_die_and_start_again(tmp_path: Path) -> None:
    """The board knows process, number of restarts and the last reason; a process that is gone has no id."""
    board = RoleBoard(tmp_path, lambda: NOON_MS)
    board.note_start("engine", os.getpid())
    board.note_start("load", os.getpid())
    board.note_death("load", "killed by SIGKILL")
    engine, load = read_roles(tmp_path)
    assert (engine.pid, engine.restarts, engine.last_end) == (os.getpid(), 0, "")
    assert (load.pid, load.restarts, load.last_end) == (0, 1, "killed by SIGKILL")
    board.note_start("load", GONE_PID)
    assert [role.pid for role in read_roles(tmp_path)] == [os.getpid(), 0]
    samples = _read_samples(read_condition(tmp_path, NOON_MS))
    assert (samples["role_up engine"], samples["role_up load"], samples["role_restarts_total load"]) == (1, 0, 1)
    assert samples["process_resident_bytes engine"] > 1_000_000
    board.close()
    assert read_roles(tmp_path) == []


def test_everything_is_exposed(tmp_path: Path) -> None:
    """Counters, histograms and gauges of all parts stand in one answer that a scraper can read."""
    counts = LoaderCounts(retries=3)
    counts.count_batch(10, 200, 5000, NOON_MS)
    counts.count_batch(10, 60_000, 9_000_000, NOON_MS)
    _write_load(tmp_path, counts=counts)
    _fill(tmp_path, "web-0", "0000000001-00000000.v1.seg", NOON_MS - 2500)
    commits = {"spool_commit_seconds": Histogram([1, 0, 2, *[0] * 8], 0.5)}
    count_rejected("validate", "clock")
    shared = SharedTotals(tmp_path, "web-0", lambda: Totals({}, commits), lambda: NOON_MS - 4000, lambda: NOON_MS)
    shared.write()
    samples = _read_samples(read_condition(tmp_path, NOON_MS))
    assert samples["rejected_total clock validate"] >= 1
    assert samples["load_lag_seconds"] == samples["spool_oldest_seconds"] == 2.5
    assert samples["settings_age_seconds"] == 4
    assert (samples["spool_segments sealed"], samples["spool_segments open"]) == (1, 0)
    assert samples["load_retries_total"] == 3
    assert samples["load_batches_total"] == samples["load_batch_events_count"] == 2
    assert (samples["load_batch_events_bucket 500"], samples["load_batch_events_bucket +Inf"]) == (1, 2)
    assert samples["load_batch_bytes_sum"] == 9_005_000
    assert (samples["spool_commit_seconds_bucket 0.001"], samples["spool_commit_seconds_count"]) == (1, 3)
    assert samples["disk_free_bytes"] > 0
    assert samples["web_processes"] == 1
    assert {name.split(" ")[0] for name in samples} >= {"acknowledgement_seconds_bucket", "process_open_files"}
