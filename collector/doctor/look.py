"""What was seen of a page that should carry the tag: facts only, no verdicts. `page` judges them.

Two ways to look: `browser_look` opens the page in Chromium, `text_look` reads its text where there is no browser.
Addresses are kept without their query: it may hold what belongs into no terminal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from collector.config import Config


class PageAway(Exception):
    """The page could not be opened. The message says why, in a few words."""


@dataclass(frozen=True)
class Snippet:
    """The script element. `site` is empty where the page says it by `init`; `copies`: how often it stands there."""

    src: str
    endpoint: str  # where its beacons go
    site: str
    consent: str
    cookie: str
    copies: int


@dataclass(frozen=True)
class Fetched:
    """An answer to a request. `status` 0: none came, `failure` says why. `relation`: Sec-Fetch-Site of the request."""

    status: int = 0
    kind: str = ""  # content type
    failure: str = ""
    relation: str = ""


@dataclass(frozen=True)
class Violation:
    """Something that the content policy stopped, or would have if it were in force."""

    directive: str
    blocked: str
    is_enforced: bool


@dataclass(frozen=True)
class SentBeacon:
    """A beacon of the tag and its answer. `status` 0: none; `is_ours`: the answer is a collector's, as far as seen."""

    address: str
    envelope: dict[str, Any]
    was_asked_for: bool  # sent after the doctor had consented, not before
    status: int = 0
    rejected: str = ""  # reasons, comma between
    is_ours: bool = False
    sets_cookie: bool = False
    failure: str = ""

    @property
    def is_accepted(self) -> bool:
        """Whether the collector has taken it, wholly or in part."""
        return self.is_ours and self.status in (200, 204)

    @property
    def event_ids(self) -> list[str]:
        """Ids of its events."""
        return [event["i"] for event in self.envelope["e"] if isinstance(event, dict) and "i" in event]


@dataclass(frozen=True)
class SeenCookie:
    """A cookie of ours. `days`: how long it lives, 0 for the session only."""

    name: str
    is_server_set: bool
    is_secure: bool
    same_site: str
    days: float


@dataclass
class PageLook:
    """Everything that was seen. `by_browser` False: no script ran, so nothing is known of beacons and cookies."""

    url: str
    by_browser: bool
    status: int = 0
    certificate_problem: str = ""
    has_policy: bool = False
    snippet: Snippet | None = None
    tag: Fetched = field(default_factory=Fetched)
    is_running: bool = False
    had_stub: bool = True  # the first half of the snippet ran before the tag
    errors: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    beacons: list[SentBeacon] = field(default_factory=list)
    cookies_before: list[SeenCookie] = field(default_factory=list)
    cookies: list[SeenCookie] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """Origin of the page that was shown in the end."""
        return find_origin(self.url)

    @property
    def site_id(self) -> str:
        """Site that the page names, by its snippet or in its beacons."""
        if self.snippet is not None and self.snippet.site:
            return self.snippet.site
        return next((str(beacon.envelope["s"]) for beacon in self.beacons), "")

    @property
    def stopped_beacons(self) -> list[Violation]:
        """Where the content policy stopped beacons, or would have."""
        endpoint = cut_query(self.snippet.endpoint) if self.snippet is not None else ""
        return [
            item
            for item in self.violations
            if item.directive == "connect-src" and cut_query(item.blocked) in (endpoint, find_origin(endpoint))
        ]

    @property
    def accepted(self) -> SentBeacon | None:
        """The first beacon that the collector has taken."""
        return next((beacon for beacon in self.beacons if beacon.is_accepted), None)


def is_page_address(url: str) -> bool:
    """Whether this is an address that can be opened."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def find_origin(url: str) -> str:
    """Return the origin of an address as browsers send it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def cut_query(url: str) -> str:
    """Return the address without query and fragment."""
    return url.partition("#")[0].partition("?")[0]


def tag_pattern(config: Config) -> str:
    """Return a pattern, for Python and JavaScript alike, of the path of the tag: the plain and the versioned one."""
    stem = re.escape(config.tag_path.removesuffix(".js")).replace("/", "\\/")
    return rf"{stem}(-[\w.]+-[0-9a-f]{{8}})?\.js$"
