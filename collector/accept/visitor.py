"""Which visitor a beacon is of, how that is proved, and what the cookie shall say afterwards.

The tag proposes an id (`d`); the cookie, signed by us and out of every script's reach, decides:

    cookie              tag                          visitor   proof    the answer
    none, not valid     proposes X                   X         script   cookie for X, if X is fresh
    X                   proposes X, or nothing       X         cookie
    X                   proposes Y, reset from X     Y         script   cookie for Y
    X                   proposes Y, events are older Y         script   the cookie was not there yet when they happened
    X                   proposes Y                   X         cookie   tells the tag to take X over
    not read            proposes X                   X         script   no origin: a program, not a browser

The last rule but one is how a visitor survives a browser that clears what scripts wrote. The rule above it keeps
late events, sent again after a reset, with the visitor they happened to.
"""

from __future__ import annotations

from collector.accept.visitor_cookie import RENEW_AFTER_S, VisitorCookie, may_sign, read_cookie, write_cookie
from collector.event import NIL_ID, Beacon, Context
from collector.sites import Site

DROP_COOKIE = ""
"""In place of a cookie's value: take the cookie away."""


def cookie_name(site_id: str, secure: bool) -> str:
    """Return the name of the visitor cookie: bound to the host over HTTPS."""
    return f"__Host-ts_{site_id}" if secure else f"ts_{site_id}"


def settle_visitor(beacon: Beacon, context: Context) -> VisitorCookie | None:
    """Fill in the visitor and its proof. Return the cookie, where it names the visitor in force."""
    row, proposed = beacon.row, beacon.envelope.visitor_id
    cookie = _read_own_cookie(beacon.site, context)
    row.visitor_proof = "script" if proposed else "none"
    if cookie is None:
        return None
    if proposed and proposed != cookie.visitor_id:
        newest_ms = max((event.time_ms for event in beacon.envelope.events), default=0)
        if beacon.envelope.reset_from == cookie.visitor_id or newest_ms < cookie.signed_s * 1000:
            return None
    if proposed != cookie.visitor_id:
        row.visitor_id = cookie.visitor_id
        if not context.pixel:
            beacon.visitor_reply = cookie.visitor_id
    row.visitor_proof = "cookie"
    return cookie


def settle_cookie(
    beacon: Beacon, context: Context, cookie: VisitorCookie | None, level: int, until_s: int, customer_key: str
) -> None:
    """Decide which cookie the answer sets, given the one in force and the assurance after the last event."""
    visitor_id = beacon.row.visitor_id
    if not context.origin or visitor_id == NIL_ID or not beacon.envelope.events:
        return
    now_s = context.received_at_ms // 1000
    if until_s <= now_s:
        level, until_s, customer_key = 0, 0, NIL_ID
    if cookie is None:
        old = _read_own_cookie(beacon.site, context)
        is_replaced = old is not None and beacon.envelope.reset_from == old.visitor_id
        if old is not None and not is_replaced:
            return  # late events of an earlier visitor: the cookie in the browser is right
        if not may_sign(visitor_id, context.received_at_ms):
            beacon.set_cookie = DROP_COOKIE if is_replaced else None
            return
        wanted = VisitorCookie(visitor_id, now_s, level, until_s, customer_key)
    else:
        signed_s = now_s if cookie.signed_s + RENEW_AFTER_S < now_s else cookie.signed_s
        wanted = VisitorCookie(visitor_id, signed_s, level, until_s, customer_key)
    if wanted != cookie:
        beacon.set_cookie = write_cookie(context.keyring, beacon.site.site_id, wanted)


def _read_own_cookie(site: Site, context: Context) -> VisitorCookie | None:
    """Read the site's cookie. Only a browser on an allowed page is asked: `validate` has checked the origin."""
    if not context.origin or not context.cookies:
        return None
    text = context.cookies.get(cookie_name(site.site_id, context.secure), "")
    return read_cookie(context.keyring, site.site_id, text, context.received_at_ms // 1000)
