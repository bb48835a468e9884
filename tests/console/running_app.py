"""The demo pages on a real server on a free port, with a collector that only writes down what it gets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector.config import Config
from collector.console.demo import demo_routes
from collector.console.live import live_routes
from collector.console.live_people import LiveOffer
from collector.endpoints import tag
from collector.endpoints.me import Me, find_path
from collector.keyring import Keyring, make_keyring
from tests.console.live_rows import FilledSource

DEADLINE_S = 15.0


@dataclass
class RunningPages:
    """The pages' address, what they are made of, and the beacons so far."""

    keyring: Keyring
    source: FilledSource
    origin: str = ""
    beacons: list[dict[str, Any]] = field(default_factory=list)

    def events(self, visitor_id: str) -> list[dict[str, Any]]:
        """Events of one visitor so far."""
        return [event for one in list(self.beacons) if one.get("d") == visitor_id for event in one["e"]]

    def wait_event(self, visitor_id: str, name: str) -> dict[str, Any]:
        """Wait for the first event of this name; fails at the deadline."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            for event in self.events(visitor_id):
                if event["n"] == name:
                    return event
            time.sleep(0.02)
        raise AssertionError((name, [event["n"] for event in self.events(visitor_id)]))


@contextmanager
def running_pages() -> Iterator[RunningPages]:
    """Serve shop, live page and tag in a thread."""
    pages = RunningPages(make_keyring(), FilledSource())
    config = Config(demo=True)

    def open_no_reader() -> Any:
        raise AssertionError("the live page reads the filled source")

    async def beacon(request: Request) -> Response:
        pages.beacons.append(json.loads(await request.body()))
        return Response(status_code=204)

    async def nobody(_: Request) -> Response:
        return Response(msgspec.json.encode(Me()), media_type="application/json")

    app = Starlette(
        routes=[
            *demo_routes(config, pages.keyring),
            *live_routes(
                config,
                pages.keyring,
                open_no_reader,
                source=pages.source,
                is_stopping=lambda: server.should_exit,
                offers=[LiveOffer("reading_lamp", "lamp_lovers", 0.1, "")],
            ),
            *tag.routes(config),
            Route(config.beacon_path, beacon, methods=["POST"]),
            Route(find_path(config.beacon_path), nobody, methods=["GET"]),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    pages.origin = f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield pages
    finally:
        server.should_exit = True
        thread.join()
