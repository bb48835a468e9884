"""The audit log: what operators have done, and how it is undone.

An entry is written before anything is changed, and never changed itself. What it holds is enough to undo it: the
evidence that it added and took back, the identifiers that it blocked and let go. Undoing is an entry of its own.

An entry says what was asked for. Whether it came about stands in the store: the row of evidence that is spooled last is
named in the entry, and once it is loaded everything is (`state`). So a process that is killed between the entry and the
spool leaves an entry that stays `open`, whatever it had in mind to note.

What an entry says of people stands apart, and goes when one of them is erased: the entry itself stays for ever, and is
bound into the chain (see `privacy.chain`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import msgspec

from collector.errors import TagstitchError
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
SITE, KEY = "site", "key"
REQUEST = "request"
SETTINGS = {
    ROTATE: "the key before is in force until the rotation is finished, and nothing is undone by that",
    FINISH_ROTATION: "the old key is destroyed",
    VAULT: "say `tagstitch site add SITE --replace --vault`, or --no-vault; what was never sealed cannot be had back",
    REVOKE_LINKS: "say `tagstitch links unrevoke ID`, and undo the entry that took evidence back",
    LIFT_REVOCATION: "revoke the same links again",
    ROTATE_LINKS: "the key before verifies as long as it was given; to have another one sign, rotate once more",
    DROP_LINK_KEY: "the key is destroyed",
    SYNC: "put the source right, and sync it again: what it no longer says is taken back",
    SITE: "change it again: `tagstitch site add SITE --replace …`",
    KEY: "a key that was revoked stays so: make another one",
    REQUEST: "what a person asked for is undone by nobody but them",
    EXPORT: "what was given away is out of reach: tell whoever has it",
}
"""Changes that are no evidence, and why `undo` does not undo them."""
_COLUMNS = """
    SELECT toString(log.audit_id) AS audit_id, toUnixTimestamp64Milli(log.at) AS at_ms, action, actor, via,
        if(details.arguments != '', details.arguments, log.arguments) AS arguments, note,
        appended, taken_back, arrayMap(x -> toString(x), details.blocked) AS blocked,
        arrayMap(x -> toString(x), details.unblocked) AS unblocked,
        arrayMap(x -> toString(x), details.people_before) AS people_before,
        arrayMap(x -> toString(x), details.people_after) AS people_after,
        identifiers_moved, events_moved, toString(log.undoes) AS undoes, last_row,
        toBool(people > 0 AND details.arguments = '') AS is_erased,
        multiIf(
            last_row = '' OR last_row GLOBAL IN (
                SELECT concat(toString(a_key), ' ', toString(op), ' ', evidence_id) FROM identity_evidence
                WHERE space_id = {space:String} AND a_key GLOBAL IN (
                    SELECT toUUIDOrZero(splitByChar(' ', last_row)[1]) FROM audit_details
                    WHERE space_id = {space:String} AND last_row != '')), 'done',
            log.audit_id GLOBAL IN (SELECT undoes FROM audit_log
                WHERE space_id = {space:String} AND action = 'failed'), 'failed',
            'open') AS state,
        toBool(log.audit_id GLOBAL IN (SELECT undoes FROM audit_log
            WHERE space_id = {space:String} AND action != 'failed' AND audit_id GLOBAL NOT IN (
                SELECT undoes FROM audit_log WHERE space_id = {space:String} AND action = 'failed'))) AS is_undone
    FROM (SELECT * FROM audit_log FINAL WHERE space_id = {space:String}) AS log
    LEFT JOIN (SELECT * FROM audit_details FINAL WHERE space_id = {space:String}) AS details
        ON details.audit_id = log.audit_id
    WHERE log.space_id = {space:String}
"""
_UNDOING = f"""{_COLUMNS}
    AND log.undoes = {{audit:UUID}} AND action != {{failed:String}} AND log.audit_id GLOBAL NOT IN
        (SELECT undoes FROM audit_log WHERE space_id = {{space:String}} AND action = {{failed:String}})
    LIMIT 1
"""  # noqa: S608  our own words


_ABOUT = (
    *("arguments", "note", "appended", "taken_back", "blocked", "unblocked", "people_before", "people_after"),
    "last_row",
)
_SAID = ("action", "actor", "via", "identifiers_moved", "events_moved", "undoes")


class AuditEntry(msgspec.Struct, frozen=True):
    """One entry. `arguments`: what was asked for, as JSON, without any clear value. Ids are UUID text.

    `last_row`: own person id, op and id of the evidence that is spooled last. `keys`: own person ids of all whom it
    names, besides those that stand in its other fields. Only of entries that were read: `state` (`done`: it is in the
    store; `failed`: the spool did not take it; `open`: it is on its way, or whoever asked for it ended before it was on
    disk), `is_undone`, and `is_erased`: one of those whom it named was erased, and it names nobody any more.
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
    keys: tuple[str, ...] = ()
    state: str = ""
    is_undone: bool = False
    is_erased: bool = False

    def list_people(self) -> list[str]:
        """Return the own person ids of all whom it names, each once."""
        named = (self.keys, self.blocked, self.unblocked, self.people_before, self.people_after)
        return sorted({key for keys in named for key in keys})


def write_entry(client: StoreClient, space_id: str, entry: AuditEntry) -> None:
    """Append an entry. Raises StoreError; StoreUnavailable leaves open whether it is there, and it may be repeated.

    Where it names anybody, that is written first and apart, so that it can be erased.
    """
    place = {"space_id": space_id, "at": entry.at_ms / 1000, "audit_id": entry.audit_id}
    people = entry.list_people()
    names_nobody = not people and not entry.last_row and not entry.note
    if not names_nobody:
        about = {name: getattr(entry, name) for name in _ABOUT}
        insert_rows(client, "audit_details", [{**place, **about, "keys": people}])
    said = {name: getattr(entry, name) for name in _SAID}
    said |= {"arguments": entry.arguments if names_nobody else "", "people": len(people)}
    insert_rows(client, "audit_log", [{**place, **said}])


def write_setting(
    client: StoreClient,
    space_id: str,
    action: str,
    actor: str,
    arguments: dict[str, Any],
    at_ms: int,
    audit_id: str = "",
    via: str = "command",
    keys: Iterable[str] = (),
) -> AuditEntry:
    """Append that something is changed which is no evidence: one of SETTINGS. `keys`: own person ids of all whom the
    arguments name. Raises StoreError."""
    said = msgspec.json.encode(arguments).decode()
    entry = AuditEntry(audit_id or str(uuid4()), at_ms, action, actor, via, said, keys=tuple(keys))
    write_entry(client, space_id, entry)
    return entry


@contextmanager
def noting(
    client: StoreClient, space_id: str, action: str, actor: str, arguments: dict[str, Any], at_ms: int
) -> Iterator[AuditEntry]:
    """Append that something is about to be changed, and, where that is refused, that it was not. Raises StoreError."""
    entry = write_setting(client, space_id, action, actor, arguments, at_ms)
    try:
        yield entry
    except TagstitchError:
        write_failure(client, space_id, entry, "it was refused")
        raise


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
        + " AND ({before:Int64} = 0 OR log.at < fromUnixTimestamp64Milli({before:Int64}))"
        + " ORDER BY log.at DESC, log.audit_id LIMIT {most:UInt32}",
        {"space": space_id, "most": min(most, MAX_LISTED), "before": before_ms},
    )
    return [_read(row) for row in rows]


def _read(row: dict[str, object]) -> AuditEntry:
    return msgspec.convert(row, AuditEntry)
