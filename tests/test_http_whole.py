"""Requests that come whole: taken without ASGI, answered in one write, and the usual way for everything that is not."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import uvicorn

from collector.config import Config
from collector.endpoints.plain import Answer, WholeRequest
from collector.http_whole import make_whole_protocol
from collector.metrics import read_totals

PATIENCE_S = 20.0
BODY = b"0123456789"


@dataclass
class Taken:
    """What came by which way, and how it is answered."""

    port: int = 0
    whole: list[bytes] = field(default_factory=list)
    usual: list[bytes] = field(default_factory=list)
    requests: list[WholeRequest] = field(default_factory=list)
    take: Callable[[WholeRequest], None] = lambda request: request.answer(Answer(204, [(b"x-way", b"whole")]))


def make_request(body: bytes = BODY, path: str = "/x/b", *lines: str, method: str = "POST") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: shop.example", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


@contextlib.contextmanager
def running(**settings: float) -> Iterator[Taken]:
    """Run a real uvicorn with our protocol on a free port."""
    taken = Taken()

    def take(request: WholeRequest) -> None:
        taken.whole.append(request.body)
        taken.requests.append(request)
        taken.take(request)

    async def app(scope: dict, receive: Callable, send: Callable) -> None:  # type: ignore[type-arg]
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                taken.usual.append(body)
                await send({"type": "http.response.start", "status": 204, "headers": [(b"x-way", b"usual")]})
                await send({"type": "http.response.body", "body": b""})
                return

    protocol = make_whole_protocol(Config(**{"request_timeout_s": 0.5, **settings}), "/x/b", take)  # type: ignore[arg-type]
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    taken.port = listener.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            app, http=protocol, loop="uvloop", ws="none", lifespan="off", log_config=None, timeout_keep_alive=1
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield taken
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(PATIENCE_S)
        listener.close()
    assert not thread.is_alive()


@pytest.fixture
def web() -> Iterator[Taken]:
    with running() as taken:
        yield taken


@contextlib.contextmanager
def connected(web: Taken) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def read_answers(connection: socket.socket, count: int) -> list[bytes]:
    """Read so many answers without a body."""
    data = b""
    while data.count(b"\r\n\r\n") < count:
        chunk = connection.recv(65_536)
        assert chunk, data
        data += chunk
    return data.split(b"\r\n\r\n")[:count]


def wait_until(is_true: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def find_ways(answers: list[bytes]) -> list[str]:
    return [answer.rpartition(b"x-way: ")[2].partition(b"\r\n")[0].decode() for answer in answers]


def test_a_whole_request_is_taken_and_the_connection_used_again(web: Taken) -> None:
    """Head and body in one piece go the short way, one after the other, each answered with a date and no length."""
    with connected(web) as connection:
        for number in range(3):
            connection.sendall(make_request(b"%d" % number))
            [answer] = read_answers(connection, 1)
            assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
            assert b"\r\ndate: " in answer
            assert b"content-length" not in answer
    assert (web.whole, web.usual) == ([b"0", b"1", b"2"], [])
    assert (web.requests[0].peer, web.requests[0].secure) == ("127.0.0.1", False)
    assert web.requests[0].named[b"host"] == b"shop.example"


@pytest.mark.parametrize(
    "data",
    [
        make_request(path="/x/other"),
        make_request(path="/x/b?q=1"),
        make_request(method="PUT"),
        make_request(BODY, "/x/b", "Expect: 100-continue"),
        make_request(BODY, "/x/b", "Connection: Upgrade", "Upgrade: h2c"),
        b"POST /x/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
        b"POST /x/b HTTP/1.0\r\nContent-Length: 10\r\n\r\n0123456789",
    ],
    ids=["path", "query", "method", "expect", "upgrade", "chunks", "http 1.0"],
)
def test_what_is_not_that_simple_goes_the_usual_way(web: Taken, data: bytes) -> None:
    """Other paths and methods, and whatever has a course of its own, are ASGI's."""
    with connected(web) as connection:
        connection.sendall(data)
        wait_until(lambda: bool(web.usual))
    assert web.whole == []
    assert web.usual == ([b""] if b"Upgrade" in data else [BODY])  # behind an upgrade there is another protocol


@pytest.mark.parametrize("cut", [1, 20, 60, len(make_request()) - len(BODY), len(make_request()) - 3])
def test_a_request_in_two_pieces_arrives_whole(web: Taken, cut: int) -> None:
    """Wherever it is cut, the body is complete and the answer right; with the head alone it goes the usual way."""
    data = make_request()
    with connected(web) as connection:
        for number in (1, 2):
            connection.sendall(data[:cut])
            time.sleep(0.05)  # so that the two pieces are read apart
            connection.sendall(data[cut:])
            read_answers(connection, 1)
            assert web.whole + web.usual == [BODY] * number
    assert len(web.usual) == (2 if cut >= len(data) - len(BODY) else 0)


def test_half_a_body_has_its_deadline(web: Taken) -> None:
    """A body that stops coming is cut off as any other."""
    with connected(web) as connection:
        connection.sendall(make_request())
        read_answers(connection, 1)
        connection.sendall(make_request()[:-3])
        answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 408 ")
    assert len(web.whole) == 1


def test_requests_in_one_piece_are_answered_in_order(web: Taken) -> None:
    """The first is taken, those behind it wait for its answer, and none is lost."""
    with connected(web) as connection:
        connection.sendall(b"".join(make_request(b"%d" % number) for number in range(5)))
        ways = find_ways(read_answers(connection, 5))
        assert ways == ["whole", "usual", "usual", "usual", "usual"]
        connection.sendall(make_request(b"5"))
        assert find_ways(read_answers(connection, 1)) == ["whole"]
    assert (web.whole, web.usual) == ([b"0", b"5"], [b"1", b"2", b"3", b"4"])


def test_an_answer_that_comes_later(web: Taken) -> None:
    """The answer may be given from a later round of the loop; a request that came meanwhile waits for it."""
    waiting: list[WholeRequest] = []
    web.take = waiting.append
    with connected(web) as connection:
        connection.sendall(make_request(b"first"))
        wait_until(lambda: bool(waiting))
        connection.sendall(make_request(b"second"))
        loop = waiting[0]._protocol.loop  # type: ignore[attr-defined]
        loop.call_soon_threadsafe(waiting[0].answer, Answer(200, [(b"x-way", b"whole")], b"{}"))
        answers = read_answers(connection, 2)
        assert b"content-length: 2" in answers[0]
        assert find_ways(answers) == ["whole", "usual"]


def test_a_client_that_leaves_is_not_answered(web: Taken) -> None:
    """An answer to nobody is dropped, and an answer is given once."""
    waiting: list[WholeRequest] = []
    web.take = waiting.append
    with connected(web) as connection:
        connection.sendall(make_request())
        wait_until(lambda: bool(waiting))
    wait_until(lambda: waiting[0].disconnected)  # type: ignore[attr-defined]
    waiting[0].answer(Answer(204, []))
    web.take = Taken().take
    with connected(web) as connection:
        connection.sendall(make_request())
        assert find_ways(read_answers(connection, 1)) == ["whole"]
        web.requests[-1].answer(Answer(200, []))
        connection.sendall(make_request())
        assert find_ways(read_answers(connection, 1)) == ["whole"]


def test_a_refused_request_behind_a_whole_one_ends_both(web: Taken) -> None:
    """One answer, the refusal; what was taken in the same piece is not taken, and counted as nobody's."""
    before = read_totals().counters.get("edge_requests", {}).get("disconnected", 0)
    with connected(web) as connection:
        connection.sendall(make_request() + b"NONSENSE\r\n\r\n")
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert web.whole == []
    assert read_totals().counters["edge_requests"]["disconnected"] == before + 1


@pytest.mark.parametrize("close", ["Connection: close", "connection: Close"])
def test_a_last_request_closes(web: Taken, close: str) -> None:
    """Who asks for it is answered with the connection's end."""
    with connected(web) as connection:
        connection.sendall(make_request(BODY, "/x/b", close))
        [answer] = read_answers(connection, 1)
        assert b"\r\nconnection: close" in answer
        assert connection.recv(1) == b""
    assert web.whole == [BODY]


def test_an_answer_may_close(web: Taken) -> None:
    """An answer with `connection: close` ends the connection, and says so once."""
    web.take = lambda request: request.answer(Answer(413, [(b"connection", b"close")], b"{}"))
    with connected(web) as connection:
        connection.sendall(make_request())
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    assert answer.count(b"connection: close") == 1
    assert answer.endswith(b"content-length: 2\r\n\r\n{}")


def test_an_idle_connection_is_closed(web: Taken) -> None:
    """After a whole request a connection lives as long without another as after any other."""
    with connected(web) as connection:
        for _ in range(2):
            connection.sendall(make_request())
            read_answers(connection, 1)
        assert connection.recv(1) == b""


def test_a_fault_of_ours_is_a_500_and_no_refusal(
    web: Taken, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client keeps its events where the fault is ours: it is not told that its request was malformed."""
    # Whoever has set up logging in this process before may have taken this logger off the root.
    logger = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    monkeypatch.setattr(logger, "disabled", False)
    caplog.set_level(logging.ERROR, logger.name)

    def fail(request: WholeRequest) -> None:
        raise RuntimeError("a fault")

    web.take = fail
    with connected(web) as connection:
        connection.sendall(make_request())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 500 ")
        assert connection.recv(1) == b""
    assert "a fault" in caplog.text


def test_a_head_over_the_bound_is_refused() -> None:
    """The bounds on heads hold for whole requests."""
    with running(max_header_bytes=4096) as web, connected(web) as connection:
        connection.sendall(make_request(BODY, "/x/b", *(f"X-{number}: {'y' * 100}" for number in range(60))))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 431 ")
        assert web.whole == []
