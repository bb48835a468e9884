"""Browsers, robots, countries and networks."""

from __future__ import annotations

import crawleruseragents
import msgspec
import pytest
import user_agents
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from collector.accept.recognise import MAX_USER_AGENT_CHARS, recognise_client, truncate_address
from collector.accept.robots import find_stretches, is_crawler
from tests.edge_examples import ADDRESS, CHROME, SITE, make_body, make_context, take

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Mobile/15E148 Safari/604.1"
)
IPAD = "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 Version/16.6 Mobile/15E148 Safari/604.1"
PIXEL = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Mobile Safari/537.36"
)
TABLET = (
    "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
EDGE = f"{CHROME} Edg/140.0.0.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
HEADLESS = CHROME.replace("Chrome/", "HeadlessChrome/")
CURL = "curl/8.5.0"


@pytest.mark.parametrize("text", [CHROME, IPHONE, IPAD, PIXEL, TABLET, FIREFOX, EDGE, GOOGLEBOT, HEADLESS, CURL, "?"])
def test_the_fast_engine_speaks_the_same_vocabulary(text: str) -> None:
    """Names and versions are those that user-agents itself would give, at a fiftieth of the cost."""
    slow, fast = user_agents.parse(text), recognise_client(text)
    assert fast.browser == slow.browser.family
    assert fast.browser_version == slow.browser.version_string
    assert (fast.os, fast.os_version) == (slow.os.family, slow.os.version_string)


@pytest.mark.parametrize(
    ("text", "device"),
    [(CHROME, "desktop"), (FIREFOX, "desktop"), (IPHONE, "mobile"), (PIXEL, "mobile"), (IPAD, "tablet"),
     (TABLET, "tablet"), (CURL, "other"), ("", "other")],
)  # fmt: skip
def test_device_classes(text: str, device: str) -> None:
    """Desktop, mobile, tablet, other."""
    assert recognise_client(text).device == device


@pytest.mark.parametrize(
    ("text", "facts", "automation", "reason"),
    [
        (CHROME, {}, 0, ""),
        (GOOGLEBOT, {}, 0, "spider"),
        (CURL, {}, 0, "crawler"),
        (HEADLESS, {}, 0, "crawler"),
        ("", {}, 0, "no user agent"),
        (CHROME, {}, 1, "automation"),
        (CHROME, {}, 2, "automation"),
        (CHROME, {"prefetch": True}, 0, "prefetch"),
    ],
)
def test_robots_are_marked(text: str, facts: dict[str, bool], automation: int, reason: str) -> None:
    """Robots are kept and marked with how we know; a site that counts automation keeps the reason, not the mark."""
    _, row = take(make_body(b=automation), make_context(user_agent=text, **facts))
    assert (row.is_bot, row.bot_reason) == (int(bool(reason)), reason)
    counted = msgspec.structs.replace(SITE, count_automated=True)
    _, row = take(make_body(b=automation), make_context(user_agent=text, site=counted, **facts))
    assert (row.is_bot, row.bot_reason) == (0, reason)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1234:5678:9abc::1", "2001:db8:1234::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        ("unknown", ""),
        ("203.0.113.77:1234", ""),
    ],
)
def test_addresses_are_truncated(address: str, network: str) -> None:
    """Of an address the /24 or /48 is left."""
    assert truncate_address(address) == network


def test_the_full_address_is_not_in_the_line() -> None:
    """What is written has the network, never the address."""
    answer, row = take(make_body())
    assert row.network == "203.0.113.0/24"
    assert ADDRESS.encode() not in answer.line


@pytest.mark.parametrize(("given", "kept"), [("DE", "DE"), ("XX1", ""), ("de", ""), ("<b>", ""), ("", "")])
def test_the_country_is_a_code_or_nothing(given: str, kept: str) -> None:
    """What a proxy or database gives is kept only in the form of a country code."""
    _, row = take(make_body(), make_context(country=given))
    assert row.country == kept


def test_a_hostile_user_agent_is_cut() -> None:
    """Only the beginning of a long text is looked at."""
    _, row = take(make_body(), make_context(user_agent="bot " * 8000 + GOOGLEBOT))
    assert row.is_bot == 1
    _, row = take(make_body(), make_context(user_agent="x" * MAX_USER_AGENT_CHARS + GOOGLEBOT))
    assert row.is_bot == 0


def test_excluded_networks_are_not_kept() -> None:
    """A site's own office is refused quietly, whatever form its address comes in."""
    from tests.edge_examples import refuse

    site = msgspec.structs.replace(SITE, excluded_networks=("198.51.100.0/24", "2001:db8:1::/48"))
    for address in ("198.51.100.9", "::ffff:198.51.100.9", "2001:db8:1::7"):
        answer, row = refuse(make_body(), make_context(site=site, address=address))
        assert (answer.rejected.reason, row.events) == ("excluded", [])
    take(make_body(), make_context(site=site))
    take(make_body(), make_context(site=site, address=""))


@pytest.mark.parametrize(
    ("pattern", "stretches"),
    [
        ("Googlebot\\/", {"Goog", "oogl", "ogle", "gleb", "lebo", "ebot", "bot/"}),
        ("[cC]rawlers?", {"rawl", "awle", "wler"}),
        ("abcd+ef", {"abcd"}),
        ("ab.cd", set()),
        ("\\bword", {"word"}),
        ("one|other", set()),
        ("(^| )sentry", set()),
        ("Owler \\(ows", {"Owle", "wler", "ler ", "er (", "r (o", " (ow", "(ows"}),
    ],
)
def test_a_pattern_is_filed_under_what_every_match_holds(pattern: str, stretches: set[str]) -> None:
    """What may be absent, and what stands in brackets or between alternatives, is no part of it."""
    assert find_stretches(pattern) == stretches


def test_the_list_of_robots_reads_the_same_when_it_is_filed() -> None:
    """Every example of the kept list, and browsers besides, are judged as the package itself judges them."""
    examples = [text for crawler in CRAWLER_USER_AGENTS_DATA for text in crawler.get("instances", ())]
    assert len(examples) > 1000
    for text in (*examples, CHROME, CURL, HEADLESS, IPHONE, "", "ä" * 512):
        assert is_crawler(text) is crawleruseragents.is_crawler(text), text


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("255.249.100.9", "255.249.100.0/24"),
        ("0.0.0.0", "0.0.0.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("01.2.3.4", ""),
        ("256.1.1.1", ""),
        ("1.2.3", ""),
        ("1.2.3.4.5", ""),
        ("1.2.3.4\n", ""),
        ("١.2.3.4", ""),
    ],
)
def test_only_an_address_has_a_network(address: str, network: str) -> None:
    """The usual form and the others are truncated alike; what is no address has none."""
    assert truncate_address(address) == network
