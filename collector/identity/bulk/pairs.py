"""Pairs as columns: visitors that evidence ties to one other visitor, as a hand-over from one domain to the next does.

The part of `bulk` that does what `visitors.Visitors` does for two: whoever is known gives its customer to one that
nobody has; two that nobody has become one anonymous person. Visitors with more ties than one are hard.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from collector.identity.bulk.ids import Array
from collector.identity.bulk.intervals import Attached, Spans, Stretches, attach, find_hard, find_stretches, lay_out
from collector.identity.bulk.people import NEVER_MS, Crowd
from collector.identity.bulk.rows import HANDOVER_WORD, note, weigh_proof
from collector.identity.bulk.timeline import TIE, Timeline
from collector.identity.guards import GuardReason

_OF_TIE = 2  # after links and sign-ins, see `Attached.turn`


@dataclass(slots=True)
class Tied:
    """What attaches visitors, ties included: in parts, each about other visitors, without the hard ones.

    `hard`: for each key whether it is a visitor that columns cannot judge. `younger`, `older`: visitors that are one
    though nobody knows who; the older one gives its id.
    """

    parts: list[tuple[Attached, Stretches]]
    hard: Array
    younger: Array
    older: Array


def tie_visitors(crowd: Crowd, admitted: Array, timeline: Timeline) -> Tied:
    """Attach visitors by sign-ins, by links and by ties to each other, and note ties that are refused."""
    rows, visitor = crowd.evidences.rows, crowd.evidences.visitor
    alone = attach(crowd, timeline)
    stretches = find_stretches(crowd, timeline, alone)
    hard = find_hard(crowd, alone, stretches)
    pairs = admitted[(rows.a_kind[admitted] == visitor) & (rows.b_kind[admitted] == visitor)]
    nobody = np.zeros(0, dtype=np.int64)
    if not len(pairs):
        return Tied([(_without(hard, alone), stretches)], hard, nobody, nobody)
    a, b = rows.a[pairs], rows.b[pairs]
    hard |= np.bincount(np.concatenate([a, b]), minlength=len(hard)) > 1
    _spread(hard, a, b)
    simple = ~hard[a]
    pairs, a, b = pairs[simple], a[simple], b[simple]

    spans, first, second = _find_holders(crowd, alone, stretches, pairs)
    is_one, is_none = (first < 0) != (second < 0), (first < 0) & (second < 0)
    given = _give_customers(crowd, timeline, pairs[is_one], spans, first[is_one], second[is_one])
    is_given = np.zeros(len(hard), dtype=bool)
    is_given[given.visitor] = True
    attached = _insert(alone.keep(np.flatnonzero(is_given[alone.visitor])), given)
    changed = find_stretches(crowd, timeline, attached)
    hard |= find_hard(crowd, attached, changed)
    younger, older = _find_ages(crowd, admitted, a[is_none], b[is_none])
    has_history = is_given.copy()
    has_history[alone.visitor] = True
    hard[younger[has_history[younger]]] = True
    _spread(hard, rows.a[pairs], rows.b[pairs])

    is_grouped = ~hard[younger]
    others = np.flatnonzero((first >= 0) & (second >= 0) & ~hard[a])
    others = others[spans.person[first[others]] != spans.person[second[others]]]
    people = spans.person[second[others]], spans.person[first[others]]
    crowd.evidences.notes.append(note(pairs[others], GuardReason.OTHER_CUSTOMER, *people))
    parts = [(_without(hard | is_given, alone), stretches), (_without(hard, attached), changed)]
    return Tied(parts, hard, younger[is_grouped], older[is_grouped])


def _without(left_out: Array, attached: Attached) -> Attached:
    """Return what attaches the other visitors."""
    return attached.keep(np.flatnonzero(~left_out[attached.visitor]))


def _spread(hard: Array, a: Array, b: Array) -> None:
    """Make both visitors of a pair hard where one is."""
    either = hard[a] | hard[b]
    hard[a[either]] = True
    hard[b[either]] = True


def _find_holders(crowd: Crowd, alone: Attached, stretches: Stretches, pairs: Array) -> tuple[Spans, Array, Array]:
    """Return intervals, and which of them the two visitors of each pair are in when they are tied, -1 for none:
    `Visitors._find_holder`."""
    rows = crowd.evidences.rows
    a, b = rows.a[pairs], rows.b[pairs]
    at_ms = np.full(len(crowd.person), NEVER_MS)
    at_ms[a] = at_ms[b] = rows.time_ms[pairs]
    noted = len(crowd.evidences.notes)
    spans = lay_out(crowd, alone.keep(np.flatnonzero(at_ms[alone.visitor] != NEVER_MS)), stretches)
    del crowd.evidences.notes[noted:]  # they are laid out once more
    there = np.flatnonzero((spans.from_ms <= at_ms[spans.visitor]) & (at_ms[spans.visitor] < spans.to_ms))
    holder = np.full(len(crowd.person), -1, dtype=np.int64)
    holder[spans.visitor[there]] = there
    is_proved = np.append(spans.proved, 1) > 0  # the last place is that of none
    first, second = holder[a], holder[b]
    first = np.where(~is_proved[first] & rows.is_proved[pairs], -1, first)
    second = np.where(~is_proved[second] & (rows.word[pairs] == HANDOVER_WORD), -1, second)
    return spans, first, second


def _give_customers(
    crowd: Crowd, timeline: Timeline, pairs: Array, spans: Spans, first: Array, second: Array
) -> Attached:
    """Return what attaches those visitors of pairs that nobody has to the other's person: `visitors._see_from`."""
    rows = crowd.evidences.rows
    is_handover = rows.word[pairs] == HANDOVER_WORD
    is_arriving = first < 0
    known = np.maximum(first, second)
    keeps_session = np.where(is_handover, ~is_arriving, is_arriving)
    proof = np.where(keeps_session, rows.proof[pairs], 0)
    of_handover = np.where(keeps_session | rows.is_proved[pairs], weigh_proof("cookie"), weigh_proof("fresh"))
    proof = np.where(is_handover, of_handover, proof) * (spans.proved[known] > 0)
    visitor = np.where(is_arriving, rows.a[pairs], rows.b[pairs])

    places = np.flatnonzero(timeline.what == TIE)
    is_meant = np.full(len(crowd.person), -1, dtype=np.int64)
    is_meant[visitor] = np.arange(len(pairs))
    turn = is_meant[timeline.visitor[places]]
    places, turn = places[turn >= 0], turn[turn >= 0]
    return Attached(
        place=places,
        row=pairs[turn],
        visitor=visitor[turn],
        person=spans.person[known[turn]],
        time_ms=rows.time_ms[pairs[turn]],
        started_ms=np.where(keeps_session, rows.started_ms[pairs], 0)[turn],
        stretch=timeline.stretch[places],
        is_link=~rows.is_sign_in[pairs[turn]],
        proof=proof[turn],
        turn=np.full(len(turn), _OF_TIE, dtype=np.int8),
    )


def _insert(attached: Attached, given: Attached) -> Attached:
    names = [each.name for each in fields(Attached)]
    both = Attached(*(np.concatenate([getattr(attached, name), getattr(given, name)]) for name in names))
    return both.keep(np.argsort(both.place, kind="stable"))


def _find_ages(crowd: Crowd, admitted: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return of two visitors the one that was seen later, and the other: `Visitors.first_ms`."""
    rows, keys = crowd.evidences.rows, crowd.evidences.keys
    wanted = np.zeros(len(crowd.person), dtype=bool)
    wanted[a] = wanted[b] = True
    first_ms = np.full(len(crowd.person), NEVER_MS)
    for side, is_b in ((rows.a, False), (rows.b, True)):
        seen = admitted[wanted[side[admitted]]]
        at_ms, started_ms = rows.time_ms[seen], rows.started_ms[seen]
        has_session = (rows.word[seen] == HANDOVER_WORD) == is_b
        has_session &= at_ms - crowd.policy.max_session_ms <= started_ms
        np.minimum.at(first_ms, side[seen], np.where(has_session, np.minimum(at_ms, started_ms), at_ms))
    is_younger = np.zeros(len(a), dtype=bool)
    open = np.ones(len(a), dtype=bool)
    for values in (first_ms, keys.id.high, keys.id.low):
        is_younger |= open & (values[a] > values[b])
        open &= values[a] == values[b]
    return np.where(is_younger, a, b), np.where(is_younger, b, a)
