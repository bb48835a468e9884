"""Cookies of the site's own that name a customer, and that no script can read: the collector reads them.

Only the names on the site's list, only with a page view, consent to identity and a page of the site. The value is a
claim (level 1), or `<value>|<signature>`, which is checked like a signed identify. A browser sends cookies to their own
host alone: what is captured here is what the site's own pages were given.
"""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from collector.accept.identifiers import CAPTURE, Known, read_identifier
from collector.event import Beacon, Context, Rejected, WireIdentifier
from collector.reasons import Reason
from collector.sites.book import CookieCapture

MAX_CHARS = 1_024
"""Longest value, after its percent signs have been resolved."""


def read_captured_cookies(beacon: Beacon, context: Context) -> list[Known]:
    """Return the customers that the site's cookies name; those that cannot be used are refused one by one."""
    if not context.origin:
        return []  # a program, not a browser: its cookies are not read
    known: list[Known] = []
    for capture in beacon.site.capture_cookies:
        text = context.cookies.get(capture.cookie, "")
        if not text:
            continue
        answer = _read(beacon, context, capture, text)
        if isinstance(answer, Known):
            known.append(msgspec.structs.replace(answer, source=CAPTURE))
        else:
            beacon.rejected.append(Rejected(answer, field="cookie"))
    return known


def _read(beacon: Beacon, context: Context, capture: CookieCapture, text: str) -> Known | Reason:
    if len(text) > 3 * MAX_CHARS:
        return Reason.SIZE
    try:
        value = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return Reason.SHAPE
    if len(value) > MAX_CHARS:
        return Reason.SIZE
    signature = ""
    if capture.signed:
        value, _, signature = value.rpartition("|")
        if not value or not signature:
            return Reason.SIGNATURE
    return read_identifier(beacon, context, WireIdentifier(kind=capture.kind, value=value, signature=signature))
