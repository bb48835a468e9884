"""What the OpenAPI description says of profiles, made from the structs that are read and answered."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.endpoints.me import Me
from collector.endpoints.profile_answers import ShownProfile, ShownTimeline
from collector.endpoints.profile_questions import Lookup
from collector.endpoints.profiles import CUSTOMERS, MESSAGES, VISITORS
from collector.endpoints.search import Search, ShownSearch
from collector.profiles.profile import Part
from collector.profiles.timeline import MAX_PAGE

_REFUSAL = "ProfileRefusal"
_TEXT = {"type": "string"}


def describe_profiles() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the paths and the schemas."""
    (profile, page, lookup, search, found), schemas = msgspec.json.schema_components(
        [ShownProfile, ShownTimeline, Lookup, Search, ShownSearch], ref_template="#/components/schemas/{name}"
    )
    schemas[_REFUSAL] = {
        "type": "object",
        "required": ["error", "message", "retry"],
        "properties": {
            "error": {"enum": sorted(map(str, MESSAGES))},
            "message": _TEXT,
            "retry": {"type": "boolean", "description": "Whether the same may be asked again later."},
        },
    }
    schemas["Corrected"] = {
        "type": "object",
        "required": ["person_id", "trait", "value"],
        "properties": {"person_id": {"type": "string", "format": "uuid"}, "trait": _TEXT, "value": {}},
    }
    one = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    kind = _parameter("kind", "Kind of the identifier; without it the most important one of the space.", _TEXT)
    words = ", ".join(sorted(Part))
    page_of = [
        _parameter("cursor", "Where the page begins: `next` of the page before.", _TEXT),
        _parameter("limit", "Events on the page.", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}),
    ]
    shown = [
        _parameter(
            "fields",
            f"Which parts, comma between: {words}, or of one other source records.NAME; without it all.",
            _TEXT,
        ),
        _parameter("personal", "1: personal values in clear; needs scope pii:read.", {"enum": ["0", "1"]}),
        *page_of,
    ]
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    correction = {
        "type": "object",
        "required": ["value"],
        "additionalProperties": False,
        "properties": {"value": {"description": "Of the trait's declared type; not null."}},
    }
    corrected = {"$ref": "#/components/schemas/Corrected"}
    paths = {
        f"{CUSTOMERS}/lookup": {
            "post": _operation("Find somebody by a personal value, or by a person's id.", profile, [], lookup)
        },
        f"{CUSTOMERS}/search": {
            "post": _operation("Find records of other sources by what they know.", found, [], search)
        },
        f"{CUSTOMERS}/{{id}}": {
            "get": _operation("A customer by the organisation's own key.", profile, [one, kind, *shown])
        },
        f"{CUSTOMERS}/{{id}}/timeline": {
            "get": _operation("What happened, the newest first.", page, [one, kind, *page_of])
        },
        f"{CUSTOMERS}/{{id}}/traits/{{name}}": {
            "put": _operation("Correct a trait; beats everything.", corrected, [one, name, kind], correction),
            "delete": _operation("Take a correction back.", corrected, [one, name, kind]),
        },
        f"{VISITORS}/{{id}}": {"get": _operation("Whoever a visitor is now.", profile, [one, *shown])},
        f"{VISITORS}/{{id}}/timeline": {"get": _operation("What happened, the newest first.", page, [one, *page_of])},
    }
    return paths, schemas


def describe_me(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the path of what a page is told, and its schema."""
    (me,), schemas = msgspec.json.schema_components([Me], ref_template="#/components/schemas/{name}")
    refusal = {"type": "object", "required": ["error"], "properties": {"error": _TEXT}}
    seconds = {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}}
    origin = {"name": "Origin", "in": "header", "description": "Origin of the page.", "schema": _TEXT}
    operation = {
        "summary": "What a page may know of whoever sits in front of it; for scripts of the site's own pages.",
        "parameters": [_parameter("s", "Site id.", _TEXT) | {"required": True}, origin],
        "responses": {
            "200": _answer("Of somebody who is not known always the same.", me),
            "403": _answer("No script of a page of this site asks.", refusal),
            **{code: {**_answer("Ask again later.", refusal), "headers": seconds} for code in ("429", "503")},
        },
    }
    return {path: {"get": operation}}, schemas


def _operation(
    summary: str, answer: dict[str, Any], parameters: list[dict[str, Any]], body: dict[str, Any] | None = None
) -> dict[str, Any]:
    refusal = {"$ref": f"#/components/schemas/{_REFUSAL}"}
    seconds = {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}}
    challenge = {"WWW-Authenticate": {"required": True, "schema": _TEXT}}
    tag = {"ETag": {"description": "Of this very answer, for If-None-Match.", "schema": _TEXT}}
    operation: dict[str, Any] = {
        "summary": summary,
        "security": [{"key": []}, {"basic": []}],
        "parameters": parameters,
        "responses": {
            "200": {**_answer("As asked.", answer), "headers": tag},
            "304": {"description": "As the answer that is known already.", "headers": tag},
            "400": _answer("The request cannot be understood.", refusal),
            "401": {**_answer("No key, or none in force.", refusal), "headers": challenge},
            "403": _answer("The key may not do this.", refusal),
            "404": _answer("Nothing is known of this identifier.", refusal),
            "410": _answer("The person was erased.", refusal),
            "451": _answer("The person's data may not be used: processing is restricted.", refusal),
            **{code: {**_answer("Ask again later.", refusal), "headers": seconds} for code in ("429", "503")},
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
        operation["responses"] |= {
            "413": _answer("The body is too large.", refusal),
            "415": _answer("The body is no UTF-8.", refusal),
            "422": _answer("The value cannot be taken for this trait.", refusal),
        }
    return operation


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _parameter(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "required": False, "schema": schema}
