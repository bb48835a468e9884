"""`POST /x/b`: takes a beacon in, and answers only once it is on disk.

Parses and answers, no more: what is kept is decided by `accept.pipeline`. docs/wire-format.md lists the answers. A
plain ASGI endpoint without middleware, because this path is the one that has to be fast.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter

import msgspec
from starlette.routing import Route

from collector.accept.pipeline import Accepted, Refused, accept, refuse_unread
from collector.endpoints.body import Disconnected, check_head, decode_body, read_body
from collector.endpoints.cookies import write_visitor_cookies
from collector.endpoints.cors import VARY, AllowedOrigins, cross_origin_headers, preflight_headers
from collector.endpoints.edge import Edge, RequestFacts, read_facts, read_head
from collector.endpoints.plain import (
    Answer,
    Headers,
    PlainEndpoint,
    Receive,
    Scope,
    Send,
    WholeRequest,
    send_answer,
    write_headers,
)
from collector.errors import SpoolError, SpoolFull
from collector.metrics import count_request, observe_acknowledgement
from collector.reasons import RETRYABLE, Reason

STATUS_BY_REASON = {
    Reason.SIZE: 413,
    Reason.ENCODING: 415,
    Reason.SITE: 404,
    Reason.ORIGIN: 403,
    Reason.RATE: 429,
    Reason.KEYS: 503,
}
"""All others are 400, but for those in QUIET."""

QUIET = frozenset((Reason.CONSENT, Reason.EXCLUDED, Reason.OFF, Reason.OPTED_OUT, Reason.ERASED))
"""Refusals that the page can do nothing about: answered 204 with the reason in a header."""

STOP_S = {Reason.OFF: b"3600", Reason.OPTED_OUT: b"86400"}
"""How long the tag shall be silent, in seconds: until the site may have changed its mind, or the person theirs."""

MESSAGES = {
    Reason.SIZE: "The body or one of its fields is larger than this collector takes.",
    Reason.ENCODING: "The body must be UTF-8, as it is or as one gzip member.",
    Reason.SYNTAX: "The body is not JSON.",
    Reason.SHAPE: "The body is not a beacon: a field is missing or has the wrong type.",
    Reason.DEPTH: "The body nests too deep or has too many keys.",
    Reason.VERSION: "This collector does not know this version of the wire format.",
    Reason.SITE: "There is no such site here.",
    Reason.ORIGIN: "The page's origin is not on the site's list.",
    Reason.COUNT: "A beacon holds at least one event, and no more than this collector takes.",
    Reason.ID: "A visitor id is not a UUID.",
    Reason.RATE: "Too much comes at once, from this address or for this site; send the same beacon again later.",
    Reason.KEYS: "The issuer of an ID token is being asked for its keys; send the same beacon again later.",
    Reason.CLOCK: "The clock offset is outside of what can be.",
}

BASE: Headers = [(b"cache-control", b"no-store"), VARY]
_JSON = (b"content-type", b"application/json")
_PLAIN = (b"x-content-type-options", b"nosniff")
_ENCODE = msgspec.json.Encoder().encode
_RETRY_AFTER_S = 5
MAX_PLAIN_ANSWERS = 1024


class Beacons:
    """The endpoint. `receive` is the ASGI application; `take` does the same for a request that came whole."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._origins = AllowedOrigins()
        self._plain_answers: dict[bytes, Answer] = {}

    async def receive(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one beacon in."""
        edge = self._edge
        facts = read_facts(edge, scope)
        if scope["method"] == "OPTIONS":
            await send_answer(send, *self._answer_preflight(facts))
            return
        too_fast = self._judge_pace(facts)
        if too_fast is not None:
            await send_answer(send, *too_fast)
            return
        try:
            body = await read_body(receive, facts.content_length, facts.content_encoding, edge.config.max_body_bytes)
        except Disconnected:
            count_request("disconnected")
            return
        began = perf_counter()
        outcome = self._judge(body, facts)
        if not isinstance(outcome, Answer):
            try:
                await edge.spool.append(outcome.line)
            except SpoolError as error:
                outcome = self._answer_unspooled(error, facts)
            else:
                observe_acknowledgement(perf_counter() - began)
                outcome = self._answer_spooled(outcome, facts)
        await send_answer(send, *outcome)

    def take(self, request: WholeRequest) -> None:
        """Take one beacon in, without a task and a scope of its own: both cost more than the judgement."""
        edge, began = self._edge, perf_counter()
        facts = read_head(edge, request.headers, request.named, request.peer, request.secure)
        too_fast = self._judge_pace(facts)
        if too_fast is not None:
            request.answer(too_fast)
            return
        body: bytes | Reason = request.body
        max_bytes = edge.config.max_body_bytes
        # Zeros in front make a stated length longer than is read: what came counts as well.
        if facts.content_encoding or max(facts.content_length, len(request.body)) > max_bytes:
            problem = check_head(facts.content_length, facts.content_encoding, max_bytes)
            body = problem or decode_body(request.body, facts.content_encoding, max_bytes)
        outcome = self._judge(body, facts)
        if isinstance(outcome, Answer):
            request.answer(outcome)
            return
        try:
            edge.spool.put(outcome.line, partial(self._settle, request, outcome, facts, began))
        except SpoolError as error:
            request.answer(self._answer_unspooled(error, facts))

    def _settle(
        self,
        request: WholeRequest,
        outcome: Accepted | Refused,
        facts: RequestFacts,
        began: float,
        failure: SpoolError | None,
    ) -> None:
        if failure is not None:
            request.answer(self._answer_unspooled(failure, facts))
            return
        observe_acknowledgement(perf_counter() - began)
        request.answer(self._answer_spooled(outcome, facts))

    def _judge_pace(self, facts: RequestFacts) -> Answer | None:
        """Return the answer to an address that sends faster than it may; its body is not looked at."""
        retry_after_s = self._edge.limits.judge_address(facts.context.address)
        if not retry_after_s:
            return None
        refused = refuse_unread(Reason.RATE, max(facts.content_length, 0), facts.context, retry_after_s)
        self._edge.refusals.note(refused.refusal)
        return self._answer_refusal(refused, facts)

    def _judge(self, body: bytes | Reason, facts: RequestFacts) -> Accepted | Refused | Answer:
        """Judge a body, or what was wrong with it. What is no answer yet is to be spooled first."""
        if not facts.context.sites.read_at_ms:
            # Nothing is known yet of any site: the client keeps its events, a 404 would make it drop them.
            return self._answer_unavailable(_RETRY_AFTER_S, facts)
        if isinstance(body, Reason):
            outcome: Accepted | Refused = refuse_unread(body, max(facts.content_length, 0), facts.context)
        else:
            outcome = accept(body, facts.context)
            if outcome.rejected and self._edge.kept_bodies is not None:
                self._edge.kept_bodies.note(body, facts.context, outcome)
        if isinstance(outcome, Accepted):
            return outcome
        self._edge.refusals.note(outcome.refusal)
        return outcome if outcome.line else self._answer_refusal(outcome, facts)

    def _answer_spooled(self, outcome: Accepted | Refused, facts: RequestFacts) -> Answer:
        if isinstance(outcome, Accepted):
            return self._answer_kept(outcome, facts)
        return self._answer_refusal(outcome, facts)

    def _answer_kept(self, outcome: Accepted, facts: RequestFacts) -> Answer:
        is_plain = outcome.visitor_reply is None and outcome.handover is None
        if is_plain and not outcome.reasons and not outcome.cookie_forms:
            return self._answer_plainly(facts)
        headers = self._start_headers(facts)
        if outcome.reasons:
            headers.append((b"x-tagstitch-rejected", ",".join(outcome.reasons).encode()))
        if outcome.cookie_forms:
            headers += write_visitor_cookies(outcome.set_cookie, outcome.cookie_forms, facts.context.secure)
        if is_plain:
            return Answer(204, headers)
        reply = {"d": outcome.visitor_reply, "x": outcome.handover}
        said = {name: text for name, text in reply.items() if text is not None}
        return Answer(200, [*headers, _JSON, _PLAIN], _ENCODE(said))

    def _answer_plainly(self, facts: RequestFacts) -> Answer:
        """Return the answer that nearly all get, made once for each origin of the sites and kept as it is written."""
        is_known = self._origins.has(facts.origin, facts.context.sites)
        origin = facts.origin if is_known else b""
        answer = self._plain_answers.get(origin)
        if answer is None:
            if len(self._plain_answers) >= MAX_PLAIN_ANSWERS:
                self._plain_answers.clear()
            headers = self._start_headers(facts)
            answer = self._plain_answers[origin] = Answer(204, headers, written=write_headers(headers))
        return answer

    def _answer_refusal(self, outcome: Refused, facts: RequestFacts) -> Answer:
        reason = outcome.rejected.reason
        # A page that is not on this site's list shall not even read why.
        headers = list(BASE) if reason is Reason.ORIGIN else self._start_headers(facts)
        headers.append((b"x-tagstitch-rejected", reason.encode()))
        if outcome.cookie_forms:
            headers += write_visitor_cookies(outcome.set_cookie, outcome.cookie_forms, facts.context.secure)
        if reason in STOP_S:
            headers.append((b"x-tagstitch-stop", STOP_S[reason]))
        if reason in QUIET:
            return Answer(204, headers)
        if reason in RETRYABLE:
            headers.append((b"retry-after", str(outcome.rejected.retry_after_s or _RETRY_AFTER_S).encode()))
        if outcome.rejected.step == "read":
            headers.append((b"connection", b"close"))  # what is left of the body is not waited for
        text = {
            "error": reason,
            "field": outcome.rejected.field,
            "message": MESSAGES.get(reason, "This beacon is not accepted."),
            "retry": reason in RETRYABLE,
        }
        return Answer(STATUS_BY_REASON.get(reason, 400), [*headers, _JSON, _PLAIN], _ENCODE(text))

    def _answer_unspooled(self, error: SpoolError, facts: RequestFacts) -> Answer:
        return self._answer_unavailable(error.retry_after_s if isinstance(error, SpoolFull) else _RETRY_AFTER_S, facts)

    def _answer_unavailable(self, retry_after_s: int, facts: RequestFacts) -> Answer:
        count_request("not spooled")
        headers = [*self._start_headers(facts), (b"retry-after", str(retry_after_s).encode()), _JSON, _PLAIN]
        text = {
            "error": "unavailable",
            "field": "",
            "message": "The collector cannot store this now; send the same beacon again later.",
            "retry": True,
        }
        return Answer(503, headers, _ENCODE(text))

    def _answer_preflight(self, facts: RequestFacts) -> Answer:
        allowed = self._origins.has(facts.origin, facts.context.sites)
        headers = [*BASE, *(preflight_headers(facts.origin) if allowed else ()), (b"allow", b"POST, OPTIONS")]
        return Answer(204 if allowed else 403, headers)

    def _start_headers(self, facts: RequestFacts) -> Headers:
        if facts.origin and self._origins.has(facts.origin, facts.context.sites):
            return [*BASE, *cross_origin_headers(facts.origin)]
        return list(BASE)


def routes(edge: Edge) -> list[Route]:
    """Return the route of the beacon."""
    return [Route(edge.config.beacon_path, PlainEndpoint(Beacons(edge).receive), methods=["POST", "OPTIONS"])]
