"""The loader: every line of the spool lands exactly once, in order, whatever the store, the disk or a row does."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from collector import disk
from collector.config import Config
from collector.errors import InstanceBusy, InstanceError, StoreUnavailable
from collector.event import EventRow, EvidenceRow, LandingRow
from collector.keyring import make_keyring
from collector.load.batch import as_places, collect_batch, split_ranges
from collector.load.journal import SLOT_BYTES, LoadJournal, has_unsettled_batch
from collector.load.loader import Loader, drain_loader, run_loader
from collector.load.maintenance import is_maintenance, set_maintenance
from collector.load.patience import Patience, Stopping
from collector.spool.frames import encode_frame
from collector.spool.reader import Place
from tests.chaos.outcome import chaos_case
from tests.faulty_disk import FAULTS, FaultyOs
from tests.folder_store import SCHEMA_TROUBLE, FolderStore

NOON_MS = 1_790_000_000_000
EVIDENCE = dict.fromkeys(("a_kind", "a_value", "a_key", "b_kind", "b_value", "b_key", "source", "proof"), "")


def make_line(number: int, *, events: int = 1, evidence: int = 0) -> bytes:
    """Return a landing row that shows its number as `viewport`."""
    row = LandingRow(
        received_at_ms=NOON_MS + number,
        site_id="shop",
        space_id="main",
        viewport=str(number),
        events=[EventRow(event_id=str(index), name="page_view", time_ms=NOON_MS) for index in range(events)],
        evidence=[
            EvidenceRow(evidence_id=str(index), kind="identify", level=3, b_unique=1, time_ms=NOON_MS, **EVIDENCE)
            for index in range(evidence)
        ],
    )
    return msgspec.json.encode(row)


class Waits(threading.Event):
    """A stop event that takes no time: counts the waits, and sets itself after `most` of them."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.most = most

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        if len(self.waits) >= self.most:
            self.set()
        return self.is_set()


class Host:
    """A data folder, its store and its loader, which is made anew after each `restart`."""

    def __init__(self, data: Path) -> None:
        self.spool, self.folder = data / "spool", data / "load"
        self.store = FolderStore(data / "store")
        self.stop = Waits()
        self.settings: dict[str, Any] = {}
        self.loader = self.restart()

    def restart(self, most_waits: int = 1000) -> Loader:
        self.stop = Waits(most_waits)
        self.loader = Loader(
            self.spool,
            self.folder,
            self.store,
            Patience(self.stop, jitter=lambda: 0.999),
            digest_key="key",
            clock_ms=lambda: NOON_MS,
            **self.settings,
        )
        return self.loader

    def write(self, segment: int, numbers: range | list[int], writer: str = "web-1", **more: Any) -> Path:
        folder = self.spool / writer
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{segment:010d}-00000000.v1.seg"
        path.write_bytes(b"".join(encode_frame(make_line(number, **more)) for number in numbers))
        return path

    def load(self) -> None:
        while self.loader.step():
            pass

    @property
    def loaded(self) -> list[int]:
        """Numbers of the beacons in the store, in the order of their batches."""
        return [int(row.get("viewport", "")) for row in self.store.rows if row.get("events")]

    @property
    def segments(self) -> list[str]:
        return sorted(path.name for path in self.spool.rglob("*.seg"))


@pytest.fixture(autouse=True)
def _do_not_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "os", FaultyOs())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.loader.close()


def test_loads_in_order_and_removes(host: Host) -> None:
    """Segments of a folder are loaded in order, as few batches, each listed with its counts, and then removed."""
    host.write(2, range(10, 20))
    host.write(1, range(10), events=3, evidence=2)
    host.write(10, range(20, 30))
    host.load()
    assert host.loaded == list(range(30))
    assert host.segments == []
    (listed,) = host.store.batches
    assert {row["batch_host"] for row in host.store.rows} == {listed["host"]}
    assert {row["batch_seq"] for row in host.store.rows} == {listed["seq"]} == {1}
    assert (listed["events"], listed["evidence"], listed["rejected"]) == (50, 20, 0)
    assert listed["first_received_at"] == "2026-09-21 14:13:20.000"
    assert listed["last_received_at"] == "2026-09-21 14:13:20.029"
    assert listed["token"] == host.store.attempts[0][0]
    assert listed["token"].startswith(f"{listed['host']}:1:")


def test_line_is_sent_as_it_was_written(host: Host) -> None:
    """Nothing of a line is touched but the two fields in front."""
    host.write(1, [7])
    host.load()
    name = (host.folder / "host").read_text().strip()
    assert host.store.attempts[0][1] == b'{"batch_host":"%b","batch_seq":1,' % name.encode() + make_line(7)[1:] + b"\n"


def test_bounds_of_a_batch(host: Host) -> None:
    """A batch has at most so many events and bytes; what is left of a segment is the beginning of the next one."""
    host.settings = {"batch_events": 10, "batch_bytes": 6000}
    host.restart()
    host.write(1, range(20), events=3)
    host.write(2, range(20, 50))
    host.load()
    assert host.loaded == list(range(50))
    assert len(host.store.blocks) >= 9
    for _, body in host.store.attempts:
        lines = [json.loads(line) for line in body.splitlines()]
        assert len(body) <= 6000
        assert sum(len(line["events"]) for line in lines) <= 10
    assert [row["seq"] for row in host.store.batches] == list(range(1, len(host.store.blocks) + 1))


def test_a_beacon_above_the_bound_goes_alone(host: Host) -> None:
    """A beacon is never split, and never stays behind."""
    host.settings = {"batch_events": 5}
    host.restart()
    host.write(1, [1, 2], events=9)
    host.load()
    assert host.loaded == [1, 2]


def test_seq_goes_on_after_a_restart(host: Host) -> None:
    """Host and sequence survive restarts, without a gap."""
    for number in range(3):
        host.write(number + 1, [number])
        host.restart().step()
        host.loader.close()
    assert [row["seq"] for row in host.store.batches] == [1, 2, 3]
    assert len({row["host"] for row in host.store.batches}) == 1


def test_all_writers_are_drained(host: Host) -> None:
    """Every folder of the spool is loaded, and none waits for a busy one for ever."""
    host.settings = {"batch_events": 10}
    host.restart()
    for segment in range(1, 6):
        host.write(segment, range(segment * 10, segment * 10 + 10), "web-1")
    host.write(1, range(10), "web-2")
    host.loader.step()
    host.loader.step()
    assert {number // 10 for number in host.loaded} == {0, 1}
    host.load()
    assert sorted(host.loaded) == list(range(60))


def test_no_answer_means_the_same_bytes_again(host: Host) -> None:
    """Whether it landed or not: after no answer the same bytes go out under the same token until one comes, and they
    count once. The waits grow up to a bound."""
    host.write(1, range(5))
    host.write(2, range(5, 9))
    host.store.plan = ["away", "lost", "lost", "away", "away", "away", "away", "away", "lost"]
    with capture_logs() as logs:
        host.load()
    assert host.loaded == list(range(9))
    assert len(set(host.store.attempts)) == 1
    assert len(host.store.attempts) == 10
    assert host.stop.waits[0] < 0.2
    assert max(host.stop.waits) <= 3.0
    assert [entry["event"] for entry in logs] == ["loading is paused, events wait in the spool", "loading again"]


@pytest.mark.parametrize("code", ["241", "252", "164", "516", "60", "16", "0"])
def test_other_refusals_are_waited_out(host: Host, code: str) -> None:
    """No memory, too many parts, read-only, wrong password, no table: nothing is discarded, loading waits."""
    host.write(1, range(5))
    host.store.plan = [code] * 4
    with capture_logs() as logs:
        host.load()
    assert host.loaded == list(range(5))
    assert host.loader.counts.refused == 0
    assert len(logs) == 2


def test_schema_trouble_pauses(host: Host) -> None:
    """While views are missing nothing is sent, and it is said once."""
    host.write(1, range(5))
    host.store.check_plan = [SCHEMA_TROUBLE] * 20
    with capture_logs() as logs:
        host.load()
    assert len(host.store.attempts) == 1
    assert host.loaded == list(range(5))
    assert [entry.get("reason") for entry in logs] == [str(SCHEMA_TROUBLE), None]


def test_stop_while_the_store_is_away(host: Host) -> None:
    """Told to stop while the store is away, the loader goes at once; the next one sends the same batch first."""
    host.write(1, range(5))
    host.store.plan = ["lost"] + ["away"] * 50
    host.restart(most_waits=3)
    with capture_logs(), pytest.raises(Stopping):
        host.load()
    assert has_unsettled_batch(host.folder)
    host.loader.close()
    host.store.plan = []
    host.write(2, range(5, 9))
    host.restart()
    host.load()
    assert host.loaded == list(range(9))
    assert len(host.store.blocks) == 2
    assert not has_unsettled_batch(host.folder)


def test_maintenance_loads_nothing(host: Host) -> None:
    """While the switch is on nothing is sent, said once and not as an error; then everything lands in order."""
    data = host.spool.parent
    assert set_maintenance(data, wanted=True)
    assert not set_maintenance(data, wanted=True)
    host.write(1, range(5))
    with capture_logs() as logs:
        for _ in range(3):
            assert not host.loader.step()
        assert host.loader.trouble == "maintenance"
        host.restart()
        host.stop.set()
        drain_loader(host.loader, host.stop, 0.1, 60)
    assert host.store.attempts == []
    assert [(entry["log_level"], "maintenance" in entry["reason"]) for entry in logs] == [("warning", True)] * 2
    assert set_maintenance(data, wanted=False)
    host.write(2, range(5, 9))
    with capture_logs() as logs:
        host.load()
    assert [entry["event"] for entry in logs] == ["loading again"]
    assert host.loaded == list(range(9))


def test_maintenance_begins_with_a_batch_on_its_way(tmp_path: Path) -> None:
    """A batch whose fate is not known waits as it is, halves of a refused one too, and lands once in the end."""

    class Begins(Waits):
        """Switches maintenance on where the loader would wait before it sends again."""

        def wait(self, timeout: float | None = None) -> bool:
            set_maintenance(host.spool.parent, wanted=True)
            return super().wait(timeout)

    for sent in range(9):
        host = Host(tmp_path / str(sent))
        host.write(1, range(16))
        host.store.is_bad = lambda row: row.get("viewport", "") == "11"
        host.store.plan = [""] * sent + ["lost", "away"]
        host.stop = Begins()
        host.loader = Loader(host.spool, host.folder, host.store, Patience(host.stop), digest_key="key")
        with capture_logs():
            host.load()
            attempts = len(host.store.attempts)
            assert is_maintenance(host.spool.parent)
            assert not host.loader.step()
            assert len(host.store.attempts) == attempts
            host.store.plan = []
            set_maintenance(host.spool.parent, wanted=False)
            host.load()
        host.loader.close()
        assert sorted(host.loaded) == [number for number in range(16) if number != 11]
        assert sum(len(row.get("rejected", [])) for row in host.store.rows) == 1
        assert [row["seq"] for row in host.store.batches] == list(range(1, len(host.store.blocks) + 1))


def test_a_clock_that_jumps(host: Host) -> None:
    """An hour forward, then two back: everything lands in its order, each batch with the time of its moment."""
    host.settings = {"batch_events": 3}
    jumps = itertools.cycle([0, 3_600_000, -3_600_000])
    host.restart()
    host.loader._clock_ms = lambda: NOON_MS + next(jumps)
    host.write(1, range(9))
    host.load()
    assert host.loaded == list(range(9))
    assert [row["seq"] for row in host.store.batches] == [1, 2, 3]
    assert len({row["loaded_at"] for row in host.store.batches}) == 3
    assert host.stop.waits == [], "nothing waited for the clock"


def test_stop_drains(host: Host) -> None:
    """On stop what is sealed is loaded, until nothing is left."""
    host.settings = {"batch_events": 2}
    host.restart()
    host.write(1, range(9))
    host.stop.set()
    drain_loader(host.loader, host.stop, 0.1, 60)
    assert host.loaded == list(range(9))


def test_stop_without_drain(host: Host) -> None:
    """Without draining nothing more is begun: it waits in the spool."""
    host.write(1, range(9))
    host.stop.set()
    drain_loader(host.loader, host.stop, 0.1, 0)
    assert host.loaded == []
    assert len(host.segments) == 1


@pytest.mark.parametrize("bad", [{0}, {999}, {517}, {3, 4}, {0, 500, 999}])
def test_bad_rows_are_found(host: Host, bad: set[int]) -> None:
    """Of a thousand beacons those that the store refuses are put aside and counted, and all the others land once."""
    host.write(1, range(400))
    host.write(2, range(400, 1000))
    host.store.is_bad = lambda row: int(row.get("viewport", "") or -1) in bad
    with capture_logs() as logs:
        host.load()
    assert sorted(host.loaded) == [number for number in range(1000) if number not in bad]
    rejections = [refusal for row in host.store.rows for refusal in row.get("rejected", [])]
    assert [(refusal["step"], refusal["events"]) for refusal in rejections] == [("load", 1)] * len(bad)
    kept = sorted((host.folder / "refused").iterdir())
    assert {int(json.loads(path.read_bytes())["viewport"]) for path in kept} == bad
    assert sum(row["rejected"] for row in host.store.batches) == len(bad)
    assert [row["seq"] for row in host.store.batches] == list(range(1, len(host.store.blocks) + 1))
    assert len(host.store.attempts) <= 25 * len(bad)
    assert host.segments == []
    assert "SECRET" not in repr(logs)


def test_bad_row_and_a_restart_at_every_attempt(tmp_path: Path) -> None:
    """Bisecting survives a stop at any of its attempts."""
    for most in range(1, 25):
        host = Host(tmp_path / str(most))
        host.write(1, range(16))
        host.store.is_bad = lambda row: row.get("viewport", "") == "11"
        host.store.plan = [""] * most + ["lost"]
        host.restart(most_waits=1)
        with capture_logs():
            try:
                host.load()
            except Stopping:
                host.loader.close()
                host.restart()
                host.load()
        host.loader.close()
        assert sorted(host.loaded) == [number for number in range(16) if number != 11]
        assert len(list((host.folder / "refused").iterdir())) == 1
        assert sum(len(row.get("rejected", [])) for row in host.store.rows) == 1


def test_store_that_takes_no_row_at_all(host: Host) -> None:
    """If even the rejection is refused the rows are not at fault: nothing is put aside, everything waits."""
    host.write(1, range(8))
    host.store.is_bad = lambda _: True
    host.restart(most_waits=5)
    with capture_logs() as logs, pytest.raises(Stopping):
        while True:
            host.loader.step()
    assert host.store.rows == []
    assert list((host.folder / "refused").iterdir()) == []
    assert len(logs) == 1
    host.loader.close()
    host.store.is_bad = lambda _: False
    host.restart()
    host.load()
    assert host.loaded == list(range(8))


def test_end_of_data_is_believed_late(host: Host) -> None:
    """A body that ended too early may have been cut on its way: it is sent again before a row is blamed."""
    host.write(1, [1])
    host.store.plan = ["33", "33"]
    with capture_logs():
        host.load()
    assert host.loaded == [1]
    assert host.loader.counts.refused == 0


@pytest.mark.parametrize("fault", FAULTS)
@chaos_case("disk: the n-th call of the loader fails", "ENOSPC, EIO, EMFILE, short write, torn write, for every n")
def test_any_call_may_fail(tmp_path: Path, fault: str) -> None:
    """Whichever file operation of the loader fails, and however: every line lands once, and it goes on by itself."""

    def load(host: Host, calls: FaultyOs) -> None:
        for segment in range(3):
            host.write(segment + 1, range(segment * 4, segment * 4 + 4))
        host.settings = {"batch_events": 5}
        host.restart()
        host.store.plan = ["", "lost"]
        with pytest.MonkeyPatch.context() as patch, capture_logs():
            patch.setattr(disk, "os", calls)
            while host.segments or not host.store.blocks:
                host.loader.step()
            host.loader.close()

    count = FaultyOs()
    load(Host(tmp_path / "none"), count)
    for at in range(1, len(count.calls) + 1):
        host = Host(tmp_path / str(at))
        load(host, FaultyOs(at, FAULTS[fault]))
        assert sorted(host.loaded) == list(range(12)), f"call {at}, {count.calls[at - 1]}"
        assert [row["seq"] for row in host.store.batches] == list(range(1, len(host.store.blocks) + 1))


def test_damage_is_set_aside(host: Host) -> None:
    """A damaged frame in a sealed segment is copied beside it, counted and named; the others are loaded."""
    path = host.write(1, range(9))
    data = bytearray(path.read_bytes())
    size = len(data) // 9
    data[size * 4 + 100] ^= 1
    path.write_bytes(data)
    with capture_logs() as logs:
        host.load()
    assert host.loaded == [0, 1, 2, 3, 5, 6, 7, 8]
    (bad,) = path.parent.glob("*.bad")
    assert bad.name == f"{path.name}.{size * 4}.bad"
    assert bad.read_bytes() == bytes(data[size * 4 : size * 5])
    assert (host.loader.counts.damaged, host.loader.counts.damaged_bytes) == (1, size)
    assert [(entry["segment"], entry["bytes"]) for entry in logs] == [(path.name, size)]


def test_segment_of_nothing_but_damage(host: Host) -> None:
    """A segment without one good frame does not stop what comes after it, and takes no number."""
    host.write(1, []).write_bytes(b"no frame at all")
    host.write(2, [5])
    host.write(3, []).write_bytes(bytes(100))
    with capture_logs():
        host.load()
    assert host.loaded == [5]
    assert host.segments == []
    assert [row["seq"] for row in host.store.batches] == [1]


def test_segment_lost_while_unsettled(host: Host) -> None:
    """If a segment of an unsettled batch is gone, the loader says so and goes on with what is left."""
    path = host.write(1, range(5))
    host.write(2, range(5, 9))
    host.store.plan = ["away"]
    host.restart(most_waits=1)
    with capture_logs(), pytest.raises(Stopping):
        host.load()
    host.loader.close()
    path.unlink()
    host.store = FolderStore(host.store.folder)  # it never came there
    host.restart()
    with capture_logs() as logs:
        host.load()
    assert host.loaded == list(range(5, 9))
    assert "a segment of an unsettled batch is gone" in [entry["event"] for entry in logs]
    assert [(row["seq"], row["events"]) for row in host.store.batches] == [(1, 9), (2, 4)]


def test_dead_writers_are_adopted(host: Host) -> None:
    """An open segment whose writer is gone is sealed and loaded; one whose writer lives is left alone."""
    dead = host.write(1, [1, 2], "dead")
    dead.rename(dead.with_suffix(".open"))
    alive = host.write(1, [3], "alive").rename(host.spool / "alive" / "0000000001-00000000.v1.open")
    lock = disk.take_lock(host.spool / "alive" / "lock")
    assert lock is not None
    with capture_logs():
        host.load()
        assert host.loaded == [1, 2]
        assert alive.exists()
        disk.close(lock)
        host.load()
    assert host.loaded == [1, 2, 3]
    assert host.loader.counts.adopted == 2


def test_newer_format_is_left_alone(host: Host) -> None:
    """A segment of a newer version stays for that version, and is named once."""
    path = host.write(1, [1])
    newer = path.rename(path.with_name("0000000001-00000000.v2.seg"))
    host.write(2, [2])
    with capture_logs() as logs:
        host.load()
        host.load()
    assert newer.exists()
    assert host.loaded == [2]
    assert [entry["segment"] for entry in logs] == [newer.name]


def test_batch_of_other_settings_is_not_guessed(host: Host) -> None:
    """A batch that another version froze under other settings is left to that version: it could land twice."""
    host.write(1, [1])
    host.store.plan = ["lost"]
    host.restart(most_waits=1)
    with capture_logs(), pytest.raises(Stopping):
        host.load()
    host.loader.close()
    with pytest.raises(InstanceError, match="another version"):
        LoadJournal(host.folder, settings_version=-1)


@pytest.mark.parametrize("slot", [0, 1])
def test_torn_slot(host: Host, slot: int) -> None:
    """Whichever slot of the journal is damaged, the loader starts, everything lands once, and no number is given
    twice."""
    for number in range(4):
        host.write(number + 1, [number])
        host.load()
    host.loader.close()
    data = bytearray((host.folder / "journal").read_bytes())
    data[slot * SLOT_BYTES + 30] ^= 1
    (host.folder / "journal").write_bytes(data)
    host.write(9, [4])
    host.restart()
    with capture_logs():
        host.load()
    assert host.loaded == list(range(5))
    assert len({row["host"] for row in host.store.batches}) == 1
    assert [row["seq"] for row in host.store.batches] == list(range(1, 6))


def test_lost_journal_means_a_new_host(host: Host) -> None:
    """Without a readable journal the host gets a new id: no number of the old one is ever given twice."""
    host.write(1, [1])
    host.load()
    host.loader.close()
    os.truncate(host.folder / "journal", 10)
    host.write(2, [2])
    host.restart()
    with capture_logs() as logs:
        host.load()
    assert sorted(host.loaded) == [1, 2]
    assert len({row["host"] for row in host.store.batches}) == 2
    assert len(logs) == 1


def test_journal_has_its_room_from_the_start(host: Host) -> None:
    """The journal never grows: it can be written when the disk is full."""
    host.write(1, [1])
    host.load()
    before = (host.folder / "journal").stat()
    for number in range(2, 300):
        host.write(number, [number])
    host.load()
    after = (host.folder / "journal").stat()
    assert (before.st_size, before.st_blocks) == (after.st_size, after.st_blocks)
    assert before.st_size == 2 * SLOT_BYTES
    assert len(host.loaded) == 299


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(2, 40), st.data())
def test_halves_are_the_whole(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], most: int, data: Any) -> None:
    """Cut anywhere: the lines of both halves are those of the batch, and reading the ranges again gives the same."""
    spool = tmp_path_factory.mktemp("spool")
    places = []
    for index, size in enumerate(sizes):
        (spool / "web").mkdir(exist_ok=True)
        lines = [encode_frame(make_line(index * 10 + number)) for number in range(size)]
        (spool / "web" / str(index)).write_bytes(b"".join(lines))
        places.append(Place("web", str(index), 0))
    batch = collect_batch(spool, places, most, 1 << 30)
    assert len(batch.lines) == min(most, sum(sizes))
    assert collect_batch(spool, as_places(batch.ranges), 1 << 30, 1 << 30).lines == batch.lines
    if len(batch.lines) > 1:
        cut = data.draw(st.integers(1, len(batch.lines) - 1))
        halves = [collect_batch(spool, as_places(ranges), 1 << 30, 1 << 30) for ranges in split_ranges(batch, cut)]
        assert [half.lines for half in halves] == [batch.lines[:cut], batch.lines[cut:]]
        ends = {part.key: part.is_last for half in halves for part in half.ranges}
        assert ends == {part.key: part.is_last for part in batch.ranges}


def test_one_loader_per_host(tmp_path: Path) -> None:
    """A second loader on the same data is refused in one line."""
    (tmp_path / "load").mkdir()
    lock = disk.take_lock(tmp_path / "load" / "lock")
    assert lock is not None
    with pytest.raises(InstanceBusy, match="one per host"):
        run_loader(Config(data=str(tmp_path)), make_keyring(), threading.Event())
    disk.close(lock)


def test_role_without_a_store_stops_when_told(tmp_path: Path) -> None:
    """The role runs while there is no store at all, keeps what waits, and goes when it is told to."""
    host = Host(tmp_path)
    host.write(1, [1])
    stop = Waits(most=4)
    with capture_logs() as logs:
        run_loader(Config(data=str(tmp_path), engine_port=1), make_keyring(), stop)
    assert len(host.segments) == 1
    assert len(logs) == 1
    lock = disk.take_lock(tmp_path / "load" / "lock")
    assert lock is not None
    disk.close(lock)


def test_patience_speaks_once() -> None:
    """One line when trouble begins, one when another begins, one when it is over."""
    patience = Patience(Waits())
    with capture_logs() as logs:
        for _ in range(5):
            patience.say_store(StoreUnavailable("x"))
        patience.say_store(SCHEMA_TROUBLE)
        patience.is_over()
        patience.is_over()
    assert len(logs) == 3
