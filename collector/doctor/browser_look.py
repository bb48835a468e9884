"""Opens a page in Chromium, as a new visitor, and writes down what the tag does there.

Needs a Chromium of the system and the Python package playwright. The profile is empty and thrown away. The page is
left alone first, to see what happens before an answer about consent; then consent to analytics alone is given, because
without it nothing is sent. An automated browser says that it is one: its events are marked as a robot's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from collector.config import Config
from collector.doctor.look import (
    PageAway,
    PageLook,
    SeenCookie,
    Snippet,
    Violation,
    cut_query,
    tag_pattern,
)
from collector.doctor.traffic import Traffic

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
OPEN_S = 20.0
SNIPPET_S = 2.5  # a tag manager puts the snippet in late
START_S = 4.0
SILENCE_S = 0.8  # the tag gathers events for 0.3 s
BEACON_S = 4.0
GRACE_S = 0.7  # from the last byte of the tag until it must run
MOST_ERRORS = 20

# Runs before everything else on the page: what the policy stops, and who defines the global function first.
WATCH = """
window.__doctor = {violations: [], first: ''};
addEventListener('securitypolicyviolation', event => __doctor.violations.push(
  [event.effectiveDirective, event.blockedURI, event.disposition !== 'report']));
{ let value;
  Object.defineProperty(window, 'tagstitch', {configurable: true, enumerable: true, get: () => value, set: given => {
    if (!__doctor.first) __doctor.first = given && given.isTagstitch ? 'tag' : 'snippet';
    value = given;
  }}); }
"""
FIND = """pattern => {
  const all = [...document.scripts].filter(script => script.src &&
    (script.dataset.site || new RegExp(pattern).test(new URL(script.src).pathname)));
  const data = all.length && all[0].dataset;
  return all.length ? {src: all[0].src,
    endpoint: new URL(data.endpoint || 'b', data.endpoint ? location : all[0].src).href,
    site: data.site || '', consent: data.consent || 'required',
    cookie: data.cookie || '_ts_v', global: data.global || 'tagstitch', copies: all.length} : null;
}"""
VIOLATIONS = "() => __doctor.violations"
IS_RUNNING = "name => !!(window[name] && window[name].isTagstitch)"
CALL = "([name, ...call]) => window[name] && window[name](...call)"
POLICY = "content-security-policy"
POLICY_ELEMENT = f"() => !!document.querySelector(\"meta[http-equiv='{POLICY}' i]\")"


def find_browser() -> str | None:
    """Return the path of a Chromium that we can drive, or None where there is none or playwright is missing."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return None
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def look_with_browser(url: str, config: Config, browser_path: str) -> PageLook:
    """Start a browser, open the page and look. Raises PageAway."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as driver:
        try:
            browser = _launch(driver, browser_path)
        except Error as error:
            raise PageAway(f"{browser_path} does not start: {_first_line(error.message)}") from error
        try:
            return look_at_page(browser, url, config)
        finally:
            browser.close()


def _launch(driver: Any, path: str) -> Browser:
    """Start Chromium in its sandbox; without where there can be none: as root, and in many containers."""
    from playwright.sync_api import Error

    is_root = os.geteuid() == 0
    try:
        return driver.chromium.launch(executable_path=path, args=FLAGS, chromium_sandbox=not is_root)  # type: ignore[no-any-return]
    except Error:
        if is_root:
            raise
        return driver.chromium.launch(executable_path=path, args=FLAGS, chromium_sandbox=False)  # type: ignore[no-any-return]


def look_at_page(browser: Browser, url: str, config: Config) -> PageLook:
    """Open the page in a fresh profile and look; once more where its certificate is not trusted. Raises PageAway."""
    from playwright.sync_api import Error

    problem = ""
    for _ in range(2):
        try:
            with _fresh_page(browser, trusting=bool(problem)) as page:
                return _look_at(page, url, config, problem)
        except Error as error:
            line = _first_line(error.message)
            if problem or "ERR_CERT" not in line:
                raise PageAway(line) from error
            problem = line
    raise PageAway(problem)


@contextlib.contextmanager
def _fresh_page(browser: Browser, *, trusting: bool) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=trusting)
    try:
        context.add_init_script(WATCH)
        yield context.new_page()
    finally:
        context.close()


def _look_at(page: Page, url: str, config: Config, certificate_problem: str) -> PageLook:
    from playwright.sync_api import Error

    traffic = Traffic(page)
    look = PageLook(cut_query(url), by_browser=True, certificate_problem=certificate_problem)
    try:
        answer = page.goto(url, wait_until="domcontentloaded", timeout=OPEN_S * 1000)
    except Error as error:
        # That is how Chromium calls an answer of 4xx or 5xx with nothing in it; it then shows a page of its own.
        if "ERR_HTTP_RESPONSE_CODE_FAILURE" not in error.message or not traffic.answers:
            raise
        answer = list(traffic.answers.values())[-1]
    look.status = answer.status if answer is not None else 0
    if look.status >= 400:
        return look
    with contextlib.suppress(Error):
        page.wait_for_load_state("load", timeout=OPEN_S * 500)
    found: dict[str, Any] = {}

    def find() -> bool:
        found.update(page.evaluate(FIND, tag_pattern(config)) or {})
        return bool(found)

    is_found = _wait(page, SNIPPET_S, find)
    look.url = cut_query(page.url)
    answer = traffic.answer_to(page.url) or answer  # the page may have led elsewhere by itself
    look.status = answer.status if answer is not None else 0
    look.has_policy = bool(answer and answer.headers.get(POLICY)) or bool(_ask(page, POLICY_ELEMENT))
    if is_found:
        name = found.pop("global")
        look.snippet = Snippet(**found)
        _watch_tag(page, traffic, look, name)
    look.errors = [error[:300] for error in traffic.errors[-MOST_ERRORS:]]
    look.violations = _read_violations(page)
    look.had_stub = _ask(page, "() => __doctor.first") != "tag"
    return look


def _watch_tag(page: Page, traffic: Traffic, look: PageLook, name: str) -> None:
    """See the tag load and run; consent to analytics; see its beacon and its cookies."""
    if look.snippet is None:
        return
    src = look.snippet.src

    def tag_request() -> Request | None:
        return next((request for request in traffic.requests if request.url == src), None)

    def is_over() -> bool:
        request = tag_request()
        if page.evaluate(IS_RUNNING, name) is True or request in traffic.failures:
            return True
        return request in traffic.ended and time.monotonic() - traffic.ended[request] > GRACE_S

    _wait(page, START_S, is_over)
    look.is_running = _ask(page, IS_RUNNING, name) is True
    look.tag = traffic.describe(tag_request())
    if not look.is_running:
        return
    context, cookie = page.context, look.snippet.cookie
    page.wait_for_timeout(SILENCE_S * 1000)
    early = {request for request, _ in traffic.beacons()}
    look.cookies_before = _read_cookies(context, {cookie, *traffic.cookie_names()}, look)
    if not early:
        _ask(page, CALL, [name, "consent", {"analytics": True}])
        if not _wait(page, BEACON_S / 2, lambda: bool(traffic.beacons()) or _is_stopped(page, look)):
            # The page had refused by itself, or sends no page view by itself. With properties, because a call without
            # may be taken for the router's echo of a view that the tag has counted.
            _ask(page, CALL, [name, "page", {}])
    _wait(page, BEACON_S, lambda: traffic.has_answers() or _is_stopped(page, look))
    look.beacons = [traffic.describe_beacon(request, body, request not in early) for request, body in traffic.beacons()]
    look.cookies = _read_cookies(context, {cookie, *traffic.cookie_names()}, look)


def _is_stopped(page: Page, look: PageLook) -> bool:
    """Whether the content policy stops the beacons."""
    look.violations = _read_violations(page)
    return any(item.is_enforced for item in look.stopped_beacons)


def _read_cookies(context: BrowserContext, known: set[str], look: PageLook) -> list[SeenCookie]:
    """Return our cookies: those `known` to be ours, and what the collector's is called where a site says nothing."""
    ours = {f"__Host-ts_{look.site_id}", f"ts_{look.site_id}", *known}
    return [
        SeenCookie(
            name=cookie["name"],
            is_server_set=cookie["httpOnly"],
            is_secure=cookie["secure"],
            same_site=cookie["sameSite"],
            days=max((cookie["expires"] - time.time()) / 86_400, 0),
        )
        for cookie in context.cookies()
        if cookie["name"] in ours
    ]


def _read_violations(page: Page) -> list[Violation]:
    return [Violation(*item) for item in _ask(page, VIOLATIONS) or []]


def _ask(page: Page, script: str, argument: object = None) -> Any:
    """Run a script on the page; where that leads elsewhere meanwhile, on the next one. None where there is no end."""
    answers: list[Any] = []

    def run() -> bool:
        answers.append(page.evaluate(script, argument))
        return True

    return answers[0] if _wait(page, START_S, run) else None


def _wait(page: Page, limit_s: float, fits: Callable[[], bool]) -> bool:
    """Wait until it is so, and let the page go on meanwhile. Returns whether it came about."""
    from playwright.sync_api import Error

    deadline = time.monotonic() + limit_s
    while True:
        try:
            if fits():
                return True
        except Error as error:
            if "navigation" not in error.message:  # the page leads elsewhere by itself: ask the next one
                raise
        if time.monotonic() > deadline:
            return False
        page.wait_for_timeout(50)


def _first_line(message: str) -> str:
    """Return what playwright says without its own call, address and log."""
    line = message.splitlines()[0] if message else "unknown"
    line = line.removeprefix("Page.goto: ")
    return line.partition(" at http")[0]
