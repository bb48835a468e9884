"""Who followed a link: the table in the head of `links.clicks`, line by line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.links.clicks import IMAGE_PROXIES, PREVIEW_AGENTS, SCANNER_AGENTS, Look, Seen, class_click, is_soon
from collector.links.recipients import WINDOW_S, RecipientWindow
from tests.edge_examples import CHROME

SAFARI = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 Safari/601"
)
IMESSAGE = f"{SAFARI} facebookexternalhit/1.1 Facebot Twitterbot/1.0"
PINTEREST_APP = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 [Pinterest/iOS]"


@pytest.mark.parametrize(
    ("seen", "link_class", "reasons"),
    [
        (Seen(CHROME), "human", ()),
        (Seen(CHROME, is_prefetch=True), "prefetch", ("prefetch_header",)),
        (Seen(IMESSAGE, robot="crawler"), "preview", ("preview_agent", "crawler")),
        (Seen("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"), "preview", ("preview_agent",)),
        (Seen("WhatsApp/2.23.20.0 A"), "preview", ("preview_agent",)),
        (Seen("TelegramBot (like TwitterBot)"), "preview", ("preview_agent",)),
        (Seen("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"), "preview", ("preview_agent",)),
        (Seen("LinkedInBot/1.0"), "preview", ("preview_agent",)),
        (Seen("Mozilla/5.0 (Windows NT 6.1) SkypeUriPreview Preview/0.5"), "preview", ("preview_agent",)),
        (Seen("Mozilla/4.0 (compatible; ms-office; MSOffice 16)"), "preview", ("preview_agent",)),
        (Seen(PINTEREST_APP), "human", ()),
        (Seen("BarracudaCentral-Scan"), "scanner", ("agent",)),
        (Seen("Mozilla/5.0 (Mimecast URL Protect)"), "scanner", ("agent",)),
        (Seen("ProofPoint URL Defense"), "scanner", ("agent",)),
        (Seen(""), "scanner", ("agent",)),
        (Seen("curl/8.0", robot="crawler"), "bot", ("crawler",)),
        (Seen(CHROME, is_automated=True), "bot", ("automation",)),
        (Seen(CHROME, is_head=True), "scanner", ("head",)),
        (Seen(CHROME, is_data_centre=True), "scanner", ("data_centre",)),
        (Seen(CHROME, is_soon=True), "human", ("soon",)),
        (Seen(CHROME, is_many=True), "human", ("many",)),
        (Seen(CHROME, is_scriptless=True), "human", ("no_script",)),
        (Seen(CHROME, is_dwell=True), "human", ("dwell",)),
        (Seen(CHROME, is_soon=True, is_many=True), "scanner", ("soon", "many")),
        (Seen(CHROME, is_soon=True, is_dwell=True), "scanner", ("soon", "dwell")),
        (Seen(CHROME, is_many=True, is_scriptless=True), "scanner", ("many", "no_script")),
        (Seen("Mozilla/5.0", is_picture=True), "preview", ("apple_privacy",)),
        (Seen("Mozilla/5.0"), "human", ()),
        (Seen("Mozilla/5.0 (X11) (via ggpht.com GoogleImageProxy)", is_picture=True), "preview", ("image_proxy",)),
        (Seen("YahooMailProxy; https://help.yahoo.com", is_picture=True), "preview", ("image_proxy",)),
        (Seen("Mozilla/4.0 (compatible; ms-office; MSOffice rmj)", is_picture=True), "human", ()),
    ],
)
def test_the_class_of_a_click(seen: Seen, link_class: str, reasons: tuple[str, ...]) -> None:
    """Each line of the table gives its class and its words."""
    assert class_click(seen) == (link_class, reasons)


@given(st.builds(Seen))
def test_a_class_has_its_reasons(seen: Seen) -> None:
    """Who is no human was found to be none by a word, and the words stand in no other order."""
    link_class, reasons = class_click(seen)
    if link_class == "human":
        assert set(reasons) in (set(), {Look.SOON}, {Look.MANY}, {Look.NO_SCRIPT}, {Look.DWELL})
    else:
        assert reasons
    assert list(reasons) == sorted(reasons, key=list(Look).index)


def test_soon_is_counted_from_the_end_of_the_minute() -> None:
    """A token's time is cut to the minute, so that a link sent at its end is not taken for one opened later."""
    assert is_soon(600, 600, 20)
    assert is_soon(600, 679, 20)
    assert not is_soon(600, 680, 20)
    assert not is_soon(600, 600, 0)


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_many_recipients_of_one_campaign_from_one_address() -> None:
    """Different people of one campaign count, the same one again does not, nor another campaign or address."""
    clock = _Clock()
    window = RecipientWindow(3, clock=clock)
    assert not window.meet("192.0.2.1", "spring", "a")
    assert not window.meet("192.0.2.1", "spring", "a")
    assert not window.meet("192.0.2.1", "spring", "b")
    assert not window.meet("192.0.2.1", "summer", "c")
    assert not window.meet("192.0.2.2", "spring", "c")
    assert window.meet("192.0.2.1", "spring", "c")
    assert window.meet("192.0.2.1", "spring", "a")
    clock.now = WINDOW_S
    assert not window.meet("192.0.2.1", "spring", "d"), "ten minutes later they are forgotten"


def test_the_window_is_bounded_and_can_be_off() -> None:
    """Of each address no more is kept than makes many, and the address that came longest ago goes first."""
    window = RecipientWindow(2, most_addresses=3)
    for number in range(1000):
        window.meet(f"192.0.2.{number % 50}", "spring", str(number))
    assert len(window) == 3
    assert max(len(known) for known in window._seen.values()) <= 2
    off = RecipientWindow(0)
    assert not any(off.meet("192.0.2.1", "spring", str(number)) for number in range(50))
    assert not any(window.meet("", "spring", str(number)) for number in range(50)), "this machine is never many"


def test_the_window_knows_no_address() -> None:
    """Nothing that is kept shows an address or a recipient."""
    window = RecipientWindow(5)
    window.meet("203.0.113.77", "spring", "canary-4711")
    shown = repr(window._seen)
    assert "203.0.113" not in shown
    assert "canary" not in shown


def test_no_name_takes_long() -> None:
    """No pattern repeats anything without bound, so that a hostile name costs what any costs."""
    for pattern in (*SCANNER_AGENTS.values(), *PREVIEW_AGENTS.values(), *IMAGE_PROXIES.values()):
        assert not re.search(r"(?<!\\)[*+{]", pattern)
