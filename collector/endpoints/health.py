"""Is it alive, can it accept, how is it doing: `/health`, `/ready`, `/metrics`.

`/health` answers as long as the process turns. `/ready` answers 200 only where a beacon could be accepted now: the
spool takes frames and the sites are known. `/metrics` is for Prometheus; from elsewhere than this machine it wants
the operator's key. It speaks for the whole instance, whichever web process answers: see `collector.condition`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from collector import __version__
from collector.condition import read_condition
from collector.endpoints.exposition import expose
from collector.endpoints.guard import OperatorGuard
from collector.load.maintenance import is_maintenance
from collector.shared_totals import SharedTotals
from collector.sites.book import SiteBook
from collector.spool.writer import SpoolWriter

NO_STORE = {"cache-control": "no-store"}


def routes(
    guard: OperatorGuard, data: Path, spool: SpoolWriter, read_sites: Callable[[], SiteBook], shared: SharedTotals
) -> list[Route]:
    """Return the three routes. `data`: the instance's folder."""

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
            "maintenance": _is_maintenance(data),
            "sites": len(book.sites),
            "settings_age_s": round(time.time() - book.read_at_ms / 1000, 1) if book.read_at_ms else None,
        }
        return JSONResponse(state, 503 if reason else 200, headers=NO_STORE)

    async def metrics(_: Request) -> Response:
        shared.write()  # what is answered stands in the file: a kill cannot take it back
        condition = await asyncio.to_thread(read_condition, data, time.time_ns() // 1_000_000)
        return Response(expose(condition), media_type=CONTENT_TYPE_LATEST, headers=NO_STORE)

    return [
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", guard.protect(metrics)),
    ]


def _is_maintenance(data: Path) -> bool:
    """Tell whether maintenance is on; where the folder cannot be looked into, other facts say so."""
    try:
        return is_maintenance(data)
    except OSError:
        return False
