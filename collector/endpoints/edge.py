"""What the endpoints that take events in share: settings, keys, sites, spool, clock; and the request's facts.

The facts are read from the raw ASGI headers in one pass. What a client says about its own address or protocol counts
only where a trusted proxy says it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import urlsplit

from collector.accept.kept_bodies_files import KeptBodies
from collector.accept.refusals import Refusals, Spool
from collector.accept.validate import parse_networks
from collector.accept.visitor_cookie import VisitorCookie, read_cookie
from collector.config import Config
from collector.endpoints.client_address import Networks, find_client_address, is_trusted
from collector.endpoints.cookies import SiteNeeds, pick_cookies
from collector.endpoints.limits import RateLimits, find_key
from collector.endpoints.plain import Headers
from collector.event import Context
from collector.id_tokens.keys import KeyBook
from collector.keyring import Keyring
from collector.links.recipients import RecipientWindow
from collector.links.watch import LinkWatch
from collector.sites.book import Site, SiteBook
from collector.sites.cookies import list_cookie_forms

MAX_KNOWN_HOPS_BYTES = 128
"""A longer X-Forwarded-For is read anew each time, so that what is kept of them stays small."""

_NO_COOKIES: dict[str, Any] = {}
_PURPOSE_HEADERS = frozenset((b"sec-purpose", b"purpose", b"x-purpose", b"x-moz"))


@dataclass(frozen=True)
class Edge:
    """The parts that one web process takes events in with."""

    config: Config
    keyring: Keyring
    site_book: Callable[[], SiteBook]
    spool: Spool
    now_ms: Callable[[], int]
    find_country: Callable[[str], str] = field(default=lambda address: "")
    is_data_centre: Callable[[str], bool] = field(default=lambda address: False)
    find_day_salt: Callable[[int], bytes] = field(default=lambda now_ms: b"")
    issuer_keys: KeyBook = field(default_factory=KeyBook)
    claim_visitor: Callable[[str, str, str, str, int], bool] = field(default=lambda *named: True)
    kept_bodies: KeptBodies | None = None  # where refused bodies are kept for replay

    @cached_property
    def trusted_networks(self) -> Networks:
        """The proxies whose word counts."""
        return parse_networks(tuple(part for part in self.config.trusted_proxies.split(",") if part.strip()))

    @cached_property
    def find_sender(self) -> Callable[[str, bytes], tuple[str, bool]]:
        """What tells from the peer and X-Forwarded-For the client's address, and whether a proxy of ours sent it."""
        networks = self.trusted_networks

        @lru_cache(maxsize=8192)
        def is_proxy(peer: str) -> bool:
            return is_trusted(peer, networks)

        @lru_cache(maxsize=8192)
        def find_client(peer: str, forwarded: bytes) -> str:
            return find_client_address(peer, forwarded, networks)

        def find_sender(peer: str, forwarded: bytes) -> tuple[str, bool]:
            if not networks or not is_proxy(peer):
                return peer, False
            if len(forwarded) > MAX_KNOWN_HOPS_BYTES:
                return find_client_address(peer, forwarded, networks), True
            return find_client(peer, forwarded), True

        return find_sender

    @cached_property
    def public_origin(self) -> str:
        """How browsers reach us, where the settings say so."""
        parts = urlsplit(self.config.public_url)
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""

    @cached_property
    def country_header(self) -> bytes:
        """Name of the header in which a trusted proxy gives the country, lower case."""
        return self.config.country_header.lower().encode()

    @cached_property
    def site_needs(self) -> SiteNeeds:
        """What of a request is read at all."""
        return SiteNeeds()

    @cached_property
    def limits(self) -> RateLimits:
        """How fast beacons may come."""
        return RateLimits(
            address_rate=self.config.address_rate,
            address_burst=self.config.address_burst,
            workers=max(1, self.config.web_workers),
        )

    @cached_property
    def link_watch(self) -> LinkWatch:
        """What is known of addresses that follow tagged links."""
        recipients = RecipientWindow(self.config.link_many_recipients)
        return LinkWatch(self.is_data_centre, recipients, self.config.link_soon_s, find_key)

    @cached_property
    def refusals(self) -> Refusals:
        """Where refusals are counted. To be flushed before the spool is closed."""
        return Refusals(self.spool)


@dataclass(slots=True)
class RequestFacts:
    """What the endpoint itself needs of the headers, and the Context made from the rest."""

    context: Context
    content_length: int  # -1: not said
    content_encoding: bytes
    origin: bytes  # as sent, for the answer


def read_facts(edge: Edge, scope: dict[str, Any], *, pixel: bool = False) -> RequestFacts:
    """Read a request's facts from an ASGI scope. Never raises; what cannot be read counts as not said."""
    client = scope.get("client")
    headers = scope["headers"]
    peer = client[0] if client else ""
    return read_head(edge, headers, dict(headers), peer, scope.get("scheme") == "https", pixel=pixel)


def read_head(
    edge: Edge, headers: Headers, named: dict[bytes, bytes], peer: str, secure: bool, *, pixel: bool = False
) -> RequestFacts:
    """Read a request's facts. `named`: the headers by name, lower case; of one that came twice, the last."""
    find = named.get
    origin_sent, cookie, forwarded = find(b"origin", b""), find(b"cookie"), find(b"x-forwarded-for", b"")
    cookies = [cookie] if cookie else []
    has_gpc, has_dnt = find(b"sec-gpc", b"").strip() == b"1", find(b"dnt", b"").strip() == b"1"
    is_ambiguous = False
    if len(named) != len(headers):
        is_ambiguous = len(_list_values(headers, b"origin")) > 1
        cookies = _list_values(headers, b"cookie")
        forwarded = b",".join(_list_values(headers, b"x-forwarded-for"))
        has_gpc = any(value.strip() == b"1" for value in _list_values(headers, b"sec-gpc"))
        has_dnt = any(value.strip() == b"1" for value in _list_values(headers, b"dnt"))

    address, is_proxied = edge.find_sender(peer, forwarded)
    country = b""
    if is_proxied:
        protocol = find(b"x-forwarded-proto", b"").rpartition(b",")[2].strip().lower()
        secure = protocol == b"https" if protocol else secure
        country = find(edge.country_header, b"")
    if edge.public_origin:
        secure = edge.public_origin.startswith("https:")

    origin = "null" if is_ambiguous else origin_sent.decode("latin-1")
    if origin in ("", "null") and find(b"sec-fetch-site") == b"same-origin":
        # Browsers leave the origin out of pictures, and blank it under a strict referrer policy. Sec-Fetch-Site is
        # out of a script's reach: the page has our own origin, and that must be on the site's list like any other.
        host = find(b"host", b"").decode("latin-1")
        origin = edge.public_origin or f"http{'s' if secure else ''}://{host}"
    elif pixel and not origin:
        origin = _origin_of(find(b"referer", b""))
    now_ms, book = edge.now_ms(), edge.site_book()
    needs = edge.site_needs.find(book)
    found, twins = pick_cookies(cookies, needs.cookie_names) if cookies else (_NO_COOKIES, _NO_COOKIES)
    context = Context(
        received_at_ms=now_ms,
        sites=book,
        keyring=edge.keyring,
        address=address,
        origin=origin,
        user_agent=find(b"user-agent", b"")[:512].decode("latin-1"),
        country=country.decode("latin-1").upper() or edge.find_country(address),
        cookies=found,
        cookie_twins=twins,
        secure=secure,
        gpc=has_gpc or has_dnt,
        is_dnt=has_dnt and not has_gpc,
        prefetch=_is_prefetch(headers, named),
        is_heard=find(b"sec-fetch-mode") != b"no-cors",
        pixel=pixel,
        claim_visitor=edge.claim_visitor,
        max_events=edge.config.max_events,
        assurance_hours=edge.config.assurance_hours,
        issuer_keys=edge.issuer_keys,
        judge_rate=edge.limits.judge_site,
        link_parameter=edge.config.link_parameter,
        link_watch=edge.link_watch,
        day_salt=edge.find_day_salt(now_ms) if needs.day_salt else b"",
    )
    length = find(b"content-length", b"")
    return RequestFacts(
        context,
        int(length) if length.isdigit() and len(length) < 16 else -1,
        find(b"content-encoding", b"").strip().lower(),
        b"" if is_ambiguous else origin_sent,
    )


def read_visitor_cookie(edge: Edge, site: Site, facts: RequestFacts) -> VisitorCookie | None:
    """Return the first of the site's visitor cookies that is ours."""
    context = facts.context
    for form in list_cookie_forms(site, context.secure):
        for text in (context.cookies.get(form.name, ""), *context.cookie_twins.get(form.name, ())):
            cookie = read_cookie(edge.keyring, site.site_id, text, context.received_at_ms // 1000)
            if cookie is not None:
                return cookie
    return None


def _list_values(headers: Headers, *names: bytes) -> list[bytes]:
    return [value for name, value in headers if name in names]


def _is_prefetch(headers: Headers, named: dict[bytes, bytes]) -> bool:
    if _PURPOSE_HEADERS.isdisjoint(named):
        return False
    values = _list_values(headers, *_PURPOSE_HEADERS)
    return any(word in value for value in values for word in (b"prefetch", b"prerender", b"preview"))


def _origin_of(referrer: bytes) -> str:
    """Return the origin of the page that a picture stands on, as far as the browser tells."""
    try:
        parts = urlsplit(referrer[:2048].decode("latin-1"))
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
