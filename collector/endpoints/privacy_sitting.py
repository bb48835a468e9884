"""Who sits in front of the page `/x/privacy`, by the cookies that come along; and where the page stands."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request

from collector.accept.answers import find_told
from collector.accept.assurance import LINKED, SIGNED
from collector.config import Config
from collector.endpoints.edge import Edge, RequestFacts, read_visitor_cookie
from collector.event import NIL_ID
from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.keyring import Keyring
from collector.privacy.page_tokens import Sitting
from collector.purposes import REFUSABLE, name_purposes
from collector.sites.book import Site
from collector.sites.cookies import OPT_OUT, REFUSED


def find_site(edge: Edge, request: Request, facts: RequestFacts) -> Site | None:
    """Return the site that is asked about, else the first whose visitor comes along, else the first of all."""
    book = facts.context.sites
    name = request.query_params.get("s", "")
    if name:
        return book.find_site(name)
    sites = sorted((site for site in book.sites.values() if not site.deleted), key=lambda site: site.site_id)
    known = (site for site in sites if read_visitor_cookie(edge, site, facts) is not None)
    return next(known, None) or next(iter(sites), None)


def find_sitting(edge: Edge, facts: RequestFacts, site: Site) -> Sitting:
    """Return whom a look is by. From level 3 on, while the sign-in is in force, it is the customer; a tagged link alone
    names one to whom a confirmation link may go, and shows nothing."""
    context = facts.context
    cookie = read_visitor_cookie(edge, site, facts)
    refused = "".join(sorted(set(context.cookies.get(REFUSED, "")) & REFUSABLE))
    is_out = context.cookies.get(OPT_OUT) == "1"
    if cookie is None:
        return Sitting(site.site_id, refused=refused, is_out=is_out, is_signalled=context.gpc)
    named = cookie.customer_key if cookie.customer_key != NIL_ID else ""
    is_signed = cookie.level >= SIGNED and cookie.until_s > context.received_at_ms // 1000
    return Sitting(
        site.site_id,
        cookie.visitor_id,
        named if is_signed else "",
        named if cookie.level == LINKED else "",
        refused,
        is_out,
        context.gpc,
        name_purposes(find_told(cookie.consent, site.consent, gpc=context.gpc)),
    )


def find_visitor_key(keyring: Keyring, site: Site, sitting: Sitting) -> str:
    """Return the own person id of the browser, "" where none is known."""
    if not sitting.visitor_id:
        return ""
    return own_person_id(keyring.pseudonym_key, site.space_id, VISITOR_KIND, sitting.visitor_id)


def find_address(edge: Edge, request: Request, site: Site) -> str:
    """Return the page's address for a link in a message, "" where it is not sure: whoever asks says which host they
    ask, so only one that the settings or the site name is believed."""
    host = request.headers.get("host", "").lower()
    of_site = (one for one in site.origins if host and one.partition("://")[2] == host)
    origin = edge.public_origin or next(of_site, "")
    return f"{origin}{find_path(edge.config)}?{urlencode({'s': site.site_id})}" if origin else ""


def find_path(config: Config) -> str:
    """Return the page's path: beside that of the beacon."""
    return f"{config.beacon_path.rpartition('/')[0]}/privacy"
