"""Loads of the map beside stitch: coalesced, spaced, tried again, and none forgotten."""

from __future__ import annotations

import threading
from collections.abc import Collection

import pytest
from structlog.testing import capture_logs

from collector.errors import StoreUnavailable
from collector.identity.stitching.reloading import Reloader, find_next_s
from collector.store.dictionaries import CUSTOMERS, DICTIONARIES, IDENTITY


def test_what_is_asked_for_during_a_load_comes_with_the_next() -> None:
    """Five requests during one load are one more load, of all that any of them wanted."""
    began, go_on, loads = threading.Event(), threading.Event(), []

    def load(names: Collection[str]) -> None:
        loads.append(set(names))
        began.set()
        assert go_on.wait(10)

    with Reloader(load) as reloader:
        reloader.request([IDENTITY])
        assert began.wait(10)
        for number in range(5):
            reloader.request([IDENTITY] if number == 2 else [CUSTOMERS])
        go_on.set()
    assert loads == [{IDENTITY}, {IDENTITY, CUSTOMERS}]


def test_a_load_that_fails_is_tried_again() -> None:
    """The store is away twice: said once, and then all is loaded that was asked for."""
    loads, done = [], threading.Event()

    def load(names: Collection[str]) -> None:
        loads.append(set(names))
        if len(loads) < 3:
            raise StoreUnavailable("away")
        done.set()

    with capture_logs() as logs, Reloader(load) as reloader:
        reloader.request(DICTIONARIES)
        assert done.wait(10)
    assert loads == [set(DICTIONARIES)] * 3
    assert len(logs) == 1


def test_nothing_is_loaded_that_nobody_asked_for() -> None:
    """Started and ended."""
    with Reloader(lambda _: pytest.fail("loaded")):
        pass


@pytest.mark.parametrize(
    ("took_s", "next_s"),
    [(0.005, 100.05), (0.05, 100.5), (0.5, 101.0), (0.6, 101.0), (1.0, 101.5), (4.0, 106.0)],
)
def test_loads_leave_time_for_others(took_s: float, next_s: float) -> None:
    """A small map after ten times its own time, a large one a second after it began; a huge one rests half its time."""
    assert find_next_s(100.0, 100.0 + took_s) == pytest.approx(next_s)
