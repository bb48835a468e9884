"""JSON Web Key Sets, as issuers publish them, read into keys.

Only what verifies a signature is ever read out of a set: a private key in it, published by mistake, is not even looked
at. Whoever imports this loads the library for signatures, 150 ms and 5 MB: a web process whose sites have no issuer
never does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from collector.id_tokens.keys import FAMILY_BY_ALGORITHM, IssuerKey, KeySet

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
MAX_EXPONENT = 2**32
MAX_KEYS = 64
MAX_MEMBER_CHARS = 4096
_MEMBERS = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")


def read_key_set(document: bytes, read_at_ms: int) -> KeySet:
    """Read a JSON Web Key Set. Keys that we cannot use are left out. Raises ValueError where it is none."""
    try:
        found = msgspec.json.decode(document)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    published = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(published, list):
        raise ValueError("no key set")  # noqa: TRY004  the document is wrong, not our use of it
    return make_key_set(published[:MAX_KEYS], read_at_ms)


def make_key_set(published: Iterable[object], read_at_ms: int) -> KeySet:
    """Return the set of those keys that can be used."""
    members: list[Mapping[str, str]] = []
    keys: list[IssuerKey] = []
    for item in published:
        if isinstance(item, dict) and (key := _read_key(item)) is not None:
            members.append(_keep_members(item))
            keys.append(key)
    return KeySet(tuple(members), tuple(keys), read_at_ms)


def _keep_members(item: Mapping[str, Any]) -> dict[str, str]:
    return {name: item[name] for name in _MEMBERS if isinstance(item.get(name), str)}


def _read_key(item: Mapping[str, Any]) -> IssuerKey | None:
    member = _keep_members(item)
    operations = item.get("key_ops", ["verify"])
    if member.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    if any(len(text) > MAX_MEMBER_CHARS for text in member.values()):
        return None
    kind, curve, algorithm = member.get("kty"), member.get("crv", ""), member.get("alg", "")
    try:
        if kind == "RSA":
            public: object = RSAAlgorithm.from_jwk(member)
            family = "RSA"
        elif kind == "EC":
            public, family = ECAlgorithm.from_jwk(member), curve
        elif kind == "OKP":
            public, family = OKPAlgorithm.from_jwk(member), curve
        else:
            return None
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, OverflowError):
        return None
    if isinstance(public, RSAPublicKey):
        if not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS or public.public_numbers().e >= MAX_EXPONENT:
            return None
    elif not isinstance(public, EllipticCurvePublicKey | Ed25519PublicKey):
        return None
    if family not in FAMILY_BY_ALGORITHM.values() or (algorithm and FAMILY_BY_ALGORITHM.get(algorithm) != family):
        return None
    return IssuerKey(member.get("kid", ""), family, algorithm, public)
