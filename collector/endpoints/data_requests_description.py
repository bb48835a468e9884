"""What the OpenAPI description says of `/v1/data-requests`, made from the structs that are read and answered."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.endpoints.data_requests import MESSAGES, NAME_STATUS, PATH, STATUS
from collector.endpoints.identity_description import describe_answer, describe_endpoint, describe_refusal

_REFUSAL = "DataRequestRefusal"
_WORDS = (*map(str, STATUS), *map(str, NAME_STATUS), *map(str, MESSAGES), "trait", "nothing", "conflict", "too_many")


def describe_data_requests() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the paths and the schemas."""
    # Here, because they are loaded with the first request about somebody's data, which most processes never see.
    from collector.privacy.calls import Call, Listed, Shown
    from collector.privacy.confirming import MadeLink
    from collector.privacy.desk import Finding
    from collector.privacy.requests import STATES
    from collector.privacy.words import LANGUAGES

    structs = (Call, Shown, Listed, Finding, MadeLink)
    found, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    call, shown, listed, finding, link = found
    schemas = {**schemas, _REFUSAL: describe_refusal(*_WORDS)}
    one = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    made = {
        "200": describe_answer("Carried out; of a dry run, what is held.", {"anyOf": [shown, finding]}),
        "202": describe_answer("Written down; it is carried out soon, or waits for somebody else.", shown),
    }
    seen = {
        "200": describe_answer("The request.", shown),
        "202": describe_answer("The request, which is not over yet.", shown),
    }
    state = _parameter("state", "Only in these states, each once.", {"enum": list(STATES)})
    language = _parameter("language", "Of the page to be read.", {"enum": list(LANGUAGES)})
    archive = {"200": {"description": "Everything that is held.", "content": {"application/zip": {"schema": {}}}}}
    body = {"required": True, "content": {"application/json": {"schema": call}}}
    paths = {
        PATH: {
            "post": {**_describe("Ask for somebody.", made, has_body=True), "requestBody": body},
            "get": {
                **_describe("Requests, what is due first first.", {"200": describe_answer("Requests.", listed)}),
                "parameters": [state],
            },
        },
        f"{PATH}/{{id}}": {"get": {**_describe("How far a request is.", seen), "parameters": [one]}},
        f"{PATH}/{{id}}/export": {
            "get": {**_describe("What is held, as a zip.", archive), "parameters": [one, language]},
        },
    }
    answers = {"200": describe_answer("The link, and to whom it is to be sent.", link)}
    paths[f"{PATH}/{{id}}/link"] = {
        "post": {**_describe("A confirmation link, to be sent.", answers, has_body=True), "parameters": [one]}
    }
    for step, summary in (
        ("approve", "Approve an erasure or a correction that waits."),
        ("refuse", "Refuse a request."),
    ):
        paths[f"{PATH}/{{id}}/{step}"] = {"post": {**_describe(summary, seen, has_body=True), "parameters": [one]}}
    return paths, schemas


def _describe(summary: str, good: dict[str, Any], *, has_body: bool = False) -> dict[str, Any]:
    return describe_endpoint(summary, good, has_body=has_body, refused=_REFUSAL)


def _parameter(name: str, sentence: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": sentence, "schema": {"type": "string", **schema}}
