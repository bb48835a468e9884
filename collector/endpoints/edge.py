"""What the endpoints that take events in share: settings, keys, sites, spool, clock; and the request's facts.

The facts are read from the raw ASGI headers in one pass. What a client says about its own address or protocol counts
only where a trusted proxy says it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from collector.accept.refusals import Refusals, Spool
from collector.accept.validate import parse_networks
from collector.config import Config
from collector.endpoints.client_address import Networks, find_client_address, is_trusted
from collector.endpoints.cookies import SiteNeeds, pick_cookies
from collector.event import Context
from collector.id_tokens.keys import KeyBook
from collector.keyring import Keyring
from collector.sites.book import SiteBook


@dataclass(frozen=True)
class Edge:
    """The parts that one web process takes events in with."""

    config: Config
    keyring: Keyring
    site_book: Callable[[], SiteBook]
    spool: Spool
    now_ms: Callable[[], int]
    find_country: Callable[[str], str] = field(default=lambda address: "")
    find_day_salt: Callable[[int], bytes] = field(default=lambda now_ms: b"")
    issuer_keys: KeyBook = field(default_factory=KeyBook)

    @cached_property
    def trusted_networks(self) -> Networks:
        """The proxies whose word counts."""
        return parse_networks(tuple(part for part in self.config.trusted_proxies.split(",") if part.strip()))

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
    """Read a request's facts. Never raises; what cannot be read counts as not said."""
    origins: list[bytes] = []
    cookies: list[bytes] = []
    forwarded: list[bytes] = []
    protocol = country = host = referrer = agent = encoding = fetch_site = b""
    length = -1
    gpc = prefetch = False
    for name, value in scope["headers"]:
        match name:
            case b"origin":
                origins.append(value)
            case b"cookie":
                cookies.append(value)
            case b"user-agent":
                agent = value
            case b"content-length":
                length = int(value) if value.isdigit() and len(value) < 16 else -1
            case b"content-encoding":
                encoding = value.strip().lower()
            case b"host":
                host = value
            case b"referer":
                referrer = value
            case b"sec-fetch-site":
                fetch_site = value
            case b"sec-gpc" | b"dnt":
                gpc = gpc or value.strip() == b"1"
            case b"sec-purpose" | b"purpose" | b"x-moz":
                prefetch = prefetch or b"prefetch" in value or b"prerender" in value or b"preview" in value
            case b"x-forwarded-for":
                forwarded.append(value)
            case b"x-forwarded-proto":
                protocol = value.rpartition(b",")[2].strip().lower()
            case _:
                if name == edge.country_header:
                    country = value

    client = scope.get("client")
    address = peer = client[0] if client else ""
    secure = scope.get("scheme") == "https"
    if edge.trusted_networks and is_trusted(peer, edge.trusted_networks):
        address = find_client_address(peer, b",".join(forwarded), edge.trusted_networks)
        secure = protocol == b"https" if protocol else secure
    else:
        country = b""
    if edge.public_origin:
        secure = edge.public_origin.startswith("https:")

    origin = origins[0].decode("latin-1") if origins else ""
    if len(origins) > 1:
        origin = "null"
    if origin in ("", "null") and fetch_site == b"same-origin":
        # Browsers leave the origin out of pictures, and blank it under a strict referrer policy. Sec-Fetch-Site is
        # out of a script's reach: the page has our own origin, and that must be on the site's list like any other.
        origin = edge.public_origin or f"http{'s' if secure else ''}://{host.decode('latin-1')}"
    elif pixel and not origin:
        origin = _origin_of(referrer)
    now_ms, book = edge.now_ms(), edge.site_book()
    needs = edge.site_needs.find(book)
    found, twins = pick_cookies(cookies, needs.cookie_names) if cookies else ({}, {})
    context = Context(
        received_at_ms=now_ms,
        sites=book,
        keyring=edge.keyring,
        address=address,
        origin=origin,
        user_agent=agent[:512].decode("latin-1"),
        country=country.decode("latin-1").upper() or edge.find_country(address),
        cookies=found,
        cookie_twins=twins,
        secure=secure,
        gpc=gpc,
        prefetch=prefetch,
        pixel=pixel,
        max_events=edge.config.max_events,
        assurance_hours=edge.config.assurance_hours,
        issuer_keys=edge.issuer_keys,
        link_parameter=edge.config.link_parameter,
        day_salt=edge.find_day_salt(now_ms) if needs.day_salt else b"",
    )
    return RequestFacts(context, length, encoding, origins[0] if len(origins) == 1 else b"")


def _origin_of(referrer: bytes) -> str:
    """Return the origin of the page that a picture stands on, as far as the browser tells."""
    try:
        parts = urlsplit(referrer[:2048].decode("latin-1"))
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
