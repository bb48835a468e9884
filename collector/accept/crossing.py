"""Crossing from one domain of an organisation to another: the token for a visitor who is about to leave, and the
evidence of one who has arrived. See docs/adr/0016.

On both sides the visitor must be sure: its cookie came along, or this very answer sets it, which is done for fresh ids
only. So nobody can hand a visitor over, or have one arrive, by knowing its id. The one who arrives must besides

    come from the same address and browser as the one who left, within five minutes      the token's seal
    have been led there by a page of the space: its referrer says so                     no mail, no chat, no other site
    be a person, and not the visitor who left

and what is written then is one piece of evidence between two visitors, of level 2. Nobody's id changes.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from collector.accept.assurance import LINKED
from collector.accept.evidence import add_evidence, hold_to_arrival, make_evidence_id, name_visitor
from collector.event import NIL_ID, Beacon, Context, Rejected, WireEvent
from collector.handover import Handover, mint_handover, read_handover
from collector.identity.evidence import HANDOVER
from collector.reasons import Reason

SOURCE = "link"
"""It came in an address, like a tagged link."""


def give_handover(beacon: Beacon, context: Context) -> None:
    """Put a token into the answer, where the tag has asked for one and this visitor may have it."""
    row = beacon.row
    if not beacon.envelope.wants_handover or not _is_sure(beacon):
        return
    beacon.handover_reply = mint_handover(
        context.keyring,
        beacon.site.space_id,
        row.visitor_id,
        context.address,
        context.user_agent,
        context.received_at_ms // 1000,
        row.session_started_ms // 1000,
    )


def take_handover(beacon: Beacon, context: Context, event: WireEvent) -> None:
    """Note from which visitor this one came. `event`: the beacon's first."""
    found = _read(beacon, context, event)
    if found is None:
        beacon.rejected.append(Rejected(Reason.HANDOVER, field="ho"))
        return
    left = name_visitor(beacon, context, found.visitor_id, LINKED)
    evidence = add_evidence(beacon, event, left, kind=HANDOVER, source=SOURCE)
    evidence.b_unique = 0
    evidence.token_id = found.token_id
    evidence.session_id = NIL_ID
    evidence.session_started_ms = found.session_started_s * 1000
    hold_to_arrival(evidence, context)
    evidence.evidence_id = make_evidence_id(evidence)


def _read(beacon: Beacon, context: Context, event: WireEvent) -> Handover | None:
    if not _is_sure(beacon) or not _is_led_here(beacon, context, event):
        return None
    token = beacon.envelope.handover
    now_s = context.received_at_ms // 1000
    found = read_handover(context.keyring, beacon.site.space_id, token, context.address, context.user_agent, now_s)
    return None if found is None or found.visitor_id == beacon.row.visitor_id else found


def _is_sure(beacon: Beacon) -> bool:
    """Whether the visitor is a person's, and its cookie proves it now or from this answer on."""
    row = beacon.row
    return not row.is_bot and row.visitor_id != NIL_ID and (row.visitor_proof == "cookie" or bool(beacon.set_cookie))


def _is_led_here(beacon: Beacon, context: Context, event: WireEvent) -> bool:
    """Whether the page was opened from a page of the same space."""
    try:
        parts = urlsplit(event.referrer or beacon.envelope.referrer)
    except ValueError:
        return False
    origin = f"{parts.scheme}://{parts.netloc}"
    return any(
        origin in site.origins
        for site in context.sites.sites.values()
        if site.space_id == beacon.site.space_id and not site.deleted
    )
