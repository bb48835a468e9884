"""Evidence: one observation that two identifiers belong together, as it stands in the store.

Evidence is the only state of identity: append-only rows, taken back by a row with the same `evidence_id` and
`op = -1`. An identifier is named by its own person id (`a_key`, `b_key`): a keyed hash of space, kind and value, so
that equal identifiers have equal keys and nothing else does.

Invariants: what stands is a function of the set of rows. A repeated row counts once, a row taken back counts never,
whichever came first, and the time of arrival is looked at by nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from collector.event import NIL_ID, EvidenceRow
from collector.identity.identifiers import VISITOR_KIND

RESET = "reset"
LINK = "link"
HANDOVER = "handover"
"""`a` is the visitor that arrived, `b` the one that left another domain; the session is that of the one that left."""

DISOWN = "disown"
"""Whoever sits at a visitor says that it is not the customer a tagged link has named. `a` and `b` are the visitor,
`token_id` is the customer key's own person id: only the edge writes it, from the cookie that carried it."""

CLAIMED = 1
LINKED = 2
SIGNED = 3
SERVER = 4

TRUSTED_PROOFS = frozenset({"cookie", "server"})
"""Of whoever says something about a visitor: that it is theirs, and not only that they know its id."""
SURE_PROOFS = TRUSTED_PROOFS | {"fresh"}
"""The same, or the cookie was theirs for the asking: see `accept.evidence.FRESH`. As good for what it gives; but in a
browser that takes no cookies nothing later is as good, so it keeps nobody else out."""
REQUEST_CHARS = 18
"""How much of the id of evidence that is not proved names its request: the first half of a UUID, its dash left out."""


class Evidence(EvidenceRow, kw_only=True):
    """One row of `identity_evidence`: what the edge wrote, and the way by which it came. Ids are UUID text.

    Never changed after it was read.
    """

    space_id: str = ""
    site_id: str = ""
    received_at_ms: int = 0
    batch_host: str = ""
    batch_seq: int = 0

    @property
    def order(self) -> tuple[int, str, str]:
        """Return the place in time: the tag's time, then its event id (made in order), then the evidence's own id."""
        return (self.time_ms, self.event_id, self.evidence_id)

    @property
    def is_join(self) -> bool:
        """Whether it may tie anything: level 2 or more, and no sign-out. All else is a hint or a boundary."""
        return self.level >= LINKED and self.kind != RESET

    def turn_visitor_first(self) -> Evidence:
        """Return it with the visitor as `a`, where only `b` is one: direction means nothing but to a reset."""
        if self.kind == RESET or self.a_kind == VISITOR_KIND or self.b_kind != VISITOR_KIND:
            return self
        return msgspec.structs.replace(
            self,
            a_kind=self.b_kind,
            a_value=self.b_value,
            a_key=self.b_key,
            b_kind=self.a_kind,
            b_value=self.a_value,
            b_key=self.a_key,
        )


# What `resolve` looks at, but for values: they follow from kinds and keys.
_CONTENT = (
    *("kind", "level", "a_kind", "a_key", "b_kind", "b_key", "proof", "time_ms", "session_id", "session_started_ms"),
    *("event_id", "token_id", "human", "site_id"),
)


def read_content(row: Evidence) -> tuple[object, ...]:
    """Return what a row says, without how it came: to choose between two that share an id."""
    return tuple(getattr(row, name) for name in _CONTENT)


def name_row(row: Evidence) -> tuple[object, ...]:
    """Return what two rows share only where one of them may be left out."""
    return (row.evidence_id, row.op, *read_content(row))


def keep_standing(rows: Iterable[Evidence]) -> list[Evidence]:
    """Return what stands of the rows, each piece of evidence once, in order of time.

    Where two rows share an id and differ (of honest writers a retry does, in what its arrival gave it: its proof, or
    the time that unproved evidence begins), the smaller content stands. Only content counts that `resolve` looks at,
    so that whoever reads no more of the evidence comes to the same. The table keeps both: all content is in its order,
    so that it replaces only what says the same.
    """
    taken_back: set[str] = set()
    standing: dict[str, Evidence] = {}
    for row in rows:
        if row.op < 0:
            taken_back.add(row.evidence_id)
            continue
        other = standing.get(row.evidence_id)
        if other is None or read_content(row) < read_content(other):
            standing[row.evidence_id] = row
    kept = [row.turn_visitor_first() for key, row in standing.items() if key not in taken_back]
    return sorted(kept, key=lambda row: row.order)


def name_request(row: Evidence) -> str:
    """Return what all evidence of one request shares: the event that carried it, else the evidence's own id.

    Where no cookie and no server proves the visitor, others may know its id and the event's. There the request is
    what the edge has seen together as well, which the first half of the evidence's id names.
    """
    if row.event_id == NIL_ID:
        return row.evidence_id
    return row.event_id if row.proof in TRUSTED_PROOFS else f"{row.event_id}|{row.evidence_id[:REQUEST_CHARS]}"
