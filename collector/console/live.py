"""The live page at /demo/live: events as they land, whose they are, and how they change hands.

Two routes for the operator: the page, and the stream of Server-Sent Events that it listens to. The page knows nothing
of its own; live.js builds every row from text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from collector.config import Config
from collector.console.catalogue import SITE_ID
from collector.console.live_feed import LiveFeed
from collector.console.live_people import LiveOffer
from collector.console.live_source import LiveSource, RowReader, StoreSource
from collector.console.page import Pages, make_nonce
from collector.endpoints.guard import OperatorGuard
from collector.keyring import Keyring

LEVELS = (
    ("unknown", "Nobody had said who this is: the browser alone was known."),
    ("claimed", "The page said so, unsigned. A hint, nothing more."),
    ("linked", "A signed link was followed by a human. Provisional until a sign-in confirms it."),
    ("signed", "The site vouches for it with a signature."),
    ("server", "The site's own server said so with its secret key."),
)
"""Name and explanation of the assurance levels, 0 to 4."""


def live_routes(
    config: Config,
    keyring: Keyring,
    open_reader: Callable[[], RowReader],
    source: LiveSource | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
    offers: Sequence[LiveOffer] = (),
) -> list[BaseRoute]:
    """Return the routes of the live page.

    `open_reader`: opens a client of the store as reader, called in the thread that uses it. `source`: in its place,
    for tests. `is_stopping`: whether the server has been told to end; open streams end then, within a quarter of a
    second. `offers`: what the page says of each beside who was shown it. The static files of the page are served by
    `demo_routes`.
    """
    feed = LiveFeed(source or StoreSource(open_reader, lambda: time.time_ns() // 1_000_000), is_stopping=is_stopping)
    pages = Pages()
    guard = OperatorGuard(keyring)

    async def show(_: Request) -> Response:
        context = {"site_id": SITE_ID, "levels": LEVELS, "offers": msgspec.to_builtins(offers)}
        return pages.render("live.html", context, nonce=make_nonce(), referrer_policy="same-origin")

    async def stream(_: Request) -> Response:
        if feed.is_full:
            return PlainTextResponse("Too many are watching; try again later.\n", 503, {"Retry-After": "10"})
        headers = {
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx would hold the stream back
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(feed.watch(), media_type="text/event-stream", headers=headers)

    return [
        Route("/demo/live", guard.protect(show), methods=["GET"]),
        Route("/demo/live/stream", guard.protect(stream), methods=["GET"]),
    ]
