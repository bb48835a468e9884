"""Customers: one row for each person whom the organisation knows, with what a profile computes of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from collector.exporting.allowed import Allowed
from collector.exporting.chosen import Chosen
from collector.exporting.columns import Column, Kind
from collector.exporting.pages import FIRST, Page
from collector.exporting.people import PAGE, Person, read_people
from collector.keyring import Keyring
from collector.profiles.computed import compute, find_main_currency, settle_orders
from collector.profiles.profile import Part
from collector.store.client import StoreClient

COLUMNS = (
    Column("customer_id"),
    Column("person_id"),
    Column("level", Kind.INTEGER),
    Column("provisional", Kind.BOOLEAN),
    Column("first_seen", Kind.TIME),
    Column("last_seen", Kind.TIME),
    Column("sessions", Kind.INTEGER),
    Column("orders", Kind.INTEGER),
    Column("value", Kind.NUMBER),
    Column("currency"),
    Column("value_by_currency"),
    Column("rfm"),
    Column("favourite_category"),
    Column("channels", Kind.TEXTS),
    Column("devices", Kind.TEXTS),
    Column("audiences", Kind.TEXTS),
)
IDS = 20_000
"""Customers listed at a time; each list is settled in smaller pages."""
_PARTS = frozenset((Part.COMPUTED, Part.AUDIENCES))
_COUNT = "SELECT count() AS rows FROM customers FINAL WHERE space_id = {space:String}"
_PEOPLE = """
SELECT toString(known.person_id) AS id FROM customers AS known FINAL
WHERE space_id = {space:String} AND known.person_id > {after:UUID}
ORDER BY known.person_id LIMIT {page:UInt32}
"""


class Customers:
    """All customers of a space. A Source."""

    name = "customers"

    def __init__(
        self,
        client: StoreClient,
        keyring: Keyring,
        allowed: Allowed,
        chosen: Chosen,
        *,
        now_ms: int,
    ) -> None:
        self._client = client
        self._keyring = keyring
        self._allowed = allowed
        self._chosen = chosen
        self._now_ms = now_ms
        self._space_id = chosen.definitions.space_id
        self.columns = (*COLUMNS, *chosen.columns)
        self.about: dict[str, Any] = {}

    def count(self) -> int:
        """Return how many there are."""
        return int(self._client.query_rows(_COUNT, {"space": self._space_id})[0]["rows"])

    def read(self) -> Iterator[Page]:
        """Yield them in pages, in the order of their person ids."""
        after = FIRST
        while True:
            params = {"space": self._space_id, "after": after, "page": IDS}
            ids = [row["id"] for row in self._client.query_rows(_PEOPLE, params)]
            if ids:
                after = ids[-1]
            for start in range(0, len(ids), PAGE):
                yield self._settle(ids[start : start + PAGE])
            if len(ids) < IDS:
                return

    def _settle(self, ids: list[str]) -> Page:
        found = read_people(
            self._client,
            self._keyring,
            self._chosen.definitions,
            ids,
            _PARTS | self._chosen.parts,
            now_ms=self._now_ms,
            only_customers=True,
        )
        granted = self._allowed.find_granted(found.people)
        rows = [self._make_row(person) for person in found.people.values() if person.person_id in granted]
        return Page(rows, len(ids), found.withheld, len(found.people) - len(rows))

    def _make_row(self, person: Person) -> tuple[Any, ...]:
        computed = compute(person.facts, self._now_ms)
        currency = find_main_currency(settle_orders(person.facts.orders)) if person.facts else ""
        customer = person.customer
        return (
            customer.value if customer else "",
            person.person_id,
            customer.level if customer else 0,
            bool(customer and customer.provisional),
            computed.first_seen_ms or None,
            computed.last_seen_ms or None,
            computed.sessions,
            computed.orders,
            computed.value.get(currency, 0.0),
            currency,
            msgspec.json.encode(computed.value).decode() if computed.value else "",
            computed.rfm.name,
            computed.favourite_category,
            tuple(computed.channels),
            tuple(computed.devices),
            tuple(membership.audience for membership in person.audiences),
            *self._chosen.read(person),
        )
