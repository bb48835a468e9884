"""Repair: merging, splitting, taking evidence back and giving it back, blocking, and undoing any of it.

    name ─► Plan (rows to append, blocks, what would change) ─► audit log ─► blocks ─► spool ─► load ─► stitch

Everything here is appending: a merge is evidence of level 4, a split takes back what tied, an undo restores under new
ids. So people change only as `resolve` says, and any of it can be undone.

Invariants: a plan writes nothing. The audit entry is written before the rows are spooled, so that nothing changes that
is not in the log; rows that the spool did not take are noted as failed. Rows enter through the spool as all evidence
does, so that stitch finds them by the list of batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import msgspec

from collector.config import Config
from collector.errors import RepairError, RepairReason
from collector.event import NIL_ID, EvidenceRow
from collector.identity import audit, blocks, selection
from collector.identity.audit import AuditEntry
from collector.identity.blocks import Block, read_policy
from collector.identity.difference import Difference, Prospect, Spans, compare_people, count_events, foresee
from collector.identity.evidence import SERVER, Evidence, keep_standing
from collector.identity.explain import Explanation, explain
from collector.identity.names import Identifier, expand_names, find_identifier, find_known
from collector.identity.people import ALIAS
from collector.identity.policy import Policy
from collector.identity.selection import Selector, Statement
from collector.identity.standing import index
from collector.keyring import Keyring
from collector.store.client import StoreClient

MAX_PIECES = 1_000
"""More than this is not taken back by one command, unless whoever gives it says how many they expect."""
MOST_PIECES = 50_000
MAX_NAMES = 50
MERGE, SPLIT, RETRACT, RESTORE = "merge", "split", "retract", "restore"
BLOCK, UNBLOCK, UNDO = "block", "unblock", "undo"
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Plan:
    """A change that is thought through and not made. `arguments`: for the audit log, without any clear value."""

    action: str
    arguments: dict[str, Any]
    statements: tuple[Statement, ...]
    difference: Difference
    prospect: Prospect
    blocks: tuple[Block, ...] = ()
    undoes: str = NIL_ID

    @property
    def appended(self) -> tuple[str, ...]:
        """The ids of evidence that it adds."""
        return tuple(each.row.evidence_id for each in self.statements if each.row.op > 0)

    @property
    def keys(self) -> tuple[str, ...]:
        """Own person ids of all whom it is about."""
        ends = {key for each in self.statements for key in (each.row.a_key, each.row.b_key)}
        moved = {item.key for item in self.difference.moved}
        return tuple(sorted(ends | moved | {block.key for block in self.blocks}))

    @property
    def last_row(self) -> str:
        """The row that is spooled last, as the audit log names it."""
        row = self.statements[-1].row if self.statements else None
        return f"{row.a_key} {row.op} {row.evidence_id}" if row else ""

    @property
    def taken_back(self) -> tuple[str, ...]:
        """The ids of evidence that it takes back."""
        rows = (each.row for each in self.statements if each.row.op < 0 and each.row.kind != selection.BLOCK)
        return tuple(row.evidence_id for row in rows)


@dataclass(slots=True)
class Repairs:
    """What one operator may do in one space. For one thread, as its client.

    `actor`: who does it, `operator:NAME` or `key:ID`. `via`: `command` or `api`.
    """

    client: StoreClient
    config: Config
    keyring: Keyring
    space_id: str
    actor: str
    via: str = "command"
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)

    def explain(self, name: str, most: int = 200) -> Explanation:
        """Explain who somebody is. Raises RepairError, StoreError, as all methods here."""
        return explain(self.client, self.config, self.space_id, self._find(name), most)

    def plan_merge(self, first: str, second: str) -> Plan:
        """Make one person of two customers, whatever has kept them apart."""
        named = [self._find(first), self._find(second)]
        prospect = foresee(self.client, self.space_id, self._policy(), touched=[each.key for each in named])
        ends = [self._find_customer(each, prospect) for each in named]
        if ends[0].key == ends[1].key:
            raise RepairError(
                RepairReason.CONFLICT, "they are one person already: `tagstitch identity explain` says why"
            )
        row = EvidenceRow(
            evidence_id=str(uuid4()),
            kind=ALIAS,
            level=SERVER,
            a_kind=ends[0].kind,
            a_value=ends[0].value,
            a_key=ends[0].key,
            b_kind=ends[1].kind,
            b_value=ends[1].value,
            b_key=ends[1].key,
            b_unique=int(self._policy().is_unique(ends[1].kind)),
            source=OPERATOR,
            proof="server",
            time_ms=self.now_ms(),
            actor=self.actor,
        )
        statement = Statement(row, self.space_id, received_at_ms=row.time_ms)
        return self._plan(MERGE, {"a": named[0].describe(), "b": named[1].describe()}, [statement])

    def plan_split(self, names: Sequence[str]) -> Plan:
        """Take back what ties these identifiers, all of one person, to the rest of that person."""
        if not 0 < len(names) <= MAX_NAMES:
            raise RepairError(RepairReason.ARGUMENT, f"name between 1 and {MAX_NAMES} identifiers of one person")
        named = [self._find(name) for name in names]
        prospect = foresee(self.client, self.space_id, self._policy(), touched=[each.key for each in named])
        states = Spans(index(prospect.before))
        people = [{span.person_id for span in states.find(each.key)} - {each.key} for each in named]
        people = [those or {each.key} for those, each in zip(people, named, strict=True)]
        shared = set.intersection(*people)
        if not shared:
            raise RepairError(RepairReason.CONFLICT, "they are not of one person: split those of one person at a time")
        rest = {key for key in prospect.keys if shared & {span.person_id for span in states.find(key)}}
        apart = set(expand_names(self.client, self.space_id, (each.key for each in named)))
        cut = _find_cut(prospect.rows, apart, rest - apart) or _find_cut(prospect.rows, apart, prospect.keys - apart)
        if not cut:
            raise RepairError(RepairReason.NOTHING, "nothing ties them to anybody else: they are apart already")
        rows = selection.read_standing_of(self.client, self.space_id, cut)
        arguments = {"identifiers": [each.describe() for each in named]}
        plan = self._plan(SPLIT, arguments, selection.take_back(rows, self.actor))
        if not plan.difference.moved:
            rows = selection.read_standing_of(
                self.client, self.space_id, _find_cut(prospect.rows, apart, prospect.keys - apart)
            )
            plan = self._plan(SPLIT, arguments, selection.take_back(rows, self.actor))
        return plan

    def plan_retract(self, selector: Selector, identifier: str = "", expected: int = 0) -> Plan:
        """Take evidence back. `identifier`: only what names it, under whichever of its names. `expected`: up to so
        many, where there are many."""
        if identifier:
            names = expand_names(self.client, self.space_id, [self._find(identifier).key])
            selector = msgspec.structs.replace(selector, keys=tuple(sorted(names)))
        count = selection.count_selected(self.client, self.space_id, selector)
        if not count:
            raise RepairError(RepairReason.NOTHING, "no evidence that stands is of this kind: nothing to take back")
        bound = min(max(MAX_PIECES, expected), MOST_PIECES)
        if count > bound:
            raise RepairError(
                RepairReason.TOO_MANY,
                f"{count:,} pieces of evidence are of this kind, more than {bound:,}: narrow it down"
                + (f", or say --yes-all {count}" if count <= MOST_PIECES else f"; {MOST_PIECES:,} is the most at once"),
            )
        rows = selection.read_selected(self.client, self.space_id, selector, bound)
        arguments = {"selector": msgspec.to_builtins(selector), "pieces": len(rows)}
        return self._plan(RETRACT, arguments, selection.take_back(rows, self.actor))

    def plan_restore(self, ids: Sequence[str]) -> Plan:
        """Give back evidence that was taken back, under new ids."""
        if not 0 < len(ids) <= selection.MAX_IDS:
            raise RepairError(RepairReason.ARGUMENT, f"name between 1 and {selection.MAX_IDS:,} ids of evidence")
        rows = selection.restore(self.client, self.space_id, ids)
        if not rows:
            raise RepairError(RepairReason.NOTHING, "all of this evidence stands: there is nothing to restore")
        return self._plan(RESTORE, {"ids": sorted(set(ids))}, rows)

    def plan_block(self, name: str, reason: str = "", *, blocked: bool = True) -> Plan:
        """Let an identifier tie nobody, or let it tie again. It need not be known yet."""
        found = find_identifier(self.client, self.keyring, self.space_id, name)
        if blocked:
            changed = [Block(found.key, found.kind, found.value, 1, reason, self.actor, self.now_ms())]
        else:
            names = sorted(expand_names(self.client, self.space_id, [found.key]))
            present = [block for block in blocks.read_blocks(self.client, self.space_id, names) if block.blocked]
            changed = [self._turn(block, 0, reason) for block in present]
        if not changed:
            raise RepairError(
                RepairReason.NOTHING, "this identifier is not blocked: `tagstitch identity blocks` lists them"
            )
        return self._plan(BLOCK if blocked else UNBLOCK, {"identifier": found.describe()}, [], changed)

    def plan_undo(self, audit_id: str) -> Plan:
        """Undo an entry of the audit log: take back what it added, restore what it took back, turn its blocks."""
        try:
            audit_id = str(UUID(audit_id.strip()))
        except ValueError:
            raise RepairError(
                RepairReason.ARGUMENT, "name the id of an entry: `tagstitch identity log` lists them"
            ) from None
        entry = audit.read_entry(self.client, self.space_id, audit_id)
        if entry is None:
            raise RepairError(RepairReason.UNKNOWN, "the audit log of this space has no such entry")
        if entry.action == audit.FAILED:
            raise RepairError(RepairReason.CONFLICT, "this entry says that another one failed: it changed nothing")
        if entry.is_erased:
            raise RepairError(RepairReason.CONFLICT, "somebody whom this entry named was erased: it cannot be undone")
        if entry.action in audit.SETTINGS:
            raise RepairError(RepairReason.CONFLICT, f"this cannot be undone: {audit.SETTINGS[entry.action]}")
        undoing = audit.find_undoing(self.client, self.space_id, audit_id)
        if undoing is not None:
            raise RepairError(
                RepairReason.CONFLICT, f"this was undone already, by {undoing.audit_id}: to have it again undo that one"
            )
        added = selection.read_standing_of(self.client, self.space_id, entry.appended) if entry.appended else []
        gone = selection.restore(self.client, self.space_id, entry.taken_back) if entry.taken_back else []
        changed = blocks.read_blocks(self.client, self.space_id, [*entry.blocked, *entry.unblocked])
        turned = [self._turn(block, int(block.key in entry.unblocked), block.reason) for block in changed]
        turned = [new for new, old in zip(turned, changed, strict=True) if new.blocked != old.blocked]
        if not added and not gone and not turned:
            raise RepairError(
                RepairReason.NOTHING,
                "nothing of what this entry did stands, or it is not loaded yet: nothing to undo",
            )
        statements = [*selection.take_back(added, self.actor), *gone]
        return self._plan(UNDO, {"audit_id": audit_id, "action": entry.action}, statements, turned, audit_id)

    def begin(self, plan: Plan, note: str = "") -> AuditEntry:
        """Write down what is about to be done, and the blocks. The caller then spools the plan's rows."""
        if len(note) > audit.MAX_NOTE_CHARS:
            raise RepairError(RepairReason.ARGUMENT, f"a note has at most {audit.MAX_NOTE_CHARS} characters")
        difference = plan.difference
        before = blocks.read_blocks(self.client, self.space_id, [block.key for block in plan.blocks])
        was_blocked = {block.key for block in before if block.blocked}
        entry = AuditEntry(
            audit_id=str(uuid4()),
            at_ms=self.now_ms(),
            action=plan.action,
            actor=self.actor,
            via=self.via,
            arguments=msgspec.json.encode(plan.arguments).decode(),
            note=note,
            appended=plan.appended,
            taken_back=plan.taken_back,
            blocked=tuple(block.key for block in plan.blocks if block.blocked and block.key not in was_blocked),
            unblocked=tuple(block.key for block in plan.blocks if not block.blocked and block.key in was_blocked),
            people_before=tuple(line.person_id for line in difference.people_before),
            people_after=tuple(line.person_id for line in difference.people_after),
            identifiers_moved=len(difference.moved),
            events_moved=difference.events,
            undoes=plan.undoes,
            last_row=plan.last_row,
            keys=plan.keys,
        )
        audit.write_entry(self.client, self.space_id, entry)
        blocks.write_blocks(self.client, self.space_id, list(plan.blocks))
        return entry

    def note_failure(self, entry: AuditEntry) -> None:
        """Write down that the spool did not take what an entry announces, and turn its blocks back: without the row
        that touches them, nobody would be looked at anew."""
        audit.write_failure(self.client, self.space_id, entry)
        changed = blocks.read_blocks(self.client, self.space_id, [*entry.blocked, *entry.unblocked])
        turned = [self._turn(block, int(block.key in entry.unblocked), block.reason) for block in changed]
        blocks.write_blocks(self.client, self.space_id, turned)

    def list_entries(self, most: int = 50, before_ms: int = 0) -> list[AuditEntry]:
        """Return the newest entries of the audit log."""
        return audit.list_entries(self.client, self.space_id, most, before_ms)

    def list_blocks(self) -> list[Block]:
        """Return what the space has blocked."""
        return blocks.list_blocks(self.client, self.space_id)

    def _plan(
        self,
        action: str,
        arguments: dict[str, Any],
        statements: Sequence[Statement],
        changed: Sequence[Block] = (),
        undoes: str = NIL_ID,
    ) -> Plan:
        policy = self._policy()
        later = policy
        for block in changed:
            names = expand_names(self.client, self.space_id, [block.key])
            keys = later.blocked_keys | names if block.blocked else later.blocked_keys - names
            later = replace(later, blocked_keys=keys)
        touches = [
            blocks.touch(Identifier(block.kind, block.value, block.key), self.space_id, self.actor, self.now_ms())
            for block in changed
        ]
        prospect = foresee(
            self.client, self.space_id, policy, statements, [block.key for block in changed], policy_after=later
        )
        difference = compare_people(prospect)
        events = count_events(self.client, self.space_id, difference.moved)
        difference = msgspec.structs.replace(difference, events=events)
        return Plan(action, arguments, (*statements, *touches), difference, prospect, tuple(changed), undoes)

    def _turn(self, block: Block, blocked: int, reason: str) -> Block:
        return msgspec.structs.replace(block, blocked=blocked, reason=reason, actor=self.actor, at_ms=self.now_ms())

    def _policy(self) -> Policy:
        return read_policy(self.client, self.config, self.space_id)

    def _find(self, name: str) -> Identifier:
        return find_known(self.client, self.keyring, self.space_id, name)

    def _find_customer(self, named: Identifier, prospect: Prospect) -> Identifier:
        """Return the customer key that gives the person of an identifier its id."""
        standing = index(prospect.before)
        person_id = Spans(standing).find(named.key)[-1].person_id
        customer = standing.customers.get(person_id)
        if customer is None and named.is_visitor:
            raise RepairError(
                RepairReason.CONFLICT,
                "one of them is a visitor of whom nobody knows who it is: merging is for two customers; a visitor is "
                "attached by a sign-in, or by a server's identify",
            )
        if customer is None or named.key == person_id:
            return named
        return Identifier(customer.customer_kind, customer.customer_id, customer.customer_key)


def _find_cut(rows: Iterable[Evidence], apart: set[str], rest: set[str] | frozenset[str]) -> list[str]:
    """Return the ids of the evidence that stands between two sets of identifiers."""
    return [
        row.evidence_id
        for row in keep_standing(rows)
        if row.is_join and ((row.a_key in apart and row.b_key in rest) or (row.b_key in apart and row.a_key in rest))
    ]
