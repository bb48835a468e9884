"""Intervals: to whom one visitor belongs, and from when to when.

A visitor's time is cut at every sign-out into stretches; nothing is attributed across a cut. Within a stretch the
first person who signs in also gets the anonymous history before, as far as the look-back reaches and only where the
visitor's cookie proved that it is theirs. Another person's sign-in begins another interval. A tagged link attaches
where nobody else is, from the click's session on, provisionally: a later sign-in in the same stretch confirms it
(same person) or withdraws it (another).

On a shared device only signed sessions count: from a sign-in to half an hour after the last one of that session.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from collector.event import NIL_ID
from collector.identity.evidence import Evidence
from collector.identity.guards import GuardEntry, GuardReason, note
from collector.identity.people import is_shared
from collector.identity.policy import Policy

BEGINNING_MS = 0


class Attachment(NamedTuple):
    """Evidence that a visitor is a person. `person`: any mark that is equal for equal people."""

    order: tuple[int, str, str]
    person: str
    is_link: bool
    row: Evidence

    @property
    def at_ms(self) -> int:
        """When it was seen."""
        return self.row.time_ms


class Boundary(NamedTuple):
    """A sign-out on a visitor. `closes`: the visitor id lives on, so that whoever was there is gone from here on."""

    order: tuple[int, str, str]
    closes: bool

    @property
    def at_ms(self) -> int:
        """When it was seen."""
        return self.order[0]


@dataclass(slots=True)
class Interval:
    """A visitor belongs to a person from `from_ms` (included) to `to_ms` (excluded; None: for ever)."""

    from_ms: int
    to_ms: int | None
    person: str
    level: int
    provisional: bool = False


def count_cuts(boundaries: Sequence[Boundary], order: tuple[int, str, str]) -> int:
    """Return how many sign-outs came before a place in time. `boundaries`: in order."""
    return bisect_right(boundaries, order, key=lambda boundary: boundary.order)


def lay_out(
    attachments: Sequence[Attachment],
    boundaries: Sequence[Boundary],
    policy: Policy,
    notes: list[GuardEntry],
    name_person: Callable[[str], str],
) -> list[Interval]:
    """Return the intervals of one visitor, in order and apart from each other.

    `attachments` and `boundaries`: in order. `name_person`: the person id of a mark, for the notes.
    """
    shared = is_shared(((a.at_ms, a.person) for a in attachments if not a.is_link), policy)
    stretches: list[list[Attachment]] = [[] for _ in range(len(boundaries) + 1)]
    for attachment in attachments:
        stretches[count_cuts(boundaries, attachment.order)].append(attachment)

    judge = _Judge(policy, notes, name_person)
    intervals: list[Interval] = []
    for place in reversed(range(len(stretches))):
        begin_ms = boundaries[place - 1].at_ms if place else BEGINNING_MS
        end_ms = None
        if place < len(boundaries) and (intervals or boundaries[place].closes):
            end_ms = boundaries[place].at_ms
        lay = judge.lay_shared if shared else judge.lay_stretch
        intervals[:0] = [i for i in lay(stretches[place], begin_ms) if _cut(i, end_ms)]
    return _merge_adjacent(intervals)


class _Judge(NamedTuple):
    """Lays out one stretch at a time; the last interval of each is left open."""

    policy: Policy
    notes: list[GuardEntry]
    name_person: Callable[[str], str]

    def lay_stretch(self, attachments: Sequence[Attachment], begin_ms: int) -> list[Interval]:
        """Lay out a stretch of a visitor that is no shared device."""
        signed = [a for a in attachments if not a.is_link]
        links = [a for a in attachments if a.is_link]
        if not signed:
            return self._lay_links(links, begin_ms)

        intervals: list[Interval] = []
        starts: list[tuple[int, str, str]] = []
        for attachment in signed:
            if not intervals or intervals[-1].person != attachment.person:
                if intervals:
                    intervals[-1].to_ms = attachment.at_ms
                starts.append(attachment.order)
                intervals.append(Interval(attachment.at_ms, None, attachment.person, attachment.row.level))
            last = intervals[-1]
            last.level = max(last.level, attachment.row.level)
            if len(intervals) == 1:
                last.from_ms = min(last.from_ms, self._look_back(attachment, begin_ms))

        first = intervals[0]
        for link in links:
            if link.order < starts[0]:
                if link.person == first.person:
                    first.from_ms = min(first.from_ms, self._start_link(link, begin_ms))
                else:
                    self._note(link, GuardReason.FORWARDED, first.person)
            else:
                there = intervals[bisect_right(starts, link.order) - 1].person
                if there != link.person:
                    self._note(link, GuardReason.OTHER_CUSTOMER, there)
        return intervals

    def _lay_links(self, links: Sequence[Attachment], begin_ms: int) -> list[Interval]:
        """Lay out a stretch in which nobody signs in: the first link's person, until we know better."""
        interval: Interval | None = None
        for link in links:
            if interval is None:
                interval = Interval(self._start_link(link, begin_ms), None, link.person, link.row.level, True)
            elif interval.person == link.person:
                interval.from_ms = min(interval.from_ms, self._start_link(link, begin_ms))
            else:
                self._note(link, GuardReason.OTHER_CUSTOMER, interval.person)
        return [] if interval is None else [interval]

    def lay_shared(self, attachments: Sequence[Attachment], begin_ms: int) -> list[Interval]:
        """Lay out a stretch of a shared device."""
        intervals: list[Interval] = []
        session = NIL_ID
        for attachment in attachments:
            if attachment.is_link:
                self._note(attachment, GuardReason.SHARED_DEVICE)
                continue
            end_ms = attachment.at_ms + self.policy.session_ms
            last = intervals[-1] if intervals else None
            same_session = attachment.row.session_id == session != NIL_ID
            if last is not None and last.person == attachment.person and same_session:
                last.to_ms = end_ms
                last.level = max(last.level, attachment.row.level)
                continue
            if last is not None:
                _cut(last, attachment.at_ms)
            session = attachment.row.session_id
            intervals.append(Interval(attachment.at_ms, end_ms, attachment.person, attachment.row.level))
        return intervals

    def _look_back(self, attachment: Attachment, begin_ms: int) -> int:
        if attachment.row.proof != "cookie":
            return attachment.at_ms
        return min(attachment.at_ms, max(begin_ms, attachment.at_ms - self.policy.look_back_ms))

    def _start_link(self, link: Attachment, begin_ms: int) -> int:
        started_ms = link.row.session_started_ms
        if link.row.proof != "cookie" or not 0 < started_ms < link.at_ms:
            return link.at_ms
        return max(begin_ms, started_ms, link.at_ms - self.policy.max_session_ms)

    def _note(self, link: Attachment, reason: GuardReason, against: str | None = None) -> None:
        other = NIL_ID if against is None else self.name_person(against)
        self.notes.append(note(link.row, reason, self.name_person(link.person), other))


def _cut(interval: Interval, end_ms: int | None) -> bool:
    """End an interval where something else begins. Returns whether anything is left of it."""
    if end_ms is not None and (interval.to_ms is None or interval.to_ms > end_ms):
        interval.to_ms = end_ms
    return interval.to_ms is None or interval.from_ms < interval.to_ms


def _merge_adjacent(intervals: Sequence[Interval]) -> list[Interval]:
    """Put together what touches and says the same."""
    merged: list[Interval] = []
    for interval in intervals:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.to_ms == interval.from_ms
            and (last.person, last.level, last.provisional) == (interval.person, interval.level, interval.provisional)
        ):
            last.to_ms = interval.to_ms
        else:
            merged.append(interval)
    return merged
