"""What may stand below `[offers.…]`, and what is said where it may not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector.config import Config
from collector.errors import ConfigError
from collector.offers.configuration import Cap, OfferConfig, Outcome, is_address, read_offers
from collector.use.config import read_use

FILE = Path("use.toml")
AUDIENCES: dict[str, Any] = {"lamp_lovers": {}, "theirs": {"space": "other"}}
LEAST = {"slot": "shelf", "content": {"title": "A lamp"}}


def read(**section: Any) -> OfferConfig:
    """Return the offer that a section makes."""
    return read_offers({"letter": {**LEAST, **section}}, FILE, AUDIENCES)["letter"]


def to_ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]


def test_little_is_enough() -> None:
    """Slot and content: for everybody who is known by a sign-in and has consented to marketing, for ever."""
    offer = read()
    assert (offer.audience, offer.purpose, offer.min_assurance, offer.hold_out) == ("", "marketing", 3, 0)
    assert (offer.starts_ms, offer.ends_ms, offer.cap) == (None, None, None)
    assert offer.outcome == Outcome(event="purchase", within_days=14)


def test_the_file_holds_it(tmp_path: Path) -> None:
    """As TOML, with its own times, beside audiences of the same file."""
    path = tmp_path / "use.toml"
    path.write_text(
        "[audiences.lamp_lovers]\nall = [{ known = true }]\n"
        "[offers.letter]\naudience = 'lamp_lovers'\nslot = 'shelf'\npriority = 5\n"
        "content = { title = 'A lamp', href = '/lamps', price = 129.5 }\n"
        "starts = 2026-11-23\nends = 2026-11-30T18:00:00\nzone = 'Europe/Berlin'\n"
        "cap = { shown = 3, within_days = 7 }\nhold_out = 0.1\nsites = ['shop']\n"
        "outcome = { event = 'sign_up', within_days = 3 }\n"
    )
    offer = read_use(Config(use_file=str(path))).offers["letter"]
    assert offer.content == {"title": "A lamp", "href": "/lamps", "price": 129.5}
    assert (offer.starts_ms, offer.ends_ms) == (to_ms(2026, 11, 22, 23), to_ms(2026, 11, 30, 17))
    assert (offer.cap, offer.hold_out, offer.sites) == (Cap(shown=3, within_days=7), 0.1, ("shop",))
    assert offer.outcome == Outcome(event="sign_up", within_days=3)


@pytest.mark.parametrize(
    ("key", "said", "expected"),
    [
        ("starts", "2026-11-23", to_ms(2026, 11, 23)),
        ("ends", "2026-11-23", to_ms(2026, 11, 24)),  # a day is an end with all its hours
        ("ends", "2026-11-23T09:00:00+02:00", to_ms(2026, 11, 23, 7)),
        ("starts", datetime(2026, 11, 23, 9, tzinfo=UTC), to_ms(2026, 11, 23, 9)),
    ],
)
def test_times(key: str, said: Any, expected: int) -> None:
    """Days and times, as TOML's own or as texts."""
    assert getattr(read(**{key: said}), f"{key}_ms") == expected


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "audience": ({"audience": "lamp_lover"}, "letter.audience", "no such audience; there are lamp_lovers, theirs"),
    "space": ({"audience": "theirs"}, "letter.audience", "of space other"),
    "setting": ({"prio": 1}, "letter.prio", "no such setting of an offer; it has slot, content"),
    "purpose": (
        {"purpose": "storage"},
        "letter.purpose",
        "analytics, identity, fingerprint, personalisation, marketing",
    ),
    "share": ({"hold_out": 1.5}, "offers.letter", "hold_out"),
    "cap": ({"cap": {"shown": 0}}, "offers.letter", "cap"),
    "a word of a cap": ({"cap": {"shown": 1, "days": 3}}, "offers.letter", "days"),
    "level": ({"min_assurance": 1}, "offers.letter", "min_assurance"),
    "slot": ({"slot": "the shelf"}, "offers.letter", "slot"),
    "nothing": ({"content": {}}, "letter.content", "says what is shown"),
    "name": ({"content": {"Title": "x"}}, "letter.content.Title", "small letter"),
    "length": ({"content": {"title": "x" * 2_001}}, "letter.content.title", "2,000"),
    "address": ({"content": {"href": "javascript:alert(1)"}}, "letter.content.href", "https://"),
    "time": ({"starts": "soon"}, "letter.starts", "2026-11-23T09:00:00Z"),
    "number": ({"ends": 5}, "letter.ends", "2026-11-23"),
    "order": ({"starts": "2026-11-23", "ends": "2026-11-22"}, "letter.ends", "before"),
    "zone": ({"zone": "Europe/Nowhere"}, "letter.zone", "Europe/Berlin"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_meant_is_said(name: str) -> None:
    """File, offer, setting, cause and fix."""
    section, setting, reason = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        read(**section)
    text = str(caught.value)
    assert setting in text
    assert reason in text
    assert "use.toml" in text


@pytest.mark.parametrize("sections", [{"Letter": LEAST}, {"letter": 1}, {"letter": {"slot": "shelf"}}])
def test_a_section_has_a_form(sections: dict[str, Any]) -> None:
    """A name of small letters, a table, a content."""
    with pytest.raises(ConfigError, match=r"(?i)offers\.letter"):
        read_offers(sections, FILE, {})


@pytest.mark.parametrize("text", ["https://shop.example/a?b=1#c", "http://shop.example", "/lamps", "/", "/a?b#c"])
def test_addresses(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "lamps", "//evil.example", "/\\evil.example", "https:///x", "https://[", "ftp://shop.example", 5),
        *(
            "data:text/html,x",
            "javascript:alert(1)",
            " https://shop.example",
            "java\nscript:x",
            "https://a@evil.example",
        ),
    ],
)
def test_no_addresses(text: Any) -> None:
    assert not is_address(text)
