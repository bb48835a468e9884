"""What the OpenAPI description says of `/v1/identity/…`, made from the structs that are read and answered."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.endpoints.identity import MESSAGES, PATH, STATUS
from collector.errors import RepairReason
from collector.identity.audit import MAX_LISTED
from collector.identity.explain import Explanation
from collector.identity.requests import REQUESTS, Blocks, Changed, Entries

SUMMARIES = {
    "explain": "Who somebody is: every identifier, what tied it, and what was refused and why.",
    "merge": "Make one person of two customers.",
    "split": "Set identifiers of one person apart from the rest of it.",
    "retract": "Take evidence back: all that fits everything given.",
    "restore": "Give back evidence that was taken back, under new ids.",
    "block": "Let an identifier tie nobody, from now on and for all that it tied.",
    "unblock": "Let a blocked identifier tie people again.",
    "undo": "Undo an entry of the audit log.",
}
_REFUSAL = "IdentityRefusal"
_WORDS = (*map(str, RepairReason), *map(str, STATUS), *map(str, MESSAGES), "syntax")


def describe_identity() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the paths and the schemas."""
    answers = (Explanation, Changed, Entries, Blocks)
    found, schemas = msgspec.json.schema_components(
        [*REQUESTS.values(), *answers], ref_template="#/components/schemas/{name}"
    )
    forms = dict(zip([*REQUESTS, *(answer.__name__ for answer in answers)], found, strict=True))
    schemas = {**schemas, _REFUSAL: describe_refusal(*_WORDS)}
    paths: dict[str, Any] = {}
    for name in REQUESTS:
        if name == "explain":
            good = {"200": describe_answer("The person.", forms["Explanation"])}
        else:
            good = {
                "200": describe_answer("What would change: a dry run.", forms["Changed"]),
                "202": describe_answer("On disk and in the audit log; the map follows.", forms["Changed"]),
            }
        body = {"required": True, "content": {"application/json": {"schema": forms[name]}}}
        paths[f"{PATH}/{name}"] = {
            "post": {**describe_endpoint(SUMMARIES[name], good, has_body=True), "requestBody": body},
        }
    limit = {
        "name": "limit",
        "in": "query",
        "description": "Entries, the newest first.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LISTED},
    }
    log = describe_endpoint("The audit log.", {"200": describe_answer("Entries.", forms["Entries"])}, has_body=False)
    paths[f"{PATH}/log"] = {"get": {**log, "parameters": [limit]}}
    listed = {"200": describe_answer("Identifiers.", forms["Blocks"])}
    paths[f"{PATH}/blocks"] = {"get": describe_endpoint("What the space has blocked.", listed, has_body=False)}
    return paths, schemas


def describe_endpoint(summary: str, good: dict[str, Any], *, has_body: bool, refused: str = _REFUSAL) -> dict[str, Any]:
    """Return an endpoint for keys, with all that it may answer. `refused`: the schema of a refusal."""
    refusal = {"$ref": f"#/components/schemas/{refused}"}
    seconds = {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}}
    challenge = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    codes = ("400", "403", "404", "409", "422", *(("413", "415") if has_body else ()))
    return {
        "summary": summary,
        "security": [{"key": []}, {"basic": []}],
        "responses": {
            **good,
            **{code: describe_answer("Refused, with the reason.", refusal) for code in codes},
            "401": {**describe_answer("No key, or none in force.", refusal), "headers": challenge},
            **{code: {**describe_answer("Ask again later.", refusal), "headers": seconds} for code in ("429", "503")},
        },
    }


def describe_refusal(*words: str) -> dict[str, Any]:
    """Return the schema of a refusal whose error is one of these words."""
    return {
        "type": "object",
        "required": ["error", "message", "retry"],
        "properties": {
            "error": {"enum": sorted(set(words))},
            "message": {"type": "string"},
            "retry": {"type": "boolean", "description": "Whether the same may be asked again later."},
        },
    }


def describe_answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return an answer in JSON."""
    return {"description": text, "content": {"application/json": {"schema": schema}}}
