"""Looks at a page as a visitor's browser does, in the order in which a beacon comes about.

Needs Chromium and the Python package playwright; without them the page's text alone is read. The profile is empty and
thrown away. Consent is given once everything before it has been looked at, because nothing is sent without it. Events
of this look are marked as automated: reports leave them out.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from collector.config import Config
from collector.doctor.finding import Finding, bad, good, unknown, warn
from collector.errors import StoreError
from collector.keyring import Keyring
from collector.sites import Site
from collector.store.client import open_client

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
PATIENCE_MS = 15_000
BEACON_WAIT_S = 4.0
STORE_WAIT_S = 15.0
LEAST_COOKIE_DAYS = 300
SNIPPET = re.compile(r"<script[^>]*\bdata-site=[\"']?([\w.-]+)", re.IGNORECASE)
WATCH = """
window.__refused = [];
addEventListener('securitypolicyviolation', e => __refused.push([e.effectiveDirective, e.blockedURI]));
"""
FIND_TAG = """() => {
  const script = document.querySelector('script[data-site]');
  return {
    src: script ? script.src : '', site: script ? script.dataset.site : '',
    preset: script ? script.dataset.consent || 'required' : '',
    stub: typeof window.tagstitch, refused: window.__refused
  };
}"""


def check_page(url: str, config: Config, keyring: Keyring, sites: dict[str, Site]) -> Iterator[Finding]:
    """Yield findings about the page. `sites`: what the store knows."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        browser = None
    if browser is None:
        yield unknown(
            "browser", "none here, so only the page's text is read", "apt-get install chromium; pip install playwright"
        )
        yield from check_text(url, sites)
        return
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=FLAGS)
        context = chromium.new_context()
        try:
            yield from _look(context, url, config, keyring, sites)
        except Error as error:
            yield bad("page", f"the browser gave up: {error.message.splitlines()[0]}", "open the page yourself first")
        finally:
            context.close()
            chromium.close()


def check_text(url: str, sites: dict[str, Site]) -> Iterator[Finding]:
    """Look for the snippet in the page's text."""
    try:
        with urllib.request.urlopen(url, timeout=15) as answer:  # noqa: S310  the command takes http and https alone
            text = answer.read(2_000_000).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        yield bad("page", f"cannot be fetched: {getattr(error, 'reason', error)}", "check the address")
        return
    found = SNIPPET.search(text)
    if found is None:
        yield bad("tag", "no snippet in the page's text", "put the output of `tagstitch snippet` into its head")
        return
    yield good("tag", f"the snippet is there, for site {found[1]}")
    yield from check_site(found[1], url, sites)


def check_site(site_id: str, url: str, sites: dict[str, Site]) -> Iterator[Finding]:
    """See that the site exists and takes beacons from this origin."""
    site = sites.get(site_id)
    if site is None or site.deleted:
        yield bad("site", f"there is no site {site_id!r}", f"tagstitch site add {site_id} --origin {_origin(url)}")
        return
    yield good("site", f"{site_id} is known, consent {site.consent}")
    if _origin(url) in site.origins:
        yield good("origin", f"{_origin(url)} is on its list")
    else:
        yield bad("origin", f"{_origin(url)} is not on the site's list", f"add it: tagstitch site add {site_id} --help")


def _look(context: Any, url: str, config: Config, keyring: Keyring, sites: dict[str, Site]) -> Iterator[Finding]:
    page = context.new_page()
    page.add_init_script(WATCH)
    sent: list[Any] = []
    answers: dict[str, int] = {}
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    page.on("response", lambda response: answers.__setitem__(response.url, response.status))
    answer = page.goto(url, wait_until="load", timeout=PATIENCE_MS)
    if answer is None or not answer.ok:
        yield bad("page", f"answered {answer.status if answer else 'nothing'}", "check the address")
        return
    yield good("page", f"answered {answer.status}")
    page.wait_for_timeout(500)

    found = page.evaluate(FIND_TAG)
    for directive, blocked in found["refused"]:
        yield bad(
            "content policy", f"{directive} blocks {blocked}", f"allow it in {directive}, or use a nonce: docs/tag.md"
        )
    if not found["src"]:
        yield bad("tag", "no snippet on the page", "put the output of `tagstitch snippet` into its head")
        return
    status = answers.get(found["src"], 0)
    if status not in (200, 304):
        fix = "is the path proxied to the collector? docs/deploy.md; or an ad blocker or the policy stopped it"
        yield bad("tag", f"{_without_query(found['src'])} answered {status or 'nothing'}", fix)
        return
    yield good("tag", f"loaded from {_without_query(found['src'])}")
    if _origin(found["src"]) == _origin(url):
        yield good("path", "on the site's own origin: its cookie lives its full time in every browser")
    else:
        yield warn(
            "path",
            f"the collector is on {_origin(found['src'])}, another origin: browsers shorten or drop its cookie",
            "put it under a path of the site's own origin: deploy/nginx, deploy/caddy, docs/deploy.md",
        )
    yield from check_site(found["site"], url, sites)
    yield from _check_beacon(page, context, found, sent, config, keyring)


def _check_beacon(
    page: Any, context: Any, found: dict[str, Any], sent: list[Any], config: Config, keyring: Keyring
) -> Iterator[Finding]:
    if found["preset"] == "required":
        if sent_before := _beacons(sent):
            yield warn(
                "consent",
                f"{len(sent_before)} beacon before a choice",
                "the page answers consent by itself: is that right?",
            )
        else:
            yield good("consent", "nothing is sent before a choice; given now, for this look")
    else:
        yield good("consent", f"preset {found['preset']}: the page asks nothing first")
    page.evaluate("() => window.tagstitch('consent', 'all')")
    deadline = time.monotonic() + BEACON_WAIT_S
    while not _beacons(sent) and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    beacons = _beacons(sent)
    if not beacons:
        yield bad("beacon", "none was sent", "open the page with data-debug on the snippet: the console says why")
        return
    request, body = beacons[0]
    response = request.response()
    refused = response.headers.get("x-tagstitch-rejected", "") if response else ""
    if response is None or response.status not in (200, 204) or refused:
        text = f"answered {response.status if response else 'nothing'}" + (f", refused: {refused}" if refused else "")
        yield bad("beacon", text, "docs/wire-format.md says what each reason means")
        return
    yield good("beacon", f"answered {response.status}")
    yield from _check_cookies(context, body.get("d", ""))
    yield _check_stored(body.get("d", ""), config, keyring)


def _check_cookies(context: Any, visitor_id: str) -> Iterator[Finding]:
    for by_server in (True, False):
        whose = "the collector's cookie" if by_server else "the tag's cookie"
        named = [
            cookie
            for cookie in context.cookies()
            if cookie["httpOnly"] is by_server
            and (visitor_id in cookie["value"] or cookie["name"].removeprefix("__Host-").startswith("ts_"))
        ]
        if not named:
            fix = "the collector must be on the site's own domain" if by_server else "is document.cookie blocked?"
            yield warn(whose, "is missing", fix)
            continue
        cookie = named[0]
        days = (cookie["expires"] - time.time()) / 86_400
        text = f"{cookie['name']}, {days:.0f} days, {'secure' if cookie['secure'] else 'not secure'}"
        if by_server and days < LEAST_COOKIE_DAYS:
            yield warn(whose, text, "something between the collector and the browser shortens it")
        elif by_server and not cookie["secure"]:
            yield warn(whose, text, "serve the site over HTTPS, and set trusted_proxies so that the collector knows it")
        else:
            yield good(whose, text)


def _check_stored(visitor_id: str, config: Config, keyring: Keyring) -> Finding:
    began = time.monotonic()
    question = "SELECT count() AS n FROM v_events WHERE visitor_id = {visitor:UUID} AND time > now() - INTERVAL 1 HOUR"
    try:
        with open_client(config, keyring, "reader") as client:
            while time.monotonic() - began < STORE_WAIT_S:
                if client.query_rows(question, {"visitor": visitor_id})[0]["n"]:
                    return good("stored", f"the event stands in v_events, {time.monotonic() - began:.1f} s later")
                time.sleep(0.2)
    except StoreError as error:
        return bad("stored", str(error), "the beacon waits in the spool: start the store")
    return bad("stored", f"not in the store after {STORE_WAIT_S:.0f} s", "does load run? tagstitch status")


def _beacons(sent: list[Any]) -> list[tuple[Any, dict[str, Any]]]:
    found = []
    for request in list(sent):
        try:
            body = json.loads(request.post_data or "")
        except ValueError:
            continue
        if isinstance(body, dict) and {"v", "s", "e"} <= body.keys():
            found.append((request, body))
    return found


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _without_query(url: str) -> str:
    return url.partition("?")[0]
