"""The chain of the audit log: what is changed, taken out or put in shows; what was erased is counted."""

from __future__ import annotations

from uuid import uuid4

import pytest

from collector.identity import audit
from collector.identity.audit import AuditEntry
from collector.keyring import make_keyring
from collector.privacy.chain import KEEP_DAYS, extend_chain, verify_chain
from tests.running_store import NOON_MS, RunningStore

pytestmark = pytest.mark.engine
NOW_MS = NOON_MS + 3_600_000


def write(store: RunningStore, number: int, note: str = "") -> AuditEntry:
    """Write an entry that names somebody, `number` seconds after noon."""
    keys = (str(uuid4()),)
    entry = AuditEntry(str(uuid4()), NOON_MS + number * 1000, "merge", "operator:eve", "command", note=note, keys=keys)
    audit.write_entry(store.writer, "main", entry)
    return entry


def extend(store: RunningStore) -> int:
    """Add what has no link yet, a minute after noon."""
    return extend_chain(store.writer, store.keyring, NOON_MS + 60_000)


def change(store: RunningStore, statement: str, **values: object) -> None:
    """Change rows behind everybody's back, as whoever has the store's password can."""
    store.writer.command(statement, values, {"mutations_sync": 2})


def test_a_chain_grows_and_verifies(store: RunningStore) -> None:
    """Each entry is two links, each piece ends with a seal; what has its link gets no other one."""
    for number in range(3):
        write(store, number)
    assert extend(store) == 6
    assert extend(store) == 0
    write(store, 4)
    verdict = verify_chain(store.writer, store.keyring, NOW_MS)
    assert (verdict.links, verdict.sealed, verdict.waiting, verdict.is_sound) == (6, 1, 2, True)
    assert extend(store) == 2
    verdict = verify_chain(store.writer, store.keyring, NOW_MS)
    assert (verdict.links, verdict.sealed, verdict.waiting, verdict.gone, verdict.is_sound) == (8, 2, 0, 0, True)


def test_a_large_log_is_chained_in_pieces(store: RunningStore) -> None:
    """No more than a bounded number of links is added at once, and in the end each row has one."""
    for number in range(5):
        write(store, number)
    pieces = []
    while piece := extend_chain(store.writer, store.keyring, NOON_MS + 60_000, most=4):
        pieces.append(piece)
    assert pieces == [4, 4, 2]
    assert verify_chain(store.writer, store.keyring, NOW_MS).is_sound


def test_a_changed_entry_shows(store: RunningStore) -> None:
    """Whoever writes another name into an entry leaves its link without a row, and a row without a link."""
    entry = write(store, 1)
    extend(store)
    sql = "ALTER TABLE audit_log UPDATE actor = 'operator:bob' WHERE audit_id = {id:UUID}"
    change(store, sql, id=entry.audit_id)
    verdict = verify_chain(store.writer, store.keyring, NOW_MS)
    assert (len(verdict.missing), verdict.waiting, verdict.is_sound) == (1, 1, False)


def test_an_entry_that_was_taken_out_shows(store: RunningStore) -> None:
    """A row of the log that is gone is missing; one that only says to whom may have been erased, and is counted."""
    first, second = write(store, 1), write(store, 2)
    extend(store)
    change(store, "ALTER TABLE audit_details DELETE WHERE audit_id = {id:UUID}", id=first.audit_id)
    verdict = verify_chain(store.writer, store.keyring, NOW_MS)
    assert (verdict.gone, verdict.is_sound) == (1, True)
    assert audit.read_entry(store.writer, "main", first.audit_id).is_erased  # type: ignore[union-attr]
    change(store, "ALTER TABLE audit_log DELETE WHERE audit_id = {id:UUID}", id=second.audit_id)
    assert len(verify_chain(store.writer, store.keyring, NOW_MS).missing) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE audit_chain DELETE WHERE seq = 2",
        "ALTER TABLE audit_chain UPDATE digest = repeat('0', 64) WHERE seq = 2",
        "ALTER TABLE audit_chain UPDATE chain = repeat('0', 64) WHERE seq = 2",
        "ALTER TABLE audit_chain UPDATE source = 'read' WHERE seq = 1",
        "INSERT INTO audit_chain SELECT 2, at, source, digest, chain FROM audit_chain WHERE seq = 1",
    ],
)
def test_a_chain_that_was_touched_is_broken(store: RunningStore, statement: str) -> None:
    """A link that was removed, changed or added does not fit the one before it, or the one behind does not fit it."""
    write(store, 1)
    write(store, 2)
    extend(store)
    change(store, statement)
    assert verify_chain(store.writer, store.keyring, NOW_MS).broken


def test_a_chain_made_anew_without_the_secrets_is_not_signed(store: RunningStore) -> None:
    """Whoever makes the whole chain again needs the instance's key for its seals."""
    write(store, 1)
    extend_chain(store.writer, make_keyring(), NOON_MS + 60_000)
    verdict = verify_chain(store.writer, store.keyring, NOW_MS)
    assert (verdict.unsigned, verdict.broken, verdict.is_sound) == ((3,), (), False)


def test_what_is_over_its_time_leaves_its_link(store: RunningStore) -> None:
    """Three years later the rows are gone and the chain is sound; a row that is gone earlier is missing."""
    write(store, 1)
    assert extend(store) == 2
    for table in ("audit_log", "audit_details"):  # as the store does by itself when their time is over
        change(store, f"ALTER TABLE {table} DELETE WHERE 1")
    later_ms = NOON_MS + KEEP_DAYS * 86_400_000
    verdict = verify_chain(store.writer, store.keyring, later_ms)
    assert (verdict.is_sound, verdict.gone) == (True, 2)
    early = verify_chain(store.writer, store.keyring, later_ms - 10 * 86_400_000)
    assert (early.is_sound, len(early.missing)) == (False, 1)


def test_the_tables_say_the_same(store: RunningStore) -> None:
    """How long a row is kept is what the verification goes by."""
    rows = store.query(
        "SELECT name, create_table_query AS made FROM system.tables WHERE database = currentDatabase()"
        " AND name IN ('audit_log', 'audit_details', 'profile_reads')"
    )
    assert len(rows) == 3
    for row in rows:
        assert f"TTL toDateTime(at) + toIntervalDay({KEEP_DAYS})" in row["made"], row["name"]
