"""Revocations and withdrawals in a real store, and how web processes come to know them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from collector.event import ConsentRow, LandingRow
from collector.identity.rekey import make_rekey
from collector.links import rows as link_rows
from collector.links.revocations import Revocation
from collector.links.rows import RuleReader, read_revocations, write_revocation
from collector.sites.book import DEFAULT_KINDS
from collector.sites.poll import SitePoller, read_copy
from tests.running_store import NOON_MS, RunningStore, make_row, running_store

pytestmark = pytest.mark.engine
SPRING = Revocation("r1", "main", campaign="spring", reason="wrong price", actor="operator:ann", revoked_at_ms=NOON_MS)
PEOPLE = [str(UUID(int=number << 100 | number)) for number in range(1, 7)]


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("revocations")) as store:
        yield store


@pytest.fixture
def store(shared_store: RunningStore) -> RunningStore:
    """The engine with empty tables."""
    shared_store.clear()
    return shared_store


def say(
    store: RunningStore,
    key: str,
    state: str,
    time_ms: int,
    purpose: str = "marketing",
    source: str = "unsubscribe",
) -> None:
    """Load what somebody has said about consent."""
    entry = ConsentRow(f"{key}{state}{time_ms}{purpose}", key, purpose, state, source, time_ms)
    store.load(LandingRow(received_at_ms=NOON_MS, site_id="shop", space_id="main", consents=[entry]))


def is_out(reader: RuleReader) -> list[str]:
    """Who wants no marketing, after one look at the store."""
    withdrawn = reader.read().withdrawn
    return [key for key in PEOPLE if key in withdrawn]


def test_a_revocation_is_read_lifted_and_read_again(store: RunningStore) -> None:
    """Each change comes with the next look; a look without a change gives the very same object."""
    reader = RuleReader(store.writer)
    assert reader.read().revocations.count == 0
    first = write_revocation(store.writer, SPRING)
    assert (first.version, reader.read().revocations.count) == (1, 1)
    assert reader.read() is reader.read()
    second = write_revocation(store.writer, Revocation("r2", "other", token_id="abc"))
    assert [row.revocation_id for row in reader.read().rows] == ["r1", "r2"]
    write_revocation(store.writer, msgspec.structs.replace(first, lifted=True))
    assert reader.read().revocations.count == 1
    assert read_revocations(store.writer, "other") == [second]
    listed = read_revocations(store.writer)
    assert [(row.revocation_id, row.lifted, row.reason) for row in listed] == [
        ("r1", True, "wrong price"),
        ("r2", False, ""),
    ]
    assert "wrong price" not in str(reader.rules.rows)  # what only people read is not held by every process


def test_rows_that_come_with_an_old_time_are_read(store: RunningStore) -> None:
    """A row from a backup or a slow node is seen though its time lies before what was read last."""
    reader = RuleReader(store.writer)
    write_revocation(store.writer, SPRING)
    assert len(reader.read().rows) == 1
    text = '{"revocation_id": "late", "space_id": "main", "token_id": "abc"}'
    store.put("link_revocations", {"id": "late", "row": text, "version": 1, "changed_at": 1_600_000_000})
    assert {row.revocation_id for row in reader.read().rows} == {"r1", "late"}


def test_one_damaged_row_leaves_the_others_in_force(store: RunningStore) -> None:
    """A row of a later program or a hand's slip lifts nothing, and is not read again with every poll."""
    write_revocation(store.writer, SPRING)
    store.put("link_revocations", {"id": "broken", "row": "{", "version": 1})
    reader = RuleReader(store.writer)
    assert reader.read().revocations.count == 1
    assert reader.read() is reader.read()
    assert [row.revocation_id for row in read_revocations(store.writer)] == ["r1"]


@pytest.mark.parametrize("many", [50_000, 0])
def test_the_latest_word_about_marketing_counts(
    store: RunningStore, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """Withdrawn or refused is out, granted again is in, other purposes are not asked; read whole or by what changed."""
    monkeypatch.setattr(link_rows, "MANY_KEYS", many)
    reader = RuleReader(store.writer)
    assert is_out(reader) == []
    say(store, PEOPLE[0], "withdrawn", NOON_MS)
    say(store, PEOPLE[1], "granted", NOON_MS)
    say(store, PEOPLE[2], "denied", NOON_MS)
    say(store, PEOPLE[3], "withdrawn", NOON_MS, purpose="identity")
    assert is_out(reader) == [PEOPLE[0], PEOPLE[2]]
    assert is_out(RuleReader(store.writer)) == [PEOPLE[0], PEOPLE[2]]
    say(store, PEOPLE[0], "granted", NOON_MS + 1)
    say(store, PEOPLE[1], "withdrawn", NOON_MS + 1)
    say(store, PEOPLE[2], "granted", NOON_MS - 1)  # came late, was said before
    assert is_out(reader) == [PEOPLE[1], PEOPLE[2]]
    say(store, PEOPLE[4], "withdrawn", NOON_MS)
    assert is_out(reader) == is_out(RuleReader(store.writer)) == [PEOPLE[1], PEOPLE[2], PEOPLE[4]]
    assert reader.read() is reader.read()


@pytest.mark.parametrize("many", [50_000, 0])
def test_no_list_brings_back_who_took_it_back(store: RunningStore, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    """Not even where their own word came in late, where an earlier list said no, or under another name of theirs."""
    monkeypatch.setattr(link_rows, "MANY_KEYS", many)
    reader = RuleReader(store.writer)
    say(store, PEOPLE[0], "granted", NOON_MS + 1, source="list")
    assert is_out(reader) == []
    say(store, PEOPLE[0], "withdrawn", NOON_MS)  # on its way while the list was tagged
    say(store, PEOPLE[1], "withdrawn", NOON_MS)
    say(store, PEOPLE[1], "denied", NOON_MS + 1, source="list")
    say(store, PEOPLE[1], "granted", NOON_MS + 2, source="list")
    say(store, PEOPLE[2], "withdrawn", NOON_MS)
    say(store, PEOPLE[3], "granted", NOON_MS + 1, source="list")
    store.load(make_row(evidence=[make_rekey(DEFAULT_KINDS[1], ("old", PEOPLE[2]), ("new", PEOPLE[3]), at_ms=NOON_MS)]))
    assert is_out(RuleReader(store.writer)) == PEOPLE[:4]
    say(store, PEOPLE[0], "granted", NOON_MS + 3, source="preferences")
    assert is_out(RuleReader(store.writer)) == PEOPLE[1:4]


def test_where_one_list_says_both_it_says_no(store: RunningStore) -> None:
    """Two rows of one person, in two batches of one moment."""
    for key, other in ((PEOPLE[0], "a"), (PEOPLE[1], "z")):
        entries = [
            ConsentRow(name, key, "marketing", state, "list", NOON_MS)
            for name, state in ((f"m{key}", "denied"), (f"{other}{key}", "granted"))
        ]
        store.load(LandingRow(received_at_ms=NOON_MS, site_id="shop", space_id="main", consents=entries))
    assert is_out(RuleReader(store.writer)) == PEOPLE[:2]


def test_a_person_with_two_names_is_out_under_both(store: RunningStore) -> None:
    """After a rotation of personal keys: what was said last counts, under whichever name, for both of them."""
    now_s = [0.0]
    reader = RuleReader(store.writer, clock=lambda: now_s[0])
    say(store, PEOPLE[0], "withdrawn", NOON_MS)
    say(store, PEOPLE[2], "withdrawn", NOON_MS)
    assert is_out(reader) == [PEOPLE[0], PEOPLE[2]]
    renamed = make_rekey(DEFAULT_KINDS[1], ("old", PEOPLE[0]), ("new", PEOPLE[1]), at_ms=NOON_MS)
    store.load(make_row(evidence=[renamed]))
    now_s[0] += 3600
    assert is_out(reader) == PEOPLE[:3]
    assert reader.read() is reader.read()
    say(store, PEOPLE[1], "granted", NOON_MS + 1)
    assert is_out(reader) == [PEOPLE[2]]
    say(store, PEOPLE[0], "denied", NOON_MS + 2)
    assert is_out(reader) == PEOPLE[:3]
    assert is_out(RuleReader(store.writer)) == PEOPLE[:3]


def test_what_was_taken_back_stays_so_with_the_store_away(store: RunningStore, tmp_path: Path) -> None:
    """The copy on disk has it, for its owner alone; a process that starts without a store judges by it."""
    config = msgspec.structs.replace(store.config, data=str(tmp_path))
    write_revocation(store.writer, SPRING)
    say(store, PEOPLE[0], "withdrawn", NOON_MS)
    poller = SitePoller(config, store.keyring, now_ms=lambda: NOON_MS)
    assert poller.poll()
    assert poller.poll()
    assert b"spring" not in (tmp_path / "web" / "sites.json").read_bytes()
    assert (tmp_path / "web" / "links.msgpack").stat().st_mode & 0o077 == 0

    away = SitePoller(msgspec.structs.replace(config, engine_port=1), store.keyring, now_ms=lambda: NOON_MS)
    assert not away.poll()
    links = away.read_book().links
    assert links == poller.read_book().links
    assert links.revocations.count == 1
    assert PEOPLE[0] in links.withdrawn

    (tmp_path / "web" / "links.msgpack").write_bytes(b"\xc1")
    assert read_copy(tmp_path).links.revocations.count == 0
    assert read_copy(tmp_path).read_at_ms == NOON_MS


def test_a_change_of_rules_alone_is_copied(store: RunningStore, tmp_path: Path) -> None:
    """A revocation at once; who wants no marketing within a minute."""
    now = [NOON_MS]
    config = msgspec.structs.replace(store.config, data=str(tmp_path))
    poller = SitePoller(config, store.keyring, now_ms=lambda: now[0])
    assert poller.poll()
    write_revocation(store.writer, SPRING)
    assert poller.poll()
    assert read_copy(tmp_path).links.revocations.count == 1
    say(store, PEOPLE[0], "withdrawn", NOON_MS)
    now[0] += 60_000
    assert poller.poll()
    assert PEOPLE[0] in read_copy(tmp_path).links.withdrawn


def test_a_store_without_these_tables_still_says_its_sites(store: RunningStore, tmp_path: Path) -> None:
    """Between an update of the program and `tagstitch migrate` sites and keys are read."""
    config = msgspec.structs.replace(store.config, data=str(tmp_path))
    store.writer.command("RENAME TABLE link_revocations TO link_revocations_aside")
    try:
        poller = SitePoller(config, store.keyring, now_ms=lambda: NOON_MS)
        assert poller.poll()
        assert poller.read_book().read_at_ms == NOON_MS
    finally:
        store.writer.command("RENAME TABLE link_revocations_aside TO link_revocations")
    write_revocation(store.writer, SPRING)
    assert poller.poll()
    assert poller.read_book().links.revocations.count == 1
