"""Hand-over tokens: how a visitor who goes from one domain of an organisation to another is known there again.

The collector makes a token for the visitor who leaves; the tag puts it into the link; the tag of the other domain
sends it back. It says who left, when, and since when their session had been going on. It is encrypted and sealed
(AES-256-GCM) together with what it is bound to: the identity space, the client's network address and the browser's
name. So nobody reads a visitor id out of an address or a log, and a link that is sent to somebody else says nothing
there. It lives for five minutes, and has an id, by which `resolve` lets it count for one arrival.

    base64url( nonce 12 ‖ encrypted( visitor 16 ‖ issued 4 ‖ session began 4 ) ‖ seal 16 )       70 characters

Keys are derived from those of the visitor cookie, under a purpose of their own. A nonce is random, and good for some
thousand millions of tokens under one key, far more than are made before it is replaced.
"""

from __future__ import annotations

import binascii
import ipaddress
import struct
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

from collector.keyring import Keyring
from collector.sealing import NONCE_BYTES, seal, unseal

PURPOSE = b"tagstitch.handover"
LIFETIME_S = 300
CLOCK_SKEW_S = 60
"""How far the clocks of two hosts of one collector may be apart."""
_SAID = struct.Struct(">16sII")
TOKEN_CHARS = 70
"""Length of every token: 52 bytes in base64 without padding."""


class Handover(NamedTuple):
    """What a valid token says. Times in seconds since 1970."""

    token_id: str
    visitor_id: str
    issued_s: int
    session_started_s: int  # 0: not known


def mint_handover(
    keyring: Keyring,
    space_id: str,
    visitor_id: str,
    address: str,
    user_agent: str,
    now_s: int,
    session_started_s: int = 0,
) -> str | None:
    """Return a fresh token, or None where there is nothing to bind it to: no address, or no name of a browser."""
    bound = _bind(space_id, address, user_agent)
    if bound is None:
        return None
    said = _SAID.pack(uuid.UUID(visitor_id).bytes, now_s, session_started_s if 0 < session_started_s <= now_s else 0)
    sealed = seal(keyring.cookie_keys[0].secret, PURPOSE, said, bound)
    return urlsafe_b64encode(sealed).decode().rstrip("=")


def read_handover(
    keyring: Keyring, space_id: str, token: str, address: str, user_agent: str, now_s: int
) -> Handover | None:
    """Return what the token says, or None where it is forged, too old, or of another browser. Never raises."""
    bound = _bind(space_id, address, user_agent)
    if bound is None or len(token) != TOKEN_CHARS or not token.isascii():
        return None
    try:
        sealed = urlsafe_b64decode(token + "==")
    except (binascii.Error, ValueError):
        return None
    if urlsafe_b64encode(sealed).decode().rstrip("=") != token:
        return None  # another spelling of the same bytes
    for key in keyring.cookie_keys:
        plain = unseal(key.secret, PURPOSE, sealed, bound)
        if plain is None:
            continue
        visitor, issued_s, session_started_s = _SAID.unpack(plain)
        if not -CLOCK_SKEW_S <= now_s - issued_s <= LIFETIME_S:
            return None
        return Handover(sealed[:NONCE_BYTES].hex(), str(uuid.UUID(bytes=visitor)), issued_s, session_started_s)
    return None


def _bind(space_id: str, address: str, user_agent: str) -> bytes | None:
    """Return what a token is bound to. Of an IPv6 address the network counts: browsers change the rest at will."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        network = mapped.packed if mapped else parsed.packed[:8]
    else:
        network = parsed.packed
    if not user_agent:
        return None
    parts = (space_id.encode(), network, user_agent.encode("utf-8", "surrogatepass"))
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
