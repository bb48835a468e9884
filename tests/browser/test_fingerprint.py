"""The fingerprint module in a real browser: the same device says the same, whatever the page forbids.

The module is built from its source here, so that these tests judge what stands in `tag_js/src`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import CHROMIUM_FLAGS, FIREFOX_PREFERENCES, need_program, running_engine_of
from page_server import PageServer
from playwright.sync_api import Browser, BrowserContext, Page, Playwright
from starlette.requests import Request
from starlette.responses import Response

from fingerprint import list_signals, make_fingerprint, normalise_signals
from fingerprint.signals import is_counted

pytestmark = pytest.mark.browser

TAG_JS = Path(__file__).parents[2] / "tag_js"
NAMES = {signal.name for signal in list_signals(2)}
NONCE = "bm9uY2U"
STRICT = f"default-src 'none'; script-src 'nonce-{NONCE}'; require-trusted-types-for 'script'; trusted-types 'none'"

# A page that notes everything that a visitor or a policy could mind.
PAGE = f"""<!doctype html><html lang=en><head><script nonce={NONCE}>
  window.wrong = [];
  addEventListener('securitypolicyviolation', event => wrong.push(event.violatedDirective));
  addEventListener('error', event => wrong.push(event.message));
  addEventListener('unhandledrejection', event => wrong.push(String(event.reason)));
</script><script nonce={NONCE} id=module src=/f.js></script>
<script nonce={NONCE}>window.run = document.getElementById('module').run</script></head><body>x</body></html>"""


@pytest.fixture(scope="module")
def chromium(whole_chromium: Browser) -> Browser:
    """Chromium as people have it: the fonts, voices and screen of a desktop are among what is read."""
    return whole_chromium


@pytest.fixture(scope="module")
def module_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The module, built from its source."""
    folder = tmp_path_factory.mktemp("module")
    subprocess.run(["node", "scripts/build.mjs", "--out", str(folder)], cwd=TAG_JS, check=True)
    return (folder / "f.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def signals_page(page_server: PageServer, module_source: str) -> Iterator[str]:
    """A page under a strict policy whose `run()` reads the signals."""

    def serve_module(_request: Request) -> Response:
        return Response(module_source, media_type="text/javascript")

    page_server.pages["/f.js"] = serve_module
    # Firefox reports the page's icon to the policy, and WebDriver evaluates text, which the policy forbids.
    page_server.add_page("/signals/lenient", PAGE)
    yield page_server.add_page("/signals", PAGE, {"Content-Security-Policy": STRICT})
    del page_server.pages["/f.js"]


def read_signals(context: BrowserContext, url: str) -> dict[str, Any]:
    """What the module finds in this profile."""
    page = context.new_page()
    page.goto(url)
    reading: dict[str, Any] = page.evaluate("run()")
    assert page.evaluate("wrong") == []
    assert reading["v"] == 2
    signals: dict[str, Any] = reading["s"]
    return signals


def test_nothing_is_read_where_it_was_refused(context: BrowserContext, signals_page: str) -> None:
    """The collector's page has noted a refusal in a cookie; that counts before any banner."""
    asked = """Promise.race([run(), new Promise((done) => setTimeout(done, 1500, 'no answer'))])"""
    for refused, is_read in (("fm", False), ("m", True)):
        context.add_cookies([{"name": "_ts_no", "value": refused, "url": signals_page}])
        page = context.new_page()
        page.goto(signals_page)
        page.evaluate(
            "window.read = 0; navigator.mediaDevices && (Screen.prototype.__defineGetter__('width', () => ++read))"
        )
        assert (page.evaluate(asked) != "no answer") == is_read
        assert (page.evaluate("read") > 0) == is_read


def test_the_signals_are_those_that_the_collector_knows(context: BrowserContext, signals_page: str) -> None:
    """All names of version 2 and no other; each is a value that the collector can use, or a failure with a reason."""
    signals = read_signals(context, signals_page)
    assert signals.keys() == NAMES
    assert len(NAMES) >= 30
    failed = {name for name, value in signals.items() if isinstance(value, dict)}
    assert all(set(signals[name]) == {"error"} and signals[name]["error"] for name in failed)
    assert normalise_signals(signals, 2).keys() == NAMES - failed
    # Chromium has no word on inverted colours; everything else it tells.
    assert failed == {"inverted_colors"}
    assert make_fingerprint(signals, 2).startswith("v2.")


def test_the_same_after_a_restart_and_in_another_profile(
    playwright_driver: Playwright, chromium: Browser, chromium_path: str, context: BrowserContext, signals_page: str
) -> None:
    """Two profiles of one browser and a browser started anew give the same signals, value by value."""
    first = read_signals(context, signals_page)
    assert read_signals(context, signals_page) == first
    other = chromium.new_context()
    assert read_signals(other, signals_page) == first
    other.close()
    again = playwright_driver.chromium.launch(executable_path=chromium_path, args=CHROMIUM_FLAGS)
    assert read_signals(again.new_context(), signals_page) == first
    again.close()


def test_what_counts_stays_when_the_person_changes_things(
    chromium: Browser, context: BrowserContext, signals_page: str
) -> None:
    """Another screen, zoom, country, language and other wishes change signals, and none that counts."""
    here = read_signals(context, signals_page)
    elsewhere = chromium.new_context(
        screen={"width": 2560, "height": 1440},
        viewport={"width": 900, "height": 700},
        device_scale_factor=2,
        timezone_id="Asia/Tokyo",
        locale="fr-FR",
        reduced_motion="reduce",
        forced_colors="active",
        contrast="more",
        color_scheme="dark",
    )
    there = read_signals(elsewhere, signals_page)
    elsewhere.close()
    changed = {name for name in NAMES if here[name] != there[name]}
    assert changed >= {"screen", "pixel_ratio", "time_zone", "languages", "reduced_motion", "forced_colors", "contrast"}
    assert [name for name in changed if is_counted(name, 2)] == []
    assert make_fingerprint(there, 2) == make_fingerprint(here, 2)


def test_nothing_is_asked_fetched_written_or_left(page: Page, signals_page: str) -> None:
    """Reading makes no request, no prompt and no line in the console, writes nothing to the profile, and leaves neither
    an element nor a global name in the page."""
    page.goto(signals_page)
    look = """async () => ({
      names: Object.getOwnPropertyNames(window).sort(), html: document.documentElement.outerHTML,
      local: {...localStorage}, session: {...sessionStorage}, databases: await indexedDB.databases(),
      caches: await caches.keys(), cookie: document.cookie,
    })"""
    before = page.evaluate(look)
    heard: list[str] = []
    page.on("request", lambda request: heard.append(request.url))
    page.on("console", lambda message: heard.append(message.text))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    assert page.evaluate("run()")["s"].keys() == NAMES
    assert page.evaluate(look) == before
    assert heard == []


FORBID = """
for (const [owner, name] of [
  [HTMLCanvasElement.prototype, 'getContext'], [window, 'OfflineAudioContext'], [window, 'matchMedia'],
  [NavigatorUAData.prototype, 'getHighEntropyValues'], [Keyboard.prototype, 'getLayoutMap'], [Intl, 'PluralRules'],
  [window, 'Temporal'], [HTMLMediaElement.prototype, 'canPlayType'],
]) owner[name] = new Proxy(function () {}, {
  get() { throw new DOMException('no', 'SecurityError') }, apply() { throw new DOMException('no', 'SecurityError') },
  construct() { throw new DOMException('no', 'SecurityError') },
});
for (const name of ['hardwareConcurrency', 'languages', 'plugins', 'platform', 'vendor', 'userAgentData', 'keyboard'])
  Object.defineProperty(Navigator.prototype, name, {get() { throw new DOMException('no', 'SecurityError') }});
window.scheduler = {postTask() { throw new TypeError('mine') }};
"""


def test_what_is_forbidden_is_said(page: Page, signals_page: str) -> None:
    """Where an extension or the page forbids what the signals are read from, each says so, and the page hears nothing
    of it."""
    page.add_init_script(FORBID)
    page.goto(signals_page)
    signals = page.evaluate("run()")["s"]
    assert signals.keys() == NAMES
    for name in ("canvas_text", "fonts", "audio", "webgl_renderer", "hdr", "ua_device", "keyboard", "locale", "codecs"):
        assert signals[name] == {"error": "SecurityError"}, name
    assert signals["math"] == page.evaluate("run()")["s"]["math"]
    assert isinstance(signals["screen"], str)
    assert page.evaluate("wrong") == []


BLUR = """
const read = CanvasRenderingContext2D.prototype.getImageData;
CanvasRenderingContext2D.prototype.getImageData = function (...args) {
  const image = read.apply(this, args);
  image.data[(image.data.length / 2) | 0] ^= 1; // the same bit each time
  return image;
};
const samples = AudioBuffer.prototype.getChannelData;
AudioBuffer.prototype.getChannelData = function (...args) {
  return samples.apply(this, args).map(one => one * 0.99937); // the same factor each time
};
"""


def test_noise_is_marked(page: Page, signals_page: str) -> None:
    """Where a protection adds noise to pictures and sound, the same each time, there is no value but `noise`."""
    page.add_init_script(BLUR)
    page.goto(signals_page)
    signals = page.evaluate("run()")["s"]
    for name in ("canvas_text", "canvas_geometry", "canvas_emoji", "audio"):
        assert signals[name] == {"error": "noise"}, name
    assert isinstance(signals["webgl_renderer"], str)


def test_brave_is_marked(page: Page, signals_page: str) -> None:
    """Where the browser says that it is Brave, what Brave lies about is marked, not read."""
    page.add_init_script("Object.defineProperty(Navigator.prototype, 'brave', {value: {}})")
    page.goto(signals_page)
    signals = page.evaluate("run()")["s"]
    marked = {name for name, value in signals.items() if value == {"error": "brave"}}
    assert marked >= {"hardware_concurrency", "device_memory", "plugins", "languages"}
    assert marked <= {signal.name for signal in list_signals(2) if "brave" in signal.blurred_by}


BUSY = """
const {port1, port2} = new MessageChannel();
port1.onmessage = () => {
  for (const end = performance.now() + 10; performance.now() < end;);
  port2.postMessage(0);
};
window.rounds = 0;
port1.addEventListener('message', () => rounds++);
port2.postMessage(0);
"""


def test_a_page_that_never_rests_is_read_too(page: Page, signals_page: str) -> None:
    """A page that always has something to do keeps its turn between our slices, and its signals are read all the
    same."""
    page.goto(signals_page)
    page.evaluate(BUSY)
    signals, rounds = page.evaluate("(before => run().then(found => [found.s, rounds - before]))(rounds)")
    assert {name for name, value in signals.items() if isinstance(value, dict)} == {"inverted_colors"}
    assert rounds > 5


@pytest.mark.long
def test_resist_fingerprinting_is_marked(playwright_driver: Playwright, signals_page: str) -> None:
    """In Firefox the signals are the same in two profiles; with resistFingerprinting what it replaces is marked, and
    the collector makes no fingerprint of the rest."""
    found: dict[bool, dict[str, Any]] = {}
    for resists in (False, True):
        firefox = playwright_driver.firefox.launch(
            channel="moz-firefox",
            executable_path=need_program("firefox-esr", "firefox", package="firefox-esr"),
            firefox_user_prefs={**FIREFOX_PREFERENCES, "privacy.resistFingerprinting": resists},
        )
        found[resists] = read_signals(firefox.new_context(), f"{signals_page}/lenient")
        assert found[resists].keys() == NAMES
        assert read_signals(firefox.new_context(), f"{signals_page}/lenient") == found[resists]
        firefox.close()
    marked = {name for name, value in found[True].items() if value == {"error": "rfp"}}
    assert marked >= {"time_zone", "screen", "hardware_concurrency", "fonts", "webgl_renderer", "touch_points"}
    assert marked <= {signal.name for signal in list_signals(2) if "rfp" in signal.blurred_by}
    for name in ("canvas_text", "canvas_geometry", "canvas_emoji"):
        assert found[True][name] == {"error": "noise"}
        assert isinstance(found[False][name], str)
    assert {"error": "rfp"} not in found[False].values()
    assert make_fingerprint(found[True], 2) == ""
    assert make_fingerprint(found[False], 2) != ""


@pytest.mark.parametrize("name", ["webkit", "old_webkit"])
@pytest.mark.long
def test_webkit_tells_them_too(name: str, signals_page: str, tmp_path: Path) -> None:
    """Both WebKits give the same signals in two profiles, and enough of them for a fingerprint."""
    found: list[dict[str, Any]] = []
    with running_engine_of(name, signals_page.split("/")[2], tmp_path) as engine:
        for _ in range(2):
            with engine.profile() as tab:
                tab.open(f"{signals_page}/lenient")
                found.append(tab.evaluate("run()")["s"])
                assert tab.evaluate("wrong") == []
    assert found[0].keys() == NAMES
    assert found[0] == found[1]
    assert make_fingerprint(found[0], 2) != ""
    assert found[0]["webgl_renderer"] == "Apple GPU", "WebKit says so of every device"
    assert found[0]["system_font"] == {"error": "missing"}
