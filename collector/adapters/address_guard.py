"""Where an adapter may connect to: the forms of an address that a configuration may name, and what a name stands for.

A guard belongs to one origin. It resolves the origin's name, judges every address that came back, and hands out the
addresses themselves: whoever connects, connects to what was judged, and never asks a resolver again (a name that
means another machine the second time is the oldest way around such a check). One refused address refuses them all.

    public        may be reached, by https
    allowed       in the configuration's `allow_networks`: may be reached, by http as well
    inside        private, loopback, carrier's and unique local ranges: only where allowed
    never         link-local, metadata services, multicast, reserved: whatever the configuration says

Source: IANA special-purpose address registries (RFC 6890), RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo),
RFC 5214 (ISATAP).
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from collector.errors import AdapterError, AdapterReason

Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], list[str]]
"""A host's name and a port to its addresses, in the order of preference. Blocking; raises OSError."""

RESOLVED_S = 30.0
"""For how long a judged answer of the resolver holds."""

MAX_ADDRESSES = 16

_NEVER = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
        *("192.88.99.0/24", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4"),
        *("240.0.0.0/4", "100.100.100.200/32", "168.63.129.16/32"),  # two clouds keep their metadata there
        *("::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48"),
        *("3fff::/20", "5f00::/16", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::254/128"),
    )
)
_INSIDE = tuple(
    ip_network(text)
    for text in (
        *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        *("::1/128", "fc00::/7"),
    )
)
_LOOPBACK_6 = IPv6Address("::1")
_GLOBAL_6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PLAIN_URL = re.compile(r"[!-~]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Standing(Enum):
    """What an address is to us."""

    PUBLIC = "public"
    ALLOWED = "allowed"
    REFUSED = "refused"


class Origin(NamedTuple):
    """Whom an adapter talks to. `host`: a name in lower case, or an address without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The Host header: without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks of `allow_networks`, such as `10.0.0.0/8`. Raises ValueError with the reason."""
    return tuple(ip_network(text) for text in texts)


def parse_base(url: str) -> tuple[Origin, str]:
    """Return an origin and the path of a base URL, as a configuration names it. Raises ValueError with the reason.

    One spelling for one machine: numbers that some resolvers take for an address (`0x7f.1`, `2130706433`) are none
    here, nor are names and passwords before the host, or anything after the path.
    """
    if not _PLAIN_URL.fullmatch(url) or "\\" in url:
        raise ValueError("write it in plain ASCII, without spaces (a name in other letters as xn--…)")
    try:
        parts = urlsplit(url)
        said = parts.port
    except ValueError:  # not with its words: they quote what may be a password
        raise ValueError("its host or its port cannot be read") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("it must begin with https:// (or http://, inside allow_networks)")
    if "@" in parts.netloc:
        raise ValueError("no name or password may stand in it: say `auth`, with secrets from the environment")
    if "?" in url or "#" in url:
        raise ValueError("it ends with its path: a query belongs into `path`")
    port = _DEFAULT_PORTS[parts.scheme] if said is None else said
    if not 1 <= port <= 65_535 or parts.netloc.endswith(":"):
        raise ValueError("its port must be a number from 1 to 65535")
    return Origin(parts.scheme, _check_host(parts.hostname or "", parts.netloc), port), parts.path


def _check_host(host: str, netloc: str) -> str:
    labels = host.split(".")
    try:
        if netloc.startswith("["):
            address = IPv6Address(host)
            if not address.scope_id:  # an address with a zone is none that can be reached
                return str(address)
        elif _NUMBER.fullmatch(labels[-1]):
            return str(IPv4Address(host))
        elif len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels):
            return host
    except ValueError:
        pass
    raise ValueError("it names no host")


def judge_address(text: str, allowed: tuple[Network, ...] = ()) -> Standing:
    """Judge one address. `allowed`: the networks that the configuration lets through."""
    try:
        address = ip_address(text)
    except ValueError:
        return Standing.REFUSED
    if isinstance(address, IPv6Address):
        if address.scope_id:
            return Standing.REFUSED
        # What an address of one family carries of the other is what will be reached.
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address in _NAT64:
            address = IPv4Address(int(address) & 0xFFFF_FFFF)
    if address != _LOOPBACK_6 and any(address in network for network in _NEVER):
        return Standing.REFUSED
    if isinstance(address, IPv6Address) and (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return Standing.REFUSED
    if any(address in network for network in allowed):
        return Standing.ALLOWED
    if any(address in network for network in _INSIDE):
        return Standing.REFUSED
    if isinstance(address, IPv6Address) and address not in _GLOBAL_6:
        return Standing.REFUSED
    return Standing.PUBLIC if address.is_global else Standing.REFUSED


def resolve_name(host: str, port: int) -> list[str]:
    """Ask the system's resolver. Blocking."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


class AddressGuard:
    """The addresses of one origin, judged. For one event loop.

    It has one thread, for a resolver that hangs must not take those that others need; who asks meanwhile waits for
    the same answer, each within their own time.
    """

    def __init__(
        self,
        origin: Origin,
        allowed: tuple[Network, ...] = (),
        resolve: Resolve = resolve_name,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: seconds that never go back."""
        self.origin = origin
        self._allowed = allowed
        self._resolve = resolve
        self._clock = clock
        self._held: tuple[str, ...] = ()
        self._held_until_s = float("-inf")
        self._running: asyncio.Future[tuple[str, ...]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="adapter-resolver")

    async def find_addresses(self) -> tuple[str, ...]:
        """Return the addresses to connect to, best first, at least one. Raises AdapterError: `config` where one of
        them may not be reached, `unreachable` where there is none."""
        if self._clock() < self._held_until_s:
            return self._held
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._look(), context=Context())
            self._running.add_done_callback(self._end_look)
        # Not cancelled with the one who waits: others may wait too, and the thread cannot be stopped anyway.
        return await asyncio.shield(self._running)

    def close(self) -> None:
        """End the thread. One that hangs in the resolver ends by itself when that gives up."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look(self) -> tuple[str, ...]:
        host, port = self.origin.host, self.origin.port
        if _is_address(host):
            found = [host]
        else:
            try:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._thread, self._resolve, host, port)
            except (OSError, UnicodeError, RuntimeError):
                raise AdapterError(AdapterReason.UNREACHABLE, f"the name {host} cannot be resolved") from None
        if not found:
            raise AdapterError(AdapterReason.UNREACHABLE, f"the name {host} has no address")
        addresses = tuple(found[:MAX_ADDRESSES])
        self._check(addresses)
        self._held, self._held_until_s = addresses, self._clock() + RESOLVED_S
        return addresses

    def _check(self, addresses: tuple[str, ...]) -> None:
        standings = {judge_address(address, self._allowed) for address in addresses}
        if Standing.REFUSED in standings:
            raise AdapterError(
                AdapterReason.CONFIG,
                f"{self.origin.host} leads to an address that is not public: name its network in allow_networks, "
                "if it is meant (link-local addresses and metadata services are never reached)",
            )
        if self.origin.scheme == "http" and standings != {Standing.ALLOWED}:
            raise AdapterError(
                AdapterReason.CONFIG,
                f"{self.origin.host} would be asked without encryption: use https, or name its network in "
                "allow_networks",
            )

    def _end_look(self, look: asyncio.Future[tuple[str, ...]]) -> None:
        self._running = None
        if not look.cancelled():
            look.exception()  # those who waited have it; without any, nobody needs it


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
