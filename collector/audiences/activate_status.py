"""`run/activate.json`: how the role `activate` is doing, for those who cannot ask it. It has no port.

As `run/stitch.json`: written before and after each step that has work, and now and then without. Replaced in one step,
never synced.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector import disk
from collector.logs import get_logger

IDLE_S = 2.0
BUSY_S = 0.2
FRESH_S = 30.0
"""Who has written nothing for longer does not run any more, or hangs in one statement."""


class ActivateCounts(msgspec.Struct):
    """What one life of `activate` has done. Plain numbers that only grow."""

    batches: int = 0  # whose people were judged
    judged: int = 0  # people, each as often as it was
    enters: int = 0
    leaves: int = 0
    rounds: int = 0  # times that everybody of a space was judged
    errors: int = 0  # statements that failed, each as often as it did


class WebhookCounts(msgspec.Struct):
    """What one life has done for one webhook. Plain numbers that only grow, but `waiting`."""

    made: int = 0  # deliveries made of changes
    tries: int = 0
    delivered: int = 0
    dead: int = 0  # given up
    dropped: int = 0  # not to be told any more
    waiting: int = 0  # pending deliveries as last looked for, without those made since


class ActivateStatus(msgspec.Struct, frozen=True):
    """What stands in the file. Times in milliseconds since 1970; 0: nothing waits.

    `round`: what everybody is being judged for, "" for nothing; `round_judged`: how many have been.
    `trouble`: why nothing goes on, "" while all is well.
    """

    at_ms: int
    pid: int
    oldest_ms: int  # when the oldest batch was loaded whose people are not judged, of those that are in the map
    counts: ActivateCounts
    round: str = ""
    round_judged: int = 0
    trouble: str = ""
    webhooks: dict[str, WebhookCounts] = {}

    def find_lag_s(self, now_ms: int) -> float:
        """Return how long the oldest batch that is in the map has waited."""
        return max(0.0, (now_ms - self.oldest_ms) / 1000) if self.oldest_ms else 0.0

    def is_fresh(self, now_ms: int) -> bool:
        """Whether whoever wrote it seems to run."""
        return now_ms - self.at_ms < FRESH_S * 1000


class ActivateStatusFile:
    """Keeps the file of one role fresh. Belongs to its thread."""

    def __init__(self, data: Path, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        """`data`: the instance's folder."""
        self.counts = ActivateCounts()
        self.count_webhooks: Callable[[], dict[str, WebhookCounts]] = dict
        self._path = data / "run" / "activate.json"
        self._now_ms = now_ms
        self._written_ms = 0
        self._written: tuple[int, str, str] | None = None
        self._is_failing = False

    def write(
        self,
        oldest_ms: int = 0,
        round_name: str = "",
        round_judged: int = 0,
        trouble: str = "",
        *,
        is_last: bool = False,
    ) -> None:
        """Write what is so now, unless little has changed since a moment ago and more is to come. A disk that does not
        let us is said once: nothing depends on it."""
        now_ms = self._now_ms()
        said = (oldest_ms, round_name, trouble)
        pause_s = BUSY_S if said != self._written or oldest_ms or round_name else IDLE_S
        if not is_last and said == self._written and now_ms - self._written_ms < pause_s * 1000:
            return
        done = (self.counts, round_name, round_judged, trouble, self.count_webhooks())
        status = ActivateStatus(now_ms, os.getpid(), oldest_ms, *done)
        try:
            disk.make_folder(self._path.parent)
            disk.replace_file(self._path, msgspec.json.encode(status))
        except OSError as error:
            if not self._is_failing:
                self._is_failing = True
                get_logger().warning("activate's status cannot be written", reason=error.strerror or str(error))
            return
        self._is_failing = False
        self._written_ms, self._written = now_ms, said


def read_activate_status(data: Path) -> ActivateStatus | None:
    """Return what the role of this folder wrote last, None where none did."""
    try:
        return msgspec.json.decode((data / "run" / "activate.json").read_bytes(), type=ActivateStatus)
    except (OSError, msgspec.MsgspecError):
        return None


def forget_activate_status(data: Path) -> None:
    """Remove what the role of this folder wrote: it has nothing left to do."""
    with contextlib.suppress(OSError):
        disk.unlink(data / "run" / "activate.json")
