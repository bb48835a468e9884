"""Four browser engines behind one small interface, so that a test is written once and run in each.

    chromium  Chromium as Debian ships it, by Playwright: its engine without the desktop around it, which needs a third
              of the processor's time
    whole_chromium  the same with all that people have: back-forward cache, cookies of third parties, menus
    firefox   Firefox ESR, by Playwright's channel `moz-firefox` (WebDriver BiDi)
    webkit    WebKitGTK with Intelligent Tracking Prevention, by WebDriver: the nearest to Safari that runs on Linux
    webkit_without_cookies  the same, with cookies switched off as a person can do it
    old_webkit  WPE WebKit 2.38, by WebDriver: the syntax of Safari 16

What they cannot show: Safari itself, what Apple's own lists and classifier add to WebKit's tracking prevention, and
its seven days for cookies that a script wrote, which WebKitGTK does not apply within a test's time. The old WebKit
takes no proxy under automation, so it sees `localhost` alone, and its cookie rules are its own.

An engine is started once; `profile` opens a window that has nothing in common with those before it.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright
from webdriver import Driver, Session, running_driver

DEADLINE_S = 10.0
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
FIREFOX_PREFERENCES: dict[str, str | float | bool] = {
    "network.proxy.type": 1,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.safebrowsing.update.enabled": False,
}


class Tab(Protocol):
    """The open tab of a fresh profile."""

    def open(self, url: str) -> None:
        """Go to the address as a person who types it does, and wait until the page has loaded."""

    def evaluate(self, script: str) -> Any:
        """Run an expression or statements in the page; the value, awaited, as JSON carries it."""

    def click(self, css: str) -> None:
        """A trusted click on the first element that fits; where it navigates, use `wait_for` after it."""

    def press(self, key: str) -> None:
        """A trusted key stroke: one character."""

    def go_back(self) -> None:
        """One page back in the history; not waited for."""

    def close_tab(self) -> None:
        """Close the tab as a person does, and go on in a new, empty one."""

    def cookies(self) -> dict[str, dict[str, Any]]:
        """Cookies that the browser would send to the present page, by name, as WebDriver describes them: also those
        that scripts cannot read. `value`, `domain`, `path`, `secure`, `httpOnly`, `sameSite`, `expiry` (s)."""

    def set_offline(self, is_offline: bool) -> None:
        """Tell the browser that there is no network, and take it away."""


class Engine:
    """A running engine."""

    def __init__(self, name: str, open_tab: Callable[[], contextlib.AbstractContextManager[Tab]]) -> None:
        self.name = name
        self.profile = open_tab


def wait_for(tab: Tab, expression: str) -> None:
    """Wait until the expression is true in the page, also across a navigation."""
    end = time.monotonic() + DEADLINE_S
    while True:
        with contextlib.suppress(Exception):  # a page that is just being left answers with all kinds of errors
            if tab.evaluate(f"!!({expression})"):
                return
        assert time.monotonic() < end, f"waited for {expression}"
        time.sleep(0.03)


def wait_for_answers(tab: Tab, count: int, path: str = "/x/b") -> None:
    """Wait until the page has this many answers to its beacons: only then has the browser stored their cookies."""
    entries = "performance.getEntriesByType('resource')"
    wait_for(tab, f"{entries}.filter(one => new URL(one.name).pathname === '{path}').length >= {count}")


@contextlib.contextmanager
def running_engine_of(name: str, proxy: str, folder: Path) -> Iterator[Engine]:
    """Start the engine, with `proxy` (`host:port`) for all that is not localhost. `folder` is for what it says."""
    start: dict[str, Callable[[str, Path], contextlib.AbstractContextManager[Engine]]] = {
        "chromium": partial(_chromium, find=find_chromium),
        "whole_chromium": partial(_chromium, find=find_whole_chromium),
        "firefox": _firefox,
        "webkit": partial(_webkit, cookies="no-third-party"),
        "webkit_without_cookies": partial(_webkit, cookies="never"),
        "old_webkit": _old_webkit,
    }
    with start[name](proxy, folder) as engine:
        yield engine


def need_program(*names: str, package: str) -> str:
    """Return the path of the first of these programs. Fails the test where there is none: `make test` installs it."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.fail(f"no {names[0]} here; `make test` installs it, or: apt-get install {package}")


def find_chromium() -> str:
    """Return the path of Chromium without its desktop; of the whole one where that alone is there."""
    return shutil.which("chromium-headless-shell") or find_whole_chromium()


def find_whole_chromium() -> str:
    """Return the path of Chromium as people have it. Fails the test where there is none."""
    return need_program("chromium", "chromium-browser", "google-chrome", package="chromium")


# --- Chromium and Firefox, by Playwright ----------------------------------------------------------------------------


@contextlib.contextmanager
def _chromium(proxy: str, folder: Path, find: Callable[[], str]) -> Iterator[Engine]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=find(),
            args=[*CHROMIUM_FLAGS, f"--proxy-server={proxy}"],
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield Engine("chromium", lambda: _playwright_profile(browser))
        browser.close()


@contextlib.contextmanager
def _firefox(proxy: str, folder: Path) -> Iterator[Engine]:
    host, _, port = proxy.partition(":")
    manual: dict[str, str | float | bool] = {"network.proxy.ssl": host, "network.proxy.ssl_port": int(port)}
    with sync_playwright() as driver:
        browser = driver.firefox.launch(
            channel="moz-firefox",
            executable_path=need_program("firefox-esr", "firefox", package="firefox-esr"),
            firefox_user_prefs={**FIREFOX_PREFERENCES, **manual},
        )
        yield Engine("firefox", lambda: _playwright_profile(browser))
        browser.close()


@contextlib.contextmanager
def _playwright_profile(browser: Browser) -> Iterator[Tab]:
    context = browser.new_context(ignore_https_errors=True)
    try:
        yield _PlaywrightTab(context)
    finally:
        context.close()


class _PlaywrightTab:
    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._page: Page = context.new_page()

    def open(self, url: str) -> None:
        self._page.goto(url)

    def evaluate(self, script: str) -> Any:
        return self._page.evaluate(script)

    def click(self, css: str) -> None:
        self._page.click(css)

    def press(self, key: str) -> None:
        self._page.keyboard.press(key)

    def go_back(self) -> None:
        # `page.go_back` waits for a load that never comes where the page was kept.
        with contextlib.suppress(Error):
            self._page.evaluate("void setTimeout(() => history.back())")

    def close_tab(self) -> None:
        page, self._page = self._page, self._context.new_page()
        page.close()

    def cookies(self) -> dict[str, dict[str, Any]]:
        found = self._context.cookies(self._page.url)
        return {one["name"]: {**one, "expiry": one["expires"]} for one in found}

    def set_offline(self, is_offline: bool) -> None:
        self._context.set_offline(is_offline)


# --- the WebKits, by WebDriver --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _webkit(proxy: str, folder: Path, *, cookies: str) -> Iterator[Engine]:
    driver = need_program("WebKitWebDriver", package="webkit2gtk-driver")
    screen = need_program("xvfb-run", package="xvfb")
    need_program("xauth", package="xauth")
    arguments = ["--automation", "--enable-itp", f"--cookies-policy={cookies}", f"--proxy=http://{proxy}"]
    options = {"binary": _find_mini_browser("webkit2gtk-4.*", "webkit2gtk-driver"), "args": arguments}
    with running_driver([screen, "-a", driver], folder / "webkit.log") as program:
        yield Engine("webkit", lambda: _webdriver_profile(program, {"webkitgtk:browserOptions": options}))


@contextlib.contextmanager
def _old_webkit(proxy: str, folder: Path) -> Iterator[Engine]:
    driver = need_program("WPEWebDriver", package="wpewebkit-driver")
    binary = _find_mini_browser("wpe-webkit-1.*", "libwpewebkit-1.1-0 libwpebackend-fdo-1.0-1")
    options = {"binary": binary, "args": ["--automation", "--headless"]}
    with running_driver([driver], folder / "old_webkit.log") as program:
        yield Engine("old_webkit", lambda: _webdriver_profile(program, {"wpe:browserOptions": options}))


def _find_mini_browser(folder: str, package: str) -> str:
    for found in sorted(Path("/usr/lib").glob(f"*/{folder}/MiniBrowser"), reverse=True):
        return str(found)
    pytest.fail(f"no MiniBrowser of {folder} here; `make test` installs it, or: apt-get install {package}")


@contextlib.contextmanager
def _webdriver_profile(program: Driver, options: dict[str, Any]) -> Iterator[Tab]:
    with program.open_session({"acceptInsecureCerts": True, **options}) as session:
        yield _WebDriverTab(session)


class _WebDriverTab:
    def __init__(self, session: Session) -> None:
        self._session = session
        self.evaluate = session.evaluate
        self.click = session.click
        self.press = session.press

    def open(self, url: str) -> None:
        self._session.call("POST", "/url", {"url": url})

    def go_back(self) -> None:
        self._session.call("POST", "/back")

    def close_tab(self) -> None:
        # The session ends with its last window: the new one comes first.
        opened = self._session.call("POST", "/window/new", {"type": "tab"})
        self._session.call("DELETE", "/window")
        self._session.call("POST", "/window", {"handle": opened["handle"]})

    def cookies(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in self._session.call("GET", "/cookie")}

    def set_offline(self, is_offline: bool) -> None:
        pytest.fail("WebDriver cannot take the network away from WebKit; cut the proxy instead")
