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
late events, sent again after a reset, with the visitor they happened to. Where the visitor after a reset is not fresh
enough to be signed, the cookie goes, or it would bring the earlier one back.
"""

from __future__ import annotations

from collector.accept.visitor_cookie import RENEW_AFTER_S, VisitorCookie, may_sign, read_cookie, write_cookie
from collector.event import NIL_ID, Beacon, Context
from collector.sites.book import Site

DROP_COOKIE = ""
"""In place of a cookie's value: take the cookie away."""


def cookie_name(site_id: str, secure: bool) -> str:
    """Return the name of the visitor cookie: bound to the host over HTTPS."""
    return f"__Host-ts_{site_id}" if secure else f"ts_{site_id}"


def settle_visitor(beacon: Beacon, sent: VisitorCookie | None) -> VisitorCookie | None:
    """Fill in the visitor and its proof. Return the cookie that was sent, where it names the visitor in force."""
    row, proposed = beacon.row, beacon.envelope.visitor_id
    row.visitor_proof = "script" if proposed else "none"
    if sent is None:
        return None
    if proposed and proposed != sent.visitor_id:
        newest_ms = max((event.time_ms for event in beacon.envelope.events), default=0)
        if is_reset_from(beacon, sent) or newest_ms < sent.signed_s * 1000:
            return None
    if proposed != sent.visitor_id:
        row.visitor_id = sent.visitor_id
        beacon.visitor_reply = sent.visitor_id
    row.visitor_proof = "cookie"
    return sent


def settle_cookie(
    beacon: Beacon, context: Context, sent: VisitorCookie | None, cookie: VisitorCookie | None, wish: VisitorCookie
) -> None:
    """Decide which cookie the answer sets.

    `cookie`: what was sent, where it is in force. `wish`: visitor and assurance after the last event, signed now.
    """
    if not context.origin or wish.visitor_id == NIL_ID or not beacon.row.events:
        return
    if wish.until_s <= wish.signed_s:
        wish = VisitorCookie(wish.visitor_id, wish.signed_s)
    if cookie is not None:
        if cookie.signed_s + RENEW_AFTER_S >= wish.signed_s:
            wish = wish._replace(signed_s=cookie.signed_s)
        is_wanted = wish != cookie
    elif sent is None:
        is_wanted = context.may_set_visitor and may_sign(wish.visitor_id, context.received_at_ms)
    elif not is_reset_from(beacon, sent):
        return  # late events of an earlier visitor: the cookie in the browser is right
    elif may_sign(wish.visitor_id, context.received_at_ms):
        is_wanted = True
    else:
        beacon.set_cookie = DROP_COOKIE
        return
    if is_wanted:
        beacon.set_cookie = write_cookie(context.keyring, beacon.site.site_id, wish)


def is_reset_from(beacon: Beacon, sent: VisitorCookie | None) -> bool:
    """Whether the beacon's visitor came in place of the one that the cookie proves."""
    return sent is not None and beacon.envelope.reset_from == sent.visitor_id


def read_sent_cookie(site: Site, context: Context) -> VisitorCookie | None:
    """Read the site's cookie. Only a browser on an allowed page is asked: `validate` has checked the origin."""
    if not context.origin or not context.cookies:
        return None
    text = context.cookies.get(cookie_name(site.site_id, context.secure), "")
    return read_cookie(context.keyring, site.site_id, text, context.received_at_ms // 1000)
