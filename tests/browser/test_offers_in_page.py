"""The demo shop greets its customer and offers what the audience says, in a real browser with the real tag, collector
and store: shown to one, held out from another, to nobody without consent; and the live page says why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from instance_process import RunningInstance, running_instance
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_links_story import Reader

pytestmark = pytest.mark.browser

USE = """
[traits.first_name]
personal = false

[audiences.lamp_lovers]
sentence = "Looked at two lamps"
page = true
purpose = ""
all = [{ event = "view_item", category = "lamps", within_days = 30, at_least = 2 }]

[offers.reading_lamp]
audience = "lamp_lovers"
slot = "strip"
priority = 10
content = { title = "Fifteen euros off", button = "To the lamp", href = "/demo/product/arc-lamp" }

[offers.rehearsal]
slot = "strip"
hold_out = 1
content = { title = "Nobody is to see this" }
"""
PATIENCE_S = 60.0
AUDIENCES = "fetch('/x/me?s=demo').then((answer) => answer.json()).then((me) => me.audiences)"
OWN_TITLE = "Parcels over € 60 travel free"
EXPOSURES = """
SELECT offer, action, count() AS times FROM v_offer_exposures AS e
WHERE person_id IN (SELECT person_id FROM v_identity_map WHERE customer_id = '{}')
GROUP BY offer, action ORDER BY offer, action
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """The demo shop with an offer for lamp lovers, and one that is held out from everybody else."""
    folder = tmp_path_factory.mktemp("offers")
    use_file = folder / "use.toml"
    use_file.write_text(USE)
    options = ("--set", f"use_file={use_file}", "--set", "settings_interval_s=0.2")
    with running_instance(folder, "--demo", *options) as running:
        yield running


@pytest.fixture
def open_reader(chromium: Browser, instance: RunningInstance) -> Iterator[Callable[[], Reader]]:
    """What opens browsers of several people, each with a profile of its own."""
    readers: list[Reader] = []

    def open_one() -> Reader:
        readers.append(Reader(chromium, instance))
        return readers[-1]

    yield open_one
    for reader in readers:
        reader.context.close()


def see(page: Page, address: str) -> str:
    """Open a page and return the title of its strip once it is settled who sits there."""
    page.goto(address)
    page.locator("html.ts-ready").wait_for()
    return page.locator(".strip-title").inner_text()


def see_until(reader: Reader, title: str, greeting: str) -> None:
    """Load the front page until the strip says this; stitching and judging take their seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := see(reader.page, f"{reader.instance.url}/demo")) != title or greeting not in hello(reader.page):
        assert time.monotonic() < deadline, f"{found}, {hello(reader.page)!r}\n{reader.instance.log[-2000:]}"
        time.sleep(0.3)


def hello(page: Page) -> str:
    """Return the greeting of the strip, as it is seen."""
    greeting = page.locator(".strip-label b")
    return greeting.inner_text() if greeting.is_visible() else ""


def test_a_customer_is_greeted_and_offered_what_the_audience_says(
    instance: RunningInstance, open_reader: Callable[[], Reader]
) -> None:
    """The name and the offer, in view and clicked; after the sign-out the page's own words. The live page says why."""
    reader = open_reader()
    reader.consent()
    assert see(reader.page, f"{instance.url}/demo") == OWN_TITLE
    assert hello(reader.page) == ""
    for lamp in ("dusk-lamp", "paper-moon"):
        reader.page.goto(f"{instance.url}/demo/product/{lamp}")
        reader.page.wait_for_timeout(400)
    reader.sign_in("4711")
    see_until(reader, "Fifteen euros off", "Good to see you, Ada")
    button = reader.page.locator(".strip a.button")
    expect(button).to_have_text("To the lamp")
    assert reader.page.evaluate(AUDIENCES) == ["lamp_lovers"]
    reader.page.wait_for_timeout(1_300)
    button.click()
    reader.page.wait_for_url("**/demo/product/arc-lamp")
    counted = instance.until(
        EXPOSURES.format("4711"), lambda rows: {row["action"] for row in rows} >= {"shown", "clicked"}
    )
    assert {row["offer"] for row in counted if row["action"] != "held_out"} == {"reading_lamp"}

    live = reader.context.new_page()
    live.goto(f"{instance.url}/demo/live")
    card = live.locator("#why-people li", has_text="Ada Kowalski")
    for words in ("lamp_lovers", "first_name = “Ada”", "said by identify, level 3 signed", "reading_lamp", "clicked"):
        expect(card).to_contain_text(words)

    reader.page.goto(f"{instance.url}/demo/account")
    reader.page.locator("form[action='/demo/sign-out'] button").click()
    reader.page.wait_for_load_state()
    assert see(reader.page, f"{instance.url}/demo") == OWN_TITLE
    assert hello(reader.page) == ""


@pytest.mark.long
def test_who_is_held_out_sees_the_pages_own_words(instance: RunningInstance, open_reader: Callable[[], Reader]) -> None:
    """Ben is greeted; the offer's text does not even reach his browser, and that its place was in view is noted."""
    reader = open_reader()
    reader.consent()
    reader.sign_in("4712")
    see_until(reader, OWN_TITLE, "Good to see you, Ben")
    told: dict[str, Any] = reader.page.evaluate("fetch('/x/me?s=demo').then((answer) => answer.json())")
    assert told["offers"] == [{"id": "rehearsal", "slot": "strip", "content": {}, "held_out": True}]
    assert "Nobody is to see this" not in reader.page.content()
    reader.page.wait_for_timeout(1_300)
    [row] = instance.until(EXPOSURES.format("4712"), bool)
    assert (row["offer"], row["action"]) == ("rehearsal", "held_out")


def test_without_consent_to_marketing_nothing_is_offered(
    instance: RunningInstance, open_reader: Callable[[], Reader]
) -> None:
    """Known and greeted, and neither offered anything nor held out from it."""
    reader = open_reader()
    answer = {"name": "demo_consent", "value": "aip", "domain": "127.0.0.1", "path": "/demo"}
    reader.context.add_cookies([answer])  # type: ignore[list-item]
    reader.page.goto(f"{instance.url}/demo")
    reader.page.wait_for_timeout(700)
    reader.sign_in("4713")
    see_until(reader, OWN_TITLE, "Good to see you, Chiara")
    told: dict[str, Any] = reader.page.evaluate("fetch('/x/me?s=demo').then((answer) => answer.json())")
    assert (told["known"], told["offers"]) == (True, [])
