"""How often a source may be asked: so many times a second, and not at all while it has asked for a rest. Pure."""

from __future__ import annotations

MAX_REST_S = 60.0
"""No source sends us away for longer than this at a time: a wrong `Retry-After` must not silence it for a day."""


class Pace:
    """A bucket that fills at an even rate and holds one second's worth. Seconds of one clock that never goes back."""

    def __init__(self, rate_per_s: float) -> None:
        """`rate_per_s`: 0 is any number."""
        self._rate = rate_per_s
        self._size = max(1.0, rate_per_s)
        self._left = self._size
        self._at_s = float("-inf")
        self._rest_until_s = float("-inf")

    def take(self, now_s: float) -> bool:
        """Whether the source may be asked now; then it counts as asked."""
        if now_s < self._rest_until_s:
            return False
        if not self._rate:
            return True
        if now_s > self._at_s:
            self._left = min(self._size, self._left + (now_s - self._at_s) * self._rate)
            self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def rest(self, now_s: float, seconds: float) -> None:
        """Leave the source alone for so long, MAX_REST_S at most. A rest never shortens another."""
        self._rest_until_s = max(self._rest_until_s, now_s + min(max(seconds, 0.0), MAX_REST_S))
