"""The catalogue and the browser's signal, as anybody can ask for them."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette

from collector.config import Config
from collector.endpoints import catalogue, gpc
from collector.endpoints.edge import Edge
from collector.sites.book import SiteBook
from tests.edge_examples import KEYRING, NOW_MS, ORIGIN, SITE
from tests.endpoints.test_opt_out import MemorySpool

PATH = "/x/privacy/catalogue"


def ask(path: str, **headers: str) -> httpx.Response:
    """Ask for it; `accept_language` is the header of that name."""
    book = SiteBook(sites={"shop": SITE}, read_at_ms=NOW_MS)
    edge = Edge(Config(), KEYRING, lambda: book, MemorySpool(), lambda: NOW_MS)
    app = Starlette(routes=[*catalogue.routes(edge), *gpc.routes()])
    sent = {name.replace("_", "-"): value for name, value in headers.items()}

    async def talk() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
            return await client.get(path, headers=sent)

    return asyncio.run(talk())


def test_programs_get_json() -> None:
    """Without a site no site is listed; with one its retention and cookies."""
    answer = ask(PATH, accept="*/*")
    assert (answer.status_code, answer.json()["sites"]) == (200, [])
    assert {one["category"] for one in answer.json()["categories"]} >= {"behaviour", "fingerprint", "consent"}
    [site] = ask(f"{PATH}?s=shop", accept="*/*").json()["sites"]
    assert site["site"] == "shop"
    assert ask(f"{PATH}?s=nosite", accept="*/*").json()["sites"] == []


@pytest.mark.parametrize(
    ("query", "accept_language", "title"),
    [
        ("", "de-AT,en;q=0.5", "Katalog der personenbezogenen Daten"),
        ("?s=shop", "fr", "Catalogue of personal data"),
        ("?language=de", "en", "Katalog der personenbezogenen Daten"),
        ("?language=../../etc/passwd", "en", "Catalogue of personal data"),
    ],
)
def test_people_get_a_page(query: str, accept_language: str, title: str) -> None:
    """In their language; no script, nothing from elsewhere."""
    answer = ask(PATH + query, accept="text/html", accept_language=accept_language)
    assert answer.headers["content-type"].startswith("text/html")
    assert f"<h1>{title}</h1>" in answer.text
    assert ("__Host-ts_shop" in answer.text) == ("shop" in query)
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_signal_is_obeyed() -> None:
    """As the specification of Global Privacy Control has it."""
    answer = ask("/.well-known/gpc.json")
    assert answer.json() == {"gpc": True, "lastUpdate": gpc.LAST_UPDATE}
    assert answer.headers["content-type"] == "application/json"
