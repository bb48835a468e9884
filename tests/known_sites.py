"""Waiting until the web process of an instance has heard of a site, or of a change to it."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from instance_process import RunningInstance

from collector.sites.book import Site, SiteBook

PATIENCE_S = 20.0


def wait_for_site(instance: RunningInstance, site_id: str, fits: Callable[[Site], bool] = lambda _: True) -> Site:
    """Return the site once web has it and it fits. Web writes its copy after it has taken the settings into force."""
    copy = instance.data / "web" / "sites.json"
    deadline = time.monotonic() + PATIENCE_S
    while True:
        book = msgspec.json.decode(copy.read_bytes(), type=SiteBook) if copy.exists() else SiteBook()
        site = book.find_site(site_id)
        if site is not None and fits(site):
            return site
        assert time.monotonic() < deadline, f"web has not heard of {site_id}: {site}\n{instance.log[-2000:]}"
        time.sleep(0.05)
