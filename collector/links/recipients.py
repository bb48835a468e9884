"""How many recipients of one campaign an address has followed links for lately: many are a scanner's, or an office's.

In the memory of one web process, never written. An address and a recipient stand here as digests under a key that the
process makes and nobody else has. Bounded: the address that came longest ago is forgotten first, and of each no more
recipients are kept than it takes to be many.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

WINDOW_S = 600.0
MOST_ADDRESSES = 8192


class RecipientWindow:
    """The recipients of the last ten minutes, by address and campaign. For one event loop."""

    def __init__(
        self,
        many: int,
        *,
        most_addresses: int = MOST_ADDRESSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`many`: from how many recipients on they are; 0: never. `clock`: seconds that never go back."""
        self._many = many
        self._most_addresses = most_addresses
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._seen: OrderedDict[bytes, OrderedDict[bytes, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def meet(self, address: str, campaign: str, recipient: str) -> bool:
        """Note that this address has followed a link of this recipient. Returns whether they are many by now.

        `address`: as it is counted, the /64 of an IPv6 one; "" is never many. Nothing else about it matters.
        """
        if not self._many or not address:
            return False
        now = self._clock()
        place, name = self._digest(f"{address}|{campaign}"), self._digest(recipient)
        known = self._seen.pop(place, None)
        if known is None:
            known = OrderedDict()
            if len(self._seen) >= self._most_addresses:
                self._seen.popitem(last=False)
        self._seen[place] = known
        known.pop(name, None)
        known[name] = now
        while len(known) > self._many or next(iter(known.values())) <= now - WINDOW_S:
            known.popitem(last=False)
        return len(known) >= self._many

    def _digest(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12, key=self._key).digest()
