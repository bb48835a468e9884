"""The spool: what was accepted lies here on disk, acknowledged, until the loader has it in ClickHouse.

Constraints
    A beacon may be acknowledged only when a power cut could no longer take it. Acknowledging must not wait for the
    store, and costs little: many beacons share one fdatasync. The loader reads frame by frame, from another process.

Layout
    spool/<writer>/                            one folder per web process: the first that nobody holds
        lock                                   flocked by the writer as long as it lives
        0000000017-3fa9c1d2.v1.open            the segment that grows: frames (see `spool_frames`), nothing else
        0000000016-90b1e07c.v1.seg             a sealed segment: never changed again, read and removed by the loader
        0000000009-5d2f8a11.v1.seg.4711.bad    damage found at byte 4711, kept for a person to look at
    A number is never below those of segments that are still there; the salt makes every name unique for ever.

Invariants
    1. `append` returns only after the frame, and the name of its segment, are on disk (durability `fsync`), or in
       the system's memory (`os`: a killed process loses nothing, a power cut up to `segment_age_s`).
    2. Only the holder of the folder's lock creates, grows, cuts or seals a segment. Only the loader removes one.
    3. A sealed segment ends with a whole frame, or with damage that was acknowledged once.
    4. After a failed write or sync the segment is not written to again: it is cut back to what was acknowledged and
       sealed, exactly the waiting appends get SpoolError, and the next one opens a new segment.
    5. Nothing is accepted beyond the bounds: size of the whole spool, free disk, bytes waiting to be written.

Group commit
    One writer thread takes whatever waits, writes and syncs it at once; what comes meanwhile is the next group. A lone
    beacon waits for one sync, a thousand share one. Between the beginnings of two commits lie REST_S: a fast disk
    would else be asked after every second beacon, and thread and event loop would take turns more than they work.

Sealing
    By size, by the age of the first frame (a timer, so that an idle writer's last events move on too) and at `close`.
    While BACKLOG_SEGMENTS wait for the loader, age alone seals nothing: hours without a store make few big segments,
    not many thousand small ones (see `spool_tail`).

Recovery
    Whoever takes the lock of a folder with open segments seals them first: the writer when it starts again, or the
    loader when nobody does. A torn tail is cut off: it was never acknowledged. A bad frame within is skipped by the
    loader, copied to `*.bad` and counted; the frames after it are kept.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from collector import disk
from collector.errors import InstanceBusy, SpoolError
from collector.logs import get_logger
from collector.metrics import Histogram, Totals
from collector.spool.bounds import SpoolBounds
from collector.spool.frames import encode_frame
from collector.spool.segments import LOCK_NAME, recover_folder
from collector.spool.tail import SpoolTail

GROUP_BYTES = 4_194_304
"""Most bytes of one write, so that a segment overshoots its size by little."""
REST_S = 0.002
"""On one core, at 4,000 beacons a second, this takes the commits from 1,400 to 450 a second and gives 60 % more."""
LOCK_PATIENCE_S = 5.0
COMMIT_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


@dataclass(slots=True)
class SpoolCounts:
    """What a writer has done since it was opened. Written by its thread, read by anyone."""

    frames: int = 0
    bytes: int = 0
    commits: int = 0
    failures: int = 0  # groups that were not stored
    refusals: int = 0  # appends refused for a bound
    recovered_frames: int = 0
    torn_bytes: int = 0
    commit_seconds: float = 0.0
    commit_buckets: list[int] = field(default_factory=lambda: [0] * (len(COMMIT_BOUNDS_S) + 1))
    """Commits by duration: at most COMMIT_BOUNDS_S[i] seconds, the last one longer."""


Done = Callable[[SpoolError | None], None]
"""Called in the event loop: with None once the line is durable, else with what went wrong."""

_Waiting = tuple[bytes, int, Done]  # what is written as one, how many frames it is


class SpoolWriter:
    """Appends lines to one folder of the spool. For one event loop; owns one thread and the folder's lock."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 25_165_824,
        segment_age_s: float = 0.5,
        max_spool_bytes: int = 10_737_418_240,
        min_free_bytes: int = 268_435_456,
        durability: str = "fsync",
        lock_patience_s: float = LOCK_PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the folder (`spool/<writer>`), seal what an earlier writer left open, and start.

        `lock_patience_s`: how long to wait for the folder's lock. `clock`: seconds that never go back.
        `max_spool_bytes` bounds all folders beside this one together.
        Raises InstanceBusy where another process writes here, OSError where the folder cannot be used.
        """
        self.counts = SpoolCounts()
        self._folder = folder
        self._clock = clock

        disk.make_folder(folder)
        self._lock_fd = self._take_lock(lock_patience_s)
        try:
            for found in recover_folder(folder):
                self.counts.recovered_frames += found.frames
                self.counts.torn_bytes += found.torn_bytes
            self._bounds = SpoolBounds(
                folder, max_spool_bytes=max_spool_bytes, min_free_bytes=min_free_bytes, clock=clock
            )
            self._tail = SpoolTail(
                folder,
                self._bounds,
                segment_bytes=segment_bytes,
                segment_age_s=segment_age_s,
                is_synced=durability == "fsync",
                clock=clock,
            )
        except BaseException:
            disk.close(self._lock_fd)
            raise

        # Shared with the event loop, under the condition.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._is_idle = False  # the thread waits for lines
        self._is_waking = False  # and is to be woken at the end of this round of the event loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[_Waiting] = []
        self._unwritten_bytes = 0
        self._rested_at = 0.0  # from then on the thread may commit again
        self._closing = False
        self._crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"spool {folder.name}", daemon=True)
        self._thread.start()

    # --- the event loop's side

    async def append(self, line: bytes) -> None:
        """Store one line: a JSON object without a newline. Returns when it is durable.

        Raises SpoolFull where a bound is reached (nothing was written), SpoolError where the disk failed (it may be
        stored, but must not be acknowledged), ValueError where the line is no line.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.put(line, partial(_settle_future, future))
        await future

    async def append_all(self, lines: Sequence[bytes]) -> None:
        """Store lines as one: where a bound is reached, none of them. Returns when all are durable.

        They are admitted by their sum and written at once, in order. With the same errors as `append`.
        """
        if not lines:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        frames = [encode_frame(line) for line in lines]
        self._put(b"".join(frames), len(frames), partial(_settle_future, future))
        await future

    def put(self, line: bytes, done: Done) -> None:
        """Store one line, as `append` does and with the same errors, and call `done` when that is decided.

        To be called from the event loop. The thread is woken once for all lines of one round of the loop, so that what
        came together is written together.
        """
        self._put(encode_frame(line), 1, done)

    def _put(self, data: bytes, frames: int, done: Done) -> None:
        self._loop = asyncio.get_running_loop()
        with self._lock:
            self._admit(len(data))
            self._waiting.append((data, frames, done))
            self._unwritten_bytes += len(data)
            if not self._is_idle or self._is_waking:
                return
            self._is_waking = True
        self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        with self._lock:
            self._is_waking = False
            self._changed.notify()

    def close(self) -> None:
        """Write what waits, seal the segment and give the folder free. Blocks until done; safe to repeat."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify()
        self._thread.join()
        disk.close(self._lock_fd)

    @property
    def writer(self) -> str:
        """Name of the writer: its folder's."""
        return self._folder.name

    @property
    def used_bytes(self) -> int:
        """Size of the whole spool as measured last, and what was written here since."""
        return self._bounds.used_bytes

    def is_accepting(self) -> bool:
        """Tell whether an append of a usual size would be taken now."""
        with self._changed:
            return self._crash is None and not self._closing and self._bounds.has_room()

    def _admit(self, size: int) -> None:
        if self._crash is not None:
            raise SpoolError(f"spool {self._folder.name}: its thread died, restart web") from self._crash
        if self._closing:
            raise SpoolError(f"spool {self._folder.name} is closed")
        bound = self._bounds.find(self._unwritten_bytes + size)
        if bound is not None:
            self.counts.refusals += 1
            if not self._bounds.is_tight:
                self._bounds.is_tight = True
                self._changed.notify()
            raise bound

    # --- the thread's side

    def _run(self) -> None:
        group: list[_Waiting] = []
        try:
            while True:
                group, closing = self._take_group()
                if group:
                    self._commit(group)
                self._tail.keep_house()
                if closing and not group:
                    break
            self._tail.seal()
        except BaseException as error:  # a fault of ours: nobody may wait for ever, nothing may be acknowledged
            get_logger().error("the spool's thread died", writer=self._folder.name, error=repr(error))
            with self._changed:
                self._crash = error
                group, self._waiting = group + self._waiting, []
            self._resolve(group, SpoolError(f"spool {self._folder.name}: its thread died, restart web"))

    def _take_group(self) -> tuple[list[_Waiting], bool]:
        """Wait for appends, `close` or the time to look after the house, and take what has come."""
        with self._changed:
            while not self._waiting and not self._closing:
                due_s = self._tail.find_due() - self._clock()
                if due_s <= 0:
                    break
                self._is_idle = True
                self._changed.wait(due_s if due_s < threading.TIMEOUT_MAX else None)
                self._is_idle = False
            rests = bool(self._waiting) and not self._closing
        if rests:
            time.sleep(max(0.0, min(REST_S, self._rested_at - self._clock())))
        with self._changed:
            size = count = 0
            for part, _, _ in self._waiting:
                size += len(part)
                if count and size > GROUP_BYTES:
                    break
                count += 1
            group, self._waiting = self._waiting[:count], self._waiting[count:]
            return group, self._closing

    def _commit(self, group: list[_Waiting]) -> None:
        began = self._clock()
        self._rested_at = began + REST_S
        data = b"".join([part for part, _, _ in group])
        failure: SpoolError | None = None
        try:
            self._tail.write(data)
        except OSError as error:
            self.counts.failures += 1
            failure = SpoolError(f"spool {self._folder.name}: {error.strerror or error}")
        else:
            self.counts.frames += sum([frames for _, frames, _ in group])
            self.counts.bytes += len(data)
        with self._changed:
            self._unwritten_bytes -= len(data)
        self._count_commit(self._clock() - began)
        self._resolve(group, failure)

    def _resolve(self, group: list[_Waiting], failure: SpoolError | None) -> None:
        """Tell those who wait, in their event loop, all in one call."""

        def settle() -> None:
            for _, _, done in group:
                try:
                    done(failure)
                except Exception as error:  # a fault of ours with one of them: the others wait for their answer too
                    get_logger().error("an answer could not be given", writer=self._folder.name, error=repr(error))

        if group and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(settle)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _count_commit(self, seconds: float) -> None:
        self.counts.commits += 1
        self.counts.commit_seconds += seconds
        place = sum(seconds > bound for bound in COMMIT_BOUNDS_S)
        self.counts.commit_buckets[place] += 1

    def _take_lock(self, patience_s: float) -> int:
        """Take the folder's lock. The loader may hold it for a moment, while it adopts what a dead writer left."""
        give_up_at = time.monotonic() + patience_s
        while True:
            fd = disk.take_lock(self._folder / LOCK_NAME)
            if fd is not None:
                return fd
            if time.monotonic() > give_up_at:
                raise InstanceBusy(self._folder, "another process writes here: stop it, or use another data folder")
            time.sleep(0.02)


def _settle_future(future: asyncio.Future[None], failure: SpoolError | None) -> None:
    if future.done():  # its request may have been cancelled
        return
    if failure is None:
        future.set_result(None)
    else:
        future.set_exception(failure)


def read_spool_totals(counts: SpoolCounts) -> Totals:
    """Return the counts in the form of the process's metrics."""
    commits = Histogram(list(counts.commit_buckets), counts.commit_seconds)
    counters = {"spool_failures": {"": counts.failures}, "spool_refusals": {"": counts.refusals}}
    return Totals(counters, {"spool_commit_seconds": commits})
