"""The demo shop in real Chromium: the banner, the forms, the sign-in, and nothing before consent."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from collector.reasons import Reason
from collector.signing import check_identify
from collector.sites.book import Site
from tests.console.running_app import RunningPages, running_pages

pytestmark = pytest.mark.browser

SITE = Site(site_id="demo", identify_versions=(1,))


@pytest.fixture(scope="module")
def pages() -> Iterator[RunningPages]:
    """Shop and tag on a free port."""
    with running_pages() as running:
        yield running


@pytest.fixture
def shop(page: Page, pages: RunningPages) -> Iterator[Page]:
    """A browser at the shop's door. What its content policy refuses fails the test."""
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
    page.goto(f"{pages.origin}/demo")
    yield page
    assert [text for text in refused if "favicon" not in text] == []


def _read_visitor(context: BrowserContext) -> str:
    """The visitor id in the cookie that the tag wrote."""
    for cookie in context.cookies():
        found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", cookie.get("value", ""))
        if found and cookie.get("name") != "demo_shop":
            return found.group()
    pytest.fail("the tag wrote no cookie")


def _accept(page: Page, context: BrowserContext) -> str:
    page.locator("[data-consent-choice=all]").click()
    expect(page.locator("#consent")).to_be_hidden()
    end = time.monotonic() + 10
    while not any(cookie.get("name") == "_ts_v" for cookie in context.cookies()):
        assert time.monotonic() < end, context.cookies()
        time.sleep(0.02)
    return _read_visitor(context)


def _sign_in(page: Page, pages: RunningPages, customer: str) -> None:
    page.goto(f"{pages.origin}/demo/sign-in")
    page.locator(f"input[name=customer][value='{customer}']").check()
    page.locator("form[action='/demo/sign-in'] button").click()
    page.wait_for_url("**/demo/account")


def test_before_the_choice_nothing_is_stored_or_sent(shop: Page, context: BrowserContext, pages: RunningPages) -> None:
    """Walking through the shop without answering leaves no cookie, no storage and no beacon."""
    before = len(pages.beacons)
    shop.locator("a[href='/demo/product/tide-vase']").first.click()
    shop.wait_for_load_state("load")
    shop.mouse.click(5, 300)
    shop.goto(f"{pages.origin}/demo/shelf/lamps")
    expect(shop.locator("#consent")).to_be_visible()
    assert context.cookies() == []
    assert shop.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    assert len(pages.beacons) == before


def test_accept_all_is_remembered_and_lets_the_first_page_through(
    shop: Page, context: BrowserContext, pages: RunningPages
) -> None:
    """After "Accept all" the page view that waited arrives, and the next page asks no more and goes on."""
    visitor = _accept(shop, context)
    assert pages.wait_event(visitor, "page_view")
    [kept] = [cookie for cookie in context.cookies() if cookie.get("name") == "demo_consent"]
    assert (kept.get("value"), kept.get("path"), kept.get("sameSite")) == ("aifpm", "/demo", "Lax")
    shop.goto(f"{pages.origin}/demo/product/dusk-lamp")
    expect(shop.locator("#consent")).to_be_hidden()
    item = pages.wait_event(visitor, "view_item")["p"]
    assert (item["sku"], item["price"], item["currency"]) == ("LMP-01", 129, "EUR")


def test_only_necessary_is_remembered_and_nothing_is_counted(
    shop: Page, context: BrowserContext, pages: RunningPages
) -> None:
    """After "Only necessary" the answer is the only thing kept; the basket works; no beacon leaves."""
    before = len(pages.beacons)
    shop.locator("[data-consent-choice=none]").click()
    assert {cookie.get("name"): cookie.get("value") for cookie in context.cookies()} == {"demo_consent": "-"}
    shop.goto(f"{pages.origin}/demo/product/dusk-lamp")
    expect(shop.locator("#consent")).to_be_hidden()
    shop.locator("form[action='/demo/basket/add'] button").click()
    expect(shop.locator(".bubble")).to_have_text("1")
    assert {cookie.get("name") for cookie in context.cookies()} == {"demo_consent", "demo_shop"}
    assert len(pages.beacons) == before


def test_single_purposes_can_be_chosen_and_changed(shop: Page, context: BrowserContext) -> None:
    """Choosing analytics alone keeps "a"; nothing is ticked before; the foot of the page opens the question again."""
    shop.locator("[data-consent-choice=choose]").click()
    for box in shop.locator("#purposes input").all():
        expect(box).not_to_be_checked()
    shop.locator("#purposes input[name=analytics]").check()
    shop.locator("[data-consent-choice=selected]").click()

    def keeps(wanted: str) -> bool:
        """Whether the answer is kept, as soon as the browser's own process has heard of it."""
        give_up_at = time.monotonic() + 20
        while {"demo_consent": wanted}.items() - {(c.get("name"), c.get("value")) for c in context.cookies()}:
            if time.monotonic() > give_up_at:
                return False
            shop.wait_for_timeout(50)
        return True

    assert keeps("a")
    shop.locator("[data-open-consent]").click()
    expect(shop.locator("#consent-title")).to_be_focused()
    shop.locator("[data-consent-choice=choose]").click()
    expect(shop.locator("#purposes input[name=analytics]")).to_be_checked()
    shop.locator("#purposes input[name=identity]").check()
    shop.locator("[data-consent-choice=selected]").click()
    assert keeps("ai")
    shop.locator("[data-open-consent]").click()
    shop.keyboard.press("Escape")
    expect(shop.locator("#consent")).to_be_hidden()
    assert keeps("ai")


def test_the_banner_can_be_answered_by_keyboard(shop: Page, context: BrowserContext) -> None:
    """Every button of the banner is reached by Tab and pressed by Enter."""
    shop.locator("[data-consent-choice=all]").focus()
    shop.keyboard.press("Tab")
    expect(shop.locator("[data-consent-choice=none]")).to_be_focused()
    shop.keyboard.press("Enter")
    expect(shop.locator("#consent")).to_be_hidden()
    assert {cookie.get("value") for cookie in context.cookies()} == {"-"}


def test_a_whole_purchase_is_told_with_its_value(shop: Page, context: BrowserContext, pages: RunningPages) -> None:
    """Product, basket, checkout and order arrive under one visitor, the purchase once, with number and value."""
    visitor = _accept(shop, context)
    shop.goto(f"{pages.origin}/demo/product/heron-kettle")
    shop.locator("form[action='/demo/basket/add'] button").click()
    expect(shop.locator(".notice")).to_contain_text("Heron kettle is in your basket.")
    assert pages.wait_event(visitor, "add_to_cart")["p"]["sku"] == "BRW-01"
    shop.goto(f"{pages.origin}/demo/checkout")
    assert pages.wait_event(visitor, "begin_checkout")["p"]["value"] == 118
    shop.locator("form[action='/demo/order'] button").click()
    purchase = pages.wait_event(visitor, "purchase")["p"]
    assert (purchase["value"], purchase["currency"], purchase["sku"]) == (118, "EUR", "BRW-01")
    shop.reload()
    shop.locator("#letter-mail").fill("ada@example.com")
    shop.locator("form.letter button").click()
    expect(shop.locator("h1")).to_have_text("Welcome to the letter")
    pages.wait_event(visitor, "sign_up_newsletter")
    names = [event["n"] for event in pages.events(visitor)]
    assert names.count("purchase") == 1
    assert "ada@example.com" not in str(pages.beacons)


def test_the_sign_in_sends_a_signature_that_verifies(shop: Page, context: BrowserContext, pages: RunningPages) -> None:
    """The identify on the wire is signed for this customer, by the algorithm of docs/sign-identify.md."""
    visitor = _accept(shop, context)
    _sign_in(shop, pages, "4713")
    [identifier] = pages.wait_event(visitor, "identify")["k"]
    assert (identifier["k"], identifier["v"]) == ("customer", "4713")
    now_s = int(time.time())
    assert check_identify(pages.keyring, SITE, "customer", "4713", identifier["g"], now_s) is None
    assert check_identify(pages.keyring, SITE, "customer", "4711", identifier["g"], now_s) == Reason.SIGNATURE


def test_a_sign_out_begins_a_new_visitor(shop: Page, context: BrowserContext, pages: RunningPages) -> None:
    """After the sign-out the tag has reset: what follows stands under another visitor, who was told from whom."""
    visitor = _accept(shop, context)
    _sign_in(shop, pages, "4711")
    pages.wait_event(visitor, "identify")
    shop.locator("form[action='/demo/sign-out'] button").click()
    expect(shop.locator(".notice")).to_contain_text("signed out")
    shop.goto(f"{pages.origin}/demo/shelf/pots")
    fresh = _read_visitor(context)
    assert fresh != visitor
    pages.wait_event(fresh, "view_item_list")
    said: list[Any] = [one.get("rf") for one in pages.beacons if one.get("d") == fresh]
    assert visitor in said


def test_the_mail_brings_a_token_that_leaves_the_address_at_once(
    shop: Page, context: BrowserContext, pages: RunningPages
) -> None:
    """The inbox's link opens the product with its campaign in the address, and the token nowhere but in the beacon."""
    visitor = _accept(shop, context)
    shop.goto(f"{pages.origin}/demo/mail?to=4712")
    asked: list[str] = []
    shop.on("request", lambda request: asked.append(request.headers.get("referer", "")))
    shop.locator("#tagged-link").click()
    shop.wait_for_url("**/demo/product/dusk-lamp?**")
    assert "utm_campaign=autumn-letter" in shop.url
    assert "lt=" not in shop.url
    pages.wait_event(visitor, "view_item")
    assert any(one.get("lt") for one in pages.beacons if one.get("d") == visitor)
    assert not any("lt=" in str(event) for event in pages.events(visitor))
    assert [referrer for referrer in asked if "lt=" in referrer] == []


@pytest.mark.parametrize("evil", ["<img src=x onerror=window.hacked=1>", "</script><script>window.hacked=1</script>"])
def test_a_search_for_markup_runs_nothing(shop: Page, pages: RunningPages, evil: str) -> None:
    """What somebody types into the search stands there as text."""
    shop.locator("#q").fill(evil)
    shop.locator("#q").press("Enter")
    expect(shop.locator("h1")).to_have_text(f"“{evil}”")
    assert shop.evaluate("window.hacked") is None


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_screen(chromium: Browser, pages: RunningPages, width: int, scheme: Any) -> None:
    """On a phone, a tablet and a desk no page of the shop scrolls sideways."""
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    for path in ("", "/product/arc-lamp", "/basket", "/sign-in", "/mail", "/search?q=" + "w" * 80):
        page.goto(f"{pages.origin}/demo{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    context.close()
