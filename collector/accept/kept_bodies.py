"""What is kept of a refused beacon, so that `tagstitch replay` can send it again after a fix. No I/O.

Kept is what the steps would have made of it, never the body: consent was read and allows analytics, what was not
consented to is gone, addresses and texts are minimised, browser and network are recognised and the rest of the request
forgotten. Not kept, whatever the settings say:

    undecodable bodies, and versions of the wire that we do not know: nobody can read a consent in them
    whatever was refused for consent, an objection, a network or a site that is switched off
    events without an id: sent again, they would become two
    device signals and hand-overs: they belong to their moment

Where the site or its page is not known, the site's preset cannot speak for the visitor: only a consent that the page
has said itself counts there.
"""

from __future__ import annotations

import re

import msgspec

from collector.accept.consent import NAMES_SOMEBODY, consent
from collector.accept.decode import decode
from collector.accept.minimise import minimise
from collector.accept.pipeline import Accepted, Refused
from collector.accept.recognise import recognise
from collector.accept.validate import clean_id, is_in_networks
from collector.event import NIL_ID, WIRE_VERSION, Beacon, Context, Envelope, LandingRow, Rejected, WireEvent
from collector.purposes import PURPOSE_BY_LETTER, Purpose, read_purposes
from collector.reasons import Reason
from collector.sites.book import Site
from collector.sites.cookies import OPT_OUT

FORMAT = 1
MAX_KEPT_BYTES = 262_144
WHOLE = frozenset((Reason.SITE, Reason.ORIGIN, Reason.COUNT))
"""Refusals of a whole beacon after which a fix may make it acceptable."""
SINGLE = frozenset((Reason.CLOCK, Reason.SIZE, Reason.SHAPE, Reason.UNSIGNED, Reason.SIGNATURE))
"""The same of one event. The last three: an event that names somebody, none of whose identifiers stood."""
KEPT_REASONS = WHOLE | SINGLE

_SITE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_WORD = re.compile(r"[A-Za-z0-9_+/-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9_.=-]{1,1024}")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:-]{1,255}")
_LETTERS = {purpose: letter for letter, purpose in PURPOSE_BY_LETTER.items()}
_NOWHERE = Site(site_id="", space_id="", consent="required")


class KeptFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the request said, as the landing row has it."""

    country: str = ""
    network: str = ""
    browser: str = ""
    browser_version: str = ""
    os: str = ""
    os_version: str = ""
    device: str = ""
    is_bot: int = 0
    bot_reason: str = ""


class KeptBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """One refused beacon, or the refused events of one that was accepted, reduced."""

    received_at_ms: int
    reason: Reason  # the first of its events'
    envelope: Envelope
    facts: KeptFacts
    origin: str = ""
    secure: bool = False
    visitor_proof: str = ""  # how the visitor was proved when it came; "" where that was not looked at
    format: int = FORMAT


def make_kept(body: bytes, context: Context, outcome: Accepted | Refused, keep_days: int = 0) -> KeptBody | None:
    """Return what may be kept of the body, given what became of it; None where nothing may, or nothing is refused.

    `keep_days`: how long it would be kept. A site that keeps its events for less has nothing kept.
    """
    if isinstance(outcome, Refused):
        reasons, row = {NIL_ID: outcome.rejected}, None
        if outcome.rejected.reason not in WHOLE:
            return None
    else:
        reasons = {rejected.event_id: rejected for rejected in outcome.rejected if rejected.reason in SINGLE}
        reasons.pop(NIL_ID, None)
        reasons.pop("", None)
        if not reasons:
            return None
        row = msgspec.json.decode(outcome.line, type=LandingRow)
    beacon = _read(body, context)
    if beacon is None:
        return None
    known = context.sites.find_site(beacon.envelope.site_id)
    if known is not None and not _may_keep(known, context, keep_days):
        return None
    is_ours = known is not None and (row is not None or context.origin in known.origins)
    beacon.site = known if known is not None and is_ours else _NOWHERE
    if row is not None:
        landed = {event.event_id for event in row.events}
        beacon.envelope.events = [
            event for event in beacon.envelope.events if _is_refused(event, reasons.get(event.id), landed)
        ]
        beacon.envelope.visitor_id = row.visitor_id if row.visitor_id != NIL_ID else ""
    if Purpose.ANALYTICS not in read_purposes(beacon.envelope.consent, beacon.site.consent):
        return None
    if not _reduce(beacon, context):
        return None
    first = next(iter(reasons.values())) if row is None else reasons[beacon.envelope.events[0].id]
    kept = KeptBody(
        received_at_ms=context.received_at_ms,
        reason=first.reason,
        envelope=beacon.envelope,
        facts=KeptFacts(**{name: getattr(row or beacon.row, name) for name in KeptFacts.__struct_fields__}),
        origin=context.origin if _ORIGIN.fullmatch(context.origin) else "",
        secure=context.secure,
        visitor_proof=row.visitor_proof if row is not None else "",
    )
    return kept if len(encode_kept(kept)) <= MAX_KEPT_BYTES else None


def encode_kept(kept: KeptBody) -> bytes:
    """Return it as JSON without a newline."""
    return msgspec.json.encode(kept)


def decode_kept(data: bytes) -> KeptBody | None:
    """Read it again; None where another version has written it."""
    try:
        kept = msgspec.json.decode(data, type=KeptBody)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return kept if kept.format == FORMAT else None


def _read(body: bytes, context: Context) -> Beacon | None:
    """Decode anew: the steps change the envelope, and what they refused is not in it any more."""
    beacon = Beacon(
        body=body,
        envelope=Envelope(version=WIRE_VERSION, site_id="", sent_at_ms=0, events=[]),
        row=LandingRow(received_at_ms=context.received_at_ms, site_id="", space_id=""),
        site=_NOWHERE,
    )
    if isinstance(decode(beacon, context), Rejected):
        return None
    envelope = beacon.envelope
    if envelope.version != WIRE_VERSION or not _SITE_ID.fullmatch(envelope.site_id):
        return None
    envelope.events = [event for event in envelope.events if _settle_id(event)]
    return beacon


def _settle_id(event: WireEvent) -> bool:
    event_id = clean_id(event.id)
    event.id = event_id or ""
    return event_id is not None


def _may_keep(site: Site, context: Context, keep_days: int) -> bool:
    """Whether this site and this network are ones of which anything is kept, and for so long."""
    is_excluded = bool(site.excluded_networks) and is_in_networks(context.address, site.excluded_networks)
    is_long_enough = not site.keep_days or site.keep_days >= keep_days
    return site.tag and not site.deleted and not is_excluded and is_long_enough


def _is_refused(event: WireEvent, rejected: Rejected | None, landed: set[str]) -> bool:
    if rejected is None or event.id in landed:
        return False
    return rejected.reason in (Reason.CLOCK, Reason.SIZE) or event.name in NAMES_SOMEBODY


def _reduce(beacon: Beacon, context: Context) -> bool:
    """Take everything out that may not be kept. Returns whether anything is left."""
    envelope = beacon.envelope
    if context.cookies.get(OPT_OUT) == "1":
        return False
    if isinstance(consent(beacon, context), Rejected) or not envelope.events:
        return False
    minimise(beacon, context)
    recognise(beacon, context)
    envelope.consent = "".join(sorted(_LETTERS[purpose] for purpose in beacon.purposes))
    envelope.visitor_id = clean_id(envelope.visitor_id) or ""
    envelope.reset_from = clean_id(envelope.reset_from) or ""
    for name in ("language", "time_zone", "viewport", "human"):
        if not _WORD.fullmatch(getattr(envelope, name)):
            setattr(envelope, name, "")
    # A link's token says whose link it was: without consent to identity the steps may count it, and nobody may keep it.
    if Purpose.IDENTITY not in beacon.purposes or not _TOKEN.fullmatch(envelope.link_token):
        envelope.link_token = envelope.human = ""
    if envelope.session is not None and clean_id(envelope.session.id) is None:
        envelope.session = None
    envelope.fingerprint = None
    envelope.handover, envelope.wants_handover = "", 0
    return True
