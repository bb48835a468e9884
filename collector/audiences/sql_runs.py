"""Audiences that are a statement: each asked again and again, in a thread and over a connection of its own.

A statement may take a minute: what is fresh does not wait for it. The thread compares what it gives with who is in the
audience, and hands over only those who differ, one audience at a time. One that fails says so in the log, once for each
cause, and is asked again when its time comes; the others do not notice.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from collector.audiences.everybody import list_members
from collector.errors import StoreError, StoreUnavailable
from collector.logs import get_logger
from collector.store.client import StoreClient

AWAY_S = 5.0
"""When an audience is asked again that found the store away."""


class Found(msgspec.Struct, frozen=True):
    """What a statement gave: who may have entered (true), and who left (false)."""

    audience: str
    wanted: dict[str, bool]


class SqlRuns(AbstractContextManager["SqlRuns"]):
    """The thread. `take` and `again` may be called by another one."""

    def __init__(
        self,
        client: StoreClient,
        audiences: Mapping[str, Any],
        run: Callable[[Any], Iterable[str]],
    ) -> None:
        """`client`: of this thread alone. `run`: asks an audience's statement, and returns the people in it; raises
        StoreError."""
        self._client = client
        self._run = run
        self._audiences = {name: audience for name, audience in audiences.items() if audience.sql}
        self._due_s = dict.fromkeys(self._audiences, 0.0)
        self._found: queue.Queue[Found] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._said: dict[str, str] = {}
        self._thread = threading.Thread(target=self._loop, name="sql audiences", daemon=True)

    def __enter__(self) -> SqlRuns:
        if self._audiences:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(2.0)  # a statement that takes long ends with the process

    def take(self) -> Found | None:
        """Return what was found since, of one audience."""
        try:
            return self._found.get_nowait()
        except queue.Empty:
            return None

    def again(self) -> None:
        """Ask all of them now: what was found was not taken over."""
        self._due_s = dict.fromkeys(self._audiences, 0.0)
        self._wake.set()

    def ask_due(self, now_s: float) -> float:
        """Ask those whose time has come, and return when the next one's does. `now_s`: of a clock that never goes
        back."""
        for name, audience in self._audiences.items():
            if self._due_s[name] > now_s or self._stop.is_set():
                continue
            self._due_s[name] = now_s + audience.every_s
            try:
                found = self._compare(name, audience)
            except StoreUnavailable as error:
                self._due_s[name] = now_s + min(AWAY_S, audience.every_s)
                get_logger().debug("a statement of an audience waits for the store", audience=name, reason=str(error))
            except StoreError as error:
                self._say(name, str(error))
            else:
                self._say(name, "")
                self._hand_over(found)
        return min(self._due_s.values())

    def _compare(self, name: str, audience: Any) -> Found:
        entering = set(self._run(audience))
        leaving = []
        pages = list_members(self._client, audience.space, name)
        while (page := pages.read()) is not None:
            for person in page:
                if person in entering:
                    entering.discard(person)
                else:
                    leaving.append(person)
            pages.settle()
        return Found(name, dict.fromkeys(entering, True) | dict.fromkeys(leaving, False))

    def _hand_over(self, found: Found) -> None:
        while not self._stop.is_set():
            try:
                self._found.put(found, timeout=0.5)
            except queue.Full:
                continue
            return

    def _say(self, name: str, trouble: str) -> None:
        before = self._said.get(name, "")
        if trouble and trouble != before:
            get_logger().warning("the statement of an audience fails", audience=name, reason=trouble)
        elif before and not trouble:
            get_logger().info("the statement of an audience works again", audience=name)
        self._said[name] = trouble

    def _loop(self) -> None:
        while not self._stop.is_set():
            next_s = self.ask_due(time.monotonic())
            self._wake.wait(max(0.1, next_s - time.monotonic()))
            self._wake.clear()
