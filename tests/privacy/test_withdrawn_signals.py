"""Consent to the fingerprint is taken back: what is there is hidden, then deleted, and nothing comes in late."""

from __future__ import annotations

import pytest

from collector.event import ConsentRow
from collector.privacy.signals import SignalWatch, delete_signals
from collector.store.client import open_client
from tests.running_store import NOON_MS, RunningStore, make_event, make_id, make_row

pytestmark = pytest.mark.engine
PRINT = "v2.0123456789abcdef"


def see(store: RunningStore, visitor: int, event: int, after_s: float, fingerprint: str = PRINT) -> None:
    """An event with a fingerprint."""
    version = 2 if fingerprint else 0
    events = [make_event(event, after_s=after_s)]
    store.load(make_row(visitor, fingerprint=fingerprint, fingerprint_version=version, events=events))


def say(store: RunningStore, visitor: int, state: str, after_s: float, purpose: str = "fingerprint") -> None:
    """What a browser was told."""
    key, time_ms = make_id(visitor, 0xB), NOON_MS + int(after_s * 1000)
    entry = ConsentRow(f"{visitor}{state}{after_s}{purpose}", key, purpose, state, "tag", time_ms)
    store.load(make_row(visitor, consents=[entry]))


def prints(store: RunningStore, table: str) -> dict[int, tuple[str, int]]:
    """Fingerprint and version, by event."""
    with open_client(store.config, store.keyring, "reader" if table == "v_events" else "writer") as client:
        rows = client.query_rows(f"SELECT event_id, fingerprint, fingerprint_version AS version FROM {table}")
    return {int(str(row["event_id"])[-12:], 16): (row["fingerprint"], row["version"]) for row in rows}


def test_what_was_taken_back_is_hidden_and_deleted(store: RunningStore) -> None:
    """Of that browser, up to that moment; what it grants again later counts, and others keep theirs."""
    watch = SignalWatch(store.writer)
    watch.look()
    see(store, 1, 1, after_s=0)
    see(store, 1, 2, after_s=10)
    see(store, 2, 3, after_s=0)
    say(store, 1, "granted", 0)
    say(store, 2, "withdrawn", 5, "marketing")
    assert not watch.look()
    assert prints(store, "v_events") == dict.fromkeys((1, 2, 3), (PRINT, 2))

    say(store, 1, "withdrawn", 5)
    assert watch.look()
    assert not watch.look()
    assert prints(store, "v_events") == {1: ("", 0), 2: (PRINT, 2), 3: (PRINT, 2)}
    assert prints(store, "events")[1] == (PRINT, 2), "hidden, and still there"
    assert delete_signals(store.writer) == 1
    assert prints(store, "events") == {1: ("", 0), 2: (PRINT, 2), 3: (PRINT, 2)}
    assert delete_signals(store.writer) == 0


def test_what_comes_in_late_is_stripped(store: RunningStore) -> None:
    """It never stands in a file."""
    say(store, 1, "withdrawn", 5)
    SignalWatch(store.writer).look()
    see(store, 1, 1, after_s=0)
    see(store, 1, 2, after_s=6)
    see(store, 1, 3, after_s=1, fingerprint="")
    assert prints(store, "events") == {1: ("", 0), 2: (PRINT, 2), 3: ("", 0)}


def test_without_anything_to_delete_no_file_is_written_anew(store: RunningStore) -> None:
    """A refusal of who never granted it."""
    see(store, 1, 1, after_s=0, fingerprint="")
    say(store, 1, "withdrawn", 5)
    assert delete_signals(store.writer) == 0
    assert store.value("SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done") == 0
