"""The live page in real Chromium: events land, change hands, and nothing that was stored becomes markup."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from collector.console.live import LEVELS
from collector.console.live_people import LiveFact, LivePerson
from collector.event import NIL_ID
from tests.console.live_rows import BEGAN_MS, FilledSource, hand_over, make_event
from tests.console.running_app import RunningPages, running_pages

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages() -> Iterator[RunningPages]:
    """The live page on a free port."""
    with running_pages() as running:
        yield running


@pytest.fixture
def source(pages: RunningPages) -> FilledSource:
    """What stands in the store: nothing yet."""
    pages.source.is_away = False
    pages.source.fill()
    pages.source.people = ()
    return pages.source


@pytest.fixture
def live(page: Page, pages: RunningPages, source: FilledSource) -> Iterator[Page]:
    """The live page, connected. What its content policy refuses fails the test."""
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
    page.goto(f"{pages.origin}/demo/live")
    expect(page.locator("#state")).to_have_attribute("data-state", "live")
    yield page
    assert refused == []


def test_an_empty_page_says_what_to_do(live: Page) -> None:
    """Before the first event the page tells how to make one."""
    expect(live.locator("#empty")).to_be_visible()
    expect(live.locator("#empty")).to_contain_text("Open the shop in another tab")
    expect(live.locator("#events")).to_be_hidden()
    expect(live.locator("#count-events")).to_have_text("0")


def test_events_land_at_the_top_with_their_facts(live: Page, source: FilledSource) -> None:
    """A new event appears first, with name, facts, path, channel, campaign, owner, assurance and proof."""
    first = make_event(1)
    source.fill(first)
    expect(live.locator("#rows tr")).to_have_count(1)
    second = make_event(
        2,
        "add_to_cart",
        path="/demo/product/dusk-lamp",
        channel="email",
        campaign="autumn-letter",
        assurance=2,
        visitor_proof="script",
        props='{"sku":"LMP-01","value":129,"currency":"EUR"}',
    )
    source.fill(first, second)
    expect(live.locator("#rows tr")).to_have_count(2)
    row = live.locator("#rows tr").first
    for text in ("add_to_cart", "LMP-01 · 129.00 EUR", "/demo/product/dusk-lamp", "email", "autumn-letter"):
        expect(row).to_contain_text(text)
    expect(row.locator(".owner")).to_contain_text("anonymous")
    expect(row.locator(".level")).to_have_text("2 linked")
    expect(row.locator(".level")).to_have_attribute("title", LEVELS[2][1])
    expect(row.locator(".proof")).to_have_text("script")
    expect(live.locator("#count-events")).to_have_text("2")
    expect(live.locator("#lag")).to_have_text("120 ms")


def test_rows_change_hands_before_the_watchers_eyes(live: Page, source: FilledSource) -> None:
    """At a sign-in the same rows take the customer's name, colour and thread, and say who had them before."""
    rows = [make_event(number) for number in range(1, 4)]
    stranger = make_event(4, visitor=2)
    source.fill(*rows, stranger)
    expect(live.locator("#rows tr")).to_have_count(4)
    live.evaluate("for (const row of document.querySelectorAll('#rows tr')) row.isTheSame = true")
    colour = live.locator("#rows tr").nth(1).evaluate("row => getComputedStyle(row).getPropertyValue('--p')")
    person = rows[0].person_id[-4:]
    expect(live.locator("#rows tr").nth(1).locator(".owner")).to_have_text(f"anonymous {person}")

    source.fill(*(hand_over(row) for row in rows), stranger)
    expect(live.locator("#rows .owner", has_text="Ada Kowalski #4711")).to_have_count(3)
    expect(live.locator("#rows .note", has_text=f"was anonymous {person}")).to_have_count(3)
    expect(live.locator("#story")).to_contain_text(f"Ada Kowalski #4711 took over 3 events of anonymous {person}.")
    expect(live.locator("#rows tr").first.locator(".owner")).to_have_text(f"anonymous {stranger.person_id[-4:]}")
    assert live.evaluate("[...document.querySelectorAll('#rows tr')].every(row => row.isTheSame)")
    moved = live.locator("#rows tr").nth(1).evaluate("row => getComputedStyle(row).getPropertyValue('--p')")
    assert moved != colour
    expect(live.locator("#people li").first).to_contain_text("Ada Kowalski")
    expect(live.locator("#rows tr").nth(1).locator(".dot")).not_to_have_class("hollow")
    expect(live.locator("#count-customers")).to_have_text("1")


def test_a_click_alone_is_nobody(live: Page, source: FilledSource) -> None:
    """What the collector notes of a tagged link has a class instead of a person: no face, no thread, no colour."""
    nobody = {"person_id": NIL_ID, "visitor_id": NIL_ID, "visitor_proof": "none"}
    facts = {"link_class": "scanner", "link_name": "top", "link_status": "expired", "campaign": "spring"}
    source.fill(make_event(1), *(make_event(number, "link_click", is_bot=1, **nobody, **facts) for number in (2, 3)))
    rows = live.locator("#rows tr")
    expect(rows).to_have_count(3)
    for text in ("link_click", "top · expired", "spring"):
        expect(rows.first).to_contain_text(text)
    expect(rows.first.locator(".owner")).to_have_text("scanner no visitor")
    expect(rows.first.locator(".lanes i")).to_have_count(0)
    expect(rows.last.locator(".lanes .dot")).to_have_count(1)
    expect(live.locator("#people li")).to_have_count(1)


def test_the_highlight_is_seen(live: Page, source: FilledSource) -> None:
    """A row that changes hands carries the animation of it, and a row that does not, does not."""
    row, other = make_event(1), make_event(2, visitor=2)
    source.fill(row, other)
    expect(live.locator("#rows tr")).to_have_count(2)
    live.evaluate(
        """() => {
            window.played = [];
            document.addEventListener('animationstart', (event) => {
                if (event.animationName === 'hands') window.played.push(event.target.rowIndex);
            });
        }"""
    )
    source.fill(hand_over(row), other)
    expect(live.locator("#rows .owner", has_text="Ada Kowalski")).to_have_count(1)
    for _ in range(100):
        if live.evaluate("window.played.length"):
            break
        live.wait_for_timeout(50)
    assert live.evaluate("window.played") == [2], "the second row of the table, below the head and the newer event"


def test_a_provisional_customer_is_marked_until_confirmed(live: Page, source: FilledSource) -> None:
    """By a link alone the row says provisional; after the sign-in it does not."""
    row = make_event(1, provisional=1)
    source.fill(hand_over(row))
    expect(live.locator("#rows .note")).to_contain_text("provisional")
    expect(live.locator("#rows .badge.ringed")).to_have_count(1)
    source.fill(hand_over(make_event(1)))
    expect(live.locator("#rows .badge.ringed")).to_have_count(0)
    expect(live.locator("#rows .note")).not_to_contain_text("provisional")


def test_people_keep_their_colours_over_a_reload(live: Page, source: FilledSource, pages: RunningPages) -> None:
    """The same person has the same colour in a new window; two people in view have different ones."""
    source.fill(*(make_event(number, visitor=number) for number in range(1, 5)), hand_over(make_event(9)))

    def read_colours() -> Any:
        expect(live.locator("#rows tr")).to_have_count(5)
        return live.evaluate(
            "[...document.querySelectorAll('#rows tr')].map(row => getComputedStyle(row).getPropertyValue('--p'))"
        )

    before = read_colours()
    assert len(set(before)) == 5
    live.goto(f"{pages.origin}/demo/live")
    assert read_colours() == before


def test_what_is_stored_is_shown_as_text(live: Page, source: FilledSource) -> None:
    """Markup in every text of a row stands on the page as text and runs nothing."""
    evil = '"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    texts = ("event_name", "visitor_proof", "path", "title", "channel", "campaign", "customer_id", "customer_name")
    row = make_event(1, **dict.fromkeys(texts, evil), props='{"term":"<img src=x onerror=window.hacked=1>"}')
    source.fill(row, make_event(2, event_name="__proto__", visitor_proof="constructor", props="[1"))
    expect(live.locator("#rows tr")).to_have_count(2)
    expect(live.locator("#rows")).to_contain_text("onerror")
    assert live.locator("#events img, #people img, #events script").count() == 0
    assert live.evaluate("window.hacked") is None


def test_the_store_away_is_told_calmly_and_passes(live: Page, source: FilledSource) -> None:
    """While the store is away a banner says so and the rows stay; when it is back the page goes on by itself."""
    source.fill(make_event(1))
    expect(live.locator("#rows tr")).to_have_count(1)
    source.is_away = True
    expect(live.locator("#banner")).to_contain_text("The store does not answer")
    expect(live.locator("#state")).to_have_attribute("data-state", "away")
    expect(live.locator("#rows tr")).to_have_count(1)
    source.is_away = False
    source.fill(make_event(1), make_event(2))
    expect(live.locator("#rows tr")).to_have_count(2)
    expect(live.locator("#banner")).to_be_hidden()


def test_a_refused_stream_is_tried_again(page: Page, pages: RunningPages, source: FilledSource) -> None:
    """Where the collector refuses or is gone, the page says so and goes on by itself when it is back."""
    source.fill(make_event(1))
    page.route("**/demo/live/stream", lambda route: route.fulfill(status=503, body="too many"))
    page.goto(f"{pages.origin}/demo/live")
    expect(page.locator("#banner")).to_contain_text("The collector does not answer")
    expect(page.locator("#state")).to_have_attribute("data-state", "connecting")
    page.unroute("**/demo/live/stream")
    expect(page.locator("#rows tr")).to_have_count(1, timeout=15_000)
    expect(page.locator("#banner")).to_be_hidden()


def test_a_pause_holds_the_rows_and_going_on_brings_them(live: Page, source: FilledSource) -> None:
    """While paused nothing moves; afterwards everything that came meanwhile is there."""
    row = make_event(1)
    source.fill(row)
    expect(live.locator("#rows tr")).to_have_count(1)
    live.locator("#pause").click()
    expect(live.locator("#state")).to_have_attribute("data-state", "paused")
    source.fill(hand_over(row), make_event(2))
    reads = source.reads
    while source.reads < reads + 3:
        live.wait_for_timeout(50)
    expect(live.locator("#rows tr")).to_have_count(1)
    live.locator("#pause").click()
    expect(live.locator("#rows tr")).to_have_count(2)
    expect(live.locator("#rows .owner", has_text="Ada Kowalski")).to_have_count(1)


def test_many_events_stay_bounded(live: Page, source: FilledSource) -> None:
    """Rows that fell out of the window leave the page, in the order of the stream."""
    source.fill(*(make_event(number, visitor=number % 9) for number in range(1, 61)))
    expect(live.locator("#rows tr")).to_have_count(60)
    source.fill(*(make_event(number, visitor=number % 9) for number in range(31, 91)))
    expect(live.locator("#count-events")).to_have_text("60")
    expect(live.locator("#rows tr time").first).to_have_attribute("datetime", "2026-11-18T11:08:10.000Z")
    expect(live.locator("#rows tr")).to_have_count(60)


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_never_wider_than_the_screen(
    chromium: Browser, pages: RunningPages, source: FilledSource, width: int, scheme: Any
) -> None:
    """With long names, paths and many people the page does not scroll sideways on any screen."""
    long = "a-very-long-name-that-somebody-has-thought-of" * 3
    source.fill(
        *(make_event(number, long, visitor=number, path="/" + long, campaign=long) for number in range(1, 12)),
        hand_over(make_event(20), "4712", long),
    )
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{pages.origin}/demo/live")
    expect(page.locator("#rows tr")).to_have_count(12)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_why_the_shop_shows_it(live: Page, source: FilledSource) -> None:
    """A card for each customer: audiences, traits and who said them, offers shown and held out, all as text."""
    evil = "<img src=x onerror=window.hacked=1>"
    source.people = (
        LivePerson(
            str(uuid.UUID(int=4711)),
            "4711",
            "Ada Kowalski",
            (
                LiveFact("audience", "lamp_lovers", "", "", 0, 1, BEGAN_MS),
                LiveFact("offer", "reading_lamp", "shown", "strip", 0, 2, BEGAN_MS),
                LiveFact("offer", "unknown_offer", "held_out", "strip", 0, 1, BEGAN_MS),
                LiveFact("trait", "first_name", evil, "identify", 3, 1, BEGAN_MS),
            ),
        ),
        LivePerson(str(uuid.UUID(int=4712)), "4712", "Ben Okafor", ()),
    )
    card = live.locator("#why-people li")
    expect(card).to_have_count(1)
    for words in ("Ada Kowalski", "entered at", "for lamp_lovers; seen 2 times", "sees the page's own words", evil):
        expect(card).to_contain_text(words)
    expect(card).to_contain_text("said by identify, level 3 signed")
    assert live.evaluate("window.hacked") is None
    source.people = ()
    expect(live.locator("#why")).to_be_hidden()
