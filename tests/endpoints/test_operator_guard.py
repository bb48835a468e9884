"""The operator's pages open on this machine and to holders of the key, and to nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from collector.endpoints.guard import KEY_HEADER, OperatorGuard
from collector.keyring import Keyring, make_keyring
from tests.console.asgi_client import AsgiClient

ELSEWHERE = ("203.0.113.9", 50000)


async def _secret(_: Request) -> Response:
    return PlainTextResponse("secret")


def _client(
    keyring: Keyring, client: tuple[str, int] = ("127.0.0.1", 50000), base_url: str = "http://localhost:8000"
) -> AsgiClient:
    app = Starlette(routes=[Route("/metrics", OperatorGuard(keyring).protect(_secret))])
    return AsgiClient(app, base_url=base_url, client=client, follow_redirects=False)


@pytest.mark.parametrize(
    ("address", "base_url"),
    [
        ("127.0.0.1", "http://localhost:8000"),
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("127.8.0.1", "http://shop.localhost:8000"),
        ("::1", "http://[::1]:8000"),
        ("::ffff:127.0.0.1", "http://localhost:8000"),
    ],
)
def test_this_machine_needs_no_key(address: str, base_url: str) -> None:
    """A loopback connection to a loopback name goes through."""
    assert _client(make_keyring(), (address, 1), base_url).get("/metrics").text == "secret"


@pytest.mark.parametrize("address", ["203.0.113.9", "10.0.0.5", "2001:db8::1", "testclient"])
def test_another_machine_is_refused(address: str) -> None:
    """Without a key another machine gets 403 and nothing of the page."""
    answer = _client(make_keyring(), (address, 1)).get("/metrics")
    assert answer.status_code == 403
    assert "secret\n" not in answer.text
    assert answer.text != "secret"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "mark",
    [
        *("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded"),
        *("CF-Connecting-IP", "True-Client-IP", "X-Client-IP", "X-Original-Host", "X-Envoy-External-Address"),
    ],
)
def test_a_proxy_on_this_machine_does_not_open_the_pages(mark: str) -> None:
    """A request that a proxy has passed on counts as from elsewhere, though it comes from 127.0.0.1."""
    assert _client(make_keyring()).get("/metrics", headers={mark: "127.0.0.1"}).status_code == 403


def test_a_rebound_name_is_refused() -> None:
    """A page of somebody else whose name now leads to 127.0.0.1 reads nothing."""
    assert _client(make_keyring(), base_url="http://evil.example:8000").get("/metrics").status_code == 403


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            "evil.example#@localhost",
            "evil.example?@localhost",
            "evil.example/@localhost",
            "a@localhost",
            "localhost:x",
        ),
        *(
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "[::1",
            "localhost, evil.example",
            "\\@localhost",
        ),
    ],
)
def test_a_host_that_could_be_read_in_two_ways_is_refused(host: str) -> None:
    """Only a plain loopback name or address, with or without a port, names this machine."""
    assert _client(make_keyring()).get("/metrics", headers={"Host": host}).status_code == 403


def test_a_proxy_without_marks_does_not_open_the_pages() -> None:
    """nginx with nothing but `proxy_pass` says our own host and port, and HTTP/1.0."""
    app = Starlette(routes=[Route("/metrics", OperatorGuard(make_keyring()).protect(_secret))])

    async def as_http_1_0(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "http_version": "1.0"}, receive, send)

    client = AsgiClient(as_http_1_0, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 50000))
    assert client.get("/metrics").status_code == 403


def test_the_key_in_a_header_opens() -> None:
    """The header with the key works from anywhere; a wrong, empty or foreign-alphabet one does not."""
    keyring = make_keyring()
    client = _client(keyring, ELSEWHERE)
    assert client.get("/metrics", headers={KEY_HEADER: keyring.operator_key}).text == "secret"
    for wrong in ("", keyring.operator_key[:-1], keyring.operator_key + "x", "schlüssel".encode("latin-1")):
        assert client.get("/metrics", headers={KEY_HEADER: wrong}).status_code == 403


def test_the_key_in_the_address_becomes_a_cookie() -> None:
    """`?key=` is answered with a redirect without it and an HttpOnly cookie that is not the key; the cookie opens."""
    keyring = make_keyring()
    client = _client(keyring, ELSEWHERE)
    answer = client.get(f"/metrics?a=1&key={keyring.operator_key}&b=%26")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/metrics?a=1&b=%26"
    assert answer.headers["referrer-policy"] == "no-referrer"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    assert keyring.operator_key not in cookie
    assert client.get("/metrics").text == "secret"
    assert _client(keyring, ELSEWHERE).get("/metrics?key=wrong").status_code == 403


def test_over_https_the_cookie_is_bound_to_the_host() -> None:
    """Over HTTPS the cookie is Secure and carries the __Host- prefix."""
    keyring = make_keyring()
    client = _client(keyring, ELSEWHERE, "https://shop.example")
    cookie = client.get(f"/metrics?key={keyring.operator_key}").headers["set-cookie"]
    assert cookie.startswith("__Host-ts_operator=")
    assert "Secure" in cookie
    assert "Path=/" in cookie


def test_a_cookie_of_another_instance_or_a_changed_one_is_refused() -> None:
    """The cookie is signed with this instance's key."""
    ours, theirs = make_keyring(), make_keyring()
    client = _client(theirs, ELSEWHERE)
    client.get(f"/metrics?key={theirs.operator_key}")
    value = client.cookies["ts_operator"]
    for wrong in (value, value[:-2], "operator", value + "." + value, "x" * 5000):
        answer = _client(ours, ELSEWHERE).get("/metrics", headers={"Cookie": f"ts_operator={wrong}"})
        assert answer.status_code == 403


def test_the_redirect_stays_on_this_host() -> None:
    """A path with two slashes in front cannot lead the redirect to another host."""
    keyring = make_keyring()

    app = Starlette(routes=[Route("/{path:path}", OperatorGuard(keyring).protect(_secret))])
    client = AsgiClient(app, base_url="http://localhost", client=ELSEWHERE, follow_redirects=False)
    answer = client.get(f"http://localhost//evil.example/?key={keyring.operator_key}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/evil.example/"
