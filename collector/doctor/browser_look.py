"""Opens a page in Chromium, as a new visitor, and writes down what the tag does there.

Needs a Chromium of the system and the Python package playwright. The profile is empty and thrown away. The page is
left alone first, to see what happens before an answer about consent; then consent to storage alone is given, because
without it nothing is sent. An automated browser says that it is one: its events are marked as a robot's.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from collector.config import Config
from collector.doctor.look import (
    Fetched,
    PageAway,
    PageLook,
    SeenCookie,
    SentBeacon,
    Snippet,
    Violation,
    cut_query,
    tag_pattern,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request, Response

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
OPEN_S = 20.0
SNIPPET_S = 2.5  # a tag manager puts the snippet in late
START_S = 4.0
SILENCE_S = 0.8  # the tag gathers events for 0.3 s
BEACON_S = 4.0
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
  return all.length ? {src: all[0].src, site: data.site || '', consent: data.consent || 'required',
    cookie: data.cookie || '_ts_v', global: data.global || 'tagstitch', copies: all.length} : null;
}"""
IS_RUNNING = "name => !!(window[name] && window[name].isTagstitch)"
CALL = "([name, ...call]) => window[name](...call)"


def find_browser() -> str | None:
    """Return the path of a Chromium that we can drive, or None where there is none or playwright is missing."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return None
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def look_with_browser(url: str, config: Config, browser_path: str) -> PageLook:
    """Open the page and look. Raises PageAway."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as driver:
        try:
            browser = _launch(driver, browser_path)
            try:
                return _look(browser, url, config)
            finally:
                browser.close()
        except Error as error:
            raise PageAway(_first_line(error.message)) from error


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


def _look(browser: Browser, url: str, config: Config) -> PageLook:
    from playwright.sync_api import Error

    try:
        with _fresh_page(browser, trusting=False) as page:
            return _look_at(page, url, config, "")
    except Error as error:
        problem = _first_line(error.message)
        if "ERR_CERT" not in problem:
            raise
    with _fresh_page(browser, trusting=True) as page:
        return _look_at(page, url, config, problem)


@contextlib.contextmanager
def _fresh_page(browser: Browser, *, trusting: bool) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=trusting)
    try:
        context.add_init_script(WATCH)
        yield context.new_page()
    finally:
        context.close()


class _Traffic:
    """Requests, answers and errors of one page. Filled while playwright waits for something."""

    def __init__(self, page: Page) -> None:
        self.requests: list[Request] = []
        self.answers: dict[Request, Response] = {}
        self.failures: dict[Request, str] = {}
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request))  # playwright sets attributes on it
        page.on("response", lambda answer: self.answers.__setitem__(answer.request, answer))
        page.on("requestfailed", lambda request: self.failures.__setitem__(request, request.failure or "failed"))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def beacons(self) -> list[tuple[Request, dict[str, Any]]]:
        """What the tag has sent so far."""
        found = []
        for request in self.requests:
            if request.method == "POST":
                with contextlib.suppress(ValueError):
                    body = json.loads(request.post_data or "")
                    if isinstance(body, dict) and {"v", "s", "e", "st"} <= body.keys() and isinstance(body["e"], list):
                        found.append((request, body))
        return found

    def is_settled(self, request: Request) -> bool:
        """Whether the request has ended in some way."""
        return request in self.answers or request in self.failures


def _look_at(page: Page, url: str, config: Config, certificate_problem: str) -> PageLook:
    from playwright.sync_api import Error

    traffic = _Traffic(page)
    answer = page.goto(url, wait_until="domcontentloaded", timeout=OPEN_S * 1000)
    with contextlib.suppress(Error):
        page.wait_for_load_state("load", timeout=OPEN_S * 500)
    look = PageLook(cut_query(page.url), by_browser=True, certificate_problem=certificate_problem)
    look.status = answer.status if answer is not None else 0
    policy = "content-security-policy"
    look.has_policy = bool(answer and answer.headers.get(policy)) or bool(
        page.query_selector(f"meta[http-equiv='{policy}' i]")
    )
    found: dict[str, Any] = {}

    def find() -> bool:
        found.update(page.evaluate(FIND, tag_pattern(config)) or {})
        return bool(found)

    if _wait(page, SNIPPET_S, find):
        name = found.pop("global")
        look.snippet = Snippet(**found)
        _watch_tag(page, traffic, look, name)
    # Newest first: what the tag does comes last.
    look.errors = [error[:300] for error in traffic.errors[-MOST_ERRORS:]]
    look.violations = [Violation(*item) for item in page.evaluate("() => __doctor.violations")]
    look.had_stub = page.evaluate("() => __doctor.first") != "tag"
    return look


def _watch_tag(page: Page, traffic: _Traffic, look: PageLook, name: str) -> None:
    """See the tag load and run; consent to storage; see its beacon and its cookies."""
    if look.snippet is None:
        return
    src = look.snippet.src

    def tag_request() -> Request | None:
        return next((request for request in traffic.requests if request.url == src), None)

    def is_over() -> bool:
        request = tag_request()
        return page.evaluate(IS_RUNNING, name) is True or bool(request and request in traffic.failures)

    _wait(page, START_S, is_over)
    look.is_running = page.evaluate(IS_RUNNING, name) is True
    look.tag = _describe(traffic, tag_request())
    context, cookie = page.context, look.snippet.cookie
    page.wait_for_timeout(SILENCE_S * 1000)
    early = {request for request, _ in traffic.beacons()}
    look.cookies_before = _read_cookies(context, look, cookie)
    if look.is_running:
        if not early:
            page.evaluate(CALL, [name, "consent", {"storage": True}])
            if not _wait(page, BEACON_S / 2, lambda: bool(traffic.beacons())):
                page.evaluate(CALL, [name, "page"])  # the page had refused by itself, or sends no page view by itself
        _wait(page, BEACON_S, lambda: bool(ended := traffic.beacons()) and all(map(traffic.is_settled, dict(ended))))
    look.beacons = [_judge_answer(traffic, request, body, request not in early) for request, body in traffic.beacons()]
    look.cookies = _read_cookies(context, look, cookie)


def _describe(traffic: _Traffic, request: Request | None) -> Fetched:
    if request is None:
        return Fetched(failure="was not asked for")
    relation = request.all_headers().get("sec-fetch-site", "")
    answer = traffic.answers.get(request)
    if answer is None:
        return Fetched(failure=traffic.failures.get(request, "no answer in time"), relation=relation)
    return Fetched(answer.status, answer.headers.get("content-type", ""), traffic.failures.get(request, ""), relation)


def _judge_answer(traffic: _Traffic, request: Request, body: dict[str, Any], was_asked_for: bool) -> SentBeacon:
    from playwright.sync_api import Error

    address = cut_query(request.url)
    answer = traffic.answers.get(request)
    if answer is None:
        failure = traffic.failures.get(request, "no answer in time")
        return SentBeacon(address, body, was_asked_for, failure=failure)
    rejected = answer.headers.get("x-tagstitch-rejected", "")
    is_ours = bool(rejected) or answer.status == 204
    if not is_ours:
        with contextlib.suppress(Error, ValueError):  # a body that may not be read, or is none of ours
            text = answer.json()
            is_ours = isinstance(text, dict) and ("d" in text or "retry" in text)
            rejected = str(text.get("error", "")) if is_ours else ""
    sets_cookie = "set-cookie" in answer.all_headers()
    return SentBeacon(address, body, was_asked_for, answer.status, rejected, is_ours, sets_cookie)


def _read_cookies(context: BrowserContext, look: PageLook, tag_cookie: str) -> list[SeenCookie]:
    ours = {f"__Host-ts_{look.site_id}", f"ts_{look.site_id}", tag_cookie}
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


def _wait(page: Page, limit_s: float, fits: Callable[[], bool]) -> bool:
    """Wait until it is so, and let the page go on meanwhile. Returns whether it came about."""
    deadline = time.monotonic() + limit_s
    while not fits():
        if time.monotonic() > deadline:
            return False
        page.wait_for_timeout(50)
    return True


def _first_line(message: str) -> str:
    """Return what playwright says without its own call, address and log."""
    line = message.splitlines()[0] if message else "unknown"
    line = line.removeprefix("Page.goto: ")
    return line.partition(" at http")[0]
