"""`GET /x/p.gif`: one event for pages without script, from query parameters.

    s site · n event name (page_view) · u page address · r referrer · h title · c consent · i event id · d visitor id

The answer is a transparent picture whatever happens: a page must not show a broken one. Nothing is put on the device
unless `c` grants analytics and the page's origin is known to be the site's; there is no script that could ask later. A
visitor id in the query is a claim and gets no cookie: a picture can stand in what a stranger has written, and whoever
chose the id would share the visitor with everybody who sees it.
"""

from __future__ import annotations

import base64
import uuid
from time import perf_counter
from typing import Any
from urllib.parse import unquote_plus

import msgspec
from starlette.routing import Route

from collector.accept.pipeline import Refused, accept, refuse_unread
from collector.endpoints.cookies import write_visitor_cookies
from collector.endpoints.edge import Edge, read_facts
from collector.endpoints.plain import PlainEndpoint, Send, send_answer
from collector.errors import SpoolError
from collector.event import WIRE_VERSION, Envelope, WireEvent
from collector.metrics import count_request, observe_acknowledgement
from collector.reasons import Reason

PICTURE = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
MAX_QUERY_BYTES = 8_192
MAX_PARAMETERS = 32

_ENCODE = msgspec.json.Encoder().encode
_HEADERS = [
    (b"content-type", b"image/gif"),
    (b"cache-control", b"no-store, private"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"cross-origin"),
]


class Pixel:
    """The endpoint."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def receive(self, scope: dict[str, Any], receive: object, send: Send) -> None:
        """Take one event in and answer the picture."""
        edge, began = self._edge, perf_counter()
        facts = read_facts(edge, scope, pixel=True)
        headers = list(_HEADERS)
        query: bytes = scope["query_string"]
        if edge.limits.judge_address(facts.context.address):
            edge.refusals.note(refuse_unread(Reason.RATE, len(query), facts.context).refusal)
        elif scope["method"] == "GET" and 0 < len(query) <= MAX_QUERY_BYTES:
            given = read_query(query)
            context = msgspec.structs.replace(facts.context, may_set_visitor="d" not in given)
            outcome = accept(build_body(given, context.received_at_ms), context)
            if isinstance(outcome, Refused):
                edge.refusals.note(outcome.refusal)
                if outcome.rejected.reason is Reason.OPTED_OUT:  # the browser's own word, not the query's
                    headers += write_visitor_cookies(outcome.set_cookie, outcome.cookie_forms, context.secure)
                    if outcome.line:
                        await self._spool(outcome.line)
            elif await self._spool(outcome.line):
                observe_acknowledgement(perf_counter() - began)
                headers += write_visitor_cookies(outcome.set_cookie, outcome.cookie_forms, context.secure)
        await send_answer(send, 200, headers, PICTURE)

    async def _spool(self, line: bytes) -> bool:
        try:
            await self._edge.spool.append(line)
        except SpoolError:
            count_request("not spooled")
            return False
        return True


def read_query(query: bytes) -> dict[str, str]:
    """Return the parameters by name; of two with one name the first."""
    given: dict[str, str] = {}
    for pair in query.split(b"&", MAX_PARAMETERS)[:MAX_PARAMETERS]:
        name, _, value = pair.partition(b"=")
        given.setdefault(unquote_plus(name.decode("latin-1")), unquote_plus(value.decode("latin-1")))
    return given


def build_body(given: dict[str, str], now_ms: int) -> bytes:
    """Return the beacon that the parameters stand for, as bytes: it goes the way of all beacons from here."""
    consent = given.get("c")
    envelope = Envelope(
        version=WIRE_VERSION,
        site_id=given.get("s", ""),
        sent_at_ms=now_ms,
        events=[
            WireEvent(
                id=given.get("i") or make_id(now_ms),
                name=given.get("n") or "page_view",
                time_ms=now_ms,
                url=given.get("u", ""),
                referrer=given.get("r", ""),
                title=given.get("h", ""),
            )
        ],
        # A new visitor only where somebody said yes to it; a cookie that is there is stronger than this id.
        visitor_id=given.get("d") or (make_id(now_ms) if consent and "a" in consent else ""),
        consent=consent,
    )
    return _ENCODE(envelope)


def make_id(now_ms: int) -> str:
    """Return a fresh UUIDv7."""
    random = uuid.uuid4().int & ((1 << 76) - 1)
    high, low = random >> 64, random & ((1 << 62) - 1)
    return str(uuid.UUID(int=(now_ms & ((1 << 48) - 1)) << 80 | 7 << 76 | high << 64 | 2 << 62 | low))


def routes(edge: Edge) -> list[Route]:
    """Return the route of the picture."""
    return [Route(edge.config.pixel_path, PlainEndpoint(Pixel(edge).receive), methods=["GET"])]
