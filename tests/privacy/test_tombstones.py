"""Tombstones: what was erased is recognised, begins anew, and leads back to nobody."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.identity.identifiers import (
    VISITOR_KIND,
    find_own_person_id,
    find_visitor,
    name_identifier,
    own_person_id,
)
from collector.keyring import PersonalKey, make_keyring
from collector.privacy.tombstones import NONE, Tombstones, mark_key, mark_value, succeed_visitor
from collector.sites.book import IdentifierKind

SECRET = "secret"
EMAIL = IdentifierKind(name="email", unique=False, personal=True, normaliser="email")
CUSTOMER = IdentifierKind(name="customer")


def test_marks_never_change() -> None:
    """Tombstones in stores depend on them: whoever changes them lets in again what was erased."""
    assert mark_key("0199f3c2-5a11-7c3e-9d41-2f6f0a7be913") == "f4f22f99659b1e92"
    assert mark_value(SECRET, "main", "email", "anna@shop.example") == "9446321a6aa66c54"
    assert (
        succeed_visitor(SECRET, "0199f3c2-5a11-7c3e-9d41-2f6f0a7be913", 1_795_464_139_697)
        == "01a20a00-93b1-71fe-acc0-2a9c26ca0265"
    )


@given(visitor=st.uuids(), erased_ms=st.integers(0, 4_000_000_000_000))
def test_a_successor_is_an_id_as_tags_make_them(visitor: object, erased_ms: int) -> None:
    """A UUIDv7 of the moment of the erasing, the same each time, another for another key."""
    made = succeed_visitor(SECRET, str(visitor), erased_ms)
    assert int(made.replace("-", "")[:12], 16) == erased_ms
    assert made[14] == "7"
    assert made[19] in "89ab"
    assert made == succeed_visitor(SECRET, str(visitor), erased_ms)
    assert made != succeed_visitor("other", str(visitor), erased_ms)


def test_each_erasing_begins_another_epoch() -> None:
    """A customer who is erased twice is three people, one after the other."""
    first = own_person_id(SECRET, "main", "customer", "4711")
    second = own_person_id(SECRET, "main", "customer", "4711", epoch=1)
    third = own_person_id(SECRET, "main", "customer", "4711", epoch=2)
    once = Tombstones({"main": {mark_key(first): 10}})
    twice = Tombstones({"main": {mark_key(first): 10, mark_key(second): 20}})
    assert find_own_person_id(SECRET, "main", "customer", "4711", NONE) == (first, 0)
    assert find_own_person_id(SECRET, "main", "customer", "4711", once) == (second, 10)
    assert find_own_person_id(SECRET, "main", "customer", "4711", twice) == (third, 20)
    assert find_own_person_id(SECRET, "other", "customer", "4711", twice)[1] == 0


def test_a_visitor_that_is_erased_again_has_another_successor() -> None:
    """Who names the first id is led to the last one."""
    visitor = "0199f3c2-5a11-7c3e-9d41-2f6f0a7be913"
    first = own_person_id(SECRET, "main", VISITOR_KIND, visitor)
    heir = succeed_visitor(SECRET, visitor, 10)
    second = own_person_id(SECRET, "main", VISITOR_KIND, heir)
    twice = Tombstones({"main": {mark_key(first): 10, mark_key(second): 20}})
    assert find_visitor(SECRET, "main", visitor, NONE) == (visitor, first)
    assert find_visitor(SECRET, "main", visitor, twice)[0] == succeed_visitor(SECRET, heir, 20)


def test_a_personal_value_is_known_after_its_keys_have_rotated() -> None:
    """The pseudonym under the new key is another one; the mark of the value is not."""
    keyring = make_keyring()
    named = name_identifier(keyring, "main", EMAIL, "anna@shop.example")
    mark = mark_value(keyring.pseudonym_key, "main", "email", "anna@shop.example")
    tombstones = Tombstones({"main": {mark_key(named.key): 10, mark: 10}})
    rotated = msgspec.structs.replace(keyring, personal_keys=[PersonalKey(id="new", secret="f" * 64)])
    assert name_identifier(rotated, "main", EMAIL, "anna@shop.example", tombstones).erased_ms == 10
    assert name_identifier(rotated, "main", EMAIL, "ben@shop.example", tombstones).erased_ms == 0
    assert name_identifier(keyring, "main", EMAIL, "anna@shop.example", tombstones).key != named.key


@pytest.mark.parametrize("kind", [EMAIL, CUSTOMER])
def test_without_tombstones_nothing_changes(kind: IdentifierKind) -> None:
    """Of nearly everybody nothing was ever erased: names are what they always were."""
    keyring = make_keyring()
    others = Tombstones({"main": {"0" * 16: 10}})
    for value in ("4711", "anna@shop.example"):
        plain = name_identifier(keyring, "main", kind, value)
        assert plain == name_identifier(keyring, "main", kind, value, others)
        assert plain.erased_ms == 0
