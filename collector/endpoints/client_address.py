"""Whose address a request comes from, when it came through proxies.

Read from the right: each proxy appends the address it was asked by, so the first address from the right that is none
of our proxies is the client. What stands further left was written by the client and is not believed.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

MAX_HOPS = 16
_BYTE = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
PLAIN_IPV4 = re.compile(rb"%b\.%b\.%b\.%b" % ((_BYTE,) * 4))


def find_client_address(peer: str, forwarded_for: bytes, trusted: Networks) -> str:
    """Return the client's address. `peer`: who connected to us, known to be trusted.

    `forwarded_for`: all X-Forwarded-For headers, joined with commas. Where an entry makes no sense, the last
    trusted hop before it is all that is known.
    """
    known = peer
    if not forwarded_for:
        return known
    if PLAIN_IPV4.fullmatch(forwarded_for):  # one entry in its usual form: it is all that is known, ours or not
        return forwarded_for.decode("latin-1")
    for entry in reversed(forwarded_for.rsplit(b",", MAX_HOPS)[-MAX_HOPS:]):
        address = parse_address(entry.decode("latin-1"))
        if address is None:
            return known
        known = str(address)
        if not _is_in(address, trusted):
            return known
    return known


def is_trusted(peer: str, trusted: Networks) -> bool:
    """Whether the one who connected is a proxy of ours."""
    address = parse_address(peer)
    return address is not None and _is_in(address, trusted)


def _is_in(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)


@lru_cache(maxsize=1024)
def parse_address(text: str) -> Address | None:
    """Read an address as proxies write it: with brackets, a port, a zone, or mapped into IPv6."""
    text = text.strip().strip('"')
    if len(text) > 64:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
