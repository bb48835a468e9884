"""The links page in real Chromium: a marketer's way from a list to its result, and everything that can go wrong on it.

The lists are tagged by a real web process whose store is away: it needs none for that. The whole way goes through a
real instance with the demo shop.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from instance_process import RunningInstance, running_instance
from playwright.sync_api import Browser, BrowserContext, Download, Page, expect

from collector.console.links_page_session import invite
from collector.links.token import LinkToken, read_link
from collector.sites.book import Site
from tests.bad_input.web_process import WebProcess, running_web

pytestmark = pytest.mark.browser

TARGET = "https://shop.example/sale"
HEAD = "customer_id;first_name;e-mail;city"
LIST = f"{HEAD}\n4711;Ada;ada@mail.example;Bonn\n4712;Grace;grace@mail.example;Ulm\nguest;;x@mail.example;\n"
CONSENTED = "id,newsletter\n4711,yes\n4712,no\nguest,yes\n"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """A web process that knows one site, and whose store is away."""
    site = Site(site_id="shop", origins=("https://shop.example",))
    with running_web(tmp_path_factory.mktemp("links-page"), [site]) as process:
        yield process
    assert "Traceback" not in process.log
    assert "mail.example" not in process.log


def _find_url(web: WebProcess, minutes: int = 15) -> str:
    return f"http://localhost:{web.port}/links#{invite(web.keyring, 'anna', minutes, int(time.time()))}"


@pytest.fixture
def marketer(page: Page, web: WebProcess) -> Page:
    """The open page."""
    page.goto(_find_url(web))
    expect(page.locator("#step-1")).to_be_visible()
    return page


def _choose(page: Page, text: str | bytes, name: str = "recipients.csv") -> None:
    data = text.encode() if isinstance(text, str) else text
    page.locator("#file").set_input_files(files=[{"name": name, "mimeType": "text/csv", "buffer": data}])


def _fill(page: Page) -> None:
    page.locator("#campaign").fill("spring")
    page.locator("#target").fill(TARGET)


def _take(page: Page, button: str = "#take") -> tuple[str, list[list[str]]]:
    """Return name and rows of what is taken."""
    with page.expect_download() as caught:
        page.locator(button).click()
    download: Download = caught.value
    text = Path(download.path()).read_text(encoding="utf-8")
    return download.suggested_filename, list(csv.reader(io.StringIO(text, newline=""), delimiter=";"))


def test_the_secret_leaves_the_address_at_once(page: Page, web: WebProcess) -> None:
    """Neither the address nor the history nor a request of the page has it; a second use is refused in words."""
    url = _find_url(web)
    secret = url.partition("#")[2]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.url} {request.headers.get('referer', '')}"))
    page.goto("about:blank")
    page.goto(url)
    expect(page.locator("#step-1")).to_be_visible()
    assert page.url == f"http://localhost:{web.port}/links"
    assert all(secret not in each.replace(url, "") for each in asked)
    assert page.evaluate("navigation.entries().map((entry) => entry.url)") == [page.url], "nor has the history"
    page.context.clear_cookies()
    page.goto("about:blank")
    page.goto(url)
    expect(page.locator("#banner")).to_contain_text("used before")
    assert secret not in page.url
    assert secret not in web.log


def test_a_new_link_opens_the_page_that_is_there(page: Page, web: WebProcess) -> None:
    """Put into the address bar of the tab that says how to open it."""
    page.goto(f"http://localhost:{web.port}/links")
    expect(page.get_by_text("tagstitch links page --name anna")).to_be_visible()
    page.goto(_find_url(web))
    expect(page.locator("#step-1")).to_be_visible()


def test_from_a_list_to_a_tagged_one(marketer: Page, web: WebProcess) -> None:
    """Delimiter and column are guessed, the previews are true, and what is taken is the list with one more column."""
    expect(marketer.locator("#column")).to_be_disabled()
    _choose(marketer, LIST)
    expect(marketer.locator("#delimiter")).to_have_value(";")
    expect(marketer.locator("#column")).to_have_value("0")
    expect(marketer.locator("#consent-column")).to_have_value("-1")
    expect(marketer.locator("#start")).to_be_disabled()
    _fill(marketer)
    previews = marketer.locator("#previews li")
    expect(previews).to_have_count(3)
    expect(previews.nth(0)).to_contain_text(f"{TARGET}?lt=m")
    expect(previews.nth(2)).to_contain_text("names nobody")
    marketer.locator("#start").click()
    expect(marketer.locator("#done")).to_be_focused()
    expect(marketer.locator("#done-fact")).to_contain_text("2 links are made, 1 row could not be used.")
    name, rows = _take(marketer)
    assert name == "recipients-tagged.csv"
    assert rows[0] == [*HEAD.split(";"), "link"]
    tokens = [read_link(web.keyring, row[4].partition("lt=")[2], int(time.time())) for row in rows[1:3]]
    assert all(isinstance(token, LinkToken) for token in tokens)
    assert [token.reference for token in tokens if isinstance(token, LinkToken)] == ["4711", "4712"]
    assert rows[3][4] == TARGET
    name, rows = _take(marketer, "#take-refused")
    assert name == "recipients-refused.csv"
    assert rows[1][4].startswith("line 4: ")


def test_a_list_of_several_pieces(marketer: Page, web: WebProcess) -> None:
    """Some 700 kB: the state goes from piece to piece, quotes and line breaks within fields are whole."""
    rows = "".join(f'{number + 100_000};"Ada ""{number}""\nLovelace";a@b.example;yes\n' for number in range(16_000))
    _choose(marketer, f"{HEAD}\n{rows}")
    _fill(marketer)
    marketer.locator("#start").click()
    expect(marketer.locator("#done-fact")).to_contain_text("16,000 links are made.", timeout=60_000)
    _, taken = _take(marketer)
    assert len(taken) == 16_001
    assert [row[0] for row in taken[1:]] == [str(number + 100_000) for number in range(16_000)]
    assert len({row[4] for row in taken}) == 16_001
    assert taken[-1][1] == 'Ada "15999"\nLovelace'


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        ("id;name\n1;Jürgen\n".encode("latin-1"), "no UTF-8 text"),
        ("id;name\n1;Ada\n".encode("utf-16"), "no UTF-8 text"),
        (b"id\0name\n", "no CSV file"),
    ],
)
def test_a_file_that_is_no_list(marketer: Page, data: bytes, says: str) -> None:
    """It is said at once, with what to do; a good one then works."""
    _choose(marketer, data)
    expect(marketer.locator("#problem-list")).to_contain_text(says)
    expect(marketer.locator("#start")).to_be_disabled()
    _choose(marketer, LIST)
    expect(marketer.locator("#problem-list")).to_be_hidden()


def test_a_list_that_is_too_large(marketer: Page) -> None:
    """It is refused here, and not after it was sent."""
    marketer.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(100000001)], "all.csv"));
          document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        }"""
    )
    expect(marketer.locator("#problem-list")).to_contain_text("all.csv has 100.0 MB")


def test_what_is_wrong_is_said_where_it_is(marketer: Page) -> None:
    """A target that no site allows, e-mails where ids were promised, and a list of which nothing can be used."""
    _choose(marketer, LIST)
    marketer.locator("#campaign").fill("spring")
    marketer.locator("#target").fill("https://evil.example/")
    expect(marketer.locator("#problem-form")).to_contain_text("no site lets links lead there")
    expect(marketer.locator("#target")).to_have_attribute("aria-invalid", "true")
    expect(marketer.locator("#start")).to_be_disabled()
    marketer.locator("#target").fill(TARGET)
    expect(marketer.locator("#previews li")).to_have_count(3)
    expect(marketer.locator("#target")).not_to_have_attribute("aria-invalid", "true")
    marketer.locator("#column").select_option(label="e-mail")
    expect(marketer.locator("#identifier")).to_have_value("email")
    expect(marketer.locator("#previews li").first).to_contain_text("lt=m")
    expect(marketer.locator("#previews .refused")).to_have_count(0)
    marketer.locator("#identifier").select_option("customer")
    expect(marketer.locator("#previews .refused")).to_have_count(3)
    expect(marketer.locator("#previews-note")).to_contain_text("is this the right column")
    expect(marketer.locator("#start")).to_be_disabled()


def test_every_kind_of_link(marketer: Page) -> None:
    """Fields that a kind has no use for are not there; what the column holds is explained."""
    _choose(marketer, LIST)
    marketer.get_by_role("radio", name="For every mailing").check()
    expect(marketer.locator("#campaign")).to_be_hidden()
    marketer.get_by_role("radio", name="the token alone").check()
    expect(marketer.locator("#target")).to_be_hidden()
    expect(marketer.locator("#form-hint")).to_contain_text("?lt=")
    expect(marketer.locator("#previews .made").first).to_contain_text("r")
    marketer.get_by_role("radio", name="Unsubscribe").check()
    expect(marketer.locator("#form-hint")).to_be_hidden()
    expect(marketer.locator("#previews .made").first).to_contain_text("/l/u")
    expect(marketer.locator("#private-note")).to_be_visible()


def test_it_can_be_stopped(marketer: Page) -> None:
    """Between two pieces; nothing is left to be taken."""
    _choose(marketer, HEAD + "\n" + "".join(f"{number + 100_000};Ada;;\n" for number in range(60_000)))
    _fill(marketer)
    expect(marketer.locator("#start")).to_be_enabled()
    marketer.route("**/links/tag", lambda route: None)  # an answer that never comes
    marketer.locator("#start").click()
    expect(marketer.locator("#file")).to_be_disabled()
    marketer.locator("#stop").click()
    expect(marketer.locator("#problem-run")).to_contain_text("Stopped")
    expect(marketer.locator("#done")).to_be_hidden()
    expect(marketer.locator("#start")).to_be_enabled()


def test_the_network_comes_and_goes(marketer: Page) -> None:
    """A piece that does not arrive is sent again, and no row is tagged twice."""
    _choose(marketer, LIST)
    _fill(marketer)
    expect(marketer.locator("#start")).to_be_enabled()
    asked = []

    def fail_once(route: object) -> None:
        asked.append(route)
        route.abort() if len(asked) == 1 else route.continue_()  # type: ignore[attr-defined]

    marketer.route("**/links/tag", fail_once)
    marketer.locator("#start").click()
    expect(marketer.locator("#done-fact")).to_contain_text("2 links are made", timeout=15_000)
    assert len(asked) == 2
    assert len(_take(marketer)[1]) == 4


def test_by_keyboard_alone(marketer: Page) -> None:
    """Tabs by arrows, the file by its own field, Enter tags the list."""
    marketer.locator("#tab-tag").focus()
    marketer.keyboard.press("ArrowRight")
    expect(marketer.locator("#tab-results")).to_be_focused()
    expect(marketer.locator("#view-results")).to_be_visible()
    expect(marketer.locator("#problem-results")).to_contain_text("the store does not answer", timeout=15_000)
    marketer.keyboard.press("ArrowLeft")
    expect(marketer.locator("#view-tag")).to_be_visible()
    marketer.locator("#close").focus()
    marketer.keyboard.press("Tab")
    expect(marketer.locator("#file")).to_be_focused()
    _choose(marketer, LIST)
    _fill(marketer)
    expect(marketer.locator("#start")).to_be_enabled()
    marketer.locator("#target").press("Enter")
    expect(marketer.locator("#done")).to_be_focused()


def test_everything_has_a_name(marketer: Page) -> None:
    """Fields, buttons and tables can be told apart by ear; no id stands twice."""
    _choose(marketer, LIST)
    nameless = marketer.evaluate(
        """() => [...document.querySelectorAll("input, select, button, progress")].filter((each) =>
          !(each.labels?.length || each.textContent.trim() || each.getAttribute("aria-labelledby"))).map((e) => e.id)"""
    )
    assert nameless == []
    doubled = marketer.evaluate(
        """() => { const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
          return ids.filter((id, at) => ids.indexOf(id) !== at); }"""
    )
    assert doubled == []


def test_the_session_ends(marketer: Page, web: WebProcess) -> None:
    """The page says so; closing it leaves nothing behind."""
    _choose(marketer, LIST)
    marketer.context.clear_cookies()
    _fill(marketer)
    expect(marketer.locator("#banner")).to_contain_text("The session is over")
    marketer.goto("about:blank")
    marketer.goto(_find_url(web))
    marketer.get_by_role("button", name="Close").click()
    expect(marketer.get_by_text("This page opens with a link")).to_be_visible()
    assert marketer.context.cookies() == []


def test_what_stands_in_a_list_is_shown_as_text(marketer: Page) -> None:
    """Markup in a name, a customer or the file's own name runs nothing."""
    evil = "<img src=x onerror=window.hacked=1>"
    _choose(marketer, f"{evil};name\n{evil};{evil}\n", name=f"{evil[:20]}.csv")
    _fill(marketer)
    expect(marketer.locator("#previews li")).to_have_count(1)
    assert marketer.locator("main img").count() == 0
    assert marketer.evaluate("window.hacked") is None


@pytest.mark.parametrize("width", [360, 380, 1280])
def test_it_is_never_wider_than_the_screen(chromium: Browser, web: WebProcess, width: int) -> None:
    """With long names and addresses."""
    context: BrowserContext = chromium.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(_find_url(web))
    long = "a-very-long-name-that-somebody-has-thought-of" * 2
    _choose(page, f"id;{long};{long}2;{long}3\n{long};{long};;\n4711;x;;\n", name=f"{long}.csv")
    page.locator("#campaign").fill("spring")
    page.locator("#target").fill(f"{TARGET}?{long}={long}")
    expect(page.locator("#previews li")).to_have_count(2)
    page.locator("summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """An instance with the demo shop."""
    with running_instance(tmp_path_factory.mktemp("links-whole"), "--demo") as running:
        yield running


def test_the_whole_way(page: Page, instance: RunningInstance, open_context: Callable[[], BrowserContext]) -> None:
    """The command prints a link, a list is tagged and recorded, a customer follows, and the page tells it."""
    page.goto(instance.command("links", "page", "--name", "anna").stdout.strip())
    expect(page.locator("#state")).to_contain_text("anna · 15 min left")
    _choose(page, CONSENTED)
    expect(page.locator("#consent-column")).to_have_value("1")
    expect(page.locator("#consent-column")).to_be_visible()
    page.locator("#campaign").fill("whole")
    page.locator("#target").fill(f"{instance.url}/demo/product/dusk-lamp")
    page.locator("#start").click()
    expect(page.locator("#done-fact")).to_contain_text("2 links are made")
    with page.expect_download() as caught:
        page.locator("#take").click()
    link = next(csv.DictReader(io.StringIO(Path(caught.value.path()).read_text(encoding="utf-8"))))["link"]

    customer = open_context().new_page()
    customer.goto(f"{instance.url}/demo?consent=all")
    customer.goto(link)
    customer.mouse.click(300, 300)
    instance.until("SELECT count() AS n FROM v_events WHERE event_name = 'link_confirm'", lambda rows: rows[0]["n"] > 0)

    customer.goto(f"{instance.url}/demo/product/dusk-lamp?utm_campaign=whole&lt=*|LT|*")
    unfilled = "SELECT count() AS n FROM v_link_clicks WHERE status = 'unfilled'"
    instance.until(unfilled, lambda rows: rows[0]["n"] > 0)

    page.locator("#tab-results").click()
    expect(page.locator("#found")).to_be_visible()
    expect(page.locator("#unfilled")).to_contain_text("1 visit by whole came with a merge tag that was not filled")
    row = page.locator("#campaigns tr").first
    expect(row.locator(".name")).to_have_text("whole")
    told = {each.get_attribute("data-name"): each.inner_text() for each in row.locator("td[data-name]").all()}
    assert {name: told[name] for name in ("Sent", "Clicks", "Confirmed", "Machines")} == {
        "Sent": "2",
        "Clicks": "1",
        "Confirmed": "1",
        "Machines": "0",
    }
    assert "1 click by people" in (page.locator("#chart svg").get_attribute("aria-label") or "")
    row.locator(".name").click()
    expect(page.locator("#told-0")).to_contain_text("Merge tag not filled")
    with page.expect_download() as caught:
        page.locator("#csv").click()
    [found] = csv.DictReader(io.StringIO(Path(caught.value.path()).read_text(encoding="utf-8-sig")))
    assert (found["campaign"], found["clicks"]) == ("whole", "1")
    page.locator("#last").fill("2020-01-31")
    page.locator("#first").fill("2020-01-01")
    page.locator("#first").blur()
    expect(page.locator("#none")).to_be_visible()
    [minting] = instance.sql("SELECT actor, via, made, refused FROM v_link_mintings")
    assert minting == {"actor": "page:anna", "via": "page", "made": 2, "refused": 1}
    said = instance.sql("SELECT state, source FROM v_consents WHERE source = 'list' ORDER BY state")
    assert said == [{"state": "denied", "source": "list"}, {"state": "granted", "source": "list"}]


def test_consent_needs_the_store(marketer: Page) -> None:
    """Where it is away, that is said with the way out, and no list is handed out that would be forgotten."""
    _choose(marketer, CONSENTED)
    _fill(marketer)
    expect(marketer.locator("#start")).to_be_enabled()
    marketer.locator("#start").click()
    expect(marketer.locator("#progress-note")).to_contain_text("choose no consent column")
    marketer.locator("#stop").click()
    expect(marketer.locator("#done")).to_be_hidden()


@pytest.fixture
def open_context(chromium: Browser) -> Iterator[Callable[[], BrowserContext]]:
    """What opens browsers of other people."""
    contexts: list[BrowserContext] = []

    def open_one() -> BrowserContext:
        contexts.append(chromium.new_context())
        return contexts[-1]

    yield open_one
    for context in contexts:
        context.close()
