"""`/.well-known/gpc.json`: that Global Privacy Control is obeyed here, in the form that its specification gives.

It is for the site whose pages the collector stands behind: whoever asks for it asks on the site's own host. Where only
paths below `/x/` lead to the collector, let this one lead there as well, or publish the same file.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PATH = "/.well-known/gpc.json"
LAST_UPDATE = "2026-11-23"
"""When what the collector does with the signal last changed: see `purposes.NOT_UNDER_GPC`."""

_HEADERS = {"cache-control": "public, max-age=86400", "access-control-allow-origin": "*"}


async def _say(_: Request) -> Response:
    return JSONResponse({"gpc": True, "lastUpdate": LAST_UPDATE}, headers=_HEADERS)


def routes() -> list[Route]:
    """Return the route."""
    return [Route(PATH, _say, methods=["GET"])]
