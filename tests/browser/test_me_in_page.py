"""What the demo shop's own pages are told of their visitor, in a real browser with the real tag, collector and store.

Each case that must get nothing is one here: a mail that was forwarded to another customer, a shared laptop after the
sign-out, a stolen visitor id, a page of another origin that asks with the browser's cookies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from instance_process import RunningInstance, running_instance
from playwright.sync_api import Browser, Page, Response
from tagstitch_client import Client

from tests.browser.test_links_story import PRODUCT, Mail, Reader

pytestmark = pytest.mark.browser

USE = """
[traits.plan]
personal = false
min_assurance = 2

[traits.first_name]
"""
PATIENCE_S = 30.0
ADA = {"plan": "gold", "first_name": "Ada"}
BEN = {"plan": "basic", "first_name": "Ben"}
ASK = "() => new Promise((done) => tagstitch('onProfile', (profile) => done(profile)))"
NOBODY = (False, 0, {})


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """The demo shop, whose server has told the traits of two customers."""
    folder = tmp_path_factory.mktemp("me")
    use_file = folder / "use.toml"
    use_file.write_text(USE)
    with running_instance(
        folder, "--demo", "--set", f"use_file={use_file}", "--set", "settings_interval_s=0.2"
    ) as running:
        words = ("--scope", "track", "--scope", "identify-server", "--scope", "profile:read")
        sender = running.command("key", "create", *words).stdout.strip()
        _wait_for_key(running, sender)
        with Client(running.url, sender, site="demo", retry_base_s=0.2) as client:
            client.identify("4711", traits=ADA)
            client.identify("4712", traits=BEN)
        running.until(
            "SELECT count() AS n FROM v_traits WHERE name = 'plan'", lambda rows: rows[0]["n"] == 2, limit_s=PATIENCE_S
        )
        yield running


def _wait_for_key(instance: RunningInstance, key: str) -> None:
    """Return once web knows the key."""
    deadline = time.monotonic() + PATIENCE_S
    headers = {"Authorization": f"Bearer {key}"}
    while httpx.get(f"{instance.url}/v1/customers/nobody", headers=headers).status_code == 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def open_reader(chromium: Browser, instance: RunningInstance) -> Iterator[Callable[..., Reader]]:
    """What opens browsers of several people, each with a profile of its own."""
    readers: list[Reader] = []

    def open_one(**options: Any) -> Reader:
        readers.append(Reader(chromium, instance, **options))
        return readers[-1]

    yield open_one
    for reader in readers:
        reader.context.close()


def ask(page: Page) -> tuple[bool, int, dict[str, Any]]:
    """Return what the tag of a page says of its visitor: known or not, how surely, and the traits."""
    profile = page.evaluate(ASK)
    return profile["known"], profile["level"], profile["traits"]


def ask_until(reader: Reader, wanted: tuple[bool, int, dict[str, Any]]) -> None:
    """Load pages until one is told this; stitching takes its seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while (told := _load(reader)) != wanted:
        assert time.monotonic() < deadline, f"told {told}\n{reader.instance.log[-2000:]}"
        time.sleep(0.3)


def _load(reader: Reader) -> tuple[bool, int, dict[str, Any]]:
    reader.page.goto(reader.instance.url + PRODUCT)
    return ask(reader.page)


def test_whoever_signed_in_is_greeted_until_the_sign_out(open_reader: Callable[..., Reader]) -> None:
    """Everything declared, and nothing on the shared laptop once she has signed out; nobody's answer is kept."""
    reader = open_reader()
    reader.consent()
    assert _load(reader) == NOBODY
    answers: list[Response] = []
    reader.page.on("response", lambda answer: answers.append(answer) if "/x/me" in answer.url else None)
    reader.sign_in("4711")
    ask_until(reader, (True, 3, ADA))
    assert answers
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    reader.page.goto(f"{reader.instance.url}/demo/account")
    reader.page.locator("form[action='/demo/sign-out'] button").click()
    reader.page.wait_for_load_state()
    assert _load(reader) == NOBODY
    time.sleep(3)
    assert _load(reader) == NOBODY


def test_a_link_lets_out_what_is_declared_for_it(instance: RunningInstance, open_reader: Callable[..., Reader]) -> None:
    """The recipient's own browser, and the friend's: a tariff that the shop lets out, and no name."""
    reader = open_reader()
    reader.consent()
    reader.page.goto(Mail(instance, "me_linked").tag("4711"))
    reader.touch()
    reader.page.wait_for_timeout(500)
    ask_until(reader, (True, 2, {"plan": "gold"}))


def test_a_mail_that_was_forwarded_tells_another_customer_nothing(
    instance: RunningInstance, open_reader: Callable[..., Reader]
) -> None:
    """Ben is known on his browser. Ada's link changes nothing of what his pages are told, then or later."""
    reader = open_reader()
    reader.consent()
    reader.sign_in("4712")
    ask_until(reader, (True, 3, BEN))
    reader.page.goto(Mail(instance, "me_forwarded").tag("4711"))
    reader.touch()
    assert ask(reader.page) == (True, 3, BEN)
    time.sleep(3)
    assert _load(reader) == (True, 3, BEN)


def test_a_stolen_visitor_id_tells_nothing(open_reader: Callable[..., Reader]) -> None:
    """Whoever has read Ada's visitor id and gives it to a tag of their own is nobody: the signed cookie is hers."""
    ada, thief = open_reader(), open_reader()
    ada.consent()
    ada.sign_in("4711")
    ask_until(ada, (True, 3, ADA))
    kept = [cookie for cookie in ada.context.cookies() if not cookie["httpOnly"]]
    assert any(ada.visitor() in str(cookie["value"]) for cookie in kept)
    thief.context.add_cookies(kept)
    thief.consent()
    assert _load(thief) == NOBODY
    time.sleep(3)
    assert _load(thief) == NOBODY


def test_a_page_of_another_origin_reads_nothing(open_reader: Callable[..., Reader]) -> None:
    """With the browser's cookies, as a script or as an address: what the shop's own page can read it cannot."""
    reader = open_reader()
    reader.consent()
    reader.sign_in("4711")
    ask_until(reader, (True, 3, ADA))
    address = f"{reader.instance.url}/x/me?s=demo"
    read = "(address) => fetch(address, { credentials: 'include' }).then((answer) => answer.text(), String)"
    assert "Ada" in reader.page.evaluate(read, address)
    foreign = reader.instance.url.replace("127.0.0.1", "localhost")
    for page_url in (f"{foreign}/evil", "http://evil.localhost/"):
        reader.context.route(page_url, lambda route: route.fulfill(content_type="text/html", body="<title>x</title>"))
        reader.page.goto(page_url)
        assert "TypeError" in reader.page.evaluate(read, address)
    reader.page.goto(address)
    assert "Ada" not in reader.page.content()


FRAME = """() => new Promise((done) => {
  const frame = document.body.appendChild(document.createElement('iframe'));
  frame.onload = () => done(String(frame.contentDocument));
  frame.src = '/x/privacy?s=demo';
})"""
WINDOW = """() => new Promise((done) => {
  const opened = open('/x/privacy?s=demo');
  setTimeout(() => { try { done(opened.document.body.innerText) } catch (error) { done(error.name) } }, 1500);
})"""


def test_no_script_of_the_site_reads_the_page_of_ones_own_data(
    instance: RunningInstance, open_reader: Callable[..., Reader]
) -> None:
    """Not by asking for it, not in a frame, not in a window, though it stands under the site's own name; the person in
    front of it reads it, and refuses in the frame by a window of its own."""
    reader = open_reader()
    reader.consent()
    reader.sign_in("4711")
    instance.until(
        "SELECT count() AS n FROM v_events WHERE customer_id = '4711'",
        lambda rows: rows[0]["n"] > 0,
        limit_s=PATIENCE_S,
    )
    page, context = reader.page, reader.context
    page.route("**/own-page", lambda route: route.fulfill(body="<h1>the shop</h1>", content_type="text/html"))
    page.goto(f"{instance.url}/own-page")
    fetched = page.evaluate("fetch('/x/privacy?s=demo').then((answer) => answer.text())")
    assert "does not say how it opened the page" in fetched
    assert "Ada" not in fetched
    assert page.evaluate(FRAME) == "null"
    with context.expect_page() as opened:
        assert page.evaluate(WINDOW) in ("SecurityError", "TypeError")
    opened.value.close()
    frame = page.frame(url="**/x/privacy?s=demo")
    assert frame is not None
    assert "held about you, on all your devices" in frame.inner_text("main")
    assert "Ada" in frame.inner_text("main")
    with context.expect_page() as opened:
        frame.click("button[aria-label='Refuse: Advertising']")
    assert "Advertising is refused by you" in opened.value.inner_text("[role=status]")
    assert {cookie["name"]: cookie["value"] for cookie in context.cookies()}["_ts_no"] == "m"


@pytest.mark.parametrize(
    ("language", "title"), [("en", "What is held about you"), ("de", "Was über Sie gespeichert ist")]
)
def test_the_page_of_ones_own_data_by_keyboard_and_screen_reader(
    instance: RunningInstance, chromium: Browser, language: str, title: str
) -> None:
    """Each field and button has a name, headings follow each other, everything is reached by the keyboard, and what
    came of it is announced; nothing is wider than a small screen."""
    reader = Reader(chromium, instance, locale=language, viewport={"width": 360, "height": 740})
    reader.consent()
    page = reader.page
    page.goto(f"{instance.url}/x/privacy?s=demo")
    assert page.get_by_role("heading", level=1).all_inner_texts() == [title]
    assert page.locator("html").get_attribute("lang") == language
    for control in page.locator("input:not([type=hidden]), select").all():
        name = control.get_attribute("id")
        assert page.locator(f"label[for='{name}']").inner_text()
    names = [button.get_attribute("aria-label") or button.inner_text() for button in page.get_by_role("button").all()]
    assert all(names)
    assert len(set(names)) == len(names)
    levels = [int(tag.evaluate("(node) => node.tagName[1]")) for tag in page.locator("h1, h2, h3").all()]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("html").evaluate("(root) => root.scrollWidth <= root.clientWidth")
    button = page.get_by_role("button", name=("Refuse: " if language == "en" else "Ablehnen: ")).first
    for _ in range(40):
        page.keyboard.press("Tab")
        if button.evaluate("(node) => node === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]")
    assert page.locator("main > [role=status]").count() == 1
    reader.context.close()
