"""Texts that only we can read and nobody can change: AES-GCM with a random nonce in front, by a key made of a secret.

The library behind it takes 9 MB of memory, so it is loaded with the first text; many a web process never has one.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
NONCES_DRAWN = 1_000


def seal(secret: str, purpose: bytes, plain: bytes, bound: bytes | None = None) -> bytes:
    """Return nonce, cipher text and tag. `purpose` parts the uses of a secret. `bound`: has to be the same again."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + _make_cipher(secret, purpose).encrypt(nonce, plain, bound)


def make_seal(secret: str, purpose: bytes) -> Callable[[bytes, bytes | None], bytes]:
    """Return `seal` with this secret and purpose, of plain text and what is bound: for many texts, in one thread."""
    encrypt = _make_cipher(secret, purpose).encrypt
    nonces: Iterator[bytes] = iter(())

    def seal_one(plain: bytes, bound: bytes | None) -> bytes:
        nonlocal nonces
        nonce = next(nonces, None)
        if nonce is None:
            # A system call for each would take as long as the cipher.
            drawn = secrets.token_bytes(NONCE_BYTES * NONCES_DRAWN)
            nonces = (drawn[start : start + NONCE_BYTES] for start in range(0, len(drawn), NONCE_BYTES))
            nonce = next(nonces)
        return nonce + encrypt(nonce, plain, bound)

    return seal_one


def unseal(secret: str, purpose: bytes, sealed: bytes, bound: bytes | None = None) -> bytes | None:
    """Return the plain text, or None where this secret has not sealed it, not so, or somebody has changed it."""
    from cryptography.exceptions import InvalidTag

    try:
        return _make_cipher(secret, purpose).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):  # too short for a nonce
        return None


@lru_cache(maxsize=32)
def _make_cipher(secret: str, purpose: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(hmac.new(secret.encode(), purpose, sha256).digest())
