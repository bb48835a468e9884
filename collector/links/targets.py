"""Where a link may lead: addresses that every browser reads as we do, and hosts that a site of the space names.

A redirect to wherever its address says is a gift to whoever sends false mails. So a target stands inside a signed
token, is written in one plain way, and leads to a site's own origin or to one of its `link_hosts`. All of that holds
when a link is minted, and again each time somebody follows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from collector.sites.book import Site

MAX_TARGET_CHARS = 2048

# Written by hand because a browser's reader and the library's differ just where it matters: a backslash, a user name,
# a percent sign or a letter of another script in the host, a slash too many. What is not of this form is no target.
_TARGET = re.compile(
    r"(?P<origin>https?://(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::[0-9]{1,5})?)"
    r"(?:[/?#][!-\[\]-~]*)?"  # every printable character of ASCII but space and backslash
)
_DOTS = re.compile(r"\.\.|-\.|\.-")
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")


def is_safe_target(url: str) -> bool:
    """Whether a redirect may be written to it: absolute, http or https, a plain host in lower case and no user name."""
    return read_origin(url) is not None


def read_origin(url: str) -> str | None:
    """Return the origin of a target, `https://shop.example`, or None where it is none. Never raises."""
    if not url or len(url) > MAX_TARGET_CHARS:
        return None
    match = _TARGET.fullmatch(url)
    if match is None or _DOTS.search(match["host"]):
        return None
    last = match["host"].rpartition(".")[2]
    # A host that ends in a number is an address: browsers take `0x7f.1` and `2130706433` for 127.0.0.1.
    if _NUMBER.fullmatch(last) and not re.fullmatch(
        r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})", match["host"]
    ):
        return None
    return match["origin"]


def find_target_site(url: str, space_id: str, sites: Iterable[Site]) -> Site | None:
    """Return the site of the space that lets links lead there, or None: then nobody may be sent there.

    A site whose origin it is goes before one that only lists the host.
    """
    origin = read_origin(url)
    if origin is None:
        return None
    scheme, _, host = origin.partition("://")
    lists_host = None
    for site in sites:
        if site.deleted or site.space_id != space_id:
            continue
        if origin in site.origins:
            return site
        if lists_host is None and scheme == "https" and host in site.link_hosts:
            lists_host = site
    return lists_host


def add_token(url: str, token: str, parameter: str = "lt") -> str:
    """Return the address with the token as a parameter, in place of an earlier one; the rest stays as it was."""
    parts = urlsplit(url)
    kept = [pair for pair in parts.query.split("&") if pair and pair.partition("=")[0] != parameter]
    return urlunsplit(parts._replace(query="&".join([*kept, f"{parameter}={token}"])))
