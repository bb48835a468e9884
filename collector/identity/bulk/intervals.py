"""Intervals as columns: to whom each visitor belongs, and from when to when, for all visitors at once.

The part of `bulk` that does what `intervals.lay_out` does for visitors as they mostly are. Which are not is found
here too: those of many people, those on which somebody signed in with proof after others had without, and whatever
is cut in the very millisecond in which it begins. `lay_out` itself must look at these.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from collector.identity.bulk.ids import Array
from collector.identity.bulk.people import Crowd, Merges, count_different
from collector.identity.bulk.rows import OF_BROWSER, PROVED, SURE, has_proof, note
from collector.identity.bulk.timeline import LINK, SIGN_OUT, Timeline
from collector.identity.guards import GuardReason
from collector.identity.intervals import BEGINNING_MS

FOR_EVER_MS = np.iinfo(np.int64).max


@dataclass(slots=True)
class Attached:
    """What attaches visitors to people, one place in each array for each, visitor by visitor and in order."""

    place: Array  # in the timeline
    row: Array
    visitor: Array
    person: Array
    time_ms: Array
    started_ms: Array  # of the session
    stretch: Array
    is_link: Array
    proof: Array
    turn: Array  # of several in one moment the reason for a switch: 0 links first, 1 sign-ins, 2 ties last

    @property
    def is_proved(self) -> Array:
        """See `Attachment.is_proved`."""
        return has_proof(self.proof, PROVED)

    @property
    def is_sure(self) -> Array:
        """See `Attachment.is_sure`."""
        return has_proof(self.proof, SURE)

    def keep(self, places: Array) -> Attached:
        """Return some of it."""
        return Attached(*(getattr(self, each.name)[places] for each in fields(self)))


@dataclass(slots=True)
class Stretches:
    """The stretches of all visitors, one place in each array for each. `end_ms`: FOR_EVER_MS where it is open."""

    begin_ms: Array
    end_ms: Array


@dataclass(slots=True)
class Spans:
    """Intervals, one place in each array for each, visitor by visitor and in order."""

    visitor: Array
    person: Array
    from_ms: Array
    to_ms: Array  # FOR_EVER_MS: for ever
    level: Array
    provisional: Array
    proved: Array
    stretch: Array

    def keep(self, places: Array) -> Spans:
        """Return some of them."""
        return Spans(*(getattr(self, each.name)[places] for each in fields(self)))


def attach(crowd: Crowd, timeline: Timeline) -> Attached:
    """Return what attaches visitors. `timeline`: in stretches."""
    rows = crowd.evidences.rows
    places = np.flatnonzero(timeline.is_main | (timeline.what == LINK))
    row = timeline.row[places]
    is_link = timeline.what[places] == LINK
    return Attached(
        place=places,
        row=row,
        visitor=timeline.visitor[places],
        person=crowd.person[rows.b[row]],
        time_ms=rows.time_ms[row],
        started_ms=rows.started_ms[row],
        stretch=timeline.stretch[places],
        is_link=is_link,
        proof=rows.proof[row],
        turn=np.where(is_link, 0, 1),
    )


def find_stretches(crowd: Crowd, timeline: Timeline, attached: Attached) -> Stretches:
    """Return where the stretches begin and end: a sign-out ends one if the visitor id goes no further, or if
    somebody comes after it."""
    rows = crowd.evidences.rows
    count = int(timeline.stretch[-1]) + 1 if len(timeline.stretch) else 0
    begin_ms = np.full(count, BEGINNING_MS, dtype=np.int64)
    end_ms = np.full(count, FOR_EVER_MS, dtype=np.int64)
    outs = np.flatnonzero(timeline.what == SIGN_OUT)
    if len(outs):
        row, begun = timeline.row[outs], timeline.stretch[outs]
        begin_ms[begun] = rows.time_ms[row]
        first = np.ones(len(timeline.visitor), dtype=bool)
        first[1:] = timeline.visitor[1:] != timeline.visitor[:-1]
        follows = ~first[outs]
        row, ended = row[follows], begun[follows] - 1
        last_used = np.full(len(crowd.evidences.keys.kind), -1, dtype=np.int64)
        last_used[attached.visitor] = attached.stretch  # in order: the last stays
        closes = (rows.a[row] == rows.b[row]) | (last_used[timeline.visitor[outs[follows]]] > ended)
        end_ms[ended[closes]] = rows.time_ms[row[closes]]
    return Stretches(begin_ms, end_ms)


def find_hard(crowd: Crowd, attached: Attached, stretches: Stretches) -> Array:
    """Return for each key whether it is a visitor that `intervals.lay_out` itself must look at."""
    hard = np.zeros(len(crowd.evidences.keys.kind), dtype=bool)
    if not len(attached.row):
        return hard
    hard[attached.visitor[attached.time_ms >= stretches.end_ms[attached.stretch]]] = True

    signed = ~attached.is_link
    whose = attached.visitor[signed]
    most = crowd.policy.shared_device_people
    many = (np.bincount(whose, minlength=1) > most)[whose]
    visitors, people = count_different(whose[many], attached.person[signed][many])
    hard[visitors[people > most]] = True

    first = _find_first_proved(attached, len(stretches.begin_ms))[attached.stretch]
    place = np.arange(len(first))
    is_mixed = np.zeros(len(stretches.begin_ms), dtype=bool)
    is_mixed[attached.stretch[(place < first) & (first < len(first)) & signed]] = True
    mixed = is_mixed[attached.stretch]
    if mixed.any():
        is_signed = np.zeros(len(is_mixed), dtype=bool)
        is_signed[attached.stretch[mixed & signed & attached.is_proved]] = True
        hard[attached.visitor[mixed & ((attached.is_link & (place < first)) | ~is_signed[attached.stretch])]] = True
    return hard


def lay_out(crowd: Crowd, attached: Attached, stretches: Stretches) -> Spans:
    """Return the intervals of visitors that are plain, and note what they refuse. `attached`: without the hard ones."""
    place = np.arange(len(attached.row))
    first = _find_first_proved(attached, len(stretches.begin_ms))[attached.stretch]
    signed = ~attached.is_link
    before = signed & (place < first) & (first < len(place))
    stale = signed & ~attached.is_proved & (place > first)
    _note_unproved(crowd, attached, np.flatnonzero(stale), first)

    spans, begun = _lay_runs(crowd, attached, stretches, np.flatnonzero(signed & ~stale & ~before))
    leading = np.flatnonzero(np.append(True, spans.stretch[1:] != spans.stretch[:-1])[: len(begun)])
    first_span = np.full(len(stretches.begin_ms), -1, dtype=np.int64)
    first_span[spans.stretch[leading]] = leading
    links = np.flatnonzero(attached.is_link)
    alone = links[first_span[attached.stretch[links]] < 0]
    links = links[first_span[attached.stretch[links]] >= 0]
    _judge_links(crowd, attached, stretches, links, spans, begun, first_span)
    parts = [spans]
    if before.any():
        earlier, _ = _lay_runs(crowd, attached, stretches, np.flatnonzero(before))
        parts = [*_add_earlier(attached, spans, first_span, earlier), spans]
    if len(alone):
        parts.append(_lay_links(crowd, attached, stretches, alone))
    if len(parts) > 1:
        spans = join_spans(parts)
        spans = spans.keep(np.argsort(spans.stretch, kind="stable"))
    return _merge_adjacent(spans.keep(np.flatnonzero(spans.from_ms < spans.to_ms)))


def join_spans(parts: list[Spans]) -> Spans:
    """Return all intervals of some parts, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    return Spans(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Spans)))


def _lay_runs(crowd: Crowd, attached: Attached, stretches: Stretches, chosen: Array) -> tuple[Spans, Array]:
    """Return an interval for each run of sign-ins of one person in a stretch, and the place of each run's first."""
    stretch, person = attached.stretch[chosen], attached.person[chosen]
    is_first = np.ones(len(chosen), dtype=bool)
    is_first[1:] = stretch[1:] != stretch[:-1]
    begins = is_first.copy()
    begins[1:] |= person[1:] != person[:-1]
    starts = np.flatnonzero(begins)
    begun = chosen[starts]
    end_ms = stretches.end_ms[attached.stretch[begun]]
    is_followed = np.flatnonzero(~is_first[starts[1:]])
    end_ms[is_followed] = attached.time_ms[begun[is_followed + 1]]
    from_ms = attached.time_ms[begun].copy()
    level, proved = np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.uint8)
    if len(starts):
        level = np.maximum.reduceat(crowd.evidences.rows.level[attached.row[chosen]], starts)
        proved = np.maximum.reduceat(attached.is_sure[chosen].astype(np.uint8), starts)
        back_ms = np.minimum.reduceat(_look_back(crowd, attached, stretches, chosen), starts)
        np.minimum(from_ms, back_ms, out=from_ms, where=is_first[starts])
    spans = Spans(
        visitor=attached.visitor[begun],
        person=attached.person[begun],
        from_ms=from_ms,
        to_ms=end_ms,
        level=level,
        provisional=np.zeros(len(begun), dtype=np.uint8),
        proved=proved,
        stretch=attached.stretch[begun],
    )
    return spans, begun


def _add_earlier(attached: Attached, spans: Spans, first_span: Array, earlier: Spans) -> tuple[Spans, Spans]:
    """Return what comes before the first proved evidence of a stretch: the history of whoever is proved first, and the
    intervals that nothing proves. What these leave is given to the first of `spans`. See `_Judge.lay_own`."""
    mixed = np.unique(earlier.stretch)
    first = first_span[mixed]
    solid_ms = np.full(len(first_span), FOR_EVER_MS)
    proved = np.flatnonzero(attached.is_proved & np.isin(attached.stretch, mixed))
    proved = proved[attached.person[proved] == spans.person[first_span[attached.stretch[proved]]]]
    np.minimum.at(solid_ms, attached.stretch[proved], attached.time_ms[proved])
    earlier.to_ms = np.minimum(earlier.to_ms, solid_ms[earlier.stretch])
    earlier = earlier.keep(np.flatnonzero(earlier.from_ms < earlier.to_ms))
    while True:
        is_last = np.append(earlier.stretch[1:] != earlier.stretch[:-1], True)[: len(earlier.stretch)]
        joins = is_last & (earlier.person == spans.person[first_span[earlier.stretch]])
        if not joins.any():
            break
        solid_ms[earlier.stretch[joins]] = earlier.from_ms[joins]
        earlier = earlier.keep(np.flatnonzero(~joins))
    left, leading = np.unique(earlier.stretch, return_index=True)
    history = spans.keep(first_span[left])
    history.to_ms = earlier.from_ms[leading]
    spans.from_ms[first] = np.minimum(spans.from_ms[first], solid_ms[mixed])
    spans.from_ms[first_span[left]] = solid_ms[left]
    return history, earlier


def find_switches(crowd: Crowd, attached: Attached, spans: Spans) -> list[Merges]:
    """Return the merge log's entries for visitors that went from one person to another."""
    later = np.flatnonzero(spans.visitor[1:] == spans.visitor[:-1]) + 1
    later = later[spans.person[later] != spans.person[later - 1]]
    if not len(later):
        return []
    # The evidence that begins an interval: a link goes before a sign-in of the same moment.
    wanted = np.zeros(len(crowd.evidences.keys.kind), dtype=bool)
    wanted[spans.visitor[later]] = True
    some = attached.keep(np.flatnonzero(wanted[attached.visitor]))
    reason: dict[tuple[int, int, int], int] = {}
    for turn in range(3):
        chosen = some.keep(np.flatnonzero(some.turn == turn))
        told = (chosen.visitor.tolist(), chosen.time_ms.tolist(), chosen.person.tolist())
        for name, row in zip(zip(*told, strict=True), chosen.row.tolist(), strict=True):
            reason.setdefault(name, row)
    names = zip(spans.visitor[later].tolist(), spans.from_ms[later].tolist(), spans.person[later].tolist(), strict=True)
    row = np.array([reason.get(name, -1) for name in names], dtype=np.int64)
    later, row = later[row >= 0], row[row >= 0]
    a, b = spans.visitor[later], crowd.evidences.rows.b[row]
    return [Merges("switch", row, spans.from_ms[later], a, b, spans.person[later], spans.person[later - 1])]


def _find_first_proved(attached: Attached, stretches: int) -> Array:
    """Return the place of each stretch's first proved evidence; beyond all places where there is none."""
    places = np.flatnonzero(attached.is_proved)[::-1]
    first = np.full(stretches, len(attached.row), dtype=np.int64)
    first[attached.stretch[places]] = places
    return first


def _note_unproved(crowd: Crowd, attached: Attached, stale: Array, first: Array) -> None:
    """Note sign-ins without proof that name another than who was proved last."""
    if not len(stale):
        return
    place = np.arange(len(attached.row))
    last = np.maximum.accumulate(np.where(~attached.is_link & attached.is_proved, place, -1))[stale]
    holder = np.where((last >= 0) & (attached.stretch[last] == attached.stretch[stale]), last, first[stale])
    other = attached.person[holder] != attached.person[stale]
    _note(crowd, attached, stale[other], GuardReason.UNPROVED, attached.person[holder[other]])


def _judge_links(
    crowd: Crowd,
    attached: Attached,
    stretches: Stretches,
    links: Array,
    spans: Spans,
    begun: Array,
    first_span: Array,
) -> None:
    """Judge links where somebody signs in: those before give history to the same person, others count for nothing."""
    first = first_span[attached.stretch[links]]
    if not len(links):
        return
    is_before = links < begun[first]
    there = spans.person[np.where(is_before, first, np.searchsorted(begun, links, side="right") - 1)]
    agrees = attached.person[links] == there
    confirmed = links[is_before & agrees]
    start_ms = _start_links(crowd, attached, stretches, confirmed)
    np.minimum.at(spans.from_ms, first[is_before & agrees], start_ms)
    for chosen, reason in ((is_before, GuardReason.FORWARDED), (~is_before, GuardReason.OTHER_CUSTOMER)):
        refused = chosen & ~agrees
        _note(crowd, attached, links[refused], reason, there[refused])


def _lay_links(crowd: Crowd, attached: Attached, stretches: Stretches, links: Array) -> Spans:
    """Return the intervals of stretches in which nobody signs in: the first link's person, a sure one before all."""
    stretch = attached.stretch[links]
    first = np.full(len(stretches.begin_ms), -1, dtype=np.int64)
    for is_sure in (False, True):
        some = links[attached.is_sure[links] == is_sure][::-1]
        first[attached.stretch[some]] = some
    leading = np.unique(first[stretch])
    span_of = np.zeros(len(first), dtype=np.int64)
    span_of[attached.stretch[leading]] = np.arange(len(leading))
    leader = first[stretch]
    same = attached.person[links] == attached.person[leader]
    counted = same & (attached.is_sure[links] == attached.is_sure[leader])
    from_ms = attached.time_ms[leading].copy()
    start_ms = _start_links(crowd, attached, stretches, links[counted])
    np.minimum.at(from_ms, span_of[stretch[counted]], start_ms)
    is_stranger = attached.is_sure[leader] != attached.is_sure[links]
    for chosen, reason in ((is_stranger, GuardReason.UNPROVED), (~is_stranger, GuardReason.OTHER_CUSTOMER)):
        refused = chosen & ~same
        _note(crowd, attached, links[refused], reason, attached.person[leader[refused]])
    return Spans(
        visitor=attached.visitor[leading],
        person=attached.person[leading],
        from_ms=from_ms,
        to_ms=stretches.end_ms[attached.stretch[leading]],
        level=crowd.evidences.rows.level[attached.row[leading]],
        provisional=np.ones(len(leading), dtype=np.uint8),
        proved=attached.is_sure[leading].astype(np.uint8),
        stretch=attached.stretch[leading],
    )


def _look_back(crowd: Crowd, attached: Attached, stretches: Stretches, places: Array) -> Array:
    at_ms = attached.time_ms[places]
    back_ms = np.maximum(stretches.begin_ms[attached.stretch[places]], at_ms - crowd.policy.look_back_ms)
    back_ms = np.minimum(at_ms, back_ms)
    found: Array = np.where(has_proof(attached.proof[places], OF_BROWSER), back_ms, at_ms)
    return found


def _start_links(crowd: Crowd, attached: Attached, stretches: Stretches, links: Array) -> Array:
    at_ms, started_ms = attached.time_ms[links], attached.started_ms[links]
    earliest_ms = np.maximum(stretches.begin_ms[attached.stretch[links]], at_ms - crowd.policy.max_session_ms)
    has_session = has_proof(attached.proof[links], OF_BROWSER) & (started_ms > 0) & (started_ms < at_ms)
    found: Array = np.where(has_session, np.maximum(earliest_ms, started_ms), at_ms)
    return found


def _note(crowd: Crowd, attached: Attached, places: Array, reason: GuardReason, against: Array) -> None:
    if len(places):
        crowd.evidences.notes.append(note(attached.row[places], reason, attached.person[places], against))


def _merge_adjacent(spans: Spans) -> Spans:
    """Put together what touches and says the same."""
    begins = np.ones(len(spans.visitor), dtype=bool)
    begins[1:] = spans.from_ms[1:] != spans.to_ms[:-1]
    for values in (spans.visitor, spans.person, spans.level, spans.provisional, spans.proved):
        begins[1:] |= values[1:] != values[:-1]
    merged = spans.keep(np.flatnonzero(begins))
    merged.to_ms = spans.to_ms[np.append(np.flatnonzero(begins)[1:], len(begins)) - 1] if len(begins) else spans.to_ms
    return merged
