"""HTTP without patience for those who have none: uvicorn's protocol with deadlines and bounds.

uvicorn holds a silent client, half a head or half a body for ever and takes a head of any size. Here a client that
has not sent head and body in time is cut off, and so is one that does not read its answer. Heads, addresses and
cookies have bounds; requests whose end two parsers could see in different places are refused. A full house says 503,
and an address that has too large a part of it 429.

Nothing here logs anything: refusals are counted, and no line ever holds an address, a query or a token.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from collector.accept.validate import parse_networks
from collector.config import Config
from collector.endpoints.limits import OpenConnections
from collector.metrics import count_request

MAX_URL_BYTES = 8_192
MAX_COOKIE_BYTES = 16_384
MAX_HEADERS = 200
MAX_PIPELINED = 32
"""Most requests of one connection that wait for the answer to an earlier one. No browser sends a second."""
UNREAD_ANSWER_S = 8.0
"""How long an answer may wait for its reader. One who reads slowly but steadily has this time for each 64 KB."""
LINGER_S = 1.0

_OUTCOME_BY_STATUS = {400: "malformed", 408: "slow", 414: "too large", 431: "too large", 503: "too many"}
_RETRY_AFTER = b"retry-after: 5\r\n"


@dataclass(slots=True, frozen=True)
class Limits:
    """Bounds of one connection."""

    max_head_bytes: int
    request_timeout_s: float
    max_connections: int
    unread_answer_s: float = UNREAD_ANSWER_S
    per_address: OpenConnections = field(default_factory=OpenConnections)


class _Refused(Exception):
    """Ends the parsing of a request from within one of the parser's callbacks."""


class HardenedProtocol(HttpToolsProtocol):
    """One connection. Made by `make_protocol`, which gives it its limits."""

    limits: ClassVar[Limits]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._is_refused = self._is_counted = False
        self._is_in_head = True
        self._has_begun = self._has_ended = False  # whether a request began, or ended, in the bytes just read
        self._has_body_come = False
        self._has_data = False
        self._cycles: list[RequestResponseCycle] = []  # those that are not answered yet, in order
        self._status = 400  # of the answer, should parsing fail
        self._coming_bytes = 0
        self._begin_head()

    def _begin_head(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0  # what came before the body or after it, outside of its chunks' contents

    # --- the connection -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_counted = self.limits.per_address.enter(self._peer)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(503)
        elif not self._is_counted:
            self._refuse(429)
        else:
            self._arm()

    @property
    def _peer(self) -> str:
        return self.client[0] if self.client else ""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_counted:
            self._is_counted = False
            self.limits.per_address.leave(self._peer)
        self._disarm()
        self._stop_waiting_for_reader()
        self._unset_keepalive_if_required()
        # uvicorn tells the newest cycle alone: one that is under way before it would write to nobody, and raise.
        for cycle in self._find_unanswered():
            cycle.disconnected = True
            cycle.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._has_data = True
        self._unset_keepalive_if_required()
        self._coming_bytes = len(data)
        self._has_begun = self._has_ended = self._has_body_come = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self.cycle is not None:
                self.cycle.keep_alive = False  # answered as the plain request that it also is
        except httptools.HttpParserError:
            self._refuse(self._status)
            return
        if self._is_in_head or not self._has_body_come:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.max_head_bytes:
                self._refuse(431)
                return
        # A request that came whole needs no clock. One that did not has its time from its first bytes on; bytes between
        # two requests, which begin none, have it too.
        is_idle = self._deadline is None and (self.cycle is None or self.cycle.response_complete)
        if self._has_begun or (is_idle and not self._has_ended):
            self._arm()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_waiting_for_reader()
        self._unread = self.loop.call_later(self.limits.unread_answer_s, self._give_reader_up)

    def resume_writing(self) -> None:
        self._stop_waiting_for_reader()
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_end()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._expect_end()

    def _expect_end(self) -> None:
        """Bound how long a connection that is closing may wait until its last answer is read."""
        if self._unread is None and self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._unread = self.loop.call_later(self.limits.unread_answer_s, self._give_reader_up)

    # --- the request, as the parser finds it ----------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._begin_head()
        self._has_begun = True

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > MAX_URL_BYTES:
            self._fail(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:
            self.headers.append((name.lower(), value))
            if len(self.headers) > MAX_HEADERS:
                self._fail(431)
        # Else a trailer. The application has the head already, or soon will: what a proxy has put there, such as the
        # client's address, must not be overruled from behind the body.

    def on_headers_complete(self) -> None:
        named = dict(self.headers)
        if not self._is_plain(named):
            self._check_head()
        if len(self.pipeline) >= MAX_PIPELINED:
            self._fail(503)
        self._is_in_head = False
        self._begin_request(named)

    def _is_plain(self, named: dict[bytes, bytes]) -> bool:
        """Whether the head is of the usual form, in which `_check_head` finds nothing. A cheap test, and most pass."""
        return (
            len(named) == len(self.headers)
            and self._head_bytes + self._coming_bytes <= self.limits.max_head_bytes
            and b"host" in named
            and b"transfer-encoding" not in named
            and named.get(b"content-length", b"0").isdigit()
            and len(named.get(b"cookie", b"")) <= MAX_COOKIE_BYTES
            and self.url[:1] == b"/"
            and self.parser.get_http_version() == "1.1"
        )

    def _check_head(self) -> None:
        """Refuse heads over the bounds, and requests whose end two parsers could see in different places."""
        head_bytes = cookie_bytes = hosts = lengths = encodings = 0
        for name, value in self.headers:
            head_bytes += len(name) + len(value) + 4
            if name == b"cookie":
                cookie_bytes += len(value)
            elif name == b"host":
                hosts += 1
            elif name == b"content-length":
                lengths += 1
                if not value.isdigit():
                    self._fail(400)
            elif name == b"transfer-encoding":
                encodings += 1
                if value.strip().lower() != b"chunked":
                    self._fail(400)
        if head_bytes > self.limits.max_head_bytes or cookie_bytes > MAX_COOKIE_BYTES:
            self._fail(431)
        # Two lengths, or a length and chunks, are where a proxy and we could part ways about the request's end.
        if lengths + encodings > 1 or hosts > 1:
            self._fail(400)
        version = self.parser.get_http_version()
        if (version == "1.1" and not hosts) or (version != "1.1" and encodings):
            self._fail(400)
        if not self.url.startswith(b"/"):
            self._fail(400)

    def _begin_request(self, named: dict[bytes, bytes]) -> None:
        """Give the request to the application, once its head is complete and checked."""
        self._start_cycle(named)

    def _start_cycle(self, named: dict[bytes, bytes]) -> None:
        # uvicorn makes the scope when a request begins, and its headers empty: here both are made when they are needed.
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers = self.scope["headers"] = headers
        self.expect_100_continue = named.get(b"expect", b"").lower() == b"100-continue"
        super().on_headers_complete()
        self._cycles = [*self._find_unanswered(), self.cycle]

    def on_body(self, body: bytes) -> None:
        self._has_body_come = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._note_end()
        super().on_message_complete()

    def _note_end(self) -> None:
        self._disarm()
        self._has_begun, self._has_ended = False, True

    def _find_unanswered(self) -> list[RequestResponseCycle]:
        self._cycles = [cycle for cycle in self._cycles if not cycle.response_complete]
        return self._cycles

    def _fail(self, status: int) -> None:
        self._status = status
        raise _Refused

    # --- deadlines ------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(self.limits.request_timeout_s, self._lose_patience)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _lose_patience(self) -> None:
        self._deadline = None
        if self._has_data:
            self._refuse(408)
        else:
            count_request("silent")
            self.transport.abort()

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _give_reader_up(self) -> None:
        count_request("unread")
        self.transport.abort()

    def _refuse(self, status: int) -> None:
        """Answer in one line and close. What still comes is thrown away for a moment, so that the answer arrives."""
        count_request(_OUTCOME_BY_STATUS.get(status, "malformed"))
        self._is_refused = True
        self._disarm()
        # Answers are under way or will be: nothing may be written between their parts, nor by them after this.
        unanswered = self._find_unanswered()
        self.pipeline.clear()
        for cycle in unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.transport.is_closing():
            return
        if len(unanswered) > 1 or any(cycle.response_started for cycle in unanswered):
            self.transport.abort()  # our one line would be read as the answer to the first of them
            return
        wait = _RETRY_AFTER if status in (429, 503) else b""
        self.transport.write(STATUS_LINE[status] + wait + b"content-length: 0\r\nconnection: close\r\n\r\n")
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._deadline = self.loop.call_later(LINGER_S, self.transport.abort)
        else:
            self.transport.close()


def make_limits(config: Config) -> Limits:
    """Return the limits of these settings."""
    proxies = parse_networks(tuple(part for part in config.trusted_proxies.split(",") if part.strip()))
    return Limits(
        config.max_header_bytes,
        config.request_timeout_s,
        config.max_connections,
        per_address=OpenConnections(config.max_address_connections, proxies),
    )


def make_protocol(config: Config) -> type[HardenedProtocol]:
    """Return the protocol class with the limits of these settings, for `uvicorn.Config(http=…)`."""
    return type("HardenedProtocol", (HardenedProtocol,), {"limits": make_limits(config)})
