"""The timeline: what happened on each visitor, in order, as columns: sign-ins, tagged links, sign-outs and ties to
other visitors.

The part of `bulk` that does what `people.gather_requests`, `resolve._find_boundaries` and `_find_follows` do.
Visitor by visitor, each in the order of `Evidence.order`; the rows of one request stand together, strongest first,
at the place of the strongest.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from collector.identity.bulk.ids import Array, Ids, find_first
from collector.identity.bulk.rows import RESET_WORD, Evidences, Rows, note
from collector.identity.guards import GuardReason

SIGN_IN, LINK, SIGN_OUT, TIE = range(4)
MOST_STEPS = 16


@dataclass(slots=True)
class Timeline:
    """What happened, one place in each array for each. `stretch`: number of the time between two sign-outs."""

    row: Array
    visitor: Array
    what: Array
    is_main: Array  # the strongest key of a sign-in
    main: Array  # place of that
    stretch: Array

    def keep(self, places: Array) -> Timeline:
        """Return what happened at some places, in order. Of a request all or nothing may be kept."""
        kept = Timeline(*(getattr(self, each.name)[places] for each in fields(self)))
        kept.main = _find_main(kept.is_main)
        return kept


def make_timeline(evidences: Evidences, admitted: Array) -> tuple[Timeline, Array]:
    """Return what happened on the visitors of admitted rows, and the rows that are too odd to be put in order here.

    Odd are requests that name a key twice, that are spread over time, proved only in part, or that sign in and out at
    once; and several without proof under one event.
    """
    rows = evidences.rows
    visitor = evidences.visitor
    attaching = admitted[(rows.a_kind[admitted] == visitor) & (rows.b_kind[admitted] != visitor)]
    is_known = np.zeros(len(evidences.keys.kind), dtype=bool)
    is_known[rows.a[admitted]] = True
    is_known[rows.b[admitted]] = True
    resets = np.flatnonzero(rows.stands & (rows.word == RESET_WORD))
    resets = resets[is_known[rows.b[resets]] & ~evidences.keys.id.take(rows.b[resets]).is_nil]
    pairs = admitted[(rows.a_kind[admitted] == visitor) & (rows.b_kind[admitted] == visitor)]
    row = np.concatenate([attaching, resets, pairs, pairs])
    whose = np.concatenate([rows.a[attaching], rows.b[resets], rows.a[pairs], rows.b[pairs]])
    what = np.full(len(row), TIE, dtype=np.int8)
    what[len(attaching) : len(attaching) + len(resets)] = SIGN_OUT
    what[: len(attaching)] = np.where(rows.is_sign_in[attaching], SIGN_IN, LINK)
    rank = np.where(what == SIGN_IN, rows.b_kind[row], 0)

    order = _sort(whose, rows.time_ms[row], rank, len(evidences.kinds))
    row, whose, what, rank = row[order], whose[order], what[order], rank[order]
    own_event = rows.event.take(row)
    has_event = ~own_event.is_nil & (what == SIGN_IN)
    is_moment = _begins(whose) | _begins(rows.time_ms[row])
    is_request = is_moment | _begins(own_event.high) | _begins(own_event.low) | ~has_event
    is_request[1:] |= ~has_event[:-1]
    settled = is_moment.copy()
    settled[1:] |= ~is_request[1:] & (rank[1:] > rank[:-1])
    if not settled.all():
        messy = _spread(~settled, is_moment)
        places = np.flatnonzero(messy)
        sorted_places = _sort_moments(rows, row, what, rank, places, np.cumsum(is_moment)[places])
        for each in (row, what, rank):
            each[places] = each[sorted_places]
        own_event = rows.event.take(row)
        has_event = ~own_event.is_nil & (what == SIGN_IN)
        is_request = is_moment | _begins(own_event.high) | _begins(own_event.low) | ~has_event
        is_request[1:] |= ~has_event[:-1]
    is_main = is_request & (what == SIGN_IN)
    timeline = Timeline(row, whose, what, is_main, _find_main(is_main), np.zeros(len(row), dtype=np.int64))
    return timeline, _find_odd(rows, timeline, own_event, is_request)


def part_stretches(evidences: Evidences, timeline: Timeline) -> Timeline:
    """Return the timeline without the sign-outs that do not count (`intervals.keep_sign_outs`), in stretches."""
    rows = evidences.rows
    begins = _begins(timeline.visitor)
    is_out = timeline.what == SIGN_OUT
    if is_out.any():
        is_proved = rows.is_proved[timeline.row]
        has_proved = np.zeros(len(evidences.keys.kind), dtype=bool)
        has_proved[timeline.visitor[is_proved & (timeline.what <= LINK)]] = True
        refused = is_out & ~is_proved & has_proved[timeline.visitor]
        if refused.any():
            evidences.notes.append(note(timeline.row[refused], GuardReason.UNPROVED))
            timeline = timeline.keep(np.flatnonzero(~refused))
            begins, is_out = _begins(timeline.visitor), is_out[~refused]
    timeline.stretch = np.cumsum(begins | is_out) - 1
    return timeline


def _find_odd(rows: Rows, timeline: Timeline, event: Ids, is_request: Array) -> Array:
    """Return the rows of requests that must be judged one by one."""
    odd = []
    is_either = (timeline.what == SIGN_IN) | (timeline.what == SIGN_OUT)
    starts = np.flatnonzero(is_request & ~event.is_nil & is_either)
    again = _find_again(timeline.visitor[starts], event.take(starts))
    odd += starts[again].tolist()

    numbers = np.cumsum(is_request)
    is_sure = rows.is_sure[timeline.row]
    is_proved, seen_together = rows.is_proved[timeline.row], rows.id.high[timeline.row]
    is_other = (is_sure[1:] != is_sure[:-1]) | (is_proved[1:] != is_proved[:-1])
    is_other |= ~is_proved[1:] & (seen_together[1:] != seen_together[:-1])  # see `evidence.name_request`
    odd += (np.flatnonzero((numbers[1:] == numbers[:-1]) & is_other) + 1).tolist()
    same_kind = np.zeros(len(numbers), dtype=bool)
    same_kind[1:] = (numbers[1:] == numbers[:-1]) & (rows.b_kind[timeline.row[1:]] == rows.b_kind[timeline.row[:-1]])
    doubtful = np.flatnonzero(_spread(same_kind, is_request))
    named: set[tuple[int, int]] = set()
    for place, number, key in zip(
        doubtful.tolist(), numbers[doubtful].tolist(), rows.b[timeline.row[doubtful]].tolist(), strict=True
    ):
        if (number, key) in named:
            odd.append(place)
        named.add((number, key))
    return np.unique(timeline.row[np.array(odd, dtype=np.int64)])


def _find_again(visitor: Array, event: Ids) -> Array:
    """Return the places of events that were on the same visitor before. `visitor`: in order."""
    found = [np.zeros(0, dtype=np.int64)]
    left = np.arange(len(visitor) - 1)
    step = 1
    while len(left):
        left = left[visitor[left] == visitor[left + step]]
        same = (event.high[left] == event.high[left + step]) & (event.low[left] == event.low[left + step])
        found.append(left[same] + step)
        step += 1
        left = left[left + step < len(visitor)]
        if step > MOST_STEPS and len(left):
            # Visitors with very many events: their events are numbered instead.
            places = np.flatnonzero(np.isin(visitor, visitor[left]))
            some = event.take(places)
            names = Ids(some.high ^ (visitor[places].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)), some.low)
            first = find_first(names)
            return np.concatenate([*found, places[first != np.arange(len(first))]])
    return np.concatenate(found)


def _sort(whose: Array, time_ms: Array, rank: Array, ranks: int) -> Array:
    """Return the order by visitor, time and rank."""
    if not len(whose):
        return np.zeros(0, dtype=np.int64)
    first_ms = time_ms.min()
    time_bits = int(time_ms.max() - first_ms).bit_length()
    rank_bits = max(1, ranks.bit_length())
    if int(whose.max()).bit_length() + time_bits + rank_bits > 63:
        return np.lexsort((rank, time_ms, whose))
    packed = whose.astype(np.int64) << np.int64(time_bits + rank_bits)
    packed |= (time_ms - first_ms) << np.int64(rank_bits)
    packed |= rank.astype(np.int64)
    return np.argsort(packed, kind="stable")


def _sort_moments(rows: Rows, row: Array, what: Array, rank: Array, places: Array, moment: Array) -> Array:
    """Return places in their order, where several things happened on one visitor in one millisecond: by event and by
    the evidence's own id, but those of one request together, at the place of its strongest key."""
    event, own = rows.event.take(row[places]), rows.id.take(row[places])
    is_single = (what[places] != SIGN_IN) | event.is_nil
    place_rank = np.where(is_single, 0, rank[places])
    order = np.lexsort((own.low, own.high, place_rank, is_single, event.low, event.high, moment))
    begins = _begins(moment[order]) | _begins(event.high[order]) | _begins(event.low[order]) | is_single[order]
    leader = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    high, low = np.empty_like(own.high), np.empty_like(own.low)
    high[order], low[order] = own.high[order][leader], own.low[order][leader]
    found: Array = places[np.lexsort((own.low, own.high, place_rank, low, high, event.low, event.high, moment))]
    return found


def _find_main(is_main: Array) -> Array:
    return np.maximum.accumulate(np.where(is_main, np.arange(len(is_main)), 0)) if len(is_main) else np.zeros(0, int)


def _begins(values: Array) -> Array:
    """Return where a value differs from the one before."""
    begins = np.ones(len(values), dtype=bool)
    begins[1:] = values[1:] != values[:-1]
    return begins


def _spread(marked: Array, begins: Array) -> Array:
    """Return the groups that have a mark. `begins`: where a group begins."""
    if not len(marked):
        return marked
    groups = np.cumsum(begins) - 1
    found = np.zeros(groups[-1] + 1, dtype=bool)
    found[groups[marked]] = True
    spread: Array = found[groups]
    return spread
