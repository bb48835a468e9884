"""Identifiers: the values that name nobody, how a value is stored, and its own person id.

    4711                      as it is, where its kind is not personal
    9f3c1b2a.967466d1…        a pseudonym: the id of the key that made it, and 32 digits of a keyed hash

A personal value, and whatever holds an e-mail address, leaves this module only as a pseudonym. The own person id
follows from the value as it is stored: so nothing but a key that rotates leads from the clear value to anything here.

Pure functions. What they return must never change for the same arguments: person ids in the store depend on it, and
a test pins the results.
"""

from __future__ import annotations

import hmac
import re
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import NamedTuple

from collector.keyring import Key, Keyring
from collector.privacy.tombstones import NONE, Tombstones, mark_key, mark_value, succeed_visitor
from collector.sites.book import IdentifierKind

VISITOR_KIND = "visitor"
MAX_VALUE_CHARS = 512

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
EMAIL = re.compile(r"[^\s@\"(),:;<>\[\\\]]{1,64}@[^\s@]{1,253}")
PSEUDONYM = re.compile(r"(?P<key_id>[0-9a-z]{1,16})\.[0-9a-f]{32}")
# Whatever holds an address is one: `mailto:`, a name before it, an encoded @.
_ADDRESS = re.compile(r"[^\s@](?:@|%40)[^\s@.]+\.[^\s@.]")
_NOISE = re.compile(r"[\s'\"`()\[\]{}<>_.-]+")

# Compared without quotes, brackets, dashes, dots and spaces, in lower case.
BLOCKED_VALUES = frozenset(
    (
        *("null", "nil", "none", "undefined", "nan", "void", "empty", "missing", "unset", "na", "n/a", "tbd"),
        *("default", "false", "true", "yes", "no", "notset", "notauthenticated", "notloggedin", "loggedout"),
        *("anonymous", "anonymoususer", "anonym", "anon", "guest", "gast", "unknown", "unbekannt", "nobody"),
        *("user", "userid", "username", "customer", "customerid", "visitor", "visitorid", "id", "uid", "uuid"),
        *("distinctid", "clientid", "email", "mail", "object", "objectobject", "test", "tester", "testuser"),
    )
)
_BLOCKED_MAILBOXES = frozenset(("test", "tester", "none", "null", "undefined", "noreply", "guest", "anonymous"))


class Named(NamedTuple):
    """How an identifier is stored. `value`: in clear, or a pseudonym. `key`: its own person id.

    `earlier`: the same under the keys that are still in force beside the newest, value and key each; `renamed_at_ms`:
    when the newest came into force. `erased_ms`: when it was last erased, so that it is somebody new since; 0: never.
    """

    value: str
    key: str
    earlier: tuple[tuple[str, str], ...] = ()
    is_clear: bool = True
    renamed_at_ms: int = 0
    erased_ms: int = 0


def is_blocked(value: str) -> bool:
    """Whether the value names nobody: what pages send when they know no one (`null`, `guest`, `000-000` …)."""
    if "@" in value:
        mailbox = value.partition("@")[0].casefold().strip()
        return mailbox in _BLOCKED_MAILBOXES
    bare = _NOISE.sub("", value.casefold())
    return bare in BLOCKED_VALUES or not bare.strip("0") or (len(bare) >= 32 and not bare.strip("f"))


def name_identifier(
    keyring: Keyring, space_id: str, kind: IdentifierKind, value: str, tombstones: Tombstones = NONE
) -> Named:
    """Return how a value in normal form is stored, and its own person id. `tombstones`: what was erased."""
    secret = keyring.pseudonym_key
    if is_kept_clear(kind, value):
        key, erased_ms = find_own_person_id(secret, space_id, kind.name, value, tombstones)
        return Named(value, key, erased_ms=erased_ms)
    names, erased_ms = [], 0
    for personal in keyring.personal_keys:
        stored = make_pseudonym(personal, space_id, kind.name, value)
        key, own_erased_ms = find_own_person_id(secret, space_id, kind.name, stored, tombstones)
        names.append((stored, key))
        erased_ms = max(erased_ms, own_erased_ms)
    if tombstones.has_any(space_id):
        mark = mark_value(secret, space_id, kind.name, value)
        erased_ms = max(erased_ms, tombstones.find_erased_ms(space_id, mark))
    newest, *earlier = names
    renamed_at_ms = keyring.personal_keys[0].made_at_ms
    return Named(*newest, tuple(earlier), is_clear=False, renamed_at_ms=renamed_at_ms, erased_ms=erased_ms)


def find_own_person_id(
    pseudonym_key: str, space_id: str, kind: str, value: str, tombstones: Tombstones
) -> tuple[str, int]:
    """Return the own person id that an identifier has now, and when it was last erased (milliseconds; 0: never)."""
    epoch, erased_ms = 0, 0
    key = own_person_id(pseudonym_key, space_id, kind, value)
    if tombstones.has_any(space_id):
        while at_ms := tombstones.find_erased_ms(space_id, mark_key(key)):
            epoch, erased_ms = epoch + 1, at_ms
            key = own_person_id(pseudonym_key, space_id, kind, value, epoch)
    return key, erased_ms


def is_kept_clear(kind: IdentifierKind, value: str) -> bool:
    """Whether a value in normal form is stored as it is.

    Not where the kind is personal. Nor where the value holds an e-mail address, as some shops' customer numbers do,
    unless the kind says `clear`. Nor what looks like a pseudonym: it would be taken for whom that one stands for.
    """
    if kind.personal or PSEUDONYM.fullmatch(value):
        return False
    return kind.clear or not (("@" in value or "%40" in value) and _ADDRESS.search(value))


def make_pseudonym(key: Key, space_id: str, kind: str, value: str) -> str:
    """Return what is stored in place of a value in normal form: the key's id, a dot, 32 hexadecimal digits."""
    return f"{key.id}.{pseudonym(derive_space_secret(key.secret, space_id), space_id, kind, value)}"


@lru_cache(maxsize=64)
def derive_space_secret(secret: str, space_id: str) -> str:
    """Return a personal key's secret for one identity space: 64 hexadecimal digits."""
    return hmac.new(secret.encode(), f"space|{space_id}".encode(), sha256).hexdigest()


def find_visitor(pseudonym_key: str, space_id: str, visitor_id: str, tombstones: Tombstones) -> tuple[str, str]:
    """Return a visitor and its own person id, or those of the one that began where it was erased."""
    key = own_person_id(pseudonym_key, space_id, VISITOR_KIND, visitor_id)
    while erased_ms := tombstones.find_erased_ms(space_id, mark_key(key)):
        visitor_id = succeed_visitor(pseudonym_key, visitor_id, erased_ms)
        key = own_person_id(pseudonym_key, space_id, VISITOR_KIND, visitor_id)
    return visitor_id, key


def own_person_id(pseudonym_key: str, space_id: str, kind: str, value: str, epoch: int = 0) -> str:
    """Return the person id that an identifier has on its own, as the text of a UUID.

    `value` as it is stored. `epoch` counts erasures: after one, the same identifier is a new person.
    """
    digest = _digest(b"tagstitch.person", pseudonym_key, space_id, kind, value, str(epoch))
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


def pseudonym(pseudonym_key: str, space_id: str, kind: str, value: str) -> str:
    """Return a keyed hash of a value: 32 hexadecimal digits."""
    return _digest(b"tagstitch.pseudo", pseudonym_key, space_id, kind, value)


def _digest(purpose: bytes, key: str, space_id: str, kind: str, *parts: str) -> str:
    digest = _begin_digest(purpose, key, space_id, kind).copy()
    digest.update(b"".join([_prefix(part) for part in parts]))
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _begin_digest(purpose: bytes, key: str, space_id: str, kind: str) -> blake2b:
    """Return what all values of a kind begin with, digested once: this is done for every beacon."""
    secret = key.encode()
    if len(secret) > 64:  # blake2b's bound
        secret = sha256(secret).digest()
    return blake2b(_prefix(space_id) + _prefix(kind), digest_size=16, key=secret, person=purpose)


def _prefix(part: str) -> bytes:
    raw = part.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(4, "big") + raw
