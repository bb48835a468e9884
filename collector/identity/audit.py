"""The audit log: what operators have done to identities, and how it is undone.

An entry is written before anything is changed, and never changed itself. What it holds is enough to undo it: the
evidence that it added and took back, the identifiers that it blocked and let go. Undoing is an entry of its own.

An entry says what was asked for. Whether it came about stands in the store: the row of evidence that is spooled last is
named in the entry, and once it is loaded everything is (`state`). So a process that is killed between the entry and the
spool leaves an entry that stays `open`, whatever it had in mind to note.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec

from collector.event import NIL_ID
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

MAX_NOTE_CHARS = 500
MAX_LISTED = 1_000
FAILED = "failed"
ROTATE, FINISH_ROTATION, VAULT = "rotate-personal", "finish-rotation", "vault"
REVOKE_LINKS, LIFT_REVOCATION = "revoke-links", "lift-revocation"
ROTATE_LINKS, DROP_LINK_KEY = "rotate-links", "drop-link-key"
SYNC = "sync"
EXPORT = "export"
SETTINGS = {
    ROTATE: "the key before is in force until the rotation is finished, and nothing is undone by that",
    FINISH_ROTATION: "the old key is destroyed",
    VAULT: "say `tagstitch site add SITE --replace --vault`, or --no-vault; what was never sealed cannot be had back",
    REVOKE_LINKS: "say `tagstitch links unrevoke ID`, and undo the entry that took evidence back",
    LIFT_REVOCATION: "revoke the same links again",
    ROTATE_LINKS: "the key before verifies as long as it was given; to have another one sign, rotate once more",
    DROP_LINK_KEY: "the key is destroyed",
    SYNC: "put the source right, and sync it again: what it no longer says is taken back",
    EXPORT: "what was given away is out of reach: tell whoever has it",
}
"""Changes that are no evidence, and why `undo` does not undo them."""
_COLUMNS = """
    SELECT toString(log.audit_id) AS audit_id, toUnixTimestamp64Milli(at) AS at_ms, action, actor, via, arguments, note,
        appended, taken_back, arrayMap(x -> toString(x), log.blocked) AS blocked,
        arrayMap(x -> toString(x), log.unblocked) AS unblocked,
        arrayMap(x -> toString(x), log.people_before) AS people_before,
        arrayMap(x -> toString(x), log.people_after) AS people_after,
        identifiers_moved, events_moved, toString(log.undoes) AS undoes, last_row,
        multiIf(
            last_row = '' OR last_row GLOBAL IN (
                SELECT concat(toString(a_key), ' ', toString(op), ' ', evidence_id) FROM identity_evidence
                WHERE space_id = {space:String} AND a_key GLOBAL IN (
                    SELECT toUUIDOrZero(splitByChar(' ', last_row)[1]) FROM audit_log
                    WHERE space_id = {space:String} AND last_row != '')), 'done',
            log.audit_id GLOBAL IN (SELECT undoes FROM audit_log
                WHERE space_id = {space:String} AND action = 'failed'), 'failed',
            'open') AS state,
        toBool(log.audit_id GLOBAL IN (SELECT undoes FROM audit_log
            WHERE space_id = {space:String} AND action != 'failed' AND audit_id GLOBAL NOT IN (
                SELECT undoes FROM audit_log WHERE space_id = {space:String} AND action = 'failed'))) AS is_undone
    FROM audit_log AS log FINAL
    WHERE space_id = {space:String}
"""
_UNDOING = f"""{_COLUMNS}
    AND log.undoes = {{audit:UUID}} AND action != {{failed:String}} AND log.audit_id GLOBAL NOT IN
        (SELECT undoes FROM audit_log WHERE space_id = {{space:String}} AND action = {{failed:String}})
    LIMIT 1
"""  # noqa: S608  our own words


class AuditEntry(msgspec.Struct, frozen=True):
    """One entry. `arguments`: what was asked for, as JSON, without any clear value. Ids are UUID text.

    `last_row`: own person id, op and id of the evidence that is spooled last. Only of entries that were read: `state`
    (`done`: it is in the store; `failed`: the spool did not take it; `open`: it is on its way, or whoever asked for it
    ended before it was on disk) and `is_undone`.
    """

    audit_id: str
    at_ms: int
    action: str
    actor: str
    via: str
    arguments: str = "{}"
    note: str = ""
    appended: tuple[str, ...] = ()
    taken_back: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    unblocked: tuple[str, ...] = ()
    people_before: tuple[str, ...] = ()
    people_after: tuple[str, ...] = ()
    identifiers_moved: int = 0
    events_moved: int = 0
    undoes: str = NIL_ID
    last_row: str = ""
    state: str = ""
    is_undone: bool = False


def write_entry(client: StoreClient, space_id: str, entry: AuditEntry) -> None:
    """Append an entry. Raises StoreError; StoreUnavailable leaves open whether it is there, and it may be repeated."""
    fields = msgspec.structs.asdict(entry)
    at_ms = fields.pop("at_ms")
    del fields["state"], fields["is_undone"]
    insert_rows(client, "audit_log", [{**fields, "space_id": space_id, "at": at_ms / 1000}])


def write_setting(
    client: StoreClient,
    space_id: str,
    action: str,
    actor: str,
    arguments: dict[str, Any],
    at_ms: int,
    audit_id: str = "",
    via: str = "command",
) -> AuditEntry:
    """Append that something is changed which is no evidence: one of SETTINGS. Raises StoreError."""
    said = msgspec.json.encode(arguments).decode()
    entry = AuditEntry(audit_id or str(uuid4()), at_ms, action, actor, via, said)
    write_entry(client, space_id, entry)
    return entry


def write_failure(
    client: StoreClient, space_id: str, entry: AuditEntry, note: str = "the spool did not take it"
) -> None:
    """Append that what an entry announces did not happen. Raises StoreError."""
    failed = AuditEntry(str(uuid4()), entry.at_ms, FAILED, entry.actor, entry.via, note=note, undoes=entry.audit_id)
    write_entry(client, space_id, failed)


def read_entry(client: StoreClient, space_id: str, audit_id: str) -> AuditEntry | None:
    """Return an entry, or None where there is none. Raises StoreError."""
    rows = client.query_rows(
        _COLUMNS + " AND log.audit_id = {audit:UUID} LIMIT 1", {"space": space_id, "audit": audit_id}
    )
    return _read(rows[0]) if rows else None


def find_undoing(client: StoreClient, space_id: str, audit_id: str) -> AuditEntry | None:
    """Return the entry that has undone another, or None: no failure, and no undoing that failed. Raises StoreError."""
    rows = client.query_rows(_UNDOING, {"space": space_id, "audit": audit_id, "failed": FAILED})
    return _read(rows[0]) if rows else None


def list_entries(client: StoreClient, space_id: str, most: int, before_ms: int = 0) -> list[AuditEntry]:
    """Return the newest entries, the newest first. `before_ms`: only those before, 0: all. Raises StoreError."""
    rows = client.query_rows(
        _COLUMNS
        + " AND ({before:Int64} = 0 OR at < fromUnixTimestamp64Milli({before:Int64}))"
        + " ORDER BY at DESC, audit_id LIMIT {most:UInt32}",
        {"space": space_id, "most": min(most, MAX_LISTED), "before": before_ms},
    )
    return [_read(row) for row in rows]


def _read(row: dict[str, object]) -> AuditEntry:
    return msgspec.convert(row, AuditEntry)
