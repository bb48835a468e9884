"""A sign-in's token that is shown again: by the same visitor, on a second device, by a thief, on another site."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from collector.identity.evidence import Evidence
from collector.identity.resolve import resolve
from tests.identity.story import POLICY, People, click, minutes, sign_in, take_back


def show(visitor: str, at: int, *, name: str = "K1", token: str = "t", site: str = "shop") -> list[Evidence]:
    """A visitor signs in with a token."""
    rows = sign_in(visitor, name, at=minutes(at))
    return [msgspec.structs.replace(row, token_id=token, site_id=site) for row in rows]


def test_shown_again_by_the_same_visitor_it_is_the_same_sign_in() -> None:
    """The page hands it on with each view."""
    people = People(*(show("A", at) for at in range(5)))
    assert (people.who("A", minutes(9)), people.refused) == ("K1", [])


def test_on_a_second_device_it_counts_and_is_marked() -> None:
    """One person's phone, or a thief: it stands in the log."""
    people = People(show("A", 1), show("B", 2))
    assert [people.who(visitor, minutes(9)) for visitor in "AB"] == ["K1", "K1"]
    assert people.refused == ["second_device"]


def test_on_a_third_it_is_a_replay() -> None:
    """Whoever has stolen it gets no further, whatever the order in which the evidence is read."""
    rows = [*show("A", 1), *show("B", 2), *show("C", 3), *show("C", 4), *show("D", 5)]
    people = People(rows)
    assert [people.who(visitor, minutes(9)) for visitor in "ABCD"] == ["K1", "K1", "", ""]
    assert people.refused == ["replayed"] * 3 + ["second_device"]
    for order in itertools.islice(itertools.permutations(rows), 0, 120, 7):
        assert resolve(order, POLICY) == people.resolution


def test_a_place_that_is_taken_back_is_free_again() -> None:
    """A replay is one only as long as those before it stand."""
    first = show("A", 1)
    people = People(first, show("B", 2), show("C", 3), take_back(first))
    assert [people.who(visitor, minutes(9)) for visitor in "ABC"] == ["", "K1", "K1"]
    assert people.refused == ["second_device"]


def test_each_site_has_its_own_places() -> None:
    """One sign-in may serve several sites, each with a visitor of its own."""
    people = People(*(show(visitor, 1, site=f"shop-{visitor}") for visitor in "ABC"))
    assert [people.who(visitor, minutes(9)) for visitor in "ABC"] == ["K1"] * 3
    assert people.refused == []


@pytest.mark.parametrize(("name", "token"), [("K1", ""), ("K2", "t")])
def test_only_the_same_token_for_the_same_customer_is_a_replay(name: str, token: str) -> None:
    """Without a token (a signature may be the same for a day), or for somebody else: nothing to do with it."""
    people = People(show("A", 1), show("B", 2), show("C", 3, name=name, token=token))
    assert people.who("C", minutes(9)) == name
    assert people.refused == ["second_device"]


def test_a_link_and_a_sign_in_do_not_share_places() -> None:
    """Their ids are of different makers; where they should be alike, the site tells them apart."""
    people = People(show("A", 1, token="x"), click("B", "K1", minutes(2), token="x"))
    assert people.refused == []
