"""What the OpenAPI description says of `/v1/links/revocations`, made from the structs that are read and answered."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.endpoints.link_revocations import MAX_LISTED, MESSAGES, PATH, Revocations, RevokeLinks
from collector.errors import RepairReason

_REFUSAL = "RevocationsRefusal"


def describe_revocations() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the paths and the schemas."""
    (asked, answered), schemas = msgspec.json.schema_components(
        [RevokeLinks, Revocations], ref_template="#/components/schemas/{name}"
    )
    schemas[_REFUSAL] = {
        "type": "object",
        "required": ["error", "message", "retry"],
        "properties": {
            "error": {"enum": sorted({*map(str, RepairReason), *map(str, MESSAGES), "syntax", "body"})},
            "message": {"type": "string"},
            "retry": {"type": "boolean", "description": "Whether the same may be asked again later."},
        },
    }
    body = {"required": True, "content": {"application/json": {"schema": asked}}}
    limit = _describe_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": MAX_LISTED})
    lifted = _describe_query("lifted", "1: also those that were lifted.", {"type": "integer", "enum": [0, 1]})
    named = {"name": "revocation", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    return {
        PATH: {
            "get": {
                **_describe("Links that were taken back, the newest first.", answered, "400"),
                "parameters": [limit, lifted],
            },
            "post": {
                **_describe("Take links back.", answered, "400", "404", "409", "413", "415"),
                "requestBody": body,
            },
        },
        f"{PATH}/{{revocation}}": {
            "delete": {**_describe("Let such links count again.", answered, "404", "409"), "parameters": [named]},
        },
    }, schemas


def _describe(summary: str, answered: dict[str, Any], *refused: str) -> dict[str, Any]:
    refusal = {"$ref": f"#/components/schemas/{_REFUSAL}"}
    seconds = {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}}
    challenge = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    return {
        "summary": summary,
        "security": [{"key": []}, {"basic": []}],
        "responses": {
            "200": _answer("The revocations.", answered),
            **{code: _answer("Refused, with the reason.", refusal) for code in ("403", *refused)},
            "401": {**_answer("No key, or none in force.", refusal), "headers": challenge},
            **{code: {**_answer("Ask again later.", refusal), "headers": seconds} for code in ("429", "503")},
        },
    }


def _describe_query(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
