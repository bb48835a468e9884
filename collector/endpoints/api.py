"""The API with keys, `/v1/…`, and `/openapi.json`, which describes every endpoint for programs.

A key comes as `Authorization: Bearer ts_…`. Answers are JSON; a refusal says what was wrong and never whether a key
of that id exists. A key is checked against the process's snapshot of keys: no question to the store.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from collector import __version__
from collector.config import Config
from collector.endpoints.server_events_texts import describe_server_events
from collector.event import Envelope, Reason
from collector.keyring import Keyring
from collector.sites.keys import verify_key
from collector.sites.poll import SitePoller

NO_STORE = {"cache-control": "no-store"}
SCHEME = "Bearer "


def routes(config: Config, keyring: Keyring, poller: SitePoller) -> list[Route]:
    """Return the routes."""
    description = describe(config)

    async def openapi(_: Request) -> Response:
        return JSONResponse(description, headers={"cache-control": "public, max-age=300"})

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
            return JSONResponse({"error": "unauthorized", "message": message}, 401, headers=headers)
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


def describe(config: Config) -> dict[str, Any]:
    """Return the OpenAPI description of this collector, with its own paths."""
    (beacon,), components = msgspec.json.schema_components([Envelope], ref_template="#/components/schemas/{name}")
    refusal = {
        "type": "object",
        "required": ["error", "field", "message", "retry"],
        "properties": {
            "error": {"enum": [*Reason, "unauthorized", "unavailable"]},
            "field": {"type": "string", "description": "Path of the field, never its value."},
            "message": {"type": "string"},
            "retry": {"type": "boolean", "description": "Whether the same bytes may be sent again later."},
        },
    }

    def answer(text: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"description": text, **({"content": {"application/json": {"schema": schema}}} if schema else {})}

    refused = answer("Refused, with the reason.", {"$ref": "#/components/schemas/Refusal"})
    beacon_answers = {
        "200": answer("Kept; the tag must take this visitor id over.", _object({"d": {"type": "string"}})),
        "204": answer("Kept. X-Tagstitch-Rejected names what was not."),
        **dict.fromkeys(("400", "403", "404", "413", "415", "429", "503"), refused),
    }
    server_paths, server_schemas = describe_server_events({"$ref": "#/components/schemas/Refusal"})
    ready = _object({"ready": {"type": "boolean"}, "reason": {"type": "string"}})
    return {
        "openapi": "3.1.0",
        "info": {"title": "tagstitch collector", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": {
            config.beacon_path: {
                "post": {
                    "summary": "Take in one beacon; see docs/wire-format.md.",
                    "requestBody": {"required": True, "content": {"text/plain": {"schema": beacon}}},
                    "responses": beacon_answers,
                }
            },
            config.pixel_path: {
                "get": {
                    "summary": "One event from a page without script.",
                    "parameters": [_query("s", "Site id."), _query("n", "Event name."), _query("u", "Page address.")],
                    "responses": {"200": {"description": "A transparent picture, whatever became of the event."}},
                }
            },
            f"{config.link_path}/{{token}}": {
                "get": {
                    "summary": "Follow a tagged link.",
                    "parameters": [{"name": "token", "in": "path", "required": True, "schema": {"type": "string"}}],
                    "responses": {
                        "302": {"description": "To the page that the token names."},
                        "404": {"description": "No such link."},
                        "410": {"description": "The link has expired."},
                    },
                }
            },
            "/v1/sites": {
                "get": {
                    "summary": "The sites that the key may read.",
                    "security": [{"key": []}],
                    "responses": {"200": answer("The sites.", _object({"sites": {"type": "array"}})), "401": refused},
                }
            },
            **server_paths,
            "/health": {"get": {"summary": "Is it alive?", "responses": {"200": answer("Yes.")}}},
            "/ready": {
                "get": {
                    "summary": "Could it accept a beacon now?",
                    "responses": {"200": answer("Yes.", ready), "503": answer("No, with the reason.", ready)},
                }
            },
        },
        "components": {
            "schemas": {**components, **server_schemas, "Refusal": refusal},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The key as user name, no password."},
            },
        },
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _query(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
