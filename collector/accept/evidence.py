"""Evidence as the edge writes it: rows of a landing row that say what was observed, not what follows from it.

Evidence has an id that follows from its event, so that a beacon sent twice is the same evidence twice. Sent again with
a cookie where there was none, it says more, and is other evidence.

Who knows a visitor's id and an event's can send other identifiers under both. So where nothing proves the visitor, the
first half of the evidence's id names all that its event said: see `identity.evidence.name_request`.
"""

from __future__ import annotations

from hashlib import blake2b

from collector.accept.identifiers import CLAIMED, Known
from collector.accept.minimise import REMOVED
from collector.event import NIL_ID, Beacon, Context, EvidenceRow, LandingRow, WireEvent
from collector.identity.evidence import DISOWN, REQUEST_CHARS
from collector.identity.identifiers import VISITOR_KIND, is_blocked, name_identifier, own_person_id
from collector.identity.normal_forms import normalise
from collector.identity.rekey import make_rekey
from collector.sites.book import IdentifierKind

RESET = "reset"
GROUP = "group"
COOKIE, SCRIPT = "cookie", "script"
FRESH = "fresh"
"""Proof of a visitor whose cookie this very answer sets, which is done for ids made within a day: who knows one could
have the cookie for the asking, so the word says as much. It keeps nobody else out: the browser may take no cookies."""
UNPROVED_LATE_MS = 300_000
"""How long before its arrival a sign-in may begin where only the script names the visitor."""

_PROVED = frozenset((COOKIE, "server"))
_VISITOR = IdentifierKind(name=VISITOR_KIND)
_GROUP = IdentifierKind(name=GROUP, unique=False)


def add_identities(beacon: Beacon, context: Context, event: WireEvent, known: list[Known], kind: str) -> None:
    """Tie identifiers to the visitor, or to the first of them where there is no visitor.

    Who only knows a visitor's id must not inherit its history by signing in at a time of their own choice. So where
    the cookie does not prove the visitor, the evidence begins at its arrival, less what an honest delay takes.
    """
    first, others = known[0], known[1:]
    if beacon.row.visitor_id != NIL_ID:
        said = [add_evidence(beacon, event, identity, kind=kind, source=identity.source) for identity in known]
        for evidence in said:
            hold_to_arrival(evidence, context)
        if beacon.row.visitor_proof not in _PROVED:
            _bind(said)
        return
    add_names(beacon.row, first)
    if beacon.row.own_person_id == NIL_ID and first.level > CLAIMED:
        beacon.row.own_person_id = first.key
    for identity in others:
        evidence = add_evidence(beacon, event, identity, kind=kind, source=identity.source)
        evidence.a_kind, evidence.a_value, evidence.a_key = first.kind.name, first.value, first.key
        evidence.level = min(first.level, identity.level)
        evidence.evidence_id = make_evidence_id(evidence)


def add_reset(beacon: Beacon, context: Context, event: WireEvent, *, is_proved: bool) -> None:
    """Note a sign-out: `a` is the new visitor, `b` the one before. Where the tag keeps its id, both are the same.

    The proof is that of the visitor before: whoever knows an id must not end its history.
    """
    row = beacon.row
    if row.visitor_id == NIL_ID:
        return
    before = row.visitor_id if row.reset_from == NIL_ID else row.reset_from
    evidence = add_evidence(beacon, event, name_visitor(beacon, context, before), kind=RESET, source="tag")
    if before != row.visitor_id:
        evidence.proof = COOKIE if is_proved else SCRIPT
        evidence.evidence_id = make_evidence_id(evidence)


def add_disown(beacon: Beacon, context: Context, event: WireEvent, customer_key: str) -> None:
    """Note that whoever sits at the visitor is not the customer whom a tagged link has named.

    `customer_key`: as the visitor's own cookie has it, which nobody else can write. A link that was held to its arrival
    is reached however late both have come: what is said here begins no earlier than such a link.
    """
    visitor = name_visitor(beacon, context, beacon.row.visitor_id)
    evidence = add_evidence(beacon, event, visitor, kind=DISOWN, source="tag")
    evidence.token_id = customer_key
    evidence.time_ms = max(event.time_ms, context.received_at_ms - UNPROVED_LATE_MS)


def add_group(
    beacon: Beacon, context: Context, event: WireEvent, known: list[Known], *, source: str, actor: str = ""
) -> None:
    """Note that the visitor, else the customer, is of a group: a company, a household. A relation, never a tie.

    So it stands at level 1 whoever says it: `resolve` reads nothing below level 2, and two of one company stay two.
    """
    group_id, kind = event.props.get("group_id"), event.props.get("group_kind")
    row = beacon.row
    if not isinstance(group_id, str) or is_blocked(group_id) or REMOVED in group_id:
        return
    value = normalise(_GROUP, f"{kind if isinstance(kind, str) else ''}:{group_id}")
    first = name_visitor(beacon, context, row.visitor_id) if row.visitor_id != NIL_ID else next(iter(known), None)
    if value is None or first is None:
        return
    named = name_identifier(context.keyring, beacon.site.space_id, _GROUP, value, context.sites.tombstones)
    group = Known(_GROUP, named.value, named.key, CLAIMED, actor=actor)
    evidence = add_evidence(beacon, event, group, kind=GROUP, source=source)
    evidence.a_kind, evidence.a_value, evidence.a_key = first.kind.name, first.value, first.key
    evidence.evidence_id = make_evidence_id(evidence)


def name_visitor(beacon: Beacon, context: Context, visitor_id: str, level: int = CLAIMED) -> Known:
    """Return a visitor as an identifier."""
    key = own_person_id(context.keyring.pseudonym_key, beacon.site.space_id, VISITOR_KIND, visitor_id)
    return Known(_VISITOR, visitor_id, key, level)


def add_evidence(beacon: Beacon, event: WireEvent, identity: Known, *, kind: str, source: str) -> EvidenceRow:
    """Add the row that ties the visitor to `identity`, and return it to be completed."""
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
        actor=identity.actor,
        verification=identity.verification,
        token_id=identity.token_id,
    )
    evidence.evidence_id = make_evidence_id(evidence)
    row.evidence.append(evidence)
    add_names(row, identity)
    return evidence


def add_names(row: LandingRow, identity: Known) -> None:
    """Note what else an identifier is called, each once: under earlier personal keys, and in the vault."""
    for earlier in identity.earlier:
        rekey = make_rekey(identity.kind, earlier, (identity.value, identity.key), at_ms=identity.renamed_at_ms)
        if all(known.evidence_id != rekey.evidence_id for known in row.evidence):
            row.evidence.append(rekey)
    if identity.vaulted is not None and all(known.key != identity.key for known in row.vault):
        row.vault.append(identity.vaulted)


def hold_to_arrival(evidence: EvidenceRow, context: Context) -> None:
    """Let evidence about a visitor that neither its cookie nor a server proves begin when it arrived."""
    if evidence.proof not in _PROVED:
        evidence.time_ms = max(evidence.time_ms, context.received_at_ms - UNPROVED_LATE_MS)


def prove_fresh(row: LandingRow) -> None:
    """Note on a beacon's evidence that the answer sets the visitor's cookie. Who signs out is the visitor before."""
    for evidence in row.evidence:
        if evidence.proof == SCRIPT and evidence.kind != RESET:
            evidence.proof = FRESH


def make_evidence_id(evidence: EvidenceRow) -> str:
    """Derive the id from the event and from what is said, so that nobody can put other words under a known id."""
    said = f"{evidence.event_id}|{evidence.kind}|{evidence.level}|{evidence.a_key}|{evidence.b_key}"
    if evidence.proof == COOKIE:
        said = f"{said}|{COOKIE}"
    digest = blake2b(said.encode(), digest_size=16, person=b"tagstitch.eviden").hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


def _bind(said: list[EvidenceRow]) -> None:
    """Give all evidence of one event the same first half of its id, which follows from all that the event said.

    A retry says the same. Keys are keyed hashes, so nobody can look for other words that come to the same 64 bits.
    """
    first = said[0]
    words = sorted(f"{evidence.b_key}:{evidence.level}" for evidence in said)
    text = "|".join((first.event_id, first.kind, *words))
    digest = blake2b(text.encode(), digest_size=8, person=b"tagstitch.reques").hexdigest()
    for evidence in said:
        evidence.evidence_id = f"{digest[:8]}-{digest[8:12]}-{digest[12:]}{evidence.evidence_id[REQUEST_CHARS:]}"
