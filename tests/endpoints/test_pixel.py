"""`GET /x/p.gif`: always a picture, sometimes an event, rarely a cookie."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from collector.accept.visitor_cookie import VisitorCookie, may_sign, read_cookie, write_cookie
from collector.config import Config
from collector.endpoints import pixel
from collector.endpoints.edge import Edge
from collector.errors import SpoolFull
from collector.event import NIL_ID, LandingRow
from collector.sites.book import SiteBook
from tests.edge_examples import KEYRING, NOW_MS, NOW_S, ORIGIN, SITE, VISITOR, make_id


class MemorySpool:
    """A spool in memory that can be told to fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.lines: list[bytes] = []

    async def append(self, line: bytes) -> None:
        if self.error:
            raise self.error
        self.lines.append(line)


def fetch(
    query: str,
    headers: dict[str, str] | None = None,
    *,
    consent: str = "off",
    error: Exception | None = None,
    method: str = "GET",
) -> tuple[httpx.Response, list[LandingRow]]:
    """Ask for the picture on a page of the site. Return the answer and the rows that were spooled."""
    spool = MemorySpool(error)
    book = SiteBook(sites={"shop": msgspec.structs.replace(SITE, consent=consent)})
    edge = Edge(Config(), KEYRING, lambda: book, spool, lambda: NOW_MS)
    app = Starlette(routes=pixel.routes(edge))

    async def talk() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
            answer = await client.request(method, f"/x/p.gif{query}", headers=headers or {"Referer": f"{ORIGIN}/a?q=1"})
        await edge.refusals.flush()
        return answer

    response = asyncio.run(talk())
    return response, [msgspec.json.decode(line, type=LandingRow) for line in spool.lines]


def _check_picture(response: httpx.Response) -> None:
    assert response.status_code == 200
    assert len(response.content) == 43
    assert response.content[:6] == b"GIF89a"
    assert response.headers["content-type"] == "image/gif"
    assert response.headers["cache-control"] == "no-store, private"


def test_one_event() -> None:
    """A picture on a page is one page view, of no visitor."""
    response, [row] = fetch(
        "?s=shop&u=https%3A%2F%2Fshop.example%2Fa%3Futm_source%3Dx%26q%3D1&h=Red+shoes&r=https://n.example"
    )
    _check_picture(response)
    [event] = row.events
    assert (event.name, event.title, event.time_ms) == ("page_view", "Red shoes", NOW_MS)
    assert (event.url, event.referrer) == ("https://shop.example/a?utm_source=x", "https://n.example/")
    assert (row.visitor_id, row.visitor_proof) == (NIL_ID, "none")
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?s=nowhere",
        "?s=shop&n=" + "x" * 300,
        "?s=shop&i=no-uuid",
        "?s=shop&d=x",
        "?s=shop&u=%FF%FE",
        "?%s=%",
        "?s=shop&c=",
        "?" + "a=1&" * 3000,
        "?s=shop&" + "x" * 9000,
        "?s=shop&n=%00%0d%0a",
    ],
)
def test_always_a_picture(query: str) -> None:
    """Whatever is asked, the page shows no broken picture and no cookie is set."""
    response, rows = fetch(query)
    _check_picture(response)
    assert "set-cookie" not in response.headers
    assert all(len(row.events) + len(row.rejected) >= 1 for row in rows)


def test_a_picture_also_where_the_spool_is_full() -> None:
    """A full spool loses the event, and sets no cookie for what was not kept."""
    response, rows = fetch("?s=shop&c=ai", error=SpoolFull("full"))
    _check_picture(response)
    assert rows == []
    assert "set-cookie" not in response.headers


def test_only_a_stated_consent_makes_a_visitor() -> None:
    """With `c` granting storage, on the site's own page, a fresh visitor is made and signed."""
    response, [row] = fetch("?s=shop&c=ai", consent="required")
    cookie = read_cookie(KEYRING, "shop", response.cookies["__Host-ts_shop"], NOW_S)
    assert cookie is not None
    assert (cookie.visitor_id, row.visitor_proof) == (row.visitor_id, "script")
    assert may_sign(row.visitor_id, NOW_MS)
    for consent in ("implied", "off"):
        assert "set-cookie" not in fetch("?s=shop", consent=consent)[0].headers
    response, [row] = fetch("?s=shop", consent="required")
    assert (row.events, row.rejected[0].reason) == ([], "consent")


@pytest.mark.parametrize("headers", [{"Referer": "https://evil.example/"}, {"Referer": "null"}, {"X-Nothing": "1"}])
def test_elsewhere_no_cookie(headers: dict[str, str]) -> None:
    """On a page of another site, or of nobody knows where, nothing is set."""
    response, _ = fetch("?s=shop&c=ai", headers)
    _check_picture(response)
    assert "set-cookie" not in response.headers


def test_a_known_browser() -> None:
    """The cookie of an earlier visit names the visitor; nothing is answered but the picture."""
    cookie = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60))
    for query in ("?s=shop&c=a", "?s=shop", f"?s=shop&d={make_id(77)}"):
        response, [row] = fetch(query, {"Sec-Fetch-Site": "same-origin", "Cookie": f"__Host-ts_shop={cookie}"})
        _check_picture(response)
        assert (row.visitor_id, row.visitor_proof) == (VISITOR, "cookie")


def test_a_visitor_in_the_query_is_a_claim() -> None:
    """Whoever plants a picture with a visitor id of their own does not make it the visitor of those who see it."""
    response, [row] = fetch(f"?s=shop&c=ai&d={make_id(77)}")
    assert (row.visitor_id, row.visitor_proof) == (make_id(77), "script")
    assert "set-cookie" not in response.headers


def test_who_has_objected_is_not_counted() -> None:
    """With the opt-out cookie a picture is a picture, and our cookie goes."""
    cookies = f"__Host-ts_shop={write_cookie(KEYRING, 'shop', VisitorCookie(VISITOR, NOW_S - 60))}; _ts_out=1"
    response, [withdrawn, row] = fetch("?s=shop&c=a", {"Sec-Fetch-Site": "same-origin", "Cookie": cookies})
    _check_picture(response)
    assert (row.events, row.rejected[0].reason) == ([], "opted_out")
    assert {entry.state for entry in withdrawn.consents} == {"withdrawn"}
    assert response.headers["set-cookie"].startswith("__Host-ts_shop=; Path=/; Max-Age=0;")


def test_no_stranger_withdraws_consent_by_a_picture() -> None:
    """A picture planted elsewhere that says no takes no cookie away."""
    cookie = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60))
    headers = {"Sec-Fetch-Site": "same-origin", "Cookie": f"__Host-ts_shop={cookie}"}
    response, [row] = fetch("?s=shop&c=", headers)
    assert ("set-cookie" in response.headers, row.consents) == (False, [])


def test_an_event_with_a_given_id_is_the_same_event() -> None:
    """A page that gives the event's id can load the picture twice."""
    query = f"?s=shop&i={make_id(5)}"
    assert fetch(query)[1] == fetch(query)[1]


def test_head_and_other_methods() -> None:
    """HEAD counts nothing; POST is not for pictures."""
    response, rows = fetch("?s=shop", method="HEAD")
    assert (response.status_code, rows) == (200, [])
    assert fetch("?s=shop", method="POST")[0].status_code == 405


def test_made_ids_are_fresh_uuids() -> None:
    """Ids made here are UUIDv7 of the moment, and differ."""
    first, second = pixel.make_id(NOW_MS), pixel.make_id(NOW_MS)
    assert first != second
    assert first[14] == "7"
    assert first[19] in "89ab"
    assert may_sign(first, NOW_MS)


def test_settings_move_the_path() -> None:
    """The path is a setting."""
    edge: Any = Edge(Config(pixel_path="/img/1.gif"), KEYRING, SiteBook, MemorySpool(), lambda: NOW_MS)
    assert [route.path for route in pixel.routes(edge)] == ["/img/1.gif"]
