"""The other end of every agent: serves the page, takes whatever is sent, and writes down how much it was.

Each run has a host name of its own under `.localhost`. So it begins without cookies, storage and cache, and what a page
sends late is counted for the run that it belongs to.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from collector.config import Config
from collector.endpoints import tag

PAGE = files("bench.tag").joinpath("page.html").read_text(encoding="utf-8")

# What PostHog's project answers: events are taken, autocapture is on, nothing that costs more is.
POSTHOG_CONFIG = {
    "token": "phc_bench",
    "supportedCompression": ["gzip", "gzip-js"],
    "hasFeatureFlags": False,
    "captureDeadClicks": False,
    "capturePerformance": False,
    "autocapture_opt_out": False,
    "autocaptureExceptions": False,
    "analytics": {"endpoint": "/i/v0/e/"},
    "elementsChainAsString": True,
    "errorTracking": {"autocaptureExceptions": False},
    "sessionRecording": False,
    "heatmaps": False,
    "surveys": False,
    "defaultIdentifiedOnly": True,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request after the page itself. `is_sent`: it carries data, and does not only fetch a script."""

    path: str
    is_sent: bool
    body: bytes

    @property
    def size(self) -> int:
        """Bytes of the body, as they came over the wire."""
        return len(self.body)


@dataclass
class Sink:
    """What came, by the host name of the run. Written by the server's thread, read by the benchmark's."""

    port: int = 0
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    started: int = 0

    def begin(self) -> tuple[str, str]:
        """Begin a run; returns its host name and its origin."""
        self.started += 1
        host = f"run{self.started}.localhost"
        self.seen[host] = []
        return host, f"http://{host}:{self.port}"


def _posthog_config() -> Response:
    text = (
        "(window._POSTHOG_REMOTE_CONFIG=window._POSTHOG_REMOTE_CONFIG||{})['phc_bench']="
        f"{{config:{json.dumps(POSTHOG_CONFIG)},siteApps:[]}}"
    )
    return Response(text, media_type="text/javascript")


@contextmanager
def running_sink() -> Iterator[Sink]:
    """Run the sink in a thread on a free port of the loopback."""
    sink = Sink()

    async def page(_request: Request) -> Response:
        return HTMLResponse(PAGE)

    async def take(request: Request) -> Response:
        body = await request.body()
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        host = (request.headers.get("host") or "").split(":")[0]
        if not path.startswith("/favicon"):
            is_sent = request.method == "POST" or path.startswith("/i?")
            sink.seen.setdefault(host, []).append(Seen(path, is_sent, body))
        if request.url.path == "/x/b":  # our collector's answer to a visitor whom it knows
            return Response(status_code=204)
        if request.url.path.startswith("/array/"):
            return _posthog_config() if path.endswith(".js") else JSONResponse(POSTHOG_CONFIG)
        if request.url.path.startswith("/flags"):
            return JSONResponse({"flags": {}, "errorsWhileComputingFlags": False})
        if request.method == "GET":
            return Response(status_code=404)
        return JSONResponse({"status": 1})

    app = Starlette(
        routes=[
            Route("/", page),
            *tag.routes(Config()),
            Route("/{path:path}", take, methods=["GET", "POST"]),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the sink did not start: is the loopback there?")
        time.sleep(0.01)
    sink.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.should_exit = True
        thread.join()
