"""Step `identify`: the visitor, who it says it is, and the evidence of that. Makes the rows of the events.

Evidence is what was observed, not what follows from it: a claim without signature is level 1, a tagged link followed
by a human and a crossing from another domain level 2, an identify that the site has signed level 3.
`identity.resolve` decides what comes of it.
"""

from __future__ import annotations

import msgspec

from collector.accept.anew import begin_anew, drop_erased
from collector.accept.answers import note_answer
from collector.accept.assurance import LINKED, SIGNED, Assurance
from collector.accept.captured_cookies import read_captured_cookies
from collector.accept.consent import IDENTIFY
from collector.accept.crossing import give_handover, take_handover
from collector.accept.evidence import (
    COOKIE,
    GROUP,
    RESET,
    SCRIPT,
    add_disown,
    add_group,
    add_identities,
    add_reset,
    prove_fresh,
)
from collector.accept.identifiers import CAPTURE, TAG, Known, keep_surest, read_identifiers
from collector.accept.links import FollowedLink, confirm_link, find_link_text, follow_link
from collector.accept.visitor import is_reset_from, read_sent_cookie, settle_cookie, settle_visitor
from collector.accept.visitor_cookie import VisitorCookie
from collector.event import NIL_ID, Beacon, Context, Envelope, EventRow, Rejected, WireEvent
from collector.id_tokens.keys import WAIT_MS
from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.purposes import Purpose
from collector.reasons import Reason
from fingerprint import VERSIONS, make_fingerprint

ALIAS = "alias"
PAGE_VIEW = "page_view"
LINK_CONFIRM = "link_confirm"
NOT_ME = "not_me"
"""The page has asked "not you?" of somebody whom a tagged link named, and it was somebody else."""
SPEAKING = frozenset((IDENTIFY, ALIAS, RESET, GROUP))
"""Events that say something about who it is, besides those with identifiers."""
KEYS_RETRY_S = WAIT_MS // 1000

_ENCODE = msgspec.json.Encoder().encode


def identify(beacon: Beacon, context: Context) -> Beacon | Rejected:
    """Fill in visitor, fingerprint, link, events and evidence; decide the cookie and the hand-over."""
    row, site, key = beacon.row, beacon.site, context.keyring.pseudonym_key
    sent = read_sent_cookie(beacon, context)
    cookie = settle_visitor(beacon, sent)
    if row.visitor_id != NIL_ID:
        row.own_person_id = own_person_id(key, site.space_id, VISITOR_KIND, row.visitor_id)
    if context.sites.tombstones.has_any(site.space_id):
        answer = begin_anew(beacon, context, cookie)
        if isinstance(answer, Rejected):
            return answer
        cookie = answer
    _make_fingerprint(beacon)
    answer_mark = note_answer(beacon, context, cookie)
    has_identity = Purpose.IDENTITY in beacon.purposes
    assurance = Assurance(cookie if has_identity else None, int(context.assurance_hours * 3600))
    link_text = find_link_text(beacon)
    link = None if link_text is None else follow_link(beacon, context, link_text)

    # Events of an earlier visitor that come late bring the cookies of whoever is there now.
    is_late = sent is not None and cookie is None and not is_reset_from(beacon, sent)
    has_captured = not has_identity or is_late or not site.capture_cookies
    if beacon.is_plain and link is None and has_captured and not assurance.level and _says_nothing(beacon):
        kept = beacon.envelope.events
        row.events = _make_events(beacon.envelope)
    else:
        kept = _go_through(beacon, context, sent, assurance, link, has_captured)
    if beacon.rejected and (missing := _find_missing_keys(beacon)):
        return missing
    beacon.envelope.events = kept
    signed_s = context.received_at_ms // 1000
    signed_in = assurance.level, assurance.until_s, assurance.customer_key, assurance.mfa
    wish = VisitorCookie(row.visitor_id, signed_s, *signed_in, answer_mark)
    settle_cookie(beacon, context, sent, cookie, wish)
    if has_identity and kept:
        if beacon.envelope.handover:
            take_handover(beacon, context, kept[0])
        if beacon.set_cookie and row.visitor_proof == SCRIPT:
            prove_fresh(row)
        give_handover(beacon, context)
    return beacon


def _find_missing_keys(beacon: Beacon) -> Rejected | None:
    """Return the refusal of a beacon with a token whose issuer is being asked for its keys: it shall come again whole,
    so that its sign-in is not lost."""
    missing = next((rejected for rejected in beacon.rejected if rejected.reason is Reason.KEYS), None)
    return missing and Rejected(Reason.KEYS, field=missing.field, retry_after_s=KEYS_RETRY_S)


def _says_nothing(beacon: Beacon) -> bool:
    """Whether no event says anything about who it is."""
    events = beacon.envelope.events
    return SPEAKING.isdisjoint([event.name for event in events]) and not any(event.identifiers for event in events)


def _make_events(envelope: Envelope) -> list[EventRow]:
    """Make the rows of events that say nothing about who it is, while nobody is known."""
    url, referrer, title = envelope.url, envelope.referrer, envelope.title
    # By place, not by name: this is done for every event, and names cost as much again.
    return [
        EventRow(
            event.id,
            event.name,
            event.time_ms,
            event.url or url,
            event.referrer or referrer,
            event.title or title,
            _ENCODE(event.props).decode() if event.props else "{}",
            event.sequence,
        )
        for event in envelope.events
    ]


def _go_through(
    beacon: Beacon,
    context: Context,
    sent: VisitorCookie | None,
    assurance: Assurance,
    link: FollowedLink | None,
    has_captured: bool,
) -> list[WireEvent]:
    """Make the rows of the events one by one, with the evidence in them. Return those that are kept.

    A picture may stand in what a stranger has written on the site. So it is an event and no more: it ends no sign-in,
    and disowns nobody, of whoever looks at it.
    """
    has_identity = Purpose.IDENTITY in beacon.purposes
    kept: list[WireEvent] = []
    said: dict[str, int] = {}
    for index, event in enumerate(beacon.envelope.events):
        known = read_identifiers(beacon, context, event, index) if event.identifiers else []
        known = drop_erased(beacon, event, known)
        if event.name in (IDENTIFY, ALIAS) and not known:
            if not event.identifiers:
                beacon.rejected.append(Rejected(Reason.SHAPE, field=f"e[{index}].k", event_id=event.id))
            continue
        if event.name == PAGE_VIEW and not has_captured:
            captured = drop_erased(beacon, event, read_captured_cookies(beacon, context))
            known, has_captured = known + captured, True
        kept.append(event)
        if event.name == RESET and not context.pixel:
            assurance.clear()
            said.clear()
            if has_identity:
                add_reset(beacon, context, event, is_proved=is_reset_from(beacon, sent))
        if event.name == NOT_ME and not context.pixel and has_identity and _is_by_link(beacon, assurance):
            add_disown(beacon, context, event, assurance.customer_key)
            assurance.clear()
        known = [identity for identity in keep_surest(known) if _is_news(identity, event, assurance, said)]
        if known:
            add_identities(beacon, context, event, known, ALIAS if event.name == ALIAS else IDENTIFY)
            _sign_in(known, event, assurance)
        if event.name == GROUP and has_identity:
            add_group(beacon, context, event, known, source=TAG)
        if link is not None and event.name == LINK_CONFIRM:
            confirm_link(beacon, context, event, link, assurance)
        _add_event(beacon, event, assurance)
    return kept


def _is_by_link(beacon: Beacon, assurance: Assurance) -> bool:
    """Whether a tagged link alone has named a customer here, by the visitor's own cookie. It does not matter how long
    ago: who has signed in since is known by that."""
    return assurance.level == LINKED and beacon.row.visitor_proof == COOKIE


def _make_fingerprint(beacon: Beacon) -> None:
    signals = beacon.envelope.fingerprint
    if signals is None:
        return
    if signals.version not in VERSIONS:
        beacon.rejected.append(Rejected(Reason.VERSION, field="f.v"))
        return
    beacon.row.fingerprint = make_fingerprint(signals.signals, signals.version)
    beacon.row.fingerprint_version = signals.version if beacon.row.fingerprint else 0


def _is_news(identity: Known, event: WireEvent, assurance: Assurance, said: dict[str, int]) -> bool:
    """Whether this is to be written down. What a page says is; what is captured on every page only where this beacon
    has not said it yet and the customer is not signed in already: one row for each page of a visit would say nothing.
    """
    before = said.get(identity.key, 0)
    said[identity.key] = max(before, identity.level)
    if identity.source != CAPTURE:
        return True
    level, customer_key = assurance.at(event.time_ms)
    return identity.level > max(before, level if customer_key == identity.key else 0)


def _sign_in(known: list[Known], event: WireEvent, assurance: Assurance) -> None:
    """Take the strongest of the signed identifiers into force."""
    signed = [identity for identity in known if identity.level >= SIGNED]
    if signed:
        best = min(signed, key=lambda identity: (not identity.kind.unique, identity.kind.priority))
        assurance.sign_in(best.key, event.time_ms, best.mfa)


def _add_event(beacon: Beacon, event: WireEvent, assurance: Assurance) -> None:
    envelope = beacon.envelope
    level, customer_key = assurance.at(event.time_ms)
    beacon.row.events.append(
        EventRow(
            event_id=event.id,
            name=event.name,
            time_ms=event.time_ms,
            url=event.url or envelope.url,
            referrer=event.referrer or envelope.referrer,
            title=event.title or envelope.title,
            props=_ENCODE(event.props).decode() if event.props else "{}",
            sequence=event.sequence,
            customer_key=customer_key,
            assurance=level,
            mfa=int(assurance.mfa and level >= SIGNED),
        )
    )
