"""What the OpenAPI description says of audiences and their members."""

from __future__ import annotations

from typing import Any

from collector.endpoints.exports import DEFAULT_LIMIT, LIST_PATH, MEMBERS_PATH, MOST_ROWS, TYPES

_REFUSAL = "AudienceRefusal"
_TEXT = {"type": "string"}
_UUID = {"type": "string", "format": "uuid"}
_NAME = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"}
_CURSOR = {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"}
_SECURITY: list[dict[str, list[str]]] = [{"key": []}, {"basic": []}]


def describe_exports() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the paths and the schemas."""
    audience = {
        "type": "object",
        "required": ["name", "sentence", "purpose", "members"],
        "properties": {
            "name": _NAME,
            "sentence": _TEXT,
            "purpose": {**_TEXT, "description": "Consent that its members have granted; empty: none is needed."},
            "members": {"type": "integer", "minimum": 0},
        },
    }
    member = {
        "type": "object",
        "required": ["person_id", "customer_id", "since"],
        "properties": {
            "person_id": _UUID,
            "customer_id": {**_TEXT, "description": "Empty where it is not known."},
            "since": {"type": "string", "format": "date-time"},
        },
    }
    refusal = {
        "type": "object",
        "required": ["error", "message", "retry"],
        "properties": {
            "error": {"enum": ["unauthorized", "scope", "unavailable", "rate", "argument", "unknown"]},
            "message": _TEXT,
            "retry": {"type": "boolean", "description": "Whether the same may be asked again later."},
        },
    }
    answers = {"type": "object", "required": ["audiences"], "properties": {"audiences": _list_of("Audience")}}
    list_all = {
        "summary": "The audiences of the key's space, and how many people are in each.",
        "security": _SECURITY,
        "responses": {
            "200": {"description": "The audiences.", "content": {"application/json": {"schema": answers}}},
            **_refusals("401", "403", "429", "503"),
        },
    }
    list_members = {
        "summary": "Who is in an audience, page by page: pseudonymous, each page in the audit log.",
        "description": "JSON Lines have an object of the schema AudienceMember a line, CSV the same columns.",
        "security": _SECURITY,
        "parameters": [
            {"name": "name", "in": "path", "required": True, "schema": _NAME},
            _query("format", "How; without it jsonl.", {"enum": sorted(TYPES)}),
            _query(
                "limit",
                f"Members of a page; without it {DEFAULT_LIMIT}.",
                {"type": "integer", "minimum": 1, "maximum": MOST_ROWS},
            ),
            _query("cursor", "`Next-Cursor` of the page before; without it the first page.", _CURSOR),
        ],
        "responses": {
            "200": {
                "description": "The page. The last one has no Next-Cursor.",
                "headers": {"Next-Cursor": {"description": "Where the next page begins.", "schema": _CURSOR}},
                "content": {media.decode().partition(";")[0]: {"schema": _TEXT} for media in TYPES.values()},
            },
            **_refusals("400", "401", "403", "404", "429", "503"),
        },
    }
    paths = {LIST_PATH: {"get": list_all}, MEMBERS_PATH: {"get": list_members}}
    return paths, {"Audience": audience, "AudienceMember": member, _REFUSAL: refusal}


_TEXTS = {
    "400": "The request cannot be understood.",
    "401": "No key, or none in force.",
    "403": "The key may not do this.",
    "404": "There is no such audience.",
    "429": "Too much at a time; come again later.",
    "503": "The store does not answer; come again later.",
}


def _refusals(*statuses: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{_REFUSAL}"}}}
    found: dict[str, Any] = {status: {"description": _TEXTS[status], "content": content} for status in statuses}
    seconds = {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}}
    for status in {"429", "503"} & found.keys():
        found[status]["headers"] = seconds
    found["401"]["headers"] = {"WWW-Authenticate": {"required": True, "schema": _TEXT}}
    return found


def _query(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "required": False, "schema": schema}


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
