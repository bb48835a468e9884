"""Requests: what a program may ask of repair, as one struct each, and how one is carried out up to the spool.

A request is read, planned and written down in a worker's thread, with a connection of its own to the store; the rows
are then spooled by whoever asked, for only the web process may write its spool.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from collector.config import Config
from collector.errors import StoreError
from collector.identity.arrival import make_lines
from collector.identity.audit import MAX_LISTED, MAX_NOTE_CHARS, AuditEntry
from collector.identity.blocks import Block
from collector.identity.difference import Difference
from collector.identity.explain import MAX_SHOWN, Explanation
from collector.identity.names import MAX_NAME_CHARS
from collector.identity.repair import MAX_NAMES, MOST_PIECES, Plan, Repairs
from collector.identity.selection import MAX_IDS, Selector
from collector.keyring import Keyring
from collector.logs import get_logger
from collector.store.client import open_client

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
Word = Annotated[str, Meta(max_length=200)]
EvidenceId = Annotated[str, Meta(min_length=1, max_length=100)]
Note = Annotated[str, Meta(max_length=MAX_NOTE_CHARS)]
Moment = Annotated[datetime, Meta(tz=True)]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all have in common: nothing."""


class Explain(Request, frozen=True):
    """Who is this, and why? `limit`: pieces of evidence."""

    of: Name
    limit: Annotated[int, Meta(ge=1, le=MAX_SHOWN)] = 200


class Change(Request, frozen=True):
    """A change. `dry_run`: say what would change, and change nothing."""

    note: Note = ""
    dry_run: bool = False


class Merge(Change, frozen=True, kw_only=True):
    """Make one person of two customers."""

    a: Name
    b: Name


class Split(Change, frozen=True, kw_only=True):
    """Set identifiers of one person apart from the rest of it."""

    identifiers: Annotated[list[Name], Meta(min_length=1, max_length=MAX_NAMES)]


class Retract(Change, frozen=True, kw_only=True):
    """Take evidence back: all that fits everything given. `from` and `to`: when it was received."""

    ids: Annotated[list[EvidenceId], Meta(max_length=MAX_IDS)] = []
    source: Word = ""
    token: Word = ""
    campaign: Word = ""
    message: Word = ""
    by: Word = ""
    site: Word = ""
    of: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] = ""
    since: Moment | None = msgspec.field(name="from", default=None)
    until: Moment | None = msgspec.field(name="to", default=None)
    yes_all: Annotated[int, Meta(ge=0, le=MOST_PIECES)] = 0


class Restore(Change, frozen=True, kw_only=True):
    """Give back evidence that was taken back."""

    ids: Annotated[list[EvidenceId], Meta(min_length=1, max_length=MAX_IDS)]


class BlockRequest(Change, frozen=True, kw_only=True):
    """Let an identifier tie nobody."""

    identifier: Name


class Unblock(Change, frozen=True, kw_only=True):
    """Let it tie people again."""

    identifier: Name


class Undo(Change, frozen=True, kw_only=True):
    """Undo an entry of the audit log."""

    audit_id: Word


class ListBlocks(Request, frozen=True):
    """What is blocked?"""


class ListEntries(Request, frozen=True):
    """What was done? `limit`: entries, the newest first."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = 50


REQUESTS: dict[str, type[Request]] = {
    "explain": Explain,
    "merge": Merge,
    "split": Split,
    "retract": Retract,
    "restore": Restore,
    "block": BlockRequest,
    "unblock": Unblock,
    "undo": Undo,
}


class Changed(msgspec.Struct, frozen=True):
    """What a change does. `audit_id`: of its entry in the audit log; "" for a dry run."""

    action: str
    audit_id: str
    evidence_added: int
    evidence_taken_back: int
    difference: Difference


class Entries(msgspec.Struct, frozen=True):
    """Entries of the audit log, the newest first."""

    entries: list[AuditEntry]


class Blocks(msgspec.Struct, frozen=True):
    """What a space has blocked, the newest first."""

    blocks: list[Block]


class Carried(msgspec.Struct, frozen=True):
    """What to answer, and what must be on disk before it is answered. `entry`: the audit entry that announces it."""

    answer: Explanation | Changed | Entries | Blocks
    lines: tuple[bytes, ...] = ()
    entry: AuditEntry | None = None


def carry_out(config: Config, keyring: Keyring, space_id: str, actor: str, request: Request) -> Carried:
    """Carry a request out, but for the spool. Takes seconds at worst. Raises RepairError, StoreError."""
    with open_client(config, keyring, "writer") as client:
        repairs = Repairs(client, config, keyring, space_id, actor, "api")
        match request:
            case Explain():
                return Carried(repairs.explain(request.of, request.limit))
            case ListBlocks():
                return Carried(Blocks(repairs.list_blocks()))
            case ListEntries():
                return Carried(Entries(repairs.list_entries(request.limit)))
            case Change():
                return _change(repairs, request)
        raise TypeError(f"no such request: {type(request).__name__}")


def note_failure(config: Config, keyring: Keyring, space_id: str, actor: str, entry: AuditEntry) -> None:
    """Write down that the spool did not take what an entry announces. Raises nothing: the log says it at least."""
    try:
        with open_client(config, keyring, "writer") as client:
            Repairs(client, config, keyring, space_id, actor, "api").note_failure(entry)
    except StoreError as error:
        get_logger().error("an audit entry did not happen, and this could not be noted", reason=str(error))


def _change(repairs: Repairs, request: Change) -> Carried:
    plan = _plan(repairs, request)
    entry = None if request.dry_run else repairs.begin(plan, request.note)
    answer = Changed(
        plan.action,
        entry.audit_id if entry else "",
        len(plan.appended),
        len(plan.taken_back),
        plan.difference,
    )
    lines = make_lines(plan.statements, repairs.now_ms()) if entry else []
    return Carried(answer, tuple(lines), entry)


def _plan(repairs: Repairs, request: Change) -> Plan:
    match request:
        case Merge():
            return repairs.plan_merge(request.a, request.b)
        case Split():
            return repairs.plan_split(request.identifiers)
        case Retract():
            return repairs.plan_retract(_read_selector(request), request.of, request.yes_all)
        case Restore():
            return repairs.plan_restore(request.ids)
        case BlockRequest():
            return repairs.plan_block(request.identifier, request.note)
        case Unblock():
            return repairs.plan_block(request.identifier, request.note, blocked=False)
        case Undo():
            return repairs.plan_undo(request.audit_id)
    raise TypeError(f"no such change: {type(request).__name__}")


def _read_selector(request: Retract) -> Selector:
    def read_ms(moment: datetime | None) -> int:
        return int(moment.timestamp() * 1000) if moment else 0

    return Selector(
        ids=tuple(request.ids),
        source=request.source,
        token=request.token,
        campaign=request.campaign,
        message=request.message,
        actor=request.by,
        site=request.site,
        from_ms=read_ms(request.since),
        to_ms=read_ms(request.until),
    )
