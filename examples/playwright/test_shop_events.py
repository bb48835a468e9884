"""A shop's own test: what its pages send is right. Run it against the shop's test server with pytest and playwright.

    tagstitch run --set inspect=true                  # once, beside the test server
    tagstitch site add shop --origin http://localhost:3000
    SHOP_URL=http://localhost:3000 pytest test_shop_events.py

The shop's pages carry the tag with data-endpoint="http://127.0.0.1:8000/x/inspect" there, so nothing is stored.
"""

import json
import os
import time
import urllib.request

import pytest
from playwright.sync_api import expect, sync_playwright

SHOP = os.environ.get("SHOP_URL", "http://localhost:3000")
COLLECTOR = os.environ.get("TAGSTITCH_URL", "http://127.0.0.1:8000")
CHROMIUM = os.environ.get("CHROMIUM")  # where playwright has not installed a browser of its own


def ask(path, method="GET"):
    """Ask the dry run. From another machine add the header X-Tagstitch-Key."""
    request = urllib.request.Request(f"{COLLECTOR}/v1/inspect/{path}", method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def wait_for(name):
    """Return the first event of this name that would be stored; the tag sends a moment after the page."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = ask(f"good?name={name}")["good"]
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no {name} came; refused so far: {ask('bad')['bad']}")


@pytest.fixture
def page():
    """A fresh browser, and a dry run that has seen nothing."""
    ask("reset", "POST")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def test_a_purchase_is_sent_as_agreed(page):
    """Order, value and currency arrive, the customer's address does not, and nothing was refused."""
    page.goto(f"{SHOP}/checkout")
    page.get_by_role("button", name="Buy").click()
    expect(page.get_by_role("status")).to_have_text("Thank you")

    purchase = wait_for("purchase")
    assert purchase["props"]["value"] == 129
    assert purchase["props"]["currency"] == "EUR"
    assert "@" not in json.dumps(purchase["props"])
    assert ask("bad")["bad"] == []
