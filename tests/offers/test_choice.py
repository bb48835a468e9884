"""Which offers somebody gets: priority, period, audience, consent, level, cap, and who is held out."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.offers.arms import Draw
from collector.offers.choice import Visit, applies, choose
from collector.offers.configuration import Cap, OfferConfig
from collector.offers.page import PageOffers, find_granted
from collector.offers.standing import Known, Wanted
from tests.edge_examples import KEYRING

DRAW = Draw(KEYRING, "main")
NOW_MS = 1_700_000_000_000
PERSON = str(uuid.UUID(int=7))
NOBODYS = Known()


def make_offer(name: str = "letter", slot: str = "shelf", **more: Any) -> OfferConfig:
    return OfferConfig(name=name, slot=slot, content={"title": name}, **{"purpose": "", **more})


def make_visit(**more: Any) -> Visit:
    return Visit(**{"person_id": PERSON, "site_id": "shop", "level": 3, "now_ms": NOW_MS, **more})


@pytest.mark.parametrize(
    ("offer", "known", "visit", "expected"),
    [
        ({}, {}, {}, True),
        ({"sites": ("shop",)}, {}, {}, True),
        ({"sites": ("blog",)}, {}, {}, False),
        ({"starts_ms": NOW_MS}, {}, {}, True),
        ({"starts_ms": NOW_MS + 1}, {}, {}, False),
        ({"ends_ms": NOW_MS}, {}, {}, False),
        ({"ends_ms": NOW_MS + 1}, {}, {}, True),
        ({"audience": "a"}, {"audiences": {"a": 5}}, {}, True),
        ({"audience": "a"}, {"audiences": {"b": 5}}, {}, False),
        ({"purpose": "marketing"}, {}, {"granted": frozenset({"marketing"})}, True),
        ({"purpose": "marketing"}, {}, {"granted": frozenset({"analytics", "identity"})}, False),
        ({}, {}, {"level": 2}, False),
        ({"min_assurance": 2}, {}, {"level": 2}, True),
        ({"cap": Cap(shown=3)}, {"seen": {"letter": 2, "other": 9}}, {}, True),
        ({"cap": Cap(shown=3)}, {"seen": {"letter": 3}}, {}, False),
    ],
)
def test_what_an_offer_needs(
    offer: dict[str, Any], known: dict[str, Any], visit: dict[str, Any], expected: bool
) -> None:
    """Each condition for itself, at its edge."""
    assert applies(make_offer(**offer), Known(**known), make_visit(**visit)) is expected


_offers = st.lists(
    st.builds(
        make_offer,
        name=st.sampled_from("abcdefgh"),
        slot=st.sampled_from(["shelf", "head"]),
        priority=st.integers(-2, 2),
        audience=st.sampled_from(["", "in", "out"]),
        hold_out=st.sampled_from([0.0, 0.5, 1.0]),
        min_assurance=st.integers(2, 4),
    ),
    max_size=8,
    unique_by=lambda offer: offer.name,
)


@given(_offers, st.randoms(use_true_random=False), st.integers(2, 4))
def test_one_for_each_slot_the_best_that_applies(offers: list[OfferConfig], random: Any, level: int) -> None:
    """Whatever the order of the file: never two in a slot, never one that does not apply, none better left out, and
    content exactly where nobody is held out."""
    known, visit = Known(audiences={"in": 1}), make_visit(level=level)
    chosen = choose(offers, known, visit, DRAW)
    shuffled = list(offers)
    random.shuffle(shuffled)
    assert choose(shuffled, known, visit, DRAW) == chosen
    assert [one["slot"] for one in chosen] == sorted({one["slot"] for one in chosen})
    named = {offer.name: offer for offer in offers}
    fitting = [offer for offer in offers if applies(offer, known, visit)]
    assert {one["slot"] for one in chosen} == {offer.slot for offer in fitting}
    for one in chosen:
        offer = named[one["id"]]
        rivals = [rival for rival in fitting if rival.slot == offer.slot]
        assert offer == min(rivals, key=lambda rival: (-rival.priority, rival.name))
        is_held_out = DRAW.is_held_out(PERSON, offer.name, offer.hold_out)
        assert one.get("held_out", False) is is_held_out
        assert one["content"] == ({} if is_held_out else offer.content)


def test_a_cap_gives_way_to_the_next() -> None:
    """Who has seen the best often enough gets the second; who is held out of the best gets nothing."""
    offers = [make_offer("best", priority=2, cap=Cap(shown=1)), make_offer("second")]
    assert [one["id"] for one in choose(offers, NOBODYS, make_visit(), DRAW)] == ["best"]
    assert [one["id"] for one in choose(offers, Known(seen={"best": 1}), make_visit(), DRAW)] == ["second"]
    held_out = [make_offer("best", priority=2, hold_out=1.0), make_offer("second")]
    assert choose(held_out, NOBODYS, make_visit(), DRAW) == [
        {"id": "best", "slot": "shelf", "content": {}, "held_out": True}
    ]


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_the_share_held_out(share: float) -> None:
    """Of 20,000 fixed people within five standard deviations of a fair draw."""
    people = [str(uuid.UUID(int=number)) for number in range(20_000)]
    held_out = sum(DRAW.is_held_out(person, "letter", share) for person in people)
    assert abs(held_out - 20_000 * share) <= 5 * (20_000 * share * (1 - share)) ** 0.5


def test_offers_draw_for_themselves() -> None:
    """Who is held out of one is as likely as anybody to be held out of another; spaces and instances differ too."""
    people = [str(uuid.UUID(int=number)) for number in range(4_000)]
    first = {person for person in people if DRAW.is_held_out(person, "letter", 0.5)}
    for draw, offer in ((DRAW, "other"), (Draw(KEYRING, "second"), "letter")):
        both = sum(draw.is_held_out(person, offer, 0.5) for person in first)
        assert abs(both - len(first) / 2) <= 5 * (len(first) / 4) ** 0.5


@given(st.uuids(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_out_the_same_and_more(person: uuid.UUID, one: float, other: float) -> None:
    """Nobody changes sides when a share grows. Of nothing nobody is held out, of everything everybody."""
    less, more = sorted((one, other))
    assert DRAW.is_held_out(str(person), "letter", less) <= DRAW.is_held_out(str(person), "letter", more)
    assert not DRAW.is_held_out(str(person), "letter", 0)
    assert DRAW.is_held_out(str(person), "letter", 1)


def test_consent_has_two_sides() -> None:
    """The browser was told yes, and neither the person nor a signal of the browser says no."""
    told = frozenset({"analytics", "identity", "marketing"})
    assert find_granted(told, NOBODYS) == told
    assert find_granted(told, Known(refused=frozenset({"marketing"}))) == {"analytics", "identity"}
    assert find_granted(frozenset(), NOBODYS) == set()


class _Audience:
    def __init__(self, *, space: str = "main", page: bool = True) -> None:
        self.space, self.page = space, page


def test_a_page_is_told_of_audiences_that_are_for_pages() -> None:
    """By name, from level 3 on; an offer may go by one that no page is told of. Spaces know nothing of each other."""
    audiences = {"told": _Audience(), "secret": _Audience(page=False), "theirs": _Audience(space="other")}
    offers = {"letter": make_offer(audience="secret", cap=Cap(shown=1, within_days=2), min_assurance=2)}
    page = PageOffers(KEYRING, audiences, offers)
    assert page.want("main") == Wanted(("secret", "told"), {"letter": 2 * 86_400_000}, with_consent=True)
    assert page.want("other") == Wanted(("theirs",), with_consent=True)
    assert page.want("third") == Wanted(with_consent=True)
    known = Known(audiences={"told": 1, "secret": 1, "theirs": 1})
    told, chosen = page.tell("main", known, make_visit())
    assert (told, [one["id"] for one in chosen]) == (["told"], ["letter"])
    told, chosen = page.tell("main", known, make_visit(level=2))
    assert (told, [one["id"] for one in chosen]) == ([], ["letter"])
