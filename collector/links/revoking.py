"""Revoking: what somebody wants to take back becomes rows, an entry of the audit log, and a choice of evidence.

What is named together must hold together; nothing named would be everything, and is refused. The id of a revocation
follows from what it names: to revoke the same twice is to revoke it once, and lifting it is undone by revoking again.
A customer whose identifier has several names (see `identity.rekey`) is revoked under each.

Links that were followed before have tied visitors, and a revocation leaves that as it is. `make_selector` says which
evidence to take back besides; evidence does not say which key signed a link and when, so by those it cannot be chosen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from urllib.parse import unquote

import msgspec

from collector.errors import RepairError, RepairReason
from collector.identity import audit
from collector.identity.erased import read_tombstones
from collector.identity.identifiers import name_identifier
from collector.identity.names import expand_names, read_kinds
from collector.identity.normal_forms import normalise
from collector.identity.selection import Selector
from collector.keyring import Keyring
from collector.links.revocations import Revocation
from collector.links.rows import read_revocations, write_revocation
from collector.links.token import (
    DEFAULT_KIND,
    LASTING,
    MAX_TOKEN_CHARS,
    TOKEN_ID_CHARS,
    LinkProblem,
    LinkToken,
    read_link,
)
from collector.store.client import StoreClient

MAX_CHARS = 200
MAX_REASON_CHARS = 500
MAX_LINK_CHARS = MAX_TOKEN_CHARS + 4_000
LINK_SOURCE = "link"
"""Source of the evidence that links make."""

_TOKEN_ID = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_ID_CHARS}}}")
_TOKEN = re.compile(r"[mrupMRUP][0-9a-z]{1,16}\.[A-Za-z0-9_.-]+")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be taken back. `token`: its id, the whole of it, or a link with it. `customer`: the reference in
    clear. Times of issue in seconds since 1970, `to` not included; 0: no bound."""

    token: str = ""
    campaign: str = ""
    message: str = ""
    key: str = ""
    customer: str = ""
    kind: str = DEFAULT_KIND
    issued_from_s: int = 0
    issued_to_s: int = 0
    reason: str = ""


def plan_revocations(
    client: StoreClient, keyring: Keyring, space_id: str, wanted: Wanted, actor: str, now_ms: int
) -> list[Revocation]:
    """Return the revocations that this means, unwritten. Raises RepairError where it means none, StoreError."""
    _check(wanted)
    plain = Revocation(
        "",
        space_id,
        token_id=_find_token_id(keyring, space_id, wanted.token, now_ms // 1000) if wanted.token else "",
        campaign=wanted.campaign,
        message=wanted.message,
        key_id=_find_key_id(keyring, wanted.key) if wanted.key else "",
        issued_from_s=wanted.issued_from_s,
        issued_to_s=wanted.issued_to_s,
    )
    keys = _name_customer(client, keyring, space_id, wanted) if wanted.customer else [""]
    named = [msgspec.structs.replace(plain, customer_key=key) for key in keys]
    if named[0].is_empty():
        raise RepairError(RepairReason.ARGUMENT, "say which links: by token, campaign, message, key, customer or time")
    said = {"reason": wanted.reason, "actor": actor, "revoked_at_ms": now_ms}
    return [msgspec.structs.replace(each, revocation_id=_make_id(each), **said) for each in named]


def write_revocations(client: StoreClient, revocations: Sequence[Revocation], via: str) -> list[Revocation]:
    """Note in the audit log that links are taken back, then take them back. Return the rows. Raises StoreError."""
    known = {row.revocation_id: row for row in read_revocations(client)}
    first = revocations[0]
    arguments = {"revocations": [each.revocation_id for each in revocations], **describe(first)}
    at_ms, keys = first.revoked_at_ms, [each.customer_key for each in revocations if each.customer_key]
    audit.write_setting(client, first.space_id, audit.REVOKE_LINKS, first.actor, arguments, at_ms, via=via, keys=keys)
    written = []
    for each in revocations:
        earlier = known.get(each.revocation_id)
        version = earlier.version if earlier is not None else 0
        written.append(write_revocation(client, msgspec.structs.replace(each, version=version)))
    return written


def lift_revocation(
    client: StoreClient, space_id: str, revocation_id: str, actor: str, now_ms: int, via: str
) -> Revocation:
    """Let the links of a revocation count again, and note it. `space_id`: "" for any.

    Raises RepairError where there is none of this id, or where it was lifted already; StoreError.
    """
    found = [row for row in read_revocations(client, space_id) if row.revocation_id == revocation_id]
    if not found:
        raise RepairError(RepairReason.UNKNOWN, "there is no such revocation: `tagstitch links revocations` lists them")
    row = found[0]
    if row.lifted:
        raise RepairError(RepairReason.NOTHING, "this revocation was lifted already")
    arguments = {"revocations": [row.revocation_id], **describe(row)}
    keys = [row.customer_key] if row.customer_key else []
    audit.write_setting(client, row.space_id, audit.LIFT_REVOCATION, actor, arguments, now_ms, via=via, keys=keys)
    return write_revocation(client, msgspec.structs.replace(row, lifted=True, actor=actor))


def describe(revocation: Revocation) -> dict[str, str | int]:
    """Return what a revocation names, as the audit log and the API have it: a customer by the own person id."""
    names = ("token_id", "campaign", "message", "key_id", "customer_key", "issued_from_s", "issued_to_s")
    return {name: value for name in names if (value := getattr(revocation, name))}


def make_selector(revocations: Sequence[Revocation]) -> Selector:
    """Return which evidence such links have made. Raises RepairError where evidence does not say it."""
    first = revocations[0]
    if first.key_id or first.issued_from_s or first.issued_to_s:
        raise RepairError(
            RepairReason.ARGUMENT,
            "evidence does not say which key signed a link and when it was issued: take it back by token, campaign, "
            "message or customer, or with `tagstitch identity retract --source link --from … --to …` by when it came",
        )
    return Selector(
        source=LINK_SOURCE,
        token=first.token_id,
        campaign=first.campaign,
        message=first.message,
        keys=tuple(sorted(each.customer_key for each in revocations if each.customer_key)),
    )


def _check(wanted: Wanted) -> None:
    for name in ("campaign", "message", "key", "customer", "kind"):
        value = getattr(wanted, name)
        if len(value) > MAX_CHARS or not value.isprintable():
            raise RepairError(RepairReason.ARGUMENT, f"{name} has at most {MAX_CHARS} printable characters")
    if len(wanted.reason) > MAX_REASON_CHARS:
        raise RepairError(RepairReason.ARGUMENT, f"a reason has at most {MAX_REASON_CHARS} characters")
    if min(wanted.issued_from_s, wanted.issued_to_s) < 0:
        raise RepairError(RepairReason.ARGUMENT, "a time of issue is not before 1970")
    if wanted.issued_to_s and wanted.issued_to_s <= wanted.issued_from_s:
        raise RepairError(RepairReason.ARGUMENT, "the time of issue ends before it begins")


def _find_token_id(keyring: Keyring, space_id: str, text: str, now_s: int) -> str:
    """Return the id of a token that is named by it, or stands whole in a text. No text of it goes any further."""
    text = text.strip()
    if _TOKEN_ID.fullmatch(text):
        return text
    if len(text) > MAX_LINK_CHARS:
        raise RepairError(RepairReason.ARGUMENT, f"a link has at most {MAX_LINK_CHARS} characters")
    for found in _TOKEN.findall(unquote(text)):
        answer = read_link(keyring, found, now_s)
        token = answer.token if isinstance(answer, LinkProblem) else answer
        if token is not None:
            _check_token(token, space_id)
            return token.token_id
    raise RepairError(
        RepairReason.ARGUMENT,
        f"no token of ours stands there: give the whole link, or the id of its token, {TOKEN_ID_CHARS} characters",
    )


def _check_token(token: LinkToken, space_id: str) -> None:
    if token.space_id != space_id:
        raise RepairError(RepairReason.CONFLICT, f"this link is of identity space {token.space_id}, not {space_id}")
    if token.kind in LASTING:
        raise RepairError(
            RepairReason.CONFLICT, f"this is a link of kind {token.kind}: those always work, and tie nobody to anything"
        )


def _find_key_id(keyring: Keyring, key_id: str) -> str:
    if any(key.id == key_id for key in keyring.link_keys):
        return key_id
    raise RepairError(
        RepairReason.UNKNOWN,
        "no key of links has this id: `tagstitch key links` lists them",
    )


def _name_customer(client: StoreClient, keyring: Keyring, space_id: str, wanted: Wanted) -> list[str]:
    """Return the own person ids of a reference, under all its names."""
    kinds = read_kinds(client, space_id)
    if wanted.kind not in kinds:
        raise RepairError(RepairReason.ARGUMENT, f"the space knows no such kind: it has {', '.join(sorted(kinds))}")
    keys: set[str] = set()
    for kind in kinds[wanted.kind]:
        normal = normalise(kind, wanted.customer)
        if normal is not None:
            named = name_identifier(keyring, space_id, kind, normal, read_tombstones(client, space_id))
            keys |= {named.key, *(key for _, key in named.earlier)}
    if not keys:
        raise RepairError(RepairReason.ARGUMENT, f"this is no value of kind {wanted.kind}: write it as its owner does")
    return sorted(expand_names(client, space_id, keys))


def _make_id(revocation: Revocation) -> str:
    said = msgspec.json.encode([revocation.space_id, describe(revocation)])
    return blake2b(said, digest_size=6, person=b"tagstitch.revoke").hexdigest()
