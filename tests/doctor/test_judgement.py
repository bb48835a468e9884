"""What the doctor makes of what it saw, where no browser is needed: rare answers, cookies, missing knowledge."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from collector.config import Config
from collector.doctor.finding import Finding
from collector.doctor.look import (
    Fetched,
    PageLook,
    SeenCookie,
    SentBeacon,
    Snippet,
    Violation,
    is_page_address,
    tag_pattern,
)
from collector.doctor.page import judge, judge_cookies, judge_origin, judge_path, judge_policy, judge_tag
from collector.doctor.refusals import REMEDIES
from collector.doctor.text_look import _Finder
from collector.reasons import Reason
from collector.sites.book import Site

ORIGIN = "https://shop.example"
SNIPPET = Snippet(f"{ORIGIN}/x/t.js", f"{ORIGIN}/x/b", "shop", "required", "_ts_v", 1)
ENVELOPE: dict[str, Any] = {"v": 1, "s": "shop", "e": []}
ACCEPTED = SentBeacon(f"{ORIGIN}/x/b", ENVELOPE, True, 204, is_ours=True)
FULL = SeenCookie("__Host-ts_shop", True, True, "Lax", 400)
OF_THE_TAG = SeenCookie("_ts_v", False, True, "Lax", 400)


def _look(**changes: Any) -> PageLook:
    """A look at a page on which all is well, but for the changes."""
    look = PageLook(f"{ORIGIN}/", by_browser=True, status=200, snippet=SNIPPET, is_running=True)
    look.tag = Fetched(200, "text/javascript", relation="same-origin")
    look.beacons, look.cookies = [ACCEPTED], [FULL, OF_THE_TAG]
    for name, value in changes.items():
        setattr(look, name, value)
    return look


def _change(beacon: SentBeacon, **changes: Any) -> SentBeacon:
    """Return the beacon with changes."""
    return dataclasses.replace(beacon, **changes)


def test_a_page_on_which_all_is_well_has_nothing_wrong() -> None:
    """The look from which the other tests start is good throughout; without a store the rest is judged all the same."""
    findings = list(judge(_look(), f"{ORIGIN}/", Config(), None, None))
    assert [finding.subject for finding in findings if finding.verdict == "unknown"] == ["stored"]
    assert {finding.verdict for finding in findings[:-1]} == {"good"}


@pytest.mark.parametrize(
    ("tag", "words", "fix"),
    [
        (Fetched(502), "answers 502: the proxy is there, and does not reach the collector", "Does the proxy name"),
        (Fetched(404), "answers 404: the path does not lead to the collector", "deploy/nginx"),
        (Fetched(200, "text/html; charset=utf-8"), "answers with text/html, a page instead", "deploy/nginx"),
        (Fetched(failure="net::ERR_CONNECTION_REFUSED"), "cannot be loaded: net::ERR_CONNECTION_REFUSED", "answer?"),
    ],
)
def test_what_the_path_answers_tells_where_it_leads(tag: Fetched, words: str, fix: str) -> None:
    """No proxy, a proxy without collector behind it, the shop's own page, no host: four causes, each with its fix."""
    [finding] = judge_path(_look(tag=tag, is_running=False))
    assert finding.verdict == "bad"
    assert words in finding.text
    assert fix in finding.fix


def test_another_host_of_the_same_site_is_a_small_matter() -> None:
    """data.shop.example for shop.example works; the shorter cookie in Safari is told."""
    [finding] = judge_path(_look(tag=Fetched(200, "text/javascript", relation="same-site")))
    assert finding.verdict == "warning"
    assert "Safari" in finding.text


@pytest.mark.parametrize(
    ("cookie", "words", "fix"),
    [
        (SeenCookie("ts_shop", True, False, "Lax", 400), "not Secure", "trusted_proxies"),
        (SeenCookie("__Host-ts_shop", True, True, "Lax", 7), "for 7 days", "shortens"),
        (None, "none by the collector", "Set-Cookie"),
    ],
)
def test_a_cookie_that_is_not_what_it_should_be(cookie: SeenCookie | None, words: str, fix: str) -> None:
    """HTTPS that the collector does not know of, a shortened life, a cookie that a proxy takes: each told apart."""
    [server, tag] = judge_cookies(_look(cookies=[OF_THE_TAG, *([cookie] if cookie else [])]))
    assert server.verdict == "warning"
    assert words in server.text
    assert fix in server.fix
    assert tag.verdict == "good"


def test_a_cookie_that_the_browser_refused() -> None:
    """A Set-Cookie that was sent and is not there is the browser's doing, or that of something on the way."""
    sent = _change(ACCEPTED, sets_cookie=True)
    [server, _] = judge_cookies(_look(beacons=[sent], cookies=[OF_THE_TAG]))
    assert "did not take it" in server.text


def test_without_a_store_the_answer_says_whether_the_origin_is_allowed() -> None:
    """Where the store is away, an accepted beacon is proof enough, and a refused one no accusation."""
    [finding] = judge_origin(_look(), None)
    assert finding.verdict == "good"
    [finding] = judge_origin(_look(beacons=[]), None)
    assert finding.verdict == "unknown"


def test_a_page_of_another_instance() -> None:
    """A site that is unknown here while its beacons are taken belongs to somebody else's instance."""
    [finding] = judge_origin(_look(), {"other": Site("other")})
    assert (finding.subject, finding.verdict) == ("site", "bad")
    assert "--data" in finding.fix


def test_a_listed_origin_that_is_refused_all_the_same() -> None:
    """List and answer disagree: the change is seconds old, or the path leads elsewhere."""
    refused = _change(ACCEPTED, status=403, rejected="origin")
    [finding] = judge_origin(_look(beacons=[refused]), {"shop": Site("shop", origins=(ORIGIN,))})
    assert finding.verdict == "bad"
    assert "another instance" in finding.fix


def test_other_peoples_violations_are_not_ours() -> None:
    """What the policy stops of the page's own things is no finding."""
    theirs = [
        Violation("img-src", "https://ads.example/1.gif", True),
        Violation("connect-src", f"{ORIGIN}/api/cart", True),
        Violation("script-src-elem", "inline", True),
    ]
    assert judge_policy(_look(violations=theirs, has_policy=True)) == Finding(
        "content policy", "good", "lets the tag through"
    )


def test_two_snippets_on_one_page() -> None:
    """The second does nothing, and the owner may not know of it."""
    findings = list(judge_tag(_look(snippet=Snippet(SNIPPET.src, SNIPPET.endpoint, "shop", "required", "_ts_v", 2))))
    assert [finding.verdict for finding in findings] == ["good", "warning"]


def test_the_snippet_is_found_in_text() -> None:
    """In the page's text the tag is known by its data attribute or by its path, base and all; other scripts are not."""
    pattern = re.compile(tag_pattern(Config()))

    def find(html: str) -> Snippet | None:
        finder = _Finder(pattern, f"{ORIGIN}/deep/page")
        finder.feed(html)
        return finder.snippet()

    found = find('<script async src=../x/t.js data-site=shop data-consent="off" data-endpoint="/y/b"></script>')
    assert found == Snippet(f"{ORIGIN}/x/t.js", f"{ORIGIN}/y/b", "shop", "off", "_ts_v", 1)
    found = find('<base href="https://cdn.example/"><script src="x/t-0.1.0-0123abcd.js"></script>')
    assert found is not None
    assert (found.src, found.site) == ("https://cdn.example/x/t-0.1.0-0123abcd.js", "")
    assert find("<script data-site=shop>inline</script><script src=/x/t.json></script><p data-site=x>") is None


def test_what_is_an_address() -> None:
    """http and https with a host; nothing else is opened."""
    assert is_page_address("https://shop.example:8443/a?b#c")
    assert not [
        url for url in ("file:///etc/passwd", "shop.example", "https://", "http://[::1") if is_page_address(url)
    ]


def test_every_reason_has_a_remedy_and_the_page_says_them() -> None:
    """docs/troubleshooting.md says of every reason what the doctor says."""
    assert set(REMEDIES) == set(Reason)
    text = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    for reason in Reason:
        assert f"| `{reason}` | {REMEDIES[reason]} |" in text
