"""What the OpenAPI description says of the stream of changes."""

from __future__ import annotations

from typing import Any

from collector.endpoints.stream import PATH, RETRY_MS
from collector.webhooks.deliveries import KINDS

_REFUSAL = "StreamRefusal"
_TEXT = {"type": "string"}
_UUID = {"type": "string", "format": "uuid"}
_NAME = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"}
_EVENT_ID = {"type": "string", "pattern": "^[0-9]{1,15}-[0-9a-f-]{36}$"}


def describe_stream() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the path and the schemas."""
    change = {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"enum": sorted(KINDS.values())},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {
                "type": "object",
                "required": ["audience", "space", "person_id", "reason", "version", "change_id"],
                "properties": {
                    "audience": _NAME,
                    "space": _TEXT,
                    "person_id": _UUID,
                    "customer_id": {**_TEXT, "description": "Left out where it is not known, or not to be told."},
                    "reason": {"enum": ["event", "time", "trait", "identity", "consent", "definition"]},
                    "version": {
                        "type": "integer",
                        "minimum": 1,
                        "description": "Which change it is of this person in this audience; the highest is what holds.",
                    },
                    "change_id": _UUID,
                },
            },
        },
    }
    refusal = {
        "type": "object",
        "required": ["error", "message", "retry"],
        "properties": {
            "error": {"enum": ["unauthorized", "scope", "unavailable", "rate", "argument"]},
            "message": _TEXT,
            "retry": {"type": "boolean", "description": "Whether the same may be asked again later."},
        },
    }
    seconds = {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}}
    challenge = {"WWW-Authenticate": {"required": True, "schema": _TEXT}}
    names = {"type": "array", "items": _NAME, "maxItems": 100}
    operation = {
        "summary": "Who enters and leaves audiences, as it happens: Server-Sent Events.",
        "description": "Each message has `id`, `event` (the type) and `data` (JSON, schema AudienceChange). The stream "
        "does not end by itself; a comment comes every 15 seconds.",
        "security": [{"key": []}, {"basic": []}],
        "parameters": [
            {
                "name": "audience",
                "in": "query",
                "description": "Which audiences; without it all of the space.",
                "required": False,
                "schema": names,
                "explode": True,
            },
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "The id of the last message that was had: nothing after it is missed.",
                "required": False,
                "schema": _EVENT_ID,
            },
        ],
        "responses": {
            "200": {
                "description": f"The stream; who loses it comes again after {RETRY_MS} ms.",
                "content": {"text/event-stream": {"schema": _TEXT}},
            },
            "400": _answer("The request cannot be understood."),
            "401": {**_answer("No key, or none in force."), "headers": challenge},
            "403": _answer("The key may not do this."),
            "429": {**_answer("Too many streams; come again later."), "headers": seconds},
            "503": {**_answer("The store does not answer; come again later."), "headers": seconds},
        },
    }
    return {PATH: {"get": operation}}, {"AudienceChange": change, _REFUSAL: refusal}


def _answer(text: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{_REFUSAL}"}}}
    return {"description": text, "content": content}
