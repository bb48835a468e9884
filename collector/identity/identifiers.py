"""Identifiers: their normal form, the values that name nobody, their pseudonyms and their own person ids.

Pure functions. What they return must never change for the same arguments: person ids in the store depend on it, and
a test pins the results. Personal values (e-mail) leave this module only as keyed pseudonyms.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from hashlib import blake2b, sha256

from collector.sites.book import IdentifierKind

VISITOR_KIND = "visitor"
MAX_VALUE_CHARS = 512

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
EMAIL = re.compile(r"[^\s@\"(),:;<>\[\\\]]{1,64}@[^\s@]{1,253}")
_HOST = re.compile(r"(?:[\w-]{1,63}\.)+[\w-]{2,63}")
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


def normalise(kind: IdentifierKind, value: str) -> str | None:
    """Return the value's normal form, by the kind's normaliser, or None where it has none.

    `text`: NFC, trimmed, no control characters. `email`: also lower case, with a host. `uuid`: lower case.
    """
    text = value if value.isascii() else unicodedata.normalize("NFC", value)
    text = text.strip().strip("\u200b\ufeff")
    if not text or len(text) > MAX_VALUE_CHARS or not text.isprintable():
        return None
    if kind.normaliser == "email":
        text = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
        text = text.removesuffix(".")
        host = text.rpartition("@")[2]
        return text if EMAIL.fullmatch(text) and _HOST.fullmatch(host) else None
    if kind.normaliser == "uuid":
        text = text.lower().removeprefix("urn:uuid:").strip("{}")
        return text if UUID.fullmatch(text) else None
    return text


def is_blocked(value: str) -> bool:
    """Whether the value names nobody: what pages send when they know no one (`null`, `guest`, `000-000` …)."""
    if "@" in value:
        mailbox = value.partition("@")[0].casefold().strip()
        return mailbox in _BLOCKED_MAILBOXES
    bare = _NOISE.sub("", value.casefold())
    return bare in BLOCKED_VALUES or not bare.strip("0") or (len(bare) >= 32 and not bare.strip("f"))


def own_person_id(pseudonym_key: str, space_id: str, kind: str, value: str, epoch: int = 0) -> str:
    """Return the person id that an identifier has on its own, as the text of a UUID.

    `value` in normal form. `epoch` counts erasures: after one, the same identifier is a new person.
    """
    digest = _digest(b"tagstitch.person", pseudonym_key, space_id, kind, value, str(epoch))
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


def pseudonym(pseudonym_key: str, space_id: str, kind: str, value: str) -> str:
    """Return what is stored in place of a personal value in normal form: 32 hexadecimal digits."""
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
