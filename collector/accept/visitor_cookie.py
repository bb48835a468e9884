"""The value of the visitor cookie: which visitor this browser is, and who was signed in until when.

    visitor_id.signed_s.level.until_s.customer_key.consent.signature    level: `3`, or `3m` by more than one factor

Signed with the instance's cookie keys, bound to the site, so that a cookie carried to another site says nothing
there. `level`, `until_s` and `customer_key` are 0, 0 and empty where nobody is signed in. `consent` is what was last
written down of the visitor's answer, see `accept.answers`.

Who knows a visitor id must not get a cookie for it, or would inherit that visitor's history. So an id is signed only
within a day of its making, which a UUIDv7 tells (see `may_sign`), and only for the network and browser that named it
first (see `first_sight`). Any other stays a claim of the script.
"""

from __future__ import annotations

from binascii import b2a_base64
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from typing import Any, NamedTuple

from itsdangerous import Signer

from collector.event import NIL_ID
from collector.identity.identifiers import UUID
from collector.keyring import Keyring

SALT = b"tagstitch.visitor"
MFA_MARK = "m"
MAX_COOKIE_CHARS = 512
MAX_AGE_S = 400 * 86_400
RENEW_AFTER_S = 30 * 86_400
SIGN_WITHIN_MS = 86_400_000

_Hashes = tuple[Any, Any]  # inner and outer hash of an HMAC, begun with the key
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class VisitorCookie(NamedTuple):
    """What a cookie says. Times in seconds since 1970."""

    visitor_id: str
    signed_s: int
    level: int = 0
    until_s: int = 0
    customer_key: str = NIL_ID
    mfa: bool = False
    consent: str = ""


def write_cookie(keyring: Keyring, site_id: str, cookie: VisitorCookie) -> str:
    """Return the signed value."""
    customer_key = "" if cookie.customer_key == NIL_ID else cookie.customer_key
    level = f"{cookie.level}{MFA_MARK}" if cookie.mfa else cookie.level
    value = f"{cookie.visitor_id}.{cookie.signed_s}.{level}.{cookie.until_s}.{customer_key}.{cookie.consent}"
    return f"{value}.{_sign(_find_keys(keyring)[0], site_id, value)}"


def read_cookie(keyring: Keyring, site_id: str, text: str, now_s: int) -> VisitorCookie | None:
    """Return what the value says, or None where it is not ours, too old or damaged. Never raises."""
    if not text or len(text) > MAX_COOKIE_CHARS or not text.isascii():
        return None
    value, _, signature = text.rpartition(".")
    if not any(compare_digest(_sign(key, site_id, value), signature) for key in _find_keys(keyring)):
        return None
    try:
        visitor_id, signed_s, level, until_s, customer_key, consent = value.split(".")
        mfa = level[-1:] == MFA_MARK
        level = level[:-1] if mfa else level
        signed_in = int(level), int(until_s), customer_key or NIL_ID, mfa
        cookie = VisitorCookie(visitor_id, int(signed_s), *signed_in, consent)
    except ValueError:
        return None
    if not UUID.fullmatch(visitor_id) or cookie.signed_s + MAX_AGE_S < now_s:
        return None
    return cookie


def may_sign(visitor_id: str, now_ms: int) -> bool:
    """Whether a visitor id that only the script names is fresh enough to be signed into a cookie."""
    return visitor_id[14] == "7" and abs(now_ms - int(visitor_id[:8] + visitor_id[9:13], 16)) <= SIGN_WITHIN_MS


def _find_keys(keyring: Keyring) -> tuple[_Hashes, ...]:
    return _derive_keys(*[key.secret for key in keyring.cookie_keys])


@lru_cache(maxsize=64)
def _derive_keys(*secrets: str) -> tuple[_Hashes, ...]:
    """Return the keys in the keyring's order, as what both hashes of an HMAC begin with. The first one signs.

    Derived as itsdangerous derives them.
    """
    signers = [Signer(secret, salt=SALT, key_derivation="hmac", digest_method=sha256) for secret in secrets]
    keys = [signer.derive_key().ljust(64, b"\0") for signer in signers]
    return tuple((sha256(key.translate(_INNER)), sha256(key.translate(_OUTER))) for key in keys)


def _sign(key: _Hashes, site_id: str, value: str) -> str:
    """Return itsdangerous' signature, from hashes that are begun: its own way takes five times as long."""
    inner, outer = key[0].copy(), key[1].copy()
    inner.update(f"{site_id}.{value}".encode())
    outer.update(inner.digest())
    return b2a_base64(outer.digest(), newline=False).translate(_URL_SAFE, b"=").decode()
