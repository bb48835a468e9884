"""Intervals: to whom one visitor belongs, and from when to when.

A visitor's time is cut at every sign-out into stretches; nothing is attributed across a cut. Within a stretch the
first person who signs in also gets the anonymous history before, as far as the look-back reaches and only where the
visitor's cookie proved that it is theirs. Another person's sign-in begins another interval. A tagged link attaches
where nobody else is, from the click's session on, provisionally: a later sign-in in the same stretch confirms it
(same person) or withdraws it (another).

Whoever knows a visitor id can name it in a sign-in of their own. So from the first evidence on that the visitor's
cookie (or a server) proves, nothing else counts in that stretch: what is unproved and names another person is refused
with a note. What came before keeps its interval, and where that is unproved it is marked as such: readers give it only
those events that nothing proves either. Where nothing is ever proved, as in a browser without cookies, people take
turns as elsewhere. The first beacon of a new visitor has no cookie yet: the proof `fresh`, that its answer sets it.

On a shared device only signed sessions count: from a sign-in to half an hour after the last one of that session.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from collector.event import NIL_ID
from collector.identity.evidence import SURE_PROOFS, TRUSTED_PROOFS, Evidence
from collector.identity.guards import GuardEntry, GuardReason, note
from collector.identity.people import is_shared
from collector.identity.policy import Policy

BEGINNING_MS = 0
OF_BROWSER = SURE_PROOFS - {"server"}
"""Only the browser itself can say that its history is theirs: a server names a visitor, and does not see it."""


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

    @property
    def is_proved(self) -> bool:
        """Whether it came from who has the visitor, not only from who knows its id: then it keeps others out."""
        return self.row.proof in TRUSTED_PROOFS

    @property
    def is_sure(self) -> bool:
        """Whether it is proved, or as good as that."""
        return self.row.proof in SURE_PROOFS


class Boundary(NamedTuple):
    """A sign-out on a visitor."""

    order: tuple[int, str, str]
    row: Evidence

    @property
    def at_ms(self) -> int:
        """When it was seen."""
        return self.order[0]

    @property
    def closes(self) -> bool:
        """Whether the visitor id lives on, so that whoever was there is gone from here on."""
        return self.row.a_key == self.row.b_key

    @property
    def is_proved(self) -> bool:
        """Whether it came from who has the visitor."""
        return self.row.proof in TRUSTED_PROOFS


@dataclass(slots=True)
class Interval:
    """A visitor belongs to a person from `from_ms` (included) to `to_ms` (excluded; None: for ever).

    `proved`: some evidence for it is."""

    from_ms: int
    to_ms: int | None
    person: str
    level: int
    provisional: bool = False
    proved: bool = True


def count_cuts(boundaries: Sequence[Boundary], order: tuple[int, str, str]) -> int:
    """Return how many sign-outs came before a place in time. `boundaries`: in order."""
    return bisect_right(boundaries, order, key=lambda boundary: boundary.order)


def keep_sign_outs(boundaries: Sequence[Boundary], notes: list[GuardEntry], *, is_proved: bool) -> list[Boundary]:
    """Return the sign-outs of a visitor that count: who only knows its id must not end anybody's time on it, nor keep
    its history from whoever signs in next.

    `boundaries`: in order. `is_proved`: some evidence on the visitor is, so that its sign-outs would be.
    """
    if not is_proved:
        return list(boundaries)
    notes += [note(boundary.row, GuardReason.UNPROVED) for boundary in boundaries if not boundary.is_proved]
    return [boundary for boundary in boundaries if boundary.is_proved]


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
    signed = [a for a in attachments if not a.is_link]
    # Strangers must not make a shared device of a visitor by naming its id.
    counted = [a for a in signed if a.is_proved] or signed
    shared = is_shared(((a.at_ms, a.person) for a in counted), policy)
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
        laid = judge.lay_shared(stretches[place]) if shared else judge.lay_own(stretches[place], begin_ms)
        intervals[:0] = [i for i in laid if _cut(i, end_ms)]
    return _merge_adjacent(intervals)


class _Judge(NamedTuple):
    """Lays out one stretch at a time; the last interval of each is left open."""

    policy: Policy
    notes: list[GuardEntry]
    name_person: Callable[[str], str]

    def lay_own(self, attachments: Sequence[Attachment], begin_ms: int) -> list[Interval]:
        """Lay out a stretch of a visitor that is no shared device."""
        before, proved = self._part(attachments)
        intervals = self._lay(proved, begin_ms)
        if not before:
            return intervals
        earlier = self._lay(before, begin_ms)
        if not intervals:
            return earlier
        first = intervals[0]
        solid_ms = min(a.at_ms for a in proved if a.is_proved and a.person == first.person)
        earlier = [i for i in earlier if _cut(i, solid_ms)]
        while earlier and earlier[-1].person == first.person and not first.provisional:
            solid_ms = earlier.pop().from_ms
        if not earlier:
            first.from_ms = min(first.from_ms, solid_ms)
            return intervals
        history = replace(first, to_ms=earlier[0].from_ms)
        first.from_ms = solid_ms
        return [*([history] if _cut(history, None) else []), *earlier, *intervals]

    def lay_shared(self, attachments: Sequence[Attachment]) -> list[Interval]:
        """Lay out a stretch of a shared device."""
        before, proved = self._part(attachments)
        intervals = self._lay_sessions(proved)
        earlier = self._lay_sessions(before)
        return [i for i in earlier if not intervals or _cut(i, intervals[0].from_ms)] + intervals

    def _part(self, attachments: Sequence[Attachment]) -> tuple[list[Attachment], list[Attachment]]:
        """Part a stretch where the first proved evidence is. From there on sign-ins without proof are left out, those
        of another person with a note; links are left in, to be judged with the sign-ins that they meet."""
        first = next((place for place, a in enumerate(attachments) if a.is_proved), len(attachments))
        before, rest = list(attachments[:first]), attachments[first:]
        if all(a.is_link for a in before):
            before, rest = [], attachments
        kept: list[Attachment] = []
        holder: Attachment | None = None
        for attachment in rest:
            if attachment.is_proved and (holder is None or not attachment.is_link):
                holder = attachment
            if attachment.is_proved or attachment.is_link or holder is None:
                kept.append(attachment)
            elif attachment.person != holder.person:
                self._note(attachment, GuardReason.UNPROVED, holder.person)
        return before, kept

    def _lay(self, attachments: Sequence[Attachment], begin_ms: int) -> list[Interval]:
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
                intervals.append(_begin(attachment))
            last = intervals[-1]
            last.level = max(last.level, attachment.row.level)
            last.proved |= attachment.is_sure
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
        """Lay out a stretch in which nobody signs in: the first link's person, until we know better. One that is
        proved goes before those that are not."""
        if not links:
            return []
        first = next((link for link in links if link.is_sure), links[0])
        interval = _begin(first, provisional=True)
        for link in links:
            if link.person == first.person:
                if link.is_sure == first.is_sure:
                    interval.from_ms = min(interval.from_ms, self._start_link(link, begin_ms))
            else:
                reason = GuardReason.OTHER_CUSTOMER if link.is_sure == first.is_sure else GuardReason.UNPROVED
                self._note(link, reason, first.person)
        return [interval]

    def _lay_sessions(self, attachments: Sequence[Attachment]) -> list[Interval]:
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
                last.proved |= attachment.is_sure
                continue
            if last is not None:
                _cut(last, attachment.at_ms)
            session = attachment.row.session_id
            intervals.append(replace(_begin(attachment), to_ms=end_ms))
        return intervals

    def _look_back(self, attachment: Attachment, begin_ms: int) -> int:
        if attachment.row.proof not in OF_BROWSER:
            return attachment.at_ms
        return min(attachment.at_ms, max(begin_ms, attachment.at_ms - self.policy.look_back_ms))

    def _start_link(self, link: Attachment, begin_ms: int) -> int:
        started_ms = link.row.session_started_ms
        if link.row.proof not in OF_BROWSER or not 0 < started_ms < link.at_ms:
            return link.at_ms
        return max(begin_ms, started_ms, link.at_ms - self.policy.max_session_ms)

    def _note(self, link: Attachment, reason: GuardReason, against: str | None = None) -> None:
        other = NIL_ID if against is None else self.name_person(against)
        self.notes.append(note(link.row, reason, self.name_person(link.person), other))


def _begin(attachment: Attachment, *, provisional: bool = False) -> Interval:
    level = attachment.row.level
    return Interval(attachment.at_ms, None, attachment.person, level, provisional, attachment.is_sure)


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
            and (last.person, last.level, last.provisional, last.proved)
            == (interval.person, interval.level, interval.provisional, interval.proved)
        ):
            last.to_ms = interval.to_ms
        else:
            merged.append(interval)
    return merged
