"""The dry run over HTTP: what would be stored of a beacon, what is wrong with it, and nothing is stored.

    POST /x/inspect            takes a beacon, the same bytes as the beacon path; the tag is pointed here with
                               data-endpoint. Answers 200 with the outcome, whatever it is
    GET  /v1/inspect/all       how many events were good, how many refusals there were
    GET  /v1/inspect/good      the events that would be stored
    GET  /v1/inspect/bad       the refusals, with reason, field and what to do
    POST /v1/inspect/reset     forgets everything
    GET  /inspect              the page that shows it live, and its stream /inspect/stream

Served only where the setting `inspect` is on. Anybody may post, as to the beacon path, and learns reasons and what was
taken out; what would be stored (pseudonyms among it) is told to the operator alone: this machine, or who has the key.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from collector.accept.advice import ADVICE
from collector.accept.dry_run import DryRun, refuse, try_out
from collector.console.inspect_description import API_PATH, FILTERS, INSPECT_PATH, PAGE_PATH
from collector.console.inspect_log import InspectLog, Record, list_bad, list_good
from collector.console.page import Pages, make_nonce
from collector.endpoints.beacon import MESSAGES, QUIET, STATUS_BY_REASON
from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.cors import cross_origin_headers, preflight_headers
from collector.endpoints.edge import Edge, read_facts
from collector.endpoints.guard import OperatorGuard
from collector.endpoints.plain import Headers, PlainEndpoint, Receive, Scope, Send, send_answer
from collector.event import Rejected
from collector.logs import get_logger
from collector.metrics import count_request
from collector.reasons import Reason

AS_ORIGIN = b"x-tagstitch-as-origin"
MAX_WATCHERS = 20
FIRST_RECORDS = 200
"""Most records that a page gets when it connects."""
STOP_CHECK_S = 0.25
HEARTBEATS = 40

_BASE: Headers = [
    (b"cache-control", b"no-store"),
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
    (b"vary", b"Origin"),
]
_JSON = {"Cache-Control": "no-store", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}
_ENCODE = msgspec.json.Encoder().encode


class Inspector:
    """The endpoint that takes beacons. `receive` is the ASGI application."""

    def __init__(self, edge: Edge, guard: OperatorGuard, log: InspectLog) -> None:
        self._edge = edge
        self._guard = guard
        self._log = log

    async def receive(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one beacon and say what became of it."""
        is_operator = self._guard.check(Request(scope)) is None
        facts = read_facts(self._edge, _choose_origin(scope) if is_operator else scope)
        # Every origin may read the answer: one that is on no site's list is told just that, which is what it asks for.
        cross = cross_origin_headers(facts.origin) if facts.origin else []
        if scope["method"] == "OPTIONS":
            allowed = preflight_headers(facts.origin) if facts.origin else []
            await send_answer(send, 204, [*_BASE, *allowed, (b"allow", b"POST, OPTIONS")])
            return
        wait_s = self._edge.limits.judge_address(facts.context.address)
        if wait_s:
            text = {"error": Reason.RATE, "field": "", "message": MESSAGES[Reason.RATE], "retry": True}
            told = [(b"retry-after", str(wait_s).encode()), (b"connection", b"close")]
            await send_answer(send, 429, [*_BASE, *cross, *told], _ENCODE(text))
            return
        max_bytes = self._edge.config.max_body_bytes
        try:
            body = await read_body(receive, facts.content_length, facts.content_encoding, max_bytes)
        except Disconnected:
            count_request("disconnected")
            return
        if not facts.context.sites.read_at_ms:
            text = {"error": "unavailable", "field": "", "message": "The sites are not known yet.", "retry": True}
            await send_answer(send, 503, [*_BASE, *cross, (b"retry-after", b"5")], _ENCODE(text))
            return
        if isinstance(body, Reason):
            outcome = refuse(Rejected(body, step="read"))
            cross = [*cross, (b"connection", b"close")]
        else:
            outcome = try_out(body, facts.context)
        record = self._log.add(outcome, find_status(outcome), facts.context)
        await send_answer(send, 200, [*_BASE, *cross], _ENCODE(self._tell(record, is_operator)))

    def _tell(self, record: Record, is_operator: bool) -> Any:
        if is_operator:
            return record.describe()
        told = {"number": record.number, "status": record.status, **record.read_outcome()}
        for name in ("row", "evidence", "visitor_reply"):
            del told[name]
        return told


def _choose_origin(scope: Scope) -> Scope:
    """Let the operator judge a beacon as if a page of another origin had sent it. Pages elsewhere cannot ask for it:
    their browser wants a preflight before it sends this header, and none grants it."""
    headers = scope["headers"]
    wanted = [(b"origin", value) for name, value in headers if name == AS_ORIGIN and value]
    kept = [(name, value) for name, value in headers if name != b"origin"]
    return {**scope, "headers": [*kept, *wanted]} if wanted else scope


def find_status(outcome: DryRun) -> int:
    """Return the status with which the beacon path would have answered."""
    if outcome.accepted:
        return 200 if outcome.visitor_reply else 204
    reason = outcome.rejected[0].reason
    return 204 if reason in QUIET else STATUS_BY_REASON.get(reason, 400)


def inspect_routes(edge: Edge, is_stopping: Callable[[], bool] = lambda: False) -> list[BaseRoute]:
    """Return the routes of the dry run. The page's static files are served by `static_mount`."""
    log = InspectLog()
    guard = OperatorGuard(edge.keyring)
    pages = Pages()
    watchers: set[int] = set()
    get_logger().warning("the dry run is on: what is sent to it is shown and never stored", path=INSPECT_PATH)

    async def show_page(request: Request) -> Response:
        sites = [site for site in edge.site_book().sites.values() if not site.deleted]
        origin = edge.public_origin or str(request.base_url).rstrip("/")
        context = {
            "sites": sorted(site.site_id for site in sites),
            "origins": sorted({origin for site in sites for origin in site.origins}),
            "endpoint": f"{origin}{INSPECT_PATH}",
            "path": INSPECT_PATH,
            "reasons": ADVICE,
        }
        return pages.render("inspect.html", context, nonce=make_nonce(), referrer_policy="same-origin")

    async def stream(request: Request) -> Response:
        if len(watchers) >= MAX_WATCHERS:
            return PlainTextResponse("Too many are watching; try again later.\n", 503, {"Retry-After": "10"})
        me = log.name_browser(read_facts(edge, dict(request.scope)).context)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
        return StreamingResponse(watch(log, me, watchers, is_stopping), media_type="text/event-stream", headers=headers)

    async def count(_: Request) -> Response:
        return Response(_ENCODE(log.counts), headers=_JSON)

    async def list_records(request: Request) -> Response:
        which = request.url.path.rpartition("/")[2]
        wanted = dict(request.query_params)
        wrong = [name for name in wanted if name not in FILTERS[which]]
        after = wanted.pop("after", "0")
        if wrong or not (after.isascii() and after.isdigit() and len(after) < 16):
            message = f"The filters are {', '.join(FILTERS[which])}; after is the number of a beacon."
            text = {"error": "shape", "field": "after" if not wrong else "", "message": message, "retry": False}
            return Response(_ENCODE(text), 400, headers=_JSON)
        records = log.read(int(after))
        found = list_good(records) if which == "good" else list_bad(records)
        key = {"site": "site_id", "name": "name" if which == "good" else "event", "reason": "reason"}
        fits = [item for item in found if all(item[key[name]] == value for name, value in wanted.items())]
        return Response(_ENCODE({"count": len(fits), which: fits}), headers=_JSON)

    async def reset(request: Request) -> Response:
        # Programs send neither of these headers; a page of another site cannot leave them out.
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            text = {"error": "origin", "field": "", "message": "Not from a page of another site.", "retry": False}
            return Response(_ENCODE(text), 403, headers=_JSON)
        log.reset()
        return Response(_ENCODE(log.counts), headers=_JSON)

    return [
        Route(INSPECT_PATH, PlainEndpoint(Inspector(edge, guard, log).receive), methods=["POST", "OPTIONS"]),
        Route(f"{API_PATH}/all", guard.protect(count), methods=["GET"]),
        Route(f"{API_PATH}/good", guard.protect(list_records), methods=["GET"]),
        Route(f"{API_PATH}/bad", guard.protect(list_records), methods=["GET"]),
        Route(f"{API_PATH}/reset", guard.protect(reset), methods=["POST"]),
        Route(PAGE_PATH, guard.protect(show_page), methods=["GET"]),
        Route(f"{PAGE_PATH}/stream", guard.protect(stream), methods=["GET"]),
    ]


async def watch(
    log: InspectLog, me: str, watchers: set[int], is_stopping: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """Yield what is there, then what comes, as Server-Sent Events; ends when the server stops."""
    watcher = max(watchers, default=0) + 1
    watchers.add(watcher)
    earlier = log.read()[:-FIRST_RECORDS]
    after, resets, silent = earlier[-1].number if earlier else 0, log.resets, 0
    try:
        yield b"retry: 1500\n\n"
        is_first = True
        while not is_stopping():
            is_reset = log.resets != resets
            records = log.read(after)
            if is_first or is_reset or records:
                after = records[-1].number if records else after
                message = {
                    "reset": is_first or is_reset,
                    "counts": log.counts,
                    "records": [
                        record.describe(received_at_ms=record.received_at_ms, mine=record.browser == me)
                        for record in records
                    ],
                }
                is_first, resets, silent = False, log.resets, 0
                yield b"data: " + _ENCODE(message) + b"\n\n"
            elif not await log.wait_change(STOP_CHECK_S):
                silent += 1
                if silent % HEARTBEATS == 0:
                    yield b": nothing new\n\n"
    finally:
        watchers.discard(watcher)
