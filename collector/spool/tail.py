"""The growing end of one writer's folder: the open segment, and those that failed under it.

Used by the writer's thread alone; the caller holds the folder's lock. See `spool` for the invariants; kept here is
number 4: after a failed write or sync a segment is not written to again, but cut back to what was acknowledged and
sealed, at once or, if the disk does not let us, later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collector import disk
from collector.logs import get_logger
from collector.spool.bounds import SpoolBounds
from collector.spool.segments import find_next_number, make_name, seal_segment

BACKLOG_SEGMENTS = 16
"""While so many sealed segments wait for the loader, age alone seals no more."""


@dataclass(slots=True)
class _Segment:
    path: Path
    fd: int
    size: int  # what was acknowledged
    born: float


class SpoolTail:
    """Segments that are not sealed yet. None is opened before there is something to write."""

    def __init__(
        self,
        folder: Path,
        bounds: SpoolBounds,
        *,
        segment_bytes: int,
        segment_age_s: float,
        is_synced: bool,
        clock: Callable[[], float],
    ) -> None:
        """`is_synced`: whether `write` waits for the disk. `clock`: seconds that never go back. Raises OSError."""
        self.sealed = 0
        self._folder = folder
        self._bounds = bounds
        self._segment_bytes = segment_bytes
        self._segment_age_s = segment_age_s
        self._is_synced = is_synced
        self._clock = clock
        self._next_number = find_next_number(folder)
        self._segment: _Segment | None = None
        self._broken: list[tuple[Path, int]] = []  # segment, and the length of what was acknowledged
        self._in_trouble = False

    def write(self, frames: bytes) -> None:
        """Put the frames at the end, durably. Raises OSError; then they must not be acknowledged."""
        try:
            segment = self._segment or self._open()
            disk.write_all(segment.fd, frames)
            if self._is_synced:
                disk.sync(segment.fd)
        except OSError as error:
            self._abandon()
            self._say_trouble(error)
            raise
        segment.size += len(frames)
        self._bounds.count_written(len(frames))
        if self._in_trouble and not self._broken:
            self._in_trouble = False
            get_logger().info("the spool can be written again", writer=self._folder.name)

    def find_due(self) -> float:
        """Return the time from which on `keep_house` has something to do; infinity: never by itself."""
        times = []
        if self._segment is not None:
            sealed_at = self._segment.born + self._segment_age_s
            times.append(sealed_at if self._has_readers() else max(sealed_at, self._bounds.measure_at))
        if self._bounds.is_tight or self._broken:
            times.append(self._bounds.measure_at)
        return min(times, default=float("inf"))

    def keep_house(self) -> None:
        """Seal what is old or large enough, mend what failed, measure the bounds. Trouble is logged, not raised."""
        now = self._clock()
        if now >= self._bounds.measure_at and (self._bounds.is_tight or self._broken or self._segment is not None):
            try:
                self._bounds.measure()
            except OSError as error:
                self._say_trouble(error)
            self._mend()
        segment = self._segment
        if segment is not None:
            is_old = now >= segment.born + self._segment_age_s and self._has_readers()
            if is_old or segment.size >= self._segment_bytes:
                self.seal()

    def seal(self) -> None:
        """Seal everything. What the disk does not let us seal is left for `keep_house`, or for the next recovery."""
        self._abandon()
        self._mend()

    def _has_readers(self) -> bool:
        return self._bounds.backlog < BACKLOG_SEGMENTS

    def _open(self) -> _Segment:
        path = self._folder / make_name(self._next_number)
        self._next_number += 1
        fd = disk.create_file(path)
        self._segment = _Segment(path, fd, 0, self._clock())
        disk.sync_folder(self._folder)  # before the first acknowledgement: a file without a name is lost
        return self._segment

    def _abandon(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            self._broken.append((segment.path, segment.size))
            with contextlib.suppress(OSError):  # closed all the same; what counts was synced
                disk.close(segment.fd)

    def _mend(self) -> None:
        left = []
        for path, size in self._broken:
            try:
                if seal_segment(path, size) is not None:
                    self._bounds.backlog += 1
                    self.sealed += 1
            except OSError as error:
                left.append((path, size))
                self._say_trouble(error)
        self._broken = left

    def _say_trouble(self, error: OSError) -> None:
        if not self._in_trouble:
            self._in_trouble = True
            get_logger().error(
                "the spool cannot be written: nothing is acknowledged until it can",
                writer=self._folder.name,
                error=error.strerror or str(error),
            )
