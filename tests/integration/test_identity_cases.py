"""The eleven classic cases of identity through the real collector and the real engine, as readers see them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.identity_drive import CALL_CENTRE, Space, World, running_world

pytestmark = pytest.mark.engine
PAGE = Path(__file__).parents[2] / "docs" / "identity.md"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for the module."""
    with running_world(tmp_path_factory.mktemp("cases"), spaces=20) as running:
        yield running


@pytest.fixture
def space(world: World) -> Space:
    """A space of the test's own."""
    return world.take_space()


def test_case_1_a_new_anonymous_visitor_is_a_person_without_a_key(space: Space) -> None:
    """Two visitors are two people; neither is a customer."""
    a, b = space.browser(), space.browser()
    a.view(ago_h=2)
    a.view(ago_h=1)
    b.view(ago_h=1)
    space.settle()
    assert (space.who(a), space.who(b)) == (["", ""], [""])
    assert len(space.persons(a)) == 1
    assert space.persons(a) != space.persons(b)
    assert space.customers() == {}


def test_case_2_a_new_visitor_gives_a_key_that_nobody_has(space: Space) -> None:
    """Associated: one person, the pages before the sign-in included."""
    a = space.browser()
    a.view(ago_h=30)
    a.sign_in(customer="anna", ago_h=2)
    a.view(ago_h=1)
    space.settle()
    assert space.who(a) == ["anna", "anna", "anna"]
    assert space.persons(a) == [space.customers()["anna"]]


def test_case_3_a_call_without_a_visitor_makes_a_second_person(space: Space) -> None:
    """The call centre names the customer and no visitor; the same human's browser stays apart."""
    a = space.browser()
    a.view(ago_h=3)
    assert space.call("track", *CALL_CENTRE, event="Called", userId="anna", ago_h=2).status == 200
    a.view(ago_h=1)
    space.settle()
    assert space.who(a) == ["", ""]
    [anna] = space.customers().values()
    assert anna not in space.persons(a)
    assert space.query(
        "SELECT customer_id, toString(person_id) AS person FROM v_events"
        " WHERE space_id = {space:String} AND event_name = 'Called'"
    ) == [{"customer_id": "anna", "person": anna}]


def test_case_4_an_anonymous_visitor_gives_an_e_mail_that_nobody_has(space: Space) -> None:
    """Associated: the e-mail's person is the visitor's, its history included."""
    a = space.browser()
    a.view(ago_h=5)
    a.sign_in(email="anna@shop.example", ago_h=2)
    space.settle()
    [pseudonym] = space.customers()
    assert "@" not in pseudonym
    assert space.who(a) == [pseudonym, pseudonym]


def test_case_4_an_anonymous_visitor_joins_the_owner_of_its_e_mail(space: Space) -> None:
    """The shop's server has said whose the e-mail is: the browser that signs in with it is the owner's, history too."""
    email = [{"type": "email", "id": "Anna@Shop.example"}]
    space.call("identify", userId="anna", ago_h=10, context={"siteId": space.site_id, "externalIds": email})
    a = space.browser()
    a.view(ago_h=5)
    a.sign_in(email="anna@shop.example", ago_h=2)
    space.settle()
    assert list(space.customers()) == ["anna"]
    assert space.who(a) == ["anna", "anna"]
    assert space.owners("email") == ["anna"]


def test_case_5_a_known_customer_gives_a_further_key(space: Space) -> None:
    """It is associated with the same person: whoever comes with it later is her."""
    a, b = space.browser(), space.browser()
    a.sign_in(customer="anna", ago_h=5)
    a.sign_in(email="anna@shop.example", ago_h=4)
    b.sign_in(email="anna@shop.example", ago_h=3)
    space.settle()
    assert list(space.customers()) == ["anna"]
    assert (space.who(a), space.who(b)) == (["anna", "anna"], ["anna"])
    assert space.refused() == []


def test_case_6_another_value_of_a_unique_key_is_a_switch_and_no_merge(space: Space) -> None:
    """Ben signs in on Anna's browser: from then on it is his, what came before stays hers."""
    a = space.browser()
    a.view(ago_h=9)
    a.sign_in(customer="anna", ago_h=8)
    a.view(ago_h=7)
    a.sign_in(customer="ben", ago_h=6)
    a.view(ago_h=5)
    space.settle()
    assert space.who(a) == ["anna", "anna", "anna", "ben", "ben"]
    assert sorted(space.customers()) == ["anna", "ben"]
    assert len(set(space.customers().values())) == 2
    assert space.refused() == []


def test_case_7_several_keys_in_one_request_are_all_tied(space: Space) -> None:
    """Customer, login, e-mail and phone in one sign-in are one person's."""
    a = space.browser()
    a.sign_in(phone="+49 30 123456", email="anna@shop.example", login="anna1", customer="anna", ago_h=4)
    space.settle()
    assert list(space.customers()) == ["anna"]
    assert [space.owners(kind) for kind in ("login", "email", "phone")] == [["anna"]] * 3
    assert space.who(a) == ["anna"]


def test_case_8_keys_of_two_people_in_one_signed_request_do_not_merge_them(space: Space) -> None:
    """The visitor goes to the owner of the strongest key; the guard's log says that it would have made two people
    one."""
    a, b, c = space.browser(), space.browser(), space.browser()
    a.sign_in(customer="anna", email="anna@shop.example", ago_h=9)
    b.sign_in(customer="ben", phone="+49 30 123456", ago_h=8)
    c.view(ago_h=6)
    c.sign_in(email="anna@shop.example", phone="+49 30 123456", ago_h=5)
    space.settle()
    assert sorted(space.customers()) == ["anna", "ben"]
    assert space.who(c) == ["anna", "anna"]
    assert (space.owners("email"), space.owners("phone")) == (["anna"], ["ben"])
    assert space.refused() == ["two_people"]


def test_case_8_a_server_that_names_two_unique_keys_merges_their_owners(space: Space) -> None:
    """Level 4 allows it: one person, by the stronger key's id, and both browsers are hers."""
    a, b = space.browser(), space.browser()
    a.sign_in(customer="anna", ago_h=9)
    b.sign_in(login="anna1", ago_h=8)
    space.settle()
    assert len(set(space.customers().values())) == 2
    login = [{"type": "login", "id": "anna1"}]
    space.call("identify", userId="anna", context={"siteId": space.site_id, "externalIds": login})
    space.settle()
    assert list(space.customers()) == ["anna"]
    assert space.persons(a)[-1] == space.persons(b)[-1] == space.customers()["anna"]


def test_case_9_a_new_value_of_a_unique_key_wins_the_visitor(space: Space) -> None:
    """Ben signs in on Anna's browser and gives her e-mail: the browser is his from then on, the e-mail stays hers."""
    a = space.browser()
    a.sign_in(customer="anna", email="anna@shop.example", ago_h=9)
    a.view(ago_h=8)
    a.sign_in(customer="ben", email="anna@shop.example", ago_h=6)
    a.view(ago_h=5)
    space.settle()
    assert space.who(a) == ["anna", "anna", "ben", "ben"]
    assert space.owners("email") == ["anna"]
    assert space.refused() == ["two_people"]


def test_case_10_an_anonymous_app_opens_the_mobile_site_by_a_hand_over_link(space: Space) -> None:
    """Two visitor ids, one person, and nobody's customer."""
    app, mobile = space.site_ids
    a = space.browser()
    a.view(site=mobile)
    crossed = a.cross(mobile)
    assert (crossed.status, crossed.rejected) == (204, "")
    space.settle()
    assert a.find_visitor(app) != a.find_visitor(mobile)
    assert space.persons(a.find_visitor(app)) == space.persons(a.find_visitor(mobile))
    assert set(space.who(a, app) + space.who(a, mobile)) == {""}
    assert space.customers() == {}


def test_case_11_a_known_customers_app_opens_the_mobile_site(space: Space) -> None:
    """The mobile site's visitor joins the customer, provisionally until she signs in there."""
    mobile = space.site_ids[1]
    a = space.browser()
    a.sign_in(customer="anna", ago_h=2)
    a.view(site=mobile, ago_h=1)
    a.cross(mobile)
    space.settle()
    assert space.who(a) == ["anna", "anna"]
    assert space.who(a, mobile) == ["", "anna?"]
    a.sign_in(customer="anna", site=mobile)
    space.settle()
    assert space.who(a, mobile) == ["anna", "anna", "anna"]


def test_the_pages_questions_have_answers(space: Space) -> None:
    """The SQL of docs/identity.md, asked as a reader of an instance with two customers and a refusal."""
    a, b = space.browser(), space.browser()
    a.sign_in(customer="4711", email="anna@shop.example", ago_h=9)
    b.sign_in(customer="ben", email="anna@shop.example", ago_h=8)
    space.settle()
    questions = re.findall(r"<!-- tested: sql -->\s*```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    evidence, by_day, by_identifier = (space.world.instance.sql(question) for question in questions)
    assert {row["kind"] for row in evidence} == {"identify"}
    assert "two_people" in {row["reason"] for row in by_day}
    assert all(row["reason"] in ("fused", "unproved", "replayed") for row in by_identifier)
