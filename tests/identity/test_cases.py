"""The eleven classic cases of identity, as docs and peers number them. A, B: visitors; K: customers; E: e-mails."""

from __future__ import annotations

from tests.identity.story import People, alias, click, days, hours, key, minutes, sign_in, take_back, tie


def test_case_1_a_new_anonymous_visitor_is_a_person_of_its_own() -> None:
    """With no evidence there are no rows, and an identifier without a row is its own person."""
    people = People([])
    assert people.resolution == People().resolution
    assert people.person("A") == key("A")
    assert people.who("A", days(0)) == ""


def test_case_2_a_new_visitor_with_a_key_that_nobody_has_is_associated() -> None:
    """The visitor and the key become one person, history before the sign-in included."""
    people = People(sign_in("A", "K1", at=days(10)))
    assert people.are_one("A", "K1")
    assert people.who("A", days(0)) == "K1"
    assert people.who("A", days(11)) == "K1"
    (customer,) = people.resolution.customers
    assert (customer.person_id, customer.customer_id, customer.provisional) == (key("K1"), "value-K1", 0)


def test_case_3_a_call_without_a_visitor_makes_a_person_apart() -> None:
    """The call centre's key K is a person; the same human's browser A stays apart until something ties them."""
    people = People([tie("K1", "K1", days(1), 4, kind="server", proof="server")])
    assert [customer.customer_id for customer in people.resolution.customers] == ["value-K1"]
    assert not people.are_one("A", "K1")


def test_case_4_an_anonymous_visitor_gives_a_key_nobody_has() -> None:
    """It is associated: the e-mail's person is the visitor's."""
    people = People(sign_in("A", "E1", at=days(1)))
    assert people.are_one("A", "E1")
    assert people.who("A", days(0)) == "E1"


def test_case_4_an_anonymous_visitor_joins_the_owner_of_its_key() -> None:
    """E belongs to K already, so visitor B joins K, with its history."""
    people = People(sign_in("A", "K1", "E1", at=days(1)), sign_in("B", "E1", at=days(5)))
    assert people.are_one("B", "K1")
    assert people.who("B", days(4)) == "K1"


def test_case_5_a_known_customer_gives_a_further_key() -> None:
    """The new key is the same person's."""
    people = People(sign_in("A", "K1", at=days(1)), sign_in("A", "E1", at=days(3)))
    assert people.are_one("E1", "K1")
    assert people.who("A", days(4)) == "K1"
    assert people.refused == []


def test_case_6_another_value_of_a_unique_key_is_a_switch() -> None:
    """K2 signs in on K1's browser: from then on it is K2's; before, it stays K1's; they do not merge."""
    people = People(sign_in("A", "K1", at=days(1)), sign_in("A", "K2", at=days(3)))
    assert not people.are_one("K1", "K2")
    assert people.who("A", days(0)) == "K1"
    assert people.who("A", days(2)) == "K1"
    assert people.who("A", days(3)) == "K2"
    assert people.merged == ["switch"]
    assert people.refused == []


def test_case_7_several_keys_in_one_request_are_tied_at_once() -> None:
    """Customer, login, e-mail and phone in one request are one person."""
    people = People(sign_in("A", "P1", "E1", "L1", "K1", at=days(1)))
    assert {people.person(name) for name in ("A", "K1", "L1", "E1", "P1")} == {key("K1")}


def test_case_8_keys_of_two_people_in_one_signed_request_do_not_merge() -> None:
    """The visitor goes to the owner of the strongest key; the guard's note names both people."""
    people = People(
        sign_in("A", "K1", "E1", at=days(1)),
        sign_in("B", "K2", "P2", at=days(2)),
        sign_in("C", "P2", "E1", at=days(3)),
    )
    assert not people.are_one("K1", "K2")
    assert people.who("C", days(3)) == "K1"
    (entry,) = people.resolution.guards
    assert (entry.reason, entry.person_id, entry.other_person_id) == ("two_people", key("K1"), key("K2"))


def test_case_8_level_4_merges_two_people_that_it_names_outright() -> None:
    """A server that names two unique keys in one request says that they are one person."""
    people = People(
        sign_in("A", "K1", at=days(1)),
        sign_in("B", "K2", "L2", at=days(2)),
        sign_in("C", "K1", "L2", at=days(3), level=4, proof="server"),
    )
    assert {people.person(name) for name in ("A", "B", "C", "K1", "K2", "L2")} == {key("K1")}
    assert people.merged == ["associate", "merge"]


def test_case_8_a_shared_e_mail_never_merges_two_customers() -> None:
    """A family's e-mail in two customer records ties to the first; no level makes one person of them."""
    people = People(
        sign_in("A", "K1", "E1", at=days(1), level=4, proof="server"),
        sign_in("B", "K2", "E1", at=days(2), level=4, proof="server"),
    )
    assert not people.are_one("K1", "K2")
    assert people.are_one("E1", "K1")
    assert people.who("B", days(2)) == "K2"
    assert people.refused == ["two_people"]


def test_case_9_a_new_value_of_a_unique_key_wins_the_visitor() -> None:
    """K1's browser signs in as K2 with K1's e-mail: a switch; K1 keeps its e-mail."""
    people = People(sign_in("A", "K1", "E1", at=days(1)), sign_in("A", "K2", "E1", at=days(2)))
    assert people.who("A", days(1.5)) == "K1"
    assert people.who("A", days(2)) == "K2"
    assert people.are_one("E1", "K1")
    assert people.refused == ["two_people"]


def test_case_10_an_app_opens_the_mobile_site_with_a_hand_over_link() -> None:
    """App install B and web visitor A, both anonymous, are one person: the older of them."""
    people = People([tie("B", "K9", days(0), 1)], [tie("A", "B", days(1), 2, kind="link", human="pointer", token="t")])
    assert people.are_one("A", "B")
    assert people.resolution.customers == ()
    assert {people.person("A"), people.person("B")} <= {key("A"), key("B")}


def test_case_11_a_known_customers_app_opens_the_mobile_site() -> None:
    """The web visitor joins the app's customer from the click's session on, provisionally; a sign-in confirms it."""
    known = sign_in("B", "K1", at=days(1))
    opened = [tie("A", "B", days(2), 2, kind="link", human="touch", token="t", session_start=days(2) - 60_000)]
    people = People(known, opened)
    assert people.who("A", days(2)) == "K1?"
    assert people.who("A", days(2) - 60_000) == "K1?"
    assert people.who("A", days(1.9)) == ""
    people = People(known, opened, sign_in("A", "K1", at=days(3)))
    assert people.who("A", days(1.9)) == "K1"


def test_merge_then_unmerge_then_merge_gives_the_same_rows_again() -> None:
    """Taking a merge back gives both people their old ids; saying it again makes the same one person."""
    apart = [*sign_in("A", "K1", at=days(1)), *sign_in("B", "K2", at=days(2))]
    first = alias("K1", "K2", at=days(3), id="first")
    again = alias("K1", "K2", at=days(3), id="again")
    before = People(apart)
    merged = People(apart, first)
    unmerged = People(apart, first, take_back(first))
    merged_again = People(apart, first, take_back(first), again)
    assert merged.are_one("A", "B")
    assert merged.person("B") == key("K1")
    assert unmerged.resolution == before.resolution
    assert unmerged.person("B") == key("K2")
    assert merged_again.resolution.map_rows == merged.resolution.map_rows
    assert merged_again.resolution.customers == merged.resolution.customers


def test_the_first_merge_log_entry_names_the_id_that_gave_way() -> None:
    """The merge log says which person id stands and which is an alias of it now."""
    people = People(sign_in("A", "K2", at=days(1)), sign_in("B", "K1", at=days(2)), alias("K1", "K2", at=days(3)))
    (entry,) = people.resolution.merges
    assert (entry.reason, entry.person_id, entry.other_person_id) == ("merge", key("K2"), key("K1"))


def test_a_click_then_sign_in_is_the_story_of_the_front_page() -> None:
    """Anonymous browsing, a tagged link, a sign-in: in the end all of it is the customer's."""
    browsing, landed, signed = days(0), hours(30), hours(31)
    clicked = click("A", "K1", landed + 5_000, session_start=landed)
    before = People(clicked)
    assert before.who("A", browsing) == ""
    assert before.who("A", landed) == "K1?"
    (customer,) = before.resolution.customers
    assert customer.provisional == 1
    after = People(clicked, sign_in("A", "K1", at=signed))
    assert after.who("A", browsing) == "K1"
    assert after.who("A", minutes(60 * 30)) == "K1"
    assert [row.several for row in after.resolution.map_rows if row.key == key("A")] == [0]
    assert [customer.provisional for customer in after.resolution.customers] == [0]
