"""`POST /x/b` as a client sees it: answers, headers, cookies, bodies, and a spool that says no."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import zlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.config import Config
from collector.endpoints import beacon
from collector.endpoints.body import HeldBytes, read_body
from collector.endpoints.edge import Edge
from collector.errors import SpoolError, SpoolFull
from collector.event import LandingRow
from collector.handover import read_handover
from collector.reasons import Reason
from collector.sites.book import CookieCapture, Issuer, Site, SiteBook
from collector.spool.writer import SpoolWriter
from tests.edge_examples import (
    CHROME,
    KEYRING,
    NOW_MS,
    NOW_S,
    ORIGIN,
    OTHER_VISITOR,
    SITE,
    VISITOR,
    make_body,
    make_event,
)
from tests.id_tokens.token_makers import AUDIENCE, ISSUER, make_token

GOOD = msgspec.json.encode(make_body())
OTHER_SITE = Site(site_id="blog", origins=("https://blog.example",), consent="off")
BOOK = SiteBook(sites={"shop": SITE, "blog": OTHER_SITE}, read_at_ms=NOW_MS)


class MemorySpool:
    """A spool in memory that can be told to fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.lines: list[bytes] = []

    async def append(self, line: bytes) -> None:
        if self.error:
            raise self.error
        self.lines.append(line)

    async def append_all(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            await self.append(line)


def make_edge(spool: Any, **settings: Any) -> Edge:
    """Return the edge on this spool."""
    return Edge(Config(**settings), KEYRING, lambda: BOOK, spool, lambda: NOW_MS)


def send(
    body: bytes | AsyncIterator[bytes] = GOOD,
    headers: Any = None,
    *,
    spool: Any = None,
    method: str = "POST",
    base: str = "https://shop.example",
    client: tuple[str, int] = ("203.0.113.77", 5000),
    book: SiteBook = BOOK,
    **settings: Any,
) -> tuple[httpx.Response, list[LandingRow]]:
    """Send one request to the real application. Return the answer and the rows that were spooled."""
    spool = MemorySpool() if spool is None else spool
    edge = dataclasses.replace(make_edge(spool, **settings), site_book=lambda: book)
    app = Starlette(routes=beacon.routes(edge))

    async def talk() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=client)
        async with httpx.AsyncClient(transport=transport, base_url=base) as session:
            answer = await session.request(method, "/x/b", content=body, headers=headers or {"Origin": ORIGIN})
        await edge.refusals.flush()
        return answer

    response = asyncio.run(talk())
    return response, [msgspec.json.decode(line, type=LandingRow) for line in getattr(spool, "lines", [])]


# --- answers -------------------------------------------------------------------------------------------------


def test_all_is_kept() -> None:
    """204 without a body, never cached, once the line is spooled."""
    response, [row] = send()
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["cache-control"] == "no-store"
    assert "content-length" not in response.headers
    assert "x-tagstitch-rejected" not in response.headers
    assert row.visitor_id == VISITOR


def test_the_cookies_visitor_wins() -> None:
    """200 with the id that the tag has to take over."""
    cookie = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60))
    body = msgspec.json.encode(make_body(d=OTHER_VISITOR))
    response, [row] = send(body, {"Origin": ORIGIN, "Cookie": f"a=b; __Host-ts_shop={cookie}; c=d"})
    assert (response.status_code, response.json()) == (200, {"d": VISITOR})
    assert response.headers["content-type"] == "application/json"
    assert (row.visitor_id, row.visitor_proof) == (VISITOR, "cookie")


def test_a_handover_token_comes_with_the_answer() -> None:
    """200 with the token that was asked for, together with the visitor id where that is wrong too."""
    agent = {"Origin": ORIGIN, "User-Agent": CHROME}
    response, _ = send(msgspec.json.encode(make_body(xl=1)), agent)
    assert response.status_code == 200
    assert list(response.json()) == ["x"]
    cookie = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60))
    body = msgspec.json.encode(make_body(xl=1, d=OTHER_VISITOR))
    response, _ = send(body, {**agent, "Cookie": f"__Host-ts_shop={cookie}"})
    assert response.json()["d"] == VISITOR
    token = response.json()["x"]
    assert read_handover(KEYRING, "main", token, "203.0.113.77", CHROME, NOW_S) is not None


def test_only_cookies_on_a_sites_list_are_read() -> None:
    """A cookie that the site names is evidence; every other one of the page is not even decoded."""
    site = msgspec.structs.replace(SITE, capture_cookies=(CookieCapture("login"),))
    book = SiteBook(sites={"shop": site}, read_at_ms=NOW_MS)
    response, [row] = send(GOOD, {"Origin": ORIGIN, "Cookie": "loginx=1; xlogin=2; login=4711; LOGIN=3"}, book=book)
    assert response.status_code == 204
    assert [(evidence.b_value, evidence.source) for evidence in row.evidence] == [("4711", "capture")]


def test_single_refusals_are_named_in_a_header() -> None:
    """204 with the reasons, sorted, each once."""
    body = msgspec.json.encode(make_body(make_event(1), make_event(2, t=1), make_event(3, t=1), make_event(4, i="x")))
    response, [row] = send(body)
    assert response.status_code == 204
    assert response.headers["x-tagstitch-rejected"] == "clock,id"
    assert len(row.events) == 1


@pytest.mark.parametrize(("mode", "status"), [(None, 503), ("cors", 503), ("no-cors", 204)])
def test_an_issuer_that_is_being_asked(mode: str | None, status: int) -> None:
    """The beacon is to come again, and nothing of it is kept; but not where the browser lets nobody hear that."""
    site = msgspec.structs.replace(SITE, issuers=(Issuer(ISSUER, AUDIENCE),))
    event = make_event(1, n="identify", k=[{"k": "customer", "v": "", "j": make_token()}])
    headers = {"Origin": ORIGIN, **({"Sec-Fetch-Mode": mode} if mode else {})}
    body = msgspec.json.encode(make_body(event, make_event(2)))
    response, rows = send(body, headers, book=SiteBook(sites={"shop": site}, read_at_ms=NOW_MS))
    assert response.status_code == status
    if status == 503:
        assert (response.headers["retry-after"], response.headers["x-tagstitch-rejected"]) == ("3", "keys")
        assert response.json()["retry"] is True
        assert [row for row in rows if row.events] == []
    else:
        assert response.headers["x-tagstitch-rejected"] == "unverified"
        assert [len(row.events) for row in rows] == [2]


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"s": "nowhere"}, 404, "site"),
        ({"v": 3}, 400, "version"),
        ({"d": "x"}, 400, "id"),
        ({"c": ""}, 204, "consent"),
    ],
)
def test_whole_refusals(changes: dict[str, Any], status: int, reason: str) -> None:
    """A refusal has its status, its reason in words, and its count in the spool."""
    response, [row] = send(msgspec.json.encode(make_body(**changes)))
    assert response.status_code == status
    assert response.headers["x-tagstitch-rejected"] == reason
    assert (row.events, row.rejected[0].reason) == ([], reason)
    if status != 204:
        assert response.json()["error"] == reason
        assert response.headers["x-content-type-options"] == "nosniff"


def test_before_any_site_is_known_the_client_keeps_its_events() -> None:
    """A process that has never heard of the store says come again; 404 would make a tag drop what it has."""
    response, rows = send(book=SiteBook())
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.json()["retry"] is True
    assert rows == []


def test_other_methods_are_refused() -> None:
    """Only POST and OPTIONS."""
    assert send(method="GET")[0].status_code == 405
    assert send(method="PUT")[0].status_code == 405


@pytest.mark.parametrize(
    ("error", "retry_after"), [(SpoolFull("full", retry_after_s=17), "17"), (SpoolError("disk"), "5")]
)
def test_a_spool_that_cannot_take_it(error: SpoolError, retry_after: str) -> None:
    """503: the client keeps its events and comes again; the page may read that."""
    response, _ = send(spool=MemorySpool(error))
    assert (response.status_code, response.headers["retry-after"]) == (503, retry_after)
    assert response.json()["retry"] is True
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "set-cookie" not in response.headers


def test_a_refusal_stands_where_the_spool_cannot_count_it() -> None:
    """What is refused is refused, whether it could be counted or not."""
    response, _ = send(b"{", spool=MemorySpool(SpoolFull("full")))
    assert response.status_code == 400


def test_acknowledged_is_on_disk(tmp_path: Path) -> None:
    """With the real spool: when the 204 comes, the line stands in a file."""

    async def story() -> tuple[int, bytes]:
        spool = SpoolWriter(
            tmp_path / "spool",
            segment_bytes=1 << 20,
            segment_age_s=60,
            max_spool_bytes=1 << 30,
            min_free_bytes=0,
            durability="fsync",
        )
        try:
            app = Starlette(routes=beacon.routes(make_edge(spool)))
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
                response = await client.post("/x/b", content=GOOD, headers={"Origin": ORIGIN})
            written = b"".join(path.read_bytes() for path in sorted((tmp_path / "spool").iterdir()) if path.is_file())
        finally:
            await asyncio.to_thread(spool.close)
        return response.status_code, written

    status, written = asyncio.run(story())
    assert status == 204
    assert VISITOR.encode() in written


# --- cookies -------------------------------------------------------------------------------------------------


def test_the_cookies_attributes() -> None:
    """Bound to the host, out of reach of scripts, first-party, 400 days."""
    response, _ = send()
    value, *attributes = response.headers["set-cookie"].split("; ")
    assert value.startswith(f"__Host-ts_shop={VISITOR}.")
    assert set(attributes) == {"Path=/", "Max-Age=34560000", "HttpOnly", "SameSite=Lax", "Secure"}


def test_over_plain_http_the_cookie_is_not_secure() -> None:
    """On a developer's machine the plain name is used, without Secure."""
    site = msgspec.structs.replace(SITE, origins=("http://localhost",))
    edge = Edge(
        Config(), KEYRING, lambda: SiteBook(sites={"shop": site}, read_at_ms=NOW_MS), MemorySpool(), lambda: NOW_MS
    )
    app = Starlette(routes=beacon.routes(edge))

    async def talk() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.post("/x/b", content=GOOD, headers={"Origin": "http://localhost"})

    cookie = asyncio.run(talk()).headers["set-cookie"]
    assert cookie.startswith(f"ts_shop={VISITOR}.")
    assert "Secure" not in cookie


def test_a_withdrawal_removes_the_cookie() -> None:
    """The answer to a beacon that withdraws consent takes the cookie away."""
    cookie = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60))
    body = msgspec.json.encode(make_body(make_event(n="consent"), c="", d=None))
    response, _ = send(body, {"Origin": ORIGIN, "Cookie": f"__Host-ts_shop={cookie}"})
    assert response.headers["set-cookie"].startswith("__Host-ts_shop=; Path=/; Max-Age=0;")


@pytest.mark.parametrize("cookie", [b"x" * 17_000, b"__Host-ts_shop", b"=;;=;", b"__Host-ts_shop=\xe9", b"ts_" * 5000])
def test_odd_cookie_headers(cookie: bytes) -> None:
    """No Cookie header breaks the endpoint or proves anything."""
    response, [row] = send(headers={b"Origin": ORIGIN.encode(), b"Cookie": cookie})
    assert (response.status_code, row.visitor_proof) == (204, "script")


def test_of_two_cookies_with_one_name_the_first_counts() -> None:
    """A second cookie of our name, tossed in from elsewhere, does not hide the right one."""
    cookie = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60))
    _, [row] = send(headers={"Origin": ORIGIN, "Cookie": f"__Host-ts_shop={cookie}; __Host-ts_shop=forged"})
    assert row.visitor_proof == "cookie"


def cookies_of(response: httpx.Response) -> list[str]:
    """Return all Set-Cookie headers."""
    return response.headers.get_list("set-cookie")


def make_book(**settings: Any) -> SiteBook:
    """Return a book with the one site, changed."""
    return SiteBook(sites={"shop": msgspec.structs.replace(SITE, **settings)}, read_at_ms=NOW_MS)


def test_a_cookie_with_the_sites_own_name_and_domain() -> None:
    """Set under the site's name for its domain, Secure and HttpOnly; the default one that came along goes."""
    book = make_book(cookie="sid", cookie_domain="shop.example")
    value = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60))
    response, [row] = send(headers={"Origin": ORIGIN, "Cookie": f"a=b; __Host-ts_shop={value}"}, book=book)
    assert row.visitor_proof == "cookie"
    assert cookies_of(response) == [
        f"sid={value}; Path=/; Max-Age=34560000; Domain=shop.example; HttpOnly; SameSite=Lax; Secure",
        "__Host-ts_shop=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure",
    ]
    response, [row] = send(headers={"Origin": ORIGIN, "Cookie": f"sid={value}"}, book=book)
    assert (row.visitor_proof, cookies_of(response)) == ("cookie", [])


def test_a_planted_twin_does_not_hide_the_cookie() -> None:
    """Of two values under one name, in one header or two, the signed one is taken; no more than four are looked at."""
    book = make_book(cookie_domain="shop.example")
    value = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60))
    for cookies in ([f"ts_shop=planted; ts_shop={value}"], ["ts_shop=planted", f"ts_shop={value}"]):
        _, [row] = send(headers=[("Origin", ORIGIN), *(("Cookie", text) for text in cookies)], book=book)
        assert row.visitor_proof == "cookie"
    many = "; ".join(["ts_shop=x"] * 2000 + [f"ts_shop={value}"])
    _, [row] = send(headers={"Origin": ORIGIN, "Cookie": many}, book=book)
    assert row.visitor_proof == "script"


def test_an_objection_is_kept_to() -> None:
    """204 with the reason, silence for a day, our cookie taken away; in the spool nothing but the count."""
    value = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60))
    response, [withdrawn, row] = send(headers={"Origin": ORIGIN, "Cookie": f"__Host-ts_shop={value}; _ts_out=1"})
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["x-tagstitch-rejected"] == "opted_out"
    assert response.headers["x-tagstitch-stop"] == "86400"
    assert "X-Tagstitch-Stop" in response.headers["access-control-expose-headers"]
    assert cookies_of(response) == ["__Host-ts_shop=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"]
    assert (row.events, row.rejected[0].reason) == ([], "opted_out")
    assert {(entry.state, entry.source) for entry in withdrawn.consents} == {("withdrawn", "opt_out")}


@pytest.mark.parametrize("settings", [{"tag": False}, {"sample": 1e-12}])
def test_a_tag_that_shall_be_silent(settings: dict[str, Any]) -> None:
    """Switched off, or not in the sample: 204, silence for an hour, no cookie."""
    response, [row] = send(book=make_book(**settings))
    assert (response.status_code, response.headers["x-tagstitch-rejected"]) == (204, "off")
    assert response.headers["x-tagstitch-stop"] == "3600"
    assert (cookies_of(response), row.events) == ([], [])
    assert "x-tagstitch-stop" not in send()[0].headers


def test_do_not_track_counts_like_global_privacy_control() -> None:
    """DNT: 1 takes marketing away, DNT: 0 nothing."""
    body = msgspec.json.encode(make_body(c="aim"))
    for name in ("DNT", "Sec-GPC"):
        assert send(body, {"Origin": ORIGIN, name: "1"})[1][0].consent == "analytics,identity"
        assert send(body, {"Origin": ORIGIN, name: "0"})[1][0].consent == "analytics,identity,marketing"


def test_a_cookieless_site_asks_for_the_salt_of_the_day() -> None:
    """The salt is fetched for the moment of the request, and only where some site is cookieless."""
    asked: list[int] = []

    def find(now_ms: int) -> bytes:
        asked.append(now_ms)
        return b"s" * 32

    books = [BOOK, make_book(consent="cookieless")]
    for _ in range(2):
        spool = MemorySpool()
        edge = dataclasses.replace(make_edge(spool), site_book=lambda: books[0], find_day_salt=find)
        app = Starlette(routes=beacon.routes(edge))

        async def talk(app: Starlette = app) -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop.example") as client:
                body = msgspec.json.encode(make_body(d=None, x=None))
                return await client.post("/x/b", content=body, headers={"Origin": ORIGIN})

        response = asyncio.run(talk())
        assert response.status_code == 204
        books.reverse()
    assert asked == [NOW_MS]
    row = msgspec.json.decode(spool.lines[0], type=LandingRow)
    assert row.visitor_proof == "cookieless"


# --- origins -------------------------------------------------------------------------------------------------

ALLOWED = [ORIGIN, "https://www.shop.example"]
FOREIGN = [
    "https://evil.example",
    "http://shop.example",
    "https://shop.example.evil.example",
    "https://evil-shop.example",
    "https://shop.example:8443",
    "https://shop.example/",
    "https://SHOP.example",
    "https://sub.shop.example",
    "https://shop.example https://evil.example",
    "null",
    "*",
    "https://blog.example",
]


@pytest.mark.parametrize("origin", ALLOWED)
def test_an_allowed_origin(origin: str) -> None:
    """The exact origin comes back, with credentials; never a star."""
    response, rows = send(headers={"Origin": origin})
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == origin
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["vary"] == "Origin"
    assert "X-Tagstitch-Rejected" in response.headers["access-control-expose-headers"]
    assert "set-cookie" in response.headers
    assert len(rows[0].events) == 1


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_origin(origin: str) -> None:
    """It is refused, gets no cookie, and may not read the answer; the answer still varies by origin."""
    response, [row] = send(headers={"Origin": origin})
    assert (response.status_code, response.json()["error"]) == (403, "origin")
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert "set-cookie" not in response.headers
    assert response.headers["vary"] == "Origin"
    assert (row.events, row.rejected[0].reason) == ([], "origin")


def test_no_origin() -> None:
    """A program's beacon is kept, without proof, cookie or CORS headers."""
    cookie = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60))
    response, [row] = send(headers={"Cookie": f"__Host-ts_shop={cookie}"})
    assert (response.status_code, row.visitor_proof) == (204, "script")
    assert "set-cookie" not in response.headers
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("headers", [{"Origin": "null"}, {}])
def test_a_page_with_a_strict_referrer_policy(headers: dict[str, str]) -> None:
    """Where the browser blanks the origin but says same-origin, the page's origin is ours, and must be listed."""
    response, [row] = send(headers={**headers, "Sec-Fetch-Site": "same-origin"})
    assert (response.status_code, len(row.events)) == (204, 1)
    assert "set-cookie" in response.headers
    response, _ = send(headers={**headers, "Sec-Fetch-Site": "same-origin"}, base="https://elsewhere.example")
    assert response.status_code == 403


def test_two_origins_are_none() -> None:
    """No browser sends two; the beacon is refused."""

    async def talk() -> httpx.Response:
        app = Starlette(routes=beacon.routes(make_edge(MemorySpool())))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
            return await client.post(
                "/x/b", content=GOOD, headers=[("Origin", ORIGIN), ("Origin", "https://evil.example")]
            )

    assert asyncio.run(talk()).status_code == 403


@pytest.mark.parametrize(("origin", "is_allowed"), [(ORIGIN, True), ("https://blog.example", True), *((o, False) for o in FOREIGN[:-1])])  # fmt: skip  # noqa: E501
def test_the_preflight(origin: str, is_allowed: bool) -> None:
    """A browser's question is answered yes for the origins that some site lists, and for no other."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    response, rows = send(b"", asked, method="OPTIONS")
    assert rows == []
    assert response.headers["vary"] == "Origin"
    if is_allowed:
        assert response.status_code == 204
        assert response.headers["access-control-allow-origin"] == origin
        assert response.headers["access-control-allow-methods"] == "POST"
        assert "Content-Type" in response.headers["access-control-allow-headers"]
    else:
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers


# --- bodies --------------------------------------------------------------------------------------------------


async def _in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def test_a_body_in_pieces() -> None:
    """A body without a stated length is read to its end."""
    response, [row] = send(_in_pieces(GOOD, 7))
    assert (response.status_code, len(row.events)) == (204, 1)


@pytest.mark.parametrize("is_stated", [True, False])
def test_a_body_that_is_too_large(is_stated: bool) -> None:
    """Refused by its stated length before reading, and without one as soon as the bound is passed."""
    body = b" " * 5000
    response, [row] = send(body if is_stated else _in_pieces(body, 500), max_body_bytes=2048)
    assert (response.status_code, response.json()["error"]) == (413, "size")
    assert response.headers["connection"] == "close"
    assert row.rejected[0].body_bytes == (5000 if is_stated else 0)


def test_a_body_at_the_bound() -> None:
    """Exactly as many bytes as allowed are taken."""
    response, _ = send(GOOD + b" " * (2048 - len(GOOD)), max_body_bytes=2048)
    assert response.status_code == 204
    response, _ = send(GOOD + b" " * (2049 - len(GOOD)), max_body_bytes=2048)
    assert response.status_code == 413


def test_all_unfinished_bodies_together_have_a_bound() -> None:
    """Thousands of clients that send large bodies slowly are told to come again, before the memory is full."""

    async def send_slowly(held: HeldBytes, slow: asyncio.Event, waiting: asyncio.Event, pieces: int) -> bytes | Reason:
        async def receive() -> dict[str, Any]:
            nonlocal pieces
            pieces -= 1
            if pieces == 0:
                waiting.set()
                await slow.wait()
            return {"type": "http.request", "body": b"x" * 1_000_000, "more_body": pieces > 0}

        return await read_body(receive, -1, b"", 100_000_000, held)

    async def talk() -> None:
        held, slow, waiting = HeldBytes(), asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(send_slowly(held, slow, waiting, 60))
        await waiting.wait()
        assert await send_slowly(held, slow, waiting, 20) is Reason.RATE
        assert held.count == 59_000_000
        slow.set()
        assert len(await first) == 60_000_000
        assert held.count == 0

    asyncio.run(talk())


def test_too_much_at_once_is_to_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that finds no room is answered 429 with the time to wait, and may come again as it is."""
    monkeypatch.setattr("collector.endpoints.body.MAX_HELD_BYTES", 100)
    response, [row] = send(_in_pieces(GOOD, 50))
    assert (response.status_code, response.json()["retry"]) == (429, True)
    assert response.headers["retry-after"]
    assert row.rejected[0].reason == "rate"


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (_gzip(GOOD), "gzip", 204),
        (_gzip(GOOD), "GZIP", 204),
        (GOOD, "identity", 204),
        (GOOD, "", 204),
        (GOOD, "gzip", 415),
        (_gzip(GOOD)[:-4], "gzip", 415),
        (_gzip(GOOD) + _gzip(GOOD), "gzip", 415),
        (_gzip(GOOD) + b"rest", "gzip", 415),
        (zlib.compress(GOOD), "gzip", 415),
        (_gzip(_gzip(GOOD)), "gzip", 400),
        (_gzip(b" " * 200_000_000), "gzip", 413),
        (GOOD, "br", 415),
        (GOOD, "deflate", 415),
        (GOOD, "gzip, gzip", 415),
        (b"", "gzip", 415),
    ],
)
def test_content_encodings(body: bytes, encoding: str, status: int) -> None:
    """One gzip member, as much of it as the bound allows; bombs, lies and other encodings are refused."""
    response, _ = send(body, {"Origin": ORIGIN, "Content-Encoding": encoding})
    assert response.status_code == status


def test_a_client_that_goes_away_is_only_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Half a body and a disconnect: no answer, no line, no log."""
    spool = MemorySpool()
    sent: list[Any] = []
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": GOOD[:10], "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def answer(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"origin", ORIGIN.encode())], "client": ("203.0.113.9", 1)}
    asyncio.run(beacon.Beacons(make_edge(spool)).receive(scope, receive, answer))
    assert (sent, spool.lines, caplog.records) == ([], [], [])


# --- who asks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "network"),
    [
        ("", "198.51.100.1", "203.0.113.77", "198.51.100.0/24"),
        ("", "127.0.0.1", "203.0.113.77", "127.0.0.0/24"),
        ("198.51.100.0/24", "198.51.100.1", "203.0.113.77", "203.0.113.0/24"),
        ("198.51.100.0/24", "198.51.100.1", "6.6.6.6, 203.0.113.77", "203.0.113.0/24"),
        ("198.51.100.0/24", "198.51.100.1", "6.6.6.6, 203.0.113.77, 198.51.100.2", "203.0.113.0/24"),
        ("198.51.100.0/24", "192.0.2.1", "203.0.113.77", "192.0.2.0/24"),
        ("198.51.100.0/24", "198.51.100.1", "junk", "198.51.100.0/24"),
        ("198.51.100.0/24", "198.51.100.1", "203.0.113.77, junk, 198.51.100.2", "198.51.100.0/24"),
        ("198.51.100.0/24", "198.51.100.1", "203.0.113.77:4711", "203.0.113.0/24"),
        ("198.51.100.0/24", "198.51.100.1", "[2001:db8:1:2::3]:99", "2001:db8:1::/48"),
        ("198.51.100.0/24", "198.51.100.1", "::ffff:203.0.113.77", "203.0.113.0/24"),
        ("198.51.100.0/24", "198.51.100.1", "2001:db8:1:2::3%eth0", "2001:db8:1::/48"),
        ("198.51.100.0/24, ::1/128", "::1", "203.0.113.77", "203.0.113.0/24"),
        ("198.51.100.0/24", "198.51.100.1", "", "198.51.100.0/24"),
        ("198.51.100.0/24", "198.51.100.1", "203.0.113.77," + "198.51.100.9," * 99 + "198.51.100.2", "198.51.100.0/24"),
        ("198.51.100.0/24", "::ffff:198.51.100.1", "203.0.113.77", "203.0.113.0/24"),
    ],
)
def test_the_clients_address(trusted: str, peer: str, forwarded: str, network: str) -> None:
    """From the right, across trusted proxies only; what the client wrote itself is not believed."""
    headers = {"Origin": ORIGIN, "X-Forwarded-For": forwarded}
    _, [row] = send(headers=headers, client=(peer, 1), trusted_proxies=trusted)
    assert row.network == network


def test_a_trusted_proxy_gives_protocol_and_country() -> None:
    """X-Forwarded-Proto and the country header count from a trusted proxy, and from nobody else."""
    headers = {"Origin": ORIGIN, "X-Forwarded-Proto": "https", "CF-IPCountry": "DE", "X-Forwarded-For": "203.0.113.7"}
    settings: dict[str, Any] = {"base": "http://shop.example", "country_header": "CF-IPCountry"}
    response, [row] = send(headers=headers, trusted_proxies="203.0.113.77/32", **settings)
    assert response.headers["set-cookie"].startswith("__Host-ts_shop=")
    assert row.country == "DE"
    response, [row] = send(headers=headers, trusted_proxies="198.51.100.0/24", **settings)
    assert response.headers["set-cookie"].startswith("ts_shop=")
    assert row.country == ""


def test_the_public_address_decides_about_https() -> None:
    """Where the settings say how browsers reach us, that decides the cookie's form."""
    response, _ = send(base="http://127.0.0.1:8000", public_url="https://shop.example")
    assert response.headers["set-cookie"].startswith("__Host-ts_shop=")
