"""Identifiers: values that name nobody, how values are stored, and ids that never change."""

from __future__ import annotations

import msgspec
import pytest
from edge_examples import KEYRING
from hypothesis import given
from hypothesis import strategies as st

from collector.identity.identifiers import (
    PSEUDONYM,
    UUID,
    is_blocked,
    is_kept_clear,
    make_pseudonym,
    name_identifier,
    own_person_id,
    pseudonym,
)
from collector.keyring import PersonalKey
from collector.sites.book import IdentifierKind

KEY = "22" * 32
CUSTOMER = IdentifierKind("customer")
EMAIL = IdentifierKind("email", unique=False, personal=True, normaliser="email")


@pytest.mark.parametrize(
    "value",
    ["null", "NULL", "undefined", "anonymous", "guest", "Guest", "unknown", "0", "00000", "NaN", "none", "None", "nil",
     "[object Object]", "object", "'null'", '"undefined"', "(null)", "<unknown>", "n/a", "-", "", "  ", "true", "false",
     "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "test@example.com",
     "Test@shop.example", "noreply@shop.example", "user_id", "distinct_id", "not set", "not_authenticated", "test",
     "email", "customer-id"],
)  # fmt: skip
def test_values_that_name_nobody(value: str) -> None:
    """What pages send when they know no one would tie thousands of strangers together."""
    assert is_blocked(value)


@pytest.mark.parametrize(
    "value",
    ["4711", "10", "C-000042", "joe@example.com", "Nullmann", "guesthouse", "4f6d2c1e", "testa@x.example", "ff"],
)
def test_values_that_name_somebody(value: str) -> None:
    """Real references pass, also those that look a little like the others."""
    assert not is_blocked(value)


def test_own_person_ids_are_pinned() -> None:
    """The ids that all stored rows depend on: other results would be other people."""
    assert own_person_id(KEY, "main", "customer", "4711") == "0635d6d5-21cb-5011-27f2-f216d56545a2"
    assert (
        own_person_id(KEY, "main", "visitor", "01a1a4f0-1c00-7001-8000-000000000001")
        == "ea751c11-b388-6f09-cc77-fcaa057e863c"
    )
    assert own_person_id(KEY, "main", "customer", "4711", epoch=1) == "6be9c4e8-6a66-0f29-151c-ac07889fbc11"
    assert pseudonym(KEY, "main", "email", "joe@example.com") == "967466d1587a51dc4a216bbe5efcacdf"


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8)), min_size=2, unique=True))
def test_different_identifiers_are_different_people(parts: list[tuple[str, str, str]]) -> None:
    """Space, kind and value are kept apart, wherever one ends and the next begins."""
    ids = {own_person_id(KEY, *part) for part in parts}
    assert len(ids) == len(parts)
    assert all(UUID.fullmatch(person_id) for person_id in ids)


def test_keys_and_epochs_make_other_people() -> None:
    """Another key, another epoch, another purpose: nothing can be compared."""
    one = own_person_id(KEY, "main", "email", "joe@example.com")
    assert one != own_person_id("33" * 32, "main", "email", "joe@example.com")
    assert one != own_person_id(KEY, "main", "email", "joe@example.com", epoch=1)
    assert one.replace("-", "") != pseudonym(KEY, "main", "email", "joe@example.com")
    assert own_person_id("k" * 200, "main", "email", "x") != own_person_id("k" * 201, "main", "email", "x")


# --- how a value is stored ------------------------------------------------------------------------------------------


def test_pseudonyms_are_pinned() -> None:
    """A pseudonym names its key; another result would be another person."""
    key = PersonalKey("p1", "44" * 32)
    assert make_pseudonym(key, "main", "email", "joe@example.com") == "p1.078b365e8a3cfcd3e1cf2c45670f2994"
    assert name_identifier(KEYRING, "main", EMAIL, "joe@example.com").key == "fb38d920-02e1-8b5c-5b0a-51dc1e34eced"


def test_a_personal_value_is_a_pseudonym_and_another_is_as_it_is() -> None:
    """What is stored leads to the own person id, for every kind."""
    address = name_identifier(KEYRING, "main", EMAIL, "joe@example.com")
    assert PSEUDONYM.fullmatch(address.value)
    assert not address.is_clear
    customer = name_identifier(KEYRING, "main", CUSTOMER, "4711")
    assert (customer.value, customer.is_clear, customer.earlier) == ("4711", True, ())
    for kind, named in ((EMAIL, address), (CUSTOMER, customer)):
        assert named.key == own_person_id(KEYRING.pseudonym_key, "main", kind.name, named.value)


def test_nothing_but_the_personal_key_leads_to_the_value() -> None:
    """With all other secrets and without that key, neither pseudonym nor person id can be made again."""
    other = msgspec.structs.replace(KEYRING, personal_keys=[PersonalKey("p1", "55" * 32)])
    one, two = (name_identifier(ring, "main", EMAIL, "joe@example.com") for ring in (KEYRING, other))
    assert one.value != two.value
    assert one.key != two.key


def test_spaces_and_kinds_have_pseudonyms_of_their_own() -> None:
    """Nobody can tell across spaces, or kinds, that two values are the same."""
    key = KEYRING.personal_keys[0]
    places = (("main", "email"), ("main", "customer"), ("other", "email"))
    assert len({make_pseudonym(key, *place, "joe@example.com") for place in places}) == 3


def test_while_keys_rotate_a_value_has_both_names() -> None:
    """The newest key names it, and the earlier name is told beside."""
    old, new = KEYRING.personal_keys[0], PersonalKey("p2", "55" * 32)
    both = name_identifier(msgspec.structs.replace(KEYRING, personal_keys=[new, old]), "main", EMAIL, "joe@example.com")
    before = name_identifier(KEYRING, "main", EMAIL, "joe@example.com")
    assert both.value == make_pseudonym(new, "main", "email", "joe@example.com")
    assert both.earlier == ((before.value, before.key),)


@pytest.mark.parametrize(
    "value",
    ["joe@example.com", "Joe@Example.COM", "mailto:joe@example.com", "Joe <joe@example.com>", "joe%40example.com",
     "42|joe@example.com", "joe@bücher.example", f"0.{'a1' * 16}"],
)  # fmt: skip
def test_what_holds_an_address_or_looks_like_a_pseudonym_is_not_kept_clear(value: str) -> None:
    """Many shops' customer number is the e-mail address."""
    assert not is_kept_clear(CUSTOMER, value)
    clear = msgspec.structs.replace(CUSTOMER, clear=True)
    assert is_kept_clear(clear, value) == ("@" in value or "%40" in value)


@pytest.mark.parametrize("value", ["4711", "C-000042", "joe@shop", "@joe", "50%", "joe.doe", "a" * 40, "v1.abcdef"])
def test_customer_numbers_are_kept_clear(value: str) -> None:
    """Analysts join by them."""
    assert is_kept_clear(CUSTOMER, value)


@given(st.text(max_size=60), st.booleans(), st.booleans())
def test_a_stored_value_is_never_taken_for_another(value: str, personal: bool, clear: bool) -> None:
    """No value in clear can pass for the pseudonym of another."""
    kind = IdentifierKind("customer", personal=personal, clear=clear and not personal)
    named = name_identifier(KEYRING, "main", kind, value)
    assert named.is_clear == (PSEUDONYM.fullmatch(named.value) is None)
    assert not named.is_clear or named.value == value
