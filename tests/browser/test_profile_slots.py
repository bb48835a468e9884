"""The profile in the page, in real Chromium: slots, offers, consent and the Back button, against answers as a collector
gives them. The style sheet is the one that docs/tag.md shows."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from in_page import PAINTED
from page_server import DEADLINE_S, PageServer
from playwright.sync_api import Page
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from collector.config import Config
from collector.sites.book import Site
from collector.snippet import NONCE, make_snippet

pytestmark = pytest.mark.browser

DOCS = Path(__file__).parents[2] / "docs" / "tag.md"
CSP = "script-src 'nonce-n0nce'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types tagstitch"
ADA = {
    "v": 1,
    "known": True,
    "level": 3,
    "traits": {"first_name": "Ada <img src=x onerror=document.title='hit'>"},
    "audiences": ["loyal"],
    "offers": [{"id": "o1", "slot": "hero", "content": {"title": "For you", "href": "/deal"}}],
}
NOBODY: dict[str, Any] = {"v": 1, "known": False, "level": 0, "traits": {}, "audiences": [], "offers": []}
SLOTS = """
<div class=swap><p id=stranger data-ts-show="!known">Welcome!</p>
<p id=friend data-ts-show=known hidden>Welcome back, <b data-ts-text=first_name>dear <i>customer</i></b>!<br>
How are you?</p></div>
<p id=loyal data-ts-show=audience:loyal hidden>Free delivery.</p>
<section data-ts-offer=hero style="min-height: 8em"><h2 data-ts-field=title>Spring</h2>
<a data-ts-link=href href="/spring">More</a></section>
"""


@dataclass
class Desk:
    """Stands for `/x/me`: answers by site id, and what was asked."""

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Response:
        site = request.query_params["s"]
        self.asked.append(site)
        return JSONResponse(self.answers[site], headers={"Cache-Control": "no-store"})


@pytest.fixture
def desk(page_server: PageServer) -> Iterator[Desk]:
    desk = Desk()
    page_server.pages["/x/me"] = desk.answer
    yield desk
    del page_server.pages["/x/me"]


def style_of_docs() -> str:
    """The style sheets that the page about the tag shows in its section about flicker."""
    section = DOCS.read_text(encoding="utf-8").split("### Without flicker")[1].split("\n### ")[0]
    return "".join(re.findall(r"```css\n(.*?)```", section, re.S))


def add_slots(server: PageServer, site: str, *, consent: str = "implied", csp: str = "", body: str = SLOTS) -> str:
    """Serve a page with slots and the tag told to fill them; returns its address."""
    snippet = make_snippet(Config(), Site(site, consent=consent, auto="none"), nonce=True).replace(NONCE, "n0nce")
    snippet = snippet.replace(" data-site=", ' data-profile="400" data-site=')
    head = f"<title>{site}</title><style>{style_of_docs()}</style>{snippet}"
    html = f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>"
    return server.add_page(f"/{site}", html, {"Content-Security-Policy": csp} if csp else None)


def wait_for(page: Page, expression: str) -> None:
    """Asked from outside: the page's policy lets nothing evaluate a text within it."""
    end = time.monotonic() + DEADLINE_S
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"waited for {expression}"
        time.sleep(0.02)


def see(page: Page) -> dict[str, bool]:
    """Which of the elements a person sees."""
    return {name: page.locator(f"#{name}").is_visible() for name in ("stranger", "friend", "loyal")}


KNOWN = "document.getElementById('friend').hidden === false"
UNKNOWN = "document.getElementById('friend').hidden === true && document.documentElement.className === 'ts-ready'"


def test_slots_show_who_it_is_as_text_under_a_strict_policy(
    page: Page, page_server: PageServer, desk: Desk, site: str
) -> None:
    desk.answers[site] = ADA
    page.goto(add_slots(page_server, site, csp=CSP))
    wait_for(page, KNOWN)
    assert page.locator("#friend").inner_text() == f"Welcome back, {ADA['traits']['first_name']}!\nHow are you?"
    assert page.locator("#friend img").count() == 0
    assert see(page) == {"stranger": False, "friend": True, "loyal": True}
    assert page.locator("a").get_attribute("href") == f"{page_server.origin}/deal"
    assert page.title() != "hit"
    assert desk.asked == [site]


def test_an_offer_in_view_and_a_click_within_it_are_events(
    page: Page, page_server: PageServer, desk: Desk, site: str
) -> None:
    desk.answers[site] = ADA
    page.goto(add_slots(page_server, site))
    wait_for(page, KNOWN)
    page.locator("h2").click()
    page.locator("h2").click()
    events = page_server.event_names_are(site, ["page_view", "offer_clicked", "offer_shown"])
    assert [event["p"] for event in events[1:]] == [{"offer": "o1", "slot": "hero"}] * 2


def test_nothing_is_asked_before_consent_and_all_falls_back_with_it(
    page: Page, page_server: PageServer, desk: Desk, site: str
) -> None:
    desk.answers[site] = ADA
    page.goto(add_slots(page_server, site, consent="required"))
    wait_for(page, UNKNOWN)
    assert see(page) == {"stranger": True, "friend": False, "loyal": False}
    assert desk.asked == []
    page.evaluate("tagstitch('consent', 'all')")
    wait_for(page, KNOWN)
    assert page.evaluate("tagstitch('consent', 'none'); document.getElementById('friend').hidden")
    assert page.locator("b").inner_html() == "dear <i>customer</i>"
    assert see(page) == {"stranger": True, "friend": False, "loyal": False}
    assert desk.asked == [site]


def test_without_the_tag_the_style_sheet_shows_what_is_for_everybody(
    page: Page, page_server: PageServer, desk: Desk, site: str
) -> None:
    page.route("**/x/t.js", lambda route: route.abort())
    page.goto(add_slots(page_server, site))
    page.locator("#stranger").wait_for(state="visible", timeout=DEADLINE_S * 1000)
    assert see(page) == {"stranger": True, "friend": False, "loyal": False}
    assert page.evaluate("document.documentElement.className") == ""


def test_the_layout_stays_still(page: Page, page_server: PageServer, desk: Desk, site: str) -> None:
    desk.answers[site] = ADA
    page.add_init_script(
        "window.shifts = []; new PerformanceObserver((list) => shifts.push(...list.getEntries().map((e) => e.value)))"
        ".observe({ type: 'layout-shift', buffered: true });"
    )
    body = re.sub(r"<p id=loyal.*?</p>", "", SLOTS) + "<p>Always here.</p>"
    page.goto(add_slots(page_server, site, consent="required", body=body))
    wait_for(page, UNKNOWN)
    page.evaluate(PAINTED)
    page.evaluate("tagstitch('consent', 'all')")
    wait_for(page, KNOWN)
    page.evaluate(PAINTED)
    assert page.evaluate("shifts") == []


def test_a_sign_in_greets_a_moment_later_and_a_sign_out_at_once_is_nobody(
    page: Page, page_server: PageServer, desk: Desk, site: str
) -> None:
    desk.answers[site] = NOBODY
    page.goto(add_slots(page_server, site))
    wait_for(page, UNKNOWN)
    desk.answers[site] = ADA
    page.evaluate("tagstitch('identify', '4711')")
    wait_for(page, KNOWN)
    assert desk.asked == [site] * 2
    assert page.evaluate("tagstitch('reset'); document.getElementById('friend').hidden")
    page.evaluate("new Promise((done) => setTimeout(done, 100))")
    assert desk.asked == [site] * 2


def test_what_a_framework_adds_later_is_filled(page: Page, page_server: PageServer, desk: Desk, site: str) -> None:
    desk.answers[site] = ADA
    page.goto(add_slots(page_server, site))
    wait_for(page, KNOWN)
    text = page.evaluate(
        """new Promise((done) => {
          const added = document.createElement('div');
          added.innerHTML = '<p><b data-ts-text="first_name">friend</b></p>';
          document.body.append(added);
          requestAnimationFrame(() => done(added.textContent));
        })"""
    )
    assert text == ADA["traits"]["first_name"]


def test_a_page_that_waits_for_the_back_button_holds_nothing(
    page: Page, page_server: PageServer, desk: Desk, site: str
) -> None:
    """The browser's signs are made by hand: a browser that is driven keeps no page."""
    sign = "dispatchEvent(new PageTransitionEvent('%s', { persisted: true }))"
    desk.answers[site] = ADA
    page.goto(add_slots(page_server, site))
    wait_for(page, KNOWN)
    page.evaluate(sign % "pagehide")
    assert "Ada" not in page.locator("body").inner_html()
    desk.answers[site] = NOBODY
    page.evaluate(sign % "pageshow")
    wait_for(page, UNKNOWN)
    assert see(page) == {"stranger": True, "friend": False, "loyal": False}
    assert desk.asked == [site] * 2
