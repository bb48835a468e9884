"""Identifiers: normal forms, values that name nobody, and ids that never change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.identity.identifiers import UUID, is_blocked, normalise, own_person_id, pseudonym
from collector.sites.book import IdentifierKind

KEY = "22" * 32
TEXT = IdentifierKind("customer", normaliser="text")
EMAIL = IdentifierKind("email", normaliser="email", personal=True)
ID = IdentifierKind("device", normaliser="uuid")


@pytest.mark.parametrize(
    ("kind", "value", "normal"),
    [
        (TEXT, " 4711 ", "4711"),
        (TEXT, "Müller", "Müller"),
        (TEXT, "Mu\u0308ller", "Müller"),
        (TEXT, "\ufeff4711\u200b", "4711"),
        (TEXT, "AbC", "AbC"),
        (TEXT, "a\x00b", None),
        (TEXT, "a\nb", None),
        (TEXT, "a\u202eb", None),
        (TEXT, "", None),
        (TEXT, "   ", None),
        (TEXT, "x" * 512, "x" * 512),
        (TEXT, "x" * 513, None),
        (EMAIL, " Joe.Doe+Shop@Example.COM ", "joe.doe+shop@example.com"),
        (EMAIL, "joe@example.com.", "joe@example.com"),
        (EMAIL, "joe@BÜCHER.example", "joe@bücher.example"),
        (EMAIL, "joe", None),
        (EMAIL, "joe@", None),
        (EMAIL, "@example.com", None),
        (EMAIL, "joe@localhost", None),
        (EMAIL, "joe@example..com", None),
        (EMAIL, "joe doe@example.com", None),
        (EMAIL, "joe@@example.com", None),
        (EMAIL, "Joe <joe@example.com>", None),
        (ID, "4F6D2C1E-8A3B-4C5D-9E7F-0A1B2C3D4E5F", "4f6d2c1e-8a3b-4c5d-9e7f-0a1b2c3d4e5f"),
        (ID, "{4f6d2c1e-8a3b-4c5d-9e7f-0a1b2c3d4e5f}", "4f6d2c1e-8a3b-4c5d-9e7f-0a1b2c3d4e5f"),
        (ID, "4f6d2c1e", None),
    ],
)
def test_normal_forms(kind: IdentifierKind, value: str, normal: str | None) -> None:
    """Spellings of one value have one normal form; what is no value of the kind has none."""
    assert normalise(kind, value) == normal


@given(st.text(max_size=60), st.sampled_from([TEXT, EMAIL, ID]))
def test_a_normal_form_is_final(value: str, kind: IdentifierKind) -> None:
    """Normalising twice changes nothing."""
    normal = normalise(kind, value)
    if normal is not None:
        assert normalise(kind, normal) == normal


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
