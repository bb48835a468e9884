"""The hardened protocol, over real sockets: who is cut off, what is refused, and what still works."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from collector.accept.validate import parse_networks
from collector.config import Config
from collector.endpoints.limits import OpenConnections
from collector.http import MAX_HEADERS, MAX_PIPELINED, Limits, make_protocol

TIMEOUT_S = 0.4
PATIENCE_S = 20.0  # how long a test waits for what must happen; never how long it takes


class _Seen:
    """What reached the application."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.disconnects = 0


class Running:
    """A server under test."""

    def __init__(self, port: int, seen: _Seen, server: uvicorn.Server) -> None:
        self.port = port
        self.seen = seen
        self._server = server

    @property
    def has_had_connections(self) -> bool:
        """Whether a request has reached the application."""
        return bool(self.seen.paths)

    def count_connections(self) -> int:
        """Return how many connections the server holds."""
        return len(self._server.server_state.connections)

    def connect(self) -> socket.socket:
        """Open a connection."""
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
        connection.settimeout(PATIENCE_S)
        return connection

    def ask(self, *pieces: bytes) -> bytes:
        """Send the pieces and return all that is answered until the server closes."""
        with self.connect() as connection:
            with contextlib.suppress(OSError):  # the server may have closed before all was sent
                for piece in pieces:
                    connection.sendall(piece)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Read until the end, which must come; a reset counts as one."""
    answer = b""
    try:
        while chunk := connection.recv(65_536):
            answer += chunk
    except ConnectionError:
        pass
    return answer


@contextlib.contextmanager
def running(limits: dict[str, Any] | None = None, **settings: Any) -> Iterator[Running]:
    """Run a real uvicorn with our protocol on a free port."""
    seen = _Seen()

    async def echo(request: Any) -> PlainTextResponse:
        seen.paths.append(request.url.path)
        try:
            body = await request.body()
        except ClientDisconnect:
            body = b""
        return PlainTextResponse(f"{len(body)}")

    async def headers(request: Any) -> PlainTextResponse:
        return PlainTextResponse(" ".join(request.headers))

    async def drain(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            if not message.get("more_body"):
                break
        else:
            seen.disconnects += 1

    async def rest(request: Any) -> PlainTextResponse:
        seen.paths.append(request.url.path)
        # What the kernel's buffers do not take, but less than the transport's own bound on what waits.
        transport = next(iter(server.server_state.connections)).transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return PlainTextResponse("x" * 60_000)

    async def flood(request: Any) -> StreamingResponse:
        seen.paths.append(request.url.path)

        async def chunks() -> Any:
            for _ in range(20_000):
                yield b"x" * 65_536

        return StreamingResponse(chunks())

    class Drain:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await drain(scope, receive, send)

    app = Starlette(
        routes=[
            Route("/drain", Drain(), methods=["POST"]),
            Route("/flood", flood),
            Route("/rest", rest),
            Route("/headers", headers, methods=["POST"]),
            Route("/{path:path}", echo, methods=["GET", "POST"]),
        ]
    )
    protocol = make_protocol(Config(**{"request_timeout_s": TIMEOUT_S, **settings}))
    if limits:
        base = protocol.limits
        protocol.limits = Limits(
            limits.get("max_head_bytes", base.max_head_bytes),
            base.request_timeout_s,
            base.max_connections,
            limits.get("unread_answer_s", base.unread_answer_s),
            limits.get("per_address", base.per_address),
        )
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    server = uvicorn.Server(
        uvicorn.Config(
            app, http=protocol, loop="uvloop", ws="none", lifespan="off", log_config=None, timeout_keep_alive=1
        )
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Running(listener.getsockname()[1], seen, server)
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(PATIENCE_S)
        listener.close()
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def web() -> Iterator[Running]:
    """One server for the tests that need no settings of their own."""
    with running() as server:
        yield server


CLOSE = b"Host: a\r\nConnection: close\r\n"


# --- what works ----------------------------------------------------------------------------------------------


def test_an_honest_request(web: Running) -> None:
    """GET and POST are answered, in one piece and in many."""
    assert web.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
    post = b"POST / HTTP/1.1\r\n" + CLOSE + b"Content-Length: 3\r\n\r\nabc"
    assert web.ask(post).endswith(b"\r\n\r\n3")
    assert web.ask(*[post[i : i + 1] for i in range(len(post))]).endswith(b"\r\n\r\n3")


def test_chunks(web: Running) -> None:
    """A chunked body is read to its end."""
    head = b"POST / HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"
    assert web.ask(head, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n").endswith(b"\r\n\r\n5")


def test_a_connection_is_used_again(web: Running) -> None:
    """Several requests on one connection, also sent at once, are all answered in order."""
    one = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /2 HTTP/1.1\r\n" + CLOSE + b"\r\n"
    assert web.ask(one + one + last).count(b"HTTP/1.1 200 OK") == 3
    with web.connect() as connection:
        connection.sendall(one)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        connection.sendall(one)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_http_1_0(web: Running) -> None:
    """An old client without Host is answered."""
    assert web.ask(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_an_upgrade_is_answered_as_a_plain_request(web: Running) -> None:
    """A client that offers HTTP/2 gets HTTP/1.1, and the connection is closed after it."""
    answer = web.ask(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200")


def test_expect_continue(web: Running) -> None:
    """A client that asks before it sends is told to go on."""
    with web.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n" + CLOSE + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(b"abc")
        assert b"HTTP/1.1 200" in read_all(connection)


# --- deadlines -----------------------------------------------------------------------------------------------


def test_a_silent_client_is_cut_off(web: Running) -> None:
    """Who says nothing gets nothing."""
    assert web.ask() == b""


@pytest.mark.parametrize(
    "piece",
    [
        b"G",
        b"\r\n",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Half: ",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_half_a_request_is_cut_off(web: Running, piece: bytes) -> None:
    """Half a head or half a body is given up, with 408."""
    assert web.ask(piece).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b"G"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"a"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"a"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a"),
    ],
    ids=["method", "header name", "header value", "body", "chunks", "trailer"],
)
def test_a_byte_at_a_time_does_not_extend_the_deadline(web: Running, start: bytes, drop: bytes) -> None:
    """A client that sends drops has the same time as any other, wherever in the request it does so."""
    with web.connect() as connection:
        connection.sendall(start or drop)
        deadline = time.monotonic() + PATIENCE_S
        connection.settimeout(0.05)
        answer = None
        while answer is None and time.monotonic() < deadline:
            try:
                connection.sendall(drop)
                answer = connection.recv(1000)
            except TimeoutError:
                continue
            except ConnectionError:
                answer = b""
        assert answer is not None, "still open"
        assert answer.startswith(b"HTTP/1.1 40") or answer == b""


def test_a_second_request_has_a_deadline_too(web: Running) -> None:
    """After an answered request, half a second one and stray bytes are cut off as well."""
    for piece in (b"GET / HTTP/1.1\r\nHo", b"\r\n", b"\r\n\r\n\r\n"):
        answer = web.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", piece)
        assert answer.startswith(b"HTTP/1.1 200 OK")


def test_the_application_hears_of_it(web: Running) -> None:
    """An endpoint that waits for a body that never comes is told that the client is gone."""
    before = web.seen.disconnects
    web.ask(b"POST /drain HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    deadline = time.monotonic() + PATIENCE_S
    while web.seen.disconnects == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert web.seen.disconnects == before + 1


def test_many_slow_clients_do_not_stop_an_honest_one(web: Running) -> None:
    """While two hundred connections hang, a normal request is answered; then they are all gone."""
    slow = [web.connect() for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert web.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n").startswith(b"HTTP/1.1 200")
        for connection in slow:
            assert read_all(connection).startswith(b"HTTP/1.1 408")
    finally:
        for connection in slow:
            connection.close()


def test_a_client_that_does_not_read_is_cut_off() -> None:
    """An endless answer to nobody is given up."""
    with running({"unread_answer_s": 0.3}) as server, server.connect() as connection:
        connection.sendall(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(1.0)  # without reading: the buffers of both sides fill up
        assert len(read_all(connection)) < 20_000 * 65_536


def test_a_client_that_reads_a_byte_at_a_time_is_cut_off() -> None:
    """So is one who reads, but not in this life."""
    with running({"unread_answer_s": 0.3}) as server, server.connect() as connection:
        connection.sendall(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
        until_gone(server, lambda: connection.recv(1))


@pytest.mark.parametrize("ending", [b"Connection: close\r\n", b""], ids=["close", "keep-alive"])
def test_a_last_answer_that_nobody_reads_is_given_up(ending: bytes) -> None:
    """A connection that is to be closed does not wait for ever until the rest of its answer is read.

    The rest is too small for the transport to call it a jam.
    """
    with running({"unread_answer_s": 0.3}) as server, contextlib.closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET /rest HTTP/1.1\r\nHost: a\r\n" + ending + b"\r\n")
        until_gone(server, lambda: b"")


def until_gone(server: Running, poke: Callable[[], bytes]) -> None:
    """Wait until the server holds no connection any more."""
    deadline = time.monotonic() + PATIENCE_S
    while not server.has_had_connections or server.count_connections():
        assert time.monotonic() < deadline, "still held"
        with contextlib.suppress(ConnectionError):
            poke()
        time.sleep(0.02)


def test_one_address_cannot_have_the_whole_house() -> None:
    """Beyond its part an address is told 429 and when to come again; when it has left there is room again."""
    per_address = OpenConnections(2, find_key=lambda peer: peer)
    with running({"per_address": per_address}, request_timeout_s=5.0) as server:
        with server.connect(), server.connect():
            answer = server.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n")
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b"retry-after: " in answer
        deadline = time.monotonic() + PATIENCE_S
        while not server.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n").startswith(b"HTTP/1.1 200"):
            assert time.monotonic() < deadline
        assert [per_address.enter("127.0.0.1") for _ in range(3)] == [True, True, False]


def test_proxies_and_this_machine_have_no_part() -> None:
    """Those who bring many clients are not bounded, and nothing is left of who has gone."""
    proxies = parse_networks(("10.0.0.0/8",))
    counted = OpenConnections(1, proxies)
    for peer in ("10.1.2.3", "127.0.0.1", "::1", ""):
        assert all(counted.enter(peer) for _ in range(5))
    assert [counted.enter(peer) for peer in ("2001:db8::1", "2001:db8::2", "192.0.2.1")] == [True, False, True]
    for peer in ("10.1.2.3", "127.0.0.1", "::1", "", "2001:db8::1", "192.0.2.1"):
        counted.leave(peer)
    assert len(counted) == 0


# --- bounds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n" + CLOSE + b"\r\n", b"414"),
        (b"GET /?" + b"a=1&" * 2_500 + b" HTTP/1.1\r\n" + CLOSE + b"\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"X: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"X: " + b"a" * 5_000_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"X: 1\r\n" * (MAX_HEADERS + 1) + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"X: " + b"a" * 300 + b"\r\n" + b"Y: 1\r\n" * 5000 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"Cookie: " + b"a=1; " * 4000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + CLOSE + (b"Cookie: " + b"a" * 9000 + b"\r\n") * 2 + b"\r\n", b"431"),
        (b"G" * 70_000, b"400"),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"X" * 70_000, b"431"),
    ],
)
def test_what_is_too_large(web: Running, request_bytes: bytes, status: bytes) -> None:
    """Addresses over 8 KB, heads over the setting, too many headers and cookies are refused unread."""
    before = len(web.seen.paths)
    assert web.ask(request_bytes).startswith(b"HTTP/1.1 " + status)
    assert len(web.seen.paths) == before


def test_what_is_just_not_too_large(web: Running) -> None:
    """At the bounds requests are answered."""
    for request in (
        b"GET /" + b"a" * 8_000 + b" HTTP/1.1\r\n" + CLOSE + b"\r\n",
        b"GET / HTTP/1.1\r\n" + CLOSE + b"X: " + b"a" * 60_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + CLOSE + b"X: 1\r\n" * (MAX_HEADERS - 2) + b"\r\n",
        b"GET / HTTP/1.1\r\n" + CLOSE + b"Cookie: " + b"a" * 16_000 + b"\r\n\r\n",
    ):
        assert web.ask(request).startswith(b"HTTP/1.1 200")


def test_a_full_house() -> None:
    """Beyond the most connections a client is told 503, and others go on."""
    with running(max_connections=2, request_timeout_s=5.0) as server:
        with server.connect(), server.connect():
            assert server.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n").startswith(b"HTTP/1.1 503")
        deadline = time.monotonic() + PATIENCE_S
        answer = b""
        while not answer.startswith(b"HTTP/1.1 200") and time.monotonic() < deadline:
            answer = server.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200")


def test_a_trailer_is_no_header(web: Running) -> None:
    """What stands behind the body cannot add to the head that a proxy has made, nor go on for ever."""
    request = b"POST /headers HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    answer = web.ask(request + b"X-Forwarded-For: 192.0.2.1\r\nCookie: a=1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding" in answer
    assert b"forwarded" not in answer
    assert b"cookie" not in answer
    for endless in (b"X: " + b"a" * 5_000_000, b"X: 1\r\n" * 500_000):
        assert b" 431 " in web.ask(
            request.replace(b"/headers", b"/"), *(endless[at : at + 60_000] for at in range(0, len(endless), 60_000))
        )


def test_many_requests_at_once(web: Running) -> None:
    """Some requests may wait behind an unanswered one, in their order; a flood of them ends the connection."""
    request = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /last HTTP/1.1\r\n" + CLOSE + b"\r\n"
    assert (
        web.ask(b"".join(request % n for n in range(MAX_PIPELINED)) + last).count(b"HTTP/1.1 200") == MAX_PIPELINED + 1
    )
    before = len(web.seen.paths)
    web.ask(b"".join(request % n for n in range(10 * MAX_PIPELINED)))
    assert len(web.seen.paths) - before <= MAX_PIPELINED + 1


# --- shapes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET //evil HTTP/1.1 x\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\x00: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"NOTAMETHOD / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_two_parsers_could_read_differently(web: Running, request_bytes: bytes) -> None:
    """Requests with two ends, no host or two, folded lines or odd bytes are refused, and reach nobody."""
    before = len(web.seen.paths)
    answer = web.ask(request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:80]
    assert answer.count(b"HTTP/1.1") == 1
    assert len(web.seen.paths) == before


def test_a_broken_chunk_ends_a_request_under_way(web: Running) -> None:
    """Where the body breaks after a good head, the endpoint is told that the client is gone, and 400 is answered."""
    before = web.seen.disconnects
    answer = web.ask(b"POST /drain HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    deadline = time.monotonic() + PATIENCE_S
    while web.seen.disconnects == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert web.seen.disconnects == before + 1


def test_a_refused_request_takes_what_follows_it_along(web: Running) -> None:
    """Nothing behind a refused request on the same connection is read."""
    before = len(web.seen.paths)
    bad = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    answer = web.ask(bad + b"GET /smuggled HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert len(web.seen.paths) == before


def test_a_refused_request_behind_unanswered_ones(web: Running, caplog: pytest.LogCaptureFixture) -> None:
    """The answers that were still to come end quietly with the connection: no exception on the server's side."""
    good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for bad in (b"GET / HTTP/1.1\r\n\r\n", b"\x00", b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * (MAX_HEADERS + 9)):
        for count in (1, 2, 5):
            assert web.ask(good * count + bad).count(b"HTTP/1.1") <= count
    assert caplog.records == []


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_client_that_leaves_several_requests_behind(
    web: Running, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    """Every request that is under way or waits hears that the client has gone: nothing is written to nobody."""
    for is_reset in (False, True) * 10:
        with socket.create_connection(("127.0.0.1", web.port), PATIENCE_S) as connection:
            if is_reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(b"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" * count)
            if not is_reset:
                connection.shutdown(socket.SHUT_WR)
    assert web.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
    assert caplog.records == []


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a good nor a bad request leaves a line with its path, query or address."""
    with caplog.at_level(logging.DEBUG), running() as server:
        server.ask(b"GET /canary-path?canary=1 HTTP/1.1\r\n" + CLOSE + b"\r\n")
        server.ask(b"GET /canary-path?canary=1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        server.ask(b"GET /canary-path?canary=1 HTT")
        server.ask(b"GET /canary HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    text = " ".join(record.getMessage() for record in caplog.records)
    assert "canary" not in text
    assert "Invalid" not in text
    assert "pgrade" not in text
