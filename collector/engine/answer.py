"""One statement's answer: its head, its rows as they come, its progress, its end, and what happens to it on the way.

The engine writes the result into the order's pipe; what comes out of it goes to the client, compressed if it asked
for that. The head waits for the first bytes (up to 256 KiB, or 50 ms more), so that a statement that fails early gets
its true status. What fails later is reported at the end of the body, in the form that ClickHouse 25.11 introduced,
under the tag that `X-ClickHouse-Exception-Tag` announced. A client that goes away stops its statement.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import structlog
from starlette.requests import Request
from starlette.types import Send

from collector.engine.body import IN_MEMORY_BYTES, Body, Encoder, choose_encoder
from collector.engine.credentials import Credential, Role
from collector.engine.errors import QueryFailed
from collector.engine.handles import Chdb, Outcome
from collector.engine.native import NativeLz4Encoder
from collector.engine.order import Order
from collector.engine.protocol import EXTENSION, EarlyHead
from collector.engine.request import Asked
from collector.engine.sessions import Session

_log = structlog.get_logger("engine")

_FIRST_BYTES = 256 * 1024
_FIRST_WAIT_S = 0.05
_PIPE_BYTES = 1024 * 1024
_F_SETPIPE_SZ = 1031
_KILL_AGAIN_S = 0.1
_CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "CSVWithNamesAndTypes": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNamesAndTypes": "text/tab-separated-values; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "RowBinaryWithNames": "application/octet-stream",
    "RowBinaryWithNamesAndTypes": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "XML": "application/xml; charset=UTF-8",
}


@dataclass(frozen=True, slots=True)
class Shared:
    """What all answers of one process share. `enter` starts an order in a worker thread."""

    engine: Chdb
    enter: Callable[[Order], asyncio.Future[Outcome]]
    role_settings: Mapping[Role, Mapping[str, str]]
    max_statement_bytes: int
    tmp: str


class Answer:
    """One statement on its way, and its response."""

    def __init__(
        self, shared: Shared, request: Request, asked: Asked, credential: Credential, query_id: str, send: Send
    ) -> None:
        self._shared = shared
        self._engine = shared.engine
        self._request = request
        self._asked = asked
        self._credential = credential
        self._query_id = query_id
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._tag = secrets.token_hex(8)
        self._format = asked.interface.get("default_format") or "TabSeparated"
        self._encoder: Encoder | None = None
        self._encoding = ""
        if asked.flag("compress"):
            self._encoder = NativeLz4Encoder()
        elif asked.flag("enable_http_compression"):
            chosen = choose_encoder(request.headers.get("accept-encoding", ""))
            if chosen:
                self._encoding, self._encoder = chosen
        self._early: EarlyHead | None = None
        self._started = False
        self._progress_interval_s = asked.number("http_headers_progress_interval_ms", 100) / 1000
        self._progress_at = self._loop.time()

    async def run(self, body: Body, session: Session | None, on_ended: Callable[[], None]) -> None:
        """Run the statement and answer. Raises `QueryFailed` only as long as nothing was sent.

        `on_ended` is called when the statement has ended and before the client can know it.
        """
        role = self._credential.role
        reading, writing = _open_pipe()
        order = Order(
            role=role,
            query=self._asked.query,
            body=body,
            pipe=writing,
            mark=f"{self._query_id}:{self._tag}",
            default_format=self._format,
            database=self._asked.interface.get("database"),
            parameters=self._asked.parameters,
            settings=self._asked.settings,
            role_settings=self._shared.role_settings[role],
            session=session,
            max_statement_bytes=self._shared.max_statement_bytes,
            client_protocol=self._asked.number("client_protocol_version", 0),
            on_format=self._take_format,
            on_progress=self._progress if self._asked.flag("send_progress_in_http_headers") else None,
        )
        try:
            future = self._shared.enter(order)
        except QueryFailed:
            os.close(reading)
            os.close(writing)
            raise
        watcher = asyncio.create_task(self._watch(order, future))
        try:
            await self._stream(reading, future)
            on_ended()
            await self._end()
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
            if not future.done():
                await self._stop(order, future, reading)
            os.close(reading)

    async def _stream(self, reading: int, future: asyncio.Future[Outcome]) -> None:
        pipe = _read_pipe(reading)
        wait_end = self._asked.flag("wait_end_of_query")
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES, dir=self._shared.tmp) as held:
            outcome: Outcome | None = None
            deadline = None
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        chunk = await anext(pipe, b"")
                except TimeoutError:
                    break
                if not chunk:
                    outcome = await self._finish(future)
                    break
                held.write(chunk)
                if not wait_end:
                    deadline = deadline or self._loop.time() + _FIRST_WAIT_S
                    if held.tell() >= _FIRST_BYTES:
                        break
            await self._start(outcome)
            held.seek(0)
            while piece := held.read(_PIPE_BYTES):
                await self._write(piece)
        if outcome is None:
            async for chunk in pipe:
                await self._write(chunk)
            try:
                await future
            except QueryFailed as error:
                await self._write(self._exception_block(error))

    async def _finish(self, future: asyncio.Future[Outcome]) -> Outcome | None:
        """Wait for the outcome; an error is raised while the head has not gone out, and else written."""
        try:
            return await future
        except QueryFailed as error:
            if self._early is None or not self._early.is_open:
                raise
            # Status 200 has gone out. Who inserts looks at the head alone, so the head says it, as the server's does.
            self._early.add(b"X-ClickHouse-Exception-Code", str(error.code).encode())
            await self._start(None)
            await self._write(self._exception_block(error))
            return None

    # -- the head --------------------------------------------------------------------------------------------------

    def _take_format(self, name: str) -> None:
        self._format = name

    def _headers(self) -> list[tuple[str, str]]:
        headers = [
            ("Content-Type", _CONTENT_TYPES.get(self._format, "text/plain; charset=UTF-8")),
            ("X-ClickHouse-Server-Display-Name", "tagstitch"),
            ("X-ClickHouse-Query-Id", self._query_id),
            ("X-ClickHouse-Format", self._format),
            ("X-ClickHouse-Timezone", self._engine.time_zone),
            ("X-ClickHouse-Exception-Tag", self._tag),
        ]
        if self._encoding:
            headers.append(("Content-Encoding", self._encoding))
        return headers

    async def _start(self, outcome: Outcome | None) -> None:
        if self._started:
            return
        self._started = True
        summary = json.dumps(outcome.as_summary()) if outcome else None
        if self._early is not None and self._early.is_open:
            if summary:
                self._early.add(b"X-ClickHouse-Summary", summary.encode())
            self._early.close()
            return
        headers = self._headers()
        if summary:
            headers.append(("X-ClickHouse-Summary", summary))
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers],
            }
        )

    def _progress(self, values: dict[str, int]) -> None:
        """Called in the worker's thread."""
        self._loop.call_soon_threadsafe(self._write_progress, dict(values))

    def _write_progress(self, values: dict[str, int]) -> None:
        now = self._loop.time()
        if self._started or now - self._progress_at < self._progress_interval_s:
            return
        self._progress_at = now
        if self._early is None:
            self._early = self._request.scope["extensions"][EXTENSION]
            self._early.open([(n.encode("latin-1"), v.encode("latin-1", "replace")) for n, v in self._headers()])
        fields = {name: str(value) for name, value in values.items()}
        self._early.add(b"X-ClickHouse-Progress", json.dumps(fields).encode())

    # -- the body --------------------------------------------------------------------------------------------------

    async def _write(self, data: bytes) -> None:
        if self._encoder is not None:
            if len(data) > 65536:
                data = await self._loop.run_in_executor(None, self._encoder.compress, data)
            else:
                data = self._encoder.compress(data)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _end(self) -> None:
        last = self._encoder.finish() if self._encoder is not None else b""
        await self._send({"type": "http.response.body", "body": last, "more_body": False})

    def _exception_block(self, error: QueryFailed) -> bytes:
        text = error.text(self._engine.version).encode() + b"\n"
        tag = self._tag.encode()
        return b"\r\n__exception__\r\n" + tag + b"\r\n" + text + b"%d " % len(text) + tag + b"\r\n__exception__\r\n"

    # -- the client goes away --------------------------------------------------------------------------------------

    async def _watch(self, order: Order, future: asyncio.Future[Outcome]) -> None:
        """Stop the statement when the client closes its connection."""
        while True:
            message = await self._request.receive()
            if message["type"] == "http.disconnect":
                break
        if not future.done():
            _log.info("statement stopped: its client went away", role=self._credential.role.value)
            await self._kill(order, future)

    async def _stop(self, order: Order, future: asyncio.Future[Outcome], reading: int) -> None:
        """End a statement whose answer failed: stop it, and read its pipe empty so that it can end."""
        drain = asyncio.create_task(_drain_pipe(reading))
        await self._kill(order, future)
        with contextlib.suppress(QueryFailed):
            await future
        await drain

    async def _kill(self, order: Order, future: asyncio.Future[Outcome]) -> None:
        order.cancel()
        while not future.done():
            # It may not have begun yet when we first look.
            await self._loop.run_in_executor(None, self._engine.kill, order.mark)
            await asyncio.wait([future], timeout=_KILL_AGAIN_S)


def _open_pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with contextlib.suppress(OSError):
        fcntl.fcntl(reading, _F_SETPIPE_SZ, _PIPE_BYTES)
    return reading, writing


async def _read_pipe(reading: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    while True:
        try:
            chunk = os.read(reading, _PIPE_BYTES)
        except BlockingIOError:
            ready = asyncio.Event()
            loop.add_reader(reading, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(reading)
            continue
        if not chunk:
            return
        yield chunk


async def _drain_pipe(reading: int) -> None:
    async for _ in _read_pipe(reading):
        pass
