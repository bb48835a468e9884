"""When a delivery is tried again, and when a receiver that does not answer is left alone. Pure.

Each delivery has its own schedule, of about a day. A receiver that fails every time is asked one thing at a time, with
a pause in between that grows: what waits for it costs neither side anything, and uses up no tries.
"""

from __future__ import annotations

import random

DELAYS_S = (5, 30, 120, 600, 3_600, 10_800, 21_600, 21_600, 28_800)
"""After the first try, the second … together 24 hours. The last try is the one after them all."""
JITTER = 0.2
"""A delay is longer by up to this share, so that what failed together does not come back together."""
FAILURES = 5
"""So many in a row, and a receiver counts as away."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


def find_delay_s(attempts: int, retry_after_s: float, chance: random.Random) -> float | None:
    """Return how long to wait after so many tries, None where there is no other. `retry_after_s`: what the receiver
    asks for; it may make a delay longer, never shorter."""
    if attempts > len(DELAYS_S):
        return None
    delay_s = float(DELAYS_S[max(attempts, 1) - 1])
    return max(delay_s, retry_after_s) * (1 + JITTER * chance.random())


class Breath:
    """How one receiver is doing. Times in seconds of any clock that does not go back."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._failures = 0
        self._until_s = 0.0

    @property
    def is_away(self) -> bool:
        """Whether it has failed so often that one thing at a time is tried."""
        return self._failures >= FAILURES

    def find_wait_s(self, now_s: float) -> float:
        """Return how long it is to be left alone; 0: not at all."""
        return max(0.0, self._until_s - now_s)

    def note_taken(self) -> None:
        """It has answered as it should. What it asked for before still holds."""
        self._failures = 0

    def note_failed(self, now_s: float, retry_after_s: float = 0.0) -> None:
        """It has not. `retry_after_s`: for how long it wants to be left alone."""
        self._failures += 1
        pause_s = retry_after_s
        if self.is_away:
            exponent = min(self._failures - FAILURES, 10)
            growing_s = min(FIRST_PAUSE_S * 2**exponent, LONGEST_PAUSE_S)
            pause_s = max(pause_s, growing_s * (1 + JITTER * self._chance.random()))
        self._until_s = max(self._until_s, now_s + pause_s)
