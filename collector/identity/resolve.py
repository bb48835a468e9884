"""Resolve: from the evidence of a component to who is who. The heart of tagstitch, and a pure function.

    evidence ─► what stands ─► guards ─► people (keys tied) ─► intervals (visitors in time) ─► rows

Invariants, each a test: no I/O, no clock, no order. Any permutation of the same evidence gives the same rows; a row
repeated changes nothing; evidence taken back leaves byte for byte what would stand had it never come; the parts of
what does not touch each other can be resolved apart or together.

Person ids are never minted. Every identifier has one of its own (its key), and a person has that of its strongest
key; so an unmerge gives the old ids back by itself. A visitor lends its id only to visitors that nobody signed in
on, because history beyond the look-back keeps the visitor's own id and must stay nobody's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import msgspec

from collector.event import NIL_ID
from collector.identity.evidence import HANDOVER, LINKED, RESET, TRUSTED_PROOFS, Evidence, keep_standing
from collector.identity.guards import GuardEntry, GuardReason, find_fused, keep_admitted, note, take_out_blocked
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.intervals import (
    BEGINNING_MS,
    Attachment,
    Boundary,
    Interval,
    count_cuts,
    keep_sign_outs,
    lay_out,
)
from collector.identity.people import (
    Member,
    MergeEntry,
    People,
    Request,
    form_people,
    gather_requests,
    is_sign_in,
)
from collector.identity.policy import Policy


class MapRow(NamedTuple):
    """Whose an identifier is. `several`: not one person's from `valid_from_ms` on for ever, or not proved: then ask the
    intervals. `proved`: see IntervalRow."""

    key: str
    key_kind: str
    key_customer_id: str  # the customer id that this identifier is by itself; "" for a visitor
    person_id: str
    customer_id: str
    customer_key: str
    valid_from_ms: int
    several: int
    level: int
    provisional: int
    proved: int = 1


class IntervalRow(NamedTuple):
    """Whose a visitor is from `valid_from_ms` (included) to `valid_to_ms` (excluded; None: for ever).

    `proved`: 0 where whoever signed in knew the visitor's id and proved no more: it gets only those events that nothing
    proves either, the others are the visitor's own."""

    key: str
    valid_from_ms: int
    valid_to_ms: int | None
    person_id: str
    customer_id: str
    customer_key: str
    level: int
    provisional: int
    proved: int = 1


class CustomerRow(NamedTuple):
    """A person known to the organisation. `provisional`: only tagged links have named them on a visitor so far."""

    person_id: str
    customer_id: str
    customer_kind: str
    customer_key: str
    level: int
    provisional: int
    since_ms: int


class Resolution(NamedTuple):
    """All that follows from the evidence, each part sorted."""

    map_rows: tuple[MapRow, ...] = ()
    intervals: tuple[IntervalRow, ...] = ()
    customers: tuple[CustomerRow, ...] = ()
    guards: tuple[GuardEntry, ...] = ()
    merges: tuple[MergeEntry, ...] = ()


def resolve(evidence: Iterable[Evidence], policy: Policy, fused: Iterable[str] = ()) -> Resolution:
    """Resolve evidence of one identity space, in any order, with any repeats.

    `fused`: keys known to be fused from evidence that was not loaded for that very reason; those that the given
    evidence shows to be fused are found here.
    """
    standing = keep_standing(evidence)
    notes: list[GuardEntry] = []
    merges: list[MergeEntry] = []
    joins = take_out_blocked(standing, policy, notes)
    admitted = keep_admitted(joins, policy, find_fused(joins, policy) | frozenset(fused), notes)

    boundaries = _find_boundaries(standing, admitted, notes)
    requests = gather_requests(admitted, policy)
    people = form_people(admitted, requests, _find_follows(requests, boundaries), policy, notes, merges)
    visitors = Visitors(people, policy, boundaries)
    visitors.attach(admitted, requests)
    visitors.tie(row for row in admitted if row.b_kind == VISITOR_KIND)
    layout = visitors.lay_out_all(notes, merges)
    return _make_rows(people, visitors, layout, notes, merges)


def _find_boundaries(
    standing: Iterable[Evidence], admitted: Iterable[Evidence], notes: list[GuardEntry]
) -> dict[str, list[Boundary]]:
    """Return the sign-outs by visitor: by the one that was signed out. The new one has nothing before."""
    found: defaultdict[str, list[Boundary]] = defaultdict(list)
    for row in standing:
        if row.kind == RESET and row.b_key != NIL_ID:
            found[row.b_key].append(Boundary(row.order, row))
    proved = {row.a_key for row in admitted if row.b_kind != VISITOR_KIND and row.proof in TRUSTED_PROOFS}
    return {key: keep_sign_outs(rows, notes, is_proved=key in proved) for key, rows in found.items()}


def _find_follows(requests: Iterable[Request], boundaries: dict[str, list[Boundary]]) -> list[tuple[Request, Request]]:
    """Return the pairs of requests on one visitor, one after the other, with no sign-out between. Who only knows a
    visitor's id must not tie their key to the keys of its owner, nor stand between them."""
    last: dict[str, Request] = {}
    follows = []
    for request in requests:
        if not request.is_proved:
            continue
        earlier = last.get(request.visitor)
        cuts = boundaries.get(request.visitor, ())
        if earlier is not None and count_cuts(cuts, earlier.order) == count_cuts(cuts, request.order):
            follows.append((earlier, request))
        last[request.visitor] = request
    return follows


@dataclass(slots=True)
class Visitors:
    """The visitors of a component: what attaches them, and which of them are one though nobody knows who."""

    people: People
    policy: Policy
    boundaries: dict[str, list[Boundary]]
    attachments: defaultdict[str, list[Attachment]] = field(default_factory=lambda: defaultdict(list))
    first_ms: dict[str, int] = field(default_factory=dict)
    ties: list[GuardEntry] = field(default_factory=list)
    _groups: dict[str, str] = field(default_factory=dict)

    def attach(self, admitted: Iterable[Evidence], requests: Iterable[Request]) -> None:
        """Attach visitors to the people of their keys: by signed requests, and by tagged links."""
        for row in admitted:
            for kind, key in ((row.a_kind, row.a_key), (row.b_kind, row.b_key)):
                if kind == VISITOR_KIND:
                    began_ms = row.time_ms
                    with_session = row.b_key if row.kind == HANDOVER else row.a_key
                    if key == with_session and row.time_ms - self.policy.max_session_ms <= row.session_started_ms:
                        began_ms = min(began_ms, row.session_started_ms)
                    self.first_ms[key] = min(self.first_ms.get(key, began_ms), began_ms)
            if row.a_kind == VISITOR_KIND and row.b_kind != VISITOR_KIND and not is_sign_in(row):
                mark = self.people.find(row.b_key)
                self.attachments[row.a_key].append(Attachment(row.order, mark, True, row))
        for request in requests:
            mark = self.people.find(request.main.b_key)
            self.attachments[request.visitor].append(Attachment(request.order, mark, False, request.main))

    def tie(self, rows: Iterable[Evidence]) -> None:
        """Tie visitors to each other: a known one gives its customer to one that nobody has at that time; two that
        nobody has become one anonymous person.

        In order of time; then once more back, from the end to the beginning, because whoever goes over three domains
        and signs in on the last is known on the first only by way of the second."""
        unknown = [row for row in rows if not self._give_customer(row)]
        for row in reversed(unknown):
            if not self._give_customer(row):
                self._group(row.a_key, row.b_key)

    def lay_out_all(self, notes: list[GuardEntry], merges: list[MergeEntry]) -> dict[str, list[Interval]]:
        """Return the intervals of every visitor, and note what they refused and each switch."""
        notes += self.ties
        layout = {visitor: self._lay_out(visitor, notes) for visitor in sorted(self.first_ms)}
        for visitor, intervals in layout.items():
            starts = {(a.at_ms, a.person): a for a in reversed(self.attachments[visitor])}
            for earlier, later in pairwise(intervals):
                reason = starts.get((later.from_ms, later.person))
                if earlier.person != later.person and reason is not None:
                    now, before = self.people.person_id(later.person), self.people.person_id(earlier.person)
                    merges.append(
                        MergeEntry(
                            reason.row.evidence_id, "switch", later.from_ms, visitor, reason.row.b_key, now, before
                        )
                    )
        return layout

    def name_group(self, visitor: str) -> str:
        """Return the visitor that gives its id to those that are one with this one: the oldest."""
        root = visitor
        while root in self._groups:
            root = self._groups[root]
        return root

    def _give_customer(self, row: Evidence) -> bool:
        """Tie two visitors of which one is known, or note that both are. Returns whether one was."""
        first = self._find_holder(row.a_key, row, row.proof)
        second = self._find_holder(row.b_key, row, "cookie" if row.kind == HANDOVER else "")
        if first is not None and second is not None:
            if first.person != second.person:
                people = self.people.person_id(second.person), self.people.person_id(first.person)
                self.ties.append(note(row, GuardReason.OTHER_CUSTOMER, *people))
            return True
        known = first or second
        if known is None:
            return False
        visitor = row.a_key if first is None else row.b_key
        there = _see_from(row, visitor, is_known_proved=known.proved)
        self.attachments[visitor].append(Attachment(row.order, known.person, not is_sign_in(row), there))
        return True

    def _group(self, first: str, second: str) -> None:
        older, younger = sorted((self.name_group(first), self.name_group(second)), key=lambda v: (self.first_ms[v], v))
        if older != younger:
            self._groups[younger] = older

    def _lay_out(self, visitor: str, notes: list[GuardEntry]) -> list[Interval]:
        attachments = sorted(self.attachments[visitor], key=lambda a: a.order)
        cuts = self.boundaries.get(visitor, ())
        return lay_out(attachments, cuts, self.policy, notes, self.people.person_id)

    def _find_holder(self, visitor: str, row: Evidence, proof: str) -> Interval | None:
        """Return who has a visitor when it is tied to another. `proof`: of the visitor in the evidence that ties; whom
        nothing proves does not have a visitor that its cookie proves."""
        for interval in self._lay_out(visitor, []):
            if interval.from_ms <= row.time_ms and (interval.to_ms is None or row.time_ms < interval.to_ms):
                return interval if interval.proved or proof not in TRUSTED_PROOFS else None
        return None


def _see_from(row: Evidence, visitor: str, *, is_known_proved: bool) -> Evidence:
    """Return evidence that ties two visitors, with proof and session as they hold for one of them.

    They are those of the visitor that brought it. A hand-over was made for a visitor that its cookie proved, has the
    session that the visitor left, and is taken only from who has the cookie of the one that arrives, or gets it with
    the answer. Nothing is proved by a visitor whose own person is not."""
    proof, keeps_session = row.proof, visitor == row.a_key
    if row.kind == HANDOVER:
        keeps_session = visitor == row.b_key
        proof = "cookie" if keeps_session or proof in TRUSTED_PROOFS else "fresh"
    elif visitor == row.b_key:
        proof = ""
    if not is_known_proved:
        proof = ""
    if keeps_session:
        return msgspec.structs.replace(row, proof=proof)
    return msgspec.structs.replace(row, proof=proof, session_id=NIL_ID, session_started_ms=0)


def make_visitor_rows(
    people: People, visitors: Visitors, layout: dict[str, list[Interval]]
) -> tuple[list[MapRow], list[IntervalRow], dict[str, int]]:
    """Return the rows of visitors, their intervals, and since when each person has had any."""
    map_rows: list[MapRow] = []
    intervals: list[IntervalRow] = []
    held_since: dict[str, int] = {}
    for visitor, held in layout.items():
        for interval in held:
            best = people.best_key(interval.person)
            held_since[best.key] = min(held_since.get(best.key, interval.from_ms), interval.from_ms)
        spans = _span(people, held, visitor, visitors.name_group(visitor))
        if not spans:
            continue
        last = spans[-1]
        several = len(spans) > 1 or last.valid_to_ms is not None or not last.proved
        map_rows.append(
            MapRow(
                key=visitor,
                key_kind=VISITOR_KIND,
                key_customer_id="",
                person_id=last.person_id,
                customer_id=last.customer_id,
                customer_key=last.customer_key,
                valid_from_ms=spans[0].valid_from_ms,
                several=int(several),
                level=last.level,
                provisional=last.provisional,
                proved=last.proved,
            )
        )
        if several:
            intervals += spans
    return map_rows, intervals, held_since


def _make_rows(
    people: People,
    visitors: Visitors,
    layout: dict[str, list[Interval]],
    notes: Sequence[GuardEntry],
    merges: Sequence[MergeEntry],
) -> Resolution:
    map_rows, intervals, held_since = make_visitor_rows(people, visitors, layout)
    customers: dict[str, CustomerRow] = {}
    for key, member in people.members.items():
        best = people.best_key(key)
        members = [people.members[k] for k in people.keys_of(key)]
        signed = [m.signed_ms for m in members if m.signed_ms is not None]
        level = max(m.level for m in members)
        map_rows.append(
            MapRow(
                key=key,
                key_kind=member.kind,
                key_customer_id=member.value,
                person_id=best.key,
                customer_id=best.value,
                customer_key=best.key,
                valid_from_ms=BEGINNING_MS,
                several=0,
                level=member.level,
                provisional=int(not signed),
            )
        )
        if signed or best.key in held_since:
            since_ms = min(signed) if signed else held_since[best.key]
            customers[best.key] = CustomerRow(
                best.key, best.value, best.kind, best.key, level, int(not signed), since_ms
            )
    return Resolution(
        tuple(sorted(map_rows)),
        tuple(sorted(intervals, key=lambda row: row[:2])),
        tuple(customers[key] for key in sorted(customers)),
        tuple(sorted(set(notes))),
        tuple(sorted(set(merges))),
    )


def _span(people: People, held: Sequence[Interval], visitor: str, group: str) -> list[IntervalRow]:
    """Return the rows of one visitor: the intervals that people have, and, where the visitor is one with an older
    anonymous one, what lies between."""
    spans: list[IntervalRow] = []
    free_ms: int | None = BEGINNING_MS

    def leave(to_ms: int | None) -> None:
        if group != visitor and free_ms is not None and (to_ms is None or free_ms < to_ms):
            spans.append(IntervalRow(visitor, free_ms, to_ms, group, "", NIL_ID, LINKED, 0))

    for interval in held:
        leave(interval.from_ms)
        best: Member = people.best_key(interval.person)
        spans.append(
            IntervalRow(
                key=visitor,
                valid_from_ms=interval.from_ms,
                valid_to_ms=interval.to_ms,
                person_id=best.key,
                customer_id=best.value,
                customer_key=best.key,
                level=interval.level,
                provisional=int(interval.provisional),
                proved=int(interval.proved),
            )
        )
        free_ms = interval.to_ms
    leave(None)
    return spans
