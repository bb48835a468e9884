"""Pages over HTTPS under several names, with the tag and the real collector behind them, for tests in several engines.

    www.shop.test, c.shop.test   one site (same-site for browsers), two hosts
    www.other.test               another site of the same owner
    collect.test                 a collector that is third party to all of them
    localhost                    for the engine that takes no proxy; with its port, see `local_origin`

Every host serves every page, and `/away`, which has no tag. Beacons go through the real edge: consent, origin,
cookie, spool. What arrived on the wire is in `beacons`, as with the plain page server; what was kept is read from the
spool's segments, in `rows`. No engine runs. Errors that a page meets are reported to `wrong`: not every driver tells.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from name_proxy import NameProxy, running_name_proxy
from page_server import PageServer, Received, serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from collector.config import Config
from collector.endpoints import beacon, tag
from collector.endpoints.edge import Edge
from collector.event import EventRow, LandingRow
from collector.sites.book import Site, SiteBook
from collector.snippet import make_snippet
from collector.spool.frames import scan_frames
from collector.spool.writer import SpoolWriter
from tests.deploy.proxied import make_certificates
from tests.edge_examples import KEYRING

SHOP = "https://www.shop.test"
SUBDOMAIN = "https://c.shop.test"
OTHER = "https://www.other.test"
THIRD_PARTY = "https://collect.test"
NAMES = ("www.shop.test", "c.shop.test", "www.other.test", "collect.test", "localhost")

# The very first script of a page: without arrow functions and the like, so that an old engine can tell what it lacks.
WATCH = """<script>
(function () {
  function tell(text) { navigator.sendBeacon("/wrong", location.href + ": " + text) }
  addEventListener("error", function (event) { event.message && tell(event.message) });
  addEventListener("unhandledrejection", function (event) { tell(String(event.reason)) });
})()
</script>"""


@dataclass
class SecureSite(PageServer):
    """The pages, the names and the collector. `origin` is that of www.shop.test."""

    origin: str = SHOP
    local_origin: str = ""
    wrong: list[str] = field(default_factory=list)
    sites: dict[str, Site] = field(default_factory=dict)
    spool: Path = Path()
    network: NameProxy | None = None

    def add_site(self, site: str, **settings: Any) -> Site:
        """Make the collector know this site: all our names are its own, and a driven browser counts as human. Of what
        the tag notes by itself only route changes are on: how long a test stays on a page shall not count."""
        usual = {"origins": (SHOP, SUBDOMAIN, OTHER, self.local_origin), "count_automated": True, "auto": "spa"}
        self.sites[site] = Site(site_id=site, **{**usual, **settings})
        return self.sites[site]

    def add_shop_page(
        self, path: str, site: str, *, collector: str = "", consent: str = "implied", head: str = "", body: str = ""
    ) -> str:
        """Serve a page with the snippet, on every host; returns its address at www.shop.test.

        `collector`: origin that the tag is loaded from and sends to; empty: the page's own. `head` stands before the
        snippet. The collector is told of the site, unless `add_site` has done so; then it is as said there.
        """
        known = self.sites.get(site) or self.add_site(site, consent=consent)
        snippet = make_snippet(Config(), known, base_url=collector)
        return self.add_page(
            path, f"<!doctype html><title>{path}</title>{WATCH}{head}{snippet}<body>{body}<p>{path}</p></body>"
        )

    def rows(self, site: str) -> list[LandingRow]:
        """What the collector has kept of this site, beacon by beacon, from the disk."""
        lines = (json_line for segment in self._read_segments() for json_line in segment)
        rows = (msgspec.json.decode(line, type=LandingRow) for line in lines)
        return sorted((row for row in rows if row.site_id == site), key=lambda row: row.received_at_ms)

    def kept_events(self, site: str) -> list[EventRow]:
        """Events that the collector has kept of this site, in the order of arrival."""
        return [event for row in self.rows(site) for event in row.events]

    def kept_names_are(self, site: str, names: list[str]) -> list[EventRow]:
        """Wait until the collector has kept these events, in any order; each once, and no others."""
        kept = partial(self.kept_events, site)
        events: list[EventRow] = self._wait(
            kept, lambda found: len(found) >= len(names), f"kept events {names}", len(names)
        )
        assert sorted(event.name for event in events) == sorted(names)
        assert len({event.event_id for event in events}) == len(names), "an event was kept twice"
        return events

    def _read_segments(self) -> Iterator[list[bytes]]:
        while True:
            try:
                found = [path.read_bytes() for path in sorted(self.spool.iterdir()) if path.name != "lock"]
            except FileNotFoundError:  # sealed, and so renamed, between listing and reading
                continue
            for data in found:
                yield [stretch.line for stretch in scan_frames(data) if stretch.line]
            return


@contextmanager
def running_secure_site(folder: Path) -> Iterator[SecureSite]:
    """Run server, names and collector in threads until the block ends. `folder` is for certificate and spool."""
    config = Config()
    site = SecureSite(spool=folder / "spool")
    site.pages["/away"] = lambda _request: HTMLResponse("<!doctype html><title>away</title><p>away")
    spool = SpoolWriter(site.spool)
    edge = Edge(config, KEYRING, lambda: SiteBook(sites=dict(site.sites), read_at_ms=1), spool, _now_ms)

    async def page(request: Request) -> Response:
        make = site.pages.get(request.url.path)
        return make(request) if make else Response("", status_code=404)

    async def wrong(request: Request) -> Response:
        site.wrong.append((await request.body()).decode())
        return Response(status_code=204)

    app = Starlette(
        routes=[
            *beacon.routes(edge),
            *tag.routes(config),
            Route("/wrong", wrong, methods=["POST"]),
            Route("/probe", _probe, methods=["GET", "POST"]),
            Route("/{path:path}", page),
        ]
    )
    make_certificates(folder / "tls", NAMES)
    try:
        with serving(_noting(app, config.beacon_path, site), folder / "tls") as port:
            site.local_origin = f"https://localhost:{port}"
            with running_name_proxy(port) as network:
                site.network = network
                yield site
    finally:
        spool.close()


async def _probe(request: Request) -> Response:
    """A cookie as any third party would set it; the answer says which cookies came."""
    answer = Response(json.dumps(request.cookies), media_type="application/json")
    answer.headers["Access-Control-Allow-Origin"] = request.headers.get("origin", "null")
    answer.headers["Access-Control-Allow-Credentials"] = "true"
    answer.set_cookie("probe", request.query_params["value"], secure=True, httponly=True, samesite="none")
    return answer


def _noting(app: Any, path: str, site: SecureSite) -> Callable[..., Any]:
    """Wrap the application: write down each whole beacon, and what it was answered."""

    async def call(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] != "http" or scope["path"] != path or scope["method"] != "POST":
            await app(scope, receive, send)
            return
        body = b""
        note: Received | None = None

        async def take() -> Any:
            nonlocal body, note
            message = await receive()
            body += message.get("body", b"")
            if message["type"] == "http.request" and not message.get("more_body") and note is None:
                note = Received(json.loads(body), _decode(scope["headers"]))
                site.received.append(note)
            return message

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start" and note is not None:
                note.status = message["status"]
                note.set_cookie = _decode(message["headers"]).get("set-cookie", "")
            await send(message)

        await app(scope, take, answer)

    return call


def _decode(headers: Any) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
