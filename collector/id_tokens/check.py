"""One token, judged: who is vouched for, and by whom; or the reason why it does not count. Pure, never raises.

Two kinds of token, told apart by the algorithm in their head, and nothing else about them is believed before the
signature has been verified, unless the issuer's key cannot be had (see `keys`). Then the token says no more than any
text of a browser does: `is_verified` is false.

    RS256 … EdDSA    an ID token of one of the site's issuers (OpenID Connect), by the issuer's public key
    HS256            a JWT of the site's own, by the site's signing secret

A secret never verifies an issuer's token, nor a public key a site's. `none` and all else are refused.

Both are bearer tokens; a token that was leaked signs somebody in, in the analytics alone. So they are believed for a
day at most, whatever they say themselves, and `resolve` lets each attach few visitors: by the id that `name_token`
gives it.

Source: OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725 (best practices for JWT).
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import jwt
import msgspec
from jwt.api_jws import PyJWS

from collector.id_tokens.factors import is_multi_factor, read_methods
from collector.id_tokens.keys import FAMILY_BY_ALGORITHM, KeyBook
from collector.keyring import Keyring
from collector.reasons import Reason
from collector.sites.book import Issuer, Site

MAX_TOKEN_CHARS = 8_192
MAX_AUDIENCES = 16
LEEWAY_S = 60
MAX_AGE_S = 86_400
SITE_ALGORITHM = "HS256"
DEFAULT_KIND = "customer"

_VERIFIER = PyJWS(algorithms=[*FAMILY_BY_ALGORITHM, SITE_ALGORITHM])
_DECODE = msgspec.json.Decoder().decode
Claims = Mapping[str, Any]


class Vouched(NamedTuple):
    """What a valid token says. `actor`: the issuer that said it; "" for the site itself. `verification`: how it has
    made sure, `mfa`: by more than one factor. `token_id`: what the token is known by; "" where many may show it.
    `is_verified`: nobody vouches without it; kind and value are what the token says of itself."""

    kind: str
    value: str
    actor: str = ""
    verification: str = ""
    mfa: bool = False
    token_id: str = ""
    is_verified: bool = True


class _Opened(NamedTuple):
    """A token taken apart. Nothing of it is verified."""

    text: str
    algorithm: str
    key_id: str
    claims: Claims


def check_token(
    text: str,
    site: Site,
    keyring: Keyring,
    keys: KeyBook,
    now_ms: int,
    kind: str = "",
    nonce: str = "",
    *,
    may_wait: bool = True,
) -> Vouched | Reason:
    """Judge a token that came with a beacon of this site. `kind`: which kind of identifier the page wants it for; ""
    and the default kind leave that to the token. `nonce`: what the page had asked the issuer to put into it, so that
    nobody can slip it another one; "" where the page does not say. `may_wait`: the sender would send it again."""
    if len(text) > MAX_TOKEN_CHARS:
        return Reason.SIZE
    opened = _open(text)
    if opened is None:
        return Reason.SIGNATURE
    if nonce and opened.claims.get("nonce") != nonce:
        return Reason.SIGNATURE
    if opened.algorithm == SITE_ALGORITHM:
        return _check_site_token(opened, site, keyring, now_ms // 1000, kind)
    if opened.algorithm in FAMILY_BY_ALGORITHM:
        return _check_issuer_token(opened, site, keys, now_ms, kind, may_wait)
    return Reason.SIGNATURE


def _check_issuer_token(
    opened: _Opened, site: Site, keys: KeyBook, now_ms: int, kind: str, may_wait: bool
) -> Vouched | Reason:
    claims = opened.claims
    issuer = _choose_issuer(claims, site, kind)
    if issuer is None:
        return Reason.SIGNATURE
    issued_s = _read_time(claims, "iat")
    if issued_s is None or _read_time(claims, "exp") is None:
        return Reason.SIGNATURE
    if issuer.claim == "email" and claims.get("email_verified") not in (True, "true"):
        return Reason.SIGNATURE  # anybody may enter anybody's address; see docs/sign-identify.md
    value = _read_value(claims, issuer.claim)
    if value is None:
        return Reason.SIGNATURE
    now_s = now_ms // 1000
    if issued_s + MAX_AGE_S + LEEWAY_S <= now_s:
        return Reason.EXPIRED
    if (reason := _judge_times(claims, now_s)) is not None:
        return reason
    # Last, because an unknown key makes us ask the issuer: not for a token that would not count with it either.
    public = keys.find(issuer, opened.key_id, opened.algorithm, now_ms, may_wait=may_wait)
    if public is Reason.UNVERIFIED:
        return Vouched(issuer.kind, value, is_verified=False)
    if isinstance(public, Reason):
        return public
    if not _verifies(opened, public):
        return Reason.SIGNATURE
    return Vouched(
        kind=issuer.kind,
        value=value,
        actor=issuer.issuer,
        verification=read_methods(claims),
        mfa=is_multi_factor(claims, issuer.mfa_acr),
        token_id=name_token(claims, opened.text),
    )


def _choose_issuer(claims: Claims, site: Site, kind: str) -> Issuer | None:
    """Return the site's issuer that this token may be of: made for us, and for the kind that is wanted."""
    audiences = claims.get("aud")
    if isinstance(audiences, str):
        audiences = [audiences]
    if not isinstance(audiences, list) or len(audiences) > MAX_AUDIENCES:
        return None
    party = claims.get("azp")
    fit = [
        issuer
        for issuer in site.issuers
        if issuer.issuer == claims.get("iss")
        and issuer.audience in audiences
        and (len(audiences) == 1 or party == issuer.audience)
    ]
    named = [issuer for issuer in fit if issuer.kind == kind]
    if named or kind not in ("", DEFAULT_KIND):
        fit = named
    return fit[0] if fit else None


def _check_site_token(opened: _Opened, site: Site, keyring: Keyring, now_s: int, kind: str) -> Vouched | Reason:
    claims = opened.claims
    versions = [version for version in site.identify_versions if opened.key_id in ("", str(version))]
    if not any(_verifies(opened, keyring.derive_identify_secret(site.site_id, version)) for version in versions):
        return Reason.SIGNATURE
    said = claims.get("kind", DEFAULT_KIND)
    value, expires_s = _read_value(claims, "sub"), _read_time(claims, "exp")
    if claims.get("iss") != site.site_id or not isinstance(said, str) or value is None or expires_s is None:
        return Reason.SIGNATURE
    if kind not in ("", DEFAULT_KIND, said) or expires_s > now_s + MAX_AGE_S + LEEWAY_S:
        return Reason.SIGNATURE
    if (reason := _judge_times(claims, now_s)) is not None:
        return reason
    # Two tokens that a back end makes for one customer within a second may be the same: only its `jti` names one.
    token_id = name_token(claims) if claims.get("jti") else ""
    return Vouched(said, value, "", read_methods(claims), is_multi_factor(claims), token_id)


def name_token(claims: Claims, text: str = "") -> str:
    """Return what a token is known by: a digest of its issuer and its `jti`, else of its text; 32 hexadecimal digits.

    The text without the signature: that of some algorithms is another one each time."""
    named = claims.get("jti")
    said = f"{claims.get('iss')}\n{named}" if named else text.rpartition(".")[0]
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16, person=b"tagstitch.token").hexdigest()


def _judge_times(claims: Claims, now_s: int) -> Reason | None:
    """Return why a token does not count now, or None."""
    for name in ("iat", "nbf"):
        begins_s = _read_time(claims, name)
        if name in claims and (begins_s is None or begins_s > now_s + LEEWAY_S):
            return Reason.SIGNATURE
    expires_s = _read_time(claims, "exp")
    return None if expires_s is not None and expires_s + LEEWAY_S > now_s else Reason.EXPIRED


def _open(text: str) -> _Opened | None:
    try:
        parts = _VERIFIER.decode_complete(text, options={"verify_signature": False})
        claims = _DECODE(parts["payload"])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None
    head = parts["header"]
    algorithm, key_id = head.get("alg"), head.get("kid", "")
    if not isinstance(claims, dict) or not isinstance(algorithm, str) or not isinstance(key_id, str):
        return None
    if not {"crit", "b64", "zip", "enc"}.isdisjoint(head):
        return None  # things that would change how it is to be read
    return _Opened(text, algorithm, key_id, claims)


def _verifies(opened: _Opened, key: Any) -> bool:
    try:
        _VERIFIER.decode_complete(opened.text, key, algorithms=[opened.algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        return False
    return True


def _read_time(claims: Claims, name: str) -> float | None:
    """Return seconds since 1970. JSON knows no infinity, and a truth value is no number."""
    value = claims.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _read_value(claims: Claims, name: str) -> str | None:
    """Return what names the customer. Databases number them, so a number is taken as its digits."""
    value = claims.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None
