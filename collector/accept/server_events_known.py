"""Which customers a line on disk has named already: so that not every event of a customer says again that there is one.

Only for customers without a visitor, where nothing else was said: that a customer exists stays true, whoever says what
in between. Whose a visitor is does not, and is said with every request. Bounded and short-lived: what is forgotten is
said once more, and changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

MOST_CUSTOMERS = 8_192
FORGET_S = 3_600.0


class KnownCustomers:
    """The customers of one web process, by their own person id. For one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds that never go back."""
        self._clock = clock
        self._said: dict[str, tuple[int, float]] = {}  # since when, and until when we remember; oldest first

    def has(self, customer_key: str, time_ms: int) -> bool:
        """Whether it is on disk that this customer existed then."""
        since_ms, until = self._said.get(customer_key, (0, 0.0))
        return self._clock() < until and since_ms <= time_ms

    def note(self, said: Iterable[tuple[str, int]]) -> None:
        """Remember customers and times that are on disk now."""
        until = self._clock() + FORGET_S
        for customer_key, time_ms in said:
            earlier = self._said.pop(customer_key, None)
            since_ms = time_ms if earlier is None else min(time_ms, earlier[0])
            self._said[customer_key] = (since_ms, until)
        for customer_key in list(self._said)[: max(0, len(self._said) - MOST_CUSTOMERS)]:
            del self._said[customer_key]
