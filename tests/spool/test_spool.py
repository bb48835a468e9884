"""The spool's writer: what is acknowledged is on disk, whatever fails."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from collector import disk
from collector.errors import InstanceBusy, SpoolError, SpoolFull
from collector.spool import tail as spool_tail
from collector.spool import writer as spool
from collector.spool.frames import encode_frame, scan_frames
from collector.spool.segments import list_segments, recover_folder
from collector.spool.writer import REST_S, SpoolWriter
from tests.chaos.outcome import chaos_case
from tests.chaos.victims import run_writer
from tests.faulty_disk import FAULTS, FaultyOs, die_after, die_before


def make_line(number: int) -> bytes:
    return b'{"number":%d}' % number


def read_numbers(folder: Path) -> list[int]:
    """Return the numbers of the lines in the folder's segments, in order."""
    numbers = []
    for path in sorted([*list_segments(folder, is_open=False), *list_segments(folder, is_open=True)]):
        for stretch in scan_frames(path.read_bytes()):
            assert stretch.line is not None
            numbers.append(int(stretch.line.decode().strip('{"number:}')))
    return numbers


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def wait_for(is_true: Callable[[], bool]) -> None:
    """Wait for what a thread is about to do."""
    give_up_at = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.005)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "web-1"


def test_acknowledged_is_on_disk(folder: Path) -> None:
    """When append returns, the frame stands in a segment and was synced, and so was the segment's name."""
    calls = FaultyOs()

    async def work() -> None:
        writer = SpoolWriter(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "os", calls)
            await writer.append(make_line(1))
            assert calls.calls == ["open", "open", "fsync", "write", "fdatasync"]
            assert read_numbers(folder) == [1]
        writer.close()

    run(work())
    assert read_numbers(folder) == [1]
    assert list_segments(folder, is_open=True) == []


def test_concurrent_appends_share_a_sync(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while a sync is under way waits for one sync together, without any timer."""
    began, may_end = threading.Event(), threading.Event()
    real = disk.sync

    def sync(fd: int) -> None:
        began.set()
        assert may_end.wait(20)
        real(fd)

    async def work() -> None:
        writer = SpoolWriter(folder, segment_age_s=60)
        monkeypatch.setattr(disk, "sync", sync)
        first = asyncio.create_task(writer.append(make_line(0)))
        await wait_for(began.is_set)
        others = [asyncio.create_task(writer.append(make_line(number))) for number in range(1, 300)]
        await asyncio.sleep(0)
        may_end.set()
        await asyncio.gather(first, *others)
        assert (writer.counts.frames, writer.counts.commits) == (300, 2)
        writer.close()

    run(work())
    assert sorted(read_numbers(folder)) == list(range(300))


def test_commits_keep_apart(folder: Path) -> None:
    """However fast lines come and the disk is, two commits begin REST_S apart; a lone line does not wait for that."""

    async def work() -> None:
        writer = SpoolWriter(folder)
        began = time.monotonic()
        for number in range(100):
            await writer.append(make_line(number))
        most = (time.monotonic() - began) / REST_S + 1
        assert 0 < writer.counts.commits <= most
        commits = writer.counts.commits
        await asyncio.gather(*[writer.append(make_line(100 + number)) for number in range(50)])
        assert writer.counts.commits - commits <= 3
        await asyncio.to_thread(writer.close)

    run(work())
    assert read_numbers(folder) == list(range(150))


def test_durability_os_does_not_wait(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With durability `os` nothing is synced before the acknowledgement, and everything when the segment is sealed."""
    calls = FaultyOs()

    async def work() -> None:
        writer = SpoolWriter(folder, durability="os", segment_age_s=60)
        monkeypatch.setattr(disk, "os", calls)
        await writer.append(make_line(1))
        assert "fdatasync" not in calls.calls
        writer.close()
        assert "fdatasync" in calls.calls

    run(work())


def test_idle_writer_seals_by_age(folder: Path) -> None:
    """The last events before a pause are sealed by their age, without another append."""

    async def work() -> None:
        writer = SpoolWriter(folder, segment_age_s=0.05)
        await writer.append(make_line(1))
        await wait_for(lambda: len(list_segments(folder, is_open=False)) == 1)
        await writer.append(make_line(2))
        await wait_for(lambda: len(list_segments(folder, is_open=False)) == 2)
        assert read_numbers(folder) == [1, 2]
        writer.close()

    run(work())


def test_seals_by_size_and_numbers_go_on(folder: Path) -> None:
    """A segment ends at its size; a later writer goes on with higher numbers, so that order is kept."""

    async def work(first: int) -> None:
        writer = SpoolWriter(folder, segment_bytes=100, segment_age_s=60)
        for number in range(first, first + 8):
            await writer.append(make_line(number))
        writer.close()

    run(work(0))
    run(work(8))
    assert read_numbers(folder) == list(range(16))
    assert len(list_segments(folder, is_open=False)) == 4


def test_backlog_makes_few_segments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody loads, age alone seals nothing more; when there is room again, it does."""
    monkeypatch.setattr(spool_tail, "BACKLOG_SEGMENTS", 3)
    monkeypatch.setattr("collector.spool.bounds.MEASURE_INTERVAL_S", 0.01)

    async def work() -> None:
        writer = SpoolWriter(folder, segment_age_s=0.001)
        for number in range(30):
            await writer.append(make_line(number))
            await asyncio.sleep(0.01)
        assert len(list_segments(folder, is_open=False)) == 3
        for path in list_segments(folder, is_open=False):
            path.unlink()
        await wait_for(lambda: len(list_segments(folder, is_open=False)) == 1)
        writer.close()

    run(work())


def test_full_spool_refuses_and_takes_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the spool's size nothing is accepted; when the loader has made room, it is, without a restart."""
    monkeypatch.setattr("collector.spool.bounds.MEASURE_INTERVAL_S", 0.01)
    monkeypatch.setattr("collector.spool.bounds.LIKELY_APPEND_BYTES", len(encode_frame(make_line(10))))

    async def fill(writer: SpoolWriter) -> SpoolFull:
        for number in range(10, 99):
            try:
                await writer.append(make_line(number))
            except SpoolFull as refusal:
                return refusal
        raise AssertionError("never full")

    async def work() -> None:
        writer = SpoolWriter(folder, max_spool_bytes=2000, segment_bytes=500)
        assert (await fill(writer)).retry_after_s > 0
        assert len(read_numbers(folder)) * len(encode_frame(make_line(10))) <= 2000
        await wait_for(lambda: len(logs) == 1)
        assert not writer.is_accepting()
        for path in list_segments(folder, is_open=False):
            path.unlink()
        await wait_for(lambda: len(logs) == 2)
        assert writer.is_accepting()
        await writer.append(make_line(99))
        writer.close()

    with capture_logs() as logs:
        run(work())
    assert [entry["event"] for entry in logs] == ["the spool refuses events", "the spool takes events again"]


def test_other_writers_count_too(folder: Path) -> None:
    """The bound is on the whole spool: what other web processes wrote counts."""
    other = folder.parent / "web-2"
    other.mkdir(parents=True)
    (other / "0000000001-00000000.v1.seg").write_bytes(bytes(4000))

    async def work() -> None:
        writer = SpoolWriter(folder, max_spool_bytes=2000)
        with pytest.raises(SpoolFull):
            await writer.append(make_line(1))
        writer.close()

    run(work())


def test_lines_that_belong_together_are_stored_as_one(folder: Path) -> None:
    """They count by their sum against the bound, stand in order, and a failed sync takes all of them back."""
    lines = [make_line(number) for number in range(10, 20)]
    size = len(encode_frame(lines[0]))

    async def work() -> None:
        writer = SpoolWriter(folder, max_spool_bytes=size * 15, segment_age_s=60)
        await writer.append_all(lines)
        assert (writer.counts.frames, writer.counts.commits) == (10, 1)
        with pytest.raises(SpoolFull):
            await writer.append_all(lines)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "os", FaultyOs(2, FAULTS["EIO"]))
            with pytest.raises(SpoolError):
                await writer.append_all(lines[:3])
        await writer.append_all([])
        await writer.append(make_line(99))
        writer.close()

    run(work())
    assert read_numbers(folder) == [*range(10, 20), 99]


def test_little_free_disk_refuses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With less free disk than `min_free_bytes` nothing is accepted: the loader and the engine need the rest."""
    monkeypatch.setattr(disk, "measure_free", lambda _: 1_000_000)

    async def work() -> None:
        writer = SpoolWriter(folder, min_free_bytes=1_000_001)
        with pytest.raises(SpoolFull, match="min_free_bytes"):
            await writer.append(make_line(1))
        writer.close()

    run(work())


def test_slow_disk_sheds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that wait for the disk are bounded: beyond, the client is told to come again in a second."""
    monkeypatch.setattr("collector.spool.bounds.MAX_UNWRITTEN_BYTES", 1000)
    may_end = threading.Event()
    real = disk.sync

    def sync(fd: int) -> None:
        assert may_end.wait(20)
        real(fd)

    async def work() -> None:
        writer = SpoolWriter(folder)
        monkeypatch.setattr(disk, "sync", sync)
        tasks = [asyncio.create_task(writer.append(make_line(number))) for number in range(100)]
        await asyncio.sleep(0)
        may_end.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [result for result in results if isinstance(result, SpoolFull)]
        assert len(refused) == writer.counts.refusals > 0
        assert results.count(None) == 100 - len(refused) > 0
        await writer.append(make_line(100))
        writer.close()

    run(work())


@pytest.mark.parametrize("fault", FAULTS)
@chaos_case("disk: the n-th call of the writer fails", "ENOSPC, EIO, EMFILE, short write, torn write, for every n")
def test_any_call_may_fail(tmp_path: Path, fault: str) -> None:
    """Whichever file operation fails, and however: nothing is acknowledged that is not stored, and the next append
    is taken again."""

    async def write(folder: Path, calls: FaultyOs) -> list[int]:
        writer = SpoolWriter(folder, segment_bytes=60, segment_age_s=60)
        acknowledged = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "os", calls)
            for number in range(7):
                try:
                    await writer.append(make_line(number))
                    acknowledged.append(number)
                except SpoolError:
                    assert fault != "short"
            writer.close()
        return acknowledged

    count = FaultyOs()
    assert asyncio.run(write(tmp_path / "none" / "web", count)) == list(range(7))
    for at in range(1, len(count.calls) + 1):
        folder = tmp_path / str(at) / "web"
        with capture_logs():
            acknowledged = asyncio.run(write(folder, FaultyOs(at, FAULTS[fault])))
        assert len(acknowledged) >= 6, f"call {at}"
        lock = disk.take_lock(folder / "lock")
        assert lock is not None
        recover_folder(folder)
        disk.close(lock)
        stored = read_numbers(folder)
        assert set(acknowledged) <= set(stored), f"call {at}"
        assert len(stored) == len(set(stored)), f"call {at}"


def test_long_trouble_ends(folder: Path) -> None:
    """A disk that refuses everything for a while costs exactly the appends of that while, and one line in the log."""

    async def work() -> None:
        writer = SpoolWriter(folder, segment_age_s=60)
        await writer.append(make_line(0))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "os", FaultyOs(1, FAULTS["ENOSPC"], times=10_000))
            for number in range(1, 20):
                with pytest.raises(SpoolError):
                    await writer.append(make_line(number))
        await writer.append(make_line(20))
        writer.close()

    with capture_logs() as logs:
        run(work())
    assert read_numbers(folder) == [0, 20]
    assert [entry["event"] for entry in logs].count(
        "the spool cannot be written: nothing is acknowledged until it can"
    ) == 1


def test_failed_sync_leaves_no_tail(folder: Path) -> None:
    """After a failed sync the segment is cut back to what was acknowledged: the rest may be on disk or not."""

    async def work() -> None:
        writer = SpoolWriter(folder, segment_age_s=60)
        await writer.append(make_line(1))
        with pytest.MonkeyPatch.context() as patch:
            calls = FaultyOs(2, FAULTS["EIO"])
            patch.setattr(disk, "os", calls)
            with pytest.raises(SpoolError):
                await writer.append(make_line(2))
            assert calls.calls[:2] == ["write", "fdatasync"]
        await writer.append(make_line(3))
        writer.close()

    run(work())
    assert read_numbers(folder) == [1, 3]


def test_dead_thread_acknowledges_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of our own in the thread fails everyone who waits, and everyone who comes after."""

    def explode(*_: object) -> None:
        raise RuntimeError("boom")

    async def work() -> None:
        writer = SpoolWriter(folder)
        monkeypatch.setattr(disk, "write_all", explode)
        for _ in range(2):
            with pytest.raises(SpoolError, match="thread died"):
                await writer.append(make_line(1))
        assert not writer.is_accepting()
        writer.close()

    run(work())


def test_cancelled_append_hurts_nobody(folder: Path) -> None:
    """A client that leaves does not disturb those who share its sync."""

    async def work() -> None:
        writer = SpoolWriter(folder)
        tasks = [asyncio.create_task(writer.append(make_line(number))) for number in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [index for index, result in enumerate(results) if result is not None] == [3]
        writer.close()

    run(work())


def test_one_writer_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second writer is refused while the first lives, and taken when it has gone."""
    monkeypatch.setattr(spool, "LOCK_PATIENCE_S", 0.0)
    writer = SpoolWriter(folder)
    with pytest.raises(InstanceBusy):
        SpoolWriter(folder)
    writer.close()
    writer.close()
    SpoolWriter(folder).close()


def test_closed_writer_refuses(folder: Path) -> None:
    """After close nothing is taken, and nothing waits for ever."""

    async def work() -> None:
        writer = SpoolWriter(folder)
        writer.close()
        with pytest.raises(SpoolError):
            await writer.append(make_line(1))

    run(work())


LINES = [b'{"number":%d,"text":"%b"}' % (number, b"z" * number) for number in range(12)]
FRAMES = [encode_frame(line) for line in LINES]
DATA = b"".join(FRAMES)


def test_truncated_at_every_byte_of_the_last_two_frames(tmp_path: Path) -> None:
    """Wherever a power cut ended the file, the whole frames before it are kept and the torn one is cut off."""
    for cut in range(len(FRAMES[-1]) + len(FRAMES[-2]) + 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "0000000001-00000000.v1.open").write_bytes(DATA[: len(DATA) - cut])
        with capture_logs():
            (found,) = recover_folder(folder)
        whole = 12 if cut == 0 else 11 if cut <= len(FRAMES[-1]) else 10
        assert found.frames == whole
        assert found.torn_bytes == len(DATA) - cut - len(b"".join(FRAMES[:whole]))
        assert found.sealed is not None
        assert found.sealed.read_bytes() == b"".join(FRAMES[:whole])


@pytest.mark.parametrize("tail", [bytes(1), bytes(100_000), b"1", FRAMES[0][:30] + bytes(0)])
def test_torn_tail_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    """Zeros and half a frame at the end were never acknowledged: the writer starts without them."""
    (tmp_path / "0000000001-00000000.v1.open").write_bytes(DATA + (tail if tail != FRAMES[0] else b"0"))
    with capture_logs():
        writer = SpoolWriter(tmp_path)
    assert (writer.counts.recovered_frames, writer.counts.torn_bytes) == (12, len(tail))
    writer.close()
    assert [path.read_bytes() for path in list_segments(tmp_path, is_open=False)] == [DATA]


def test_damage_that_was_acknowledged_is_kept(tmp_path: Path) -> None:
    """A whole last frame with a wrong byte is not cut off: the loader sets it aside and counts it."""
    damaged = DATA[:-4] + b"~" + DATA[-3:]
    (tmp_path / "0000000001-00000000.v1.open").write_bytes(damaged)
    (found,) = recover_folder(tmp_path)
    assert (found.frames, found.torn_bytes) == (11, 0)
    assert found.sealed is not None
    assert found.sealed.read_bytes() == damaged


def test_empty_segment_goes(tmp_path: Path) -> None:
    """A segment that a crash left without a frame is removed."""
    (tmp_path / "0000000001-00000000.v1.open").touch()
    (found,) = recover_folder(tmp_path)
    assert found.sealed is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", [die_before, die_after])
@chaos_case("kill at every file operation of the writer", "SIGKILL before and after each call of a small run")
def test_killed_at_every_call(tmp_path: Path, fault: Callable[..., Any]) -> None:
    """kill -9 before and after every file operation of a writer: what it acknowledged is there when it starts again."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.chaos.victims"])
    at, survived = 0, False
    while not survived:
        at += 1
        folder = tmp_path / str(at)
        receiver, sender = context.Pipe(duplex=False)
        victim = context.Process(target=run_writer, args=(folder, at, fault, sender))
        victim.start()
        sender.close()
        acknowledged = []
        try:
            while True:
                acknowledged.append(receiver.recv())
        except EOFError:
            receiver.close()
        victim.join()
        survived = victim.exitcode == 0
        assert survived or victim.exitcode == -9
        with capture_logs():
            SpoolWriter(folder / "web").close()
        stored = read_numbers(folder / "web")
        assert set(acknowledged) <= set(stored), f"call {at}"
        assert list_segments(folder / "web", is_open=True) == []
    assert at > 20
