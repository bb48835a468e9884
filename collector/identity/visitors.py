"""Visitors: what attaches each to people, and which of them are one though nobody knows who.

Attachments come from signed requests, from tagged links, and from other visitors that are known. Owns how evidence
between two visitors counts; when an attachment begins and ends is for `intervals`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

from collector.event import NIL_ID
from collector.identity.evidence import HANDOVER, TRUSTED_PROOFS, Evidence
from collector.identity.guards import GuardEntry, GuardReason, note
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.intervals import Attachment, Boundary, Interval, lay_out
from collector.identity.people import MergeEntry, People, Request, is_sign_in
from collector.identity.policy import Policy


@dataclass(slots=True)
class Visitors:
    """The visitors of a component: what attaches them, and which of them are one though nobody knows who."""

    people: People
    policy: Policy
    boundaries: dict[str, list[Boundary]]
    attachments: defaultdict[str, list[Attachment]] = field(default_factory=lambda: defaultdict(list))
    first_ms: dict[str, int] = field(default_factory=dict)
    ties: list[GuardEntry] = field(default_factory=list)
    _groups: dict[str, str] = field(default_factory=dict)

    def attach(self, admitted: Iterable[Evidence], requests: Iterable[Request]) -> None:
        """Attach visitors to the people of their keys: by signed requests, and by tagged links."""
        for row in admitted:
            for kind, key in ((row.a_kind, row.a_key), (row.b_kind, row.b_key)):
                if kind == VISITOR_KIND:
                    began_ms = row.time_ms
                    with_session = row.b_key if row.kind == HANDOVER else row.a_key
                    if key == with_session and row.time_ms - self.policy.max_session_ms <= row.session_started_ms:
                        began_ms = min(began_ms, row.session_started_ms)
                    self.first_ms[key] = min(self.first_ms.get(key, began_ms), began_ms)
            if row.a_kind == VISITOR_KIND and row.b_kind != VISITOR_KIND and not is_sign_in(row):
                mark = self.people.find(row.b_key)
                self.attachments[row.a_key].append(Attachment(row.order, mark, True, row))
        for request in requests:
            mark = self.people.find(request.main.b_key)
            self.attachments[request.visitor].append(Attachment(request.order, mark, False, request.main))

    def tie(self, rows: Iterable[Evidence]) -> None:
        """Tie visitors to each other: a known one gives its customer to one that nobody has at that time; two that
        nobody has become one anonymous person.

        In order of time; then once more back, from the end to the beginning, because whoever goes over three domains
        and signs in on the last is known on the first only by way of the second."""
        unknown = [row for row in rows if not self._give_customer(row)]
        for row in reversed(unknown):
            if not self._give_customer(row):
                self._group(row.a_key, row.b_key)

    def lay_out_all(self, notes: list[GuardEntry], merges: list[MergeEntry]) -> dict[str, list[Interval]]:
        """Return the intervals of every visitor, and note what they refused and each switch."""
        notes += self.ties
        layout = {visitor: self._lay_out(visitor, notes) for visitor in sorted(self.first_ms)}
        for visitor, intervals in layout.items():
            starts = {(a.at_ms, a.person): a for a in reversed(self.attachments[visitor])}
            for earlier, later in pairwise(intervals):
                reason = starts.get((later.from_ms, later.person))
                if earlier.person != later.person and reason is not None:
                    now, before = self.people.person_id(later.person), self.people.person_id(earlier.person)
                    merges.append(
                        MergeEntry(
                            reason.row.evidence_id, "switch", later.from_ms, visitor, reason.row.b_key, now, before
                        )
                    )
        return layout

    def name_group(self, visitor: str) -> str:
        """Return the visitor that gives its id to those that are one with this one: the oldest."""
        root = visitor
        while root in self._groups:
            older = self._groups[root]  # each way is halved, or a chain would be walked again for each of its links
            self._groups[root] = self._groups.get(older, older)
            root = older
        return root

    def _give_customer(self, row: Evidence) -> bool:
        """Tie two visitors of which one is known, or note that both are. Returns whether one was."""
        first = self._find_holder(row.a_key, row, row.proof)
        second = self._find_holder(row.b_key, row, "cookie" if row.kind == HANDOVER else "")
        if first is not None and second is not None:
            if first.person != second.person:
                people = self.people.person_id(second.person), self.people.person_id(first.person)
                self.ties.append(note(row, GuardReason.OTHER_CUSTOMER, *people))
            return True
        known = first or second
        if known is None:
            return False
        visitor = row.a_key if first is None else row.b_key
        there = _see_from(row, visitor, is_known_proved=known.proved)
        self.attachments[visitor].append(Attachment(row.order, known.person, not is_sign_in(row), there))
        return True

    def _group(self, first: str, second: str) -> None:
        older, younger = sorted((self.name_group(first), self.name_group(second)), key=lambda v: (self.first_ms[v], v))
        if older != younger:
            self._groups[younger] = older

    def _lay_out(self, visitor: str, notes: list[GuardEntry]) -> list[Interval]:
        attachments = sorted(self.attachments[visitor], key=lambda a: a.order)
        cuts = self.boundaries.get(visitor, ())
        return lay_out(attachments, cuts, self.policy, notes, self.people.person_id)

    def _find_holder(self, visitor: str, row: Evidence, proof: str) -> Interval | None:
        """Return who has a visitor when it is tied to another. `proof`: of the visitor in the evidence that ties; whom
        nothing proves does not have a visitor that its cookie proves."""
        for interval in self._lay_out(visitor, []):
            if interval.from_ms <= row.time_ms and (interval.to_ms is None or row.time_ms < interval.to_ms):
                return interval if interval.proved or proof not in TRUSTED_PROOFS else None
        return None


def _see_from(row: Evidence, visitor: str, *, is_known_proved: bool) -> Evidence:
    """Return evidence that ties two visitors, with proof and session as they hold for one of them.

    They are those of the visitor that brought it. A hand-over was made for a visitor that its cookie proved, has the
    session that the visitor left, and is taken only from who has the cookie of the one that arrives, or gets it with
    the answer. Nothing is proved by a visitor whose own person is not."""
    proof, keeps_session = row.proof, visitor == row.a_key
    if row.kind == HANDOVER:
        keeps_session = visitor == row.b_key
        proof = "cookie" if keeps_session or proof in TRUSTED_PROOFS else "fresh"
    elif visitor == row.b_key:
        proof = ""
    if not is_known_proved:
        proof = ""
    if keeps_session:
        return msgspec.structs.replace(row, proof=proof)
    return msgspec.structs.replace(row, proof=proof, session_id=NIL_ID, session_started_ms=0)
