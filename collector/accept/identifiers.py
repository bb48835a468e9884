"""Identifiers as a beacon brings them: which of them stand, in normal form, and how sure each is.

    unsigned                          level 1: the browser said so
    `g`, the site's HMAC              level 3: see signing
    `j`, an ID token or a site's JWT  level 3: see id_tokens; it names kind and value by itself. Level 1, and noted,
                                      where the issuer's keys cannot be had

Where the tag has found one by itself (`o`), it is marked as captured: nobody has called `identify` with it.
"""

from __future__ import annotations

import msgspec

from collector.accept.assurance import SIGNED
from collector.event import Beacon, Context, Rejected, VaultRow, WireEvent, WireIdentifier
from collector.id_tokens.keys import KeyBook
from collector.identity.identifiers import VISITOR_KIND, is_blocked, name_identifier
from collector.identity.normal_forms import normalise
from collector.identity.vault import seal_value
from collector.reasons import Reason
from collector.signing import check_identify
from collector.sites.book import IdentifierKind

CLAIMED = 1
MAX_NAMES = 64
TAG = "tag"
CAPTURE = "capture"
CAPTURE_ORIGINS = frozenset(("param", "cookie", "meta", "data", "js"))
_NO_KEYS = KeyBook(may_ask=False)


class Known(msgspec.Struct, frozen=True):
    """An identifier that stands: normal form, own person id, and how sure it is.

    `source`: `tag`, where the page said it, or `capture`. `actor`: who vouches for it, "" for the site: the issuer of
    a token, or an agent. `verification`: how they have made sure. `mfa`: by more than one factor. `token_id`: what a
    token that must not be shown by many is known by.
    """

    kind: IdentifierKind
    value: str  # as it is stored: in clear or a pseudonym, see `identity.identifiers`
    key: str
    level: int
    source: str = TAG
    actor: str = ""
    earlier: tuple[tuple[str, str], ...] = ()  # value and key under the keys before, while they rotate
    renamed_at_ms: int = 0
    vaulted: VaultRow | None = None
    verification: str = ""
    mfa: bool = False
    token_id: str = ""
    erased_ms: int = 0  # when it was last erased, so that it is somebody new since; 0: never


def read_identifiers(beacon: Beacon, context: Context, event: WireEvent, index: int) -> list[Known]:
    """Return the event's identifiers that stand; the others are refused one by one."""
    known: list[Known] = []
    for position, identifier in enumerate(event.identifiers):
        answer = read_identifier(beacon, context, identifier)
        field = f"e[{index}].k[{position}]"
        if isinstance(answer, Known):
            known.append(answer)
            if identifier.token and answer.level == CLAIMED:
                beacon.rejected.append(Rejected(Reason.UNVERIFIED, field=f"{field}.j"))
        else:
            beacon.rejected.append(Rejected(answer, field=field, event_id=event.id))
    return known


def read_identifier(beacon: Beacon, context: Context, identifier: WireIdentifier) -> Known | Reason:
    """Judge one identifier."""
    source = CAPTURE if identifier.origin in CAPTURE_ORIGINS else TAG
    if identifier.token:
        known = _read_token(beacon, context, identifier)
        return known if isinstance(known, Reason) else msgspec.structs.replace(known, source=source)
    known = name_known(beacon, context, identifier.kind, identifier.value)
    if isinstance(known, Reason):
        return known
    level = CLAIMED
    if identifier.signature:
        now_s = context.received_at_ms // 1000
        problem = check_identify(
            context.keyring, beacon.site, identifier.kind, identifier.value, identifier.signature, now_s
        )
        if problem is not None:
            return problem
        level = SIGNED
    elif beacon.site.identify == "signed":
        return Reason.UNSIGNED
    return msgspec.structs.replace(known, level=level, source=source)


def name_known(beacon: Beacon, context: Context, kind_name: str, text: str) -> Known | Reason:
    """Bring kind and value into their form, as a claim; or say why they name nobody here.

    What a beacon says again is not worked out again. Odd spellings cost a thousand times what plain ones do, so of
    different names a beacon has MAX_NAMES.
    """
    answer: Known | Reason | None = beacon.named.get((kind_name, text))
    if answer is None:
        if len(beacon.named) >= MAX_NAMES:
            return Reason.COUNT
        answer = beacon.named[kind_name, text] = _name(beacon, context, kind_name, text)
    return answer


def _name(beacon: Beacon, context: Context, kind_name: str, text: str) -> Known | Reason:
    site = beacon.site
    kind = site.find_kind(kind_name)
    if kind is None or kind.name == VISITOR_KIND:
        return Reason.SHAPE
    if is_blocked(text):
        return Reason.BLOCKED
    value = normalise(kind, text)
    if value is None:
        return Reason.SHAPE
    named = name_identifier(context.keyring, site.space_id, kind, value, context.sites.tombstones)
    vaulted = None
    if site.vault and not named.is_clear:
        vaulted = seal_value(context.keyring, site.space_id, kind.name, named, value)
    return Known(
        *(kind, named.value, named.key, CLAIMED),
        earlier=named.earlier,
        renamed_at_ms=named.renamed_at_ms,
        vaulted=vaulted,
        erased_ms=named.erased_ms,
    )


def keep_surest(known: list[Known]) -> list[Known]:
    """Return each identifier once, at the highest level at which it was said."""
    best: dict[str, Known] = {}
    for identity in known:
        other = best.get(identity.key)
        if other is None or identity.level > other.level:
            best[identity.key] = identity
    return list(best.values())


def _read_token(beacon: Beacon, context: Context, identifier: WireIdentifier) -> Known | Reason:
    """Judge a token. A value that the page gives besides must be the token's."""
    from collector.id_tokens.check import check_token  # late: many sites never see a token, see `id_tokens.key_sets`

    keys = context.issuer_keys or _NO_KEYS
    vouched = check_token(
        identifier.token,
        beacon.site,
        context.keyring,
        keys,
        context.received_at_ms,
        identifier.kind,
        identifier.nonce,
        may_wait=context.is_heard,
    )
    if isinstance(vouched, Reason):
        return vouched
    known = name_known(beacon, context, vouched.kind, vouched.value)
    if isinstance(known, Reason):
        return known
    if identifier.value and normalise(known.kind, identifier.value) != normalise(known.kind, vouched.value):
        return Reason.SIGNATURE
    if not vouched.is_verified:
        return known if beacon.site.identify != "signed" else Reason.UNVERIFIED
    return msgspec.structs.replace(
        known,
        level=SIGNED,
        actor=vouched.actor,
        verification=vouched.verification,
        mfa=vouched.mfa,
        token_id=vouched.token_id,
    )
