"""Records of mintings, and what lists say about consent: in the store, or waiting for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from collector.errors import ConfigError, LinkError, StoreError
from collector.identity.identifiers import own_person_id
from collector.links.ledger import LedgerWriter, read_consent
from collector.links.minting import Mailing
from collector.links.record import (
    FOLDER,
    begin_minting,
    count_pending,
    keep_minting,
    put_pending,
    read_mintings,
    send_pending,
    tell_sent,
)
from collector.sites.book import DEFAULT_KINDS
from tests.running_store import NOON_MS, RunningStore, running_store

pytestmark = pytest.mark.engine
CUSTOMER = DEFAULT_KINDS[0]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """A store."""
    with running_store(tmp_path_factory.mktemp("records")) as made:
        yield made


def make_minting(store: RunningStore, campaign: str, **more: object):
    """A record of a mailing."""
    mailing = Mailing(campaign=campaign, link="top")
    begun = begin_minting(store.keyring, mailing, now_ms=NOON_MS, actor="operator:anna", via="command")
    return msgspec.structs.replace(begun, **{"made": 20, "recipients": 10, "refused": 1, **more})


def test_a_record_is_read_as_it_was_written(store: RunningStore, tmp_path: Path) -> None:
    """With the store there it goes in at once, and nothing is left in the folder."""
    config = msgspec.structs.replace(store.config, data=str(tmp_path))
    minting = make_minting(store, "spring")
    assert keep_minting(config, store.keyring, minting)
    assert [found for found in read_mintings(store.writer) if found.campaign == "spring"] == [minting]
    assert count_pending(tmp_path) == 0
    assert minting.expires_at_ms == NOON_MS + 90 * 86_400_000


def test_a_record_waits_for_the_store(store: RunningStore, tmp_path: Path) -> None:
    """Without the store it waits; the next one that reaches it takes it along. A damaged one stays where it is."""
    here = msgspec.structs.replace(store.config, data=str(tmp_path))
    away = msgspec.structs.replace(here, engine_port=9)
    assert not keep_minting(away, store.keyring, make_minting(store, "waits"))
    (tmp_path / FOLDER / "damaged.json").write_text("{")
    (tmp_path / FOLDER / "damaged more.json").write_bytes(b'{"minting_id":"\xff"}')
    assert count_pending(tmp_path) == 3
    assert keep_minting(here, store.keyring, make_minting(store, "takes it along"))
    found = {minting.campaign for minting in read_mintings(store.writer)}
    assert {"waits", "takes it along"} <= found
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"damaged.json", "damaged more.json"}


def test_a_record_that_is_sent_twice_is_one(store: RunningStore, tmp_path: Path) -> None:
    """Killed between the insert and the removal, it is sent again."""
    minting = make_minting(store, "twice")
    for _ in range(2):
        put_pending(tmp_path, minting)
        assert send_pending(store.writer, tmp_path) == 1
    assert sum(found.campaign == "twice" for found in read_mintings(store.writer)) == 1


def test_a_record_that_the_store_refuses(store: RunningStore, tmp_path: Path) -> None:
    """It stays behind, and holds nobody up."""
    refused = make_minting(store, "refused", minting_id="00000000-no-id")
    put_pending(tmp_path, refused)
    put_pending(tmp_path, make_minting(store, "behind it"))
    assert send_pending(store.writer, tmp_path) == 1
    assert "behind it" in {found.campaign for found in read_mintings(store.writer)}
    assert [path.stem for path in (tmp_path / FOLDER).iterdir()] == [refused.minting_id]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_mints_is_the_instances(store: RunningStore, tmp_path: Path) -> None:
    """A record that root leaves belongs to whom the data folder belongs, so that web can send it and write its own."""
    os.chown(tmp_path, 12345, 12345)
    put_pending(tmp_path, make_minting(store, "root"))
    found = [tmp_path / "links", tmp_path / FOLDER, *(tmp_path / FOLDER).iterdir()]
    assert {path.stat().st_uid for path in found} == {12345}


def test_no_folder_and_no_store(store: RunningStore, tmp_path: Path) -> None:
    """A record that nobody takes is no silent loss."""
    (tmp_path / "links").write_text("in the way")
    away = msgspec.structs.replace(store.config, data=str(tmp_path), engine_port=9)
    with pytest.raises(StoreError):
        keep_minting(away, store.keyring, make_minting(store, "lost"))


def test_telling_what_went_out(store: RunningStore, tmp_path: Path) -> None:
    """By the id or its beginning; told again, the last word holds."""
    config = msgspec.structs.replace(store.config, data=str(tmp_path))
    minting = make_minting(store, "told")
    keep_minting(config, store.keyring, minting)
    assert tell_sent(store.writer, minting.minting_id[:13], 9).sent == 9
    assert tell_sent(store.writer, minting.minting_id, 8, NOON_MS).sent_at_ms == NOON_MS
    (found,) = [found for found in read_mintings(store.writer) if found.campaign == "told"]
    assert (found.sent, found.sent_at_ms) == (8, NOON_MS)
    assert (minting.sent, tell_sent(store.writer, minting.minting_id, 0).sent) == (-1, 0), "none went out"
    for name in ("", "zz", minting.minting_id + "0"):
        with pytest.raises(ConfigError):
            tell_sent(store.writer, name, 1)


@pytest.mark.parametrize(
    ("cell", "letters"),
    [
        ("yes", "m"),
        (" TRUE ", "m"),
        ("1", "m"),
        ("no", ""),
        ("0", ""),
        ("denied", ""),
        ("", None),
        ("mi", "im"),
        ("si", "m"),
    ],
)
def test_reading_consent(cell: str, letters: str | None) -> None:
    """Words and the wire's letters; an empty cell says nothing."""
    read = read_consent(cell)
    assert (None if read is None else set(read)) == (None if letters is None else set(letters))


@pytest.mark.parametrize("cell", ["maybe", "imx", "2", "amm!", "yes?"])
def test_unreadable_consent(cell: str) -> None:
    """What is neither is refused, and so is what may be two things: consent is not guessed."""
    with pytest.raises(LinkError):
        read_consent(cell)


def test_ledger(store: RunningStore) -> None:
    """Yes and no are written once, nothing for silence, and a list does not give back what a customer took back."""
    space = "ledger"
    key = {name: own_person_id(store.keyring.pseudonym_key, space, "customer", name) for name in "abcd"}
    back = {"space_id": space, "key": key["c"], "purpose": "marketing", "time": NOON_MS / 1000 - 60}
    store.put("consent_ledger", back | {"state": "withdrawn", "source": "unsubscribe", "consent_id": "1"})
    for _ in range(2):
        writer = LedgerWriter(
            *(store.writer, store.keyring),
            space_id=space,
            kind=CUSTOMER,
            minting_id="a-minting",
            time_ms=NOON_MS,
            actor="operator:anna",
        )
        writer.add([("a", "im"), ("b", ""), ("c", "m"), ("d", None)])
        writer.finish()
        assert (writer.written, writer.kept) == (3, 1)
    rows = store.query(
        "SELECT toString(key) AS owner, purpose, state, source, proof, actor FROM consent_ledger FINAL "
        "WHERE space_id = 'ledger' AND source = 'list' ORDER BY purpose, state"
    )
    shared = {"source": "list", "proof": "a-minting", "actor": "operator:anna"}
    assert rows == [
        {"owner": key["a"], "purpose": "identity", "state": "granted", **shared},
        {"owner": key["b"], "purpose": "marketing", "state": "denied", **shared},
        {"owner": key["a"], "purpose": "marketing", "state": "granted", **shared},
    ]
    batches = "SELECT min(batch_seq) AS n FROM consent_ledger WHERE space_id = 'ledger' AND source = 'list'"
    assert store.value(batches) > NOON_MS, "without a number it would not be copied to another store"


def test_a_no_of_a_list_does_not_make_room_for_a_yes(store: RunningStore) -> None:
    """Who took it back by a link stays out, though the last entry is a list's; and a list that says both says no."""
    space = "room"
    key = {name: own_person_id(store.keyring.pseudonym_key, space, "customer", name) for name in "ab"}
    back = {"space_id": space, "key": key["a"], "purpose": "marketing", "time": NOON_MS / 1000 - 60}
    store.put("consent_ledger", back | {"state": "withdrawn", "source": "unsubscribe", "consent_id": "1"})
    for after, letters in enumerate(("", "m")):
        writer = LedgerWriter(
            *(store.writer, store.keyring),
            space_id=space,
            kind=CUSTOMER,
            minting_id=f"list-{after}",
            time_ms=NOON_MS + after,
            actor="operator:anna",
        )
        writer.add([("a", letters), ("b", ""), ("b", "m")])
        writer.finish()
    assert writer.kept == 1
    holds = "SELECT toString(own_person_id) AS owner, state, source FROM v_consents WHERE space_id = 'room'"
    assert {row["owner"]: (row["state"], row["source"]) for row in store.query(holds)} == {
        key["a"]: ("withdrawn", "unsubscribe"),
        key["b"]: ("denied", "list"),
    }
