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
    when the newest came into force.
    """

    value: str
    key: str
    earlier: tuple[tuple[str, str], ...] = ()
    is_clear: bool = True
    renamed_at_ms: int = 0


def is_blocked(value: str) -> bool:
    """Whether the value names nobody: what pages send when they know no one (`null`, `guest`, `000-000` …)."""
    if "@" in value:
        mailbox = value.partition("@")[0].casefold().strip()
        return mailbox in _BLOCKED_MAILBOXES
    bare = _NOISE.sub("", value.casefold())
    return bare in BLOCKED_VALUES or not bare.strip("0") or (len(bare) >= 32 and not bare.strip("f"))


def name_identifier(keyring: Keyring, space_id: str, kind: IdentifierKind, value: str) -> Named:
    """Return how a value in normal form is stored, and its own person id."""
    secret = keyring.pseudonym_key
    if is_kept_clear(kind, value):
        return Named(value, own_person_id(secret, space_id, kind.name, value))
    names = []
    for key in keyring.personal_keys:
        stored = make_pseudonym(key, space_id, kind.name, value)
        names.append((stored, own_person_id(secret, space_id, kind.name, stored)))
    newest, *earlier = names
    return Named(*newest, tuple(earlier), is_clear=False, renamed_at_ms=keyring.personal_keys[0].made_at_ms)


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
