"""What endpoints for programs with a key share: whose key it is, and how a request is refused."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from collector.endpoints.edge import Edge, RequestFacts
from collector.endpoints.plain import Headers, Scope, Send, send_answer
from collector.endpoints.server_events import read_key
from collector.metrics import count_request
from collector.reasons import Reason
from collector.sites.book import ApiKey
from collector.sites.keys import SCOPES, verify_key

BODY_STATUS = {Reason.SIZE: 413, Reason.ENCODING: 415}
BASE: Headers = [
    (b"cache-control", b"no-store"),
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
]
_CLOSE = (b"connection", b"close")
_CHALLENGE = (b"www-authenticate", b'Bearer realm="tagstitch"')


class Refused(NamedTuple):
    """Why a request is not read any further: `error` is a word of the endpoint's messages."""

    status: int
    error: str
    retry_after_s: int = 0


def find_key(
    edge: Edge, facts: RequestFacts, scope: Scope, wanted: str, *, is_of_space: bool = False
) -> ApiKey | Refused:
    """Return the request's key where it may do this, else why not.

    `wanted`: the scope that it needs. `is_of_space`: a key of one site may not.
    """
    context, text = facts.context, read_key(scope)
    found = {
        name: key
        for name in SCOPES
        if text and (key := verify_key(context.sites, context.keyring, text, name, now_ms=context.received_at_ms))
    }
    if not found:
        count_request("unauthorized")
        wait_s = edge.limits.judge_address(context.address)
        return Refused(429, "rate", wait_s) if wait_s else Refused(401, "unauthorized")
    key = found.get(wanted)
    return Refused(403, "scope") if key is None or (is_of_space and key.site_id) else key


async def refuse(
    send: Send,
    status: int,
    error: str,
    message: str = "",
    *,
    retry_after_s: int = 0,
    is_unread: bool = False,
    **more: str,
) -> None:
    """Answer that a request is refused. `is_unread`: its body was not read, so the connection is closed. `more`: what
    else the answer says."""
    headers = list(BASE)
    if retry_after_s:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    if status == 401:
        headers.append(_CHALLENGE)
    if is_unread:
        headers.append(_CLOSE)
    said = message or "This cannot be carried out."
    text = {"error": error, **more, "message": said, "retry": bool(retry_after_s)}
    await send_answer(send, status, headers, msgspec.json.encode(text))
