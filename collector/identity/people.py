"""People: which customer keys belong to one person.

Keys are tied by what names them together. Stronger statements are heard first, and among equals the earlier one:

    0  ties of level 4
    1  keys that one signed request names together; and level 4 saying that two people are one: an alias, or two
       unique keys in one statement
    2  keys that one visitor signed in with, one after the other, with nobody signing out between

Invariants: two values of a unique kind share a person only where level 4 said so outright. A key that is not unique
(an e-mail that a family shares) never makes one person of two, at any level: it stays with the first who had it.
Visitors are never members here: they belong to people in time, see `intervals`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from collector.identity.evidence import LINK, LINKED, SERVER, SURE_PROOFS, TRUSTED_PROOFS, Evidence, name_request
from collector.identity.guards import GuardEntry, GuardReason, note
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.policy import Policy

ALIAS = "alias"


@dataclass(slots=True)
class Request:
    """What one request said about one visitor, at level 3 or more: the keys it named, strongest first."""

    visitor: str
    rows: list[Evidence]  # one per key, strongest key first

    @property
    def main(self) -> Evidence:
        """The evidence of the strongest key: whom the visitor is attached to."""
        return self.rows[0]

    @property
    def order(self) -> tuple[int, str, str]:
        """The place in time."""
        return self.main.order

    @property
    def is_proved(self) -> bool:
        """Whether the visitor's cookie or a server says that the visitor is whose request it is."""
        return self.main.proof in TRUSTED_PROOFS


class Tie(NamedTuple):
    """One statement that two keys belong to one person."""

    step: int
    may_merge: bool
    order: tuple[int, str, str]
    first_key: str
    second_key: str
    row: Evidence


class MergeEntry(NamedTuple):
    """One tie that stands. `reason`: `merge` (two customers became one), `associate` (a key joined a person), or
    `switch` (a visitor went from one person to another)."""

    evidence_id: str
    reason: str
    at_ms: int
    a_key: str
    b_key: str
    person_id: str
    other_person_id: str


@dataclass(slots=True)
class Member:
    """A customer key and what is known about it."""

    key: str
    kind: str
    value: str
    first_ms: int  # when evidence first named it
    level: int  # the highest of the evidence that names it
    signed_ms: int | None = None  # when evidence of level 3 or more first named it


@dataclass(slots=True)
class People:
    """The people of a component: its customer keys, parted."""

    policy: Policy
    members: dict[str, Member] = field(default_factory=dict)
    _parents: dict[str, str] = field(default_factory=dict)
    _keys_of: dict[str, list[str]] = field(default_factory=dict)

    def add(self, key: str, kind: str, value: str, row: Evidence) -> None:
        """Take note of a key that standing evidence names."""
        member = self.members.get(key)
        if member is None:
            member = self.members[key] = Member(key, kind, value, row.time_ms, row.level)
            self._parents[key] = key
            self._keys_of[key] = [key]
        member.first_ms = min(member.first_ms, row.time_ms)
        member.level = max(member.level, row.level)
        if is_sign_in(row) and (member.signed_ms is None or row.time_ms < member.signed_ms):
            member.signed_ms = row.time_ms

    def find(self, key: str) -> str:
        """Return the mark of the key's person: equal for two keys if and only if they are one person's."""
        root = key
        while self._parents[root] != root:
            root = self._parents[root]
        while self._parents[key] != root:
            self._parents[key], key = root, self._parents[key]
        return root

    def join(self, first: str, second: str) -> None:
        """Make one person of two."""
        first, second = self.find(first), self.find(second)
        if first != second:
            if len(self._keys_of[first]) < len(self._keys_of[second]):
                first, second = second, first
            self._parents[second] = first
            self._keys_of[first] += self._keys_of.pop(second)

    def refuse(self, first: str, second: str, with_cap: bool) -> GuardReason | None:
        """Return why the people of two keys must stay apart, or None."""
        counts = [self._count_kinds(self.find(key)) for key in (first, second)]
        for kind in counts[0].keys() & counts[1].keys():
            if self.policy.is_unique(kind):
                return GuardReason.TWO_PEOPLE
        for kind in counts[0].keys() & counts[1].keys():
            if with_cap and counts[0][kind] + counts[1][kind] > self.policy.count_values_allowed(kind):
                return GuardReason.TOO_MANY_KEYS
        return None

    def keys_of(self, key: str) -> list[str]:
        """Return all keys of the key's person."""
        return self._keys_of[self.find(key)]

    def best_key(self, key: str) -> Member:
        """Return the key that gives the person its id: of the strongest unique kind, else of the strongest kind;
        among several the one seen first."""
        return min(
            (self.members[k] for k in self.keys_of(key)),
            key=lambda member: (self.policy.rank(member.kind), member.first_ms, member.key),
        )

    def person_id(self, key: str) -> str:
        """Return the person id of the key's person."""
        return self.best_key(key).key

    def _count_kinds(self, root: str) -> dict[str, int]:
        counts: defaultdict[str, int] = defaultdict(int)
        for key in self._keys_of[root]:
            counts[self.members[key].kind] += 1
        return counts


def gather_requests(admitted: Iterable[Evidence], policy: Policy) -> list[Request]:
    """Put the evidence of each signed request together, in order of time.

    What is proved and what is not are never one request, nor is what nothing proves and the edge has not seen together
    (`name_request`): who names a visitor and an event that are not theirs would otherwise tie a key of their own to
    those that the request named.
    """
    groups: defaultdict[tuple[str, str, bool], dict[str, Evidence]] = defaultdict(dict)
    for row in admitted:
        if row.a_kind == VISITOR_KIND and row.b_kind != VISITOR_KIND and is_sign_in(row):
            # A key that the request names twice counts at its higher level, or where it is proved.
            rows = groups[(row.a_key, name_request(row), row.proof in SURE_PROOFS)]
            if row.b_key not in rows or _weigh(rows[row.b_key]) < _weigh(row):
                rows[row.b_key] = row
    requests = [
        Request(visitor, sorted(rows.values(), key=lambda row: (policy.rank(row.b_kind), row.order)))
        for (visitor, *_), rows in groups.items()
    ]
    return sorted(requests, key=lambda request: (request.order, request.visitor))


def _weigh(row: Evidence) -> tuple[int, bool, bool]:
    return (row.level, row.proof in TRUSTED_PROOFS, row.proof in SURE_PROOFS)


def is_sign_in(row: Evidence) -> bool:
    """Whether the evidence attaches by itself: level 3 or more, and no tagged link."""
    return row.level > LINKED and row.kind != LINK


def form_people(
    admitted: Sequence[Evidence],
    requests: Sequence[Request],
    follows: Sequence[tuple[Request, Request]],
    policy: Policy,
    notes: list[GuardEntry],
    merges: list[MergeEntry],
) -> People:
    """Tie the keys of a component.

    `follows`: pairs of proved requests on one visitor, one after the other, with nobody signing out between.
    """
    people = People(policy)
    for row in admitted:
        if row.a_kind != VISITOR_KIND:
            people.add(row.a_key, row.a_kind, row.a_value, row)
        if row.b_kind != VISITOR_KIND:
            people.add(row.b_key, row.b_kind, row.b_value, row)

    hearing = _Hearing(people)
    for tie in sorted(_state_ties(admitted, requests, policy), key=_place):
        hearing.hear(tie)
    crowded = _find_crowded(people, requests, policy)
    for tie in sorted(_context_ties(follows, crowded), key=_place):
        hearing.hear(tie)
    for tie, reason in hearing.refused:
        if people.find(tie.first_key) == people.find(tie.second_key):
            continue  # made one by what was heard later
        notes.append(note(tie.row, reason, people.person_id(tie.first_key), people.person_id(tie.second_key)))
    for tie, word, absorbed in hearing.accepted:
        person = people.person_id(tie.first_key)
        merges.append(
            MergeEntry(tie.row.evidence_id, word, tie.row.time_ms, tie.first_key, tie.second_key, person, absorbed)
        )
    return people


def _state_ties(admitted: Iterable[Evidence], requests: Iterable[Request], policy: Policy) -> Iterable[Tie]:
    """Yield what is said outright: by evidence between two keys, and by requests with several."""
    for row in admitted:
        if row.a_kind != VISITOR_KIND and row.b_kind != VISITOR_KIND and row.a_key != row.b_key and is_sign_in(row):
            yield _state_tie(row, row.a_kind, row.a_key, row.level, policy)
    for request in requests:
        main = request.main
        for row in request.rows[1:]:
            yield _state_tie(row, main.b_kind, main.b_key, min(main.level, row.level), policy)


def _state_tie(row: Evidence, kind: str, key: str, level: int, policy: Policy) -> Tie:
    both_unique = policy.declares_unique(kind) and policy.declares_unique(row.b_kind)
    may_merge = level >= SERVER and (row.kind == ALIAS or both_unique)
    return Tie(0 if level >= SERVER and not may_merge else 1, may_merge, row.order, key, row.b_key, row)


def _context_ties(follows: Iterable[tuple[Request, Request]], crowded: frozenset[str]) -> Iterable[Tie]:
    """Yield what follows from a visitor's requests in turn."""
    for earlier, later in follows:
        if later.visitor not in crowded and earlier.main.b_key != later.main.b_key:
            yield Tie(2, False, later.order, earlier.main.b_key, later.main.b_key, later.main)


def _place(tie: Tie) -> tuple[object, ...]:
    return (tie.step, tie.order, tie.first_key, tie.second_key)


@dataclass(slots=True)
class _Hearing:
    """The ties heard so far: what was accepted (with the word for it and the id that gave way) and what was not."""

    people: People
    accepted: list[tuple[Tie, str, str]] = field(default_factory=list)
    refused: list[tuple[Tie, GuardReason]] = field(default_factory=list)

    def hear(self, tie: Tie) -> None:
        """Join the people of a tie, or note why not."""
        people = self.people
        if people.find(tie.first_key) == people.find(tie.second_key):
            return
        word = "associate"
        reason = people.refuse(tie.first_key, tie.second_key, with_cap=tie.row.level < SERVER)
        if reason == GuardReason.TWO_PEOPLE and tie.may_merge:
            word, reason = "merge", None
        if reason is None:
            first, second = people.person_id(tie.first_key), people.person_id(tie.second_key)
            people.join(tie.first_key, tie.second_key)
            absorbed = second if people.person_id(tie.first_key) == first else first
            self.accepted.append((tie, word, absorbed))
        elif tie.step < 2 or reason != GuardReason.TWO_PEOPLE:
            # One person after another on the same browser is a switch, which needs no note.
            self.refused.append((tie, reason))


def _find_crowded(people: People, requests: Iterable[Request], policy: Policy) -> frozenset[str]:
    """Return the visitors on which too many people sign in to take one after another for one person."""
    timelines: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for request in requests:
        if request.is_proved:
            timelines[request.visitor].append((request.main.time_ms, people.find(request.main.b_key)))
    return frozenset(visitor for visitor, timeline in timelines.items() if is_shared(timeline, policy))


def is_shared(timeline: Iterable[tuple[int, str]], policy: Policy) -> bool:
    """Whether (time, person) pairs show more people in one window than one visitor may have."""
    last_seen: dict[str, int] = {}
    for time_ms, person in sorted(timeline):
        last_seen[person] = time_ms
        if len(last_seen) > policy.shared_device_people:
            last_seen = {p: t for p, t in last_seen.items() if time_ms - t <= policy.shared_device_window_ms}
            if len(last_seen) > policy.shared_device_people:
                return True
    return False
