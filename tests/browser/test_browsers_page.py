"""A page's consent and its life, in three engines: Chromium, Firefox and WebKitGTK with its tracking prevention.

Asked, refused, withdrawn; left, closed, come back to, cut off from the network. Each test runs once in each engine
over HTTPS, against the real collector. Taking the network away so that the browser knows of it works in Chromium and
Firefox only; a network that fails without the browser's knowing is cut at the proxy, for all three.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engines import Tab, wait_for, wait_for_answers
from secure_site import SHOP, SecureSite

ENGINES = ["chromium", pytest.param("firefox", marks=pytest.mark.long), "webkit"]
every_engine = pytest.mark.parametrize("engine", ENGINES, indirect=True)

WINDOW = "new Promise(resolve => setTimeout(resolve, 600))"
"""Twice the time in which the tag sends what it may send."""

KEPT_ON_DEVICE = """
indexedDB.databases().then(found => [document.cookie, localStorage.length, sessionStorage.length, found.length])
"""


@every_engine
def test_nothing_before_consent_and_all_after(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """Before the answer nothing is sent and nothing is on the device; once granted, the landing page with its
    parameters and what happened since arrive, and the cookies are there."""
    banner = "<button onclick=\"tagstitch('consent', {analytics: true, identity: true})\">yes</button>"
    url = secure_site.add_shop_page("/banner", site, consent="required", body=banner) + "?utm_source=a"
    tab.open(url)
    wait_for(tab, "tagstitch.isTagstitch")
    tab.evaluate("tagstitch('track', 'seen')")
    tab.evaluate(WINDOW)
    assert tab.evaluate(KEPT_ON_DEVICE) == ["", 0, 0, 0]
    assert tab.cookies() == {}
    assert secure_site.beacons(site) == []

    tab.click("button")
    events = secure_site.kept_names_are(site, ["page_view", "seen"])
    wait_for_answers(tab, 1)
    assert events[0].url == url
    assert {row.consent for row in secure_site.rows(site)} == {"analytics,identity"}
    assert set(tab.cookies()) == {"_ts_v", f"__Host-ts_{site}"}


@every_engine
def test_refusal_leaves_no_trace(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """After a no nothing is sent and nothing kept, whatever the page tracks and however it is left."""
    tab.open(secure_site.add_shop_page("/no", site, consent="required"))
    wait_for(tab, "tagstitch.isTagstitch")
    tab.evaluate("tagstitch('consent', 'none'); tagstitch('track', 'x')")
    tab.evaluate(WINDOW)
    assert tab.evaluate(KEPT_ON_DEVICE) == ["", 0, 0, 0]
    assert tab.cookies() == {}
    tab.open(SHOP + "/away")
    tab.evaluate(WINDOW)
    assert secure_site.beacons(site) == []
    assert tab.cookies() == {}


@every_engine
def test_withdrawal_takes_both_cookies_away(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """Withdrawn consent removes the tag's cookie at once, and the collector's, which no script could, by its answer;
    nothing of the visitor is sent with it."""
    tab.open(secure_site.add_shop_page("/withdraw", site, consent="required"))
    wait_for(tab, "tagstitch.isTagstitch")
    tab.evaluate("tagstitch('consent', {analytics: true, identity: true})")
    secure_site.kept_names_are(site, ["page_view"])
    wait_for_answers(tab, 1)
    assert set(tab.cookies()) == {"_ts_v", f"__Host-ts_{site}"}

    tab.evaluate("tagstitch('consent', 'none')")
    assert tab.evaluate("document.cookie") == ""
    wait_for_answers(tab, 2)
    assert tab.cookies() == {}
    last = secure_site.beacons(site)[-1].envelope
    assert (last["c"], last.get("d"), [event["n"] for event in last["e"]]) == ("", None, ["consent"])
    secure_site.kept_names_are(site, ["page_view"])


@every_engine
@pytest.mark.parametrize(
    "leave", [lambda tab: tab.open(SHOP + "/away"), lambda tab: tab.close_tab()], ids=["go", "close"]
)
def test_last_moment_arrives_once(tab: Tab, secure_site: SecureSite, site: str, leave: Callable[[Tab], None]) -> None:
    """What is tracked in the moment of leaving arrives exactly once, whether the tab goes on or is closed. The page
    speaks before the tag hears of it: of a closing tab browsers promise the first beacon, but no second."""
    bye = """<script>
      const bye = () => { window.isSaid || tagstitch('track', 'bye'); window.isSaid = true };
      addEventListener('pagehide', bye); document.addEventListener('visibilitychange', bye)
    </script>"""
    tab.open(secure_site.add_shop_page("/leave", site, head=bye))
    wait_for_answers(tab, 1)
    leave(tab)
    secure_site.kept_names_are(site, ["page_view", "bye"])
    tab.evaluate(WINDOW)
    secure_site.kept_names_are(site, ["page_view", "bye"])
    assert len({row.visitor_id for row in secure_site.rows(site)}) == 1


@pytest.mark.parametrize("engine", ["whole_chromium", *ENGINES[1:]], indirect=True)
def test_page_that_the_browser_kept_counts_again(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """Going back to a page out of the back-forward cache is a view of its own, by the same running tag."""
    tab.open(secure_site.add_shop_page("/back", site))
    secure_site.kept_names_are(site, ["page_view"])
    wait_for_answers(tab, 1)
    tab.evaluate("window.isKept = true")
    tab.open(SHOP + "/away")
    tab.go_back()
    secure_site.kept_names_are(site, ["page_view", "page_view"])
    assert tab.evaluate("window.isKept") is True, "the browser did not keep the page: the test shows nothing"
    assert [event.sequence for event in secure_site.kept_events(site)] == [1, 2]


@every_engine
def test_routes_of_an_app_are_views_once(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """In a single-page app a new address is a view with the page before as its referrer, going back is another one;
    a change of state is none, and a router that reports its route itself makes no double."""
    body = """<button id=next onclick="history.pushState({}, '', '/app/basket'); tagstitch('page')">next</button>
      <button id=state onclick="history.replaceState({open: true}, '')">open</button>"""
    url = secure_site.add_shop_page("/app", site, body=body)
    tab.open(url)
    secure_site.kept_names_are(site, ["page_view"])
    tab.click("#next")
    secure_site.kept_names_are(site, ["page_view"] * 2)
    tab.click("#state")
    tab.evaluate(WINDOW)
    tab.go_back()
    events = secure_site.kept_names_are(site, ["page_view"] * 3)
    tab.evaluate(WINDOW)
    secure_site.kept_names_are(site, ["page_view"] * 3)
    assert [event.url for event in events] == [url, SHOP + "/app/basket", url]
    assert [event.referrer for event in events] == ["", url, SHOP + "/app/basket"]
    assert len({row.session_id for row in secure_site.rows(site)}) == 1


@every_engine
def test_network_that_fails_silently_is_waited_out(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """Where connections break although the browser believes in its network, events wait and arrive once."""
    network = secure_site.network
    assert network is not None
    tab.open(secure_site.add_shop_page("/tunnel", site))
    secure_site.kept_names_are(site, ["page_view"])
    wait_for_answers(tab, 1)
    network.cut()
    try:
        tab.evaluate("tagstitch('track', 'inside')")
        tab.evaluate(WINDOW)
    finally:
        network.mend()
    secure_site.kept_names_are(site, ["page_view", "inside"])


@pytest.mark.parametrize("engine", ["chromium", "firefox"], indirect=True)
def test_offline_is_waited_out(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """Offline, what happens is not entrusted to sendBeacon, which would say yes and lose it, not even when the page
    is hidden; it arrives once the network is back."""
    tab.open(secure_site.add_shop_page("/train", site))
    secure_site.kept_names_are(site, ["page_view"])
    wait_for_answers(tab, 1)
    tab.set_offline(True)
    wait_for(tab, "!navigator.onLine")
    tab.evaluate("tagstitch('track', 'tunnel'); dispatchEvent(new PageTransitionEvent('pagehide'))")
    tab.evaluate(WINDOW)
    assert [event.name for event in secure_site.kept_events(site)] == ["page_view"]
    tab.set_offline(False)
    events = secure_site.kept_names_are(site, ["page_view", "tunnel"])
    assert [event.sequence for event in events] == [1, 2]


@pytest.mark.parametrize("engine", ["chromium", pytest.param("firefox", marks=pytest.mark.long)], indirect=True)
def test_what_a_page_that_is_left_could_not_send_comes_later(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """What happened offline on a page that was left is kept on the device, and sent once from the next page.

    A tab that is closed may take what it has just kept with it: browsers write storages a moment later.
    """
    url = secure_site.add_shop_page("/lift", site)
    tab.open(url)
    wait_for_answers(tab, 1)
    tab.set_offline(True)
    wait_for(tab, "!navigator.onLine")
    tab.evaluate("tagstitch('track', 'inside')")
    tab.open("about:blank")
    tab.set_offline(False)
    tab.open(url)
    events = secure_site.kept_names_are(site, ["page_view", "inside", "page_view"])
    assert sorted(event.sequence for event in events) == [1, 1, 2]
    assert len({row.visitor_id for row in secure_site.rows(site)}) == 1
