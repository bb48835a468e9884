"""Requests that come whole, answered without ASGI: for the one path that has to be fast.

uvicorn makes a scope, a task, an event and two writes for each request; for a beacon, which comes in one piece nearly
always, that costs more than its judgement. So a POST to the given path whose head and body were in the bytes just read
is handed over as it is, and its answer is one write. Everything else of the protocol holds as it does for the rest:
the head has been checked, and whatever is not that simple (a body that is still coming, a request behind an unanswered
one, chunks, `Expect`, an upgrade, a client that does not read) goes the usual way, with its deadlines and bounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from collector.config import Config
from collector.endpoints.plain import Answer, Headers, WholeRequest, write_headers
from collector.http import HardenedProtocol, make_limits
from collector.metrics import count_request

_NOT_SIMPLE = frozenset((b"transfer-encoding", b"expect", b"upgrade"))
_CLOSE = (b"connection", b"close")
_FAILED = Answer(500, [(b"content-type", b"text/plain; charset=utf-8"), _CLOSE], b"Internal Server Error")


class _Nobody:
    """Stands for the event on which an ASGI application waits for the body."""

    def set(self) -> None:
        """Wake nobody."""


_NOBODY = _Nobody()


class _Exchange:
    """One whole request and its answer. To the protocol it is a cycle like uvicorn's own."""

    __slots__ = (
        *("headers", "named", "peer", "secure", "body", "keep_alive", "disconnected"),
        *("response_started", "response_complete", "_protocol"),
    )
    message_event = _NOBODY

    def __init__(self, protocol: WholeProtocol, headers: Headers, named: dict[bytes, bytes]) -> None:
        self.headers = headers
        self.named = named
        self.peer: str = protocol.client[0] if protocol.client else ""
        self.secure = protocol.scheme == "https"
        self.body = b""
        self.keep_alive = True
        self.disconnected = self.response_started = self.response_complete = False
        self._protocol = protocol

    def answer(self, answer: Answer) -> None:
        """Send the answer, once. Nothing happens where the client has gone."""
        if self.disconnected or self.response_complete:
            return
        self.response_started = self.response_complete = True
        self._protocol.write_answer(self, answer)


class WholeProtocol(HardenedProtocol):
    """One connection. Made by `make_whole_protocol`."""

    path: ClassVar[bytes]
    take: ClassVar[Callable[[WholeRequest], None]]
    _date: ClassVar[tuple[object, bytes]] = (None, b"")  # uvicorn's headers of this second, and how they are written

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._coming: _Exchange | None = None  # its head is complete, its body is not
        self._earlier: Any = None  # the cycle before it
        self._ready: _Exchange | None = None
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        self._idle_since = None
        super().data_received(data)
        if self._coming is not None and not self._is_refused:
            self._take_usual_way(self._coming)
        if self._ready is not None:
            exchange, self._ready = self._ready, None
            if exchange.disconnected:  # what came behind it was refused, and that was the answer
                count_request("disconnected")
                return
            # Not from within the parser, who would take a fault of ours for one of the client's.
            try:
                type(self).take(exchange)
            except Exception:
                self.logger.exception("Exception in a whole request")
                exchange.answer(_FAILED)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def _begin_request(self, named: dict[bytes, bytes]) -> None:
        if (
            self.url == self.path
            and self.parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and not self.pipeline
            and not self.flow.write_paused
            and _NOT_SIMPLE.isdisjoint(named)
            and self.parser.get_http_version() == "1.1"
        ):
            exchange = _Exchange(self, self.headers, named)
            exchange.keep_alive = self.parser.should_keep_alive()
            self._coming, self._earlier, self.cycle = exchange, self.cycle, exchange  # type: ignore[assignment]
            self._cycles = [self.cycle]
        else:
            super()._begin_request(named)

    def on_body(self, body: bytes) -> None:
        if self._coming is not None:
            self._has_body_come = True
            self._coming.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._coming is None:
            super().on_message_complete()
            return
        self._note_end()
        self._ready, self._coming = self._coming, None

    def _take_usual_way(self, exchange: _Exchange) -> None:
        """Make a usual request of one whose body is still coming."""
        self._coming, self.cycle, self._cycles = None, self._earlier, []
        self._start_cycle(exchange.named)
        if exchange.body:
            super().on_body(exchange.body)

    # --- the answer -----------------------------------------------------------------------------------------

    def write_answer(self, exchange: _Exchange, answer: Answer) -> None:
        """Write the whole answer, and be ready for the next request."""
        status, headers, body, lines = answer
        if not lines:
            lines = write_headers(headers)
            exchange.keep_alive = exchange.keep_alive and _CLOSE not in headers
        if not exchange.keep_alive and _CLOSE not in headers:
            lines += b"connection: close\r\n"
        end = b"\r\n" if status == 204 else b"content-length: %d\r\n\r\n%b" % (len(body), body)
        self.transport.write(b"".join((STATUS_LINE[status], self._write_date(), lines, end)))
        if not exchange.keep_alive:
            self.transport.close()
        if self.pipeline or self.transport.is_closing():
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        # One timer for the whole life of a busy connection: it looks whether there was a request since.
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._end_idle)

    def _write_date(self) -> bytes:
        known, text = WholeProtocol._date
        headers = self.server_state.default_headers
        if known is not headers:
            text = write_headers(headers)
            WholeProtocol._date = (headers, text)
        return text

    def _end_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is None:
            return  # there is a request under way; its answer starts anew
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._idle_timer = self.loop.call_later(left_s, self._end_idle)
        else:
            self.timeout_keep_alive_handler()


def make_whole_protocol(config: Config, path: str, take: Callable[[WholeRequest], None]) -> type[WholeProtocol]:
    """Return the protocol class for `uvicorn.Config(http=…)` that gives whole requests to this path to `take`."""
    facts = {"limits": make_limits(config), "path": path.encode(), "take": staticmethod(take)}
    return type("WholeProtocol", (WholeProtocol,), facts)
