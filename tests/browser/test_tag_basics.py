"""The tag in real Chromium: page views, events, batching and leaving."""

from __future__ import annotations

import re

import pytest
from page_server import PageServer
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

UUID7 = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


def test_page_view_carries_address_and_parameters(page: Page, page_server: PageServer, site: str) -> None:
    """A page with the snippet sends one page view with its whole address, referrer, title and a visitor."""
    url = page_server.add_tagged_page("/offer", site) + "?utm_source=news&utm_campaign=spring&color=red"
    page_server.add_page("/before", f'<a href="{url}">offer</a>')
    page.goto(page_server.origin + "/before")
    page.click("a")
    (beacon,) = page_server.beacon_count_is(site, 1)

    envelope = beacon.envelope
    assert beacon.names == ["page_view"]
    assert envelope["v"] == 1
    assert envelope["u"] == url
    assert envelope["r"] == page_server.origin + "/before"
    assert envelope["h"] == "/offer"
    assert UUID7.match(envelope["d"])
    assert UUID7.match(envelope["e"][0]["i"])
    assert envelope["x"]["n"] == 1
    assert beacon.headers["content-type"].startswith("text/plain")
    assert abs(envelope["st"] - envelope["e"][0]["t"]) < 8000
