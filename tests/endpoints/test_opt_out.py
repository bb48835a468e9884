"""The public page for objections: what it says, sets and deletes, and whose answers it takes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.config import Config
from collector.endpoints import beacon, opt_out
from collector.endpoints.edge import Edge
from collector.endpoints.opt_out_text import ENGLISH, GERMAN, choose_language
from collector.event import LandingRow
from collector.sites.book import Site, SiteBook
from tests.edge_examples import KEYRING, NOW_MS, NOW_S, ORIGIN, SITE, VISITOR, make_body

BOOK = SiteBook(
    sites={
        "shop": SITE,
        "club": Site("club", cookie="sid", cookie_domain="shop.example"),
        "far": Site("far", cookie="sid", cookie_domain="far.example"),
        "gone": Site("gone", deleted=True),
    },
    read_at_ms=NOW_MS,
)
OBJECT, UNDO = {"answer": "object"}, {"answer": "undo"}
OWN = {"Origin": ORIGIN}


class MemorySpool:
    """A spool in memory."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    async def append(self, line: bytes) -> None:
        self.lines.append(line)


def ask(
    method: str = "GET", headers: dict[str, str] | None = None, *, base: str = ORIGIN, **more: Any
) -> httpx.Response:
    """Ask for the page. Redirects are not followed."""
    settings = more.pop("settings", {})
    edge = Edge(Config(**settings), KEYRING, lambda: BOOK, MemorySpool(), lambda: NOW_MS)
    app = Starlette(routes=opt_out.routes(edge))

    async def talk() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as client:
            return await client.request(method, edge.config.opt_out_path, headers=headers, **more)

    return asyncio.run(talk())


def test_a_browser_that_has_not_objected() -> None:
    """The page says so in plain words, what may be recorded, and has one button; nothing is set by looking at it."""
    response = ask()
    assert response.status_code == 200
    assert ENGLISH.is_in in response.text
    assert all(line in response.text for line in ENGLISH.what)
    assert re.findall(r'name="answer" value="(\w+)"', response.text) == ["object"]
    assert "set-cookie" not in response.headers
    assert "<script" not in response.text


def test_a_browser_that_has_objected() -> None:
    """The page says so, and has the button that takes it back."""
    response = ask(headers={"Cookie": "a=b; _ts_out=1"})
    assert ENGLISH.is_out in response.text
    assert re.findall(r'name="answer" value="(\w+)"', response.text) == ["undo"]
    assert ENGLISH.is_in in ask(headers={"Cookie": "_ts_out=0"}).text


def test_the_content_policy_allows_its_own_style_and_nothing_else() -> None:
    """The style runs by its hash; no script, no other source, no foreign frame; nothing is kept by caches."""
    response = ask()
    policy = response.headers["content-security-policy"]
    [style] = re.findall(r"<style>(.*?)</style>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'self'" in policy
    assert "style=" not in response.text
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "same-origin", "with none, browsers would not say where the form is"


def test_an_objection() -> None:
    """The cookie is set for this host and the domain that shares its visitors, readable by the tag, for 400 days."""
    response = ask("POST", OWN, data=OBJECT)
    assert (response.status_code, response.headers["location"]) == (303, "opt-out")
    assert response.headers.get_list("set-cookie") == [
        "_ts_out=1; Path=/; Max-Age=34560000; SameSite=Lax; Secure",
        "_ts_out=1; Path=/; Max-Age=34560000; Domain=shop.example; SameSite=Lax; Secure",
    ]


def test_an_objection_takes_our_cookies_away() -> None:
    """Those that came along, in every form that this host can delete; not the operator's, and nobody else's."""
    value = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S))
    cookies = f"__Host-ts_shop={value}; _ts_v=1.x; sid=y; sid_v=z; __Host-ts_operator=o; basket=7"
    response = ask("POST", {**OWN, "Cookie": cookies}, data=OBJECT)
    dropped = [text for text in response.headers.get_list("set-cookie") if not text.startswith("_ts_out")]
    assert all("Max-Age=0" in text for text in dropped)
    assert sorted((text.split("=")[0], "Domain=shop.example" in text) for text in dropped) == [
        ("__Host-ts_shop", False),
        ("_ts_v", False),
        ("sid", False),
        ("sid", True),
        ("sid_v", False),
        ("sid_v", True),
    ]
    assert not [text for text in dropped if "far.example" in text]


def test_the_way_back() -> None:
    """Undo takes the cookie away in both forms, and nothing else."""
    response = ask("POST", {**OWN, "Cookie": "_ts_out=1; __Host-ts_shop=x"}, data=UNDO)
    assert response.status_code == 303
    assert [text.split("; SameSite")[0] for text in response.headers.get_list("set-cookie")] == [
        "_ts_out=; Path=/; Max-Age=0",
        "_ts_out=; Path=/; Max-Age=0; Domain=shop.example",
    ]


def test_what_the_page_sets_is_what_the_collector_refuses_by() -> None:
    """In a browser's hands: object, see it said, send a beacon in vain, take it back, send one that is kept."""
    spool = MemorySpool()
    book = SiteBook(sites={"shop": SITE}, read_at_ms=NOW_MS)
    edge = Edge(Config(), KEYRING, lambda: book, spool, lambda: NOW_MS)
    app = Starlette(routes=[*opt_out.routes(edge), *beacon.routes(edge)])

    async def talk() -> list[str]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, follow_redirects=True) as browser:
            said = []
            for answer in (OBJECT, UNDO):
                page = await browser.post("/x/opt-out", data=answer, headers=OWN)
                said.append("out" if ENGLISH.is_out in page.text else "in")
                sent = await browser.post("/x/b", content=msgspec.json.encode(make_body()), headers=OWN)
                said.append(sent.headers.get("x-tagstitch-rejected", "kept"))
            return said

    assert asyncio.run(talk()) == ["out", "opted_out", "in", "kept"]
    assert [len(msgspec.json.decode(line, type=LandingRow).events) for line in spool.lines] == [1]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "https://shop.example.evil.example"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_a_form_of_somebody_else_changes_nothing(headers: dict[str, str]) -> None:
    """Neither an objection nor its withdrawal can be sent by another site in the visitor's name."""
    for answer in (OBJECT, UNDO):
        response = ask("POST", headers, data=answer)
        assert (response.status_code, "set-cookie" in response.headers) == (403, False)


def test_behind_a_proxy_the_public_address_counts() -> None:
    """With `public_url`, or where the browser itself says same-origin, another Host does no harm."""
    settings = {"public_url": ORIGIN}
    response = ask("POST", OWN, base="http://10.0.0.7:8000", settings=settings, data=OBJECT)
    assert (response.status_code, len(response.headers.get_list("set-cookie"))) == (303, 2)
    assert "Secure" in response.headers["set-cookie"]
    inside = {"Origin": "http://10.0.0.7:8000"}
    assert ask("POST", inside, base="http://10.0.0.7:8000", settings=settings, data=OBJECT).status_code == 403
    told = {**OWN, "Sec-Fetch-Site": "same-origin"}
    assert ask("POST", told, base="http://10.0.0.7:8000", data=OBJECT).status_code == 303


@pytest.mark.parametrize(
    "content", [b"", b"answer=", b"answer=maybe", b"\xff\x00", b"answer=object" + b"x" * 300, b"a" * 10_000_000]
)
def test_an_odd_form_is_refused(content: bytes) -> None:
    """400 with a sentence, whatever comes."""
    response = ask("POST", OWN, content=content)
    assert (response.status_code, "set-cookie" in response.headers) == (400, False)
    assert response.text == ENGLISH.refused


def test_other_methods_and_another_path() -> None:
    """HEAD says what GET would, nothing else is taken, and the path is a setting."""
    assert ask("HEAD").status_code == 200
    assert ask("PUT").status_code == 405
    response = ask("POST", OWN, settings={"opt_out_path": "/privacy/no"}, data=OBJECT)
    assert response.headers["location"] == "no"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de-DE,de;q=0.9,en;q=0.8", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("fr, de;q=0.3", "de"),
        ("fr, en;q=0.2, de;q=0.7", "de"),
        ("de;q=0, en", "en"),
        ("de;q=oops", "en"),
        ("de;q=nan", "en"),
        ("fr", "en"),
        ("," * 10_000, "en"),
    ],
)
def test_the_page_speaks_the_visitors_language(header: str, language: str) -> None:
    """The best-liked of ours; English for everybody else, and for nonsense."""
    assert choose_language(header) == language
    response = ask(headers={"Accept-Language": header})
    assert f'<html lang="{language}">' in response.text
    assert (GERMAN if language == "de" else ENGLISH).title in response.text
