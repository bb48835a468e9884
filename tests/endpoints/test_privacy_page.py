"""The page of one's own data where nothing can be asked: its answers, its headers, and what its tokens are worth."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from itsdangerous import URLSafeTimedSerializer
from starlette.applications import Starlette

from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.config import Config
from collector.endpoints import privacy_page
from collector.endpoints.edge import Edge
from collector.privacy.own_calls import read_value
from collector.privacy.page_tokens import (
    Confirmation,
    Sitting,
    read_confirmation,
    read_sitting,
    write_confirmation,
    write_sitting,
)
from collector.privacy.page_words import COLUMNS, read_page_words
from collector.privacy.parts import PARTS
from collector.privacy.words import LANGUAGES
from collector.profiles.definitions import TraitConfig, TraitRefused, TraitType
from collector.sites.book import SiteBook
from tests.edge_examples import KEYRING, NOW_MS, NOW_S, ORIGIN, SITE, VISITOR
from tests.endpoints.test_opt_out import MemorySpool

PATH = "/x/privacy"
GO_THERE = {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
COOKIE = {"Cookie": "__Host-ts_shop=" + write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S))}


def ask(method: str = "GET", query: str = "?s=shop", **more: Any) -> httpx.Response:
    """Ask for the page of a collector whose store cannot be reached."""
    book = SiteBook(sites={"shop": SITE}, read_at_ms=more.pop("read_at_ms", NOW_MS))
    edge = Edge(
        Config(engine_port=1, public_url="https://shop.example"), KEYRING, lambda: book, MemorySpool(), lambda: NOW_MS
    )
    app = Starlette(routes=privacy_page.routes(edge, {}))

    async def talk() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
            return await client.request(method, PATH + query, **more)

    return asyncio.run(talk())


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_store_that_is_away_is_said(language: str) -> None:
    """503 with the time to come again, in the language asked for, and nothing changed."""
    answer = ask(headers={**GO_THERE, **COOKIE, "Accept-Language": language})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert read_page_words(language).labels["failed_later"] in answer.text
    assert "set-cookie" not in answer.headers


def test_sites_that_are_not_read_yet() -> None:
    """A process that knows no site yet knows no visitor."""
    assert ask(read_at_ms=0, headers=GO_THERE).status_code == 503


def test_a_page_of_no_site() -> None:
    """Sites are not told from each other by anything but this."""
    assert ask(query="?s=nosite", headers=GO_THERE).status_code == 404


def test_what_no_browser_went_to_shows_nothing() -> None:
    """A script of the site gets the page without any data, which needs no store; it may be framed by the site alone."""
    answer = ask(headers={**COOKIE, "Sec-Fetch-Dest": "empty"})
    assert answer.status_code == 200
    assert VISITOR not in answer.text
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["frame-ancestors"].split() == ["'self'", *SITE.origins]
    assert policy["default-src"] == "'none'"
    assert "allow-scripts" not in policy["sandbox"]
    assert "allow-same-origin" not in policy["sandbox"]
    assert answer.headers["cache-control"] == "no-store"
    assert "x-frame-options" not in answer.headers


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (b"", {}),
        (b"\xff\xfe", {}),
        (b"action=take", {}),
        (b"action=erase-sure&token=" + b"x" * 4000, {}),
        (b"a=1&" * 64, {}),
        (b"x" * 20_000, {}),
        (b"action=take", {"Content-Encoding": "br"}),
    ],
)
def test_a_form_that_is_none(data: bytes, headers: dict[str, str]) -> None:
    """It is answered as one from elsewhere."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = ask("POST", content=data, headers={**GO_THERE, **COOKIE, **form, **headers})
    assert answer.status_code == 400
    assert "Nothing was changed" in answer.text


@pytest.mark.parametrize("form", [{"action": "dance"}, {"action": "switch", "purpose": "a", "answer": "refuse"}])
def test_a_wish_that_there_is_none_of(form: dict[str, str]) -> None:
    """The token is right, and what is wanted is not: analytics is refused by an objection."""
    token = write_sitting(KEYRING, Sitting("shop", VISITOR))
    assert ask("POST", data={**form, "token": token}, headers=GO_THERE).status_code == 400


def test_a_token_is_ours_of_its_kind_and_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is no sitting, a sitting no cookie, and both have their time."""
    sitting = Sitting("shop", VISITOR, refused="fm", is_out=True)
    text = write_sitting(KEYRING, sitting)
    link = write_confirmation(KEYRING, Confirmation("main", "request"))
    assert read_sitting(KEYRING, text) == sitting
    assert read_confirmation(KEYRING, link, 60) == Confirmation("main", "request")
    assert read_sitting(KEYRING, link) is None
    assert read_confirmation(KEYRING, text, 60) is None
    for wrong in ("", "x", text[:-1], text + "x", "\x00", "ä", text * 9):
        assert read_sitting(KEYRING, wrong) is None
    foreign = URLSafeTimedSerializer("another secret", salt=b"tagstitch.privacy.page").dumps({"site_id": "shop"})
    assert read_sitting(KEYRING, foreign) is None
    later = NOW_S + 10_000_000_000
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: later)
    assert read_sitting(KEYRING, text) is None
    assert read_confirmation(KEYRING, link, 60) is None


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_every_language_says_everything(code: str) -> None:
    """The same sentences with the same places to fill in; each part has its columns."""
    words, english = read_page_words(code), read_page_words("en")
    for name, text in words.labels.items():
        assert text.count("{") == english.labels[name].count("{"), name
    assert words.labels["other_language"] in LANGUAGES
    assert {column: set(values) for column, values in words.values.items()} == {
        column: set(values) for column, values in english.values.items()
    }
    assert COLUMNS.keys() == {part.name for part in PARTS}
    for part in PARTS:
        assert set(COLUMNS[part.name]) <= part.columns.keys()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("text", " Bremen ", "Bremen"),
        ("text", "", None),
        ("number", "1.5", 1.5),
        ("integer", "7", 7),
        ("boolean", "True", True),
        ("date", "1990-02-28", "1990-02-28"),
        ("json", '{"a": 1}', {"a": 1}),
    ],
)
def test_what_somebody_types(kind: str, text: str, value: object) -> None:
    """A value of the trait's type; nothing takes a correction back."""
    assert read_value(TraitConfig(type=TraitType(kind)), text) == value


@pytest.mark.parametrize(("kind", "text"), [("number", "much"), ("json", "[" * 900), ("text", "x" * 1_001)])
def test_what_is_no_value(kind: str, text: str) -> None:
    """It is refused, never a failure."""
    with pytest.raises(TraitRefused):
        read_value(TraitConfig(type=TraitType(kind)), text)
