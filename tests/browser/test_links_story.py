"""Tagged links, end to end: real pages in a real browser, `tagstitch run` as a real process, the real engine.

What the reader of a mail does, and what everybody else does with the same link: a second device, a friend who is a
customer too or becomes one, scanners, prefetching browsers, people without script or without consent. Every scenario
has a campaign of its own, and asks the views that readers ask.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
from instance_process import RunningInstance, running_instance
from playwright.sync_api import Browser, BrowserContext, Page

from collector.links.minting import mint_link
from collector.links.targets import add_token

pytestmark = pytest.mark.browser

Rows = list[dict[str, Any]]
PRODUCT = "/demo/product/dusk-lamp"
EVENTS = """
SELECT event_name, toString(visitor_id) AS visitor, toString(person_id) AS person, customer_id, provisional,
       link_status, link_class, link_reasons, link_token_id
FROM v_events WHERE site_id = 'demo' AND {} ORDER BY time, sequence
"""
GUARDS = """
SELECT reason FROM v_guard_log WHERE evidence_id IN (SELECT evidence_id FROM v_identity_evidence WHERE campaign = '{}')
"""
DAY_S = 86_400


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """One instance with the demo shop for all scenarios."""
    with running_instance(tmp_path_factory.mktemp("links"), "--demo") as running:
        yield running


class Mail:
    """A mailing of this test alone, and what came of it."""

    def __init__(self, instance: RunningInstance, campaign: str) -> None:
        self.instance, self.campaign = instance, campaign
        self.target = instance.url + PRODUCT

    def mint(self, customer: str, **changes: Any) -> str:
        """Return a token for a customer."""
        said = {"now_s": int(time.time()), "campaign": self.campaign, "message": "letter", "consent": "im", **changes}
        return mint_link(self.instance.keyring, customer, **said)

    def tag(self, customer: str, **changes: Any) -> str:
        """Return the page's own address with a token."""
        return add_token(self.target, self.mint(customer, **changes))

    def redirect(self, customer: str, **changes: Any) -> str:
        """Return the address that goes through the collector."""
        return f"{self.instance.url}/l/{self.mint(customer, target=self.target, **changes)}"

    def until(self, fits: Callable[[Rows], bool]) -> Rows:
        """Wait until the campaign's events fit."""
        found: Rows = self.instance.until(EVENTS.format(f"link_campaign = '{self.campaign}'"), fits)
        return found


@pytest.fixture
def mail(instance: RunningInstance, request: pytest.FixtureRequest) -> Mail:
    """A mailing that is called as the test is."""
    return Mail(instance, request.node.name.removeprefix("test_")[:60])


class Reader:
    """Somebody's browser on the shop."""

    def __init__(self, browser: Browser, instance: RunningInstance, **options: Any) -> None:
        self.instance = instance
        self.context: BrowserContext = browser.new_context(**options)
        self.page: Page = self.context.new_page()

    def consent(self) -> None:
        """Say yes to everything, on the shop's first page."""
        self.page.goto(f"{self.instance.url}/demo?consent=all")
        self.page.wait_for_timeout(700)

    def touch(self) -> None:
        """Press the mouse somewhere harmless."""
        self.page.mouse.move(200, 300)
        self.page.mouse.down()
        self.page.mouse.up()

    def sign_in(self, customer: str) -> None:
        """Sign in at the shop, which signs who it is."""
        self.page.goto(f"{self.instance.url}/demo/sign-in")
        self.page.locator(f"input[name=customer][value='{customer}']").check()
        self.page.locator("form[action='/demo/sign-in'] button[type=submit]").click()
        self.page.wait_for_load_state()

    def visitor(self) -> str:
        """Return the id of the visitor that this browser is."""
        [value] = [cookie["value"] for cookie in self.context.cookies() if cookie["name"] == "ts_demo"]
        return str(value).partition(".")[0]

    def until(self, fits: Callable[[Rows], bool]) -> Rows:
        """Wait until this browser's events fit."""
        found: Rows = self.instance.until(EVENTS.format(f"visitor_id = '{self.visitor()}'"), fits)
        return found


@pytest.fixture
def open_reader(chromium: Browser, instance: RunningInstance) -> Iterator[Callable[..., Reader]]:
    """What opens browsers of several people, each with a profile of its own."""
    readers: list[Reader] = []

    def open_one(browser: Browser = chromium, **options: Any) -> Reader:
        readers.append(Reader(browser, instance, **options))
        return readers[-1]

    yield open_one
    for reader in readers:
        reader.context.close()


def _is_known(customer: str) -> Callable[[Rows], bool]:
    return lambda rows: bool(rows) and rows[-1]["customer_id"] == customer


def test_the_recipient_comes_through_the_redirect(mail: Mail, open_reader: Callable[..., Reader]) -> None:
    """The click is counted once it is made, and ties nobody; the page comes without the token in its address; who
    touches it is the customer, provisionally."""
    reader = open_reader()
    reader.consent()
    reader.page.goto(mail.redirect("m-100"))
    assert reader.page.url == mail.target
    rows = mail.until(lambda rows: {"link_click", "page_view"} <= {row["event_name"] for row in rows})
    [click] = [row for row in rows if row["event_name"] == "link_click"]
    assert (click["link_class"], click["customer_id"]) == ("human", "")
    assert click["visitor"] == "00000000-0000-0000-0000-000000000000"
    reader.touch()
    rows = reader.until(_is_known("m-100"))
    assert {row["provisional"] for row in rows if row["customer_id"]} == {1}


@pytest.mark.long
def test_a_second_device_counts_and_a_third_does_not(mail: Mail, open_reader: Callable[..., Reader]) -> None:
    """The mail is read on the phone and at the desk: both are the customer's. What is passed on further is refused."""
    link = mail.tag("m-200")
    readers = [open_reader() for _ in range(3)]
    for number, reader in enumerate(readers):
        reader.consent()
        reader.page.goto(link)
        reader.touch()
        rows = reader.until(lambda rows: any(row["link_status"] == "confirmed" for row in rows))
        if number < 2:
            reader.until(_is_known("m-200"))
    mail.instance.until(GUARDS.format(mail.campaign), lambda rows: {"replayed"} <= {row["reason"] for row in rows})
    rows = readers[2].until(lambda rows: bool(rows))
    assert {row["customer_id"] for row in rows} == {""}


def test_forwarded_to_another_customer(mail: Mail, open_reader: Callable[..., Reader]) -> None:
    """A friend who is signed in follows the link: they stay who they are, and it is noted."""
    friend = open_reader()
    friend.consent()
    friend.sign_in("4712")
    friend.until(_is_known("4712"))
    friend.page.goto(mail.tag("m-300"))
    friend.touch()
    rows = friend.until(lambda rows: any(row["link_status"] == "confirmed" for row in rows))
    mail.instance.until(
        GUARDS.format(mail.campaign), lambda rows: {row["reason"] for row in rows} == {"other_customer"}
    )
    rows = friend.until(lambda rows: bool(rows))
    assert {row["customer_id"] for row in rows} == {"4712"}


def test_forwarded_to_somebody_who_signs_in_later(mail: Mail, open_reader: Callable[..., Reader]) -> None:
    """A friend whom nobody knows follows the link, and is taken for the customer until they sign in as themselves: then
    all of it is theirs, and the link was forwarded."""
    friend = open_reader()
    friend.consent()
    friend.page.goto(mail.tag("m-400"))
    friend.touch()
    friend.until(_is_known("m-400"))
    friend.sign_in("4713")
    friend.until(lambda rows: {row["customer_id"] for row in rows} == {"4713"})
    mail.instance.until(GUARDS.format(mail.campaign), lambda rows: {row["reason"] for row in rows} == {"forwarded"})


def test_not_me(mail: Mail, open_reader: Callable[..., Reader]) -> None:
    """The page asks "not you?", and somebody says so: what the link has tied is let go, and the rest of the visit is
    nobody's."""
    friend = open_reader()
    friend.consent()
    friend.page.goto(mail.tag("m-450"))
    friend.touch()
    friend.until(_is_known("m-450"))
    friend.page.evaluate("tagstitch('track', 'not_me')")
    friend.until(lambda rows: {row["customer_id"] for row in rows} == {""})
    mail.instance.until(GUARDS.format(mail.campaign), lambda rows: {row["reason"] for row in rows} == {"disowned"})


@pytest.mark.parametrize(
    ("method", "agent", "expected"),
    [
        ("GET", "Mozilla/5.0 (compatible; BarracudaCentral; +http://www.barracudacentral.org)", "scanner"),
        ("HEAD", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0.0.0 Safari/537.36", "scanner"),
        ("GET", "WhatsApp/2.23.20.0", "preview"),
    ],
)
def test_whoever_only_fetches(instance: RunningInstance, method: str, agent: str, expected: str) -> None:
    """Scanners and previews get the page and are counted as what they are; nobody is tied."""
    mail = Mail(instance, f"fetched-{expected}-{method}")
    link = urlsplit(mail.redirect("m-500"))
    with closing(http.client.HTTPConnection(link.netloc)) as connection:
        connection.request(method, link.path, headers={"user-agent": agent})
        answer = connection.getresponse()
        answer.read()
    assert answer.status == 302
    assert str(answer.getheader("location")).startswith(mail.target)
    [click] = mail.until(lambda rows: len(rows) == 1)
    assert (click["event_name"], click["link_class"], click["customer_id"]) == ("link_click", expected, "")
    assert click["link_reasons"]


@pytest.mark.parametrize(
    ("is_in_front", "link_class", "reasons"),
    [(False, "human", "soon"), (True, "scanner", "soon,dwell")],
    ids=["in the background", "in front"],
)
@pytest.mark.long
def test_a_scanner_that_runs_the_script(
    instance: RunningInstance,
    open_reader: Callable[..., Reader],
    whole_chromium: Browser,
    is_in_front: bool,
    link_class: str,
    reasons: str,
) -> None:
    """A whole browser, at once after sending, whose page stands open for longer than the tag waits, and nobody touches
    it. Without the focus it is a click and no more; with it two hints say what it is. Neither ties anybody."""
    mail = Mail(instance, f"scripted-{link_class}")
    scanner = open_reader(whole_chromium)  # the other one has no windows: its pages always have the focus
    scanner.consent()
    scanner.page.goto(mail.tag("m-550"))
    if not is_in_front:
        scanner.context.new_cdp_session(scanner.page).send("Emulation.setFocusEmulationEnabled", {"enabled": False})
        scanner.context.new_page().bring_to_front()
    assert scanner.page.evaluate("document.hasFocus()") == is_in_front
    scanner.page.wait_for_timeout(7000)
    scanner.page.evaluate("tagstitch('track', 'afterwards')")
    rows = scanner.until(lambda rows: bool(rows) and rows[-1]["event_name"] == "afterwards")
    assert ("link_confirm" in {row["event_name"] for row in rows}) == is_in_front
    followed = [row for row in rows if row["link_status"]]
    assert {(row["link_status"], row["customer_id"]) for row in followed} == {("unconfirmed", "")}
    assert (followed[-1]["link_class"], followed[-1]["link_reasons"]) == (link_class, reasons)
    evidence = f"SELECT count() AS n FROM v_identity_evidence WHERE campaign = '{mail.campaign}'"
    assert instance.sql(evidence) == [{"n": 0}]


@pytest.mark.long
def test_a_browser_that_prefetches(mail: Mail, open_reader: Callable[..., Reader]) -> None:
    """What a browser fetches in advance is no click of a person."""
    reader = open_reader()
    reader.consent()
    link = mail.redirect("m-600")
    reader.page.evaluate(
        "url => document.head.append(Object.assign(document.createElement('link'), {rel: 'prefetch', href: url}))", link
    )
    [click] = mail.until(lambda rows: len(rows) == 1)
    assert (click["event_name"], click["link_class"]) == ("link_click", "prefetch")


@pytest.mark.long
def test_the_back_button(mail: Mail, open_reader: Callable[..., Reader]) -> None:
    """Who goes on and comes back has followed one link, once."""
    reader = open_reader()
    reader.consent()
    reader.page.goto(mail.tag("m-700"))
    reader.touch()
    reader.until(_is_known("m-700"))
    reader.page.goto(f"{mail.instance.url}/demo")
    reader.page.evaluate("history.back()")  # from the back-forward cache: no load that Playwright could wait for
    reader.page.wait_for_url(mail.target, wait_until="commit")
    reader.touch()
    reader.page.wait_for_timeout(1500)
    count = f"SELECT uniqExact(evidence_id) AS n FROM v_identity_evidence WHERE campaign = '{mail.campaign}'"
    assert mail.instance.sql(count) == [{"n": 1}]
    rows = mail.until(lambda rows: bool(rows))
    assert len({row["link_token_id"] for row in rows}) == 1


def test_a_link_that_is_opened_months_later(mail: Mail, open_reader: Callable[..., Reader]) -> None:
    """An old link gives the page, is counted, and ties nobody."""
    reader = open_reader()
    reader.consent()
    reader.page.goto(mail.redirect("m-800", now_s=int(time.time()) - 100 * DAY_S))
    assert reader.page.url == mail.target
    reader.touch()
    [click] = mail.until(lambda rows: len(rows) == 1)
    assert (click["event_name"], click["link_status"]) == ("link_click", "expired")
    reader.page.goto(mail.tag("m-800", now_s=int(time.time()) - 100 * DAY_S))
    reader.touch()
    rows = reader.until(lambda rows: any(row["link_status"] == "expired" for row in rows))
    assert {row["customer_id"] for row in rows} == {""}


def test_without_script(mail: Mail, open_reader: Callable[..., Reader]) -> None:
    """Without script the page comes and the click is counted; it ties nobody, as it may be a scanner's."""
    reader = open_reader(java_script_enabled=False)
    answer = reader.page.goto(mail.redirect("m-900"))
    assert answer is not None
    assert answer.ok
    [click] = mail.until(lambda rows: any(row["event_name"] == "link_click" for row in rows))[:1]
    assert (click["link_class"], click["customer_id"]) == ("human", "")
    evidence = f"SELECT count() AS n FROM v_identity_evidence WHERE campaign = '{mail.campaign}'"
    assert mail.instance.sql(evidence) == [{"n": 0}]


@pytest.mark.long
def test_consent_that_is_given_later(mail: Mail, open_reader: Callable[..., Reader]) -> None:
    """Before the choice nothing is said and nothing kept; once it is given, the link that brought them counts."""
    reader = open_reader()
    reader.page.goto(mail.tag("m-1000"))
    reader.touch()
    reader.page.wait_for_timeout(1500)
    assert mail.instance.sql(EVENTS.format(f"link_campaign = '{mail.campaign}'")) == []
    reader.page.locator("[data-consent-choice=all]").click()
    mail.until(_is_known("m-1000"))


def test_consent_that_is_refused(mail: Mail, open_reader: Callable[..., Reader]) -> None:
    """Who refuses is not followed, link or not."""
    reader = open_reader()
    reader.page.goto(mail.tag("m-1100"))
    reader.page.locator("[data-consent-choice=none]").click()
    reader.touch()
    reader.page.wait_for_timeout(1500)
    assert mail.instance.sql(EVENTS.format(f"link_campaign = '{mail.campaign}'")) == []
    assert [cookie for cookie in reader.context.cookies() if cookie["name"].startswith("ts_")] == []
