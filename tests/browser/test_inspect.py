"""The dry run in real Chromium, with the real tag on a page and a real web process that judges what it sends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from page_server import PageServer
from playwright.sync_api import Browser, Page, expect

from collector.config import Config
from collector.sites.book import Site
from collector.snippet import make_snippet
from tests.bad_input.web_process import WebProcess, running_web

pytestmark = pytest.mark.browser

SITE = "inspected"
EXAMPLE = Path(__file__).parents[2] / "examples" / "playwright" / "test_shop_events.py"


@pytest.fixture(scope="module")
def web(page_server: PageServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """The collector, with the dry run on. At the end its spool is empty: nothing of all this was stored."""
    site = Site(site_id=SITE, origins=(page_server.origin,), consent="implied", count_automated=True)
    with running_web(tmp_path_factory.mktemp("inspect"), [site], "inspect=true") as process:
        yield process
    assert process.read_rows() == []
    assert "Traceback" not in process.log


@pytest.fixture
def base(web: WebProcess) -> str:
    """Where the collector is; it has forgotten what other tests sent."""
    urllib.request.urlopen(
        urllib.request.Request(f"http://localhost:{web.port}/v1/inspect/reset", method="POST")
    ).close()
    return f"http://localhost:{web.port}"


@pytest.fixture
def inspect(page: Page, base: str) -> Page:
    """The page, listening."""
    page.goto(f"{base}/inspect")
    expect(page.locator("#state")).to_have_attribute("data-state", "live")
    return page


def _make_event(name: str, **fields: Any) -> dict[str, Any]:
    return {"i": str(uuid.uuid4()), "n": name, "t": time.time_ns() // 1_000_000, **fields}


def _post(base: str, origin: str, *events: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Send a beacon as a page of this origin would."""
    body = {"v": 1, "s": SITE, "st": time.time_ns() // 1_000_000, "d": str(uuid.uuid4()), "e": list(events), **fields}
    request = urllib.request.Request(f"{base}/x/inspect", json.dumps(body).encode(), {"Origin": origin})
    with urllib.request.urlopen(request, timeout=20) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def _add_page(page_server: PageServer, base: str, path: str, body: str) -> str:
    """Serve a page that carries the tag of this collector, pointed at the dry run."""
    site = Site(site_id=SITE, consent="implied", auto="none")
    snippet = make_snippet(Config(), site, base_url=base)
    snippet = snippet.replace("<script async", f'<script async data-endpoint="{base}/x/inspect"')
    html = f"<!doctype html><html lang=en><head><title>Checkout</title>{snippet}</head><body>{body}</body></html>"
    return page_server.add_page(path, html)


def test_what_the_real_tag_sends_is_shown(inspect: Page, base: str, page_server: PageServer) -> None:
    """A page view and a tracked event appear while one looks, with what was taken out, marked as this browser's own."""
    address = _add_page(page_server, base, "/inspected", "")
    shop = inspect.context.new_page()
    shop.goto(f"{address}?utm_source=letter&secret=1")
    shop.evaluate("tagstitch('track', 'add_to_cart', {value: 129, contact: 'ada@mail.example'})")
    expect(inspect.locator("#count-good")).to_have_text("2")
    inspect.locator("#list li", has_text="add_to_cart").click()
    outcome = inspect.locator("#outcome")
    outcome.locator(".event-card", has_text="add_to_cart").evaluate("card => { card.open = true }")
    for text in ("Would be stored", "add_to_cart", "129", "[removed]", "from this browser", "].p.contact"):
        expect(outcome.get_by_text(text).first).to_be_visible()
    expect(outcome).to_contain_text("the parameter secret, which is on no list")
    expect(outcome).not_to_contain_text("ada@")
    expect(inspect.locator("#count-bad")).to_have_text("0")
    expect(inspect.locator("#start")).to_be_hidden()
    shop.close()


def test_what_is_wrong_is_said_with_its_fix(inspect: Page, base: str, page_server: PageServer) -> None:
    """A page that is on no list, and an event with a wrong time."""
    told = _post(base, page_server.origin, _make_event("page_view"), _make_event("purchase", t=0))
    assert [finding["reason"] for finding in told["rejected"]] == ["clock"]
    expect(inspect.locator("#outcome h2")).to_have_text("Would be stored in part")
    expect(inspect.locator("#outcome .findings li").first).to_contain_text("event purchase")
    expect(inspect.locator("#outcome .fix")).to_contain_text("milliseconds since 1970")
    _post(base, "https://elsewhere.example", _make_event("page_view"))
    expect(inspect.locator("#outcome h2")).to_have_text("Would be refused")
    expect(inspect.locator("#outcome .fix")).to_contain_text("tagstitch site add")
    expect(inspect.locator("#count-bad")).to_have_text("2")


def test_it_is_worked_by_keyboard(inspect: Page, base: str, page_server: PageServer) -> None:
    """Arrows move through the list, a slash leads to the search, Escape out of it, Tab on to the filters."""
    for name in ("first", "second", "third"):
        _post(base, page_server.origin, _make_event(name))
    expect(inspect.locator("#list li")).to_have_count(3)
    inspect.locator("#list").focus()
    chosen = inspect.locator("#list li[aria-selected=true]")
    expect(chosen).to_contain_text("third")
    inspect.keyboard.press("ArrowDown")
    expect(chosen).to_contain_text("second")
    inspect.keyboard.press("End")
    expect(chosen).to_contain_text("first")
    expect(inspect.locator("#outcome summary b").first).to_have_text("first")
    active = inspect.locator("#list").get_attribute("aria-activedescendant")
    assert active == chosen.get_attribute("id")
    inspect.keyboard.press("/")
    expect(inspect.locator("#find")).to_be_focused()
    inspect.keyboard.type("second")
    expect(inspect.locator("#list li")).to_have_count(1)
    inspect.keyboard.press("Escape")
    expect(inspect.locator("#list li")).to_have_count(3)
    expect(inspect.locator("#list")).to_be_focused()
    inspect.locator("#find").focus()
    inspect.keyboard.press("Tab")
    assert inspect.evaluate("document.activeElement.name") == "which"


def test_the_filters(inspect: Page, base: str, page_server: PageServer) -> None:
    """By outcome, by site and by browser; a filter that nothing fits says so."""
    _post(base, page_server.origin, _make_event("fine"))
    _post(base, page_server.origin, _make_event("late", t=0))
    _post(base, page_server.origin, _make_event("lost"), s="nowhere")
    items = inspect.locator("#list li")
    expect(items).to_have_count(3)
    inspect.get_by_text("With refusals", exact=True).click()
    expect(items).to_have_count(2)
    inspect.get_by_text("Stored", exact=True).click()
    expect(items).to_have_count(1)
    inspect.get_by_text("All", exact=True).click()
    inspect.locator("#site").select_option(SITE)
    expect(items).to_have_count(2)
    inspect.locator("#mine").check()
    expect(items).to_have_count(0)
    expect(inspect.locator("#nothing")).to_be_visible()
    expect(inspect.locator("#outcome")).to_be_hidden()


def test_a_pause_holds_and_a_clearing_empties(inspect: Page, base: str, page_server: PageServer) -> None:
    """While paused nothing moves; afterwards all of it is there. Clearing brings the first page back."""
    _post(base, page_server.origin, _make_event("first"))
    expect(inspect.locator("#list li")).to_have_count(1)
    inspect.locator("#pause").click()
    _post(base, page_server.origin, _make_event("second"))
    expect(inspect.locator("#state")).to_have_text("Paused")
    expect(inspect.locator("#list li")).to_have_count(1)
    inspect.locator("#pause").click()
    expect(inspect.locator("#list li")).to_have_count(2)
    inspect.locator("#clear").click()
    expect(inspect.locator("#start")).to_be_visible()
    expect(inspect.locator("#count-beacons")).to_have_text("0")
    expect(inspect.locator("#attribute")).to_have_text(f'data-endpoint="{base}/x/inspect"')


def test_a_beacon_is_judged_by_hand(inspect: Page, page_server: PageServer) -> None:
    """The sample is right as it stands, and a body that is no JSON is told to be none."""
    inspect.locator("#try summary").click()
    expect(inspect.locator("#origin")).to_have_value(page_server.origin)
    inspect.get_by_role("button", name="Judge it").click()
    expect(inspect.locator("#outcome h2")).to_have_text("Would be stored")
    expect(inspect.locator("#outcome")).to_contain_text("[removed]")
    inspect.locator("#body").fill("{")
    inspect.get_by_role("button", name="Judge it").click()
    expect(inspect.locator("#outcome h2")).to_have_text("Would be refused")
    expect(inspect.locator("#outcome .reason")).to_have_text("syntax")


def test_what_was_sent_is_shown_as_text(inspect: Page, base: str, page_server: PageServer) -> None:
    """Markup in every text that a stranger can send runs nothing."""
    evil = "<img src=x onerror=window.hacked=1>"
    page_of = f"{page_server.origin}/{evil}"
    event = _make_event(evil, h=evil, p={evil: evil, "__proto__": [evil]})
    _post(base, page_server.origin, event, u=page_of, r=page_of, **{evil: 1})
    expect(inspect.locator("#outcome")).to_contain_text("onerror")
    inspect.locator("#outcome details.raw summary").click()
    assert inspect.locator("main img").count() == 0
    assert inspect.evaluate("window.hacked") is None


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_is_never_wider_than_the_screen(
    chromium: Browser, base: str, page_server: PageServer, width: int
) -> None:
    """With long names, addresses and values it does not scroll sideways."""
    long = "a-very-long-name-that-somebody-has-thought-of" * 3
    page_of = f"{page_server.origin}/{long}"
    event = _make_event(long[:128], h=long, p={long[:120]: long * 9, "list": [long] * 4})
    _post(base, page_server.origin, event, _make_event(long[:100], t=0), u=page_of, r=page_of)
    context = chromium.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(f"{base}/inspect")
    expect(page.locator("#outcome h2")).to_be_visible()
    page.locator("#outcome details.raw summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


@pytest.mark.parametrize("is_right", [pytest.param(True, marks=pytest.mark.long), False])
@pytest.mark.long
def test_the_example_runs_in_a_sites_own_tests(
    base: str, page_server: PageServer, chromium_path: str, tmp_path: Path, is_right: bool
) -> None:
    """Copied as it stands, it passes on a shop that sends what was agreed, and fails on one that does not."""
    value = 129 if is_right else 12.9
    _add_page(
        page_server,
        base,
        "/checkout",
        "<p role=status></p><button>Buy</button><script>document.querySelector('button').onclick = () => {"
        f"tagstitch('track', 'purchase', {{value: {value}, currency: 'EUR', contact: 'ada@mail.example'}});"
        "document.querySelector('[role=status]').textContent = 'Thank you' }</script>",
    )
    copy = tmp_path / EXAMPLE.name
    copy.write_bytes(EXAMPLE.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", str(copy)],
        cwd=tmp_path,
        env={**os.environ, "SHOP_URL": page_server.origin, "TAGSTITCH_URL": base, "CHROMIUM": chromium_path},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode == 0) is is_right, done.stdout + done.stderr
    assert ("12.9" in done.stdout) is not is_right


def test_the_outcome_is_whole_json(base: str, page_server: PageServer) -> None:
    """What the endpoint answers can be read by a program: row, evidence, removals, refusals."""
    told = _post(base, page_server.origin, _make_event("identify", k=[{"k": "customer", "v": "4711"}]))
    assert set(told) >= {"accepted", "status", "row", "evidence", "removed", "rejected", "notes"}
    assert told["evidence"][0]["b_value"] == "4711"
    assert msgspec.json.decode(msgspec.json.encode(told)) == told
