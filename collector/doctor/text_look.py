"""Reads a page's text where there is no browser: finds the snippet and asks whether its path leads to the tag.

Runs no script, so nothing is known of consent, beacons and cookies; and a snippet that a script puts in is not seen.
"""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.request
from email.message import Message
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from collector.config import Config
from collector.doctor.look import Fetched, PageAway, PageLook, Snippet, cut_query, find_origin, tag_pattern

PATIENCE_S = 15.0
MOST_BYTES = 4_000_000


def look_at_text(url: str, config: Config) -> PageLook:
    """Fetch the page and read it. Raises PageAway."""
    problem = ""
    context = ssl.create_default_context()
    try:
        page = _fetch(url, context)
    except ssl.SSLCertVerificationError as error:
        problem = error.verify_message
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        page = _fetch(url, context)
    final_url, status, headers, text = page
    look = PageLook(cut_query(final_url), by_browser=False, status=status, certificate_problem=problem)
    finder = _Finder(re.compile(tag_pattern(config)), final_url)
    finder.feed(text)
    look.has_policy = finder.has_policy or "content-security-policy" in headers
    look.snippet = finder.snippet()
    if look.snippet is not None:
        look.tag = _ask_for_tag(look.snippet.src, look.origin, context)
        look.is_running = look.tag.status == 200
    return look


class _Finder(HTMLParser):
    """Finds script elements that load the tag."""

    def __init__(self, pattern: re.Pattern[str], base: str) -> None:
        super().__init__()
        self._pattern = pattern
        self._base = base
        self._found: list[dict[str, str]] = []
        self.has_policy = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "base" and given.get("href"):
            self._base = urljoin(self._base, given["href"])
        if tag == "meta" and given.get("http-equiv", "").lower() == "content-security-policy":
            self.has_policy = True
        src = urljoin(self._base, given.get("src", ""))
        is_tag = "data-site" in given or self._pattern.match(urlsplit(src).path)
        if tag == "script" and given.get("src") and is_tag:
            self._found.append({**given, "src": src})

    def snippet(self) -> Snippet | None:
        """Return what was found."""
        if not self._found:
            return None
        first = self._found[0]
        consent, cookie = first.get("data-consent", "required"), first.get("data-cookie", "_ts_v")
        endpoint = (
            urljoin(self._base, first["data-endpoint"]) if first.get("data-endpoint") else urljoin(first["src"], "b")
        )
        return Snippet(first["src"], endpoint, first.get("data-site", ""), consent, cookie, len(self._found))


def _ask_for_tag(src: str, page_origin: str, context: ssl.SSLContext) -> Fetched:
    relation = "same-origin" if find_origin(src) == page_origin else "cross-origin"
    try:
        _, status, headers, _ = _fetch(src, context)
    except (PageAway, ssl.SSLCertVerificationError) as error:
        return Fetched(failure=str(error), relation=relation)
    return Fetched(status, headers.get("content-type", ""), relation=relation)


def _fetch(url: str, context: ssl.SSLContext) -> tuple[str, int, Message, str]:
    """Return final address, status, headers and text. Raises PageAway, and SSLCertVerificationError as it is."""
    request = urllib.request.Request(url, headers={"User-Agent": "tagstitch-doctor", "Accept": "text/html,*/*"})  # noqa: S310  http(s) only, see is_page_address
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S, context=context) as answer:  # noqa: S310
            text = answer.read(MOST_BYTES).decode("utf-8", "replace")
            return answer.url, answer.status, answer.headers, text
    except urllib.error.HTTPError as error:
        return url, error.code, error.headers, ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise reason from error
        raise PageAway(str(getattr(reason, "strerror", None) or reason)) from error
