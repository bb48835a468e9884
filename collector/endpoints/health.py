"""Is it alive, can it accept, how is it doing: `/health`, `/ready`, `/metrics`.

`/health` answers as long as the process turns. `/ready` answers 200 only where a beacon could be accepted now: the
spool takes frames and the sites are known. `/metrics` is for Prometheus; from elsewhere than this machine it wants
the operator's key.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from collector import __version__
from collector.console.guard import OperatorGuard
from collector.sites.book import SiteBook
from collector.spool.writer import SpoolWriter

NO_STORE = {"cache-control": "no-store"}


def routes(guard: OperatorGuard, spool: SpoolWriter, read_sites: Callable[[], SiteBook]) -> list[Route]:
    """Return the three routes."""

    async def health(_: Request) -> Response:
        return JSONResponse({"alive": True, "version": __version__}, headers=NO_STORE)

    async def ready(_: Request) -> Response:
        book = read_sites()
        reason = ""
        if not spool.is_accepting():
            reason = "the spool takes nothing: it is full, the disk is, or it failed; the log says which"
        elif not book.read_at_ms:
            reason = "the sites are not known yet: the store has not answered since the first start"
        state = {
            "ready": not reason,
            "reason": reason,
            "spool_bytes": spool.used_bytes,
            "sites": len(book.sites),
            "settings_age_s": round(time.time() - book.read_at_ms / 1000, 1) if book.read_at_ms else None,
        }
        return JSONResponse(state, 503 if reason else 200, headers=NO_STORE)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST, headers=NO_STORE)

    return [
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", guard.protect(metrics)),
    ]
