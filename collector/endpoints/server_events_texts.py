"""What servers are told about their events: a sentence for each refusal, and the part of the OpenAPI description.

A sentence says what to do. It is found by the reason and the field, else by the reason alone.
"""

from __future__ import annotations

from typing import Any

import msgspec

from collector.accept.server_events_agent import VERIFICATIONS
from collector.accept.server_events_call import TYPES, Call, CallContext
from collector.reasons import Reason

MESSAGES: dict[tuple[str, str], str] = {
    ("unauthorized", ""): "Send a key in force with scope track: Authorization: Bearer ts_… (tagstitch key create).",
    ("unavailable", ""): "The collector cannot store this now; send the same body again later.",
    (Reason.SIZE, ""): "The body, an event or a field is larger than this collector takes.",
    (Reason.ENCODING, ""): "The body must be UTF-8, as it is or as one gzip member.",
    (Reason.SYNTAX, ""): "The body is not JSON.",
    (Reason.SHAPE, ""): "A field is missing or has the wrong type.",
    (Reason.SHAPE, "type"): "The type is one of track, identify, page, screen, group, alias, and fits the address.",
    (Reason.SHAPE, "timestamp"): (
        "Send timestamp with messageId, the same in every retry: both are part of what makes an event one. "
        "A messageId that is a UUIDv7 tells the time by itself."
    ),
    (Reason.SHAPE, "userId"): "Say who it was: a userId that names a customer, an anonymousId, or both.",
    (Reason.SHAPE, "previousId"): "An alias names two customers: userId and previousId, which differ.",
    (Reason.SHAPE, "context.actor"): "A code of at most 64 letters, digits, dots, colons, dashes: no name, no address.",
    (
        Reason.SHAPE,
        "context.verification",
    ): f"How the customer was verified is one of {', '.join(sorted(VERIFICATIONS))}.",
    (Reason.DEPTH, ""): "The body nests too deep or has too many keys.",
    (Reason.SITE, ""): "The key has no such site. A key of a whole space needs context.siteId.",
    (Reason.COUNT, ""): "A batch holds at least one event, and no more than this collector takes.",
    (Reason.COUNT, "context.externalIds"): "An event names at most eight identifiers.",
    (Reason.ID, ""): "Another event of this request has the same messageId, or it is the nil UUID.",
    (Reason.ID, "Idempotency-Key"): "One Idempotency-Key of at most 200 printable characters.",
    (Reason.CLOCK, ""): "The timestamp is more than 7 days old or more than 5 minutes ahead: use tagstitch import.",
    (Reason.CONSENT, ""): "context.consent does not grant this: nothing to mend.",
    (Reason.UNSIGNED, ""): "The site takes no claims: give the key the scope identify-server.",
    (
        Reason.UNVERIFIED,
        "",
    ): "Whom nobody has verified is a claim: it needs an anonymousId beside it, and joins nobody.",
    (Reason.BLOCKED, ""): "The value names nobody: leave the field out where you do not know who it was.",
    (Reason.OFF, ""): "The visitor is not in the site's sample: nothing to mend.",
    (Reason.EXCLUDED, ""): "The address lies in a network that the site excludes: nothing to mend.",
    (Reason.RATE, ""): "Too much at once; send the same body again later.",
    (Reason.ERASED, ""): "It happened before whom it is about was erased: it is not taken in again.",
    (Reason.SCOPE, ""): "The key may not do this: it needs scope track, for identify identify-server, for alias merge.",
    (Reason.SCOPE, "previousId"): "To say that two customers are one the key needs scope merge.",
    (Reason.SCOPE, "userId"): "Without scope identify-server a userId is a claim and needs an anonymousId beside it.",
}


def find_message(reason: str, path: str) -> str:
    """Return the sentence for a refusal. `path`: the field, relative to its event."""
    if path.startswith("context.externalIds[") and reason == Reason.SCOPE:
        return "Without scope merge a call is about one customer: one value of each unique kind."
    if path.startswith("context.externalIds[") and reason == Reason.SHAPE:
        return "The site declares no such kind of identifier, or the value has not its form."
    return MESSAGES.get((reason, path)) or MESSAGES.get((reason, "")) or "This event is not accepted."


def describe_server_events(refusal: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the paths and the schemas of server events for the OpenAPI description. `refusal`: schema of a refusal."""
    (call, context), schemas = msgspec.json.schema_components(
        [Call, CallContext], ref_template="#/components/schemas/{name}"
    )
    batch = {
        "type": "object",
        "required": ["batch"],
        "properties": {"batch": {"type": "array", "items": call, "minItems": 1}, "context": context},
    }
    judged = {
        "type": "object",
        "required": ["index", "reason", "field", "message"],
        "properties": {
            "index": {"type": "integer", "minimum": 0},
            "reason": {"enum": list(Reason)},
            "field": {"type": "string", "description": "Path of the field, never its value."},
            "message": {"type": "string"},
        },
    }
    made = {
        "type": "object",
        "required": ["index", "messageId"],
        "properties": {"index": {"type": "integer", "minimum": 0}, "messageId": {"type": "string", "format": "uuid"}},
    }
    kept = {
        "type": "object",
        "required": ["success"],
        "properties": {
            "success": {"const": True},
            "messageId": {"type": "string", "format": "uuid", "description": "Made here, where the call had none."},
            "made": {"type": "array", "items": made},
            "rejected": {"type": "array", "items": judged, "description": "Events that are not kept."},
            "left_out": {"type": "array", "items": judged, "description": "Parts of kept events that are not kept."},
        },
    }

    def answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"description": text, "content": {"application/json": {"schema": schema}}}

    retry_after = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    responses = {
        "200": answer("What is kept is on disk.", {"$ref": "#/components/schemas/ServerEventsKept"}),
        **{code: answer("Refused, with the reason.", refusal) for code in ("400", "403", "404", "413", "415")},
        "401": {
            **answer("No key, or none in force.", refusal),
            "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
        },
        **{code: {**answer("Send the same body later.", refusal), "headers": retry_after} for code in ("429", "503")},
    }
    paths = {
        f"/v1/{kind}": {
            "post": {
                "summary": f"Take in {'several calls' if kind == 'batch' else 'one call'}; see docs/server-events.md.",
                "security": [{"key": []}, {"basic": []}],
                "parameters": [
                    {
                        "name": "Idempotency-Key",
                        "in": "header",
                        "description": "Stands for the messageId of calls that have none.",
                        "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
                    }
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": batch if kind == "batch" else call}},
                },
                "responses": responses,
            }
        }
        for kind in (*TYPES, "batch")
    }
    return paths, {**schemas, "ServerEventsKept": kept}
