"""Who was erased begins anew: a visitor gets a successor, and what happened before is not taken in again.

The tag and the cookie of an erased visitor still name it. Its beacons are those of its successor from then on, whose
id follows from the old one; the answer tells the tag and sets the cookie. A customer who was erased has another own
person id since (`identity.identifiers`); what was seen of either before the erasing is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from collector.accept.identifiers import Known
from collector.accept.visitor_cookie import VisitorCookie
from collector.event import NIL_ID, Beacon, Context, Rejected, WireEvent
from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.privacy.tombstones import mark_key, succeed_visitor
from collector.reasons import Reason


def begin_anew(beacon: Beacon, context: Context, cookie: VisitorCookie | None) -> VisitorCookie | Rejected | None:
    """Put its successor in the place of a visitor that was erased. Returns the cookie in force: one that says nothing
    of who was signed in, and is to be set anew; `cookie` itself where nothing of it was erased.

    Rejected where all events are from before. Needs `row.own_person_id`, and fills it in.
    """
    row, space_id, secret = beacon.row, beacon.site.space_id, context.keyring.pseudonym_key
    find = context.sites.tombstones.find_erased_ms
    before = row.visitor_id
    while row.visitor_id != NIL_ID and (erased_ms := find(space_id, mark_key(row.own_person_id))):
        kept = [event for event in beacon.envelope.events if event.time_ms >= erased_ms]
        if not kept:
            return Rejected(Reason.ERASED, field="d")
        gone = len(beacon.envelope.events) - len(kept)
        if gone:
            beacon.rejected.append(Rejected(Reason.ERASED, field="e"))
        beacon.envelope.events = kept
        row.visitor_id = succeed_visitor(secret, row.visitor_id, erased_ms)
        row.own_person_id = own_person_id(secret, space_id, VISITOR_KIND, row.visitor_id)
    if row.reset_from != NIL_ID:
        own = own_person_id(secret, space_id, VISITOR_KIND, row.reset_from)
        if find(space_id, mark_key(own)):
            row.reset_from = NIL_ID
    if row.visitor_id != before:
        beacon.visitor_reply = row.visitor_id
        return None if cookie is None else VisitorCookie(row.visitor_id, 0)
    if cookie is not None and cookie.customer_key != NIL_ID and find(space_id, mark_key(cookie.customer_key)):
        return VisitorCookie(cookie.visitor_id, 0, consent=cookie.consent)
    return cookie


def drop_erased(beacon: Beacon, event: WireEvent, known: Sequence[Known]) -> list[Known]:
    """Return the identifiers of an event without those that were erased after it happened."""
    kept = [identity for identity in known if identity.erased_ms <= event.time_ms]
    if len(kept) < len(known):
        beacon.rejected.append(Rejected(Reason.ERASED, field="e.k", event_id=event.id))
    return kept
