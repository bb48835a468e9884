"""Who may speak to the engine: a few names, each with the salted digest of a random password and a role.

The process holds no clear password. The passwords are random and at least 128 bits long, so one round of BLAKE2b
with a salt is enough: there is no dictionary to try.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from collector.engine.errors import AUTHENTICATION_FAILED, QueryFailed


class Role(StrEnum):
    """What a credential may do: everything, read what is allow-listed, or read and write database `analytics`."""

    WRITER = "writer"
    READER = "reader"
    ANALYST = "analyst"


@dataclass(frozen=True, slots=True)
class Credential:
    """One name with its role and the digest of its password, `blake2b$<salt>$<digest>` in hexadecimal."""

    user: str
    digest: str
    role: Role


def digest_password(password: str, salt: bytes | None = None) -> str:
    """Return the digest to put into the engine's configuration. `password` must be random, 128 bits or more."""
    salt = secrets.token_bytes(16) if salt is None else salt
    digest = hashlib.blake2b(password.encode(), salt=salt, person=b"tagstitch engine").hexdigest()
    return f"blake2b${salt.hex()}${digest}"


def authenticate(credentials: Mapping[str, Credential], user: str, password: str) -> Credential:
    """Return the credential of `user`, or raise `QueryFailed` 516 that does not say which of the two was wrong."""
    known = credentials.get(user)
    stored = known.digest if known else digest_password("", b"\0" * 16)
    _, salt, digest = stored.split("$")
    offered = digest_password(password, bytes.fromhex(salt)).rpartition("$")[2]
    if not hmac.compare_digest(offered, digest) or known is None:
        raise QueryFailed(
            AUTHENTICATION_FAILED,
            "Authentication failed: password is incorrect, or there is no user with such name.",
        )
    return known


def read_basic(header: str) -> tuple[str, str] | None:
    """Read `Authorization: Basic …` into user and password; None where it is something else."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password
