"""Consent in real Chromium: the browser's profile before and after, and what a strict page allows."""

from __future__ import annotations

import hashlib

import pytest
from in_page import PAINTED, SPY, read_profile
from page_server import PageServer
from playwright.sync_api import Browser, Page

from collector.config import Config
from collector.snippet import NONCE, make_snippet
from fingerprint import list_signals, normalise_signals

pytestmark = pytest.mark.browser

SIGNALS = {signal.name for signal in list_signals(2)}


def test_nothing_is_read_or_written_before_consent(page: Page, page_server: PageServer, site: str) -> None:
    """Before the answer the profile is as it was, no property of the device was read and nothing was sent; after it
    the landing page, its referrer and whatever was noted in between arrive, each with the page that it was noted on."""
    page.add_init_script(SPY)
    url = page_server.add_tagged_page("/banner", site, consent="required") + "?utm_source=news"
    page_server.add_page("/search", f'<a href="{url}">go</a>')
    page.goto(page_server.origin + "/search")
    before = read_profile(page)
    page.evaluate("touched.length = 0")
    page.click("a")
    page.wait_for_function("tagstitch.isTagstitch")
    page.evaluate(PAINTED)
    page.evaluate("tagstitch('track', 'seen'); tagstitch('identify', '4711'); history.pushState(null, '', '/later')")
    page.mouse.click(5, 5)
    page.wait_for_timeout(600)
    assert page.evaluate("touched") == []
    assert read_profile(page) == before
    assert before["cookies"] == []
    assert page_server.beacons(site) == []

    page.evaluate("tagstitch('consent', {analytics: true, identity: true})")
    events = page_server.event_names_are(site, ["page_view", "seen", "identify", "engagement", "page_view"])
    (beacon,) = page_server.beacons(site)
    assert beacon.names == ["page_view", "seen", "identify", "engagement", "page_view"]
    assert beacon.envelope["c"] == "ai"
    later = page_server.origin + "/later"
    assert [event["u"] for event in events] == [url, url, url, url, later]
    assert [event["r"] for event in events] == [page_server.origin + "/search"] * 4 + [url]
    assert [event["q"] for event in events] == [1, 2, 3, 4, 5]
    after = read_profile(page)
    assert [cookie["name"] for cookie in after.pop("cookies")] == ["_ts_v"]
    assert list(after.pop("local")) == ["_ts_vt"]
    before.pop("cookies"), before.pop("local")
    assert after == before


def test_no_sends_and_keeps_nothing(page: Page, page_server: PageServer, site: str) -> None:
    """After `none` the profile is as before, and nothing was sent, whatever the page tracks and however it is left."""
    page.goto(page_server.add_tagged_page("/no", site, consent="required"))
    before = read_profile(page)
    page.evaluate("tagstitch('consent', 'none'); tagstitch('track', 'x')")
    page.goto(page_server.add_page("/gone", "gone"))
    page.wait_for_timeout(400)
    assert read_profile(page) == before
    assert page_server.beacons(site) == []


def test_withdrawal_empties_the_profile(page: Page, page_server: PageServer, site: str) -> None:
    """Withdrawing removes our cookie and whatever else we keep, and tells the collector, naming no visitor."""
    page.goto(page_server.add_tagged_page("/withdraw", site, consent="required"))
    before = read_profile(page)
    page.evaluate("tagstitch('consent', 'all')")
    page_server.event_names_are(site, ["page_view", "fingerprint"])
    assert read_profile(page)["local"].keys() == {"_ts_vt"}
    page.evaluate("tagstitch('consent', 'none')")
    page_server.event_names_are(site, ["page_view", "fingerprint", "consent"])
    last = page_server.beacons(site)[-1].envelope
    assert last["c"] == ""
    assert "d" not in last
    assert read_profile(page) == before
    assert before["cookies"] == []


def test_fingerprint_needs_consent_and_is_sent_once(whole_page: Page, page_server: PageServer, site: str) -> None:
    """Without consent to it the module is not even loaded; with it, all signals arrive, once per session."""
    loaded: list[str] = []
    whole_page.on("request", lambda request: loaded.append(request.url) if "-f-" in request.url else None)
    url = page_server.add_tagged_page("/device", site, consent="required", auto="none")
    whole_page.goto(url)
    whole_page.evaluate("tagstitch('consent', {analytics: true, identity: true, marketing: true})")
    page_server.event_names_are(site, ["page_view"])
    whole_page.wait_for_timeout(500)
    assert loaded == []

    whole_page.evaluate("tagstitch('consent', 'all')")
    page_server.event_names_are(site, ["page_view", "consent", "fingerprint"])
    sent = page_server.beacons(site)[-1].envelope["f"]
    assert sent["v"] == 2
    assert set(sent["s"]) == SIGNALS
    failed = {name for name, value in sent["s"].items() if isinstance(value, dict)}
    assert normalise_signals(sent["s"], 2).keys() == SIGNALS - failed
    assert failed == {"inverted_colors"}, "the one thing that Chromium does not tell"
    assert whole_page.evaluate("document.scripts.length") == 2, "the module's element is gone again"

    whole_page.goto(url)
    whole_page.evaluate("tagstitch('consent', 'all')")
    page_server.event_names_are(site, ["page_view", "consent", "fingerprint", "page_view"])
    whole_page.wait_for_timeout(500)
    assert len(loaded) == 1


def test_signals_are_the_same_in_two_fresh_profiles(chromium: Browser, page_server: PageServer, site: str) -> None:
    """The same device gives the same signals, value by value, in profiles that have nothing in common."""
    url = page_server.add_tagged_page("/twice", site, consent="off", auto="none")
    for count in (1, 2):
        context = chromium.new_context()
        context.new_page().goto(url)
        page_server.event_names_are(site, ["page_view", "fingerprint"] * count)
        context.close()
    one, two = (beacon.envelope for beacon in page_server.beacons(site) if "f" in beacon.envelope)
    assert one["d"] != two["d"]
    assert one["f"] == two["f"]


def test_privacy_control_keeps_the_fingerprint_away(page: Page, page_server: PageServer, site: str) -> None:
    """With Global Privacy Control neither fingerprint nor marketing is granted, whatever the banner says."""
    page.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
    page.goto(page_server.add_tagged_page("/gpc", site, consent="required"))
    page.evaluate("tagstitch('consent', 'all')")
    (beacon,) = page_server.beacon_count_is(site, 1)
    assert beacon.envelope["c"] == "aip"
    page.wait_for_timeout(500)
    assert page_server.events(site)[0]["n"] == "page_view"
    assert len(page_server.events(site)) == 1


@pytest.mark.parametrize("versioned", [False, True])
def test_strict_policy_with_nonce(page: Page, page_server: PageServer, site: str, versioned: bool) -> None:
    """Under a strict Content-Security-Policy the snippet with its nonce works, with integrity and lazy module too, and
    the browser reports no violation."""
    nonce = hashlib.sha256(site.encode()).hexdigest()[:16]
    snippet = make_snippet(Config(), site, consent="off", nonce=True, versioned=versioned).replace(NONCE, nonce)
    note = "(window.wrong = window.wrong || []).push(event.violatedDirective)"
    watch = f"<script nonce={nonce}>addEventListener('securitypolicyviolation', event => {note})</script>"
    policy = f"default-src 'none'; script-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'"
    url = page_server.add_page("/strict", watch + snippet, {"Content-Security-Policy": policy})
    page.goto(url)
    page_server.event_names_are(site, ["page_view", "fingerprint"])
    assert page.evaluate("window.wrong") is None
