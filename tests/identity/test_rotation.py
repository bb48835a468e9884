"""Rotating personal keys against a real engine: who keeps their thread, what is re-keyed, what is gone in the end."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from collector.config import Config
from collector.errors import KeyringError, RepairError, StoreError
from collector.event import EvidenceRow, LandingRow, VaultRow
from collector.identity import rotation
from collector.identity.audit import list_entries
from collector.identity.identifiers import Named, make_pseudonym, name_identifier
from collector.identity.rekey import make_rekey
from collector.identity.repair import Repairs
from collector.identity.rotation import (
    LATE_MS,
    Rotation,
    clear_vault,
    note_begun,
    note_finish,
    read_rotation,
    rekey_vault,
    wait_for_vault,
)
from collector.identity.vault import open_value, seal_value
from collector.key_changes import add_personal_key, drop_personal_keys
from collector.keyring import (
    FIRST_PERSONAL_ID,
    Keyring,
    PersonalKey,
    make_keyring,
    open_keyring,
    read_keyring,
)
from collector.sites.book import DEFAULT_KINDS, Site
from collector.sites.rows import add_site
from collector.spool.frames import scan_frames
from collector.store.client import open_client
from collector.store.rendering import find_target
from tests.running_store import NOON_MS, RunningStore, make_evidence, make_row, running_store

OLD, NEW = PersonalKey("p1", "44" * 32), PersonalKey("p2", "55" * 32, made_at_ms=NOON_MS)
EMAIL = DEFAULT_KINDS[1]


# --- the file of secrets --------------------------------------------------------------------------------------------


def test_a_new_key_stands_in_front_of_the_old_one(tmp_path: Path) -> None:
    """Nothing else changes, and the file stays its owner's alone."""
    path = tmp_path / "secrets.json"
    before = open_keyring(path, {})
    after = add_personal_key(path, 17, {})
    assert after.personal_keys[1:] == before.personal_keys
    assert after.personal_keys[0].made_at_ms == 17
    assert msgspec.structs.replace(after, personal_keys=before.personal_keys) == before
    assert read_keyring(path, {}) == after
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secrets.json"]


def test_a_destroyed_key_is_nowhere_in_the_folder(tmp_path: Path) -> None:
    """Neither in the file nor in a draft of it."""
    path = tmp_path / "secrets.json"
    old = open_keyring(path, {}).personal_keys[0]
    new = add_personal_key(path, 17, {}).personal_keys[0]
    assert drop_personal_keys(path, new.id, {}).personal_keys == [new]
    assert all(old.secret not in entry.read_text() for entry in tmp_path.iterdir())


def test_secrets_of_the_first_version_have_a_key_that_follows_from_another(tmp_path: Path) -> None:
    """All hosts read the same one; the first rotation writes it down, and the file keeps what we do not know."""
    path = tmp_path / "secrets.json"
    document = msgspec.to_builtins(make_keyring())
    del document["personal_keys"]
    path.write_text(json.dumps({**document, "of_later": 1}))
    path.chmod(0o600)
    [first] = read_keyring(path, {}).personal_keys
    assert (first.id, len(first.secret)) == (FIRST_PERSONAL_ID, 64)
    assert read_keyring(path, {}).personal_keys == [first]
    assert add_personal_key(path, 1, {}).personal_keys[1] == first
    assert json.loads(path.read_text())["of_later"] == 1


def test_what_cannot_be_rotated_says_why(tmp_path: Path) -> None:
    """Two rotations at once, secrets of the environment, another newest key, no file."""
    path = tmp_path / "secrets.json"
    with pytest.raises(KeyringError, match="tagstitch run"):
        add_personal_key(path, 1, {})
    open_keyring(path, {})
    with pytest.raises(KeyringError, match="in TAGSTITCH_SECRETS, which a command cannot change"):
        add_personal_key(path, 1, {"TAGSTITCH_SECRETS": path.read_text()})
    add_personal_key(path, 1, {})
    with pytest.raises(KeyringError, match="rotate already"):
        add_personal_key(path, 2, {})
    with pytest.raises(KeyringError, match="changed meanwhile"):
        drop_personal_keys(path, "other", {})
    assert len(read_keyring(path, {}).personal_keys) == 2


def test_a_link_to_the_secrets_stays_a_link(tmp_path: Path) -> None:
    """The file may lie elsewhere."""
    path, link = tmp_path / "real.json", tmp_path / "secrets.json"
    open_keyring(path, {})
    link.symlink_to(path)
    add_personal_key(link, 1, {})
    assert link.is_symlink()
    assert len(read_keyring(path, {}).personal_keys) == 2


# --- the vault and the counts ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("rotation")) as store:
        yield store


@pytest.fixture
def store(running: RunningStore) -> RunningStore:
    running.clear()
    return running


class Quiet:
    """A Watcher that keeps what it hears."""

    def __init__(self) -> None:
        self.total = self.reached = 0

    def begin(self, total: int) -> None:
        self.total = total

    def reach(self, count: int) -> None:
        self.reached = count

    def wait(self, left: int) -> None:
        pass


def make_ring(store: RunningStore, *keys: PersonalKey) -> Keyring:
    return msgspec.structs.replace(store.keyring, personal_keys=list(keys))


def name(store: RunningStore, value: str, key: PersonalKey = OLD) -> Named:
    return name_identifier(make_ring(store, key), "main", EMAIL, value)


def see(store: RunningStore, number: int, value: str, *, vault: bool = False) -> LandingRow:
    """Return a beacon that named an address while the old key alone was in force."""
    named = name(store, value)
    evidence = make_evidence(number, number, b_kind="email", b_value=named.value, b_key=named.key, b_unique=0)
    vaulted = [seal_value(make_ring(store, OLD), "main", "email", named, value)] if vault else []
    return make_row(number, evidence=[evidence], vault=vaulted)


def tie(store: RunningStore, value: str) -> EvidenceRow:
    """Return the evidence with which the edge ties both names."""
    old, new = name(store, value), name(store, value, NEW)
    return make_rekey(EMAIL, (old.value, old.key), (new.value, new.key), at_ms=NEW.made_at_ms)


def load_spool(store: RunningStore, folder: Path, seq: int) -> list[LandingRow]:
    """Load what lies in the spool, as the loader does, and return it."""
    rows = []
    for path in sorted((folder / "spool" / "rekey").glob("*.seg")):
        rows += [msgspec.json.decode(frame.line, type=LandingRow) for frame in scan_frames(path.read_bytes())]
        path.unlink()
    store.load(*rows, seq=seq)
    return rows


def test_it_is_counted_who_would_lose_their_thread(store: RunningStore) -> None:
    """Seen since, in the vault, both, or neither; other kinds and keys are not counted."""
    store.load(
        see(store, 1, "seen@x.example"),
        see(store, 2, "vaulted@x.example", vault=True),
        see(store, 3, "both@x.example", vault=True),
        see(store, 4, "lost@x.example"),
        see(store, 5, "lost@x.example"),
        make_row(
            6,
            evidence=[
                make_evidence(6, 6, b_value="p1.4711"),
                tie(store, "seen@x.example"),
                tie(store, "both@x.example"),
            ],
        ),
    )
    [found] = read_rotation(store.writer, make_ring(store, NEW, OLD))
    assert (found.old, found.new) == (OLD, NEW)
    assert (found.known, found.seen, found.vaulted, found.lost) == (4, 2, 2, 1)
    assert found.last_ms == NOON_MS
    assert read_rotation(store.writer, make_ring(store, NEW)) == []


def test_a_link_of_before_holds_nothing_up(store: RunningStore) -> None:
    """A link that was minted with the old key brings the old name for as long as it lives; no host is behind."""
    store.load(see(store, 1, "reader@x.example"))
    [before] = read_rotation(store.writer, make_ring(store, NEW, OLD))
    row = see(store, 2, "reader@x.example")
    row.evidence[0].kind, row.received_at_ms = "link", NOON_MS + LATE_MS
    store.load(row, seq=2)
    [after] = read_rotation(store.writer, make_ring(store, NEW, OLD))
    assert (before.last_ms, after.last_ms) == (NOON_MS, NOON_MS)
    assert after.known == 1


def test_a_host_without_the_new_key_is_noticed() -> None:
    """It wrote under the old key alone after the new one was made, and lately."""
    now_ms = NOON_MS + 10 * LATE_MS
    for last_ms, late_s in (
        (0, None),
        (NEW.made_at_ms, None),
        (NEW.made_at_ms + 1, None),
        (now_ms - LATE_MS, None),
        (now_ms - 5000, 5),
    ):
        assert Rotation(OLD, NEW, last_ms=last_ms).find_late_s(now_ms) == late_s


def test_the_vault_is_named_anew(store: RunningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody in it has a new name, tied to the old one, and their value under the new key, page by page."""
    monkeypatch.setattr(rotation, "PAGE_ROWS", 100)
    values = [f"v{number}@x.example" for number in range(305)]
    store.load(*(see(store, number, value, vault=True) for number, value in enumerate(values)))
    keyring, config, quiet = make_ring(store, NEW, OLD), Config(data=str(tmp_path)), Quiet()
    assert rekey_vault(config, keyring, store.writer, quiet) == 0
    assert (quiet.total, quiet.reached) == (len(values), len(values))
    rows = load_spool(store, tmp_path, seq=2)
    wait_for_vault(keyring, store.writer, quiet, limit_s=0)
    assert {row.site_id for row in rows} == {"shop"}
    ties = {e.evidence_id: e for row in rows for e in row.evidence}
    assert ties == {e.evidence_id: e for e in (tie(store, value) for value in values)}
    [found] = read_rotation(store.writer, keyring)
    assert (found.seen, found.vaulted, found.lost) == (len(values), len(values), 0)
    clear_vault(store.writer, find_target(store.config), keyring)
    kept = store.query(
        "SELECT kind, pseudonym AS value, toString(key) AS key, sealed FROM identifier_vault FINAL ORDER BY pseudonym"
    )
    opened = {open_value(NEW, "main", msgspec.convert(row, VaultRow)) for row in kept}
    assert opened == set(values)
    assert {row["value"] for row in kept} == {make_pseudonym(NEW, "main", "email", value) for value in values}


def test_what_is_done_is_not_done_again(store: RunningStore, tmp_path: Path) -> None:
    """After a crash the rest alone is left; and whoever the edge has named anew meanwhile is done."""
    store.load(*(see(store, number, f"v{number}@x.example", vault=True) for number in range(5)))
    named = name(store, "v0@x.example", NEW)
    vaulted = seal_value(make_ring(store, NEW), "main", "email", named, "v0@x.example")
    store.load(make_row(9, evidence=[tie(store, "v0@x.example")], vault=[vaulted]), seq=2)
    store.load(make_row(9, evidence=[tie(store, "v1@x.example")]), seq=3)  # seen, by a site that has no vault
    keyring, config, quiet = make_ring(store, NEW, OLD), Config(data=str(tmp_path)), Quiet()
    rekey_vault(config, keyring, store.writer, quiet)
    assert quiet.total == 4
    load_spool(store, tmp_path, seq=4)
    rekey_vault(config, keyring, store.writer, quiet)
    assert quiet.total == 0
    assert load_spool(store, tmp_path, seq=5) == []


def test_what_cannot_be_opened_is_left_out_and_said(store: RunningStore, tmp_path: Path) -> None:
    """A value that somebody put there, or moved, holds nothing up."""
    row = see(store, 1, "v1@x.example", vault=True)
    moved = msgspec.structs.replace(row.vault[0], key="0000000f-0000-4000-8000-000000000001", value=f"p1.{1:032x}")
    store.load(row, make_row(2, vault=[moved]))
    keyring, config, quiet = make_ring(store, NEW, OLD), Config(data=str(tmp_path)), Quiet()
    assert rekey_vault(config, keyring, store.writer, quiet) == 1
    load_spool(store, tmp_path, seq=2)
    wait_for_vault(keyring, store.writer, quiet, unreadable=1, limit_s=0)


def test_without_a_loader_it_ends_with_what_to_do(store: RunningStore) -> None:
    """Nothing is destroyed before the store has it."""
    store.load(see(store, 1, "v1@x.example", vault=True))
    with pytest.raises(KeyringError, match="start `tagstitch load`"):
        wait_for_vault(make_ring(store, NEW, OLD), store.writer, Quiet(), limit_s=1.0, sleep=lambda _: None)


def test_no_reader_has_the_vault(store: RunningStore) -> None:
    """Neither reader nor analyst, by no name."""
    store.load(see(store, 1, "v1@x.example", vault=True))
    for role in ("reader", "analyst"):
        with open_client(store.config, store.keyring, role) as client:
            for source in ("identifier_vault", "tagstitch.identifier_vault", "merge('tagstitch', 'vault')"):
                with pytest.raises(StoreError):
                    client.query_rows(f"SELECT * FROM {source}")
    assert store.value("SELECT count() FROM system.columns WHERE name = 'sealed' AND startsWith(table, 'v_')") == 0


# --- the audit log --------------------------------------------------------------------------------------------------


def test_a_rotation_stands_in_the_audit_log_of_every_space(store: RunningStore) -> None:
    """Its beginning once, whoever says it how often; its end with the counts that it was decided by. Neither names a
    value, and neither is undone."""
    add_site(store.writer, Site("shop"))
    add_site(store.writer, Site("blog", space_id="other"))
    keyring = make_ring(store, NEW, OLD)
    for actor in ("operator:eve", "operator:adam"):
        note_begun(store.writer, keyring, actor)
    note_finish(store.writer, [Rotation(OLD, NEW, known=5, seen=3, vaulted=1, lost=1)], "operator:adam", NOON_MS + 9)
    for space in ("main", "other"):
        ended, begun = list_entries(store.writer, space, 10)
        assert (begun.action, begun.actor, begun.at_ms) == ("rotate-personal", "operator:eve", NEW.made_at_ms)
        assert (ended.action, ended.actor, ended.state) == ("finish-rotation", "operator:adam", "done")
        assert json.loads(ended.arguments) == {"old": "p1", "new": "p2", "known": 5, "seen": 3, "vaulted": 1, "lost": 1}
        repairs = Repairs(store.writer, store.config, keyring, space, "operator:eve")
        for entry in (begun, ended):
            with pytest.raises(RepairError, match="cannot be undone"):
                repairs.plan_undo(entry.audit_id)


def test_no_rotation_is_no_entry(store: RunningStore) -> None:
    """One key is in force: nothing has begun."""
    add_site(store.writer, Site("shop"))
    note_begun(store.writer, make_ring(store, NEW), "operator:eve")
    assert list_entries(store.writer, "main", 10) == []
