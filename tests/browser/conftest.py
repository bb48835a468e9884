"""Real browsers and small sites, for tests that run in a browser.

`page` is Chromium on a plain site whose collector only writes down; most tests need no more. `tab` is a tab of the
engine that the test is parametrised with (`engine`, indirect), on `secure_site`: HTTPS, several names, and the real
collector.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from engines import (
    CHROMIUM_FLAGS,
    Engine,
    Tab,
    find_chromium,
    find_whole_chromium,
    need_program,
    running_engine_of,
)
from page_server import PageServer, running_page_server
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright
from secure_site import SecureSite, running_secure_site


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where the system's Chromium is, with its desktop. Without one the test fails: it is set up by `make test`."""
    return find_whole_chromium()


@pytest.fixture(scope="module")
def playwright_driver() -> Iterator[Playwright]:
    """Playwright, once per module: while it is there the thread has a running event loop, and a test of another module
    that starts its own would fail."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def chromium(playwright_driver: Playwright) -> Iterator[Browser]:
    """Chromium without its desktop, once per module."""
    browser = playwright_driver.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def whole_chromium(playwright_driver: Playwright, chromium_path: str) -> Iterator[Browser]:
    """Chromium as people have it, once per module; it keeps pages in the back-forward cache as theirs do."""
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
    yield from _watched_page(context)


@pytest.fixture
def whole_page(whole_chromium: Browser) -> Iterator[Page]:
    """As `page`, in Chromium as people have it."""
    context = whole_chromium.new_context()
    yield from _watched_page(context)
    context.close()


def _watched_page(context: BrowserContext) -> Iterator[Page]:
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


@pytest.fixture(scope="session")
def secure_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureSite]:
    """Pages over HTTPS under several names, with the real collector."""
    need_program("openssl", package="openssl")
    with running_secure_site(tmp_path_factory.mktemp("secure_site")) as site:
        yield site


@pytest.fixture(scope="module")
def engine(
    request: pytest.FixtureRequest, secure_site: SecureSite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """The engine of this name, once per module; pytest puts the tests of one engine side by side."""
    assert secure_site.network is not None
    with running_engine_of(request.param, secure_site.network.address, tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture
def tab(engine: Engine, secure_site: SecureSite) -> Iterator[Tab]:
    """A tab in a fresh profile. An error that its pages meet fails the test."""
    with engine.profile() as tab:
        yield tab
    wrong = list(secure_site.wrong)
    secure_site.wrong.clear()
    assert wrong == []
