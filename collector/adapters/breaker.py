"""Circuit breaker: a source that keeps failing is left alone for a while, then tried by one request. Pure, no clock.

    closed      all go through; `failures` failures in a row open it
    open        none goes through until its time is over
    half open   one goes through, the probe: its success closes the breaker, its failure opens it for twice as long

What was let through before the breaker opened says nothing about the source as it is now: such an ending is not
counted. Every ticket that was given out must be ended, by exactly one of the three calls; a second one does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Ticket:
    """Leave to ask the source once. `is_probe`: the breaker waits for what becomes of it."""

    is_probe: bool
    era: int
    is_ended: bool = False


class Breaker:
    """The state for one source. All times are seconds of one clock that never goes back."""

    def __init__(self, failures: int, open_s: float, most_open_s: float) -> None:
        """`failures`: in a row, at least 1. `open_s`: how long it opens the first time; `most_open_s`: at most."""
        self._limit = failures
        self._open_s = open_s
        self._most_open_s = max(open_s, most_open_s)
        self._in_a_row = 0
        self._next_open_s = open_s
        self._until_s: float | None = None  # None: closed
        self._probe: Ticket | None = None
        self._era = 0

    @property
    def is_closed(self) -> bool:
        """Whether requests go through as they come."""
        return self._until_s is None

    def admit(self, now_s: float) -> Ticket | None:
        """Return leave to ask, or None."""
        if self._until_s is None:
            return Ticket(False, self._era)
        if self._probe is not None or now_s < self._until_s:
            return None
        self._probe = Ticket(True, self._era)
        return self._probe

    def succeed(self, ticket: Ticket) -> None:
        """The source answered."""
        if not self._end(ticket):
            return
        if ticket.is_probe:
            self._until_s = None
            self._era += 1
            self._next_open_s = self._open_s
        self._in_a_row = 0

    def fail(self, ticket: Ticket, now_s: float) -> None:
        """The source did not answer, or not as it should."""
        if not self._end(ticket):
            return
        self._in_a_row += 1
        if ticket.is_probe or self._in_a_row >= self._limit:
            self._until_s = now_s + self._next_open_s
            self._next_open_s = min(2 * self._next_open_s, self._most_open_s)
            self._era += 1
            self._in_a_row = 0

    def abandon(self, ticket: Ticket) -> None:
        """It says nothing about the source: it was not asked, or said that we ask too often. A probe may follow."""
        self._end(ticket)

    def _end(self, ticket: Ticket) -> bool:
        """Whether the ending counts."""
        if ticket.is_ended:
            return False
        ticket.is_ended = True
        if ticket is self._probe:
            self._probe = None
        return ticket.era == self._era
