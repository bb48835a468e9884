"""`GET /x/me`: what a page may know of whoever sits in front of it. Never cached, for the site's own pages alone.

Who that is the visitor's signed cookie says, which no script can make or read: an id that a script names gets nothing.
At level 3 the site has vouched for the customer, and the cookie carries it until the sign-in is over or ends with a
reset. At level 2 a tagged link has named the customer; links are forwarded, so it counts only where the map too gives
this browser to that customer, and gives those traits alone that a site lets out at that level.

Nothing is told without consent to identity and personalisation: the cookie says what the browser's visitor has
answered, and the ledger what the person has refused by a link or a list.

Whoever is not known gets the same answer for whatever reason. A page of another origin gets none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.routing import Route

from collector.accept.answers import find_told
from collector.accept.assurance import LINKED
from collector.endpoints.cors import cross_origin_headers
from collector.endpoints.edge import Edge, RequestFacts, read_facts, read_visitor_cookie
from collector.endpoints.glances import Glances
from collector.endpoints.plain import Headers, PlainEndpoint, Receive, Scope, Send, send_answer
from collector.errors import StoreError
from collector.event import NIL_ID
from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.logs import get_logger
from collector.offers.choice import Visit
from collector.offers.page import PageOffers, find_granted
from collector.privacy.tombstones import mark_key
from collector.profiles.definitions import Definitions
from collector.purposes import Purpose, read_refused
from collector.sites.book import Site
from collector.sites.cookies import OPT_OUT, REFUSED
from collector.use.records import read_for_page
from collector.use.sources import Sources

VERSION = 1
MAX_SITE_CHARS = 100
RETRY_AFTER_S = 5
_BASE: Headers = [
    (b"cache-control", b"no-store"),
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-site"),
    (b"vary", b"Origin, Cookie"),
]
_PAGE_SCRIPT = b"empty"
"""Sec-Fetch-Dest of what a script asks for: not a navigation, a frame, an image or a script element."""


class Me(msgspec.Struct):
    """The answer. `level`: how sure it is who it is, 0 where nobody is known."""

    v: int = VERSION
    known: bool = False
    level: int = 0
    traits: dict[str, Any] = {}
    audiences: list[str] = []
    offers: list[dict[str, Any]] = []


class Pages:
    """The endpoint of one web process. `define`: the traits of a space, as the configuration declares them; `offers`:
    its audiences and offers; `sources`: of customer records elsewhere."""

    def __init__(
        self,
        edge: Edge,
        glances: Glances,
        define: Callable[[str], Definitions],
        offers: PageOffers,
        sources: Sources,
    ) -> None:
        self._edge = edge
        self._glances = glances
        self._define = define
        self._offers = offers
        self._sources = sources

    async def receive(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one page."""
        facts = read_facts(self._edge, scope)
        site = self._find_site(scope, facts)
        if site is None:
            await send_answer(send, 403, _BASE, b'{"error":"origin"}')
            return
        headers = [*_BASE, *(cross_origin_headers(facts.origin) if facts.origin else [])]
        wait_s = self._edge.limits.judge_address(facts.context.address)
        if wait_s:
            await send_answer(send, 429, [*headers, (b"retry-after", b"%d" % wait_s)], b'{"error":"rate"}')
            return
        try:
            me = await self._find(site, facts)
        except StoreError as error:
            get_logger().warning("a page is told of nobody", reason=str(error))
            await send_answer(
                send, 503, [*headers, (b"retry-after", b"%d" % RETRY_AFTER_S)], b'{"error":"unavailable"}'
            )
            return
        await send_answer(send, 200, headers, msgspec.json.encode(me))

    def _find_site(self, scope: Scope, facts: RequestFacts) -> Site | None:
        """Return the site that is asked about, where a script of one of its pages asks."""
        words = parse_qs(scope["query_string"][: MAX_SITE_CHARS + 2].decode("latin-1")).get("s", [])
        site = facts.context.sites.find_site(words[0]) if len(words) == 1 else None
        dest = next((value for name, value in scope["headers"] if name == b"sec-fetch-dest"), _PAGE_SCRIPT)
        if site is None or not site.tag or dest != _PAGE_SCRIPT:
            return None
        return site if facts.context.origin in site.origins else None

    async def _find(self, site: Site, facts: RequestFacts) -> Me:
        """Return what is known of the browser. Raises StoreError."""
        context = facts.context
        cookie = read_visitor_cookie(self._edge, site, facts)
        now_s = context.received_at_ms // 1000
        if cookie is None or context.cookies.get(OPT_OUT) == "1":
            return Me()
        told = find_told(cookie.consent, site.consent, gpc=context.gpc)
        told -= read_refused(context.cookies.get(REFUSED, ""))
        if not told.issuperset((Purpose.IDENTITY, Purpose.PERSONALISATION)):
            return Me()
        if cookie.level < LINKED or cookie.until_s <= now_s or cookie.customer_key == NIL_ID:
            return Me()
        visitor_key = own_person_id(self._edge.keyring.pseudonym_key, site.space_id, VISITOR_KIND, cookie.visitor_id)
        tombstones = context.sites.tombstones
        if any(tombstones.find_erased_ms(site.space_id, mark_key(key)) for key in (visitor_key, cookie.customer_key)):
            return Me()
        keys = {visitor_key, cookie.customer_key}
        found = await self._glances.read(site.space_id, keys, context.received_at_ms)
        customer = found[cookie.customer_key]
        if customer.state or found[visitor_key].state:
            return Me()
        if cookie.level == LINKED and found[visitor_key].person_id != customer.person_id:
            return Me()
        traits = customer.give(self._define(site.space_id), cookie.level)
        traits |= await read_for_page(self._sources, site.space_id, customer.record_keys, cookie.level)
        granted = find_granted(told, customer.known)
        if Purpose.PERSONALISATION not in granted:
            return Me()
        visit = Visit(customer.person_id, site.site_id, cookie.level, context.received_at_ms, granted)
        audiences, offers = self._offers.tell(site.space_id, customer.known, visit)
        return Me(known=True, level=cookie.level, traits=traits, audiences=audiences, offers=offers)


def find_path(beacon_path: str) -> str:
    """Return the endpoint's path: beside that of the beacon."""
    return f"{beacon_path.rpartition('/')[0]}/me"


def routes(
    edge: Edge, glances: Glances, define: Callable[[str], Definitions], offers: PageOffers, sources: Sources
) -> list[Route]:
    """Return the route."""
    pages = Pages(edge, glances, define, offers, sources)
    return [Route(find_path(edge.config.beacon_path), PlainEndpoint(pages.receive), methods=["GET"])]
