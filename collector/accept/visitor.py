"""Which visitor a beacon is of, how that is proved, and what the cookie shall say afterwards.

The tag proposes an id (`d`); the cookie, signed by us and out of every script's reach, decides:

    cookie              tag                          visitor   proof    the answer
    none, not valid     proposes X                   X         script   cookie for X, if X is fresh and nobody else's
    X                   proposes X, or nothing       X         cookie
    X                   proposes Y, reset from X     Y         script   cookie for Y
    X                   proposes Y, events are older Y         script   the cookie was not there yet when they happened
    X                   proposes Y                   X         cookie   tells the tag to take X over
    not read            proposes X                   X         script   no origin: a program, not a browser
    cookieless          whatever                     of today  cookieless

The last rule but one is how a visitor survives a browser that clears what scripts wrote. The rule above it keeps
late events, sent again after a reset, with the visitor they happened to. Where the visitor after a reset may not
be signed, the cookie goes, or it would bring the earlier one back. Nobody else's: whoever named a fresh id first made
it, and another network or browser that names it is refused the cookie (collector.first_sight).

Two values under one name: only a cookie with a domain can have a twin, and any host below that domain can plant one (a
valid one too: its own). What is not signed does not count; of several valid ones the one that the tag proposes is
taken, else the first. A site that cannot trust all hosts below its domain leaves `cookie_domain` empty: `__Host-`
cookies have no twins.
"""

from __future__ import annotations

from collector.accept.assurance import LINKED
from collector.accept.visitor_cookie import RENEW_AFTER_S, VisitorCookie, may_sign, read_cookie, write_cookie
from collector.event import NIL_ID, Beacon, Context
from collector.sites.cookies import CookieForm, list_cookie_forms

DROP_COOKIE = ""
"""In place of a cookie's value: take the cookie away."""


def settle_visitor(beacon: Beacon, sent: VisitorCookie | None) -> VisitorCookie | None:
    """Fill in the visitor and its proof. Return the cookie that was sent, where it names the visitor in force."""
    if beacon.is_cookieless:
        return None
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
    if not context.origin or beacon.is_cookieless or wish.visitor_id == NIL_ID or not beacon.row.events:
        return
    is_signable = may_sign(wish.visitor_id, context.received_at_ms) and context.claim_visitor(
        beacon.site.site_id, wish.visitor_id, context.address, context.user_agent, context.received_at_ms // 1000
    )
    # Whom a link has named is remembered: a page may ask "not you?" on a later visit, see `identify`.
    if wish.until_s <= wish.signed_s and wish.level != LINKED:
        wish = VisitorCookie(wish.visitor_id, wish.signed_s, consent=wish.consent)
    if cookie is not None:
        if cookie.signed_s + RENEW_AFTER_S >= wish.signed_s:
            wish = wish._replace(signed_s=cookie.signed_s)
        is_wanted = wish != cookie or bool(beacon.stale_cookies)
    elif sent is None:
        is_wanted = context.may_set_visitor and is_signable
    elif not is_reset_from(beacon, sent):
        return  # late events of an earlier visitor: the cookie in the browser is right
    elif is_signable:
        is_wanted = True
    else:
        beacon.set_cookie = DROP_COOKIE
        return
    if is_wanted:
        beacon.set_cookie = write_cookie(context.keyring, beacon.site.site_id, wish)


def is_reset_from(beacon: Beacon, sent: VisitorCookie | None) -> bool:
    """Whether the beacon's visitor came in place of the one that the cookie proves."""
    return sent is not None and beacon.envelope.reset_from == sent.visitor_id


def read_sent_cookie(beacon: Beacon, context: Context) -> VisitorCookie | None:
    """Read the site's cookie, the form in force first. Notes earlier forms that came along.

    Only a browser on an allowed page is asked: `validate` has checked the origin.
    """
    if not context.origin or not context.cookies or beacon.is_cookieless:
        return None
    current, *earlier = list_cookie_forms(beacon.site, context.secure)
    sent = _read_values(beacon, context, current.name)
    if earlier:
        beacon.stale_cookies = _find_stale(current, earlier, context)
        for form in beacon.stale_cookies:
            sent = sent or _read_values(beacon, context, form.name)
    return sent


def drop_sent_cookies(beacon: Beacon, context: Context) -> None:
    """Take the visitor cookie away, in every form that came along: somebody has said no. Its value is not looked at."""
    current, *earlier = list_cookie_forms(beacon.site, context.secure)
    stale = _find_stale(current, earlier, context)
    if current.name in context.cookies or stale:
        beacon.set_cookie, beacon.stale_cookies = DROP_COOKIE, stale


def _find_stale(current: CookieForm, earlier: list[CookieForm], context: Context) -> tuple[CookieForm, ...]:
    """Return the earlier forms that came along. One that has the name in force shows as a second value."""
    return tuple(
        form
        for form in earlier
        if form.name in (context.cookie_twins if form.name == current.name else context.cookies)
    )


def _read_values(beacon: Beacon, context: Context, name: str) -> VisitorCookie | None:
    text = context.cookies.get(name, "")
    site_id, now_s = beacon.site.site_id, context.received_at_ms // 1000
    first = read_cookie(context.keyring, site_id, text, now_s)
    if name not in context.cookie_twins:
        return first
    read = [first, *(read_cookie(context.keyring, site_id, twin, now_s) for twin in context.cookie_twins[name])]
    valid = [cookie for cookie in read if cookie is not None]
    proposed = [cookie for cookie in valid if cookie.visitor_id == beacon.envelope.visitor_id]
    return next(iter(proposed or valid), None)
