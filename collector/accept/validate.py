"""Step `validate`: the site, where the beacon comes from, and whether every field is what it says.

A beacon that is wrong as a whole is refused; an event that is wrong goes alone. Optional facts about the browser
(language, window, session) that make no sense are left out and counted, and cost no event.

Where a beacon may come from: browsers name the page's origin with every POST, so an origin that is not on the
site's list is refused. A request without one (a program, an old proxy) is accepted, but its cookies are not read and
none is set: it can only ever claim a visitor, never prove one.

Who has objected (the opt-out cookie) is refused before anything else of the beacon is looked at, and loses our cookie.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from collector.accept import answers
from collector.accept.bounds import MAX_COUNT, MAX_STRING_CHARS, find_excess, find_flat_types, is_small
from collector.accept.visitor import drop_sent_cookies
from collector.event import NIL_ID, WIRE_VERSION, Beacon, Context, Envelope, Rejected, WireEvent
from collector.identity.identifiers import UUID
from collector.reasons import Reason
from collector.sites.cookies import OPT_OUT

OLDEST_MS = 7 * 86_400_000
NEWEST_MS = 300_000
MAX_OFFSET_MS = 100 * 366 * 86_400_000
LONGEST_SESSION_MS = 2 * 86_400_000

_is_id = UUID.fullmatch
LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,4}")
TIME_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9_+-]{1,31}){0,2}")
_VIEWPORT = re.compile(r"\d{1,5}x\d{1,5}")


def validate(beacon: Beacon, context: Context) -> Beacon | Rejected:
    """Check the envelope, then every event. Fills in the site."""
    envelope = beacon.envelope
    if envelope.version != WIRE_VERSION:
        return Rejected(Reason.VERSION, field="v")
    site = context.sites.find_site(envelope.site_id)
    if site is None:
        return Rejected(Reason.SITE, field="s")
    beacon.site = site
    row = beacon.row
    row.site_id, row.space_id, row.keep_days = site.site_id, site.space_id, site.keep_days
    row.network_days, row.rejected_days = site.network_days, site.rejected_days
    if context.origin and context.origin not in site.origins:
        return Rejected(Reason.ORIGIN)
    if context.cookies.get(OPT_OUT) == "1":
        drop_sent_cookies(beacon, context)
        answers.withdraw(beacon, context, answers.OPT_OUT)
        return Rejected(Reason.OPTED_OUT)
    if not site.tag:
        return Rejected(Reason.OFF)
    if site.excluded_networks and is_in_networks(context.address, site.excluded_networks):
        return Rejected(Reason.EXCLUDED)
    if not 1 <= len(envelope.events) <= context.max_events:
        return Rejected(Reason.COUNT, field="e")
    refused = _check_envelope(envelope)
    if refused:
        return refused
    beacon.row.visitor_id = envelope.visitor_id or NIL_ID
    beacon.row.reset_from = envelope.reset_from or NIL_ID
    _keep_facts(beacon, context)
    _keep_events(beacon, context)
    return beacon


def _check_envelope(envelope: Envelope) -> Rejected | None:
    for field, text in (("u", envelope.url), ("r", envelope.referrer), ("h", envelope.title)):
        if len(text) > MAX_STRING_CHARS:
            return Rejected(Reason.SIZE, field=field)
    if abs(envelope.clock_offset_ms) > MAX_OFFSET_MS:
        return Rejected(Reason.CLOCK, field="o")
    if envelope.visitor_id:
        visitor_id = clean_id(envelope.visitor_id)
        if visitor_id is None:
            return Rejected(Reason.ID, field="d")
        envelope.visitor_id = visitor_id
    if envelope.reset_from:
        reset_from = clean_id(envelope.reset_from)
        if reset_from is None:
            return Rejected(Reason.ID, field="rf")
        envelope.reset_from = reset_from
    return None


def _keep_facts(beacon: Beacon, context: Context) -> None:
    """Take over what the browser said about itself, as far as it has the right form."""
    envelope, row = beacon.envelope, beacon.row
    row.language = _keep_fact(beacon, "l", envelope.language, LANGUAGE)
    row.time_zone = _keep_fact(beacon, "z", envelope.time_zone, TIME_ZONE)
    row.viewport = _keep_fact(beacon, "w", envelope.viewport, _VIEWPORT)
    session = envelope.session
    if session is None:
        return
    session_id = clean_id(session.id)
    if session_id is None or not 0 <= session.number <= MAX_COUNT:
        beacon.rejected.append(Rejected(Reason.ID, field="x"))
        return
    row.session_id, row.session_number = session_id, session.number
    if not session.started_ms:
        return
    started_ms = session.started_ms + envelope.clock_offset_ms
    if -OLDEST_MS - LONGEST_SESSION_MS <= started_ms - context.received_at_ms <= NEWEST_MS:
        row.session_started_ms = started_ms
    else:
        beacon.rejected.append(Rejected(Reason.CLOCK, field="x.t"))


def _keep_fact(beacon: Beacon, field: str, text: str, form: re.Pattern[str]) -> str:
    if not text or form.fullmatch(text):
        return text
    beacon.rejected.append(Rejected(Reason.SHAPE, field=field))
    return ""


def _keep_events(beacon: Beacon, context: Context) -> None:
    envelope = beacon.envelope
    kept: list[WireEvent] = []
    seen = {NIL_ID}
    offset_ms = envelope.clock_offset_ms
    oldest_ms, newest_ms = context.received_at_ms - OLDEST_MS, context.received_at_ms + NEWEST_MS
    is_plain = True
    flat_types = find_flat_types(beacon.body)
    for index, event in enumerate(envelope.events):
        time_ms = event.time_ms + offset_ms
        is_usual = (
            _is_id(event.id)
            and event.id not in seen
            and oldest_ms <= time_ms <= newest_ms
            and is_small(event, flat_types)
        )
        if is_usual and not event.identifiers:
            event.time_ms = time_ms
        else:
            is_plain = is_plain and bool(is_usual)
            refused = _check_event(event, offset_ms, context.received_at_ms, seen) or find_excess(event)
            if refused:
                event_id = clean_id(event.id) or NIL_ID
                rejected = Rejected(refused.reason, field=f"e[{index}].{refused.field}", event_id=event_id)
                beacon.rejected.append(rejected)
                continue
        seen.add(event.id)
        kept.append(event)
    envelope.events = kept
    beacon.is_plain = is_plain


def _check_event(event: WireEvent, offset_ms: int, received_at_ms: int, seen: set[str]) -> Rejected | None:
    """Check id and time; both are brought into their final form."""
    event_id = clean_id(event.id)
    if event_id is None or event_id in seen:
        return Rejected(Reason.ID, field="i")
    event.id = event_id
    event.time_ms += offset_ms
    if not -OLDEST_MS <= event.time_ms - received_at_ms <= NEWEST_MS:
        return Rejected(Reason.CLOCK, field="t")
    return None


def clean_id(text: str) -> str | None:
    """Return a UUID in lower case, or None where it is none or nil."""
    if UUID.fullmatch(text):
        return text if text != NIL_ID else None
    text = text.lower()
    return text if UUID.fullmatch(text) and text != NIL_ID else None


def is_in_networks(address: str, networks: tuple[str, ...]) -> bool:
    """Whether the address lies in one of the networks (CIDR). Without an address: no."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in parse_networks(networks))


@lru_cache(maxsize=256)
def parse_networks(networks: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Parse CIDR texts; raises ValueError where one is no network."""
    return tuple(ipaddress.ip_network(text.strip(), strict=False) for text in networks)
