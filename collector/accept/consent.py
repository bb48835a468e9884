"""Step `consent`: what was consented to, and everything else taken out.

Runs before any step that derives something. What a page has said (`c` on the wire) is read by the site's preset,
see `purposes`; what its visitor has refused on our own page counts before that. Without analytics nothing of the beacon
is kept but the count of it, and on a cookieless site nothing that was read on the device: no id, no session, no
identifier, no fact about the browser but what every request says. `purposes.SWITCHES` has the whole table.
"""

from __future__ import annotations

from collector.accept.answers import withdraw
from collector.accept.day_visitor import find_day_visitor
from collector.accept.visitor import drop_sent_cookies
from collector.event import NIL_ID, Beacon, Context, Rejected, WireEvent
from collector.purposes import COOKIELESS, Purpose, find_purposes, name_purposes, read_refused
from collector.reasons import Reason
from collector.sites.cookies import REFUSED

IDENTIFY = "identify"
NAMES_SOMEBODY = frozenset((IDENTIFY, "alias", "group"))
"""Events that say nothing without identifiers."""

NEEDS_DEVICE = frozenset(("reset", "link_confirm", "fingerprint"))
"""Events that say nothing where nothing is kept on the device."""


def consent(beacon: Beacon, context: Context) -> Beacon | Rejected:
    """Keep what was consented to. Fills in the purposes."""
    envelope, preset = beacon.envelope, beacon.site.consent
    letters = envelope.consent
    purposes = find_purposes(letters, preset, context.gpc)
    if REFUSED in context.cookies:
        purposes -= read_refused(context.cookies[REFUSED])
    if Purpose.ANALYTICS not in purposes:
        if envelope.consent is not None and context.origin:  # somebody was asked, and did not grant it
            drop_sent_cookies(beacon, context)
            withdraw(beacon, context)
        if preset != COOKIELESS or beacon.withdrawals:
            return Rejected(Reason.CONSENT)
        purposes = frozenset()
        _make_cookieless(beacon, context)
    beacon.purposes = purposes
    beacon.row.consent = name_purposes(purposes)
    if Purpose.FINGERPRINT not in purposes and envelope.fingerprint is not None:
        envelope.fingerprint = None
        beacon.rejected.append(Rejected(Reason.CONSENT, field="f"))
    if Purpose.IDENTITY not in purposes:
        _forget_identity(beacon)
    return beacon


def _forget_identity(beacon: Beacon) -> None:
    """Take identifiers and hand-over away, and the events that say nothing without them. Of a tagged link the campaign
    may still be counted: see `accept.links`."""
    envelope = beacon.envelope
    if envelope.handover:
        envelope.handover = ""
        beacon.rejected.append(Rejected(Reason.CONSENT, field="ho"))
    envelope.wants_handover = 0
    kept: list[WireEvent] = []
    for event in envelope.events:
        if event.identifiers or event.name in NAMES_SOMEBODY:
            event.identifiers = []
            beacon.rejected.append(Rejected(Reason.CONSENT, field="e.k", event_id=event.id))
        if event.name not in NAMES_SOMEBODY:
            kept.append(event)
    envelope.events = kept


def _make_cookieless(beacon: Beacon, context: Context) -> None:
    """Make it a beacon of today's visitor. What only the device can have said goes; an honest tag has not sent it."""
    envelope, row = beacon.envelope, beacon.row
    beacon.is_cookieless = True
    sent = (
        *(("d", envelope.visitor_id), ("rf", envelope.reset_from), ("x", envelope.session)),
        *(("lt", envelope.link_token), ("hs", envelope.human)),
    )
    read = (("l", row.language), ("z", row.time_zone), ("w", row.viewport))
    beacon.rejected += (Rejected(Reason.CONSENT, field=field) for field, value in (*sent, *read) if value)
    envelope.visitor_id = envelope.reset_from = envelope.link_token = envelope.human = ""
    envelope.session = None
    row.language = row.time_zone = row.viewport = ""
    row.session_id, row.session_number, row.session_started_ms = NIL_ID, 0, 0
    row.reset_from = NIL_ID
    row.visitor_id = find_day_visitor(row.site_id, context)
    row.visitor_proof = "none" if row.visitor_id == NIL_ID else COOKIELESS
    kept: list[WireEvent] = []
    for event in envelope.events:
        if event.name in NEEDS_DEVICE:
            beacon.rejected.append(Rejected(Reason.CONSENT, field="e.n", event_id=event.id))
        else:
            kept.append(event)
    envelope.events = kept
