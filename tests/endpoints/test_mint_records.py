"""How records of mintings that wait on disk get to the store: at a start, together, again, and none left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.config import Config
from collector.endpoints import mint_records
from collector.endpoints.mint_records import RecordSender
from collector.errors import StoreUnavailable
from collector.links.minting import Mailing
from collector.links.record import begin_minting, count_pending, put_pending
from tests.edge_examples import KEYRING, NOW_MS


def leave(data: Path) -> None:
    """Put a record where it waits."""
    begun = begin_minting(KEYRING, Mailing(campaign="spring"), now_ms=NOW_MS, actor="key:aa", via="api")
    put_pending(data, begun)


def drive(data: Path, monkeypatch: pytest.MonkeyPatch, send: Callable[[RecordSender], None]) -> None:
    """Start a sender that sends by this, and wait until it has nothing to do."""

    async def talk() -> None:
        sender = RecordSender(Config(data=str(data)), KEYRING)
        monkeypatch.setattr(sender, "_send", lambda: send(sender), raising=True)
        monkeypatch.setattr(mint_records, "SEND_AFTER_S", 0.0)
        monkeypatch.setattr(mint_records, "SEND_AGAIN_S", 0.0)
        sender.start()
        while (tasks := asyncio.all_tasks() - {asyncio.current_task()}) and not all(task.done() for task in tasks):
            await asyncio.wait(tasks)
        await sender.stop()

    asyncio.run(talk())


def clear(data: Path) -> int:
    """Take away what waits, as if the store had it."""
    found = list((data / "links/pending").glob("*.json"))
    for path in found:
        path.unlink()
    return len(found)


def test_what_a_process_has_left_is_sent_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was on disk when links were answered; and where nothing waits the store is not asked."""
    times: list[int] = []
    drive(tmp_path, monkeypatch, lambda _: times.append(clear(tmp_path)))
    assert times == []
    leave(tmp_path)
    drive(tmp_path, monkeypatch, lambda _: times.append(clear(tmp_path)))
    assert times == [1]


def test_it_is_tried_until_the_store_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often that takes."""
    leave(tmp_path)
    tries: list[int] = []

    def send(_: RecordSender) -> None:
        tries.append(count_pending(tmp_path))
        if len(tries) < 3:
            raise StoreUnavailable("away")
        clear(tmp_path)

    drive(tmp_path, monkeypatch, send)
    assert tries == [1, 1, 1]


def test_a_record_that_comes_while_others_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for the next request."""
    leave(tmp_path)
    sent: list[int] = []

    async def call(function: Callable[[], None]) -> None:  # in the loop, whose calls `wake` makes
        function()

    monkeypatch.setattr(asyncio, "to_thread", call)

    def send(sender: RecordSender) -> None:
        sent.append(clear(tmp_path))
        if len(sent) == 1:
            leave(tmp_path)
            sender.wake()

    drive(tmp_path, monkeypatch, send)
    assert sent == [1, 1]
    assert count_pending(tmp_path) == 0
