"""The API with keys, `/v1/…`, and `/openapi.json`, which describes every endpoint for programs.

A key comes as `Authorization: Bearer ts_…`. Answers are JSON; a refusal says what was wrong and never whether a key
of that id exists. A key is checked against the process's snapshot of keys: no question to the store.
"""

from __future__ import annotations

import time
from functools import cache, partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from collector.config import Config
from collector.endpoints.description import describe
from collector.keyring import Keyring
from collector.sites.keys import verify_key
from collector.sites.poll import SitePoller

NO_STORE = {"cache-control": "no-store"}
SCHEME = "Bearer "


def routes(config: Config, keyring: Keyring, poller: SitePoller) -> list[Route]:
    """Return the routes."""
    find_description = cache(partial(describe, config))  # made when it is first asked for: few processes ever are

    async def openapi(_: Request) -> Response:
        return JSONResponse(find_description(), headers={"cache-control": "public, max-age=300"})

    async def sites(request: Request) -> Response:
        text = request.headers.get("authorization", "")
        now_ms = time.time_ns() // 1_000_000
        book = poller.read_book()
        allowed = [
            (site, key)
            for site in book.sites.values()
            if not site.deleted
            and text.startswith(SCHEME)
            and (key := verify_key(book, keyring, text.removeprefix(SCHEME), "read", site.site_id, now_ms=now_ms))
        ]
        if not allowed:
            headers = {**NO_STORE, "www-authenticate": 'Bearer realm="tagstitch"'}
            message = "Send a key with scope read: Authorization: Bearer ts_… (tagstitch key create --scope read)."
            text_of = {"error": "unauthorized", "field": "", "message": message, "retry": False}
            return JSONResponse(text_of, 401, headers=headers)
        poller.uses.note(allowed[0][1].key_id, now_ms)
        found = [
            {
                "site_id": site.site_id,
                "space_id": site.space_id,
                "origins": list(site.origins),
                "consent": site.consent,
                "identify": site.identify,
                "time_zone": site.time_zone,
                "keep_days": site.keep_days,
            }
            for site, _ in allowed
        ]
        return JSONResponse({"sites": found}, headers=NO_STORE)

    return [Route("/openapi.json", openapi), Route("/v1/sites", sites)]
