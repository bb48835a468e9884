"""The shop's own memory of what was answered to its banner.

The answer stands in a cookie of the shop, `demo_consent`, as letters of the granted purposes: "-" for none. shop.js
writes it after a choice and never before; `?consent=all` in an address writes it from here, for scripts. Without the
cookie the page says nothing to the tag, and the tag does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

COOKIE_NAME = "demo_consent"
COOKIE_PATH = "/demo"
COOKIE_AGE_S = 180 * 24 * 3600
PARAMETER = "consent"
NONE = "-"


@dataclass(frozen=True)
class Purpose:
    """A purpose as the banner explains it. `name` is the tag's own word, `letter` ours in the cookie."""

    letter: str
    name: str
    title: str
    line: str
    granted: bool = False


PURPOSES = (
    Purpose("a", "analytics", "Remember this browser", "An id on this device, and the pages you look at."),
    Purpose("i", "identity", "Know you again", "Tie your visits to your account when you sign in."),
    Purpose("f", "fingerprint", "Read device traits", "Screen, languages and the like, to spot a stolen session."),
    Purpose("p", "personalisation", "Greet you", "Show your name, and what may suit you, on our pages."),
    Purpose("m", "marketing", "Use it for offers", "Choose what we write to you about."),
)


def ask_consent(granted: dict[str, bool] | None) -> list[Purpose]:
    """Return the purposes as the banner shows them. Nothing is ticked before somebody ticked it."""
    return [Purpose(p.letter, p.name, p.title, p.line, bool(granted and granted[p.name])) for p in PURPOSES]


def read_consent(request: Request) -> dict[str, bool] | None:
    """Return what was granted, by purpose; None while nobody has answered."""
    if request.query_params.get(PARAMETER) == "all":
        return {purpose.name: True for purpose in PURPOSES}
    letters = request.cookies.get(COOKIE_NAME, "")
    if not letters or not set(letters) <= {NONE, *(purpose.letter for purpose in PURPOSES)}:
        return None
    return {purpose.name: purpose.letter in letters for purpose in PURPOSES}


def write_consent(request: Request, response: Response) -> None:
    """Keep `?consent=all` for the pages that follow. Readable by shop.js, which writes the same cookie."""
    if request.query_params.get(PARAMETER) == "all":
        response.set_cookie(
            COOKIE_NAME,
            "".join(purpose.letter for purpose in PURPOSES),
            max_age=COOKIE_AGE_S,
            path=COOKIE_PATH,
            secure=request.url.scheme == "https",
            samesite="lax",
        )
