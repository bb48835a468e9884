"""`run/stitch.json`: how stitch is doing, for those who cannot ask it. It has no port.

Written before and after each step that has work, and now and then without: an old file with something waiting means
that a step takes long, or that no stitch runs. Replaced in one step, never synced: it says how it is, not how it was.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector import disk
from collector.logs import get_logger

IDLE_S = 2.0
MINUTE_S = 60.0


class StitchCounts(msgspec.Struct):
    """What one life of stitch has done. Plain numbers that only grow."""

    steps: int = 0
    touched: int = 0  # identifiers that new evidence named
    settled: int = 0  # of them, those that a first look left as they are
    evidence: int = 0  # rows of evidence that were resolved, old ones included
    written: int = 0  # rows of the map, the intervals, customers and the two logs
    merges: int = 0  # pairs of customers that became one
    delays: int = 0  # times that the fuse held stitch up
    refusals: dict[str, int] = {}  # evidence that a guard refused, by its reason


class StitchStatus(msgspec.Struct, frozen=True):
    """What stands in the file. Times in milliseconds since 1970; 0: nothing waits."""

    at_ms: int
    pid: int
    oldest_ms: int  # when the oldest batch was loaded that is not in the map
    counts: StitchCounts

    def find_lag_s(self, now_ms: int) -> float:
        """Return how long the oldest loaded evidence has waited for the map."""
        return max(0.0, (now_ms - self.oldest_ms) / 1000) if self.oldest_ms else 0.0


class StitchStatusFile:
    """Keeps the file of one stitch fresh. Belongs to its thread."""

    def __init__(
        self,
        data: Path,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`data`: the instance's folder."""
        self._path = data / "run" / "stitch.json"
        self._now_ms = now_ms
        self._written_ms = 0
        self._written_oldest_ms = -1
        self._is_failing = False

    def write(self, counts: StitchCounts, oldest_ms: int) -> None:
        """Write what is so now; where nothing waits as before, every IDLE_S only. A disk that does not let us is said
        once: nothing depends on it."""
        now_ms = self._now_ms()
        if oldest_ms == self._written_oldest_ms == 0 and now_ms - self._written_ms < IDLE_S * 1000:
            return
        try:
            disk.make_folder(self._path.parent)
            disk.replace_file(self._path, msgspec.json.encode(StitchStatus(now_ms, os.getpid(), oldest_ms, counts)))
        except OSError as error:
            if not self._is_failing:
                self._is_failing = True
                get_logger().warning("stitch's status cannot be written", reason=error.strerror or str(error))
            return
        self._is_failing = False
        self._written_ms, self._written_oldest_ms = now_ms, oldest_ms


def read_stitch_status(data: Path) -> StitchStatus | None:
    """Return what the stitch of this folder wrote last, None where none did."""
    try:
        return msgspec.json.decode((data / "run" / "stitch.json").read_bytes(), type=StitchStatus)
    except (OSError, msgspec.MsgspecError):
        return None


class MergeFuse:
    """Holds stitch up where more customers become one within a minute than somebody expected, so that they can look.

    Only ever a delay: what is resolved does not know of it.
    """

    def __init__(self, most: int, now_s: Callable[[], float]) -> None:
        """`most`: merges within a minute. `now_s`: a clock that never goes back."""
        self._most = most
        self._now_s = now_s
        self._seen: deque[tuple[float, int]] = deque()

    def count(self, merges: int) -> None:
        """Note merges that were just written."""
        if merges:
            self._seen.append((self._now_s(), merges))

    def is_blown(self) -> bool:
        """Whether stitch must wait until the minute is over."""
        now_s = self._now_s()
        while self._seen and now_s - self._seen[0][0] >= MINUTE_S:
            self._seen.popleft()
        return sum(merges for _, merges in self._seen) > self._most
