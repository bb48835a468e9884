"""Tagged links in real Chromium: the token leaves the address bar at once, and a human confirms it."""

from __future__ import annotations

import pytest
from page_server import PageServer
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

TOKEN = "eyJjIjoiNDcxMSJ9.aR2b3w.k3V9x0Qm1pZ4rT5u"


def test_token_is_gone_before_other_scripts_look(page: Page, page_server: PageServer, site: str) -> None:
    """With the snippet first in the head, the scripts after it and what they load see no token; the rest of the address
    stays. The tag's own requests do not carry it as their referrer, even where the browser asks for it ahead."""
    body = (
        "<script>window.seen = location.href; history.replaceState = () => { window.isPatched = true };"
        "new Image().src = '/picture.png'</script>"
    )
    page_server.add_page("/picture.png", "")
    referrers: dict[str, str] = {}
    page.on("request", lambda request: referrers.update({request.url: request.all_headers().get("referer", "")}))
    url = page_server.add_tagged_page("/landing", site, body=body)
    page.goto(f"{url}?a=1&lt={TOKEN}&b=2#part")
    clean = url + "?a=1&b=2"
    assert page.evaluate("window.seen") == clean + "#part"
    assert page.url == clean + "#part"
    (beacon,) = page_server.beacon_count_is(site, 1)
    assert beacon.envelope["lt"] == TOKEN
    assert beacon.envelope["u"] == clean + "#part"
    assert beacon.headers["referer"] == clean
    assert referrers[page_server.origin + "/picture.png"] == clean
    assert referrers[page_server.origin + "/x/t.js"] == page_server.origin + "/"
    assert not [url for url, referrer in referrers.items() if TOKEN in referrer]
    assert TOKEN not in page.evaluate("JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])")
    assert page.evaluate("tagstitch.u") is None


def test_plain_script_element_strips_as_well(page: Page, page_server: PageServer, site: str) -> None:
    """Without the snippet the tag itself takes the token off, with the browser's own function, not a patched one."""
    html = (
        "<script>history.replaceState = () => { window.isPatched = true }</script>"
        f'<script src="/x/t.js" data-site="{site}" data-consent="off"></script>'
    )
    page.goto(page_server.add_page("/plain", html) + f"?lt={TOKEN}")
    assert page.url == page_server.origin + "/plain"
    assert page.evaluate("window.isPatched") is None
    assert page_server.beacon_count_is(site, 1)[0].envelope["lt"] == TOKEN


@pytest.mark.parametrize(("act", "signal"), [("click", "pointer"), ("key", "key")])
def test_human_confirms(page: Page, page_server: PageServer, site: str, act: str, signal: str) -> None:
    """The first trusted click or key sends the token again with its signal, once; what a script dispatches does not."""
    page.goto(page_server.add_tagged_page("/human", site) + f"?lt={TOKEN}")
    page_server.beacon_count_is(site, 1)
    for kind in ("pointerdown", "keydown", "touchstart"):
        page.evaluate(f"document.body.dispatchEvent(new Event('{kind}', {{bubbles: true}}))")
    page.wait_for_timeout(400)
    page_server.beacon_count_is(site, 1)
    for _ in range(2):
        page.mouse.click(5, 5) if act == "click" else page.keyboard.press("a")
    confirmed = page_server.beacon_count_is(site, 2)[1]
    assert confirmed.names == ["link_confirm"]
    assert confirmed.envelope["lt"] == TOKEN
    assert confirmed.envelope["hs"] == signal


def test_dwell_confirms(page: Page, page_server: PageServer, site: str) -> None:
    """Five seconds of a visible, focused page count as a human too."""
    page.clock.install()
    page.goto(page_server.add_tagged_page("/dwell", site) + f"?lt={TOKEN}")
    page.clock.run_for(1000)
    page_server.beacon_count_is(site, 1)
    page.clock.run_for(5500)
    confirmed = page_server.beacon_count_is(site, 2)[1]
    assert confirmed.envelope["hs"] == "dwell"


def test_somebody_elses_parameter_stays(page: Page, page_server: PageServer, site: str) -> None:
    """A parameter of the same name that holds no token is the page's own."""
    url = page_server.add_tagged_page("/units", site) + "?lt=5"
    page.goto(url)
    (beacon,) = page_server.beacon_count_is(site, 1)
    assert page.url == url
    assert "lt" not in beacon.envelope
