"""ClickHouse's HTTP interface over the embedded engine: `/ping` and `/`.

This module takes requests in: who asks, may it, has it a session, is there room. `answer` does the rest.
Nothing of a statement, a parameter or a credential is ever logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from collector.engine.admission import Admission
from collector.engine.answer import Answer, Shared
from collector.engine.body import CHUNK_BYTES, Body
from collector.engine.catalog import make_catalog
from collector.engine.config import EngineConfig
from collector.engine.credentials import Credential, Role, authenticate
from collector.engine.errors import BAD_ARGUMENTS, QUERY_WITH_SAME_ID, QueryFailed
from collector.engine.gate import Gate
from collector.engine.handles import Chdb, Outcome
from collector.engine.native import NativeLz4Encoder
from collector.engine.order import Order
from collector.engine.request import Asked, read_asked, read_body, read_form
from collector.engine.sessions import Session, Sessions

_log = structlog.get_logger("engine")

_SAFE_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Interface:
    """The ASGI application. Lives on one event loop; `close` when no request runs any more."""

    def __init__(self, engine: Chdb, config: EngineConfig) -> None:
        limits = config.settings
        self._engine = engine
        self._config = config
        handle = engine.open()
        try:
            make_catalog(handle, config.policy)
            self._admission = Admission(handle, config.policy)
        finally:
            handle.close()
        self._credentials = config.by_user()
        self._gates = {
            Role.WRITER: Gate("writer", limits.writer_threads, limits.writer_queue),
            Role.READER: Gate("reader", limits.reader_threads, limits.reader_queue),
        }
        self._gates[Role.ANALYST] = self._gates[Role.READER]
        self._sessions = Sessions(limits.sessions, limits.session_timeout_s, time.monotonic)
        self._running: set[tuple[str, str]] = set()
        self._orders: dict[asyncio.Future[Outcome], Order] = {}
        self._shared = Shared(
            engine,
            self._enter,
            {role: role_settings(role, config) for role in Role},
            limits.max_statement_bytes,
            config.tmp,
        )

    async def close(self, patience_s: float) -> bool:
        """Stop what still runs and end the worker threads and sessions. Tell whether all statements have ended."""
        running = dict(self._orders)
        for order in running.values():
            order.cancel()
            await asyncio.to_thread(self._engine.kill, order.mark)
        if running:
            await asyncio.wait(running, timeout=patience_s)
        for gate in self._gates.values():
            gate.close()
        if self._orders:
            return False
        self._sessions.close()
        return True

    def _enter(self, order: Order) -> asyncio.Future[Outcome]:
        """Start an order in a worker thread. Raise `QueryFailed` 202 when too many wait."""
        future = self._gates[order.role].enter(lambda: order.run(self._engine, self._admission))
        self._orders[future] = order
        future.add_done_callback(self._orders.pop)
        return future

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        path = scope["path"]
        if path in ("/ping", "/replicas_status"):
            await PlainTextResponse("Ok.\n")(scope, receive, send)
        elif path != "/":
            await PlainTextResponse(f"There is no handle {path[:100]!r}\n", 404)(scope, receive, send)
        elif scope["method"] == "HEAD" or (scope["method"] == "GET" and not scope["query_string"]):
            await PlainTextResponse("Ok.\n")(scope, receive, send)
        elif scope["method"] not in ("GET", "POST"):
            await PlainTextResponse("Use GET or POST.\n", 405, {"Allow": "GET, POST"})(scope, receive, send)
        else:
            await self._answer(request, send)

    async def _answer(self, request: Request, send: Send) -> None:
        query_id = str(uuid.uuid4())
        try:
            try:
                asked = read_asked(request)
                credential = authenticate(self._credentials, asked.user, asked.password)
                query_id = _query_id(asked) or query_id
                await self._serve(request, asked, credential, query_id, send)
            except QueryFailed as error:
                await _drain(request)
                framed = "compress=1" in request.url.query.split("&")
                await self._refusal(error, query_id, framed)(request.scope, request.receive, send)
        except ClientDisconnect:
            _log.debug("client went away")

    def _refusal(self, error: QueryFailed, query_id: str, framed: bool) -> Response:
        headers = {
            "X-ClickHouse-Exception-Code": str(error.code),
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Timezone": self._engine.time_zone,
        }
        if error.status == 403 and error.code == 516:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
            headers["X-ClickHouse-Auth"] = "basic"
        body = (error.text(self._engine.version) + "\n").encode()
        if framed and error.status != 403:
            # As the server does it: JDBC reads every error in frames, except those about credentials.
            body = NativeLz4Encoder().compress(body)
        return PlainTextResponse(body, error.status, headers)

    async def _serve(self, request: Request, asked: Asked, credential: Credential, query_id: str, send: Send) -> None:
        limits = self._config.settings
        is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
        encoding = "" if is_form else request.headers.get("content-encoding", "")
        if asked.flag("decompress"):
            raise QueryFailed(BAD_ARGUMENTS, "decompress=1 is not supported: send Content-Encoding instead.")
        body = Body(encoding, limits.max_body_bytes, self._config.temporary_folder)
        key = (credential.user, query_id)
        try:
            if is_form:
                await read_form(request, asked, limits.max_statement_bytes)
            else:
                await read_body(request, body)
            if key in self._running:
                raise QueryFailed(QUERY_WITH_SAME_ID, f"Query with id = {query_id} is already running.")
            session = self._session(asked, credential)
            with contextlib.ExitStack() as holds:
                if session is not None:
                    holds.callback(self._sessions.give_back, session)
                self._running.add(key)
                holds.callback(self._running.discard, key)
                answer = Answer(self._shared, request, asked, credential, query_id, send)
                # The answer lets go before its last bytes: a client that has read them may use both at once.
                await answer.run(body, session, on_ended=holds.close)
        finally:
            body.close()

    def _session(self, asked: Asked, credential: Credential) -> Session | None:
        session_id = asked.interface.get("session_id")
        if not session_id:
            return None
        timeout_s = asked.number("session_timeout", 60)
        return self._sessions.take(credential.user, session_id, timeout_s, asked.flag("session_check"))


def _query_id(asked: Asked) -> str | None:
    """Return the id that the client chose. It goes into a header, so it must be plain."""
    query_id = asked.interface.get("query_id")
    if query_id and not _SAFE_ID.fullmatch(query_id):
        raise QueryFailed(BAD_ARGUMENTS, "query_id must be 1 to 128 visible ASCII characters.")
    return query_id


async def _drain(request: Request) -> None:
    """Read a refused body away, up to a bound, so that the client hears the answer instead of a reset."""
    size = 0
    if getattr(request, "_stream_consumed", False):
        return
    async for chunk in request.stream():
        size += len(chunk)
        if size > CHUNK_BYTES:
            return


def role_settings(role: Role, config: EngineConfig) -> dict[str, str]:
    """Return the settings that hold for every statement of a role before the client's own."""
    limits = config.settings
    if role is Role.WRITER:
        return {"priority": "1"}
    is_analyst = role is Role.ANALYST
    caps = {
        "max_threads": limits.reader_cores,
        "max_execution_time": limits.analyst_time_s if is_analyst else limits.reader_time_s,
        "max_memory_usage": limits.analyst_memory_bytes if is_analyst else limits.reader_memory_bytes,
        "max_result_rows": 0 if is_analyst else limits.reader_result_rows,
        "max_result_bytes": 0 if is_analyst else limits.reader_result_bytes,
        "priority": 10,
    }
    return {name: str(value) for name, value in caps.items()}
