"""What the tag notes by itself, in real Chromium: people's clicks, forms, scrolling, playing and waiting."""

from __future__ import annotations

import io
import json
import time
import wave
from pathlib import Path
from typing import Any

import pytest
from fresh_build import fresh_build
from in_page import PAINTED
from page_server import DEADLINE_S, PageServer
from playwright.sync_api import BrowserContext, Page
from starlette.responses import FileResponse, Response

from collector.tag_builds import TAG, read_build, versioned_path

pytestmark = pytest.mark.browser

AUTO = "outbound downloads forms clicks engagement media vitals"


def serve_script(server: PageServer, path: str, script: bytes) -> None:
    server.pages[path] = lambda _request: Response(script, media_type="text/javascript")


def add_tag(server: PageServer) -> None:
    """Serve the tag and its modules as their source is now, under `/auto/`."""
    folder = fresh_build()
    build = read_build(folder)
    for file in build.files:
        path = "/auto/t.js" if file.name == TAG else versioned_path("/auto/t.js", build.version, file)
        serve_script(server, path, (folder / file.name).read_bytes())


def add_page(
    server: PageServer,
    site: str,
    body: str,
    *,
    auto: str = AUTO,
    clicks: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    style: str = "",
) -> str:
    """Serve a page with the tag, set so; returns its address."""
    add_tag(server)
    init = {"site": site, "consent": "implied", "endpoint": "/x/b", "auto": auto, "clicks": clicks or {}}
    tag = (
        "<script nonce=n0nce>window.tagstitch=function(){(tagstitch.q=tagstitch.q||[]).push(arguments)};"
        f"tagstitch('init',{json.dumps(init)})</script><script nonce=n0nce src=/auto/t.js></script>"
    )
    html = f"<!doctype html><html lang=en><head><title>auto</title>{style}{tag}</head><body>{body}</body></html>"
    return server.add_page(f"/{site}", html, headers)


def noted(server: PageServer, site: str, name: str, count: int) -> list[dict[str, Any]]:
    """Wait for so many events of this name; returns their properties. Fails when there are more, or at the deadline."""
    end = time.monotonic() + DEADLINE_S
    while len(found := [event.get("p", {}) for event in server.events(site) if event["n"] == name]) < count:
        assert time.monotonic() < end, f"waited for {count} {name}, got {server.events(site)}"
        time.sleep(0.02)
    assert len(found) == count, found
    return found


def names(server: PageServer, site: str) -> list[str]:
    """Names of the events so far, without those that every page has."""
    of_every_page = ("page_view", "engagement", "web_vitals")
    return [event["n"] for event in server.events(site) if event["n"] not in of_every_page]


def make_wav(seconds: float) -> bytes:
    """A file of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(b"\x80" * int(8000 * seconds))
    return file.getvalue()


def test_a_link_that_leads_away_is_noted_before_the_page_is_gone(
    page: Page, page_server: PageServer, site: str
) -> None:
    """A click that leaves for another host says the host and the address without query and fragment."""
    away = page_server.add_page("/away", "away").replace("localhost", "127.0.0.1")
    page.goto(add_page(page_server, site, f"<a href='{away}?from=me#x'><b>go</b></a>"))
    page.click("b")
    page.wait_for_url("**/away*")
    (props,) = noted(page_server, site, "outbound_click", 1)
    assert props == {"url": away, "host": away.split("/")[2]}


def test_the_middle_button_leads_away_too(whole_page: Page, page_server: PageServer, site: str) -> None:
    """A link opened in a tab by the middle button counts, its menu by the right one does not."""
    away = page_server.add_page("/away", "away").replace("localhost", "127.0.0.1")
    whole_page.goto(add_page(page_server, site, f"<a href='{away}'>go</a><a id=same href='/away'>here</a>"))
    whole_page.click("a", button="right")
    with whole_page.context.expect_page():
        whole_page.click("a", button="middle")
    with whole_page.context.expect_page():
        whole_page.click("#same", button="middle")
    assert noted(page_server, site, "outbound_click", 1) == [{"url": away, "host": away.split("/")[2]}]


def test_a_download_is_noted_with_its_kind(page: Page, page_server: PageServer, site: str) -> None:
    """Files by their ending and links with the attribute `download` count as downloads."""
    page_server.pages["/list.PDF"] = lambda _request: Response(b"%PDF-", media_type="application/octet-stream")
    page_server.pages["/export"] = lambda _request: Response(b"a,b", media_type="text/csv")
    body = "<a id=a href='/list.PDF?t=1'>list</a><a id=b href='/export?id=4' download='report.csv'>export</a>"
    page.goto(add_page(page_server, site, body))
    for selector in ("#a", "#b"):
        with page.expect_download():
            page.click(selector)
    assert noted(page_server, site, "file_download", 2) == [
        {"url": page_server.origin + "/list.PDF", "extension": "pdf"},
        {"url": page_server.origin + "/export", "extension": "csv"},
    ]


def test_clicks_have_the_names_that_the_site_gives(page: Page, page_server: PageServer, site: str) -> None:
    """By attribute and by selector, from inside a shadow tree, by mouse and keyboard."""
    body = """
    <div data-ts-event=card data-ts-item-id=007><x-card></x-card></div>
    <label><input type=radio name=s data-ts-event=size data-ts-size=M> <span>M</span></label>
    <button class=buy>buy</button>
    <p data-ts-ignore><button id=quiet data-ts-event=never>x</button></p>
    <script nonce=n0nce>
      const root = document.querySelector('x-card').attachShadow({mode: 'open'});
      root.append(Object.assign(document.createElement('button'), {textContent: 'me@shop.example'}));
    </script>"""
    page.goto(add_page(page_server, site, body, clicks={".buy": "buy", "::bad": "never"}))
    page.click("x-card button")
    page.click("span")
    page.click("#quiet")
    page.evaluate("document.querySelector('.buy').click()")
    page.focus(".buy")
    page.keyboard.press("Enter")
    assert noted(page_server, site, "buy", 1) == [{}]
    assert noted(page_server, site, "card", 1) == [{"item_id": "007"}]
    assert noted(page_server, site, "size", 1) == [{"size": "M"}]
    assert sorted(names(page_server, site)) == ["buy", "card", "size"]


def test_nothing_is_noted_where_nothing_is_wanted(page: Page, page_server: PageServer, site: str) -> None:
    """With `none` for `auto` a visit with a click and a route change is a page view and nothing else."""
    page.goto(add_page(page_server, site, "<a href='mailto:a@b.example' data-ts-event=x>x</a>", auto="none"))
    page.evaluate(PAINTED)
    page.click("a")
    page.evaluate("history.pushState(null, '', '?route=2')")
    page.goto("about:blank")
    noted(page_server, site, "page_view", 1)
    page.goto(page_server.origin + f"/{site}")
    noted(page_server, site, "page_view", 2)
    assert [event["n"] for event in page_server.events(site)] == ["page_view", "page_view"]


def test_what_is_noted_where_the_site_has_said_nothing(page: Page, page_server: PageServer, site: str) -> None:
    """With an empty `auto` routes, clicks, forms, engagement and the rest are noted; a change of the fragment is no
    view, and vitals are neither noted nor loaded."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    body = "<a href='#part' data-ts-event=x>x</a><form id=f><input name=q></form>"
    page.goto(add_page(page_server, site, body, auto=""))
    page.evaluate(PAINTED)
    page.click("a")
    page.wait_for_function("location.hash === '#part'")
    page.click("input")
    page.keyboard.type("y")
    page.evaluate("history.pushState(null, '', '?route=2')")
    noted(page_server, site, "page_view", 2)
    page.evaluate(PAINTED)
    found = [(event["n"], event["q"]) for event in page_server.events(site)]
    assert found == [("page_view", 1), ("x", 2), ("form", 3), ("engagement", 4), ("page_view", 5)]
    assert [url for url in asked if "/t-" in url] == []


FORM = """<form id=order action=/thanks>
  <input name=email type=email required><input name=password type=password>
  <select name=plan><option>basic<option>gold</select><input type=submit name=commit value=Go></form>"""


def test_a_form_is_noted_by_name_and_outcome(page: Page, page_server: PageServer, site: str) -> None:
    """A failed attempt, by mouse and by key, and the submission that leaves the page are noted once each, with the
    fields in their order; nothing that was typed is."""
    page_server.add_page("/thanks", "thanks")
    page.goto(add_page(page_server, site, FORM))
    page.click("[name=commit]")
    page.fill("[name=password]", "correct horse")
    page.focus("[name=password]")
    page.keyboard.press("Enter")
    page.click("[name=email]")
    page.keyboard.type("me@shop.example")
    for key in ("Tab", "Tab", "g"):
        page.keyboard.press(key)
    assert page.evaluate("document.querySelector('select').value") == "gold"
    page.click("[name=commit]")
    page.wait_for_url("**/thanks*")
    first, second, third = noted(page_server, site, "form", 3)
    # The browser puts the focus on the field that it complains about.
    assert (first["form"], first["outcome"]) == ("order", "invalid")
    assert (second["outcome"], second["fields"]) == ("invalid", ["email", "password"])
    assert third["outcome"] == "submitted"
    assert third["fields"] == ["email", "password", "plan"]
    assert third["last_field"] == "plan"
    sent = str(page_server.events(site))
    for secret in ("horse", "me@", "gold", "Go"):
        assert secret not in sent


def test_a_form_that_the_page_sends_itself_is_submitted(page: Page, page_server: PageServer, site: str) -> None:
    """An app that takes the submit event and stays counts as submitted; one that finds fields invalid then does not."""
    body = """<form name=app novalidate><input name=a required><button>go</button></form><script nonce=n0nce>
      document.forms[0].addEventListener('submit', (event) => { event.preventDefault(); event.target.checkValidity() });
    </script>"""
    page.goto(add_page(page_server, site, body))
    page.click("button")
    noted(page_server, site, "form", 1)
    page.fill("input", "x")
    page.click("button")
    outcomes = [props["outcome"] for props in noted(page_server, site, "form", 2)]
    assert outcomes == ["invalid", "submitted"]


def test_a_begun_form_is_abandoned_and_a_focused_one_is_not(page: Page, page_server: PageServer, site: str) -> None:
    """Leaving after an entry is abandonment; leaving a field that had the focus from the start is nothing."""
    body = "<form id=search><input name=q autofocus></form>" + FORM
    url = add_page(page_server, site, body)
    page.goto(url)
    page.wait_for_function("document.activeElement.name === 'q'")
    page.goto(url)
    page.wait_for_function("document.activeElement.name === 'q'")
    page.click("[name=email]")
    page.keyboard.type("me")
    page.goto("about:blank")
    (props,) = noted(page_server, site, "form", 1)
    assert (props["form"], props["outcome"], props["last_field"]) == ("order", "abandoned", "email")


def test_engagement_is_depth_and_time(page: Page, page_server: PageServer, site: str) -> None:
    """A page that was scrolled by the wheel tells how deep, and for how long somebody was at it; going back up does not
    lessen it."""
    page.set_viewport_size({"width": 800, "height": 500})
    page.goto(add_page(page_server, site, "<div id=long></div>", style="<style>#long{height:2000px;margin:0}</style>"))
    page.mouse.move(100, 100)
    page.mouse.wheel(0, 500)
    page.wait_for_function("scrollY === 500")
    page.mouse.wheel(0, -500)
    page.wait_for_function("scrollY === 0")
    page.goto("about:blank")
    (props,) = noted(page_server, site, "engagement", 1)
    # (500 + 500) of 2000 pixels and the body's margin.
    assert 49 <= props["scroll_percent"] <= 50
    assert 0 < props["engaged_s"] < 60
    assert round(props["engaged_s"], 1) == props["engaged_s"]


def test_a_short_page_is_seen_whole_and_one_that_fills_up_is_not(
    page: Page, page_server: PageServer, site: str
) -> None:
    """A page that fits the window is 100 percent; content that comes later makes it less."""
    page.set_viewport_size({"width": 800, "height": 500})
    url = add_page(page_server, site, "<p>short")
    grown = "document.body.append(Object.assign(document.createElement('div'), {style: 'height: 4500px'}))"
    page.goto(url)
    page.evaluate(PAINTED)
    page.goto("about:blank")
    assert noted(page_server, site, "engagement", 1)[0]["scroll_percent"] == 100
    page.goto(url)
    page.evaluate(PAINTED)
    page.evaluate(grown)
    page.evaluate(PAINTED)
    page.goto("about:blank")
    assert noted(page_server, site, "engagement", 2)[1]["scroll_percent"] == 11


def add_sound(server: PageServer, folder: Path, seconds: float) -> None:
    """Serve silence of this length, in parts where the browser wants one: else it cannot jump."""
    file = folder / "silence.wav"
    file.write_bytes(make_wav(seconds))
    server.pages["/silence.wav"] = lambda _request: FileResponse(file, media_type="audio/wav")


def test_a_sound_that_is_played_to_its_end(page: Page, page_server: PageServer, site: str, tmp_path: Path) -> None:
    """Start, quarters and completion are noted once, with the seconds that were really played."""
    add_sound(page_server, tmp_path, 4)
    body = "<audio src='/silence.wav?token=1'></audio><button>play</button><script nonce=n0nce>"
    body += "document.querySelector('button').onclick = () => { const audio = document.querySelector('audio');"
    body += "audio.playbackRate = 2; audio.play() }</script>"
    page.goto(add_page(page_server, site, body))
    page.click("button")
    page.wait_for_function("document.querySelector('audio').ended")
    found = noted(page_server, site, "media", 5)
    assert [(props["action"], props["percent"]) for props in found] == [
        ("play", 0),
        ("progress", 25),
        ("progress", 50),
        ("progress", 75),
        ("complete", 100),
    ]
    for props in found:
        assert (props["kind"], props["src"]) == ("audio", page_server.origin + "/silence.wav")
        assert props["duration_s"] == 4
        assert props["percent"] / 100 * 4 * 0.94 <= props["seconds"] <= 4
    page.click("button")
    page.wait_for_function("!document.querySelector('audio').ended")
    page.wait_for_function("document.querySelector('audio').ended")
    noted(page_server, site, "media", 5)


def test_a_part_that_was_skipped_was_not_played(page: Page, page_server: PageServer, site: str, tmp_path: Path) -> None:
    """Who jumps to the end has reached it without having seen a quarter."""
    add_sound(page_server, tmp_path, 4)
    page.goto(add_page(page_server, site, "<audio controls src=/silence.wav data-ts-title=Interview></audio>"))
    page.click("body")
    page.evaluate("document.querySelector('audio').play()")
    page.wait_for_function("document.querySelector('audio').currentTime > 0.1")
    page.evaluate("document.querySelector('audio').currentTime = 3.8")
    page.wait_for_function("document.querySelector('audio').ended")
    (props,) = noted(page_server, site, "media", 1)
    assert (props["action"], props["src"]) == ("play", "Interview")


@pytest.mark.long
def test_vitals_are_told_once_when_the_page_is_left(whole_page: Page, page_server: PageServer, site: str) -> None:
    """Paint, shift, answer and first byte of a real page come in one event; out of the bfcache comes another one."""
    body = """<h1>Large text that is painted</h1><button>work</button><script nonce=n0nce>
      document.querySelector('button').onclick = (event) => {
        const end = performance.now() + 120;
        while (performance.now() < end);
        event.target.textContent = 'worked';
        setTimeout(() => document.querySelector('h1').before(Object.assign(document.createElement('p'), {
          style: 'height: 300px' })), 700);
      };</script>"""
    with whole_page.expect_response("**/t-v-*"):
        whole_page.goto(add_page(page_server, site, body))
    whole_page.click("button")
    whole_page.wait_for_selector("p", state="attached")
    whole_page.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 300))))"
    )
    other = page_server.add_page("/other", "other")
    whole_page.goto(other)
    (props,) = noted(page_server, site, "web_vitals", 1)
    assert sorted(props) == ["cls", "fcp_ms", "inp_ms", "lcp_ms", "ttfb_ms"]
    assert 120 <= props["inp_ms"] < 5000
    assert 0 < props["cls"] < 1
    assert 0 < props["ttfb_ms"] <= props["fcp_ms"] <= props["lcp_ms"] < 60_000
    whole_page.evaluate("history.back()")
    whole_page.wait_for_selector("p")
    whole_page.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 100))))"
    )
    whole_page.goto(other)
    again = noted(page_server, site, "web_vitals", 2)[1]
    assert "ttfb_ms" not in again
    assert again["lcp_ms"] < 60_000


def test_a_strict_policy_is_kept(context: BrowserContext, page_server: PageServer, site: str, tmp_path: Path) -> None:
    """Under a policy by nonce, with Trusted Types, everything is noted and nothing is refused."""
    add_sound(page_server, tmp_path, 2)
    policy = (
        "default-src 'none'; script-src 'nonce-n0nce'; connect-src 'self'; media-src 'self'; form-action 'self'; "
        "require-trusted-types-for 'script'; trusted-types tagstitch"
    )
    body = """<script nonce=n0nce>
        window.refused = [];
        addEventListener('securitypolicyviolation', (event) => refused.push(event.violatedDirective));
      </script>
      <form id=f><input name=a></form><button data-ts-event=press>x</button><audio src=/silence.wav></audio>"""
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(add_page(page_server, site, body, headers={"Content-Security-Policy": policy}))
    page.click("button")
    page.evaluate(
        "new Promise((done) => { const audio = document.querySelector('audio'); audio.onended = done; audio.play() })"
        ".then(() => 0)"
    )
    page.click("input")
    page.keyboard.type("x")
    noted(page_server, site, "press", 1)
    noted(page_server, site, "media", 5)
    assert page.evaluate("refused") == []
    page.goto("about:blank")
    for name in ("form", "engagement", "web_vitals"):
        noted(page_server, site, name, 1)
    assert said == []
