"""Signatures of webhooks as the Standard Webhooks specification has them (scheme `v1`): HMAC with SHA-256.

    webhook-id: 5b0c…            the same at each try of one delivery
    webhook-timestamp: 1790000000
    webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=

What is signed is `id.timestamp.body`. With two secrets there are two signatures, a space between; whoever verifies
takes the one that fits. Source: https://www.standardwebhooks.com, specification 1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64
NEW_BYTES = 32


class BadSecret(ValueError):
    """A secret cannot be used; the message says why, and never quotes it."""


def make_secret() -> str:
    """Return a new secret as both sides write it down."""
    return PREFIX + base64.b64encode(secrets.token_bytes(NEW_BYTES)).decode()


def parse_secret(text: str) -> bytes:
    """Return the bytes of a secret. Raises BadSecret."""
    if not text.startswith(PREFIX):
        raise BadSecret(f"a secret begins with {PREFIX}: `tagstitch webhook secret` makes one")
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret(f"what follows {PREFIX} is no base64: `tagstitch webhook secret` makes one") from None
    if not LEAST_BYTES <= len(secret) <= MOST_BYTES:
        raise BadSecret(f"a secret has {LEAST_BYTES} to {MOST_BYTES} bytes, and this one {len(secret)}")
    return secret


def read_secrets(names: Sequence[str], environ: Mapping[str, str]) -> list[bytes]:
    """Return the secrets that these variables of the environment hold. Raises BadSecret that names the variable."""
    found = []
    for name in names:
        text = environ.get(name, "").strip()
        if not text:
            raise BadSecret(f"the environment variable {name} is not set")
        try:
            found.append(parse_secret(text))
        except BadSecret as error:
            raise BadSecret(f"the environment variable {name} cannot be used: {error}") from None
    return found


def sign(keys: Sequence[bytes], delivery_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the signature of one try: one for each key, in their order."""
    signed = f"{delivery_id}.{timestamp_s}.".encode() + body
    return " ".join(f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys)
