"""How a site's cookies stand in a browser: names, domains, and what may still be there from before a change.

The visitor cookie is bound to its host where it can be: over HTTPS its name begins with `__Host-`, which browsers let
nobody set but that host itself. A site may give it a name of its own, and a domain whose hosts then share the visitor;
with a domain there is no `__Host-`, and any host below the domain could set such a cookie (see accept.visitor).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from collector.sites.book import Site

OPT_OUT = "_ts_out"
"""With the value 1: this browser has objected. Set by the tag or by our page, readable by both."""

REFUSED = "_ts_no"
"""Letters of the purposes that were refused on our page for whatever a banner says, such as `fm`. As unsigned as an
objection, and as plain for scripts: whoever makes one up takes something from themselves. It stays when the visitor's
cookie goes."""

TAG_COOKIE = "_ts_v"
"""Where the tag keeps its own state, unless the site names its cookies."""

HOST_PREFIX = "__Host-"


class CookieForm(NamedTuple):
    """One way in which a cookie may stand in a browser. `domain`: "" for this host alone."""

    name: str
    domain: str = ""


def list_cookie_forms(site: Site, secure: bool) -> tuple[CookieForm, ...]:
    """Return the form of the visitor cookie that is in force, and behind it those that may be left from before.

    A site that takes a name or a domain keeps its visitors: the default form is still read. The way back starts anew,
    because what any host below a domain may set is not believed where the site wants a cookie of one host.
    """
    return _list_forms(site.site_id, site.cookie, site.cookie_domain, secure)


@lru_cache(maxsize=4096)
def _list_forms(site_id: str, cookie: str, domain: str, secure: bool) -> tuple[CookieForm, ...]:
    prefix = HOST_PREFIX if secure else ""
    name = cookie or f"ts_{site_id}"
    forms = [CookieForm(name, domain), CookieForm(name)] if domain else [CookieForm(prefix + name)]
    default = CookieForm(f"{prefix}ts_{site_id}")
    if default not in forms:
        forms.append(default)
    return tuple(forms)


def name_tag_cookie(site: Site) -> str:
    """Return the name of the cookie that the tag writes itself: told from the visitor cookie by its end."""
    return f"{site.cookie}_v" if site.cookie else TAG_COOKIE
