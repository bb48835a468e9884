"""A person signs in with OpenID Connect: a real browser, a real provider, the built tag, the collector and the engine.

The page asks the provider with PKCE and a nonce, the person fills in the provider's form, the page buys the ID token
and hands it to the tag. What they looked at before is the customer's, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from instance_process import running_instance
from known_sites import wait_for_site
from page_server import serving
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from collector.snippet import make_snippet
from tests.id_tokens.openid_provider import CLIENT, OpenIdProvider, running_provider

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.long]

PAGE = """<!doctype html><html lang=en><head><title>Shop</title>@snippet</head><body><button>Sign in</button><script>
const issuer = "@issuer", client = "@client", back = `${location.origin}/signed-in`;
const write = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const draw = () => write(crypto.getRandomValues(new Uint8Array(32)));
document.querySelector("button").onclick = async () => {
  const verifier = sessionStorage.verifier = draw(), nonce = sessionStorage.nonce = draw();
  const challenge = write(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
  location = `${issuer}/auth?${new URLSearchParams({
    client_id: client, response_type: "code", scope: "openid", redirect_uri: back, nonce,
    code_challenge: challenge, code_challenge_method: "S256" })}`;
};
const code = new URLSearchParams(location.search).get("code");
if (code) fetch(`${issuer}/token`, { method: "POST", body: new URLSearchParams({
  grant_type: "authorization_code", client_id: client, code, redirect_uri: back,
  code_verifier: sessionStorage.verifier }) })
  .then((answer) => answer.json())
  .then(({ id_token }) => tagstitch("identify", "", { token: id_token, nonce: sessionStorage.nonce }));
</script></body></html>"""


class Shop:
    """A site of one page. `text` is filled in once provider and collector are there."""

    def __init__(self) -> None:
        self.text = ""
        self.origin = ""

    async def answer(self, _: Request) -> HTMLResponse:
        """Serve the page, whatever its path."""
        return HTMLResponse(self.text)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """The shop's server."""
    shop = Shop()
    with serving(Starlette(routes=[Route("/{path:path}", shop.answer)])) as port:
        shop.origin = f"http://127.0.0.1:{port}"
        yield shop


@pytest.fixture(scope="module")
def provider(shop: Shop) -> Iterator[OpenIdProvider]:
    """The provider, which sends people back to the shop."""
    with running_provider(f"{shop.origin}/signed-in") as running:
        yield running


def test_a_person_signs_in_with_openid_connect(
    tmp_path: Path, shop: Shop, provider: OpenIdProvider, chromium: Browser
) -> None:
    """Two anonymous pages, a sign-in by password and code: all of it the customer's, the sign-in with its level."""
    with running_instance(tmp_path, "--set", "settings_interval_s=0.3") as instance:
        issuer = f"{provider.url},{CLIENT}"
        instance.command(
            "site", "add", "shop", "--origin", shop.origin, "--consent", "off", "--issuer", issuer, "--auto", "none"
        )
        site = wait_for_site(instance, "shop")
        copy = instance.data / "web" / "issuer_keys.json"
        deadline = time.monotonic() + 20
        while not copy.exists():
            assert time.monotonic() < deadline, instance.log[-2000:]
            time.sleep(0.05)
        snippet = make_snippet(instance.config, site, base_url=instance.url)
        shop.text = PAGE.replace("@snippet", snippet).replace("@issuer", provider.url).replace("@client", CLIENT)
        context = chromium.new_context()
        page = context.new_page()
        for path in ("/", "/lamp"):
            with page.expect_response("**/x/b"):
                page.goto(f"{shop.origin}{path}")
        page.click("button")
        page.fill("input[name=login]", "anna")
        page.fill("input[name=methods]", "pwd otp")
        page.click("button")
        page.wait_for_url(f"{shop.origin}/signed-in*")
        rows = instance.until(
            "SELECT event_name, path, customer_id, assurance, mfa FROM v_events WHERE event_name != 'fingerprint'"
            " ORDER BY time, sequence",
            lambda rows: [row["customer_id"] for row in rows] == ["anna"] * 4,
        )
        context.close()
    assert [(row["event_name"], row["path"], row["assurance"], row["mfa"]) for row in rows] == [
        ("page_view", "/", 0, 0),
        ("page_view", "/lamp", 0, 0),
        ("page_view", "/signed-in", 0, 0),
        ("identify", "/signed-in", 3, 1),
    ]
