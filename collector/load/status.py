"""`load/status.json`: how the loader of this host is doing, for those who cannot ask it. It has no port.

Written once a second by a thread of its own, so that it goes on while the loader waits for a store that does not
answer: an old file means that no loader runs. Replaced in one step, never synced: it says how it is, not how it was.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector import disk
from collector.load.counts import LoaderCounts
from collector.logs import get_logger
from collector.spool.survey import survey_spool

FILE_NAME = "status.json"
INTERVAL_S = 1.0
FRESH_MS = 10_000
PAUSES = ("away", "schema", "refused", "rejection", "disk", "maintenance")
"""Why loading may be paused: the store does not answer, its schema is not ours, it refuses (see `paused_code`), it
takes not even a rejection, our own disk fails, somebody wants it so."""


class LoadStatus(msgspec.Struct, frozen=True):
    """What stands in the file. Times in milliseconds since 1970; 0: never, or nothing waits."""

    at_ms: int
    pid: int
    started_ms: int
    host: str  # this host's id in the store, "" until the journal is open
    seq: int  # number of the last batch that landed
    waiting_segments: int
    waiting_bytes: int
    oldest_ms: int  # when the oldest beacon that waits was received
    paused: str  # one of PAUSES, "" while all is well
    paused_code: int  # ClickHouse's code where it refuses
    offsets: dict[str, int]  # bytes of segments (`folder/segment`) that are loaded already
    counts: LoaderCounts


class Position(msgspec.Struct, frozen=True):
    """How far a loader is: host and number of its last batch, and what is loaded of segments that are still there."""

    host: str = ""
    seq: int = 0
    offsets: dict[str, int] = {}


class LoadStatusFile:
    """Keeps the file of one loader fresh. `start` and `stop` are the loader's; between them a thread writes."""

    def __init__(
        self,
        data: Path,
        read_position: Callable[[], Position],
        read_trouble: Callable[[], str],
        counts: LoaderCounts,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`data`: the instance's folder. `read_trouble`: see `Patience.trouble`."""
        self._path = data / "load" / FILE_NAME
        self._spool = data / "spool"
        self._read_position = read_position
        self._read_trouble = read_trouble
        self._counts = counts
        self._now_ms = now_ms
        self._started_ms = now_ms()
        self._is_failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load status", daemon=True)

    def start(self) -> None:
        """Write now, and from now on once a second."""
        self._thread.start()

    def stop(self) -> None:
        """Write a last time and end the thread."""
        self._stop.set()
        self._thread.join(timeout=5)

    def write(self) -> None:
        """Write the file once. Where the disk does not let us, say so once: nothing depends on it."""
        position = self._read_position()
        paused, _, code = self._read_trouble().partition(" ")
        try:
            survey = survey_spool(self._spool, position.offsets)
            status = LoadStatus(
                at_ms=self._now_ms(),
                pid=os.getpid(),
                started_ms=self._started_ms,
                host=position.host,
                seq=position.seq,
                waiting_segments=survey.segments + survey.open_segments,
                waiting_bytes=survey.bytes,
                oldest_ms=survey.oldest_ms,
                paused="refused" if paused == "refusal" else paused,
                paused_code=int(code) if code.isdigit() else 0,
                offsets=position.offsets,
                counts=self._counts,
            )
            disk.replace_file(self._path, msgspec.json.encode(status))
        except OSError as error:
            if not self._is_failing:
                self._is_failing = True
                get_logger().warning("the loader's status cannot be written", reason=error.strerror or str(error))
            return
        self._is_failing = False

    def _run(self) -> None:
        while True:
            self.write()
            if self._stop.wait(INTERVAL_S):
                self.write()
                return


def read_load_status(data: Path) -> LoadStatus | None:
    """Return what the loader of this folder wrote last, None where none did."""
    try:
        return msgspec.json.decode((data / "load" / FILE_NAME).read_bytes(), type=LoadStatus)
    except (OSError, msgspec.MsgspecError):
        return None


def is_loading(status: LoadStatus | None, now_ms: int) -> bool:
    """Tell whether a loader turns now."""
    if status is None or abs(now_ms - status.at_ms) > FRESH_MS:
        return False
    try:
        os.kill(status.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
