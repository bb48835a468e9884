"""Computed traits: what follows from a person's facts: when they were seen, what they bought and how, and their class.

RFM stands for recency, frequency and monetary value. Each is a score from 1 to 5:

    score  last order at most   orders at least   paid at least, in the currency used most
    5      30 days ago          10                1,000
    4      90                   5                 500
    3      180                  3                 200
    2      365                  2                 50
    1      longer               1                 less

and the class follows from them, the first that fits:

    prospect   has ordered nothing
    champion   recency, frequency and value are 4 or more
    loyal      recency 3 or more, frequency 4 or more
    at_risk    recency 2 or less, frequency 3 or more
    lost       recency 1
    new        one order, recency 4 or more
    occasional everybody else

An order counts until it is paid back as a whole. What is paid back is taken off the value; a refund that names no
amount is of the whole order. Pure: the moment is passed in.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

DAY_MS = 86_400_000
RECENCY_DAYS = (30, 90, 180, 365)
FREQUENCY_ORDERS = (10, 5, 3, 2)
MONETARY_VALUES = (1_000, 500, 200, 50)
TOLERANCE = 0.005
"""Half a cent: amounts are binary fractions."""


class Order(msgspec.Struct, frozen=True, array_like=True):
    """An order, or what was paid back of one (`sign` -1, else 1). `order`: a hash of its number."""

    order: int
    time_ms: int
    value: float
    currency: str
    sign: int


class Facts(msgspec.Struct, frozen=True):
    """What is summed up of one identifier or more. Times in milliseconds since 1970.

    Sessions by their hashes. Categories, channels and devices: each with the visits in which it was seen.
    """

    first_ms: int
    last_ms: int
    sessions: frozenset[int] = frozenset()
    orders: frozenset[Order] = frozenset()
    categories: frozenset[tuple[str, int]] = frozenset()
    channels: frozenset[tuple[str, int]] = frozenset()
    devices: frozenset[tuple[str, int]] = frozenset()


class Rfm(msgspec.Struct, frozen=True):
    """Scores from 1 to 5, 0 without an order, and the class."""

    recency: int
    frequency: int
    monetary: int
    name: str


class Computed(msgspec.Struct, frozen=True):
    """What is computed of a person. Times in milliseconds since 1970, 0: never. `value`: by currency, less refunds."""

    first_seen_ms: int
    last_seen_ms: int
    sessions: int
    orders: int
    value: dict[str, float]
    first_order_ms: int
    last_order_ms: int
    favourite_category: str
    categories: dict[str, int]  # visits by category, most first; so the other two
    channels: dict[str, int]
    devices: dict[str, int]
    rfm: Rfm


def merge_facts(parts: Iterable[Facts]) -> Facts | None:
    """Return facts of several identifiers or months together, None of none."""
    found = list(parts)
    if not found:
        return None
    return Facts(
        first_ms=min(part.first_ms for part in found),
        last_ms=max(part.last_ms for part in found),
        sessions=frozenset().union(*(part.sessions for part in found)),
        orders=frozenset().union(*(part.orders for part in found)),
        categories=frozenset().union(*(part.categories for part in found)),
        channels=frozenset().union(*(part.channels for part in found)),
        devices=frozenset().union(*(part.devices for part in found)),
    )


def compute(facts: Facts | None, now_ms: int) -> Computed:
    """Return what follows from facts; from None: nobody was seen."""
    if facts is None:
        facts = Facts(0, 0)
    counted = settle_orders(facts.orders)
    times = [order.time_ms for order, _ in counted]
    value = sum_by_currency(counted)
    categories = _count(facts.categories)
    return Computed(
        first_seen_ms=facts.first_ms,
        last_seen_ms=facts.last_ms,
        sessions=len(facts.sessions),
        orders=len(counted),
        value=value,
        first_order_ms=min(times, default=0),
        last_order_ms=max(times, default=0),
        favourite_category=next(iter(categories), ""),
        categories=categories,
        channels=_count(facts.channels),
        devices=_count(facts.devices),
        rfm=classify(len(counted), max(times, default=0), value.get(find_main_currency(counted), 0.0), now_ms),
    )


def classify(orders: int, last_order_ms: int, paid: float, now_ms: int) -> Rfm:
    """Return scores and class, see the head of this module."""
    if not orders:
        return Rfm(0, 0, 0, "prospect")
    days = (now_ms - last_order_ms) / DAY_MS
    recency = 5 - sum(days > bound for bound in RECENCY_DAYS)
    frequency = 1 + sum(orders >= bound for bound in FREQUENCY_ORDERS)
    monetary = 1 + sum(paid >= bound for bound in MONETARY_VALUES)
    if min(recency, frequency, monetary) >= 4:
        name = "champion"
    elif recency >= 3 and frequency >= 4:
        name = "loyal"
    elif recency <= 2 and frequency >= 3:
        name = "at_risk"
    elif recency == 1:
        name = "lost"
    elif frequency == 1 and recency >= 4:
        name = "new"
    else:
        name = "occasional"
    return Rfm(recency, frequency, monetary, name)


def settle_orders(entries: Iterable[Order]) -> list[tuple[Order, float]]:
    """Return the orders that count, each once, and what is left of the value of each."""
    bought: dict[int, Order] = {}
    refunds: defaultdict[int, set[Order]] = defaultdict(set)
    # One order may have been told by the page and by the server: what was told first counts.
    for entry in sorted(entries, key=lambda entry: (entry.time_ms, entry.value, entry.currency)):
        if entry.sign > 0:
            bought.setdefault(entry.order, entry)
        else:
            refunds[entry.order].add(entry)
    counted = []
    for number, order in bought.items():
        back = refunds.get(number, set())
        is_whole = any(entry.value <= 0 for entry in back)
        returned = order.value if is_whole else min(order.value, sum(entry.value for entry in back))
        if not back or order.value - returned >= TOLERANCE:
            counted.append((order, order.value - returned))
    return counted


def sum_by_currency(counted: Iterable[tuple[Order, float]]) -> dict[str, float]:
    """Return what was paid for orders, by currency."""
    value = defaultdict[str, float](float)
    for order, left in counted:
        value[order.currency] += left
    return {currency: round(amount, 2) for currency, amount in sorted(value.items())}


def find_main_currency(counted: Iterable[tuple[Order, float]]) -> str:
    """Return the currency of most of these orders, of several the first by name; "" of none."""
    currencies = Counter(order.currency for order, _ in counted)
    return min(currencies, key=lambda word: (-currencies[word], word), default="")


def _count(seen: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return visits by word, most first, and among equals by the alphabet."""
    counts = Counter(word for word, _ in seen)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
