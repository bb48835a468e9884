"""One try against receivers with faults: what counts as taken, what does not, and what is never done."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.errors import ConfigError
from collector.webhooks.posting import Outcome, Poster
from collector.webhooks.signing import parse_secret
from tests.adapters.certificates import make_authority, make_server_context
from tests.adapters.faulty_server import FaultyServer, Respond, give, hang, one_after_another, write_raw
from tests.webhooks.receiver import SECRET, check, make_webhook

KEYS = [parse_secret(SECRET)]
BODY = b'{"type":"audience.entered"}'
HEAD = b"HTTP/1.1 200 Fine\r\ncontent-length: 100\r\n\r\n"


def post(respond: Respond, times: int = 1, **settings: Any) -> tuple[list[Outcome], FaultyServer]:
    """Post to a receiver that answers so."""

    async def play() -> tuple[list[Outcome], FaultyServer]:
        server = FaultyServer(respond)
        port = await server.start()
        webhook = make_webhook(f"http://127.0.0.1:{port}/hook?a=1", **{"timeout_s": 0.3, **settings})["mailing"]
        poster = Poster(webhook, KEYS)
        try:
            return [await poster.post(f"id-{number}", BODY) for number in range(times)], server
        finally:
            await poster.close()
            await server.stop()

    return asyncio.run(play())


def test_taken() -> None:
    """Any 2xx; the connection is used again; what came is signed, and what came back is there to be shown."""
    outcomes, server = post(one_after_another(give({"ok": True}), give(None, 204, b"", content_length="")), 2)
    assert [outcome.is_taken for outcome in outcomes] == [True, True]
    assert outcomes[0].said == b'{"ok": true}'
    assert server.connections == 1
    assert [check(request)["type"] for request in server.requests] == ["audience.entered"] * 2
    assert server.requests[0].target == "/hook?a=1"


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (give({}, 500), "status 500"),
        (give({}, 404), "status 404"),
        (give({}, 302, location="http://127.0.0.1:9/"), "redirects are not followed"),
        (hang, "no answer within 0.3 s"),
        (write_raw(b"HTTP/1.1 2"), "no answer"),
        (write_raw(b"", reset=True), "no answer"),
        (write_raw(b"SSH-2.0-OpenSSH\r\n"), "no answer"),
        (write_raw(*[b"HTTP/1.1 200 Fine\r\n", b"a: b\r\n"] * 9, pause_s=0.1), "no answer within"),
    ],
)
def test_not_taken(respond: Respond, reason: str) -> None:
    """An error, a redirect, a hang, half a head, a reset, another protocol, a slow one: tried again later."""
    (outcome,), server = post(respond)
    assert not outcome.is_taken
    assert not outcome.is_gone
    assert reason in outcome.reason
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "respond", [write_raw(HEAD + b"half"), write_raw(HEAD, b"x", pause_s=1), give(None, 200, b"x" * 1_000_000)]
)
def test_the_status_counts(respond: Respond) -> None:
    """Who says 200 and closes half-way, never ends or does not stop talking, has it."""
    (outcome,), _ = post(respond)
    assert outcome.is_taken
    assert len(outcome.said) <= 65_536


def test_gone() -> None:
    """410 says that nothing is wanted any more."""
    (outcome,), _ = post(give({}, 410))
    assert outcome.is_gone


@pytest.mark.parametrize(
    ("status", "text", "fits"),
    [
        (429, "7", lambda s: s == 7),
        (503, "in 90 s", lambda s: 60 < s <= 91),
        (503, "999999999999999", lambda s: s == 86_400),
        (503, "soon", lambda s: s == 0),
        (503, "-5", lambda s: s == 0),
        (500, "7", lambda s: s == 0),
    ],
)
def test_retry_after(status: int, text: str, fits: Callable[[float], bool]) -> None:
    """Seconds or a date, of 429 and 503, a day at most; what makes no sense is none."""
    if text == "in 90 s":
        text = email.utils.formatdate(time.time() + 90, usegmt=True)
    (outcome,), _ = post(give({}, status, retry_after=text))
    assert fits(outcome.retry_after_s)


def test_names_that_lead_inside_are_refused() -> None:
    """Whatever a name is resolved to is judged before anything is sent."""

    async def play(url: str, address: str, **settings: Any) -> Outcome:
        webhook = make_webhook(url, **{"allow_private": False, "timeout_s": 0.5, **settings})["mailing"]
        poster = Poster(webhook, KEYS, resolve=lambda *_: [address])
        try:
            return await poster.post("id", BODY)
        finally:
            await poster.close()

    for address in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "::1"):
        assert "not a public one" in asyncio.run(play("https://mail.example/", address)).reason
    metadata = asyncio.run(play("http://mail.example/", "169.254.169.254", allow_private=True))
    assert "not a public one" in metadata.reason
    public = asyncio.run(play("http://mail.example/", "93.184.216.34", allow_private=True))
    assert "not a public one" in public.reason or "encryption" in public.reason


def test_tls(tmp_path: Path) -> None:
    """Over TLS with an authority of one's own, and not with another one; a file without certificates is named."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    authority = make_authority(mine)
    make_authority(other)

    async def play(ca_file: Path) -> Outcome:
        server = FaultyServer(give({}))
        port = await server.start(make_server_context(authority, "127.0.0.1", tmp_path))
        poster = Poster(make_webhook(f"https://127.0.0.1:{port}/", ca_file=str(ca_file))["mailing"], KEYS)
        try:
            return await poster.post("id", BODY)
        finally:
            await poster.close()
            await server.stop()

    assert asyncio.run(play(authority.path)).is_taken
    assert asyncio.run(play(other / "authority.pem")).reason == "no answer: ConnectError"
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="ca_file"):
        Poster(make_webhook("https://127.0.0.1/", ca_file=str(tmp_path / "empty.pem"))["mailing"], KEYS)
