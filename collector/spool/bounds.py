"""How much the spool may still take: its size, the free disk and the bytes that wait, against their bounds.

Measuring walks the spool's folders, so it is done once in MEASURE_INTERVAL_S at most, by the writer's thread; in
between, what is written is added to what was measured. All folders count, not the writer's own alone. The numbers
are read by the event loop while the thread sets them: each is one assignment, and being a second old does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from collector import disk
from collector.errors import SpoolFull
from collector.logs import get_logger
from collector.spool.reader import list_folders
from collector.spool.segments import list_segments

MEASURE_INTERVAL_S = 1.0
MAX_UNWRITTEN_BYTES = 33_554_432
"""Most bytes that wait for the writer thread. More means that the disk is too slow: shed, do not queue."""
LIKELY_APPEND_BYTES = 65_536
"""There is room again when this much fits."""


class SpoolBounds:
    """The bounds of one writer's folder, `spool/<writer>`."""

    def __init__(self, folder: Path, *, max_spool_bytes: int, min_free_bytes: int, clock: Callable[[], float]) -> None:
        """Measure for the first time. `clock`: seconds that never go back. Raises OSError."""
        self.used_bytes = 0  # the whole spool
        self.free_bytes = 0  # its disk
        self.backlog = 0  # sealed segments of this folder that wait for the loader
        self.measure_at = 0.0
        self.is_tight = False  # something was refused, or would be: measure until there is room again
        self._folder = folder
        self._max_spool_bytes = max_spool_bytes
        self._min_free_bytes = min_free_bytes
        self._clock = clock
        self._was_tight = False
        self.measure()

    def find(self, coming_bytes: int) -> SpoolFull | None:
        """Return the bound that does not let `coming_bytes` in, those that wait already included."""
        if coming_bytes > MAX_UNWRITTEN_BYTES:
            return SpoolFull("the spool's disk is slower than the events come", retry_after_s=1)
        if self.used_bytes + coming_bytes > self._max_spool_bytes:
            return SpoolFull(f"the spool has reached max_spool_bytes ({self._max_spool_bytes}): is the store away?")
        if self.free_bytes - coming_bytes < self._min_free_bytes:
            return SpoolFull(f"the spool's disk has less than min_free_bytes ({self._min_free_bytes}) left")
        return None

    def has_room(self) -> bool:
        """Tell whether an append of a likely size would be taken."""
        return self.find(LIKELY_APPEND_BYTES) is None

    def count_written(self, size: int) -> None:
        """Note what was written since the last measure."""
        self.used_bytes += size
        self.free_bytes -= size

    def measure(self) -> None:
        """Measure anew, and say so in the log when the spool begins or ends to refuse. Raises OSError."""
        self.measure_at = self._clock() + MEASURE_INTERVAL_S
        used = 0
        for folder in list_folders(self._folder.parent):
            for path in folder.iterdir():
                try:
                    used += path.stat().st_size
                except FileNotFoundError:  # the loader was faster
                    continue
        self.used_bytes = used
        self.free_bytes = disk.measure_free(self._folder)
        self.backlog = len(list_segments(self._folder, is_open=False))
        bound = self.find(LIKELY_APPEND_BYTES)
        self.is_tight = bound is not None
        if self.is_tight != self._was_tight:
            self._was_tight = self.is_tight
            if bound is not None:
                get_logger().warning("the spool refuses events", writer=self._folder.name, reason=str(bound))
            else:
                get_logger().info("the spool takes events again", writer=self._folder.name)
