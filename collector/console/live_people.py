"""Why the demo shop shows its customers what it shows them: the facts of each, as the live page lists them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from collector.console.catalogue import CUSTOMERS
from collector.offers.configuration import OfferConfig

MAX_PEOPLE = 3
MAX_CHARS = 80


class LiveFact(msgspec.Struct, frozen=True):
    """One fact of a customer. `part`: audience, trait or offer.

    Of a trait `value`, `source` and `level` are what is believed, who said it and how surely; of an offer `value` is
    clicked, if ever, else shown or held_out, `source` the slot, and `times` how often it was in view.
    """

    part: str
    name: str
    value: str
    source: str
    level: int
    times: int
    since_ms: int


class LivePerson(msgspec.Struct, frozen=True):
    """A customer of late, and what is known of them."""

    person_id: str
    customer_id: str
    customer_name: str
    facts: tuple[LiveFact, ...]


class LiveOffer(msgspec.Struct, frozen=True):
    """What the live page says of an offer: whom it is for, and how many are held out."""

    name: str
    audience: str
    hold_out: float
    sentence: str


def make_people(rows: Iterable[Mapping[str, Any]]) -> tuple[LivePerson, ...]:
    """Make people of the rows of live_people.sql: long texts cut, demo customers named."""
    names = {customer.customer_id: customer.name for customer in CUSTOMERS}
    facts: dict[tuple[str, str], list[LiveFact]] = {}
    for row in rows:
        mine = facts.setdefault((str(row["person_id"]), str(row["customer_id"])), [])
        if row["part"]:
            mine.append(msgspec.convert({**row, **_shorten(row)}, LiveFact))
    return tuple(
        LivePerson(person_id, customer_id, names.get(customer_id, ""), tuple(mine))
        for (person_id, customer_id), mine in facts.items()
    )


def describe_offers(offers: Iterable[OfferConfig]) -> list[LiveOffer]:
    """Return what the page says of offers."""
    return [LiveOffer(one.name, one.audience, one.hold_out, one.sentence) for one in offers]


def _shorten(row: Mapping[str, Any]) -> dict[str, str]:
    value = str(row["value"])
    if row["part"] == "trait":
        said = json.loads(value)
        value = said if isinstance(said, str) else value
    return {"name": str(row["name"])[:MAX_CHARS], "value": value[:MAX_CHARS]}
