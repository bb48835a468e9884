"""One reader for all who watch: asks the source while somebody watches, and tells each watcher what changed.

A thread of its own asks, starts with the first watcher and ends after the last one; the source is touched by no other
thread. A watcher remembers what it was sent, so a slow one misses versions and never an outcome. Nothing is kept
about watchers who have gone. While the store is away the last rows stand, and the state says so.

Messages follow the Server-Sent Events format of the HTML standard; `data` is one JSON object of class Message.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

import msgspec

from collector.console.live_people import LivePerson
from collector.console.live_source import LiveCounts, LiveRow, LiveSnapshot, LiveSource
from collector.errors import TagstitchError
from collector.logs import get_logger

INTERVAL_S = 0.7
MAX_WATCHERS = 20
HEARTBEAT_S = 10.0
STOP_CHECK_S = 0.25
RETRY_MS = 1500


class Message(msgspec.Struct, frozen=True):
    """What a watcher is told: rows that are new or changed, newest first, and the ids in their order now; customers of
    late with what is known of them."""

    store: str  # waiting (not asked yet), ok, away
    counts: LiveCounts
    lag_ms: int
    now_ms: int
    rows: tuple[LiveRow, ...]
    order: tuple[str, ...]
    people: tuple[LivePerson, ...] = ()


class LiveFeed:
    """Watches a source. All methods but the thread's own belong to one event loop."""

    def __init__(
        self,
        source: LiveSource,
        *,
        interval_s: float = INTERVAL_S,
        heartbeat_s: float = HEARTBEAT_S,
        max_watchers: int = MAX_WATCHERS,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source = source
        self._interval_s = interval_s
        self._heartbeat_s = heartbeat_s
        self._max_watchers = max_watchers
        self._now_ms = now_ms
        self._is_stopping = is_stopping
        self._watchers = 0
        self._store = "waiting"
        self._snapshot = LiveSnapshot()
        self._version = 0
        self._changed = asyncio.Event()
        self._stop: threading.Event | None = None
        self._turn = threading.Lock()  # the thread after a reload waits until the one before has let go

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return self._watchers

    @property
    def is_full(self) -> bool:
        """Whether nobody else may watch."""
        return self._watchers >= self._max_watchers

    async def watch(self) -> AsyncGenerator[bytes, None]:
        """Yield one message at once, then one whenever something changed, and a comment where nothing did for long.

        It ends when the server stops: an open stream would hold it up.
        """
        self._watchers += 1
        self._start()
        sent: dict[str, LiveRow] = {}
        version = -1
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            while not self._is_stopping():
                if version != self._version or await self._wait_change():
                    version = self._version
                    yield self._tell(sent)
                elif not self._is_stopping():
                    yield b": nothing new\n\n"
        finally:
            self._watchers -= 1
            if not self._watchers and self._stop is not None:
                self._stop.set()
                self._stop = None

    async def _wait_change(self) -> bool:
        """Wait for a change; False after a heartbeat without one, and as soon as the server stops."""
        changed = self._changed
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self._heartbeat_s
        while not self._is_stopping() and (left_s := end_s - loop.time()) > 0:
            with suppress(TimeoutError):
                return await asyncio.wait_for(changed.wait(), min(left_s, STOP_CHECK_S))
        return False

    def _tell(self, sent: dict[str, LiveRow]) -> bytes:
        rows = self._snapshot.rows
        message = Message(
            store=self._store,
            counts=self._snapshot.counts,
            lag_ms=self._snapshot.lag_ms,
            now_ms=self._now_ms(),
            rows=tuple(row for row in rows if sent.get(row.event_id) != row),
            order=tuple(row.event_id for row in rows),
            people=self._snapshot.people,
        )
        sent.clear()
        sent.update((row.event_id, row) for row in rows)
        # msgspec escapes line breaks, so that a text of the store cannot end the message.
        return b"data: " + msgspec.json.encode(message) + b"\n\n"

    def _start(self) -> None:
        if self._stop is None:
            # What stood here when the last one left may be long past.
            self._store, self._snapshot = "waiting", LiveSnapshot()
            self._version += 1
            self._stop = threading.Event()
            thread = threading.Thread(
                target=self._ask,
                args=(asyncio.get_running_loop(), self._stop),
                name="live",
                daemon=True,  # a store that hangs shall not hold the process at its end
            )
            thread.start()

    def _publish(self, stop: threading.Event, store: str, snapshot: LiveSnapshot | None) -> None:
        if stop.is_set() or (store, snapshot or self._snapshot) == (self._store, self._snapshot):
            return
        self._store = store
        self._snapshot = snapshot or self._snapshot
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _ask(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        """Ask until told to stop: the thread."""
        with self._turn:
            try:
                self._ask_in_turn(loop, stop)
            finally:
                self._source.close()

    def _ask_in_turn(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        was_away = False
        while not stop.is_set():
            started_s = time.monotonic()
            snapshot: LiveSnapshot | None = None
            try:
                snapshot = self._source.read()
            except TagstitchError as error:
                if not was_away:
                    get_logger().warning("live page cannot read the store", reason=type(error).__name__)
            was_away = snapshot is None
            try:
                loop.call_soon_threadsafe(self._publish, stop, "away" if was_away else "ok", snapshot)
            except RuntimeError:  # the loop has ended, and with it everybody who watched
                return
            # Never more than a third of the time is spent asking; a store that is away is asked less often.
            took_s = time.monotonic() - started_s
            stop.wait(max(self._interval_s, 2 * took_s) * (3 if was_away else 1))
