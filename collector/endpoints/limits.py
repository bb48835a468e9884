"""How fast beacons may come, from one address and for one site, and how many connections one address may hold.

What is over its bound is answered 429.

A rate is kept as one number for each key, the moment at which what came so far will have been worked off (GCRA, the
leaky bucket without a bucket). It lies in the past for whoever is idle, and such keys are forgotten: memory is bounded
by MOST_KEYS, whoever floods us from however many addresses. The address lives in this table alone and is never
written. An IPv6 address counts with its whole /64, for that is what one household or host has.

This machine (loopback) is not limited: a proxy in front of us that `trusted_proxies` does not name would otherwise
have all visitors share one rate. Every web process counts for itself: an address may do in each what the settings say,
a site in each its share of its rate. Intervals are measured by a clock that never goes back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from ipaddress import IPv6Address

from collector.endpoints.client_address import Networks, is_trusted, parse_address
from collector.metrics import count_limited
from collector.sites.book import Site

MOST_KEYS = 16_384
MAX_WAIT_S = 300
"""The longest that anybody is told to wait. One large beacon may take a small rate an hour to work off; who comes again
earlier is told again, and a sender that is told an hour may be gone by then."""
SITE_BURST_S = 10.0
"""How many seconds' worth of its rate a site may have at once."""

_V6_HOST_BITS = 64


def find_key(address: str) -> Hashable:
    """Return under what an address is counted: itself, or the /64 around it; "" for this machine and for no address."""
    if ":" not in address:
        return "" if address.startswith("127.") else address
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        return "" if parsed.is_loopback else int(parsed) >> _V6_HOST_BITS
    return find_key(str(parsed)) if parsed else ""


class Pace:
    """When each key will have worked off what came so far. For one thread."""

    def __init__(self, most_keys: int = MOST_KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds that never go back."""
        self._most_keys = most_keys
        self._clock = clock
        self._free_at: dict[Hashable, float] = {}  # the one that came last stands last

    def __len__(self) -> int:
        return len(self._free_at)

    def find_wait_s(self, key: Hashable, cost_s: float, patience_s: float) -> float:
        """Admit what takes `cost_s` seconds to work off, where at most `patience_s` are still to be worked off.

        Returns 0.0 where it was admitted, else in how many seconds it would be; then nothing is counted.
        """
        now = self._clock()
        free_at = max(self._free_at.pop(key, now), now)
        wait_s = free_at - now - patience_s
        if wait_s > 0:
            self._free_at[key] = free_at
            return wait_s
        if len(self._free_at) >= self._most_keys:
            self._forget(now)
        self._free_at[key] = free_at + cost_s
        return 0.0

    def _forget(self, now: float) -> None:
        """Forget the keys that are idle; where none is, those that came longest ago."""
        self._free_at = {key: free_at for key, free_at in self._free_at.items() if free_at > now}
        excess = len(self._free_at) - self._most_keys * 7 // 8
        for key in list(self._free_at)[: max(0, excess)]:
            del self._free_at[key]


class RateLimits:
    """The rates of one web process. Answers are seconds for Retry-After, MAX_WAIT_S at most; 0: admitted."""

    def __init__(
        self,
        *,
        address_rate: int,
        address_burst: int,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`address_rate`: requests a second, 0: any. `address_burst`: requests at once. `workers`: on this host."""
        self._cost_s = 1 / address_rate if address_rate else 0.0
        self._patience_s = (address_burst - 1) * self._cost_s
        self._workers = workers
        self._addresses = Pace(clock=clock)
        self._sites = Pace(clock=clock)

    def judge_address(self, address: str) -> int:
        """Count a request from this address; "" where it is not known."""
        if not self._cost_s:
            return 0
        key = find_key(address)
        if not key:
            return 0
        wait_s = self._addresses.find_wait_s(key, self._cost_s, self._patience_s)
        if wait_s:
            count_limited("address")
        return min(math.ceil(wait_s), MAX_WAIT_S)

    def judge_site(self, site: Site, events: int) -> int:
        """Count events for this site. One beacon may be as large as any: it is worked off before the next one."""
        if not site.rate:
            return 0
        wait_s = self._sites.find_wait_s(site.site_id, events * self._workers / site.rate, SITE_BURST_S)
        if wait_s:
            count_limited("site")
        return min(math.ceil(wait_s), MAX_WAIT_S)


class OpenConnections:
    """How many connections each address holds. For one event loop."""

    def __init__(
        self, most: int = 1024, proxies: Networks = (), find_key: Callable[[str], Hashable] = find_key
    ) -> None:
        """`most`: of one address. `proxies`: those that bring many clients; they may hold any number."""
        self._most = most
        self._proxies = proxies
        self._find_key = find_key
        self._counts: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return sum(self._counts.values())

    def enter(self, peer: str) -> bool:
        """Count a new connection. False: there are too many already, and it is not counted."""
        key = self._find_counted(peer)
        if key:
            count = self._counts.get(key, 0)
            if count >= self._most:
                count_limited("connections")
                return False
            self._counts[key] = count + 1
        return True

    def leave(self, peer: str) -> None:
        """Count one that was let in out again."""
        key = self._find_counted(peer)
        if key:
            count = self._counts.pop(key, 0)
            if count > 1:
                self._counts[key] = count - 1

    def _find_counted(self, peer: str) -> Hashable:
        return "" if self._proxies and is_trusted(peer, self._proxies) else self._find_key(peer)
