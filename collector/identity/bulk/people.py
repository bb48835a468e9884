"""People as columns: which keys belong to one person, for all components at once.

The part of `bulk` that does what `people.form_people` does. Ties are heard in rounds: in each round the next tie of
every component, so that a million small components take few rounds. A key's number stands for the person of whom it
is the strongest key. Long components, and those in which somebody may have too many keys, are heard tie by tie.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from collector.identity.bulk.ids import Array, Ids, number_ids
from collector.identity.bulk.rows import ALIAS_WORD, Evidences, Note, note
from collector.identity.bulk.timeline import SIGN_IN, Timeline
from collector.identity.evidence import SERVER
from collector.identity.guards import GuardReason
from collector.identity.people import is_shared
from collector.identity.policy import Policy

MOST_ROUNDS = 24
MOST_UNIQUE_KINDS = 62
NEVER_MS = np.iinfo(np.int64).max


@dataclass(slots=True)
class Ties:
    """Statements that two keys belong to one person, see `people.Tie`."""

    step: Array
    may_merge: Array
    first: Array
    second: Array
    row: Array

    def take(self, places: Array) -> Ties:
        """Return some of the ties."""
        return Ties(
            self.step[places], self.may_merge[places], self.first[places], self.second[places], self.row[places]
        )


@dataclass(slots=True)
class Merges:
    """Entries of the merge log, one place in each array for each. Keys and people by number."""

    reason: str
    row: Array
    at_ms: Array
    a: Array
    b: Array
    person: Array
    other: Array


@dataclass(slots=True)
class Crowd:
    """All people. `person`: of each key the strongest key of its person, once `settle` was called."""

    evidences: Evidences
    policy: Policy
    is_member: Array
    first_ms: Array
    signed_ms: Array
    level: Array
    person: Array
    mask: Array  # the unique kinds of the person's keys, where the key stands for it
    accepted: list[tuple[Ties, Array, Array]] = field(default_factory=list)  # ties, whether they merge, who gave way
    refused: list[tuple[Ties, GuardReason]] = field(default_factory=list)

    def find(self, keys: Array) -> Array:
        """Return the people of keys."""
        while True:
            further = self.person[keys]
            if np.array_equal(further, keys):
                return keys
            keys = further

    def settle(self) -> None:
        """Let every key name its person directly."""
        self.person = self.find(self.person)

    def is_stronger(self, some: Array, others: Array) -> Array:
        """Return whether keys are stronger than others: `People.best_key`."""
        keys = self.evidences.keys
        found = np.zeros(len(some), dtype=bool)
        open = np.ones(len(some), dtype=bool)
        for values in (keys.kind, self.first_ms, keys.id.high, keys.id.low):
            first, second = values[some], values[others]
            found |= open & (first < second)
            open &= first == second
        return found


def gather_crowd(evidences: Evidences, admitted: Array, policy: Policy) -> Crowd:
    """Return the keys that admitted evidence names, each a person of its own."""
    rows = evidences.rows
    visitor = evidences.visitor
    count = len(evidences.keys.kind)
    crowd = Crowd(
        evidences,
        policy,
        is_member=np.zeros(count, dtype=bool),
        first_ms=np.full(count, NEVER_MS),
        signed_ms=np.full(count, NEVER_MS),
        level=np.zeros(count, dtype=np.uint8),
        person=np.arange(count, dtype=np.int32),
        mask=np.zeros(count, dtype=np.int64),
    )
    for keys, kinds in ((rows.a, rows.a_kind), (rows.b, rows.b_kind)):
        naming = admitted[kinds[admitted] != visitor]
        named = keys[naming]
        time_ms = rows.time_ms[naming]
        crowd.is_member[named] = True
        np.minimum.at(crowd.first_ms, named, time_ms)
        np.maximum.at(crowd.level, named, rows.level[naming])
        signed = rows.is_sign_in[naming]
        np.minimum.at(crowd.signed_ms, named[signed], time_ms[signed])
    bits = np.zeros(len(evidences.kinds), dtype=np.int64)
    unique = [number for number, kind in enumerate(evidences.kinds) if policy.is_unique(kind)]
    for place, number in enumerate(unique[:MOST_UNIQUE_KINDS]):
        bits[number] = 1 << place
    crowd.mask = bits[evidences.keys.kind]
    return crowd


def form_people(crowd: Crowd, admitted: Array, timeline: Timeline) -> None:
    """Tie the keys, in the order of `people.form_people`. `timeline`: in stretches."""
    stated = _state_ties(crowd, admitted, timeline)
    follows, whose = _context_ties(crowd.evidences, timeline)
    slow = _find_slow(crowd, stated, follows)
    _hear(crowd, stated, slow)
    crowded = _find_crowded(crowd, timeline)
    if len(crowded):
        follows = follows.take(np.flatnonzero(~np.isin(whose, crowded)))
    _hear(crowd, follows, slow)
    crowd.settle()
    _note_refusals(crowd, stated, slow)


def list_merges(crowd: Crowd) -> list[Merges]:
    """Return the entries of the merge log for ties that stand."""
    found = []
    for ties, is_merge, absorbed in crowd.accepted:
        for word, chosen in (("merge", is_merge), ("associate", ~is_merge)):
            if chosen.any():
                kept = ties.take(np.flatnonzero(chosen))
                at_ms = crowd.evidences.rows.time_ms[kept.row]
                person = crowd.person[kept.first]
                found.append(Merges(word, kept.row, at_ms, kept.first, kept.second, person, absorbed[chosen]))
    return found


def count_different(groups: Array, values: Array) -> tuple[Array, Array]:
    """Return each group once, and how many different values it has."""
    pairs = np.unique((groups.astype(np.int64) << 32) | values.astype(np.int64))
    found = np.unique(pairs >> 32, return_counts=True)
    return found[0], found[1]


def _state_ties(crowd: Crowd, admitted: Array, timeline: Timeline) -> Ties:
    """Return what is said outright: by evidence between two keys, and by requests with several."""
    evidences, policy = crowd.evidences, crowd.policy
    rows = evidences.rows
    visitor = evidences.visitor
    declared = np.array([policy.declares_unique(kind) for kind in evidences.kinds], dtype=bool)

    server = admitted[(rows.a_kind[admitted] != visitor) & (rows.b_kind[admitted] != visitor)]
    server = server[(rows.a[server] != rows.b[server]) & rows.is_sign_in[server]]
    seconds = np.flatnonzero((timeline.what == SIGN_IN) & ~timeline.is_main)
    main, second = timeline.row[timeline.main[seconds]], timeline.row[seconds]

    row = np.concatenate([server, second])
    first_kind = np.concatenate([rows.a_kind[server], rows.b_kind[main]])
    level = np.concatenate([rows.level[server], np.minimum(rows.level[main], rows.level[second])])
    may_merge = (level >= SERVER) & (
        (rows.word[row] == ALIAS_WORD) | (declared[first_kind] & declared[rows.b_kind[row]])
    )
    step = np.where((level >= SERVER) & ~may_merge, 0, 1).astype(np.int8)
    return Ties(step, may_merge, np.concatenate([rows.a[server], rows.b[main]]), rows.b[row], row)


def _context_ties(evidences: Evidences, timeline: Timeline) -> tuple[Ties, Array]:
    """Return what follows from a visitor's proved requests in turn, and whose it is."""
    rows = evidences.rows
    mains = np.flatnonzero(timeline.is_main)
    mains = mains[rows.is_proved[timeline.row[mains]]]
    earlier, later = mains[:-1], mains[1:]
    first, second = rows.b[timeline.row[earlier]], rows.b[timeline.row[later]]
    chosen = (timeline.stretch[earlier] == timeline.stretch[later]) & (first != second)
    first, second, row = first[chosen], second[chosen], timeline.row[later[chosen]]
    ties = Ties(np.full(len(row), 2, dtype=np.int8), np.zeros(len(row), dtype=bool), first, second, row)
    return ties, timeline.visitor[later[chosen]]


def _find_slow(crowd: Crowd, stated: Ties, follows: Ties) -> Array:
    """Return for each key whether its ties must be heard one by one: where somebody may get too many keys."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    evidences, policy = crowd.evidences, crowd.policy
    kinds = evidences.keys.kind
    count = len(kinds)
    slow = np.zeros(count, dtype=bool)
    first, second = np.concatenate([stated.first, follows.first]), np.concatenate([stated.second, follows.second])
    # Two values of a unique kind are never tied, so that they do not make one component of two.
    is_apart = (crowd.mask[first] & crowd.mask[second]) != 0
    is_apart[: len(stated.row)] &= ~stated.may_merge
    first, second = first[~is_apart], second[~is_apart]
    if not len(first):
        return slow
    if sum(policy.is_unique(kind) for kind in evidences.kinds) > MOST_UNIQUE_KINDS:
        slow[:] = True
        return slow
    keys, numbers = np.unique(np.concatenate([first, second]), return_inverse=True)
    half = len(first)
    graph = coo_array((np.ones(half, dtype=bool), (numbers[:half], numbers[half:])), shape=(len(keys), len(keys)))
    labels = connected_components(graph, directed=False)[1]
    for number, kind in enumerate(evidences.kinds):
        if not policy.is_unique(kind):
            of_kind = kinds[keys] == number
            counts = np.bincount(labels[of_kind], minlength=labels.max() + 1)
            slow[keys] |= (counts > policy.count_values_allowed(kind))[labels]
    return slow


def _hear(crowd: Crowd, ties: Ties, slow: Array) -> None:
    """Hear the ties of some steps."""
    if not len(ties.row):
        return
    is_apart = ((crowd.mask[ties.first] & crowd.mask[ties.second]) != 0) & ~ties.may_merge
    is_slow = slow[ties.first] | slow[ties.second]
    fast = _keep_first(crowd, ties.take(np.flatnonzero(~is_apart & ~is_slow)))
    fast = fast.take(np.flatnonzero(crowd.find(fast.first) != crowd.find(fast.second)))
    turns = np.empty(len(crowd.person), dtype=np.int64)
    for _ in range(MOST_ROUNDS):
        if not len(fast.row):
            break
        fast = _hear_round(crowd, fast, turns)
    left = ties.take(np.flatnonzero(is_slow))
    _hear_one_by_one(crowd, _sort(crowd, _join(fast, left)), slow)


def _hear_round(crowd: Crowd, ties: Ties, turns: Array) -> Ties:
    """Hear each tie that is the first for both its people; return those that are left. `ties`: in order. `turns`:
    room for a number for each key."""
    first, second = crowd.find(ties.first), crowd.find(ties.second)
    turn = np.arange(len(first))
    both, twice = np.concatenate([first, second]), np.concatenate([turn, turn])
    backwards = np.argsort(-twice, kind="stable")
    turns[both[backwards]] = twice[backwards]  # the last that is written stays: the first turn
    is_next = (turns[first] == turn) & (turns[second] == turn)
    chosen, one, other = np.flatnonzero(is_next), first[is_next], second[is_next]
    is_merge = (crowd.mask[one] & crowd.mask[other]) != 0
    joins = ~is_merge | ties.may_merge[chosen]
    chosen, one, other, is_merge = chosen[joins], one[joins], other[joins], is_merge[joins]
    stronger = crowd.is_stronger(one, other)
    winner, loser = np.where(stronger, one, other), np.where(stronger, other, one)
    crowd.person[loser] = winner
    crowd.mask[winner] |= crowd.mask[loser]
    crowd.accepted.append((ties.take(chosen), is_merge, loser))
    left = np.flatnonzero(~is_next)
    ties = ties.take(left)
    return ties.take(np.flatnonzero(crowd.find(ties.first) != crowd.find(ties.second)))


def _hear_one_by_one(crowd: Crowd, ties: Ties, slow: Array) -> None:
    if not len(ties.row):
        return
    policy, kinds, kind_of = crowd.policy, crowd.evidences.kinds, crowd.evidences.keys.kind
    touched = np.unique(np.concatenate([ties.first, ties.second]))
    roots = np.unique(crowd.find(touched))
    is_root = np.zeros(len(slow), dtype=bool)
    is_root[roots] = True
    members = np.flatnonzero(is_root[crowd.find(np.arange(len(slow)))] & crowd.is_member)
    counts: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for root, kind in zip(crowd.find(members).tolist(), kind_of[members].tolist(), strict=True):
        counts[root][kind] += 1
    parent = {root: root for root in roots.tolist()}
    start = dict(zip(touched.tolist(), crowd.find(touched).tolist(), strict=True))
    unique = [policy.is_unique(kind) for kind in kinds]
    allowed = [policy.count_values_allowed(kind) for kind in kinds]
    level = crowd.evidences.rows.level[ties.row].tolist()
    is_slow = (slow[ties.first] | slow[ties.second]).tolist()
    joined: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    refused: dict[GuardReason, list[int]] = {GuardReason.TWO_PEOPLE: [], GuardReason.TOO_MANY_KEYS: []}

    def find(key: int) -> int:
        key = start[key]
        while parent[key] != key:
            key = parent[key]
        return key

    parts = (ties.first.tolist(), ties.second.tolist(), ties.may_merge.tolist(), ties.step.tolist(), level)
    for place, (one, other, may_merge, step, tie_level) in enumerate(zip(*parts, strict=True)):
        first, second = find(one), find(other)
        if first == second:
            continue
        common = counts[first].keys() & counts[second].keys()
        reason: GuardReason | None = None
        if any(unique[kind] for kind in common):
            reason = GuardReason.TWO_PEOPLE
        elif tie_level < SERVER and any(counts[first][k] + counts[second][k] > allowed[k] for k in common):
            reason = GuardReason.TOO_MANY_KEYS
        is_merge = reason == GuardReason.TWO_PEOPLE and may_merge
        if reason is None or is_merge:
            if not crowd.is_stronger(np.array([first]), np.array([second]))[0]:
                first, second = second, first
            parent[second] = first
            for kind, count in counts.pop(second).items():
                counts[first][kind] += count
            joined[is_merge].append((place, second))
        elif is_slow[place] and (step < 2 or reason != GuardReason.TWO_PEOPLE):
            refused[reason].append(place)
    for root in parent:
        crowd.person[root] = _find_root(parent, root)
    for is_merge, found in joined.items():
        if found:
            places, losers = np.array(found).T
            crowd.accepted.append((ties.take(places), np.full(len(losers), is_merge), losers.astype(np.int32)))
            np.bitwise_or.at(crowd.mask, crowd.find(losers), crowd.mask[losers])
    crowd.refused += [(ties.take(np.array(found)), reason) for reason, found in refused.items() if found]


def _find_root(parent: dict[int, int], key: int) -> int:
    while parent[key] != key:
        key = parent[key]
    return key


def _keep_first(crowd: Crowd, ties: Ties) -> Ties:
    """Return the ties in order, of those that say the same only the first."""
    low, high = np.minimum(ties.first, ties.second), np.maximum(ties.first, ties.second)
    pair, _ = number_ids(Ids(low.astype(np.uint64), (high.astype(np.uint64) << np.uint64(1)) | ties.may_merge))
    order = _order(crowd, ties)
    pair = pair[order]
    first = np.full(int(pair.max()) + 1 if len(pair) else 0, len(pair))
    np.minimum.at(first, pair, np.arange(len(pair)))
    return ties.take(order[np.sort(first)])


def _order(crowd: Crowd, ties: Ties) -> Array:
    """Return the order in which ties are heard: `people._place`."""
    rows = crowd.evidences.rows
    time_ms = rows.time_ms[ties.row]
    order = np.lexsort((time_ms, ties.step))
    same = np.zeros(len(order), dtype=bool)
    same[1:] = (np.diff(time_ms[order]) == 0) & (np.diff(ties.step[order]) == 0)
    if same.any():
        same[:-1] |= same[1:]
        places = np.flatnonzero(same)
        some = order[places]
        group = ties.step[some]
        row = ties.row[some]
        event, own = rows.event.take(row), rows.id.take(row)
        order[places] = some[np.lexsort((own.low, own.high, event.low, event.high, time_ms[some], group))]
    return order


def _sort(crowd: Crowd, ties: Ties) -> Ties:
    return ties.take(_order(crowd, ties)) if len(ties.row) else ties


def _join(some: Ties, others: Ties) -> Ties:
    names = ("step", "may_merge", "first", "second", "row")
    return Ties(*(np.concatenate([getattr(some, name), getattr(others, name)]) for name in names))


def _find_crowded(crowd: Crowd, timeline: Timeline) -> Array:
    """Return the visitors on which too many people sign in: `people._find_crowded`."""
    rows, policy = crowd.evidences.rows, crowd.policy
    mains = np.flatnonzero(timeline.is_main & rows.is_proved[timeline.row])
    whose = timeline.visitor[mains]
    mains = mains[(np.bincount(whose, minlength=1) > policy.shared_device_people)[whose]]
    if not len(mains):
        return mains
    person = crowd.find(rows.b[timeline.row[mains]])
    visitors, people = count_different(timeline.visitor[mains], person)
    timelines: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    chosen = np.isin(timeline.visitor[mains], visitors[people > policy.shared_device_people])
    seen = (timeline.visitor[mains][chosen], rows.time_ms[timeline.row[mains[chosen]]], person[chosen])
    for visitor, time_ms, mark in zip(*(each.tolist() for each in seen), strict=True):
        timelines[visitor].append((time_ms, str(mark)))
    return np.array([visitor for visitor, each in timelines.items() if is_shared(each, policy)], dtype=np.int64)


def _note_refusals(crowd: Crowd, stated: Ties, slow: Array) -> None:
    """Note the ties that were refused, and whose keys have not become one person's by another."""
    fast = stated.take(np.flatnonzero(~(slow[stated.first] | slow[stated.second])))
    notes: list[tuple[Ties, GuardReason]] = [(fast, GuardReason.TWO_PEOPLE), *crowd.refused]
    for ties, reason in notes:
        first, second = crowd.person[ties.first], crowd.person[ties.second]
        apart = first != second
        if apart.any():
            found: Note = note(ties.row[apart], reason, first[apart], second[apart])
            crowd.evidences.notes.append(found)
