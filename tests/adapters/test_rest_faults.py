"""REST before a server that hangs, drips, breaks, lies or leads astray: a reason each time, within bounds."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import time
import tracemalloc
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpcore
import pytest
import uvloop

from collector.adapters.address_guard import RESOLVED_S
from collector.adapters.contract import Record
from collector.adapters.rest_connections import MAX_CONNECTIONS
from collector.errors import AdapterError, AdapterReason
from tests.adapters.certificates import make_authority, make_server_context
from tests.adapters.faulty_server import FaultyServer, Request, by_path, give, hang, one_after_another, write_raw
from tests.adapters.rest_source import ALL, HOST, LONG_S, ask, find_reason, gather_all, make_adapter, serve
from tests.adapters.virtual_time import wait_until

SHORT_S = 0.15
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MAX_BYTES = 10_000


@pytest.mark.parametrize(
    "respond",
    [
        hang,
        write_raw(b"HTTP/1.1 200 OK\r\n", pause_s=60),
        write_raw(HEAD + b"Content-Length: 100\r\n\r\n", *([b" "] * 90), pause_s=0.01),
        write_raw(*([b"HTTP/1.1 100 Continue\r\n\r\n"] * 90), pause_s=0.01),
    ],
    ids=["hangs", "hangs in its head", "drips", "drips heads"],
)
def test_it_ends_in_time(respond: Any) -> None:
    """Though every single byte of a slow one comes soon enough."""
    assert find_reason(FaultyServer(respond), deadline_s=SHORT_S) is AdapterReason.TIMEOUT


@pytest.mark.parametrize(
    "respond",
    [
        write_raw(reset=True),
        write_raw(),
        write_raw(b"HTTP/1.1 2", reset=True),
        write_raw(HEAD + b"Content-Length: 100\r\n\r\n{"),
        write_raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\r\n"),
        write_raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        write_raw(b"\x16\x03\x01\x00\xff"),
        write_raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"),
        write_raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2_000_000),
    ],
    ids=["reset", "closed", "reset in head", "short", "bad chunk", "ssh", "tls", "length", "endless head"],
)
def test_a_broken_connection(respond: Any) -> None:
    """And whatever does not speak HTTP."""
    assert find_reason(FaultyServer(respond)) is AdapterReason.UNREACHABLE


def test_nobody_listens() -> None:
    async def story() -> AdapterReason:
        server = FaultyServer()
        adapter = make_adapter(await server.start())
        await server.stop()
        with pytest.raises(AdapterError) as caught:
            await adapter.retrieve("7", ALL, LONG_S)
        await adapter.close()
        return caught.value.reason

    assert asyncio.run(story()) is AdapterReason.UNREACHABLE


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        *((status, "bad_answer") for status in (201, 202, 206, 301, 302, 303, 304, 307, 308, 400, 405, 500, 501, 599)),
        *((status, "refused") for status in (401, 403, 407)),
        *((status, "unreachable") for status in (502, 503)),
        *((status, "timeout") for status in (408, 504)),
        (429, "rate"),
    ],
)
def test_a_status_is_a_reason(status: int, reason: str) -> None:
    """And no body of such an answer is a record."""
    assert find_reason(FaultyServer(give({"name": "Ada"}, status))) == reason


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "least_s", "most_s"),
    [
        ("7", 7, 7),
        (formatdate(time.time() + 3_600, usegmt=True), 1_000, 3_600),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0),
        ("9" * 400, 1, 1e9),
    ],
    ids=["seconds", "date", "word", "negative", "past", "huge"],
)
def test_when_to_come_again(status: int, said: str, least_s: float, most_s: float) -> None:
    """As the server says it, in seconds or as a date."""
    with pytest.raises(AdapterError) as caught:
        ask(FaultyServer(give({}, status, retry_after=said)))
    assert caught.value.reason is AdapterReason.RATE
    assert least_s <= caught.value.retry_after_s <= most_s


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest/meta-data/", "/api/customers/8", "//169.254.169.254/", "file:///etc"]
)
def test_no_redirect_is_followed(status: int, location: str) -> None:
    """Not to a metadata service, and not on the same server either."""
    server = FaultyServer(give({}, status, location=location))
    assert find_reason(server) is AdapterReason.BAD_ANSWER
    assert [request.target for request in server.requests] == ["/api/customers/7"]


async def flood(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b" " * 4_096 + b"\r\n")
        await writer.drain()


BOMB = gzip.compress(b'"' + b" " * 50_000_000 + b'"')


@pytest.mark.parametrize(
    "respond",
    [
        flood,
        write_raw(HEAD + b"Content-Length: 10000000000\r\n\r\n", pause_s=60),
        write_raw(HEAD + b"\r\n", b" " * 1_000_000),
        give(body=b'"' + b"x" * MAX_BYTES + b'"'),
        give(body=BOMB[:MAX_BYTES], content_encoding="gzip"),
        give(body=gzip.compress(b'"' + b"x" * MAX_BYTES + b'"'), content_encoding="gzip"),
    ],
    ids=["endless", "said", "until closed", "a little", "bomb", "packed"],
)
def test_what_is_too_large_is_not_read(respond: Any) -> None:
    """As it is sent, and as it is unpacked."""
    assert find_reason(FaultyServer(respond), max_bytes=MAX_BYTES) is AdapterReason.BAD_ANSWER


def test_what_is_just_small_enough_is_read() -> None:
    body = b'"' + b"x" * (MAX_BYTES - 2) + b'"'
    for respond in (give(body=body), give(body=gzip.compress(body), content_encoding="gzip")):
        assert ask(FaultyServer(respond), max_bytes=MAX_BYTES, map=dict.fromkeys(ALL, "@")) is not None


@pytest.mark.parametrize(
    "respond",
    [
        give(body=b"{"),
        give(body=b""),
        give(body=b"[" * 100_000),
        give(body=b'{"name": "\xff"}'),
        give(body=b'{"name": NaN}'),
        give(body=b"<html>Ada</html>"),
        give({"name": "Ada"}, content_type="text/html"),
        give({"name": "Ada"}, content_type="application/jsonp"),
        give({"name": "Ada"}, content_type=""),
        give({"name": "Ada"}, content_encoding="br"),
        give({"name": "Ada"}, content_encoding="gzip, gzip"),
        give({"name": "Ada"}, content_encoding="gzip"),
        give(body=gzip.compress(b'{"name": "Ada"}')[:-9], content_encoding="gzip"),
        give(body=gzip.compress(b'{"name": "Ada"}') + b"more", content_encoding="gzip"),
    ],
)
def test_what_is_no_json_is_a_bad_answer(respond: Any) -> None:
    """Whatever it says it is, or is without saying so."""
    assert find_reason(FaultyServer(respond)) is AdapterReason.BAD_ANSWER


def test_no_cookie_comes_from_one_question_into_the_next() -> None:
    """A session of one person's would answer for another."""

    async def story() -> None:
        server = FaultyServer(give({"name": "Ada"}, set_cookie="session=7; Path=/"))
        async with serve(server) as adapter:
            await adapter.retrieve("7", ALL, LONG_S)
            await adapter.retrieve("8", ALL, LONG_S)
        assert server.connections == 1
        assert "cookie" not in server.requests[1].headers

    asyncio.run(story())


def test_the_environment_leads_nowhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy and no netrc of it."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text(f"machine {HOST} login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = FaultyServer()
    assert ask(server) == Record("7", {"name": "Ada"})
    assert "authorization" not in server.requests[0].headers


def test_only_judged_addresses_are_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """No one else asks a resolver: what it would say a moment later does not count."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the name was resolved again")

    async def story() -> None:
        server = FaultyServer()
        async with serve(server) as adapter:
            monkeypatch.setattr("socket.getaddrinfo", never)
            monkeypatch.setattr("socket.gethostbyname", never)
            assert await adapter.retrieve("7", ALL, LONG_S)
            server.respond = write_raw(reset=True)
            with pytest.raises(AdapterError):
                await adapter.retrieve("7", ALL, LONG_S)
            server.respond = give({"name": "Ada"})
            assert await adapter.retrieve("7", ALL, LONG_S)
        assert server.connections == 2

    asyncio.run(story())


@pytest.mark.parametrize("second", ["10.0.0.1", "169.254.169.254", "::1"])
def test_a_name_that_is_bound_anew_leads_nowhere(second: str) -> None:
    """The second answer of the resolver is an address inside: nothing is sent, not even on what is open."""

    async def story() -> None:
        answers, now_s = [["127.0.0.1"], [second]], 0.0
        server = FaultyServer()
        async with serve(server, resolve=lambda _, __: answers.pop(0), clock=lambda: now_s) as adapter:
            assert await adapter.retrieve("7", ALL, LONG_S)
            now_s = RESOLVED_S + 1
            with pytest.raises(AdapterError) as caught:
                await adapter.retrieve("7", ALL, LONG_S)
        assert caught.value.reason is AdapterReason.CONFIG
        assert len(server.requests) == 1

    asyncio.run(story())


@pytest.mark.parametrize("networks", [[], ["10.0.0.0/8"], ["127.0.0.2/32"]])
def test_addresses_inside_need_to_be_allowed(networks: list[str]) -> None:
    server = FaultyServer()
    assert find_reason(server, allow_networks=networks) is AdapterReason.CONFIG
    assert server.connections == 0


def test_a_machine_that_is_gone_does_not_take_the_others_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next address is asked; from then on it is the first."""
    connected = []
    connect = httpcore.AnyIOBackend.connect_tcp

    async def note(self: Any, host: str, *rest: Any, **more: Any) -> Any:
        connected.append(host)
        return await connect(self, host, *rest, **more)

    async def story() -> None:
        server = FaultyServer(give({"name": "Ada"}, connection="close"))
        async with serve(server, resolve=lambda _, __: ["127.0.0.2", "127.0.0.1"]) as adapter:
            for _ in range(3):
                assert await adapter.retrieve("7", ALL, LONG_S)

    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", note)
    asyncio.run(story())
    assert connected == ["127.0.0.2", "127.0.0.1", "127.0.0.1", "127.0.0.1"]


def test_a_connection_to_where_the_name_no_longer_leads_is_not_used() -> None:
    """Though it is open, and the new address may be reached."""

    async def story() -> None:
        answers, now_s = [["127.0.0.1"], ["127.0.0.2"]], 0.0
        server = FaultyServer()
        async with serve(server, resolve=lambda _, __: answers.pop(0), clock=lambda: now_s) as adapter:
            assert await adapter.retrieve("7", ALL, LONG_S)
            now_s = RESOLVED_S + 1
            with pytest.raises(AdapterError):
                await adapter.retrieve("7", ALL, LONG_S)
        assert len(server.requests) == 1

    asyncio.run(story())


def test_a_connection_that_the_server_has_closed_is_not_used() -> None:
    """Servers close what nobody uses: no question is lost by it."""
    body = b'{"name": "Ada"}'
    last = write_raw(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def story() -> None:
        server = FaultyServer(last)
        async with serve(server) as adapter:
            for _ in range(3):
                assert await adapter.retrieve("7", ALL, LONG_S)
                await asyncio.sleep(0.05)
        assert server.connections == 3

    asyncio.run(story())


def test_a_bomb_is_not_unpacked() -> None:
    """No more of it than may be there: ten megabytes of nothing in ten kilobytes."""
    tracemalloc.start()
    try:
        find_reason(FaultyServer(give(body=BOMB[:MAX_BYTES], content_encoding="gzip")), max_bytes=MAX_BYTES)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_hanging_requests_give_their_connections_back(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """More than there are, again and again; afterwards it answers."""

    async def story() -> None:
        server = FaultyServer(hang)
        async with serve(server) as adapter:
            for _ in range(2):
                ended = await gather_all(
                    *(adapter.retrieve(str(number), ALL, SHORT_S) for number in range(2 * MAX_CONNECTIONS))
                )
                assert {error.reason for error in ended} == {AdapterReason.TIMEOUT}
            assert server.connections <= 4 * MAX_CONNECTIONS
            server.respond = give({"name": "Ada"})
            assert await adapter.retrieve("7", ALL, LONG_S)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(story())


def test_two_answers_to_one_question_are_one() -> None:
    """The second is not the next one's."""
    two = json.dumps({"name": "Ada"}).encode(), json.dumps({"name": "Eve"}).encode()
    raw = b"".join(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body for body in two)

    async def give_two(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    async def story() -> None:
        server = FaultyServer(one_after_another(give_two, give({"name": "Grace"})))
        async with serve(server) as adapter:
            records = [await adapter.retrieve(key, ALL, LONG_S) for key in ("7", "8")]
        assert [record and record.values["name"] for record in records] == ["Ada", "Grace"]

    asyncio.run(story())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_handshake_that_is_given_up_gives_its_connection_back(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A server that takes connections and says nothing about TLS: whether we or the time end it."""

    async def story() -> None:
        open_now = 0

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal open_now
            open_now += 1
            while await reader.read(1_000):
                pass
            open_now -= 1
            writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        adapter = make_adapter(port, base_url=f"https://{HOST}:{port}")
        for _ in range(3):
            ended = await gather_all(*(adapter.retrieve("7", ALL, SHORT_S) for _ in range(MAX_CONNECTIONS)))
            assert {error.reason for error in ended} == {AdapterReason.TIMEOUT}
            tasks = [asyncio.create_task(adapter.retrieve("7", ALL, LONG_S)) for _ in range(MAX_CONNECTIONS)]
            await asyncio.sleep(SHORT_S)
            for task in tasks:
                task.cancel()
            await gather_all(*tasks)

        async def is_over() -> bool:
            return open_now == 0

        await wait_until(is_over)
        await adapter.close()
        server.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(story())


def test_no_more_connections_than_allowed() -> None:
    """However many ask at once."""
    most, open_now = 0, 0

    async def count(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal most, open_now
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.01)
        open_now -= 1
        await give({"name": "Ada"})(request, writer)

    async def story() -> None:
        async with serve(FaultyServer(count)) as adapter:
            await asyncio.gather(*(adapter.retrieve(str(number), ALL, LONG_S) for number in range(60)))

    asyncio.run(story())
    assert 1 < most <= MAX_CONNECTIONS


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """No key and no answer, from the libraries either."""
    caplog.set_level("INFO")
    ask(FaultyServer(), key="ada@example.org")
    find_reason(FaultyServer(write_raw(reset=True)), key="ada@example.org")
    assert "ada@" not in caplog.text


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, ssl.SSLContext]]:
    folder = tmp_path_factory.mktemp("certificates")
    made = make_authority(folder)
    return lambda name: (made.path, make_server_context(made, name, folder))


def ask_by_tls(context: ssl.SSLContext, **settings: Any) -> tuple[FaultyServer, Record | None]:
    async def story() -> tuple[FaultyServer, Record | None]:
        server = FaultyServer()
        port = await server.start(context)
        adapter = make_adapter(port, **{"base_url": f"https://{HOST}:{port}", **settings})
        try:
            return server, await adapter.retrieve("7", ALL, LONG_S)
        finally:
            await adapter.close()
            await server.stop()

    return asyncio.run(story())


def test_tls_is_with_the_name_and_not_with_the_address(authority: Any) -> None:
    """The certificate is the name's, the handshake asks for it, and so does the Host header."""
    path, context = authority(HOST)
    server, record = ask_by_tls(context, ca_file=str(path))
    assert record == Record("7", {"name": "Ada"})
    assert server.server_names == [HOST]
    assert server.requests[0].headers["host"].startswith(f"{HOST}:")


@pytest.mark.parametrize(("name", "is_trusted"), [("other.test", True), ("127.0.0.1", True), (HOST, False)])
def test_a_certificate_of_another_is_not_accepted(authority: Any, name: str, is_trusted: bool) -> None:
    """Nor one that nobody has vouched for. The address it has is not what was asked for."""
    path, context = authority(name)
    with pytest.raises(AdapterError) as caught:
        ask_by_tls(context, **({"ca_file": str(path)} if is_trusted else {}))
    assert caught.value.reason is AdapterReason.UNREACHABLE


def test_another_server_of_the_same_name_is_not_confused() -> None:
    """Answers of two requests on one connection stay apart."""

    async def story() -> None:
        server = FaultyServer(by_path(**{"7": give({"name": "Ada"}), "8": give({"name": "Grace"}), "9": give([], 404)}))
        async with serve(server) as adapter:
            names = [
                record and record.values["name"]
                for record in [await adapter.retrieve(key, ALL, LONG_S) for key in ("7", "9", "8", "7")]
            ]
        assert names == ["Ada", None, "Grace", "Ada"]

    asyncio.run(story())


def test_after_a_timeout_no_late_answer_is_somebody_elses() -> None:
    """The connection on which it was asked is gone."""

    async def late(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * SHORT_S)
        await give({"name": "late"})(request, writer)

    async def story() -> None:
        server = FaultyServer(one_after_another(late, give({"name": "Grace"})))
        async with serve(server) as adapter:
            with pytest.raises(AdapterError):
                await adapter.retrieve("7", ALL, SHORT_S)
            record = await adapter.retrieve("8", ALL, LONG_S)
            assert record == Record("8", {"name": "Grace"})
        assert server.connections == 2

    asyncio.run(story())
