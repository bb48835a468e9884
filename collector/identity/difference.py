"""Difference: what a change to the evidence, or to the blocks, would do to people, before it is made.

The evidence around whatever the change touches is read as stitch reads it, and resolved twice: as it stands, and as
if the change were made. What differs is who changes hands.

Invariants: nothing is written. What is said here is what stitch then does, if no other evidence comes between; a test
holds the two against each other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from collector.errors import RepairError, RepairReason
from collector.event import NIL_ID
from collector.identity.component import read_component
from collector.identity.evidence import Evidence, name_row
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.intervals import BEGINNING_MS
from collector.identity.policy import Policy
from collector.identity.resolve import IntervalRow, Resolution, resolve
from collector.identity.selection import Statement, read_around
from collector.identity.standing import Standing, index, read_standing
from collector.store.client import StoreClient

MAX_EVIDENCE = 100_000
"""More than this around one change is no person: resolving it would take minutes."""
MAX_STRETCHES = 20_000
STRETCHES_PER_QUESTION = 1_000  # 39 bytes each; a server takes 128 KiB in one field of a form


class Span(msgspec.Struct, frozen=True):
    """Whose an identifier is from `from_ms` (included) to `to_ms` (excluded; None: for ever)."""

    from_ms: int
    to_ms: int | None
    person_id: str
    customer_id: str = ""
    level: int = 0
    provisional: bool = False
    proved: bool = True


class PersonLine(msgspec.Struct, frozen=True):
    """A person in short. `identifiers`: customer keys; `visitors`: those that are theirs, or were for a while."""

    person_id: str
    customer_id: str
    identifiers: int
    visitors: int


class Moved(msgspec.Struct, frozen=True):
    """An identifier that changes hands. `value`: as it is stored."""

    key: str
    kind: str
    value: str
    before: tuple[Span, ...]
    after: tuple[Span, ...]


class Difference(msgspec.Struct, frozen=True):
    """What changes. `events`: how many change hands, -1: not counted. `refused`: guard notes that there are then and
    not now, by reason; `released`: those that there are now and not then."""

    people_before: tuple[PersonLine, ...] = ()
    people_after: tuple[PersonLine, ...] = ()
    moved: tuple[Moved, ...] = ()
    events: int = 0
    refused: dict[str, int] = {}
    released: dict[str, int] = {}


class Prospect(NamedTuple):
    """The evidence around a change, and who is who before and after it. `keys`: the identifiers it is complete for."""

    rows: list[Evidence]
    keys: frozenset[str]
    before: Resolution
    after: Resolution


def foresee(
    client: StoreClient,
    space_id: str,
    policy: Policy,
    statements: Sequence[Statement] = (),
    touched: Iterable[str] = (),
    policy_after: Policy | None = None,
) -> Prospect:
    """Return what adding these rows would do, and under another policy where one is given.

    `touched`: identifiers to be looked at besides those that the rows name. Raises RepairError where there is too much
    evidence around them, StoreError.
    """
    later = policy_after or policy
    start = set(touched) - {NIL_ID}
    for statement in statements:
        start |= {statement.row.a_key, statement.row.b_key} - {NIL_ID}
    start |= _find_beside(client, space_id, policy.blocked_keys ^ later.blocked_keys)
    rows, keys, fused = _read_around(client, space_id, start, {policy, later} if later != policy else {policy})
    change = [statement.make_evidence() for statement in statements]
    before = resolve(rows, policy, fused)
    # Of what the change touches all rows are here: whether it is shared by too many shows in them.
    after = resolve([*rows, *change], later, fused - start)
    return Prospect([*rows, *change], frozenset(keys), before, after)


def compare_people(prospect: Prospect) -> Difference:
    """Return what differs, without the number of events."""
    names = _list_names(prospect.rows)
    difference = compare_standing(index(prospect.before), index(prospect.after), prospect.keys, names)
    notes_before = {note.evidence_id: note.reason for note in prospect.before.guards}
    notes_after = {note.evidence_id: note.reason for note in prospect.after.guards}
    return msgspec.structs.replace(
        difference,
        refused=_count_reasons(notes_after, notes_before),
        released=_count_reasons(notes_before, notes_after),
    )


def see_what_came(client: StoreClient, space_id: str, prospect: Prospect) -> Difference:
    """Return what differs in the map now from what was when the change was planned. Raises StoreError."""
    now = read_standing(client, space_id, prospect.keys)
    difference = compare_standing(index(prospect.before), now, prospect.keys, _list_names(prospect.rows))
    return msgspec.structs.replace(difference, events=count_events(client, space_id, difference.moved))


def compare_standing(
    before: Standing, after: Standing, keys: Iterable[str], names: Mapping[str, tuple[str, str]]
) -> Difference:
    """Return what differs between two states of the map, for these identifiers. `names`: kind and value by key."""
    moved = []
    states = (Spans(before), Spans(after))
    people: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for key in sorted(keys):
        spans = [state.find(key) for state in states]
        for side, found in zip(people, spans, strict=True):
            for span in found:
                side.setdefault(span.person_id, set()).add(key)
        if _say_who(spans[0]) != _say_who(spans[1]):
            moved.append(Moved(key, *names.get(key, ("", "")), spans[0], spans[1]))
    changed = {
        person
        for person in people[0].keys() | people[1].keys()
        if people[0].get(person, set()) != people[1].get(person, set())
    }
    # Where an interval moves between people who both keep the visitor, their sets are the same.
    changed |= {span.person_id for item in moved for span in _differing(item)}
    lines = [
        tuple(_describe_person(state, person, side[person], names) for person in sorted(changed & side.keys()))
        for state, side in zip((before, after), people, strict=True)
    ]
    return Difference(lines[0], lines[1], tuple(moved))


class Spans:
    """Whose identifiers are over all time, by one state of the map."""

    def __init__(self, standing: Standing) -> None:
        self._map_rows = standing.map_rows
        self._held: dict[str, list[IntervalRow]] = {}
        for row in standing.intervals.values():
            self._held.setdefault(row.key, []).append(row)

    def find(self, key: str) -> tuple[Span, ...]:
        """Return whose an identifier is: spans that follow each other without a gap, from the beginning on."""
        row = self._map_rows.get(key)
        if row is None:
            return (Span(BEGINNING_MS, None, key),)
        if not row.several:
            span = Span(row.valid_from_ms, None, row.person_id, row.customer_id, row.level, bool(row.provisional))
            return (Span(BEGINNING_MS, row.valid_from_ms, key), span) if row.valid_from_ms > BEGINNING_MS else (span,)
        spans: list[Span] = []
        at_ms: int | None = BEGINNING_MS
        for each in sorted(self._held.get(key, ()), key=lambda row: row.valid_from_ms):
            if at_ms is not None and at_ms < each.valid_from_ms:
                spans.append(Span(at_ms, each.valid_from_ms, key))
            facts = (each.person_id, each.customer_id, each.level, bool(each.provisional), bool(each.proved))
            spans.append(Span(each.valid_from_ms, each.valid_to_ms, *facts))
            at_ms = each.valid_to_ms
        if at_ms is not None:
            spans.append(Span(at_ms, None, key))
        return tuple(spans)


def count_events(client: StoreClient, space_id: str, moved: Sequence[Moved]) -> int:
    """Return how many events are another person's after than before; -1 where there are too many stretches to count.

    By the same rule as v_events: an event that the visitor's cookie proves is no unproved interval's.
    """
    stretches = [stretch for item in moved for stretch in _list_stretches(item)]
    if len(stretches) > MAX_STRETCHES:
        return -1
    total = 0
    for start in range(0, len(stretches), STRETCHES_PER_QUESTION):
        part = stretches[start : start + STRETCHES_PER_QUESTION]
        rows = client.query_rows(
            """
            SELECT count() AS moved FROM events FINAL
            WHERE space_id = {space:String} AND own_person_id IN {keys:Array(UUID)}
                AND arrayExists((key, first, last, with_cookie, without) -> key = own_person_id
                    AND toUnixTimestamp64Milli(time) >= first AND toUnixTimestamp64Milli(time) < last
                    AND if(visitor_proof = 'cookie', with_cookie, without) = 1,
                    {keys:Array(UUID)}, {firsts:Array(Int64)}, {lasts:Array(Int64)},
                    {with_cookie:Array(UInt8)}, {without:Array(UInt8)})
            """,
            {
                "space": space_id,
                "keys": [stretch.key for stretch in part],
                "firsts": [stretch.from_ms for stretch in part],
                "lasts": [stretch.to_ms for stretch in part],
                "with_cookie": [int(stretch.with_cookie) for stretch in part],
                "without": [int(stretch.without_cookie) for stretch in part],
            },
        )
        total += int(rows[0]["moved"])
    return total


def check_size(rows: int) -> None:
    """Raise RepairError where this is more evidence than can be resolved while somebody waits."""
    if rows > MAX_EVIDENCE:
        raise RepairError(
            RepairReason.TOO_MANY,
            f"more than {MAX_EVIDENCE:,} pieces of evidence hang on this: block the value that they share, "
            "or take evidence back in smaller parts",
        )


class _Stretch(NamedTuple):
    """A stretch of an identifier's time in which its events change hands: those with a cookie's proof, or others."""

    key: str
    from_ms: int
    to_ms: int
    with_cookie: bool
    without_cookie: bool


_LAST_MS = 2**62


def _list_stretches(item: Moved) -> Iterator[_Stretch]:
    for from_ms, to_ms, before, after in overlay(item):
        with_cookie = _find_person(item.key, before) != _find_person(item.key, after)
        without = before.person_id != after.person_id
        if with_cookie or without:
            yield _Stretch(item.key, from_ms, _LAST_MS if to_ms is None else to_ms, with_cookie, without)


def _find_person(key: str, span: Span) -> str:
    """Return whose an event is that the visitor's cookie proves."""
    return span.person_id if span.proved else key


def overlay(item: Moved) -> Iterator[tuple[int, int | None, Span, Span]]:
    """Yield the stretches of an identifier's time in which both sides say one thing each: from, to, before, after."""
    begins = [[span.from_ms for span in side] for side in (item.before, item.after)]
    cuts = sorted({*begins[0], *begins[1]})
    for place, from_ms in enumerate(cuts):
        to_ms = cuts[place + 1] if place + 1 < len(cuts) else None
        before = item.before[bisect_right(begins[0], from_ms) - 1]
        after = item.after[bisect_right(begins[1], from_ms) - 1]
        yield from_ms, to_ms, before, after


def _differing(item: Moved) -> Iterator[Span]:
    for _, _, before, after in overlay(item):
        if before.person_id != after.person_id:
            yield from (before, after)


def _say_who(spans: Iterable[Span]) -> list[tuple[int, str, str, bool, bool]]:
    """Return what of the spans makes a difference to a reader: adjacent ones that say the same are one."""
    said: list[tuple[int, str, str, bool, bool]] = []
    for span in spans:
        rest = (span.person_id, span.customer_id, span.provisional, span.proved)
        if not said or said[-1][1:] != rest:
            said.append((span.from_ms, *rest))
    return said


def _describe_person(
    standing: Standing, person_id: str, keys: set[str], names: Mapping[str, tuple[str, str]]
) -> PersonLine:
    customer = standing.customers.get(person_id)
    row = standing.map_rows.get(person_id)
    customer_id = customer.customer_id if customer else row.customer_id if row else ""
    visitors = sum(names.get(key, ("", ""))[0] == VISITOR_KIND for key in keys)
    return PersonLine(person_id, customer_id, len(keys) - visitors, visitors)


def _list_names(rows: Iterable[Evidence]) -> dict[str, tuple[str, str]]:
    """Return kind and value of every identifier that evidence names."""
    names = {}
    for row in rows:
        names[row.a_key], names[row.b_key] = (row.a_kind, row.a_value), (row.b_kind, row.b_value)
    return names


def _count_reasons(notes: Mapping[str, str], others: Mapping[str, str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for evidence_id, reason in notes.items():
        if others.get(evidence_id) != reason:
            counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items()))


def _find_beside(client: StoreClient, space_id: str, keys: Iterable[str]) -> set[str]:
    """Return whom evidence names together with these: without them somebody may not be shared by too many."""
    around = read_around(client, space_id, sorted(keys), MAX_EVIDENCE + 1)
    check_size(len(around))
    joins = [row for row in (statement.make_evidence() for statement in around) if row.is_join]
    return {key for row in joins for key in (row.a_key, row.b_key)} - {NIL_ID}


def _read_around(
    client: StoreClient, space_id: str, start: set[str], policies: Iterable[Policy]
) -> tuple[list[Evidence], set[str], set[str]]:
    """Return the evidence around these identifiers, those that it is complete for, and those that are fused.

    Under every policy that is asked for: what one of them parts, another may join. Through an identifier that is shared
    by too many as well, where the change touches it: it may not be, after.
    """
    rows: dict[tuple[object, ...], Evidence] = {}
    keys, fused = set(start), set[str]()
    opened: set[str] = set()
    while True:
        size = len(keys)
        for policy in policies:
            component = read_component(client, space_id, keys, policy)
            keys |= component.keys
            fused |= component.fused
            for row in component.rows:
                rows[name_row(row)] = row
            check_size(len(rows))
        closed = sorted((fused & start) - opened)
        opened |= set(closed)
        if closed:
            around = read_around(client, space_id, closed, MAX_EVIDENCE + 1)
            check_size(len(around))
            for statement in around:
                row = statement.make_evidence()
                if row.is_join or row.op < 0:
                    rows[name_row(row)] = row
                    keys |= {row.a_key, row.b_key} - {NIL_ID}
        if len(keys) == size:
            return list(rows.values()), keys, fused
