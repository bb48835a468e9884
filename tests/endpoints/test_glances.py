"""Glances of several pages in one statement, and what becomes of those who wait where the store fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from typing import Any

import pytest

from collector.endpoints import glances
from collector.endpoints.glances import Glances
from collector.errors import StoreError, StoreUnavailable
from collector.profiles.definitions import Definitions
from collector.profiles.glance import Glance
from collector.store.threads import StoreThreads
from tests.edge_examples import KEYRING

NOW_MS = 1_700_000_000_000


class Store:
    """A store that answers when it is let, and notes what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[set[str]] = []
        self.has_begun, self.may_answer = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self.closed = 0
        monkeypatch.setattr(glances, "read_glances", self._read)
        self.threads = StoreThreads(lambda: self)  # type: ignore[arg-type, return-value]
        self.glances = Glances(self.threads, KEYRING, lambda space_id: Definitions({}, space_id))

    def close(self) -> None:
        """As a client does."""
        self.closed += 1

    def _read(self, client: Any, keyring: Any, definitions: Definitions, keys: Collection[str], **more: Any) -> Any:
        self.asked.append(set(keys))
        self.has_begun.set()
        assert self.may_answer.wait(10)
        if self.error is not None:
            raise self.error
        return {key: Glance(f"{definitions.space_id}:{key}", "", {}) for key in keys}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store, let go at the end."""
    store = Store(monkeypatch)
    yield store
    store.may_answer.set()
    store.threads.close()


async def _ask(store: Store, *wanted: tuple[str, str]) -> list[asyncio.Task[dict[str, Glance]]]:
    """Begin to ask, each for a key of a space, in their order; the first statement has begun on return."""
    tasks = []
    for space_id, key in wanted:
        tasks.append(asyncio.create_task(store.glances.read(space_id, [key, "all"], NOW_MS)))
        await asyncio.sleep(0)
    assert await asyncio.to_thread(store.has_begun.wait, 10)
    return tasks


def test_who_waits_asks_together(store: Store) -> None:
    """The first asks alone; the nine that come meanwhile are one statement, and each gets what it asked for."""

    async def run() -> None:
        tasks = await _ask(store, *(("main", str(number)) for number in range(10)))
        store.may_answer.set()
        answers = await asyncio.gather(*tasks)
        assert [sorted(answer) for answer in answers] == [[str(number), "all"] for number in range(10)]
        assert answers[3]["3"].person_id == "main:3"

    asyncio.run(run())
    assert len(store.asked) == 2
    assert store.asked[1] == {"all", *map(str, range(1, 10))}


def test_spaces_are_asked_apart(store: Store) -> None:
    """People of two spaces never stand in one statement."""

    async def run() -> None:
        tasks = await _ask(store, ("main", "1"), ("other", "1"))
        store.may_answer.set()
        first, second = await asyncio.gather(*tasks)
        assert (first["1"].person_id, second["1"].person_id) == ("main:1", "other:1")

    asyncio.run(run())
    assert store.asked == [{"1", "all"}, {"1", "all"}]


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreError("refused"), ValueError("ours")])
def test_a_fault_reaches_all_who_wait_and_nobody_after(store: Store, error: Exception) -> None:
    """Nobody waits for ever; who asks later is answered. What is away is connected to anew."""

    async def run() -> None:
        store.error = error
        store.may_answer.set()
        for task in await _ask(store, ("main", "1"), ("main", "2")):
            with pytest.raises(type(error)):
                await asyncio.wait_for(task, 10)
        store.error = None
        assert await asyncio.wait_for(store.glances.read("main", ["3"], NOW_MS), 10)

    asyncio.run(run())
    assert bool(store.closed) == isinstance(error, StoreUnavailable)


def test_who_goes_away_holds_nobody_up(store: Store) -> None:
    """A page that was closed: its answer is thrown away, the others get theirs."""

    async def run() -> None:
        gone, second, third = await _ask(store, ("main", "1"), ("main", "2"), ("main", "3"))
        gone.cancel()
        second.cancel()
        store.may_answer.set()
        assert sorted(await asyncio.wait_for(third, 10)) == ["3", "all"]

    asyncio.run(run())


def test_a_statement_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than fit into one statement are several."""
    monkeypatch.setattr(glances, "MAX_AT_ONCE", 6)

    async def run() -> None:
        tasks = await _ask(store, *(("main", str(number)) for number in range(8)))
        store.may_answer.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert [len(keys) for keys in store.asked] == [2, 4, 4, 2]
