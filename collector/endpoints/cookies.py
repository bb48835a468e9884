"""The visitor cookie in HTTP's form: picked out of the request, written into the answer."""

from __future__ import annotations

from collections.abc import Iterable

from collector.accept.visitor import cookie_name
from collector.accept.visitor_cookie import MAX_AGE_S

MAX_COOKIE_BYTES = 16_384


def pick_visitor_cookies(headers: Iterable[bytes]) -> dict[str, str]:
    """Return the cookies that may be ours, by name; of two with one name the first, which is the narrower.

    All other cookies of the page are not even looked at.
    """
    found: dict[str, str] = {}
    for header in headers:
        if b"ts_" not in header or len(header) > MAX_COOKIE_BYTES:
            continue
        for pair in header.split(b";"):
            name, _, value = pair.strip().partition(b"=")
            if name.startswith((b"__Host-ts_", b"ts_")):
                found.setdefault(name.decode("latin-1"), value.decode("latin-1").strip('"'))
    return found


def write_visitor_cookie(site_id: str, value: str, secure: bool) -> bytes:
    """Return the value of Set-Cookie. An empty value takes the cookie away."""
    age_s = MAX_AGE_S if value else 0
    text = f"{cookie_name(site_id, secure)}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax"
    return (f"{text}; Secure" if secure else text).encode("ascii")
