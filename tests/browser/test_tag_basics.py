"""The tag in real Chromium: page views, events, batching, leaving, retrying, coming back."""

from __future__ import annotations

import json
import re
import time

import pytest
from in_page import PAINTED
from page_server import DEADLINE_S, PageServer
from playwright.sync_api import BrowserContext, Page
from starlette.responses import JSONResponse, Response

from collector.config import Config
from collector.snippet import make_snippet

pytestmark = pytest.mark.browser

UUID7 = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


def hide(page: Page) -> None:
    """What a browser does when the tab goes to the background."""
    page.evaluate(
        "Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )


def test_page_view_carries_address_and_parameters(page: Page, page_server: PageServer, site: str) -> None:
    """A page with the snippet sends one page view with its whole address, referrer, title, visitor and session."""
    url = page_server.add_tagged_page("/offer", site) + "?utm_source=news&utm_campaign=spring&color=red"
    page_server.add_page("/before", f'<a href="{url}">offer</a>')
    page.goto(page_server.origin + "/before")
    page.click("a")
    (beacon,) = page_server.beacon_count_is(site, 1)

    envelope = beacon.envelope
    assert beacon.names == ["page_view"]
    assert envelope["v"] == 1
    assert envelope["u"] == url
    assert envelope["r"] == page_server.origin + "/before"
    assert envelope["h"] == "/offer"
    assert envelope["l"].startswith("en")
    assert "/" in envelope["z"] or envelope["z"] == "UTC"
    assert re.fullmatch(r"\d+x\d+", envelope["w"])
    assert envelope["b"] & 1, "a driven browser says so"
    for id_ in (envelope["d"], envelope["e"][0]["i"], envelope["x"]["i"]):
        assert UUID7.match(id_)
    assert envelope["x"]["n"] == 1
    assert beacon.headers["content-type"].startswith("text/plain")


def test_page_view_and_three_events_are_one_request(page: Page, page_server: PageServer, site: str) -> None:
    """What happens within a moment travels in one beacon of at most 1.6 kB."""
    body = "<script>for (const n of ['a', 'b', 'c']) tagstitch('track', n, {item: 'A-1', price: 12.5})</script>"
    page.goto(page_server.add_tagged_page("/batch", site, body=body))
    (beacon,) = page_server.beacon_count_is(site, 1)
    assert beacon.names == ["page_view", "a", "b", "c"]
    assert beacon.envelope["e"][1]["p"] == {"item": "A-1", "price": 12.5}
    assert int(beacon.headers["content-length"]) <= 1600


def test_nothing_called_before_load_is_lost(page: Page, page_server: PageServer, site: str) -> None:
    """Commands that were called while the tag was still on its way run once it is there, with their own time."""
    url = page_server.add_tagged_page("/slow", site, body="<script>tagstitch('track', 'early', {n: 1})</script>")
    held = []
    page.route("**/x/t.js", lambda route: held.append(route))
    page.goto(url, wait_until="commit")
    page.wait_for_function("window.tagstitch && tagstitch.q && tagstitch.q.length === 1")
    page.wait_for_timeout(50)
    held[0].continue_()
    events = page_server.event_names_are(site, ["page_view", "early"])
    assert events[1]["p"] == {"n": 1}


def test_leaving_sends_what_is_waiting(context: BrowserContext, page_server: PageServer, site: str) -> None:
    """An event tracked in the very moment of leaving arrives, once, by sendBeacon, for every way of leaving."""
    other = page_server.add_page("/other", "other")
    url = page_server.add_tagged_page("/leave", site, auto="none", body="<button>x</button>")
    for i, leave in enumerate(
        (lambda page: page.close(), lambda page: page.goto(other), lambda page: hide(page)), start=1
    ):
        page = context.new_page()
        page.goto(url)
        page_server.event_names_are(site, ["page_view"] * i + ["bye"] * (i - 1))
        page.evaluate("tagstitch('track', 'bye')")
        leave(page)
        page_server.event_names_are(site, ["page_view"] * i + ["bye"] * i)
    events = page_server.events(site)
    assert len({event["i"] for event in events}) == 6


def test_busy_collector_gets_the_same_events_again(page: Page, page_server: PageServer, site: str) -> None:
    """After 503 the tag waits as asked and sends the same events, under the same ids and visitor."""
    page_server.answers[site] = [Response(status_code=503, headers={"Retry-After": "1"})]
    page.goto(page_server.add_tagged_page("/busy", site))
    first, second = page_server.beacon_count_is(site, 2)
    assert first.envelope["e"] == second.envelope["e"]
    assert first.envelope["d"] == second.envelope["d"]
    assert second.envelope["st"] - first.envelope["st"] >= 1000


def test_collector_decides_the_visitor_id(page: Page, page_server: PageServer, site: str) -> None:
    """A visitor id in the reply is taken over for later events, and on the next page."""
    known = "01a1f866-0d00-7c97-a2ad-b8c3ced9e4ef"
    page_server.answers[site] = [JSONResponse({"d": known})]
    url = page_server.add_tagged_page("/known", site, auto="none")
    page.goto(url)
    page_server.beacon_count_is(site, 1)
    page.wait_for_function(f"document.cookie.includes('{known}')")
    page.evaluate("tagstitch('track', 'after')")
    assert page_server.beacon_count_is(site, 2)[1].envelope["d"] == known
    page.goto(url)
    assert page_server.beacon_count_is(site, 3)[2].envelope["d"] == known


def test_visitor_and_session_last_from_page_to_page(page: Page, page_server: PageServer, site: str) -> None:
    """Two pages are one visitor and one session; another campaign begins session 2."""
    url = page_server.add_tagged_page("/session", site, auto="none")
    page.goto(url)
    page_server.beacon_count_is(site, 1)
    page.goto(url + "?color=red")
    page_server.beacon_count_is(site, 2)
    page.goto(url + "?utm_source=news")
    one, two, three = (beacon.envelope for beacon in page_server.beacon_count_is(site, 3))
    assert one["d"] == two["d"] == three["d"]
    assert one["x"] == two["x"]
    assert three["x"]["n"] == 2
    assert three["x"]["i"] != one["x"]["i"]


def test_cookie_is_small_and_first_party(page: Page, page_server: PageServer, site: str) -> None:
    """The tag's one cookie is under 200 bytes, SameSite=Lax, for this host, for at most 400 days. Besides it the device
    keeps when and how the visitor came, and nothing else."""
    page.goto(page_server.add_tagged_page("/cookie", site))
    page_server.beacon_count_is(site, 1)
    (cookie,) = page.context.cookies()
    assert cookie["name"] == "_ts_v"
    assert len(cookie["value"]) < 200
    assert cookie["sameSite"] == "Lax"
    assert cookie["domain"] == "localhost"
    assert 399 < (cookie["expires"] - time.time()) / 86_400 <= 400
    (view,) = page_server.events(site)
    first = view["p"]["first_touch"]
    assert view["p"] == {"first_touch": {"time": view["t"]}}
    kept = page.evaluate("({...localStorage})")
    assert kept.keys() == {"_ts_vt"}
    assert json.loads(kept["_ts_vt"]) == {"f": first, "l": first}
    assert page.evaluate("sessionStorage.length") == 0


def test_reset_begins_a_new_visitor_across_a_navigation(page: Page, page_server: PageServer, site: str) -> None:
    """After sign-out the next page is another visitor in session 1, although the page was left at once."""
    url = page_server.add_tagged_page("/account", site, auto="none")
    page.goto(url)
    before = page_server.beacon_count_is(site, 1)[0].envelope["d"]
    page.evaluate("tagstitch('reset')")
    page.goto(url)
    page_server.event_names_are(site, ["page_view", "reset", "page_view"])
    beacons = [beacon.envelope for beacon in page_server.beacons(site)[1:]]
    assert {envelope["d"] for envelope in beacons} != {before}
    assert len({envelope["d"] for envelope in beacons}) == 1
    assert all(envelope["rf"] == before and envelope["x"]["n"] == 1 for envelope in beacons)


def test_page_out_of_the_back_forward_cache_is_a_view(whole_page: Page, page_server: PageServer, site: str) -> None:
    """Going back to a page that the browser kept sends a page view of its own, from the same running tag; nothing that
    the tag watches keeps the page out of that cache."""
    whole_page.goto(page_server.add_tagged_page("/kept", site))
    page_server.beacon_count_is(site, 1)
    whole_page.evaluate(PAINTED)
    whole_page.evaluate("window.isKept = true")
    whole_page.goto(page_server.add_page("/away", "away"))
    whole_page.evaluate("history.back()")
    events = page_server.event_names_are(site, ["page_view", "engagement", "page_view"])
    assert whole_page.evaluate("window.isKept") is True, "the browser did not keep the page: the test shows nothing"
    assert len({event["i"] for event in events}) == 3
    assert [(event["n"], event["q"]) for event in events] == [("page_view", 1), ("engagement", 2), ("page_view", 3)]


def test_prerendered_page_waits(page: Page, page_server: PageServer, site: str) -> None:
    """While a page is rendered in advance nothing is sent and nothing written; once shown, everything is."""
    page.add_init_script("Object.defineProperty(document, 'prerendering', {value: true, configurable: true})")
    page.goto(page_server.add_tagged_page("/ahead", site, body="<script>tagstitch('track', 'early')</script>"))
    page.wait_for_function("tagstitch.isTagstitch")
    page.wait_for_timeout(500)
    assert page_server.beacons(site) == []
    assert page.context.cookies() == []
    page.evaluate("document.dispatchEvent(new Event('prerenderingchange'))")
    page_server.event_names_are(site, ["page_view", "early"])


@pytest.mark.parametrize(
    ("auto", "call"),
    [("none", "tagstitch('page')"), ("spa", ""), ("spa", "tagstitch('page')"), ("spa", "tagstitch('page', {a: 1})")],
)
def test_single_page_app_tells_its_views(page: Page, page_server: PageServer, site: str, auto: str, call: str) -> None:
    """A route change is one view of the new address, with the page before as referrer, whether the tag sees it, the
    router calls `page`, or both."""
    page.goto(page_server.add_tagged_page("/app", site, auto=auto))
    page_server.beacon_count_is(site, 1)
    page.evaluate("history.pushState(null, '', '/app/basket');" + call)
    beacon = page_server.beacon_count_is(site, 2)[1]
    assert beacon.names == ["page_view"]
    assert beacon.envelope["u"] == page_server.origin + "/app/basket"
    assert beacon.envelope["r"] == page_server.origin + "/app"


def test_collector_on_another_host(page: Page, page_server: PageServer, site: str) -> None:
    """From another origin the tag loads with its integrity checked, sends without preflight, and hears the reply."""
    known = "01a1f866-0d00-7c97-a2ad-b8c3ced9e4ef"
    page_server.answers[site] = [JSONResponse({"d": known})]
    snippet = make_snippet(Config(), site, base_url=page_server.origin, versioned=True, consent="implied")
    page_server.add_page("/elsewhere", snippet)
    page.goto(page_server.origin.replace("localhost", "127.0.0.1") + "/elsewhere")
    (beacon,) = page_server.beacon_count_is(site, 1)
    assert beacon.headers["origin"].startswith("http://127.0.0.1:")
    page.wait_for_function(f"document.cookie.includes('{known}')")
    assert page_server.preflights == 0


def test_much_at_the_end_is_split_not_lost(page: Page, page_server: PageServer, site: str) -> None:
    """200 kB that wait when the tab goes to the background all arrive once: the browser takes 64 KiB at a time, and
    what sendBeacon refuses goes another way or waits for the return."""
    page.goto(page_server.add_tagged_page("/much", site, auto="none"))
    page_server.beacon_count_is(site, 1)
    page.evaluate("for (let i = 0; i < 50; i++) tagstitch('track', 'big', {i, text: 'x'.repeat(4000)})")
    hide(page)
    events = page_server.event_names_are(site, ["page_view"] + ["big"] * 50)
    assert len({event["i"] for event in events}) == 51


def test_offline_is_waited_out(page: Page, page_server: PageServer, site: str) -> None:
    """Without network nothing is entrusted to sendBeacon, which would lose it; what happened offline arrives later."""
    page.goto(page_server.add_tagged_page("/train", site, auto="none"))
    page_server.beacon_count_is(site, 1)
    page.context.set_offline(True)
    page.evaluate("tagstitch('track', 'tunnel')")
    hide(page)
    page.wait_for_timeout(400)
    page_server.beacon_count_is(site, 1)
    page.context.set_offline(False)
    events = page_server.event_names_are(site, ["page_view", "tunnel"])
    assert events[1]["q"] == 2


def test_blocked_collector_is_not_noticed_by_the_page(page: Page, page_server: PageServer, site: str) -> None:
    """With beacons blocked nothing is thrown and nothing logged by us; the page's own calls go on working."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.route("**/x/b", lambda route: route.abort("blockedbyclient"))
    page.goto(page_server.add_tagged_page("/blocked", site))
    with page.expect_event("requestfailed"):
        page.evaluate("tagstitch('track', 'a'); tagstitch('nonsense'); tagstitch(); tagstitch('track', 'b', {n: 1n})")
    hide(page)
    assert page_server.beacons(site) == []
    assert [text for text in said if "ERR_BLOCKED_BY_CLIENT" not in text] == []


def test_debug_mode_explains(page: Page, page_server: PageServer, site: str) -> None:
    """With `data-debug` the console says what was held, queued and sent."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    html = f'<script src="/x/t.js" data-site="{site}" data-debug></script>'
    page.goto(page_server.add_page("/debug", html))
    page.evaluate("tagstitch('consent', 'all')")
    page_server.beacon_count_is(site, 1)
    # The words come with a module of their own, which is loaded when the browser is idle.
    deadline = time.monotonic() + DEADLINE_S
    while not any(text.startswith("tagstitch: sending") for text in said):
        assert time.monotonic() < deadline, said
        page.evaluate("0")  # lets the console's messages arrive
    assert said[0].startswith("tagstitch: held until consent")
    assert said[1].startswith("tagstitch: consent")


def test_init_serves_where_data_attributes_are_stripped(page: Page, page_server: PageServer, site: str) -> None:
    """A tag manager's script element says nothing; `init`, before load or long after, says everything."""
    loader = "<script>var s=document.createElement('script');s.src='/x/t.js';document.head.append(s)</script>"
    queue = "window.tagstitch=window.tagstitch||function(){(tagstitch.q=tagstitch.q||[]).push(arguments)};"
    init = f"tagstitch('init',{{site:'{site}',consent:'implied',auto:'none'}});"
    page.goto(page_server.add_page("/early", f"<script>{queue}{init}tagstitch('track','x')</script>{loader}"))
    page_server.event_names_are(site, ["page_view", "x"])
    page.goto(page_server.add_page("/late", f"<script>{queue}tagstitch('track','y')</script>{loader}"))
    page.wait_for_function("tagstitch.isTagstitch")
    page.evaluate(init)
    page_server.event_names_are(site, ["page_view", "x", "page_view", "y"])
