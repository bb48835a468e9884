"""Real Chromium and a small site, for tests that run in a browser."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator

import pytest
from page_server import PageServer, running_page_server
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where the system's Chromium is. Without one the test fails: it is set up by `make test`."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.fail("no Chromium here; `make test` installs it, or: apt-get install chromium")


@pytest.fixture(scope="module")
def playwright_driver() -> Iterator[Playwright]:
    """Playwright, once per module: while it is there the thread has a running event loop, and a test of another module
    that starts its own would fail."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def chromium(playwright_driver: Playwright, chromium_path: str) -> Iterator[Browser]:
    """Chromium, once per module; it keeps pages in the back-forward cache as people's browsers do."""
    browser = playwright_driver.chromium.launch(
        executable_path=chromium_path,
        args=CHROMIUM_FLAGS,
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield browser
    browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A fresh profile."""
    context = chromium.new_context()
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page in a fresh profile. Whatever is thrown into the page, or logged there as an error, fails the test."""
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    if not page.is_closed():
        page.evaluate("0")  # lets events that are on their way arrive
    assert wrong == []


@pytest.fixture(scope="session")
def page_server() -> Iterator[PageServer]:
    """The small site."""
    with running_page_server() as server:
        yield server


@pytest.fixture
def site() -> str:
    """A site id of this test alone."""
    return f"s{uuid.uuid4().hex[:12]}"
