"""What follows from facts: orders and their value, favourites, classes; and how personal values are masked."""

from __future__ import annotations

from typing import Any

import pytest

from collector.profiles.computed import DAY_MS, Facts, Order, classify, compute, merge_facts
from collector.profiles.masking import mask

NOW = 1_800_000_000_000


def buy(number: int, value: float = 10, *, days: float = 1, currency: str = "EUR", sign: int = 1) -> Order:
    return Order(number, NOW - int(days * DAY_MS), value, currency, sign)


def facts(*orders: Order, **more: Any) -> Facts:
    return Facts(first_ms=NOW - 9 * DAY_MS, last_ms=NOW, orders=frozenset(orders), **more)


@pytest.mark.parametrize(
    ("orders", "count", "value"),
    [
        ([], 0, {}),
        ([buy(1), buy(2, 5)], 2, {"EUR": 15}),
        # Told by the page and by the server: what was told first counts.
        ([buy(1, 10, days=2), buy(1, 12, days=1)], 1, {"EUR": 10}),
        ([buy(1), buy(1, 4, sign=-1)], 1, {"EUR": 6}),
        ([buy(1), buy(1, 4, sign=-1, days=0.5), buy(1, 6, sign=-1)], 0, {}),
        ([buy(1), buy(1, 0, sign=-1)], 0, {}),
        ([buy(1), buy(1, 99, sign=-1), buy(2, 1)], 1, {"EUR": 1}),
        ([buy(9, 4, sign=-1)], 0, {}),
        ([buy(1, 0)], 1, {"EUR": 0}),
        ([buy(1, 0.1), buy(2, 0.2), buy(3, 7, currency="USD")], 3, {"EUR": 0.3, "USD": 7}),
    ],
)
def test_orders_and_what_was_paid(orders: list[Order], count: int, value: dict[str, float]) -> None:
    """Each order once, by currency, less what was paid back."""
    computed = compute(facts(*orders), NOW)
    assert (computed.orders, computed.value) == (count, value)


def test_counts_are_of_visits_and_the_favourite_is_the_most_seen() -> None:
    """Most visits first, then the alphabet; months and identifiers are put together without counting twice."""
    one = facts(sessions=frozenset({1, 2}), categories=frozenset({("Rugs", 1), ("Beds", 1), ("Beds", 2)}))
    two = Facts(NOW - 99, NOW + 5, frozenset({2, 3}), categories=frozenset({("Rugs", 3), ("Beds", 2)}))
    merged = merge_facts([one, two])
    computed = compute(merged, NOW)
    assert (computed.first_seen_ms, computed.last_seen_ms, computed.sessions) == (one.first_ms, NOW + 5, 3)
    assert list(computed.categories.items()) == [("Beds", 2), ("Rugs", 2)]
    assert computed.favourite_category == "Beds"
    assert merge_facts([]) is None


def test_of_nobody_nothing_follows() -> None:
    """Zeros and empty words, and the class of who has bought nothing."""
    computed = compute(None, NOW)
    assert (computed.first_seen_ms, computed.sessions, computed.favourite_category) == (0, 0, "")
    assert computed.rfm.name == "prospect"


@pytest.mark.parametrize(
    ("orders", "days", "paid", "scores", "name"),
    [
        (0, 0, 0, (0, 0, 0), "prospect"),
        (10, 30, 1_000, (5, 5, 5), "champion"),
        (5, 90, 500, (4, 4, 4), "champion"),
        (5, 91, 500, (3, 4, 4), "loyal"),
        (10, 30, 40, (5, 5, 1), "loyal"),
        (3, 181, 5_000, (2, 3, 5), "at_risk"),
        (3, 400, 200, (1, 3, 3), "at_risk"),
        (2, 366, 50, (1, 2, 2), "lost"),
        (1, 30, 49.99, (5, 1, 1), "new"),
        (1, 91, 50, (3, 1, 2), "occasional"),
        (2, 10, 60, (5, 2, 2), "occasional"),
    ],
)
def test_classes_by_their_thresholds(
    orders: int, days: int, paid: float, scores: tuple[int, int, int], name: str
) -> None:
    """The table of the module's head, at its edges."""
    rfm = classify(orders, NOW - days * DAY_MS, paid, NOW)
    assert ((rfm.recency, rfm.frequency, rfm.monetary), rfm.name) == (scores, name)


def test_value_is_judged_in_the_currency_used_most() -> None:
    """Amounts of two currencies are not added: the one with more orders counts."""
    orders = [buy(1, 900, currency="JPY"), buy(2, 30), buy(3, 30)]
    assert compute(facts(*orders), NOW).rfm.monetary == 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("anna@shop.example", "a***@s***.example"),
        ("anna@localhost", "a***@l***"),
        ("7@x.example", "***@***.example"),
        ("Anna", "A***"),
        ("Anna Maria Berg", "A*** M*** B***"),
        ("A", "***"),
        ("+49 171 2344711", "***4711"),
        ("12345", "***"),
        ("1980-05-17", "***"),
        ("12 Main Street", "*** M*** S***"),
        ("", "***"),
        (42, "***"),
        (True, "***"),
        (None, "***"),
        ({"a": "Anna"}, "***"),
        ("Łukasz", "Ł***"),
    ],
)
def test_masks_tell_as_little_as_they_can(value: object, expected: str) -> None:
    """E-mail, telephone, names, numbers, dates and what is no text."""
    assert mask(value) == expected
