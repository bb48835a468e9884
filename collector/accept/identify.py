"""Step `identify`: the visitor, who it says it is, and the evidence of that. Makes the rows of the events.

Evidence is what was observed, not what follows from it: a claim without signature is level 1, a tagged link followed
by a human level 2, an identify that the site has signed level 3. `identity.resolve` decides what comes of it.

Evidence has an id that follows from its event, so that a beacon sent twice is the same evidence twice.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from collector.accept.assurance import LINKED, SIGNED, Assurance
from collector.accept.consent import IDENTIFY
from collector.accept.visitor import is_reset_from, read_sent_cookie, settle_cookie, settle_visitor
from collector.accept.visitor_cookie import VisitorCookie
from collector.event import (
    NIL_ID,
    Beacon,
    Context,
    EventRow,
    EvidenceRow,
    Purpose,
    Reason,
    Rejected,
    WireEvent,
    WireIdentifier,
)
from collector.identity.identifiers import VISITOR_KIND, is_blocked, normalise, own_person_id, pseudonym
from collector.links import LinkToken, read_link
from collector.signing import check_identify
from collector.sites.book import IdentifierKind
from fingerprint import VERSIONS, make_fingerprint

RESET = "reset"
LINK_CONFIRM = "link_confirm"
HUMAN_SIGNALS = frozenset(("pointer", "key", "touch", "dwell"))
CLAIMED = 1
UNPROVED_LATE_MS = 300_000
"""How long before its arrival a sign-in may begin where only the script names the visitor."""

_ENCODE = msgspec.json.Encoder().encode


class Known(msgspec.Struct, frozen=True):
    """An identifier that stands: normal form, own person id, and how sure it is."""

    kind: IdentifierKind
    value: str  # as it is stored: a pseudonym where the kind is personal
    key: str
    level: int


def identify(beacon: Beacon, context: Context) -> Beacon | Rejected:
    """Fill in visitor, fingerprint, link, events and evidence; decide the cookie."""
    row, site, key = beacon.row, beacon.site, context.keyring.pseudonym_key
    sent = read_sent_cookie(beacon, context)
    cookie = settle_visitor(beacon, sent)
    if row.visitor_id != NIL_ID:
        row.own_person_id = own_person_id(key, site.space_id, VISITOR_KIND, row.visitor_id)
    _make_fingerprint(beacon)
    has_identity = Purpose.IDENTITY in beacon.purposes
    assurance = Assurance(cookie if has_identity else None, int(context.assurance_hours * 3600))
    link = _read_link(beacon, context) if has_identity and beacon.envelope.link_token else None

    kept = []
    for index, event in enumerate(beacon.envelope.events):
        known = _read_identifiers(beacon, context, event, index) if event.identifiers else []
        if event.name == IDENTIFY and not known:
            if not event.identifiers:
                beacon.rejected.append(Rejected(Reason.SHAPE, field=f"e[{index}].k", event_id=event.id))
            continue
        kept.append(event)
        if event.name == RESET:
            assurance.clear()
            if has_identity:
                _add_reset(beacon, context, event, is_proved=is_reset_from(beacon, sent))
        if known:
            _add_identities(beacon, context, event, known, assurance)
        if link is not None and event.name == LINK_CONFIRM:
            _add_link(beacon, context, event, link, assurance)
        _add_event(beacon, event, assurance)
    beacon.envelope.events = kept
    signed_s = context.received_at_ms // 1000
    wish = VisitorCookie(row.visitor_id, signed_s, assurance.level, assurance.until_s, assurance.customer_key)
    settle_cookie(beacon, context, sent, cookie, wish)
    return beacon


def _make_fingerprint(beacon: Beacon) -> None:
    signals = beacon.envelope.fingerprint
    if signals is None:
        return
    if signals.version not in VERSIONS:
        beacon.rejected.append(Rejected(Reason.VERSION, field="f.v"))
        return
    beacon.row.fingerprint = make_fingerprint(signals.signals, signals.version)
    beacon.row.fingerprint_version = signals.version if beacon.row.fingerprint else 0


def _read_identifiers(beacon: Beacon, context: Context, event: WireEvent, index: int) -> list[Known]:
    """Return the event's identifiers that stand; the others are refused one by one."""
    known: list[Known] = []
    for position, identifier in enumerate(event.identifiers):
        field = f"e[{index}].k[{position}]"
        answer = _read_identifier(beacon, context, identifier)
        if isinstance(answer, Known):
            known.append(answer)
        else:
            beacon.rejected.append(Rejected(answer, field=field, event_id=event.id))
    return known


def _read_identifier(beacon: Beacon, context: Context, identifier: WireIdentifier) -> Known | Reason:
    site, key = beacon.site, context.keyring.pseudonym_key
    kind = site.find_kind(identifier.kind)
    if kind is None or kind.name == VISITOR_KIND:
        return Reason.SHAPE
    if is_blocked(identifier.value):
        return Reason.BLOCKED
    value = normalise(kind, identifier.value)
    if value is None:
        return Reason.SHAPE
    level = CLAIMED
    if identifier.signature:
        now_s = context.received_at_ms // 1000
        problem = check_identify(context.keyring, site, identifier.kind, identifier.value, identifier.signature, now_s)
        if problem is not None:
            return problem
        level = SIGNED
    elif site.identify == "signed":
        return Reason.UNSIGNED
    stored = pseudonym(key, site.space_id, kind.name, value) if kind.personal else value
    return Known(kind, stored, own_person_id(key, site.space_id, kind.name, value), level)


def _read_link(beacon: Beacon, context: Context) -> Known | None:
    """Fill in what the token says. Return the customer, where a human may confirm it."""
    row, site = beacon.row, beacon.site
    token = read_link(context.keyring, beacon.envelope.link_token, context.received_at_ms // 1000)
    if not isinstance(token, LinkToken):
        row.link_status = token.reason
        return None
    kind = site.find_kind(token.kind)
    value = normalise(kind, token.value) if kind is not None and token.space_id == site.space_id else None
    if kind is None or value is None:
        row.link_status = "forged"  # true, but not for this site's people
        return None
    row.link_token_id, row.link_campaign, row.link_message = token.token_id, token.campaign, token.message
    if row.is_bot:
        row.link_status = "bot"
        return None
    row.link_status = "unconfirmed"
    key = context.keyring.pseudonym_key
    stored = pseudonym(key, site.space_id, kind.name, value) if kind.personal else value
    return Known(kind, stored, own_person_id(key, site.space_id, kind.name, value), LINKED)


def _add_identities(
    beacon: Beacon, context: Context, event: WireEvent, known: list[Known], assurance: Assurance
) -> None:
    """Tie the identifiers to the visitor, or to the first of them where there is no visitor.

    Who only knows a visitor's id must not inherit its history by signing in at a time of their own choice. So where
    the cookie does not prove the visitor, the evidence begins at its arrival, less what an honest delay takes.
    """
    first, others = known[0], known[1:]
    if beacon.row.visitor_id != NIL_ID:
        for identity in known:
            evidence = _add_evidence(beacon, event, identity, kind=IDENTIFY, source="tag")
            if evidence.proof != "cookie":
                evidence.time_ms = max(event.time_ms, context.received_at_ms - UNPROVED_LATE_MS)
    else:
        if beacon.row.own_person_id == NIL_ID:
            beacon.row.own_person_id = first.key
        for identity in others:
            evidence = _add_evidence(beacon, event, identity, kind=IDENTIFY, source="tag")
            evidence.a_kind, evidence.a_value, evidence.a_key = first.kind.name, first.value, first.key
            evidence.level = min(first.level, identity.level)
            evidence.evidence_id = _make_evidence_id(evidence)
    signed = [identity for identity in known if identity.level >= SIGNED]
    if signed:
        best = min(signed, key=lambda identity: (not identity.kind.unique, identity.kind.priority))
        assurance.sign_in(best.key, event.time_ms)


def _add_link(beacon: Beacon, context: Context, event: WireEvent, link: Known, assurance: Assurance) -> None:
    human = beacon.envelope.human
    if human not in HUMAN_SIGNALS or beacon.row.visitor_id == NIL_ID:
        return
    row = beacon.row
    if row.link_status != "confirmed":
        row.link_status = "confirmed"
        evidence = _add_evidence(beacon, event, link, kind="link", source="link")
        evidence.token_id, evidence.campaign, evidence.human = row.link_token_id, row.link_campaign, human
    assurance.follow_link(link.key, event.time_ms)


def _add_reset(beacon: Beacon, context: Context, event: WireEvent, *, is_proved: bool) -> None:
    """Note a sign-out: `a` is the new visitor, `b` the one before. Where the tag keeps its id, both are the same.

    The proof is that of the visitor before: whoever knows an id must not end its history.
    """
    row, key = beacon.row, context.keyring.pseudonym_key
    if row.visitor_id == NIL_ID:
        return
    before = row.visitor_id if row.reset_from == NIL_ID else row.reset_from
    person_id = own_person_id(key, beacon.site.space_id, VISITOR_KIND, before)
    kind = IdentifierKind(name=VISITOR_KIND)
    evidence = _add_evidence(beacon, event, Known(kind, before, person_id, CLAIMED), kind=RESET, source="tag")
    if before != row.visitor_id:
        evidence.proof = "cookie" if is_proved else "script"


def _add_evidence(beacon: Beacon, event: WireEvent, identity: Known, *, kind: str, source: str) -> EvidenceRow:
    row = beacon.row
    evidence = EvidenceRow(
        evidence_id="",
        kind=kind,
        level=identity.level,
        a_kind=VISITOR_KIND,
        a_value=row.visitor_id,
        a_key=row.own_person_id,
        b_kind=identity.kind.name,
        b_value=identity.value,
        b_key=identity.key,
        b_unique=int(identity.kind.unique),
        source=source,
        proof=row.visitor_proof,
        time_ms=event.time_ms,
        session_id=row.session_id,
        session_started_ms=row.session_started_ms,
        event_id=event.id,
        consent=row.consent,
    )
    evidence.evidence_id = _make_evidence_id(evidence)
    row.evidence.append(evidence)
    return evidence


def _make_evidence_id(evidence: EvidenceRow) -> str:
    """Derive the id from the event and from what is said, so that nobody can put other words under a known id."""
    said = f"{evidence.event_id}|{evidence.kind}|{evidence.level}|{evidence.a_key}|{evidence.b_key}"
    digest = blake2b(said.encode(), digest_size=16, person=b"tagstitch.eviden").hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


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
        )
    )
