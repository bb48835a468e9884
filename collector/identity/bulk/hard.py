"""What columns cannot judge: hard visitors by `intervals.lay_out`, odd components by `resolve`, row by row.

Invariant: whoever is judged here is judged by all evidence that has a say about them, so that nothing differs from
what `resolve` makes of all evidence at once. About a hundred times slower a row than columns.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from collector.identity.bulk.columns import read_evidence, to_text
from collector.identity.bulk.ids import Array, write_numbers
from collector.identity.bulk.people import Crowd
from collector.identity.bulk.rows import RESET_WORD, Evidences
from collector.identity.bulk.timeline import SIGN_OUT, Timeline
from collector.identity.evidence import Evidence
from collector.identity.guards import GuardEntry, GuardReason
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.intervals import Boundary
from collector.identity.people import Member, MergeEntry, People, gather_requests
from collector.identity.policy import Policy
from collector.identity.resolve import Resolution, make_visitor_rows, resolve
from collector.identity.visitors import Visitors


class Judged(NamedTuple):
    """What came out for hard visitors. `held_since`: since when people have had any of them, by number."""

    resolution: Resolution
    held_since: dict[int, int]


@dataclass(slots=True)
class _Settled(People):
    """People as they were found in columns."""

    person_of: dict[str, str] = field(default_factory=dict)
    number_of: dict[str, int] = field(default_factory=dict)  # of people

    def find(self, key: str) -> str:
        """Return the person id of the key's person."""
        return self.person_of[key]

    def best_key(self, key: str) -> Member:
        """Return the key that gives the person its id."""
        return self.members[self.person_of[key]]


def judge_visitors(crowd: Crowd, admitted: Array, timeline: Timeline, hard: Array) -> Judged:
    """Lay out hard visitors. `hard`: for each key whether it is one; whoever is tied to one is one too."""
    evidences = crowd.evidences
    rows, visitor = evidences.rows, evidences.visitor
    chosen = admitted[
        (hard[rows.a[admitted]] & (rows.a_kind[admitted] == visitor))
        | (hard[rows.b[admitted]] & (rows.b_kind[admitted] == visitor))
    ]
    if not len(chosen):
        return Judged(Resolution(), {})
    evidence = sorted(_read(evidences, chosen), key=lambda row: row.order)
    people = _settle(crowd, np.unique(rows.b[chosen[rows.b_kind[chosen] != visitor]]))
    notes: list[GuardEntry] = []
    merges: list[MergeEntry] = []
    visitors = Visitors(people, crowd.policy, _list_boundaries(evidences, timeline, hard))
    visitors.attach(evidence, gather_requests(evidence, crowd.policy))
    visitors.tie(row for row in evidence if row.b_kind == VISITOR_KIND)
    layout = visitors.lay_out_all(notes, merges)
    map_rows, intervals, held = make_visitor_rows(people, visitors, layout)
    held_since = {people.number_of[person]: since_ms for person, since_ms in held.items()}
    found = Resolution(tuple(map_rows), tuple(intervals), (), tuple(set(notes)), tuple(set(merges)))
    return Judged(found, held_since)


def judge_components(evidences: Evidences, joins: Array, odd: Array, policy: Policy) -> tuple[Resolution, Array]:
    """Resolve the components of odd rows, and return for each key whether it is in one.

    `joins`: the rows that hold components together, replays among them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = evidences.rows
    count = len(evidences.keys.kind)
    graph = coo_array((np.ones(len(joins), dtype=bool), (rows.a[joins], rows.b[joins])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    is_odd = np.zeros(count, dtype=bool)
    is_odd[labels[rows.a[odd]]] = True
    is_odd[labels[rows.b[odd]]] = True
    taken: Array = is_odd[labels]
    for notes in evidences.notes:
        if notes.reason in (GuardReason.REPLAYED, GuardReason.SECOND_DEVICE):  # they are noted once more
            kept = ~taken[rows.a[notes.row]]
            notes.row, notes.person, notes.other = notes.row[kept], notes.person[kept], notes.other[kept]
    resets = np.flatnonzero(rows.stands & (rows.word == RESET_WORD))
    resets = resets[taken[rows.a[resets]] | taken[rows.b[resets]]]
    chosen = np.concatenate([joins[taken[rows.a[joins]]], resets])
    return resolve(_read(evidences, chosen), policy), taken


def _read(evidences: Evidences, places: Array) -> list[Evidence]:
    """Return rows as evidence, the visitor first, by first names."""
    found = read_evidence(evidences.table.take(write_numbers(places)))
    found = [row.turn_visitor_first() for row in found]
    for side in ("a", "b"):
        keys = getattr(evidences.rows, side)[places]
        renamed = np.flatnonzero(evidences.is_renamed[keys])
        ids, values = _list_keys(evidences, keys[renamed]), evidences.read_values(keys[renamed]).to_pylist()
        for place, (_, raw), value in zip(renamed.tolist(), ids, values, strict=True):
            found[place] = msgspec.structs.replace(
                found[place], **{f"{side}_key": to_text(raw), f"{side}_value": value}
            )
    return found


def _settle(crowd: Crowd, keys: Array) -> _Settled:
    """Return the people of some keys."""
    evidences = crowd.evidences
    person = crowd.person[keys]
    people = _Settled(crowd.policy)
    best = np.unique(person)
    values = evidences.read_values(best).to_pylist()
    text_of = {}
    for (number, raw), value in zip(_list_keys(evidences, best), values, strict=True):
        kind = evidences.kinds[evidences.keys.kind[number]]
        text_of[number] = key = to_text(raw)
        people.members[key] = Member(key, kind, value, int(crowd.first_ms[number]), int(crowd.level[number]))
        people.person_of[key] = key
        people.number_of[key] = number
    for (_, raw), number in zip(_list_keys(evidences, keys), person.tolist(), strict=True):
        people.person_of[to_text(raw)] = text_of[number]
    return people


def _list_keys(evidences: Evidences, numbers: Array) -> list[tuple[int, bytes]]:
    high, low = evidences.keys.id.take(numbers)
    parts = zip(numbers.tolist(), high.tolist(), low.tolist(), strict=True)
    return [(number, (one << 64 | other).to_bytes(16)) for number, one, other in parts]


def _list_boundaries(evidences: Evidences, timeline: Timeline, hard: Array) -> dict[str, list[Boundary]]:
    """Return the sign-outs that count of hard visitors, in order."""
    places = np.flatnonzero((timeline.what == SIGN_OUT) & hard[timeline.visitor])
    found: defaultdict[str, list[Boundary]] = defaultdict(list)
    keys = [to_text(raw) for _, raw in _list_keys(evidences, timeline.visitor[places])]
    for key, row in zip(keys, _read(evidences, timeline.row[places]), strict=True):
        found[key].append(Boundary(row.order, row))
    return dict(found)
