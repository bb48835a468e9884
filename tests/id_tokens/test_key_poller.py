"""The issuers' keys: fetched within bounds, refreshed when it is time, kept where the issuer is away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.errors import IssuerUnavailable
from collector.id_tokens import fetch
from collector.id_tokens.fetch import fetch_keys, is_fetchable
from collector.id_tokens.key_sets import MAX_KEYS, read_key_set
from collector.id_tokens.keys import KeySet, Source
from collector.id_tokens.poll import FILE_NAME, KeyPoller
from collector.reasons import Reason
from collector.sites.book import Issuer, Site, SiteBook
from tests.edge_examples import NOW_MS
from tests.id_tokens.token_makers import AUDIENCE, DOCUMENT, MEMBERS, RSA_KEY, IssuerServer, running_issuer

HOUR_MS = 3_600_000


@pytest.fixture
def issuer() -> Iterator[IssuerServer]:
    """An issuer's server with its keys published."""
    with running_issuer() as server:
        server.publish()
        yield server


def book_of(*urls: str, **settings: str) -> SiteBook:
    """Return a book with one site and these issuers."""
    issuers = tuple(Issuer(url, AUDIENCE, **settings) for url in urls)
    return SiteBook({"shop": Site("shop", issuers=issuers)}, read_at_ms=NOW_MS)


class Clock:
    """Time that passes when it is told."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


def find(poller: KeyPoller, url: str, clock: Clock, key_id: str = "rsa") -> Any:
    """Look a key up as the accept path does."""
    return poller.keys.find(Issuer(url, AUDIENCE), key_id, "RS256", clock.ms)


# --- fetch ---------------------------------------------------------------------------------------------------


def test_keys_come_by_way_of_the_discovery_document(issuer: IssuerServer) -> None:
    """Discovery, then the key set; where the site names the address of the keys, only that."""
    found = fetch_keys(Source(issuer.url), NOW_MS)
    assert [key.key_id for key in found.keys] == ["rsa", "p256", "p384", "ed"]
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    fetch_keys(Source("https://accounts.example", f"{issuer.url}/keys"), NOW_MS)
    assert issuer.asked[2:] == ["/keys"]


def _drip(handler: Any) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(200):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.02)
    except OSError:
        pass


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, {}, b""), "status 500"),
        ((200, {}, b"x" * 65_537), "more than 65536 bytes"),
        ((200, {}, b"<html>"), "no key set"),
        ((200, {}, b"[" * 60_000), "no key set"),
        ((200, {}, b'{"keys": {}}'), "no key set"),
        ((200, {}, b'{"keys": []}'), "no key that can be used"),
        ((302, {"Location": "http://localhost:1/keys"}, b""), "status 302"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "status 302"),
        ((302, {"Location": "/keys"}, b""), "status 302"),
        ((200, {"Content-Length": "nonsense"}, DOCUMENT), ""),
        (_drip, "takes more than"),
    ],
)
def test_an_answer_out_of_bounds_is_none(
    issuer: IssuerServer, answer: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors, giants, nonsense, redirects to elsewhere or in circles, and an endless drip end as one reason."""
    if answer is _drip:
        monkeypatch.setattr(fetch, "TIME_LIMIT_S", 0.3)
    issuer.answers["/keys"] = answer
    if not reason:
        assert fetch_keys(Source(issuer.url), NOW_MS).keys
        return
    with pytest.raises(IssuerUnavailable, match=reason):
        fetch_keys(Source(issuer.url), NOW_MS)


def test_a_redirect_on_the_same_origin_is_followed(issuer: IssuerServer) -> None:
    """As issuers do that move their keys."""
    issuer.answers["/moved"] = issuer.answers["/keys"]
    issuer.answers["/keys"] = (302, {"Location": "/moved"}, b"")
    assert fetch_keys(Source(issuer.url), NOW_MS).keys


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issuer": "https://evil.example"}, "names another issuer"),
        ({"jwks_uri": "http://keys.example/keys"}, "not at an https address"),
        ({"jwks_uri": "file:///etc/passwd"}, "not at an https address"),
    ],
)
def test_a_discovery_document_cannot_lead_astray(issuer: IssuerServer, changes: dict[str, str], reason: str) -> None:
    """It must be the issuer's own, and its keys must be at an address that cannot be tampered with."""
    issuer.publish(**changes)
    with pytest.raises(IssuerUnavailable, match=reason):
        fetch_keys(Source(issuer.url), NOW_MS)
    issuer.answers["/.well-known/openid-configuration"] = (200, {}, b'{"issuer": 1}')
    with pytest.raises(IssuerUnavailable, match="cannot be read"):
        fetch_keys(Source(issuer.url), NOW_MS)


def test_nobody_there() -> None:
    """A closed port is a reason, not an exception of its own."""
    with running_issuer() as server:
        url = server.url
    with pytest.raises(IssuerUnavailable, match="does not answer"):
        fetch_keys(Source(url), NOW_MS)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://accounts.example", True),
        ("https://accounts.example:8443/realms/shop", True),
        ("http://localhost:8080/realms/shop", True),
        ("http://127.0.0.1", True),
        ("http://sso.localhost", True),
        ("http://accounts.example", False),
        ("http://localhost.evil.example", False),
        ("ftp://localhost", False),
        ("https://name@accounts.example", False),
        ("https://accounts.example/#x", False),
        ("https://accounts.example/ x", False),
        ("https://accounts.example/\r\nX: y", False),
        ("https://[", False),
        ("https://a:99999999", False),
        ("", False),
    ],
)
def test_where_keys_may_be_asked(address: str, expected: bool) -> None:
    """HTTPS anywhere, plain HTTP on this machine."""
    assert is_fetchable(address) is expected


# --- sets ----------------------------------------------------------------------------------------------------


def test_keys_that_cannot_be_used_are_left_out() -> None:
    """Secrets, encryption keys, short and strange keys, and what is no key at all."""
    rsa = MEMBERS[0]
    unusable: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {**rsa, "use": "enc"},
        {**rsa, "key_ops": ["encrypt"]},
        {**rsa, "key_ops": "verify"},
        {**rsa, "alg": "HS256"},
        {**rsa, "alg": "RSA-OAEP"},
        {**rsa, "n": "AQAB"},
        {**rsa, "n": "*"},
        {**rsa, "n": None},
        {**rsa, "n": "A" * 5000},
        {**rsa, "e": rsa["n"]},
        {**MEMBERS[1], "crv": "secp256k1"},
        {**MEMBERS[1], "x": MEMBERS[1]["y"]},
        {**MEMBERS[1], "crv": "P-384"},
        {**MEMBERS[3], "crv": "X25519"},
        {"kty": "AKP"},
        *("x", None, 1, []),
    ]
    found = read_key_set(json.dumps({"keys": [*unusable, rsa]}).encode(), NOW_MS)
    assert [key.key_id for key in found.keys] == ["rsa"]


def test_a_private_key_published_by_mistake_stays_unread() -> None:
    """Its public half verifies; the rest is neither kept in memory nor on disk."""
    from jwt.algorithms import RSAAlgorithm

    private = {**RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True), "kid": "rsa", "key_ops": ["sign", "verify"]}
    found = read_key_set(json.dumps({"keys": [private]}).encode(), NOW_MS)
    assert [set(members) for members in found.members] == [{"kty", "kid", "n", "e"}]
    assert found.find("rsa", "RS256") is not None


def test_a_set_is_bounded() -> None:
    """64 keys are read of a set, however long it is."""
    many = json.dumps({"keys": [{**MEMBERS[3], "kid": str(n)} for n in range(200)]}).encode()
    assert len(read_key_set(many, NOW_MS).keys) == MAX_KEYS


# --- poll ----------------------------------------------------------------------------------------------------


def test_the_copy_on_disk_serves_a_start_without_the_issuer(tmp_path: Path, issuer: IssuerServer) -> None:
    """What one process has read, the next one knows at once; where the issuer is away it stays."""
    clock = Clock()
    site_book = book_of(issuer.url)
    KeyPoller(tmp_path, lambda: site_book, clock).poll()
    issuer.answers.clear()
    restarted = KeyPoller(tmp_path, lambda: site_book, clock)
    assert find(restarted, issuer.url, clock) == RSA_KEY.public_key()
    restarted.poll()
    clock.ms += 10 * HOUR_MS
    restarted.poll()
    assert find(restarted, issuer.url, clock) == RSA_KEY.public_key()
    assert len(issuer.asked) == 4


@pytest.mark.parametrize(
    "copy", [b"", b"{", b"[{}]", b'[{"issuer":"x","jwks_url":"","read_at_ms":1,"keys":[{"n":"x"}]}]']
)
def test_a_damaged_copy_is_left_aside(tmp_path: Path, issuer: IssuerServer, copy: bytes) -> None:
    """The issuer is asked, as on the first day."""
    (tmp_path / FILE_NAME).write_bytes(copy)
    clock = Clock()
    poller = KeyPoller(tmp_path, lambda: book_of(issuer.url), clock)
    assert find(poller, issuer.url, clock) is Reason.KEYS
    poller.poll()
    assert find(poller, issuer.url, clock) == RSA_KEY.public_key()


def test_when_an_issuer_is_asked(tmp_path: Path, issuer: IssuerServer) -> None:
    """At once, then hourly; for a missing key once a minute at most; where it is away once a minute."""
    clock = Clock()
    asked: list[int] = []

    def ask(source: Source, now_ms: int) -> KeySet:
        asked.append((clock.ms - NOW_MS) // 1000)
        return fetch_keys(source, now_ms)

    poller = KeyPoller(tmp_path, lambda: book_of(issuer.url), clock, ask)

    def pass_s(seconds: int, missing: str = "") -> None:
        clock.ms += seconds * 1000
        if missing:
            find(poller, issuer.url, clock, missing)
        poller.poll()

    pass_s(0)
    pass_s(30, "next")
    pass_s(29, "next")
    assert asked == [0]
    pass_s(1, "next")
    pass_s(20, "next")
    assert asked == [0, 60]
    pass_s(3599 - 20)
    assert asked == [0, 60]
    pass_s(1)
    assert asked == [0, 60, 3660]
    good = issuer.answers.pop("/keys")
    pass_s(3600)
    pass_s(59)
    pass_s(1)
    assert asked[3:] == [7260, 7320]
    issuer.answers["/keys"] = good
    pass_s(60)
    pass_s(60)
    assert asked[5:] == [7380]


def test_keys_that_an_issuer_gives_up_are_gone(tmp_path: Path, issuer: IssuerServer) -> None:
    """A rotation is followed; a site's issuer that was taken off is forgotten, on disk too."""
    clock = Clock()
    site_book = book_of(issuer.url)
    poller = KeyPoller(tmp_path, lambda: site_book, clock)
    poller.poll()
    issuer.publish(json.dumps({"keys": [{**MEMBERS[0], "kid": "new"}]}).encode())
    clock.ms += HOUR_MS
    poller.poll()
    assert find(poller, issuer.url, clock) is Reason.UNVERIFIED
    assert find(poller, issuer.url, clock, "new") == RSA_KEY.public_key()
    site_book = book_of()
    poller.poll()
    assert dict(poller.keys.sets) == {}
    assert msgspec.json.decode((tmp_path / FILE_NAME).read_bytes()) == []


def test_the_thread_asks_by_itself(tmp_path: Path, issuer: IssuerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started it asks without being told, and stopped it ends."""
    monkeypatch.setattr("collector.id_tokens.poll.LOOK_S", 0.02)
    clock = Clock()
    poller = KeyPoller(tmp_path, lambda: book_of(issuer.url), clock)
    poller.start()
    _wait(lambda: find(poller, issuer.url, clock) == RSA_KEY.public_key())
    poller.stop()


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("jump_ms", [-HOUR_MS, HOUR_MS])
def test_a_clock_that_jumps_keeps_nobody_waiting(issuer: IssuerServer, tmp_path: Path, jump_ms: int) -> None:
    """An hour back or forward: the issuer is asked once more, and a new key is found as soon as it is missed."""
    clock = Clock()
    poller = KeyPoller(tmp_path, lambda: book_of(issuer.url), clock)
    poller.poll()
    asked = len(issuer.asked)
    clock.ms += jump_ms
    assert find(poller, issuer.url, clock, "new") is Reason.KEYS
    poller.poll()
    assert len(issuer.asked) > asked
    asked = len(issuer.asked)
    assert find(poller, issuer.url, clock, "new") is Reason.UNVERIFIED
    poller.poll()
    assert len(issuer.asked) == asked, "asked once, not all the time"
    assert not isinstance(find(poller, issuer.url, clock), Reason)
