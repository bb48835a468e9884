"""`GET /l/<token>`: to the target in the token, nowhere else, and leaving nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from collector.config import Config
from collector.endpoints import links
from collector.endpoints.edge import Edge
from collector.links import add_token, mint_link
from collector.sites.book import SiteBook
from tests.edge_examples import KEYRING, NOW_MS, NOW_S


class _NoSpool:
    async def append(self, line: bytes) -> None:
        raise AssertionError("a redirect writes nothing")


def follow(token: str, *, method: str = "GET", **settings: Any) -> httpx.Response:
    """Ask for the link."""
    edge = Edge(Config(**settings), KEYRING, SiteBook, _NoSpool(), lambda: NOW_MS)
    app = Starlette(routes=links.routes(edge))

    async def talk() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop.example") as client:
            return await client.request(method, f"{edge.config.link_path}/{token}")

    return asyncio.run(talk())


def _mint(target: str = "https://shop.example/offer?a=1#top", **changes: Any) -> str:
    return mint_link(KEYRING, "4711", **{"now_s": NOW_S, "target": target, **changes})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_to_the_target_with_the_token(method: str) -> None:
    """302 to the signed target, with the token for the landing page's tag."""
    token = _mint()
    response = follow(token, method=method)
    assert response.status_code == 302
    assert response.headers["location"] == f"https://shop.example/offer?a=1&lt={token}#top"


def test_nothing_is_left_behind() -> None:
    """No cookie, no cache, no referrer."""
    response = follow(_mint())
    assert "set-cookie" not in response.headers
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_an_expired_link_still_leads_there() -> None:
    """The reader of an old mail gets the page; nobody is recognised by it."""
    response = follow(_mint(now_s=NOW_S - 86_400 * 100))
    assert response.status_code == 302
    assert response.headers["location"] == "https://shop.example/offer?a=1#top"


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (_mint()[:-8] + "AAAAAAAA", 404),
        ("nothing", 404),
        ("b2c4..", 404),
        ("https:evil.example", 404),
        ("%0d%0aset-cookie:a=b", 404),
        *(
            (_mint() + tail, 404)
            for tail in ("=%0d%0aset-cookie:a=evil", "%0a", "=&evil=1", "=%23evil", "%c3%a9", "%20")
        ),
        ("x" * 3000, 404),
        (_mint(target=""), 404),
        (_mint(target="", now_s=NOW_S - 86_400 * 100), 410),
    ],
)
def test_a_bad_link_gets_a_plain_page(token: str, status: int) -> None:
    """A token that does not verify, or has no target, leads nowhere and repeats nothing of what was sent."""
    response = follow(token)
    assert response.status_code == status
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == "default-src 'none'"
    assert "location" not in response.headers
    assert "evil" not in response.text


@pytest.mark.parametrize("token", ["https://evil.example", "https:%2F%2Fevil.example", "a/b", "", "..%2f..%2fetc"])
def test_a_path_that_is_no_token_is_not_found(token: str) -> None:
    """What has more than one part is no link at all."""
    response = follow(token)
    assert response.status_code == 404
    assert "location" not in response.headers


def test_the_parameter_and_the_path_are_settings() -> None:
    """The token travels under the name that the settings give."""
    response = follow(_mint(), link_parameter="k", link_path="/go")
    assert "&k=" in response.headers["location"]


def test_the_landing_address_has_one_token() -> None:
    """A token that stands in the target already is replaced."""
    assert add_token("https://shop.example/?lt=old&a=1", "new") == "https://shop.example/?a=1&lt=new"
