"""The OpenAPI description of the endpoints: every path for programs, with every status and header that it answers.

What is said here is held against a running web process by a test that makes requests out of it. Paths are those of the
settings. Refusals that need no endpoint (a bad head, a slow client) are told of once, in `info`.
"""

from __future__ import annotations

from posixpath import splitext
from typing import Any

import msgspec

from collector import __version__
from collector.config import Config
from collector.console.inspect_description import describe_inspect
from collector.endpoints.catalogue_description import describe_catalogue
from collector.endpoints.data_requests_description import describe_data_requests
from collector.endpoints.exports_description import describe_exports
from collector.endpoints.identity_description import describe_identity
from collector.endpoints.link_revocations_description import describe_revocations
from collector.endpoints.me import find_path
from collector.endpoints.mint_description import describe_mint
from collector.endpoints.profile_description import describe_me, describe_profiles
from collector.endpoints.server_events_texts import describe_server_events
from collector.endpoints.stream_description import describe_stream
from collector.event import Envelope
from collector.reasons import Reason

_ANY_PATH = (
    "Before an endpoint is reached, any path may answer 400 (a head that two parsers could read differently), 408 (too "
    "slow), 414 (address over 8 KB), 431 (head or cookies too large) or 503 (too many connections), each without a "
    "body, and closes the connection. A method that a path does not know is answered 405."
)
_TEXT = {"type": "string"}
_SECONDS = {"type": "integer", "minimum": 0}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "required": True, "schema": _SECONDS}}
_PLAIN: dict[str, Any] = {"text/plain": {"schema": _TEXT}}
_HTML: dict[str, Any] = {"text/html": {"schema": _TEXT}}
_REFUSAL = {"$ref": "#/components/schemas/Refusal"}
_OPERATOR: list[dict[str, list[str]]] = [{}, {"operator": []}]


def describe(config: Config) -> dict[str, Any]:
    """Return the description of a collector with these settings."""
    (beacon,), schemas = msgspec.json.schema_components([Envelope], ref_template="#/components/schemas/{name}")
    refused = _json("Refused, with the reason.", _REFUSAL)
    server_paths, server_schemas = describe_server_events(_REFUSAL)
    identity_paths, identity_schemas = describe_identity()
    request_paths, request_schemas = describe_data_requests()
    mint_paths, mint_schemas = describe_mint()
    revocation_paths, revocation_schemas = describe_revocations()
    profile_paths, profile_schemas = describe_profiles()
    me_paths, me_schemas = describe_me(find_path(config.beacon_path))
    stream_paths, stream_schemas = describe_stream()
    export_paths, export_schemas = describe_exports()
    paths = {
        **_describe_beacon(config, beacon, refused),
        **_describe_links(config),
        **_describe_opt_out(config),
        **describe_catalogue(config),
        **_describe_tag(config),
        **_describe_sites(),
        **server_paths,
        **identity_paths,
        **request_paths,
        **mint_paths,
        **revocation_paths,
        **profile_paths,
        **me_paths,
        **stream_paths,
        **export_paths,
        **_describe_health(),
    }
    schemas |= {
        **server_schemas,
        **identity_schemas,
        **request_schemas,
        **mint_schemas,
        **revocation_schemas,
        **profile_schemas,
        **me_schemas,
        **stream_schemas,
        **export_schemas,
    }
    schemas["Refusal"] = _describe_refusal()
    if config.inspect:
        unavailable = {**refused, "headers": _RETRY_AFTER}
        inspect_paths, inspect_schemas = describe_inspect(beacon, refused, unavailable)
        paths |= inspect_paths
        schemas |= inspect_schemas
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tagstitch collector",
            "version": __version__,
            "description": _ANY_PATH,
            "license": {"name": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The key as user name, no password."},
                "operator": {"type": "apiKey", "in": "header", "name": "X-Tagstitch-Key"},
            },
        },
    }


def _describe_refusal() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["error", "field", "message", "retry"],
        "properties": {
            "error": {"enum": [*Reason, "unauthorized", "unavailable"]},
            "field": {"type": "string", "description": "Path of the field, never its value."},
            "message": _TEXT,
            "retry": {"type": "boolean", "description": "Whether the same bytes may be sent again later."},
        },
    }


def _describe_beacon(config: Config, beacon: dict[str, Any], refused: dict[str, Any]) -> dict[str, Any]:
    rejected = {
        "X-Tagstitch-Rejected": {
            "description": "Reasons why something of it is not kept, comma between.",
            "schema": {"type": "string", "pattern": "^[a-z_]+(,[a-z_]+)*$"},
        }
    }
    stop = {"X-Tagstitch-Stop": {"description": "Seconds for which the sender shall be silent.", "schema": _SECONDS}}
    cookie = {"Set-Cookie": {"description": "The visitor's cookie.", "schema": _TEXT}}
    told = {"type": "object", "minProperties": 1, "properties": {"d": {"type": "string", "format": "uuid"}, "x": _TEXT}}
    kept = _json("Kept. `d`: take this visitor id over; `x`: the hand-over token that was asked for.", told)
    said = {**refused, "headers": rejected}
    later = {**refused, "headers": {**rejected, **_RETRY_AFTER}}
    origin = _parameter("Origin", "header", "Origin of the page; on the site's list, or left out by a program.")
    coding = _parameter("Content-Encoding", "header", "How the body is packed.", {"enum": ["identity", "gzip"]})
    preflight = {
        "Allow": {"required": True, "schema": _TEXT},
        "Access-Control-Allow-Origin": {"schema": _TEXT},
        "Access-Control-Allow-Methods": {"schema": _TEXT},
        "Access-Control-Allow-Headers": {"schema": _TEXT},
        "Access-Control-Max-Age": {"schema": _SECONDS},
    }
    query = [
        _parameter(name, "query", text)
        for name, text in (
            ("s", "Site id."),
            ("n", "Event name; page_view unless given."),
            ("u", "Page address."),
            ("r", "Referrer."),
            ("h", "Title."),
            ("c", "Consent, in letters."),
            ("i", "Event id, a UUID."),
            ("d", "Visitor id, a UUID."),
        )
    ]
    return {
        config.beacon_path: {
            "post": {
                "summary": "Take in one beacon; see docs/wire-format.md. The type of the body is not looked at.",
                "parameters": [origin, coding],
                "requestBody": {
                    "required": True,
                    "content": {kind: {"schema": beacon} for kind in ("application/json", "text/plain")},
                },
                "responses": {
                    "200": {**kept, "headers": {**rejected, **cookie}},
                    "204": {
                        "description": "Kept, or refused for a reason that the sender can do nothing about.",
                        "headers": {**rejected, **stop, **cookie},
                    },
                    **dict.fromkeys(("400", "403", "404", "413", "415"), said),
                    "429": later,
                    "503": {**refused, "headers": _RETRY_AFTER},
                },
            },
            "options": {
                "summary": "A browser's question before it sends.",
                "parameters": [origin],
                "responses": {
                    "204": {"description": "Pages of this origin may send.", "headers": preflight},
                    "403": {"description": "No site lists this origin.", "headers": {"Allow": preflight["Allow"]}},
                },
            },
        },
        config.pixel_path: {
            "get": {
                "summary": "One event from a page without script.",
                "parameters": query,
                "responses": {
                    "200": {
                        "description": "A transparent picture, whatever became of the event.",
                        "headers": cookie,
                        "content": {"image/gif": {"schema": {"type": "string", "format": "binary"}}},
                    }
                },
            }
        },
    }


def _describe_links(config: Config) -> dict[str, Any]:
    robots = {"X-Robots-Tag": {"required": True, "schema": _TEXT}}
    location = {"Location": {"required": True, "schema": {"type": "string", "format": "uri"}}}
    answers = {
        "302": {"description": "To the page that the token names.", "headers": {**location, **robots}},
        "404": {"description": "No such link.", "headers": robots, "content": _HTML},
        "410": {"description": "The link has expired.", "headers": robots, "content": _HTML},
    }
    token = {**_parameter("token", "path", "A signed token."), "required": True}
    token["schema"] = {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}
    return {
        f"{config.link_path.rstrip('/')}/{{token}}": {
            "get": {"summary": "Follow a tagged link.", "parameters": [token], "responses": answers}
        }
    }


def _describe_opt_out(config: Config) -> dict[str, Any]:
    said = {"type": "object", "required": ["answer"], "properties": {"answer": {"enum": ["object", "undo"]}}}
    return {
        config.opt_out_path: {
            "get": {
                "summary": "The public page on which a visitor objects.",
                "parameters": [_parameter("Accept-Language", "header", "English or German.")],
                "responses": {"200": {"description": "The page.", "content": _HTML}},
            },
            "post": {
                "summary": "Object, or take the objection back: a form of that page.",
                "parameters": [_parameter("Sec-Fetch-Site", "header", "Says that the form is the page's own.")],
                "requestBody": {
                    "required": True,
                    "content": {"application/x-www-form-urlencoded": {"schema": said}},
                },
                "responses": {
                    "303": {
                        "description": "Done; to the page.",
                        "headers": {
                            "Location": {"required": True, "schema": _TEXT},
                            "Set-Cookie": {"required": True, "schema": _TEXT},
                        },
                    },
                    "400": {"description": "No answer.", "content": _PLAIN},
                    "403": {"description": "Not from the page itself.", "content": _PLAIN},
                },
            },
        }
    }


def _describe_tag(config: Config) -> dict[str, Any]:
    start, extension = splitext(config.tag_path)
    headers = {
        "ETag": {"required": True, "schema": _TEXT},
        "Cache-Control": {"required": True, "schema": _TEXT},
        "Vary": {"required": True, "schema": _TEXT},
    }
    script: dict[str, Any] = {"text/javascript": {"schema": _TEXT}}
    answers: dict[str, Any] = {
        "200": {"description": "The script.", "headers": headers, "content": script},
        "304": {"description": "The browser has it.", "headers": headers},
    }
    match = _parameter("If-None-Match", "header", "ETag that the browser has.")
    file = {
        "type": "object",
        "required": ["path", "integrity", "bytes"],
        "properties": {"path": _TEXT, "integrity": _TEXT, "bytes": {"type": "integer", "minimum": 1}},
    }
    manifest = {
        "type": "object",
        "required": ["version", "files"],
        "properties": {"version": _TEXT, "files": {"type": "array", "items": file, "minItems": 1}},
    }
    build = {**_parameter("build", "path", "Version and digest of a build."), "required": True}
    build["schema"] = {"type": "string", "pattern": "^[0-9a-z.-]+$"}
    return {
        config.tag_path: {
            "get": {"summary": "The tag, its present build.", "parameters": [match], "responses": answers}
        },
        f"{start}-{{build}}{extension}": {
            "get": {
                "summary": "The tag of a build, for ever; the manifest names its path.",
                "parameters": [build, match],
                "responses": {**answers, "404": {"description": "No such build.", "content": _PLAIN}},
            }
        },
        f"{config.tag_path.removesuffix('.js')}.json": {
            "get": {
                "summary": "The manifest: the present build's files with path, integrity and size.",
                "responses": {"200": _json("The files.", manifest)},
            }
        },
    }


def _describe_sites() -> dict[str, Any]:
    names = ("site_id", "space_id", "consent", "identify", "time_zone")
    site = {
        "type": "object",
        "required": [*names, "origins", "keep_days"],
        "properties": {
            **dict.fromkeys(names, _TEXT),
            "origins": {"type": "array", "items": _TEXT},
            "keep_days": {"type": "integer", "minimum": 0},
        },
    }
    challenge = {"WWW-Authenticate": {"required": True, "schema": _TEXT}}
    found = {"type": "object", "required": ["sites"], "properties": {"sites": {"type": "array", "items": site}}}
    return {
        "/v1/sites": {
            "get": {
                "summary": "The sites that the key may read.",
                "security": [{"key": []}],
                "responses": {
                    "200": _json("The sites.", found),
                    "401": {**_json("No key with scope read.", _REFUSAL), "headers": challenge},
                },
            }
        },
        "/openapi.json": {
            "get": {
                "summary": "This description.",
                "responses": {"200": _json("The description.", {"type": "object", "required": ["openapi", "paths"]})},
            }
        },
    }


def _describe_health() -> dict[str, Any]:
    alive = {
        "type": "object",
        "required": ["alive", "version"],
        "properties": {"alive": {"const": True}, "version": _TEXT},
    }
    ready = {
        "type": "object",
        "required": ["ready", "reason", "spool_bytes", "maintenance", "sites", "settings_age_s"],
        "properties": {
            "ready": {"type": "boolean"},
            "reason": _TEXT,
            "spool_bytes": {"type": "integer", "minimum": 0},
            "maintenance": {"type": "boolean", "description": "Beacons are accepted and not loaded."},
            "sites": {"type": "integer", "minimum": 0},
            "settings_age_s": {"type": ["number", "null"], "description": "Age of the sites and keys, in seconds."},
        },
    }
    guarded = {"description": "Not this machine, and no operator key.", "content": _PLAIN}
    return {
        "/health": {"get": {"summary": "Is it alive?", "responses": {"200": _json("Yes.", alive)}}},
        "/ready": {
            "get": {
                "summary": "Could it accept a beacon now?",
                "responses": {"200": _json("Yes.", ready), "503": _json("No, with the reason.", ready)},
            }
        },
        "/metrics": {
            "get": {
                "summary": "Figures in the Prometheus text format, for this machine or with the operator's key.",
                "security": _OPERATOR,
                "responses": {"200": {"description": "The figures.", "content": _PLAIN}, "403": guarded},
            }
        },
    }


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _parameter(name: str, place: str, text: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": place, "description": text, "schema": schema or _TEXT}
