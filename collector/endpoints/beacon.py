"""`POST /x/b`: takes a beacon in, and answers only once it is on disk.

Parses and answers, no more: what is kept is decided by `accept.pipeline`. docs/wire-format.md lists the answers. A
plain ASGI endpoint without middleware, because this path is the one that has to be fast.
"""

from __future__ import annotations

from time import perf_counter

import msgspec
from starlette.routing import Route

from collector.accept.pipeline import Accepted, Refused, accept, refuse_unread
from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.cookies import write_visitor_cookies
from collector.endpoints.cors import VARY, AllowedOrigins, cross_origin_headers, preflight_headers
from collector.endpoints.edge import Edge, RequestFacts, read_facts
from collector.endpoints.plain import Headers, PlainEndpoint, Receive, Scope, Send, send_answer
from collector.errors import SpoolError, SpoolFull
from collector.event import RETRYABLE, Reason
from collector.metrics import count_request, observe_acknowledgement

STATUS_BY_REASON = {
    Reason.SIZE: 413,
    Reason.ENCODING: 415,
    Reason.SITE: 404,
    Reason.ORIGIN: 403,
    Reason.RATE: 429,
}
"""All others are 400, but for those in QUIET."""

QUIET = frozenset((Reason.CONSENT, Reason.EXCLUDED, Reason.OFF, Reason.OPTED_OUT))
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
    Reason.RATE: "The collector has too much to read now; send the same beacon again later.",
    Reason.CLOCK: "The clock offset is outside of what can be.",
}

BASE: Headers = [(b"cache-control", b"no-store"), VARY]
_JSON = (b"content-type", b"application/json")
_PLAIN = (b"x-content-type-options", b"nosniff")
_ENCODE = msgspec.json.Encoder().encode
_RETRY_AFTER_S = 5


class Beacons:
    """The endpoint. `receive` is the ASGI application."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._origins = AllowedOrigins()

    async def receive(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one beacon in."""
        edge = self._edge
        facts = read_facts(edge, scope)
        if scope["method"] == "OPTIONS":
            await self._answer_preflight(facts, send)
            return
        try:
            body = await read_body(receive, facts.content_length, facts.content_encoding, edge.config.max_body_bytes)
        except Disconnected:
            count_request("disconnected")
            return
        began = perf_counter()
        if not facts.context.sites.read_at_ms:
            # Nothing is known yet of any site: the client keeps its events, a 404 would make it drop them.
            await self._answer_unavailable(_RETRY_AFTER_S, facts, send)
            return
        if isinstance(body, Reason):
            outcome: Accepted | Refused = refuse_unread(body, max(facts.content_length, 0), facts.context)
        else:
            outcome = accept(body, facts.context)
        if isinstance(outcome, Refused):
            edge.refusals.note(outcome.refusal)
            await self._answer_refusal(outcome, facts, send)
            return
        try:
            await edge.spool.append(outcome.line)
        except SpoolError as error:
            retry_after_s = error.retry_after_s if isinstance(error, SpoolFull) else _RETRY_AFTER_S
            await self._answer_unavailable(retry_after_s, facts, send)
            return
        observe_acknowledgement(perf_counter() - began)
        await self._answer_kept(outcome, facts, send)

    async def _answer_kept(self, outcome: Accepted, facts: RequestFacts, send: Send) -> None:
        headers = self._start_headers(facts)
        if outcome.reasons:
            headers.append((b"x-tagstitch-rejected", ",".join(outcome.reasons).encode()))
        if outcome.cookie_forms:
            headers += write_visitor_cookies(outcome.set_cookie, outcome.cookie_forms, facts.context.secure)
        reply = {"d": outcome.visitor_reply, "x": outcome.handover}
        said = {name: text for name, text in reply.items() if text is not None}
        if said:
            await send_answer(send, 200, [*headers, _JSON, _PLAIN], _ENCODE(said))
        else:
            await send_answer(send, 204, headers, b"")

    async def _answer_refusal(self, outcome: Refused, facts: RequestFacts, send: Send) -> None:
        reason = outcome.rejected.reason
        # A page that is not on this site's list shall not even read why.
        headers = list(BASE) if reason is Reason.ORIGIN else self._start_headers(facts)
        headers.append((b"x-tagstitch-rejected", reason.encode()))
        if outcome.cookie_forms:
            headers += write_visitor_cookies(outcome.set_cookie, outcome.cookie_forms, facts.context.secure)
        if reason in STOP_S:
            headers.append((b"x-tagstitch-stop", STOP_S[reason]))
        if reason in QUIET:
            await send_answer(send, 204, headers, b"")
            return
        if reason in RETRYABLE:
            headers.append((b"retry-after", str(_RETRY_AFTER_S).encode()))
        if outcome.rejected.step == "read":
            headers.append((b"connection", b"close"))  # what is left of the body is not waited for
        text = {
            "error": reason,
            "field": outcome.rejected.field,
            "message": MESSAGES.get(reason, "This beacon is not accepted."),
            "retry": reason in RETRYABLE,
        }
        status = STATUS_BY_REASON.get(reason, 400)
        await send_answer(send, status, [*headers, _JSON, _PLAIN], _ENCODE(text))

    async def _answer_unavailable(self, retry_after_s: int, facts: RequestFacts, send: Send) -> None:
        count_request("not spooled")
        headers = [*self._start_headers(facts), (b"retry-after", str(retry_after_s).encode()), _JSON, _PLAIN]
        text = {
            "error": "unavailable",
            "field": "",
            "message": "The collector cannot store this now; send the same beacon again later.",
            "retry": True,
        }
        await send_answer(send, 503, headers, _ENCODE(text))

    async def _answer_preflight(self, facts: RequestFacts, send: Send) -> None:
        allowed = self._origins.has(facts.origin, facts.context.sites)
        headers = [*BASE, *(preflight_headers(facts.origin) if allowed else ()), (b"allow", b"POST, OPTIONS")]
        await send_answer(send, 204 if allowed else 403, headers, b"")

    def _start_headers(self, facts: RequestFacts) -> Headers:
        if facts.origin and self._origins.has(facts.origin, facts.context.sites):
            return [*BASE, *cross_origin_headers(facts.origin)]
        return list(BASE)


def routes(edge: Edge) -> list[Route]:
    """Return the route of the beacon."""
    return [Route(edge.config.beacon_path, PlainEndpoint(Beacons(edge).receive), methods=["POST", "OPTIONS"])]
