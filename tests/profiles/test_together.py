"""Profiles that are asked for at once: the same answers as one after the other, in fewer statements."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from collector.errors import StoreError
from collector.profiles import keys, together
from collector.profiles.definitions import Definitions
from collector.profiles.profile import read_profile
from collector.profiles.states import State, set_state
from collector.profiles.together import MOST_AT_ONCE, MOST_TOGETHER, Reads, Together
from collector.store.client import StoreClient, open_client
from tests.identity.story import days, key, sign_in
from tests.profiles.test_person_reading import NOW_MS, stitch
from tests.running_store import RunningStore, make_event, make_id, make_row

WAIT_S = 20.0


class Counter:
    """Answers with what is asked, and keeps what was asked at once. Waits until it is let go."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.go = threading.Event()
        self.trouble: Exception | None = None

    def __call__(self, client: StoreClient, items: list[int]) -> list[int]:
        self.asked.append(items)
        assert self.go.wait(WAIT_S)
        if self.trouble:
            raise self.trouble
        return [-item for item in items]


def ask_many(counter: Counter, count: int) -> tuple[list[Any], list[list[int]]]:
    """Ask in threads, all but the first ones while these are being answered."""
    form: Together[int, int] = Together(counter)
    with ThreadPoolExecutor(count) as pool:
        first = [pool.submit(form.ask, None, number) for number in range(MOST_AT_ONCE)]  # type: ignore[arg-type]
        while len(counter.asked) < MOST_AT_ONCE:
            pass
        rest = [pool.submit(form.ask, None, number) for number in range(MOST_AT_ONCE, count)]  # type: ignore[arg-type]
        while len(form._waiting) < count - MOST_AT_ONCE:
            pass
        counter.go.set()
        answers = [future.exception(WAIT_S) or future.result() for future in [*first, *rest]]
    assert form._busy == 0
    assert form.ask(None, 7) == -7 if counter.trouble is None else True  # type: ignore[arg-type]
    return answers, counter.asked


def test_who_comes_meanwhile_asks_together() -> None:
    """Everybody has their own answer, and no statement has more than it may."""
    count = MOST_AT_ONCE + MOST_TOGETHER + 3
    answers, asked = ask_many(Counter(), count)
    assert answers == [-number for number in range(count)]
    assert [len(items) for items in asked[:MOST_AT_ONCE]] == [1] * MOST_AT_ONCE
    assert sorted(len(items) for items in asked[MOST_AT_ONCE:-1]) == [3, MOST_TOGETHER]
    assert sorted(item for items in asked[:-1] for item in items) == list(range(count))


def test_trouble_is_everybodys_and_passes() -> None:
    """Who waited hears of it as who asked does; nobody waits for ever."""
    counter = Counter()
    counter.trouble = StoreError("the store is away")
    answers, _ = ask_many(counter, MOST_AT_ONCE + 5)
    assert all(isinstance(answer, StoreError) for answer in answers)


def test_the_same_answers_as_alone(store: RunningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """People with one device and with several, shared ones, merged, unknown, erased; all parts, and pages of several
    sizes, asked for in threads at the same moment."""
    rows = sign_in("A", "K1", "E1", at=days(1)) + sign_in("B", "K1", at=days(2)) + sign_in("C", "K2", at=days(2))
    stitch(store, rows + sign_in("D", "K3", at=days(3)) + sign_in("D", "K4", at=days(4)))
    beacons = [
        make_row(number, own_person_id=key(name), events=[make_event(number * 100 + n, after_s=n) for n in range(30)])
        for number, name in enumerate(("A", "B", "C", "D", "Z"), start=1)
    ]
    store.load(*beacons)
    set_state(store.writer, "main", [key("K2")], State.ERASED, now_ms=1)
    asked = [key(name) for name in ("A", "B", "C", "D", "E1", "K1", "K2", "K3", "K4", "Z")] + [make_id(7)]
    statements: list[int] = []
    monkeypatch.setattr(together, "read_rows", _note(statements, together.read_rows))
    nothing = Definitions({})

    def read(client: StoreClient, name: str, limit: int, reads: Reads | None) -> Any:
        return read_profile(client, store.keyring, nothing, name, now_ms=NOW_MS, limit=limit, reads=reads)

    own, reads, ready = threading.local(), Reads(), threading.Barrier(len(asked))

    def begin() -> None:
        own.client = open_client(store.config, store.keyring, "writer")

    for limit in (1, 7, 50):
        alone = [read(store.writer, name, limit, None) for name in asked]
        statements.clear()
        with ThreadPoolExecutor(len(asked), initializer=begin) as pool:

            def read_with_others(name: str, limit: int = limit) -> Any:
                ready.wait(WAIT_S)
                try:
                    return read(own.client, name, limit, reads)
                finally:
                    own.client.close()

            assert list(pool.map(read_with_others, asked)) == alone
        assert len(statements) < len(asked), "they did not go together: the test shows nothing"


def _note(statements: list[int], real: Any) -> Any:
    def read_rows(client: StoreClient, space_id: str, candidates: list[str], *more: Any, **how: Any) -> Any:
        statements.append(len(candidates))
        return real(client, space_id, candidates, *more, **how)

    return read_rows


def test_many_candidates_are_those_of_each(store: RunningStore) -> None:
    """Also of an identifier that was somebody else's before, and of one that nobody knows."""
    stitch(store, sign_in("A", "K1", at=days(1)) + sign_in("A", "K2", at=days(2)) + sign_in("B", "K1", at=days(3)))
    asked = [key(name) for name in ("A", "B", "K1", "K2")] + [make_id(9)]
    alone = [keys.find_candidates(store.writer, "main", one) for one in asked]
    many = keys.find_many_candidates(store.writer, "main", asked)
    assert [(person, set(found)) for person, found in many] == [(person, set(found)) for person, found in alone]
