"""`/x/privacy` through the whole instance: who sees what, and what becomes of the page's forms."""

from __future__ import annotations

import http.client
import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.identity_drive import Browser, Space, World, running_world

pytestmark = pytest.mark.engine
PATH = "/x/privacy"
GO_THERE = {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Accept-Language": "en"}
SPACES = 9


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for the module; each space has a trait of its own."""
    folder = tmp_path_factory.mktemp("own")
    use = folder / "use.toml"
    traits = (f'[traits.city_{number}]\ntype = "text"\nspace = "s{number}"\n' for number in range(SPACES))
    use.write_text("\n".join(traits))
    options = ("govern_interval_s=0.2", f"use_file={use}", "public_url=http://own.example")
    with running_world(folder, spaces=SPACES, options=options) as running:
        yield running


@pytest.fixture
def space(world: World) -> Space:
    """A space of the test's own."""
    return world.take_space()


class Forms(HTMLParser):
    """The forms of a page: their fields and buttons, as a browser would send them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append({})
        elif tag in ("input", "button", "select") and "name" in said and self.found:
            self.found[-1][said["name"]] = said.get("value", "")


class Look:
    """What somebody saw. `text`: the page without its head."""

    def __init__(self, space: Space, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.text = body.partition(b"<body>")[2].decode() if headers["Content-Type"].startswith("text/html") else ""
        self._space = space

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the answer sets, by name; "" takes one away."""
        pairs = [one.partition(";")[0].partition("=") for one in self.headers.get_all("Set-Cookie") or ()]
        return {name: value for name, _, value in pairs}

    def send(self, action: str, **values: str) -> Look:
        """Send the page's form with this action, with these values in it. It brings no cookie, as in a browser."""
        fits = {name: value for name, value in values.items() if name in ("purpose", "trait")}
        [form] = [
            form
            for form in Forms(self.text).found
            if form.get("action") == action and all(form.get(name) == value for name, value in fits.items())
        ]
        return post(self._space, {**form, **values})


def post(space: Space, form: dict[str, str], site: str = "") -> Look:
    headers = {**GO_THERE, "Content-Type": "application/x-www-form-urlencoded", "Origin": "null"}
    return _talk(space, "POST", f"{PATH}?s={site or space.site_id}", headers, urlencode(form).encode())


def look(space: Space, browser: Browser | None = None, query: str = "", **headers: str) -> Look:
    """Open the page as somebody who types its address."""
    sent = {**GO_THERE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if browser is not None:
        sent["Cookie"] = "; ".join(browser.cookies.values())
    return _talk(space, "GET", f"{PATH}?s={space.site_id}{query}", sent)


def _talk(space: Space, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Look:
    config = space.world.instance.config
    connection = http.client.HTTPConnection(config.host, config.port, timeout=60)
    connection.request(method, path, body, {name: value for name, value in headers.items() if value})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return Look(space, answer.status, answer.headers, data)


def run(space: Space, *words: str, check: bool = True) -> Any:
    """Run `tagstitch privacy …` in a space."""
    return space.world.instance.command("privacy", *words, "--space", space.name, check=check)


def ask_until(space: Space, statement: str, fits: Any, **values: Any) -> list[dict[str, Any]]:
    """Ask as a reader until the answer fits."""
    deadline = time.monotonic() + 20
    while not fits(rows := space.query(statement, **values)):
        assert time.monotonic() < deadline, rows
        time.sleep(0.1)
    return rows


def find_request(shown: Look) -> str:
    """Return the id of the request that the page names."""
    found = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", shown.text.partition('role="status"')[2])
    assert found is not None, shown.text
    return found[0]


def test_a_browser_of_nobody_known_sees_what_it_did(space: Space) -> None:
    """All of it, and nothing of others; what strangers wrote is text; a script of the site is shown nothing."""
    anna, ben = space.browser(), space.browser()
    anna.send(anna.make_event("page_view", 1, h="annas-title", u=f"https://{space.site_id}.example/<script>x"))
    ben.view(ago_h=1, u=f"https://{space.site_id}.example/bens-page")
    space.settle()
    shown = look(space, anna)
    assert (shown.status, shown.headers["Cache-Control"]) == (200, "no-store")
    assert "held about this browser" in shown.text
    assert "page_view" in shown.text
    assert "<script" not in shown.body.decode()
    assert "bens-page" not in shown.text
    assert "sandbox allow-forms" in shown.headers["Content-Security-Policy"]
    assert "allow-same-origin" not in shown.headers["Content-Security-Policy"]
    for dest in ("empty", "script", ""):
        hidden = look(space, anna, Sec_Fetch_Dest=dest)
        assert "page_view" not in hidden.text
        assert "does not say how it opened the page" in hidden.text
        assert 'value="take"' not in hidden.text
    assert "not recognised" in look(space).text
    assert "Was über Sie gespeichert ist" in look(space, anna, "&language=de").text
    assert look(space, anna, "x").status == 404


def test_who_signed_in_sees_and_takes_everything(space: Space) -> None:
    """On all devices, with why they were linked and who has looked; the look itself is noted."""
    laptop, phone = space.browser(), space.browser()
    laptop.sign_in(customer="anna", email="anna@shop.example", ago_h=3)
    phone.view(ago_h=4, u=f"https://{space.site_id}.example/on-the-phone")
    phone.sign_in(customer="anna", ago_h=2)
    laptop.sign_in(customer="anna", ago_h=0)
    space.settle()
    shown = look(space, laptop)
    assert "held about you, on all your devices" in shown.text
    for piece in ("on-the-phone", "anna", "somebody signed in", "you signed in", "customer number"):
        assert piece in shown.text, piece
    taken = shown.send("take")
    assert taken.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(taken.body)) as archive:
        assert {"index.html", "events.jsonl", "events.csv", "dictionary.csv"} <= set(archive.namelist())
        assert b"on-the-phone" in archive.read("events.jsonl")
    ask_until(
        space,
        "SELECT way FROM v_profile_reads WHERE space_id = {space:String}",
        lambda rows: {"way": "privacy"} in rows,
    )
    requests = json.loads(run(space, "requests", "--all", "--json").stdout)
    assert (requests["kind"], requests["state"], requests["actor"], requests["via"]) == (
        *("export", "done", "person"),
        "page",
    )


def test_a_shared_browser_shows_nobody_the_others(space: Space) -> None:
    """Who signs in sees their own times; who has signed out sees that there is something, and none of it."""
    tablet = space.browser()
    tablet.sign_in(customer="anna", ago_h=6)
    tablet.view(ago_h=5, u=f"https://{space.site_id}.example/annas-page")
    tablet.sign_in(customer="ben", ago_h=3)
    tablet.view(ago_h=2, u=f"https://{space.site_id}.example/bens-page")
    tablet.sign_in(customer="ben", ago_h=0)
    space.settle()
    shown = look(space, tablet)
    assert "bens-page" in shown.text
    assert "annas-page" not in shown.text
    signed_in = tablet.cookies[space.site_id]
    tablet.cookies[space.site_id] = cookie_of_nobody(space, tablet)
    hidden = look(space, tablet)
    assert "used by somebody who is known here" in hidden.text
    for piece in ("annas-page", "bens-page", "anna", "Entries: 0"):
        assert piece not in hidden.text
    assert 'value="take"' not in hidden.text
    assert 'value="erase"' not in hidden.text
    token = {name: value for form in Forms(hidden.text).found for name, value in form.items()}["token"]
    assert post(space, {"token": token, "action": "take"}).status == 404
    tablet.cookies[space.site_id] = signed_in


def cookie_of_nobody(space: Space, browser: Browser) -> str:
    """Return the browser's cookie as it is once its sign-in is over."""
    from collector.accept.visitor_cookie import VisitorCookie, write_cookie

    now_s = space.world.now_ms // 1000
    value = write_cookie(space.world.instance.keyring, space.site_id, VisitorCookie(browser.visitor, now_s))
    return f"ts_{space.site_id}={value}"


def test_a_refusal_holds_for_the_person_and_for_the_browser(space: Space) -> None:
    """For the person under all names, within seconds; in this browser whatever the banner says."""
    laptop, phone = space.browser(), space.browser()
    laptop.more["c"] = phone.more["c"] = "aifpm"
    phone.sign_in(customer="anna", ago_h=2)
    laptop.sign_in(customer="anna", ago_h=0)
    space.settle()
    shown = look(space, laptop)
    refused = shown.send("switch", purpose="m", answer="refuse")
    assert "Advertising is refused by you from now on" in refused.text
    assert refused.cookies["_ts_no"] == "m"
    both = refused.send("switch", purpose="f", answer="refuse")
    assert both.cookies["_ts_no"] == "fm"
    consents = "SELECT purpose, state, source FROM v_consents WHERE space_id = {space:String} AND customer_id = 'anna'"
    ask_until(
        space,
        consents,
        lambda rows: all(
            row["state"] == "withdrawn" and row["source"] == "privacy"
            for row in rows
            if row["purpose"] in ("fingerprint", "marketing")
        ),
    )
    jar = laptop.cookies[space.site_id]
    laptop.cookies[space.site_id] = f"{jar}; _ts_no=fm"
    answer = laptop.view(f={"v": 1, "s": {"canvas": "ab12", "audio": 124.04, "math": "ff", "platform": "Linux x86_64"}})
    assert "consent" in answer.rejected
    laptop.cookies[space.site_id] = f"{jar}; _ts_no=fm"
    again = look(space, laptop)
    allowed = again.send("switch", purpose="m", answer="allow")
    assert allowed.cookies["_ts_no"] == "f"
    ask_until(
        space, consents, lambda rows: any(row["purpose"] == "marketing" and row["state"] == "granted" for row in rows)
    )


def test_an_objection_is_noted(space: Space) -> None:
    """The browser is silent from then on, its cookies go, and the ledger has it."""
    anna = space.browser()
    anna.view(ago_h=1)
    space.settle()
    silent = look(space, anna).send("object")
    assert silent.cookies["_ts_out"] == "1"
    assert silent.cookies[f"ts_{space.site_id}"] == ""
    assert "Nothing is recorded" in silent.text
    rows = ask_until(
        space,
        "SELECT DISTINCT state, source FROM v_consents WHERE space_id = {space:String} AND state = 'withdrawn'",
        lambda rows: rows,
    )
    assert rows == [{"state": "withdrawn", "source": "opt_out"}]
    undone = silent.send("undo")
    assert undone.cookies["_ts_out"] == ""


def test_a_correction_is_looked_at_by_somebody(space: Space) -> None:
    """It waits, and is in force when an officer has approved it; what is no trait cannot be asked for."""
    anna, trait = space.browser(), f"city_{space.name[1:]}"
    use = space.world.instance.data.parent / "use.toml"
    space.call("identify", userId="anna", traits={trait: "Bremen"}, ago_h=1)
    anna.sign_in(customer="anna", ago_h=0)
    space.settle()
    shown = look(space, anna)
    assert "Bremen" in shown.text
    asked = shown.send("correct", trait=trait, value="Hamburg")
    request = find_request(asked)
    listed = run(space, "requests").stdout
    assert request in listed
    assert f"{trait}: Hamburg" in listed
    assert "Hamburg" not in look(space, anna).text
    assert "corrected" in run(space, "approve", request, "--set", f"use_file={use}").stdout
    assert "Hamburg" in look(space, anna).text
    form = next(form for form in Forms(shown.text).found if form.get("action") == "correct")
    assert "could not be noted" in post(space, {**form, "trait": "salary", "value": "1"}).text


def test_erasing_asks_twice_and_leaves_nothing(space: Space) -> None:
    """The request is carried out by itself; the same token, and the same cookie, then show nothing."""
    anna = space.browser()
    anna.sign_in(customer="anna", ago_h=0)
    space.settle()
    shown = look(space, anna)
    sure = shown.send("erase")
    assert "Really erase everything?" in sure.text
    assert "anna" in sure.send("keep").text
    gone = sure.send("erase-sure")
    assert gone.cookies[f"ts_{space.site_id}"] == ""
    request = find_request(gone)
    deadline = time.monotonic() + 30
    while json.loads(run(space, "requests", "--all", "--json").stdout.splitlines()[0])["state"] != "done":
        assert time.monotonic() < deadline, request
        time.sleep(0.2)
    assert set(space.customers()) == set()
    time.sleep(1.0)  # settings are asked for every 0.3 s
    assert "anna" not in shown.send("erase").text
    assert "anna" not in look(space, anna).text


def test_a_confirmation_link_opens_once(space: Space) -> None:
    """Asked for by an address that is known for sure, made by an officer, opened with a button; never told to whom."""
    anna, eve = space.browser(), space.browser()
    anna.sign_in(customer="anna", email="anna@shop.example", ago_h=2)
    eve.claim(email="eve@evil.example", ago_h=1)
    space.settle()
    stranger = look(space)
    for kind, value in (("email", "nobody@shop.example"), ("email", "eve@evil.example"), ("visitor", anna.visitor)):
        assert "a link is on its way" in stranger.send("link", kind=kind, value=value).text
    assert "a link is on its way" in stranger.send("link", kind="email", value="Anna@Shop.example").text
    deadline = time.monotonic() + 20
    while not (said := run(space, "requests", "--json").stdout):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    [waiting] = map(json.loads, said.splitlines())
    assert (waiting["kind"], waiting["state"]) == ("link", "open")
    made = json.loads(run(space, "link", waiting["request_id"], "--json").stdout)
    assert made["send_to"] == ["email=Anna@Shop.example", "customer=anna"]
    address = urlsplit(made["url"])
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"http://own.example{PATH}"
    token = address.query.partition("t=")[2]
    button = look(space, query=f"&t={token}")
    assert "anna" not in button.text.replace(token, "")
    opened = button.send("open")
    assert "held about you, on all your devices" in opened.text
    assert "anna" in opened.text
    assert button.send("open").status == 410
    assert opened.send("take").status == 200
    assert look(space, query="&t=forged").text.count("opened already, is too old") == 1
    assert '"subjects":""' in run(space, "requests", "--all", "--json").stdout


@pytest.mark.parametrize(
    "form", [{}, {"action": "take"}, {"token": "forged", "action": "erase-sure"}, {"action": "open"}]
)
def test_a_form_from_elsewhere_changes_nothing(world: World, form: dict[str, str]) -> None:
    """Without the page's own word nothing is done."""
    answer = post(Space(world, "s0", ("s0",), {}), form)
    assert answer.status == 400
    assert answer.cookies == {}
