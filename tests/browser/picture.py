"""Makes docs/live.png, the picture of the README, and docs/offers.png: the live page in the middle of a story, and the
shop as its customer sees it.

Run as `make picture`, with another folder for the pictures if wanted. It is no test; it starts a real instance with the
demo shop, walks three browsers through it and photographs what it shows of them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from engines import CHROMIUM_FLAGS
from instance_process import RunningInstance, running_instance
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs"
SIZE = {"width": 1280, "height": 800}
OFFER = "Fifteen euros off the Arc reading lamp"
PATIENCE_S = 60.0


def main() -> None:
    """Write the picture."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_instance(Path(folder), "--demo") as instance,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        watcher = browser.new_context(viewport=SIZE, device_scale_factor=1.5).new_page()
        watcher.goto(f"{instance.url}/demo/live")
        _walk(instance, browser)
        watcher.locator("#why-people li", has_text="reading_lamp").wait_for(timeout=PATIENCE_S * 1000)
        watcher.wait_for_timeout(3000)
        watcher.screenshot(path=FOLDER / "live.png")
        browser.close()


def _walk(instance: RunningInstance, browser: Browser) -> None:
    ada, grace, unknown = (browser.new_context() for _ in range(3))
    page = _open(instance, ada, "/demo?consent=all&utm_source=news&utm_medium=email&utm_campaign=autumn")
    stranger = _open(instance, unknown, "/demo?consent=all&gclid=1")
    _follow(page, "/demo/shelf/light")
    _follow(stranger, "/demo/product/dusk-lamp")
    minted = instance.command(
        *("link", "--customer", "4712", "--campaign", "spring", f"{instance.url}/demo/product/dusk-lamp")
    )
    letter = _open(instance, grace, "/demo?consent=all")
    letter.goto(minted.stdout.strip())
    letter.mouse.click(300, 300)
    _follow(page, "/demo/product/dusk-lamp")
    page.locator("form[action='/demo/basket/add'] button").click()
    page.wait_for_timeout(1500)
    _follow(page, "/demo/sign-in")
    page.locator("input[name=customer][value='4711']").check()
    page.locator("form[action='/demo/sign-in'] button[type=submit]").click()
    page.wait_for_timeout(1500)
    _follow(page, "/demo/product/arc-lamp")
    _await_offer(page)
    page.wait_for_timeout(1500)
    page.screenshot(path=FOLDER / "offers.png", clip={"x": 0, "y": 0, "width": SIZE["width"], "height": 480})


def _await_offer(page: Page) -> None:
    """Look at the front page until it offers what the audience says."""
    deadline = time.monotonic() + PATIENCE_S
    while OFFER not in page.locator(".strip-title").inner_text():
        if time.monotonic() > deadline:
            sys.exit("the shop does not offer it: held out by chance? Try again")
        _follow(page, "/demo")
        page.locator("html.ts-ready").wait_for()


def _follow(page: Page, path: str) -> None:
    """Go on as by a click: with a referrer."""
    page.evaluate("path => { location.href = path }", path)
    page.wait_for_url(f"**{path}")
    page.wait_for_timeout(700)


def _open(instance: RunningInstance, context: BrowserContext, path: str) -> Page:
    page = context.new_page()
    page.goto(f"{instance.url}{path}")
    page.wait_for_timeout(700)
    return page


if __name__ == "__main__":
    main()
