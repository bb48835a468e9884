"""`POST /v1/track`, `/v1/identify`, `/v1/batch` and their like: events from servers, in Segment's shape.

Parses and answers, no more: what is kept is decided by `accept.server_events`. 200 says that everything which is kept
is on disk. A key comes as `Authorization: Bearer ts_…`, or as Segment's libraries send theirs: as the user name of
Basic, with an empty password. It is checked before the body is read, against the process's snapshot of keys, and no
answer tells whether a key of that id exists. docs/server-events.md lists the answers.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import msgspec
from starlette.routing import Route

from collector.accept.pipeline import refuse_unread
from collector.accept.refusals import Refusal
from collector.accept.server_events import AcceptedCalls, Judged, accept_calls
from collector.accept.server_events_call import TYPES, Call, read_batch, read_call
from collector.accept.server_events_known import KnownCustomers
from collector.accept.server_events_statement import Caller
from collector.endpoints.beacon import QUIET, STATUS_BY_REASON
from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.edge import Edge, RequestFacts, read_facts
from collector.endpoints.pixel import make_id
from collector.endpoints.plain import Headers, PlainEndpoint, Receive, Scope, Send, send_answer
from collector.endpoints.server_events_texts import find_message
from collector.errors import SpoolError, SpoolFull
from collector.event import Rejected, RejectedRow
from collector.metrics import count_rejected, count_request, observe_acknowledgement
from collector.reasons import RETRYABLE, Reason
from collector.sites.book import ApiKey
from collector.sites.keys import SCOPES, verify_key

BATCH = "batch"
TRACK_SCOPE, IDENTIFY_SCOPE, MERGE_SCOPE = "track", "identify-server", "merge"
CALLS_AT_ONCE = 50
MAX_KEY_HEADER_BYTES = 1_024
MAX_IDEMPOTENCY_KEY_CHARS = 200

STATUS = {**STATUS_BY_REASON, Reason.SCOPE: 403}
"""All others are 400, but for those in QUIET: 200, for there is nothing for the sender to mend."""

_BASE: Headers = [
    (b"cache-control", b"no-store"),
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
]
_CLOSE = (b"connection", b"close")
_CHALLENGE = (b"www-authenticate", b'Bearer realm="tagstitch"')
_ENCODE = msgspec.json.Encoder().encode
_RETRY_AFTER_S = 5


class _Access(NamedTuple):
    """A key that may do something here, and what."""

    key: ApiKey
    may_track: bool
    may_identify: bool
    may_merge: bool


class ServerEvents:
    """The endpoints. `note_use`: takes note that a key was used, by its id and the time in milliseconds."""

    def __init__(self, edge: Edge, note_use: Callable[[str, int], None]) -> None:
        self._edge = edge
        self._note_use = note_use
        self._known = KnownCustomers()

    def make_endpoint(self, kind: str) -> PlainEndpoint:
        """Return the endpoint for one type of calls, or for batches."""

        async def receive(scope: Scope, receive: Receive, send: Send) -> None:
            await self._receive(kind, scope, receive, send)

        return PlainEndpoint(receive)

    async def _receive(self, kind: str, scope: Scope, receive: Receive, send: Send) -> None:
        edge = self._edge
        facts = read_facts(edge, scope)
        if not facts.context.sites.read_at_ms:
            # Nothing is known yet of any key: the sender keeps its events, a 401 would make it drop them.
            await _answer_unavailable(_RETRY_AFTER_S, send, is_unread=True)
            return
        access = self._find_access(scope, facts)
        if access is None:
            await self._answer_stranger(facts, send)
            return
        if not (access.may_track or access.may_identify or access.may_merge):
            refused = Rejected(Reason.SCOPE, step="read")
            self._note(refused, access.key, facts, max(facts.content_length, 0))
            await _answer_refusal(refused, send)
            return
        self._note_use(access.key.key_id, facts.context.received_at_ms)
        try:
            body = await read_body(receive, facts.content_length, facts.content_encoding, edge.config.max_body_bytes)
        except Disconnected:
            count_request("disconnected")
            return
        if isinstance(body, Reason):
            unread = refuse_unread(body, max(facts.content_length, 0), facts.context)
            edge.refusals.note(unread.refusal)
            await _answer_refusal(unread.rejected, send)
            return
        began = perf_counter()
        calls = self._read_calls(kind, body, scope)
        if isinstance(calls, Rejected):
            self._note(calls, access.key, facts, len(body))
            await _answer_refusal(calls, send)
            return
        wait_s = self._judge_rates(calls, access.key, facts)
        if wait_s:
            refused = Rejected(Reason.RATE, step="pace")
            self._note(refused, access.key, facts, len(body))
            await _answer_refusal(refused, send, retry_after_s=wait_s)
            return
        outcome = await _accept(calls, self._make_caller(access, facts))
        retry_after_s = await self._spool(outcome.lines)
        if retry_after_s:
            await _answer_unavailable(retry_after_s, send)
            return
        self._known.note(outcome.lone)
        if outcome.lines:
            observe_acknowledgement(perf_counter() - began)
        for refusal in outcome.refusals:
            edge.refusals.note(refusal)
        await _answer_outcome(outcome, send, is_batch=kind == BATCH)

    async def _answer_stranger(self, facts: RequestFacts, send: Send) -> None:
        """Answer a request without a key in force. Those alone are counted by address: a key has its site's rate."""
        count_request("unauthorized")
        wait_s = self._edge.limits.judge_address(facts.context.address)
        if wait_s:
            await _answer_refusal(Rejected(Reason.RATE, step="read"), send, retry_after_s=wait_s)
            return
        text = _describe("unauthorized", find_message("unauthorized", ""))
        await send_answer(send, 401, [*_BASE, _CHALLENGE, _CLOSE], _ENCODE(text))

    def _find_access(self, scope: Scope, facts: RequestFacts) -> _Access | None:
        """Return the key and what it may do here; None where it is no key in force."""
        text = read_key(scope)
        if not text:
            return None
        context = facts.context
        found = {
            name: verify_key(context.sites, context.keyring, text, name, now_ms=context.received_at_ms)
            for name in SCOPES
        }
        key = next((key for key in found.values() if key is not None), None)
        if key is None:
            return None
        return _Access(key, *(bool(found[scope]) for scope in (TRACK_SCOPE, IDENTIFY_SCOPE, MERGE_SCOPE)))

    def _read_calls(self, kind: str, body: bytes, scope: Scope) -> list[Call | Rejected] | Rejected:
        """Return the calls of a body, with the message ids that the header `Idempotency-Key` gives those without."""
        keys = [value for name, value in scope["headers"] if name == b"idempotency-key"]
        key = keys[0].decode("latin-1").strip() if keys else ""
        if len(keys) > 1 or len(key) > MAX_IDEMPOTENCY_KEY_CHARS or not key.isprintable():
            return Rejected(Reason.ID, step="decode", field="Idempotency-Key")
        if kind == BATCH:
            calls = read_batch(body, self._edge.config.max_events)
            if isinstance(calls, Rejected):
                return calls
        else:
            call = read_call(body, kind)
            if isinstance(call, Rejected):
                return call
            calls = [call]
        if key:
            for index, call in enumerate(calls):
                if isinstance(call, Call) and call.message_id in (None, ""):
                    call.message_id = f"{key}#{index}" if kind == BATCH else key
        return calls

    def _judge_rates(self, calls: list[Call | Rejected], key: ApiKey, facts: RequestFacts) -> int:
        """Count the calls for the sites that they name. Return 0, or how many seconds one of these has to wait."""
        named = (call.context.site_id if isinstance(call, Call) and call.context else "" for call in calls)
        counts = Counter(site_id or key.site_id for site_id in named)
        sites = ((facts.context.sites.find_site(site_id), events) for site_id, events in counts.items())
        limits = self._edge.limits
        waits = [limits.judge_site(site, events) for site, events in sites if site and site.space_id == key.space_id]
        return max(waits, default=0)

    def _make_caller(self, access: _Access, facts: RequestFacts) -> Caller:
        edge, context = self._edge, facts.context
        return Caller(
            received_at_ms=context.received_at_ms,
            sites=context.sites,
            keyring=context.keyring,
            space_id=access.key.space_id,
            site_id=access.key.site_id,
            may_track=access.may_track,
            may_identify=access.may_identify,
            may_merge=access.may_merge,
            actor=f"key:{access.key.key_id}",
            find_country=edge.find_country,
            is_known=self._known.has,
            make_id=lambda: make_id(context.received_at_ms),
            link_parameter=edge.config.link_parameter,
        )

    async def _spool(self, lines: list[bytes]) -> int:
        """Store the lines, all or none. Return 0, or after how many seconds the sender should try again.

        A part that was stored would be doubled by the next try, where calls have no message id of their own.
        """
        try:
            await self._edge.spool.append_all(lines)
        except SpoolFull as full:
            return full.retry_after_s
        except SpoolError:
            return _RETRY_AFTER_S
        return 0

    def _note(self, rejected: Rejected, key: ApiKey, facts: RequestFacts, body_bytes: int) -> None:
        """Count a request that is refused as a whole, for the site of its key."""
        count_rejected(rejected.step, rejected.reason)
        row = RejectedRow(step=rejected.step, reason=rejected.reason, field=rejected.field, body_bytes=body_bytes)
        self._edge.refusals.note(Refusal(facts.context.received_at_ms, key.site_id, key.space_id, row))


def read_key(scope: Scope) -> str:
    """Return the key that a request came with; "" where it came with none, or with several."""
    values: list[bytes] = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1 or len(values[0]) > MAX_KEY_HEADER_BYTES:
        return ""
    scheme, _, rest = values[0].decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        user = base64.b64decode(rest.strip(), validate=True).decode("ascii")
    except ValueError:  # no Base64, or no ASCII on either side of it
        return ""
    return user.partition(":")[0]


async def _accept(calls: list[Call | Rejected], caller: Caller) -> AcceptedCalls:
    """Judge the calls, a few at a time: others who wait for an answer are served between."""
    outcome = AcceptedCalls()
    for first in range(0, len(calls), CALLS_AT_ONCE):
        if first:
            await asyncio.sleep(0)
        accept_calls(calls[first : first + CALLS_AT_ONCE], caller, outcome)
    return outcome


async def _answer_outcome(outcome: AcceptedCalls, send: Send, *, is_batch: bool) -> None:
    """Answer what became of the calls: 200, unless there is none that is kept and something for the sender to mend."""
    rejected = [_describe_call(judged) for judged in outcome.rejected]
    first = next((judged for judged in outcome.rejected if judged.reason not in QUIET), None)
    if first is not None and not outcome.events:
        refused = Rejected(first.reason, field=f"batch[{first.index}].{first.field}" if is_batch else first.field)
        await _answer_refusal(refused, send, rejected if is_batch else [])
        return
    text: dict[str, Any] = {"success": True}
    if rejected:
        text["rejected"] = rejected
    if outcome.left_out:
        text["left_out"] = [_describe_call(judged) for judged in outcome.left_out]
    if is_batch and outcome.made_ids:
        made = sorted(outcome.made_ids.items())
        text["made"] = [{"index": index, "messageId": event_id} for index, event_id in made]
    elif outcome.made_ids:
        text["messageId"] = outcome.made_ids[0]
    await send_answer(send, 200, _BASE, _ENCODE(text))


async def _answer_refusal(
    rejected: Rejected,
    send: Send,
    calls: list[dict[str, Any]] | None = None,
    *,
    retry_after_s: int = _RETRY_AFTER_S,
) -> None:
    reason = rejected.reason
    headers = list(_BASE)
    if reason in RETRYABLE:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    if rejected.step == "read":
        headers.append(_CLOSE)  # what is left of the body is not waited for
    path = rejected.field.rpartition("].")[2] if rejected.field.startswith("batch[") else rejected.field
    text = _describe(reason, find_message(reason, path), rejected.field, retry=reason in RETRYABLE)
    if calls:
        text["rejected"] = calls
    await send_answer(send, STATUS.get(reason, 400), headers, _ENCODE(text))


async def _answer_unavailable(retry_after_s: int, send: Send, *, is_unread: bool = False) -> None:
    count_request("not spooled")
    headers = [*_BASE, (b"retry-after", str(retry_after_s).encode()), *((_CLOSE,) if is_unread else ())]
    text = _describe("unavailable", find_message("unavailable", ""), retry=True)
    await send_answer(send, 503, headers, _ENCODE(text))


def _describe(error: str, message: str, path: str = "", *, retry: bool = False) -> dict[str, Any]:
    return {"error": error, "field": path, "message": message, "retry": retry}


def _describe_call(judged: Judged) -> dict[str, Any]:
    message = find_message(judged.reason, judged.field)
    return {"index": judged.index, "reason": judged.reason, "field": judged.field, "message": message}


def routes(edge: Edge, note_use: Callable[[str, int], None]) -> list[Route]:
    """Return the routes."""
    events = ServerEvents(edge, note_use)
    return [Route(f"/v1/{kind}", events.make_endpoint(kind), methods=["POST"]) for kind in (*TYPES, BATCH)]
