"""The debug panel in real Chromium, on a page that forbids everything that can be forbidden."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fresh_build import fresh_build
from page_server import PageServer
from playwright.sync_api import Browser, Locator, Page, expect
from starlette.responses import Response

pytestmark = pytest.mark.browser

PURPOSES = ("analytics", "identity", "fingerprint", "personalisation", "marketing")
POLICY = (
    "default-src 'none'; script-src 'nonce-n0'; style-src 'none'; connect-src 'self'; "
    "require-trusted-types-for 'script'; trusted-types tagstitch"
)
# The panel's shadow root is closed; a test that looks inside opens it.
OPEN = (
    "const attach = Element.prototype.attachShadow;"
    "Element.prototype.attachShadow = function (init) { return attach.call(this, { ...init, mode: 'open' }) };"
)


def serve_panel(page_server: PageServer, site: str, *, consent: str = "implied", body: str = "") -> str:
    """Serve a page with a fresh tag in debug mode, its panel wanted, under the strictest policy."""
    build = fresh_build()
    manifest = json.loads((build / "build.json").read_text("utf-8"))
    folder = f"/{site}"
    for file in manifest["files"]:
        key = file["name"].removesuffix(".js")
        content = (build / file["name"]).read_bytes()
        address = f"{folder}/t.js" if key == "t" else f"{folder}/t-{key}-{file['hash']}.js"
        page_server.pages[address] = lambda _request, content=content: Response(content, media_type="text/javascript")
    tag = (
        f'<script nonce="n0" src="{folder}/t.js" data-site="{site}" data-endpoint="/x/b" data-consent="{consent}" '
        'data-debug="overlay" data-auto="clicks"></script>'
    )
    # A click anywhere on this page is an event.
    html = (
        "<!doctype html><html lang=en data-ts-event=anywhere><head><title>shop</title></head>"
        f"<body>{body}{tag}</body></html>"
    )
    return page_server.add_page(f"{folder}/", html, {"Content-Security-Policy": POLICY})


def open_panel(page: Page, url: str) -> Locator:
    """Open the page and wait for its panel."""
    page.add_init_script(OPEN)
    page.goto(url)
    panel = page.get_by_role("region", name="tagstitch debug panel")
    panel.wait_for()
    return panel


def wait_for(panel: Locator, counts: str) -> None:
    """Wait until the counts read so, as `2 sent 0 held 1 refused`."""
    expect(panel.get_by_role("group", name="Show only").get_by_role("button")).to_have_text(
        re.findall(r"\d+ \w+", counts)
    )


def test_the_panel_says_what_is_held_sent_and_refused(page: Page, page_server: PageServer, site: str) -> None:
    """Under a policy without inline style and with Trusted Types, the panel counts and lists what happens, the newest
    first, and shows the beacon as it was sent."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    panel = open_panel(page, serve_panel(page_server, site, consent="required"))
    wait_for(panel, "0 sent 1 held 0 refused")
    chips = panel.get_by_role("list", name="Consent").get_by_role("listitem")
    assert chips.all_inner_texts() == [f"{name} ?" for name in PURPOSES]
    page.evaluate("tagstitch('track', 'add_to_cart', {price: 12.5})")
    wait_for(panel, "0 sent 2 held 0 refused")
    page_server.answers[site] = [Response(status_code=204, headers={"X-Tagstitch-Rejected": "signature"})]
    page.evaluate("tagstitch('consent', {analytics: true})")
    wait_for(panel, "1 sent 0 held 1 refused")
    assert chips.all_inner_texts() == ["analytics ✓", *(f"{name} ✕" for name in PURPOSES[1:])]

    rows = panel.get_by_role("list", name="newest first").get_by_role("listitem")
    lines = [row.replace("\n", " ").split(" ", 2)[1:] for row in rows.all_inner_texts()]
    assert [line[0].lower() for line in lines] == ["refused", "sent", "note", "held", "held"]
    assert lines[0][1] == "partly refused by the collector: signature"
    assert lines[1][1] == "page_view, add_to_cart"
    assert lines[2][1] == "consent: analytics"
    rows.nth(1).locator("summary").click()
    (beacon,) = page_server.beacon_count_is(site, 1)
    assert json.loads(rows.nth(1).locator("pre").inner_text()) == beacon.envelope
    assert not [text for text in said if "Content Security Policy" in text or "TrustedHTML" in text], said


@pytest.mark.long
def test_the_panel_is_worked_with_the_keyboard(page: Page, page_server: PageServer, site: str) -> None:
    """Every control is reached with Tab and worked with the keyboard: move, collapse, filter, open a row, close."""
    panel = open_panel(page, serve_panel(page_server, site))
    wait_for(panel, "1 sent 0 held 0 refused")

    def place() -> tuple[float, float]:
        box = panel.bounding_box()
        assert box
        return box["x"], box["y"]

    def focused() -> str:
        return str(
            page.evaluate(
                "(() => { const one = document.activeElement.shadowRoot?.activeElement;"
                " return one && (one.ariaLabel || one.innerText) })()"
            )
        )

    before = place()
    page.keyboard.press("Tab")
    assert focused().startswith("Move")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert place() == (before[0] - 24, before[1] - 24)
    for _ in range(60):
        page.keyboard.press("ArrowUp")
    assert place()[1] == 0, "the panel stays on the page"

    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    fold = panel.get_by_role("button", name="Collapse")
    assert focused() == "Collapse"
    page.keyboard.press("Enter")
    assert fold.get_attribute("aria-expanded") == "false"
    assert not panel.get_by_role("list", name="newest first").is_visible()
    page.keyboard.press("Enter")

    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    held = panel.get_by_role("button", name="held")
    page.keyboard.press("Space")
    assert held.get_attribute("aria-pressed") == "true"
    assert panel.locator("li:visible summary").count() == 0
    page.keyboard.press("Space")
    assert panel.locator("li:visible summary").count() > 0
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(panel.locator("pre")).to_be_visible()

    panel.get_by_role("button", name="Close").focus()
    page.keyboard.press("Enter")
    assert page.locator("tagstitch-debug").count() == 0
    page.evaluate("tagstitch('track', 'after')")
    page_server.event_names_are(site, ["page_view", "after"])
    assert page.locator("tagstitch-debug").count() == 0, "closed stays closed"


def test_the_panel_is_moved_with_the_mouse(whole_page: Page, page_server: PageServer, site: str) -> None:
    """Dragged by its head the panel goes along, never off the page, and lets go with the button."""
    panel = open_panel(whole_page, serve_panel(page_server, site))
    wait_for(panel, "1 sent 0 held 0 refused")
    start = panel.bounding_box()
    assert start
    x, y = start["x"] + 120, start["y"] + 15
    whole_page.mouse.move(x, y)
    whole_page.mouse.down()
    whole_page.mouse.move(x - 200, y - 100)
    whole_page.mouse.up()
    whole_page.mouse.move(10, 10)
    box = panel.bounding_box()
    assert box
    assert (box["x"], box["y"]) == (start["x"] - 200, start["y"] - 100)
    whole_page.mouse.move(box["x"] + 120, box["y"] + 15)
    whole_page.mouse.down()
    whole_page.mouse.move(-500, -500)
    whole_page.mouse.up()
    box = panel.bounding_box()
    assert box
    assert (box["x"], box["y"]) == (0, 0)


def test_the_panel_is_not_in_the_way(chromium: Browser, page_server: PageServer, site: str) -> None:
    """The page beside the panel is clicked as ever, nothing in the panel is noted as a click of the page, the page's
    scripts cannot look inside, and the panel keeps nothing on the device and sends nothing of its own."""
    context = chromium.new_context(viewport={"width": 900, "height": 700})
    page = context.new_page()
    body = '<button id="buy">buy</button>'
    page.goto(serve_panel(page_server, site, body=body))
    host = page.locator("tagstitch-debug")
    host.wait_for(state="attached")
    page_server.event_names_are(site, ["page_view"])
    assert page.evaluate("document.querySelector('tagstitch-debug').shadowRoot") is None
    box: Any = host.bounding_box()
    assert box["x"] + box["width"] == 900 - 12
    assert box["y"] + box["height"] == 700 - 12
    stored = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    before = page.evaluate(stored)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.mouse.click(box["x"] + 40, box["y"] + 90)  # a count, in the panel
    page.mouse.click(box["x"] + 100, box["y"] + 150)  # a row
    page.wait_for_timeout(600)
    assert requests == []
    assert page.evaluate(stored) == before
    page.click("#buy")
    page_server.event_names_are(site, ["page_view", "anywhere"])
    context.close()


def test_the_panel_looks_the_same_whatever_the_page_does(page: Page, page_server: PageServer, site: str) -> None:
    """A page whose style and frameworks are rough with everything in it does not hide, move or lose the panel."""
    panel = open_panel(page, serve_panel(page_server, site))
    wait_for(panel, "1 sent 0 held 0 refused")
    before = panel.bounding_box()
    page.evaluate(
        """() => {
          const rough = new CSSStyleSheet();
          rough.replaceSync('body,body *,tagstitch-debug{display:none;position:static;opacity:0;z-index:0;' +
            'font-size:60px;transform:rotate(9deg)}');
          document.adoptedStyleSheets = [rough];
        }"""
    )
    assert panel.bounding_box() == before
    page.evaluate("document.adoptedStyleSheets = []")
    page.evaluate("document.querySelector('tagstitch-debug').remove()")
    page.evaluate("tagstitch('track', 'again')")
    wait_for(panel, "2 sent 0 held 0 refused")
    assert panel.is_visible()
