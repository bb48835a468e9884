"""Hand-overs from domain to domain, as stories: A is the visitor on the first domain, B and C on the others."""

from __future__ import annotations

import random

import msgspec
import pytest

from collector.identity.policy import DAY_MS, HOUR_MS
from tests.identity.story import People, days, hand_over, hours, key, minutes, reset, sign_in, take_back

LANDED, LEFT = hours(1), hours(1.5)
CROSSING = hand_over("B", "A", LEFT, session_start=LANDED)


def test_two_anonymous_visitors_become_one_person() -> None:
    """Somebody browses the first domain and goes on to the second: one anonymous person, the older of the two."""
    people = People(CROSSING)
    assert people.are_one("A", "B")
    assert people.person("B") == key("A")
    assert people.resolution.customers == ()
    assert people.refused == []


def test_a_customer_is_known_on_the_other_domain_provisionally() -> None:
    """Signed in on the first domain: what happens on the second is theirs from the arrival on, until a sign-in there
    confirms it."""
    known = sign_in("A", "K1", at=hours(0.5))
    people = People(known, CROSSING)
    assert [people.who("B", at) for at in (LEFT - 1, LEFT, days(3))] == ["", "K1?", "K1?"]
    people = People(known, CROSSING, sign_in("B", "K1", at=hours(2)))
    assert [people.who("B", at) for at in (LEFT, hours(2))] == ["K1", "K1"]


def test_who_signs_in_after_the_crossing_brings_the_session_before_it_along() -> None:
    """The landing page on the first domain, with its campaign, belongs to the customer who signs in on the second;
    what that browser did there in earlier sessions does not, before they sign in there too."""
    bought = sign_in("B", "K1", at=hours(2))
    people = People(CROSSING, bought)
    assert [people.who("A", at) for at in (LANDED - 1, LANDED, LEFT)] == ["", "K1?", "K1?"]
    assert people.who("B", LEFT) == "K1"
    people = People(CROSSING, bought, sign_in("A", "K1", at=days(2)))
    assert people.who("A", LANDED - 1) == "K1"


def test_who_signs_in_on_the_first_domain_later_is_known_on_the_second() -> None:
    """The look-back of a sign-in reaches the crossing, and over it."""
    people = People(CROSSING, sign_in("A", "K1", at=hours(3)))
    assert people.who("A", LANDED) == "K1"
    assert people.who("B", LEFT) == "K1?"


def test_no_session_is_believed_for_longer_than_a_day() -> None:
    """When the session began is the browser's word."""
    crossing = hand_over("B", "A", days(30), session_start=days(1))
    people = People(crossing, sign_in("B", "K1", at=days(30) + HOUR_MS))
    assert [people.who("A", at) for at in (days(29) - 1, days(29))] == ["", "K1?"]


def test_the_session_is_that_of_the_visitor_who_left() -> None:
    """The arriving visitor gets its customer from the arrival on, proved by cookie or not: nobody has said when its
    own session began."""
    for proof in ("cookie", "script"):
        crossing = hand_over("B", "A", LEFT, session_start=LANDED, proof=proof)
        people = People(sign_in("A", "K1", at=minutes(1)), crossing)
        assert [people.who("B", at) for at in (LEFT - 1, LEFT)] == ["", "K1?"]


def test_two_customers_stay_two() -> None:
    """The second domain knows K2 in this browser: K1's crossing is noted and changes nobody."""
    people = People(sign_in("A", "K1", at=hours(0)), sign_in("B", "K2", at=hours(1)), CROSSING)
    assert people.who("B", LEFT) == "K2"
    assert people.who("A", LEFT) == "K1"
    assert not people.are_one("K1", "K2")
    assert people.refused == ["other_customer"]


def test_another_customers_later_sign_in_withdraws_it() -> None:
    """K1 crossed over, then K2 signs in on the second domain with nobody signing out: the crossing counts no more
    there, and the note says so."""
    people = People(sign_in("A", "K1", at=hours(0)), CROSSING, sign_in("B", "K2", at=hours(3)))
    assert people.who("B", LEFT) == "K2"
    assert people.who("A", LEFT) == "K1"
    assert people.refused == ["other_customer"]


def test_a_sign_out_before_the_crossing_hands_no_customer_over() -> None:
    """K1 signed out on the first domain (new visitor A): the one who crosses then is anonymous."""
    people = People(sign_in("D", "K1", at=hours(0)), reset("A", "D", hours(1)), CROSSING)
    assert people.who("B", LEFT) == ""
    assert people.are_one("A", "B")
    assert people.who("D", hours(0.5)) == "K1"


def test_a_sign_out_that_keeps_the_visitor_id_hands_no_customer_over() -> None:
    """The same where the tag cannot make a new id."""
    people = People(sign_in("A", "K1", at=hours(0)), reset("A", "A", hours(1)), CROSSING)
    assert people.who("B", LEFT) == ""


def test_a_sign_out_after_the_crossing_ends_it() -> None:
    """K1 crosses, signs out on the second domain (same visitor id): what comes after is nobody's."""
    people = People(sign_in("A", "K1", at=hours(0)), CROSSING, reset("B", "B", hours(3)))
    assert [people.who("B", at) for at in (LEFT, hours(3))] == ["K1?", ""]


def test_nothing_is_brought_along_across_a_sign_out() -> None:
    """A sign-out in the session that was left ends what a later sign-in brings along."""
    people = People(reset("A", "A", hours(1.2)), CROSSING, sign_in("B", "K1", at=hours(2)))
    assert [people.who("A", at) for at in (LANDED, hours(1.2))] == ["", "K1?"]


def test_a_token_counts_for_one_visitor_of_a_site() -> None:
    """The same token with another visitor on the same site is a replay, whichever is loaded first; with a visitor of a
    third domain it is none, because the tag puts one token into several links."""
    first = hand_over("B", "A", LEFT, token="t")
    again = hand_over("B", "A", LEFT + 1000, token="t")
    replay = hand_over("C", "A", LEFT + 2000, token="t")
    elsewhere = hand_over("D", "A", LEFT + 3000, token="t", site="shop-c")
    rows = [*first, *again, *replay, *elsewhere, *sign_in("A", "K1", at=hours(0))]
    for seed in range(6):
        random.Random(seed).shuffle(rows)
        people = People(rows)
        assert [people.who(name, hours(2)) for name in "BCD"] == ["K1?", "", "K1?"]
        assert people.refused == ["replayed"]


def test_a_replay_counts_once_the_first_is_taken_back() -> None:
    """Which arrival stands is a function of the evidence that stands."""
    first, replay = hand_over("B", "A", LEFT, token="t"), hand_over("C", "A", LEFT + 1, token="t")
    people = People(first, replay, take_back(first))
    assert people.are_one("A", "C")
    assert not people.are_one("A", "B")
    assert people.refused == []


@pytest.mark.parametrize("knower", ["A", "B", "C", "D"])
def test_a_walk_over_several_domains_is_one_customers(knower: str) -> None:
    """From A over B and C to D: wherever the sign-in is, all four are the customer's when they were crossed."""
    walk = [
        *hand_over("B", "A", hours(2), session_start=hours(1)),
        *hand_over("C", "B", hours(3), session_start=hours(2)),
        *hand_over("D", "C", hours(4), session_start=hours(3)),
    ]
    people = People(walk, sign_in(knower, "K1", at=hours(5)))
    found = [people.who(name, hours(at)).rstrip("?") for name, at in (("A", 1.5), ("B", 2.5), ("C", 3.5), ("D", 4.5))]
    assert found == ["K1"] * 4
    assert People(walk).person("D") == key("A")


def test_a_crossing_taken_back_parts_the_visitors() -> None:
    """Like all evidence."""
    assert People(CROSSING, take_back(CROSSING)).resolution == People().resolution


def test_a_shared_device_hands_nobody_over() -> None:
    """Six people in turn on the second domain's browser: a crossing says nothing about who sits there."""
    crowd = [row for n in range(2, 8) for row in sign_in("B", f"K{n}", at=days(n), session=f"s{n}")]
    people = People(sign_in("A", "K1", at=days(1)), crowd, hand_over("B", "A", days(9)))
    assert people.who("B", days(9) + DAY_MS) == ""
    assert people.refused == ["shared_device"]


def test_a_wrong_level_makes_no_tie() -> None:
    """Below level 2 it is a hint."""
    (row,) = CROSSING
    assert not People([msgspec.structs.replace(row, level=1)]).are_one("A", "B")
