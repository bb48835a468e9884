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
from typing import NamedTuple

from collector.event import NIL_ID
from collector.identity.evidence import LINKED, RESET, SERVER, TRUSTED_PROOFS, Evidence, keep_standing
from collector.identity.guards import (
    GuardEntry,
    find_busy,
    find_disowned,
    find_fused,
    keep_admitted,
    take_out_blocked,
)
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.intervals import BEGINNING_MS, Boundary, Interval, count_cuts, keep_sign_outs
from collector.identity.people import Member, MergeEntry, People, Request, form_people, gather_requests
from collector.identity.policy import Policy
from collector.identity.renames import Renames, find_renames
from collector.identity.visitors import Visitors


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
    known_fused = frozenset(fused)
    renames = find_renames(standing)
    if renames is not None:
        # Counted by all their names, as whoever reads a component counts.
        known_fused |= find_busy(take_out_blocked(standing, policy, []), policy)
        standing, policy = renames.rewrite(standing), renames.rewrite_policy(policy)
        known_fused = renames.find_first(known_fused)
    joins = take_out_blocked(standing, policy, notes)
    all_fused = find_fused(joins, policy) | known_fused
    disowned = find_disowned(standing)
    if renames is not None:
        disowned = renames.rewrite_disowned(disowned)
    admitted = keep_admitted(joins, policy, all_fused, notes, disowned)
    if renames is not None:
        renames = renames.leave_out(all_fused | policy.blocked_keys)

    boundaries = _find_boundaries(standing, admitted, notes)
    requests = gather_requests(admitted, policy)
    people = form_people(admitted, requests, _find_follows(requests, boundaries), policy, notes, merges)
    visitors = Visitors(people, policy, boundaries)
    visitors.attach(admitted, requests)
    visitors.tie(row for row in admitted if row.b_kind == VISITOR_KIND)
    layout = visitors.lay_out_all(notes, merges)
    return _make_rows(people, visitors, layout, renames, notes, merges)


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
    renames: Renames | None,
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
    if renames is not None:
        map_rows += _name_again(map_rows, renames)
    return Resolution(
        tuple(sorted(map_rows)),
        tuple(sorted(intervals, key=lambda row: row[:2])),
        tuple(customers[key] for key in sorted(customers)),
        tuple(sorted(set(notes))),
        tuple(sorted(set(merges))),
    )


def _name_again(map_rows: Iterable[MapRow], renames: Renames) -> list[MapRow]:
    """Return the rows of identifiers by their other names. One of which nothing else is known is its first name's."""
    rows = {row.key: row for row in map_rows}
    again = []
    for renamed in renames.identifiers:
        row = rows.get(renamed.first) or MapRow(
            *(renamed.first, renamed.kind, "", renamed.first, "", NIL_ID, BEGINNING_MS, 0, SERVER, 0)
        )
        again += [row._replace(key=name) for name in renamed.others]
    return again


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
