"""Who a visitor is, in three engines: Chromium, Firefox and WebKitGTK with its tracking prevention.

Each test runs once in each of them, over HTTPS under real host names, against the real collector; what is asserted
was kept on disk, or was what the browser itself says. Not shown here: Safari, Apple's lists and classifier, and the
seven days that Safari gives to cookies written by scripts. What those seven days end in, a script's cookie that is
gone while the collector's own is still there, is made by hand.
"""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from engines import Engine, Tab, wait_for, wait_for_answers
from secure_site import OTHER, SHOP, SUBDOMAIN, THIRD_PARTY, SecureSite

from collector.links.minting import mint_link
from collector.signing import sign_identify
from tests.edge_examples import KEYRING

ENGINES = ["chromium", pytest.param("firefox", marks=pytest.mark.long), "webkit"]
every_engine = pytest.mark.parametrize("engine", ENGINES, indirect=True)

HOUR_S = 3600
DAY_S = 24 * HOUR_S


@every_engine
def test_visitor_has_two_cookies_and_is_kept(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """The tag's cookie can be read by scripts, the collector's cannot; both are for this host over HTTPS alone and last
    400 days. The next page is the same visitor in the same session, and the cookie proves it."""
    url = secure_site.add_shop_page("/kept", site)
    tab.open(url)
    [view] = secure_site.kept_names_are(site, ["page_view"])
    [first] = secure_site.rows(site)
    assert first.visitor_proof == "script"
    wait_for_answers(tab, 1)

    cookies = tab.cookies()
    assert set(cookies) == {"_ts_v", f"__Host-ts_{site}"}
    for cookie in cookies.values():
        assert cookie["secure"] is True
        assert cookie["sameSite"] == "Lax"
        assert cookie["domain"] == "www.shop.test"
        assert 399 * DAY_S < cookie["expiry"] - time.time() <= 400 * DAY_S + HOUR_S
    assert cookies["_ts_v"]["value"].startswith(first.visitor_id)
    assert cookies[f"__Host-ts_{site}"]["httpOnly"] is True
    assert cookies[f"__Host-ts_{site}"]["value"].startswith(first.visitor_id)
    assert "__Host-" not in tab.evaluate("document.cookie")

    tab.open(url + "?page=2")
    secure_site.kept_names_are(site, ["page_view"] * 2)
    second = secure_site.rows(site)[1]
    assert (second.visitor_id, second.visitor_proof) == (first.visitor_id, "cookie")
    assert second.session_id == first.session_id
    assert second.events[0].event_id != view.event_id


@every_engine
def test_collectors_cookie_outlives_the_tags(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """Where the browser has cleared what scripts wrote, the visitor is the same one: the collector's cookie wins over
    the new id that the tag proposes, and the tag takes it over."""
    url = secure_site.add_shop_page("/cleared", site)
    tab.open(url)
    secure_site.kept_names_are(site, ["page_view"])
    known = secure_site.rows(site)[0].visitor_id
    wait_for_answers(tab, 1)
    tab.evaluate("document.cookie = '_ts_v=;path=/;secure;max-age=0'")
    assert set(tab.cookies()) == {f"__Host-ts_{site}"}

    tab.open(url)
    wait_for(tab, f"document.cookie.includes('{known}')")
    secure_site.kept_names_are(site, ["page_view"] * 2)
    proposed = secure_site.beacons(site)[1]
    assert proposed.envelope["d"] != known
    assert proposed.status == 200
    kept = secure_site.rows(site)[1]
    assert (kept.visitor_id, kept.visitor_proof) == (known, "cookie")


@every_engine
def test_parameters_and_referrer_arrive(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """Campaign and click id of the landing page are kept; of a page elsewhere the browser tells the origin alone."""
    url = secure_site.add_shop_page("/landing", site) + "?utm_source=news&gclid=Cj0KCQ&color=red"
    secure_site.add_page("/search", f'<!doctype html><a href="{url}">go</a>')
    tab.open(OTHER + "/search?q=secret")
    tab.click("a")
    [view] = secure_site.kept_names_are(site, ["page_view"])
    assert "utm_source=news" in view.url
    assert "gclid=Cj0KCQ" in view.url
    assert view.referrer == OTHER + "/"


@every_engine
def test_tagged_link_is_stripped_and_confirmed(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """The token has left the address bar before the page's next script looks; the visit counts as the customer's once
    a person has clicked, and what a script dispatches is no person."""
    body = "<script>window.seen = location.href; document.body.dispatchEvent(new Event('pointerdown'))</script>"
    url = secure_site.add_shop_page("/offer", site, body=body + "<button>go</button>")
    token = mint_link(KEYRING, "4711", now_s=int(time.time()))
    tab.open(f"{url}?a=1&lt={token}&b=2#part")
    assert tab.evaluate("[window.seen, location.href]") == [url + "?a=1&b=2#part"] * 2
    secure_site.kept_names_are(site, ["page_view"])
    [landed] = secure_site.rows(site)
    assert landed.link_status == "unconfirmed"
    assert token not in landed.events[0].url

    tab.click("button")
    secure_site.kept_names_are(site, ["page_view", "link_confirm"])
    assert secure_site.rows(site)[1].link_status == "confirmed"
    assert token not in tab.evaluate("JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])")


@every_engine
def test_key_confirms_a_link(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """A person without a pointer confirms by the keyboard."""
    url = secure_site.add_shop_page("/keyboard", site)
    tab.open(f"{url}?lt={mint_link(KEYRING, '4711', now_s=int(time.time()))}")
    secure_site.kept_names_are(site, ["page_view"])
    tab.press("a")
    secure_site.kept_names_are(site, ["page_view", "link_confirm"])
    assert secure_site.beacons(site)[1].envelope["hs"] == "key"
    assert secure_site.rows(site)[1].link_status == "confirmed"


@every_engine
def test_signed_identify_holds_until_reset(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """After a signed identify what happens is the customer's, on the next page too; after a reset it is another
    visitor's, and no customer's."""
    secure_site.add_site(site, identify_versions=(1,), consent="implied")
    url = secure_site.add_shop_page("/account", site)
    secret = KEYRING.derive_identify_secret(site, 1)
    signature = sign_identify(secret, 1, site, "customer", "4711", int(time.time()) + HOUR_S)
    tab.open(url)
    secure_site.kept_names_are(site, ["page_view"])
    tab.evaluate(f"tagstitch('identify', '4711', {{signature: '{signature}'}})")
    secure_site.kept_names_are(site, ["page_view", "identify"])
    wait_for_answers(tab, 2)
    tab.open(url)
    events = secure_site.kept_names_are(site, ["page_view", "identify", "page_view"])
    assert [event.assurance for event in events] == [0, 3, 3]
    assert events[1].customer_key == events[2].customer_key

    tab.evaluate("tagstitch('reset')")
    tab.open(url)
    events = secure_site.kept_names_are(site, ["page_view", "identify", "page_view", "reset", "page_view"])
    wait_for_answers(tab, 1)
    before, after = secure_site.rows(site)[0], secure_site.rows(site)[-1]
    assert after.visitor_id != before.visitor_id
    assert [event.assurance for event in events if event.name == "page_view"] == [0, 3, 0]
    assert tab.cookies()[f"__Host-ts_{site}"]["value"].startswith(after.visitor_id)


# Two faults from outside: the browser says that cookies are off, and a storage throws where it is only named. That the
# cookie is not taken is the browser's own doing: it is for a domain that the page is not of.
REFUSE = """<script>
Object.defineProperty(navigator, "cookieEnabled", {get: () => false});
for (const name of %s) Object.defineProperty(window, name, {get() { throw new DOMException("no", "SecurityError") }});
</script>"""


@every_engine
@pytest.mark.parametrize(
    ("refused", "where"),
    [("[]", "localStorage"), ("['localStorage']", "sessionStorage"), ("['localStorage', 'sessionStorage']", "")],
    ids=["local", "session", "memory"],
)
def test_without_cookies_the_next_best_serves(
    tab: Tab, secure_site: SecureSite, site: str, refused: str, where: str
) -> None:
    """Where the browser takes no cookie the visitor is kept in local storage, else in session storage, else for this
    page alone; events arrive in each case, and the page is never told."""
    secure_site.add_site(site, consent="implied", cookie_domain="other.test")
    url = secure_site.add_shop_page("/refused", site, head=REFUSE % refused)
    for _ in range(2):
        tab.open(url)
        wait_for_answers(tab, 1)
    secure_site.kept_names_are(site, ["page_view"] * 2)
    one, two = secure_site.rows(site)
    assert tab.cookies() == {}
    assert (one.visitor_id == two.visitor_id) is bool(where)
    assert {one.visitor_proof, two.visitor_proof} == {"script"}
    if where:
        assert one.visitor_id in tab.evaluate(f"JSON.stringify({{...{where}}})")


@pytest.mark.parametrize("engine", ["webkit_without_cookies"], indirect=True)
def test_cookies_switched_off(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """Where the person has switched cookies off, WebKit refuses them and still says that they are on: the visitor is
    kept in local storage all the same."""
    url = secure_site.add_shop_page("/off", site)
    for _ in range(2):
        tab.open(url)
        wait_for_answers(tab, 1)
    secure_site.kept_names_are(site, ["page_view"] * 2)
    assert tab.cookies() == {}
    assert tab.evaluate("navigator.cookieEnabled") is True
    assert len({row.visitor_id for row in secure_site.rows(site)}) == 1


@every_engine
def test_visitor_is_handed_over_to_another_domain(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """A click on a link to a listed domain carries a token, which is off the address bar before the page there looks.
    The visitor there is a new one, whom the collector ties to the one that left; no id was in the address."""
    secure_site.add_site(site, consent="implied", linked_domains=("other.test",))
    secure_site.add_shop_page("/arrival", site, body="<script>window.seen = location.href</script>")
    body = f'<a href="{OTHER}/arrival?a=1">go</a>'
    tab.open(secure_site.add_shop_page("/departure", site, body=body))
    wait_for_answers(tab, 1)
    tab.evaluate("new Promise(resolve => setTimeout(resolve))")  # the answer's text comes after its headers
    tab.click("a")
    wait_for(tab, f"location.href === '{OTHER}/arrival?a=1'")
    secure_site.kept_names_are(site, ["page_view"] * 2)
    assert tab.evaluate("window.seen") == OTHER + "/arrival?a=1"

    left, arrived = secure_site.rows(site)
    assert secure_site.beacons(site)[1].envelope["ho"]
    assert left.visitor_id not in secure_site.beacons(site)[1].envelope["ho"]
    assert arrived.visitor_id != left.visitor_id
    [tie] = [row for row in arrived.evidence if row.kind == "handover"]
    assert (tie.a_value, tie.b_value, tie.level) == (arrived.visitor_id, left.visitor_id, 2)


@every_engine
def test_collector_on_a_subdomain_is_first_party(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """A collector on another host of the same site gets its cookie back: to browsers the two are one site."""
    url = secure_site.add_shop_page("/subdomain", site, collector=SUBDOMAIN)
    tab.open(url)
    wait_for_answers(tab, 1)
    tab.open(url)
    secure_site.kept_names_are(site, ["page_view"] * 2)
    one, two = secure_site.rows(site)
    assert one.visitor_id == two.visitor_id
    assert (one.visitor_proof, two.visitor_proof) == ("script", "cookie")
    assert secure_site.beacons(site)[0].headers["host"] == "c.shop.test"
    assert set(tab.cookies()) == {"_ts_v"}, "the collector's cookie is its own host's"


@every_engine
def test_third_party_collector_loses_its_cookie_and_no_event(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """A collector that is third party keeps no cookie of its own in any engine; the tag's first-party cookie still
    makes two pages one visitor."""
    url = secure_site.add_shop_page("/foreign", site, collector=THIRD_PARTY)
    tab.open(url)
    wait_for_answers(tab, 1)
    assert f"__Host-ts_{site}=" in secure_site.beacons(site)[0].set_cookie, "it was tried"
    tab.open(url)
    tab.evaluate("tagstitch('track', 'bye')")
    tab.close_tab()
    secure_site.kept_names_are(site, ["page_view", "page_view", "bye"])
    rows = secure_site.rows(site)
    assert {row.visitor_proof for row in rows} == {"script"}
    assert len({row.visitor_id for row in rows}) == 1
    assert "cookie" not in "".join(name for beacon in secure_site.beacons(site) for name in beacon.headers)


@pytest.mark.parametrize("engine", ["whole_chromium", "firefox", "webkit"], indirect=True)
def test_third_party_cookies_are_blocked_or_partitioned(engine: Engine, tab: Tab, secure_site: SecureSite) -> None:
    """Nothing here is faked by the set-up: even a cookie that asks for it (SameSite=None) is refused by Chromium and
    WebKit, and kept apart for each site by Firefox; on the collector's own subdomain it comes back everywhere."""
    secure_site.add_page("/embedding", "<!doctype html><p>embedding")

    def probe(origin: str, value: str) -> dict[str, str]:
        call = f"fetch('{origin}/probe?value={quote(value)}', {{credentials: 'include'}}).then(r => r.json())"
        found: dict[str, str] = tab.evaluate(call)
        return found

    tab.open(SHOP + "/embedding")
    assert probe(THIRD_PARTY, "shop") == {}
    assert probe(THIRD_PARTY, "shop") == ({"probe": "shop"} if engine.name == "firefox" else {})
    assert probe(SUBDOMAIN, "sub") == {}
    assert probe(SUBDOMAIN, "sub") == {"probe": "sub"}
    tab.open(OTHER + "/embedding")
    assert probe(THIRD_PARTY, "other") == {}
