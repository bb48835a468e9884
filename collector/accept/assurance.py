"""How sure it is who sits in front of the browser, at each moment of a beacon.

A signed identify (level 3) is in force from its own moment for `assurance_hours`, a confirmed link (level 2) for half
an hour and only where nothing higher is. A reset ends both. Between beacons the state lives in the visitor cookie.
All times are those of the events, by one clock, so that an event sent late is not given a sign-in that came after it.
"""

from __future__ import annotations

from collector.accept.visitor_cookie import VisitorCookie
from collector.event import NIL_ID

LINKED = 2
SIGNED = 3
LINK_S = 1800
NOBODY = (0, NIL_ID)


class Assurance:
    """The state while the events of one beacon are gone through, in their order."""

    __slots__ = ("customer_key", "level", "mfa", "signed_s", "since_s", "until_s")

    def __init__(self, cookie: VisitorCookie | None, signed_s: int) -> None:
        """Start from the cookie in force. `signed_s`: how long a signed identify holds, in seconds."""
        self.signed_s = signed_s
        self.clear()
        if cookie is not None and cookie.level:
            self.level, self.until_s, self.customer_key = cookie.level, cookie.until_s, cookie.customer_key
            self.mfa = cookie.mfa
            self.since_s = cookie.until_s - (signed_s if cookie.level >= SIGNED else LINK_S)

    def clear(self) -> None:
        """Nobody is signed in from here on."""
        self.level = 0
        self.mfa = False
        self.since_s = 0
        self.until_s = 0
        self.customer_key = NIL_ID

    def sign_in(self, customer_key: str, time_ms: int, mfa: bool) -> None:
        """Take a signed identify into force. `mfa`: by more than one factor; the latest sign-in decides."""
        self.level, self.customer_key, self.mfa = SIGNED, customer_key, mfa
        self.since_s = time_ms // 1000
        self.until_s = self.since_s + self.signed_s

    def follow_link(self, customer_key: str, time_ms: int) -> None:
        """Take a confirmed link into force, unless a sign-in is."""
        if self.at(time_ms)[0] >= SIGNED:
            return
        self.level, self.customer_key, self.mfa = LINKED, customer_key, False
        self.since_s = time_ms // 1000
        self.until_s = self.since_s + LINK_S

    def at(self, time_ms: int) -> tuple[int, str]:
        """Return level and customer key in force then; (0, NIL_ID) where nobody was known."""
        if self.level and self.since_s <= time_ms // 1000 < self.until_s:
            return self.level, self.customer_key
        return NOBODY
