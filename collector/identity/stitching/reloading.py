"""Loading the map into its dictionaries beside the steps of stitch, in a thread and over a connection of its own.

A large map takes a second to load, and the engine does it on one core: meanwhile stitch goes on with what has landed
since. Loads begin at most once a second and rest half as long as they took; what is asked for meanwhile comes with the
next. A load that fails is tried again until it succeeds: nothing that was asked for is forgotten.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

from collector.errors import StoreError
from collector.logs import get_logger

LEAST_PERIOD_S = 1.0
LEAST_REST = 0.5
SHARE = 0.1
"""Part of the time that goes into loads of a small map, so that nobody sees their pause."""
RETRY_S = 0.5


def find_next_s(began_s: float, ended_s: float) -> float:
    """Return from when on the next load may begin. Seconds of one clock."""
    took_s = ended_s - began_s
    return max(began_s + min(took_s / SHARE, LEAST_PERIOD_S), ended_s + took_s * LEAST_REST)


class Reloader(AbstractContextManager["Reloader"]):
    """The thread. `request` may be called at any time; leaving it loads what is still asked for, once."""

    def __init__(self, load: Callable[[Collection[str]], None]) -> None:
        """`load`: loads the dictionaries that it is told. Raises StoreError."""
        self._load = load
        self._condition = threading.Condition()
        self._wanted: set[str] = set()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def __enter__(self) -> Reloader:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()

    def request(self, names: Collection[str]) -> None:
        """Ask for a load of these dictionaries that sees everything that is written now."""
        with self._condition:
            self._wanted |= set(names)
            self._condition.notify()

    def _run(self) -> None:
        next_s, is_failing = 0.0, False
        while True:
            with self._condition:
                while not self._wanted and not self._stopping:
                    self._condition.wait()
                while not self._stopping and (rest_s := next_s - time.monotonic()) > 0:
                    self._condition.wait(rest_s)
                if not self._wanted:
                    return
                names, self._wanted = self._wanted, set()
            began_s = time.monotonic()
            try:
                self._load(names)
                is_failing = False
            except StoreError as error:
                if not is_failing:
                    get_logger().warning("the map is not loaded into its dictionaries yet", reason=str(error))
                is_failing = True
                if self._stopping:
                    return
                self.request(names)
                next_s = time.monotonic() + RETRY_S
                continue
            next_s = find_next_s(began_s, time.monotonic())
