"""An import from file to spool: sorted by month, resumed, refused with a reason, and never in the way of today."""

from __future__ import annotations

import asyncio
import errno
import json
import multiprocessing
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import disk
from collector.errors import ConfigError, ImportFileError, InstanceBusy
from collector.importing import events, months
from collector.keyring import Keyring
from collector.sites.book import Site
from tests.faulty_disk import FaultyOs, die_after, die_before, fail_with
from tests.importing.import_files import NOON_MS, Importer, Quiet, read_refused

START = datetime(2024, 1, 15, tzinfo=UTC)


def make_row(number: int, **more: Any) -> dict[str, Any]:
    """An order of visitor number % 7, in 14 months, not in their order."""
    when = START + timedelta(days=(number * 31) % 390)
    return {
        "event": "order",
        "anonymousId": f"v{number % 7}",
        "timestamp": when.isoformat(),
        "messageId": f"m-{number}",
        "properties": {"n": number},
        **more,
    }


@pytest.fixture
def importer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Importer:
    monkeypatch.setattr(disk, "os", FaultyOs())  # syncs do not wait
    return Importer(tmp_path)


def read_numbers(importer: Importer) -> list[int]:
    return [json.loads(event["props"])["n"] for event in importer.events]


def find_month(event: dict[str, Any]) -> str:
    return datetime.fromtimestamp(event["time_ms"] / 1000, UTC).strftime("%Y-%m")


def test_events_come_month_by_month(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file's order: the spool has one month after the other, every event once, of an import."""
    monkeypatch.setattr(events, "CHUNK_CALLS", 20)
    monkeypatch.setattr(months, "BUFFER_BYTES", 1_000)
    path = importer.write("a.jsonl", *(make_row(number) for number in range(300)))
    state = importer.run(path)
    assert (state.rows, state.calls, state.events, state.rejected, state.phase) == (300, 300, 300, 0, "done")
    by_line = [{find_month(event) for event in line["events"]} for line in importer.lines]
    assert all(len(found) == 1 for found in by_line)
    assert by_line == sorted(by_line, key=min)
    assert len({month for found in by_line for month in found}) == 14
    assert any(len(line["events"]) > 1 for line in importer.lines)
    assert sorted(read_numbers(importer)) == list(range(300))
    assert {line["received_at_ms"] for line in importer.lines} == {NOON_MS}
    assert {line["visitor_proof"] for line in importer.lines} == {"server"}
    assert not list((importer.folder / "data" / "import").rglob("*.calls"))
    assert not (importer.folder / "a.jsonl.rejected.jsonl").exists()


def test_a_file_is_imported_once(importer: Importer) -> None:
    """Again, from another place even: it is known, and nothing is spooled. Read in another way it is another import."""
    path = importer.write("a.jsonl", *(make_row(number) for number in range(5)))
    first = importer.run(path)
    again = importer.run(path.rename(path.with_name("b.jsonl")))
    assert again == first
    assert len(importer.events) == 5
    importer.run(importer.folder / "b.jsonl", mapping={"properties": ""})
    assert len(importer.events) == 10
    ids = [event["event_id"] for event in importer.events]
    assert len(set(ids)) == 5  # and its events are the same ones


def test_what_is_refused_stands_beside_the_file(importer: Importer) -> None:
    """With line, reason and row, so that it can be mended and imported; without the row where consent was refused."""
    path = importer.write(
        "a.jsonl",
        make_row(1),
        "{broken",
        make_row(2, timestamp=None),
        make_row(3, timestamp="1969-12-31T23:59:59Z"),
        make_row(4, timestamp=datetime.fromtimestamp(NOON_MS / 1000 + 600, UTC).isoformat()),
        make_row(5, event=""),
        make_row(6, context={"consent": "", "userAgent": "CANARY-UNCONSENTED"}),
        make_row(7, context={"siteId": "other"}),
        make_row(8, timestamp="1970-01-01T00:00:00Z"),
        make_row(9, properties={"x": "y" * 70_000}),
    )
    state = importer.run(path)
    refused = read_refused(path.with_name("a.jsonl.rejected.jsonl"))
    assert {(row["line"], row["reason"]) for row in refused} == {
        (2, "syntax"),
        (3, "shape"),
        (4, "clock"),
        (5, "clock"),
        (6, "shape"),
        (7, "consent"),
        (8, "site"),
        (10, "size"),
    }
    assert sorted(read_numbers(importer)) == [1, 8]
    assert state.reasons == {"syntax": 1, "shape": 2, "clock": 2, "consent": 1, "site": 1, "size": 1}
    assert path.with_name("a.jsonl.rejected.jsonl").stat().st_mode & 0o777 == 0o600
    by_line = {row["line"]: row for row in refused}
    assert by_line[2]["row"] == "{broken"
    assert by_line[4]["row"]["messageId"] == "m-3"
    assert "row" not in by_line[7]
    written = [p for p in importer.folder.rglob("*") if p.is_file() and p != path]
    assert not [p for p in written if b"CANARY-UNCONSENTED" in p.read_bytes()]


def test_what_was_not_consented_to_is_never_on_disk(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever such a row is refused for, and also while the import stands between sorting and spooling."""
    canary = {"userId": "CANARY-UNCONSENTED"}
    refuses = {"consent": {"categoryPreferences": {"analytics": False}}}
    path = importer.write(
        "a.jsonl",
        make_row(1),
        make_row(2, **canary, context=refuses),
        make_row(3, **canary, context={"consent": "", "siteId": "other"}),
        make_row(4, **canary, context=refuses, event=5),
        make_row(5, **canary, context=refuses, timestamp=None),
        make_row(6, **canary, context={"consent": {"analytics": "no"}}),
        make_row(7, **canary, context=refuses, properties={"x": "y" * 300_000}),
        '{"userId":"CANARY-UNCONSENTED","context":{"consent":""}',
        make_row(9, event=5),
    )
    written: list[tuple[Path, int, bytes]] = []
    real = months.list_months

    def look(folder: Path) -> list[Path]:
        files = [p for p in importer.folder.rglob("*") if p.is_file() and p != path]
        written.extend((p, p.stat().st_mode & 0o777, p.read_bytes()) for p in files)
        return real(folder)

    monkeypatch.setattr(events, "list_months", look)
    state = importer.run(path)
    look(importer.folder)
    assert (state.events, state.calls) == (1, 1)
    assert state.reasons == {"consent": 3, "shape": 3, "size": 1, "syntax": 1}
    assert {mode for p, mode, _ in written if p.suffix == months.SUFFIX} == {0o600}
    assert not [p for p, _, data in written if b"CANARY-UNCONSENTED" in data]
    refused = read_refused(path.with_name("a.jsonl.rejected.jsonl"))
    assert [row["line"] for row in refused] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert [row["line"] for row in refused if "row" in row] == [9]


def test_a_place_that_cannot_be_written(importer: Importer) -> None:
    """No folder for refused rows, a folder in the place of the file, or the source itself, which stays as it was."""
    path = importer.write("a.jsonl", make_row(1))
    for place in (importer.folder / "gone" / "refused.jsonl", importer.folder, path):
        with pytest.raises(ImportFileError, match="--rejected names another file") as caught:
            importer.run(path, refused=place)
        assert str(caught.value).startswith(f"{place}: ")
    assert importer.events == []
    assert importer.run(path).events == 1


@pytest.mark.parametrize("at", range(1, 40, 3))
def test_a_full_disk(importer: Importer, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Wherever it is full: one line, and the same words go on when there is room."""
    path = importer.write("a.jsonl", *(make_row(number) for number in range(20)))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "os", FaultyOs(at, fail_with(errno.ENOSPC), times=1_000))
        with pytest.raises(ImportFileError, match=r"a\.jsonl: its import had to stop \(.*No space left on device\)"):
            importer.run(path)
    assert importer.run(path).events == 20
    assert set(read_numbers(importer)) == set(range(20))


def test_dry_run_writes_nothing(importer: Importer) -> None:
    """It counts as the import would: rows, months, reasons with their lines, columns, what retention would take."""
    importer.site = Site(site_id="shop", keep_days=30, origins=("https://shop.example",))
    path = importer.write("a.jsonl", make_row(0), make_row(1, color="red"), "{broken", make_row(2, event=""))
    before = sorted(importer.folder.rglob("*"))
    found = importer.preview(path)
    assert sorted(importer.folder.rglob("*")) == before
    assert (found.rows, found.events, found.expired) == (4, 2, 3)
    assert found.reasons == {"syntax": 1, "shape": 1}
    assert {(row.line, row.reason) for row in found.first} == {(3, "syntax"), (4, "shape")}
    assert found.unknown == {"color": 1}
    assert sum(found.months.values()) == 3
    state = importer.run(path)
    assert (state.events, state.reasons) == (found.events, dict(found.reasons))


def run_victim(folder: Path, keyring: Keyring, name: str, at: int, fault: Callable[..., Any]) -> None:
    """Import and die at disk call `at`."""
    events.CHUNK_CALLS, events.STATE_CALLS = 10, 20
    disk.os = FaultyOs(at, fault)  # type: ignore[attr-defined]
    Importer(folder, keyring=keyring, settings={"segment_bytes": 65_536, "segment_age_s": 60.0}).run(folder / name)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", [die_before, pytest.param(die_after, marks=pytest.mark.long)])
def test_killed_and_started_again(importer: Importer, fault: Callable[..., Any]) -> None:
    """kill -9 at every fifth call to the disk, always going on with the same folder: each event is there, none is
    another one when it comes twice, and what was refused is listed once."""
    rows = [make_row(n) if n % 10 else make_row(n, event="") for n in range(200)]
    path = importer.write("a.jsonl", *rows)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.importing.import_files"])
    at, deaths = 1, 0
    while True:
        victim = context.Process(target=run_victim, args=(importer.folder, importer.keyring, "a.jsonl", at, fault))
        victim.start()
        victim.join()
        if victim.exitcode == 0:
            break
        assert victim.exitcode == -signal.SIGKILL
        deaths += 1
        at += 5
    assert deaths > 6
    keys = {
        (line["visitor_id"], event["time_ms"], event["event_id"]) for line in importer.lines for event in line["events"]
    }
    assert len(keys) == len({key[2] for key in keys}) == 180
    assert sorted(set(read_numbers(importer))) == [n for n in range(200) if n % 10]
    refused = read_refused(path.with_name("a.jsonl.rejected.jsonl"))
    assert [row["line"] for row in refused] == [
        row["line"] for row in sorted(refused, key=lambda row: row["row"]["timestamp"][:7])
    ]
    assert sorted(row["line"] for row in refused) == [n + 1 for n in range(200) if n % 10 == 0]


def test_it_leaves_room_for_today(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    """At half of the spool's bound it waits, and goes on when the loader has made room."""
    importer.settings = {"max_spool_bytes": 2_000_000, "min_free_bytes": 0, "segment_bytes": 65_536}
    folder = importer.folder / "data" / "spool" / "web-0"
    folder.mkdir(parents=True)
    (folder / "x").write_bytes(bytes(999_900))

    async def sleep(_: float) -> None:
        if importer.watcher.waits:
            (folder / "x").unlink(missing_ok=True)
        await real_sleep(0.05)

    real_sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", sleep)
    importer.run(importer.write("a.jsonl", *(make_row(number) for number in range(50))))
    assert importer.watcher.waits[0].startswith("the spool has reached max_spool_bytes")
    assert importer.watcher.waits[-1] == ""
    assert sorted(read_numbers(importer)) == list(range(50))


def test_one_at_a_time(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file twice at once: the second is refused. An unknown site, an unreadable file: one line each."""
    monkeypatch.setattr(events, "LOCK_PATIENCE_S", 0.0)
    path = importer.write("a.jsonl", make_row(1))
    importer.run(path)
    [folder] = (importer.folder / "data" / "spool").iterdir()
    lock = disk.take_lock(folder / "lock")
    assert lock is not None
    with pytest.raises(InstanceBusy):
        importer.run(path)
    disk.close(lock)
    with pytest.raises(ConfigError, match="there is no site nowhere"):
        importer.open(path, site="nowhere")
    with pytest.raises(ImportFileError, match="cannot be read"):
        importer.run(importer.folder / "gone.jsonl")
    with pytest.raises(ImportFileError, match="cannot be read"):
        importer.preview(importer.folder / "gone.jsonl")


def test_a_file_that_grows_meanwhile(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a file is not imported: nothing is spooled before it was read whole and found unchanged."""
    path = importer.write("a.jsonl", *(make_row(number) for number in range(50)))
    real = months.MonthSorter.flush

    def flush(sorter: months.MonthSorter) -> None:
        real(sorter)
        with path.open("ab") as file:
            file.write(b"{}\n")

    with monkeypatch.context() as patch:
        patch.setattr(months.MonthSorter, "flush", flush)
        with pytest.raises(ImportFileError, match="has changed while it was read"):
            importer.run(path)
    assert importer.lines == []
    assert importer.run(path).events == 50


def test_cancelled_while_it_sorts(importer: Importer) -> None:
    """Ctrl-C ends it soon, and the next try begins the sorting anew."""
    path = importer.write("a.jsonl", *(make_row(number) for number in range(1_200)))

    class Cancels(Quiet):
        def begin(self, step: str, total: int, unit: str) -> None:
            task = asyncio.current_task()
            assert task is not None
            if step == "sorting":
                task.cancel()

    importer.watcher = Cancels()
    with pytest.raises(asyncio.CancelledError):
        importer.run(path)
    importer.watcher = Quiet()
    assert importer.lines == []
    assert importer.run(path).events == 1_200
