"""What the OpenAPI description says of `/v1/links`, made from the structs that are read and answered."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.endpoints.mint import MESSAGES, PATH
from collector.endpoints.mint_links import MadeLink, Minted, MintRequest, RefusedLink
from collector.errors import LinkRefusal

_REFUSAL = "LinksRefusal"


def describe_mint() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the path and the schemas."""
    (asked, made, refused), schemas = msgspec.json.schema_components(
        [MintRequest, MadeLink, RefusedLink], ref_template="#/components/schemas/{name}"
    )
    # The library describes no list of two structs that nothing tells apart but their fields.
    schemas["Minted"] = {
        "title": "Minted",
        "description": Minted.__doc__,
        "type": "object",
        "required": ["minting", "made", "links"],
        "properties": {
            "minting": {"type": "string"},
            "made": {"type": "integer", "minimum": 0},
            "links": {"type": "array", "items": {"anyOf": [made, refused]}},
        },
    }
    answered = {"$ref": "#/components/schemas/Minted"}
    refusal = {"$ref": f"#/components/schemas/{_REFUSAL}"}
    seconds = {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}}
    challenge = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    operation = {
        "summary": "Make tagged links. What cannot be made of one recipient stands in its place.",
        "security": [{"key": []}, {"basic": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
        "responses": {
            "200": _answer("The links, in the order of the recipients.", answered),
            **{code: _answer("Refused as a whole, with the reason.", refusal) for code in ("400", "403", "413", "415")},
            "401": {**_answer("No key, or none in force.", refusal), "headers": challenge},
            **{code: {**_answer("Ask again later.", refusal), "headers": seconds} for code in ("429", "503")},
        },
    }
    words = sorted({*map(str, LinkRefusal), *map(str, MESSAGES), "syntax", "body"})
    schemas[_REFUSAL] = {
        "type": "object",
        "required": ["error", "field", "message", "retry"],
        "properties": {
            "error": {"enum": words},
            "field": {"type": "string"},
            "message": {"type": "string"},
            "retry": {"type": "boolean", "description": "Whether the same may be asked again later."},
        },
    }
    return {PATH: {"post": operation}}, schemas


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
