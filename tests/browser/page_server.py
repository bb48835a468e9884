"""A small site for the tag's tests: pages, the real tag, and a collector that only writes down what it gets.

Beacons are told apart by site id, one per test, because a page that was left in one test may still send in the next.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from collector.config import Config
from collector.endpoints import tag
from collector.sites.book import Site
from collector.snippet import NONCE, make_snippet

DEADLINE_S = 8.0


@dataclass
class Received:
    """One beacon as it arrived."""

    envelope: dict[str, Any]
    headers: dict[str, str]
    status: int = 0
    """What a real collector answered; 0 where nobody was asked."""
    set_cookie: str = ""

    @property
    def names(self) -> list[str]:
        return [event["n"] for event in self.envelope["e"]]


@dataclass
class PageServer:
    """Pages by path, and beacons by site id. Used from the test's thread and the server's."""

    origin: str = ""
    pages: dict[str, Callable[[Request], Response]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    answers: dict[str, list[Response]] = field(default_factory=dict)
    posts: dict[str, Callable[[Request], Awaitable[Response]]] = field(default_factory=dict)
    """What takes a POST of the page's own, by path."""
    preflights: int = 0

    def beacons(self, site: str) -> list[Received]:
        """Beacons of this site so far."""
        return [one for one in list(self.received) if one.envelope["s"] == site]

    def events(self, site: str) -> list[dict[str, Any]]:
        """Events of this site so far, in the order of arrival."""
        return [event for one in self.beacons(site) for event in one.envelope["e"]]

    def beacon_count_is(self, site: str, count: int) -> list[Received]:
        """Wait until exactly this many beacons have come; fails when there are more, or at the deadline."""
        return self._wait(lambda: self.beacons(site), lambda found: len(found) >= count, f"{count} beacons", count)

    def event_names_are(self, site: str, names: list[str]) -> list[dict[str, Any]]:
        """Wait until these events have come, in any order; fails when there are more, or at the deadline."""
        events = self._wait(
            lambda: self.events(site), lambda found: len(found) >= len(names), f"events {names}", len(names)
        )
        assert sorted(event["n"] for event in events) == sorted(names)
        return events

    def _wait(self, read: Callable[[], list[Any]], is_there: Callable[[list[Any]], bool], what: str, count: int) -> Any:
        end = time.monotonic() + DEADLINE_S
        while not is_there(found := read()):
            assert time.monotonic() < end, f"waited for {what}, got {found}"
            time.sleep(0.02)
        assert len(found) == count, f"wanted {what}, got {found}"
        return found

    def add_page(self, path: str, html: str, headers: dict[str, str] | None = None) -> str:
        """Serve this HTML under the path; returns its address."""
        self.pages[path] = lambda _request: HTMLResponse(html, headers=headers)
        return self.origin + path

    def add_tagged_page(
        self,
        path: str,
        site: str,
        *,
        consent: str = "implied",
        body: str = "",
        head: str = "",
        auto: str = "",
        capture: tuple[str, ...] = (),
        nonce: str = "",
        headers: dict[str, str] | None = None,
    ) -> str:
        """Serve a page that carries the snippet as `tagstitch snippet` prints it for such a site; `head` stands before
        it. `auto`: what the tag notes by itself; empty: its default; `none` where a test counts other events."""
        row = Site(site, consent=consent, auto=auto, capture=capture)
        snippet = make_snippet(Config(), row, nonce=bool(nonce)).replace(NONCE, nonce)
        html = f"<title>{path}</title>{head}{snippet}</head><body>{body}</body></html>"
        return self.add_page(path, f"<!doctype html><html lang=en><head>{html}", headers)


@contextmanager
def running_page_server() -> Iterator[PageServer]:
    """Run the server in a thread on a free port of localhost."""
    server = PageServer()

    async def page(request: Request) -> Response:
        make = server.pages.get(request.url.path)
        return make(request) if make else Response("", status_code=404)

    async def post(request: Request) -> Response:
        take = server.posts.get(request.url.path)
        return await take(request) if take else Response("", status_code=405)

    async def beacon(request: Request) -> Response:
        if request.method == "OPTIONS":
            server.preflights += 1
            return Response(status_code=403)
        envelope = json.loads(await request.body())
        answers = server.answers.get(envelope["s"])
        answer = answers.pop(0) if answers else Response(status_code=204)
        answer.headers["Access-Control-Allow-Origin"] = request.headers.get("origin", "null")
        answer.headers["Access-Control-Allow-Credentials"] = "true"
        # It counts once it is answered: of a page that is left sooner the tag does not know, and sends it again.
        arrived = Received(envelope, dict(request.headers))
        answer.background = BackgroundTask(server.received.append, arrived)
        return answer

    app = Starlette(
        routes=[
            *tag.routes(Config()),
            Route("/x/b", beacon, methods=["POST", "OPTIONS"]),
            Route("/{path:path}", post, methods=["POST"]),
            Route("/{path:path}", page),
        ]
    )
    with serving(app) as port:
        server.origin = f"http://localhost:{port}"
        yield server


@contextmanager
def serving(app: Any, certificates: Path | None = None) -> Iterator[int]:
    """Serve an ASGI application in a thread, on a free port of this machine, until the block ends. Gives the port.

    `certificates`: a folder with `privkey.pem` and `fullchain.pem`; then it is HTTPS.
    """
    files: dict[str, Any] = {}
    if certificates:
        files = {"ssl_keyfile": certificates / "privkey.pem", "ssl_certfile": certificates / "fullchain.pem"}
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none", **files))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield running.servers[0].sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        thread.join()
