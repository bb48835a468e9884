"""The dry run's part of the OpenAPI description, and its paths."""

from __future__ import annotations

from typing import Any

from collector.reasons import Reason

INSPECT_PATH = "/x/inspect"
PAGE_PATH = "/inspect"
API_PATH = "/v1/inspect"
FILTERS = {"good": ("site", "name", "after"), "bad": ("site", "name", "reason", "after")}

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}


def describe_inspect(
    beacon: dict[str, Any], refused: dict[str, Any], unavailable: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return paths and schemas. `beacon`: schema of a beacon's body; `refused`, `unavailable`: answers."""
    finding = {
        "type": "object",
        "required": ["step", "reason", "field", "message", "fix"],
        "properties": {
            "step": _TEXT,
            "reason": {"enum": list(Reason)},
            "field": {"type": "string", "description": "Path of the field, never its value."},
            "message": _TEXT,
            "fix": _TEXT,
            "event_id": _TEXT,
            "event": {"type": "string", "description": "Name of the event; empty where all of the beacon is meant."},
        },
    }
    removal = {"type": "object", "required": ["field", "what"], "properties": {"field": _TEXT, "what": _TEXT}}
    outcome = {
        "type": "object",
        "required": ["number", "status", "accepted", "site_id", "rejected", "removed", "notes"],
        "properties": {
            "number": {"type": "integer", "minimum": 1},
            "status": {"type": "integer", "description": "What the beacon's own path would have answered."},
            "accepted": {"type": "boolean"},
            "site_id": _TEXT,
            "rejected": {"type": "array", "items": {"$ref": "#/components/schemas/Finding"}},
            "removed": {"type": "array", "items": removal},
            "notes": {"type": "array", "items": _TEXT},
            "row": {"type": ["object", "null"], "description": "What would be stored; for the operator alone."},
            "evidence": {"type": "array", "items": {"type": "object"}},
            "visitor_reply": _TEXT,
        },
    }
    counts = {
        "type": "object",
        "required": ["beacons", "good", "bad", "total", "forgotten"],
        "properties": dict.fromkeys(("beacons", "good", "bad", "total", "forgotten"), _COUNT),
    }
    schemas = {"Finding": finding, "DryRun": outcome, "DryRunCounts": counts}
    guarded = {"description": "Not this machine, and no operator key.", "content": {"text/plain": {"schema": _TEXT}}}
    operator: list[dict[str, list[str]]] = [{}, {"operator": []}]
    counted = _answer("The counts.", {"$ref": "#/components/schemas/DryRunCounts"})
    paths: dict[str, Any] = {
        INSPECT_PATH: {
            "post": {
                "summary": "Judge one beacon as its own path would, and store nothing; see docs/inspect.md.",
                "requestBody": {"required": True, "content": {"application/json": {"schema": beacon}}},
                "responses": {
                    "200": _answer("Judged, whatever the outcome.", {"$ref": "#/components/schemas/DryRun"}),
                    "429": refused,
                    "503": unavailable,
                },
            }
        },
        f"{API_PATH}/all": {
            "get": {
                "summary": "How much was judged since the last reset.",
                "security": operator,
                "responses": {"200": counted, "403": guarded},
            }
        },
        f"{API_PATH}/reset": {
            "post": {
                "summary": "Forget everything.",
                "security": operator,
                "responses": {"200": counted, "403": guarded},
            }
        },
    }
    for name, summary in (("good", "The events that would be stored."), ("bad", "What was refused, and why.")):
        listed = {"type": "array", "items": {"type": "object", "required": ["beacon", "site_id"]}}
        body = {"type": "object", "required": ["count", name], "properties": {"count": _COUNT, name: listed}}
        schema = {"after": {"type": "integer", "minimum": 0, "maximum": 10**14}, "reason": {"enum": list(Reason)}}
        paths[f"{API_PATH}/{name}"] = {
            "get": {
                "summary": summary,
                "security": operator,
                "parameters": [
                    {"name": filter_name, "in": "query", "schema": schema.get(filter_name, _TEXT)}
                    for filter_name in FILTERS[name]
                ],
                "responses": {"200": _answer("Oldest first.", body), "400": refused, "403": guarded},
            }
        }
    return paths, schemas


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
