"""Exposures and purchases as beacons of visitors, and ties of visitors to customers, for tests with a store."""

from __future__ import annotations

import itertools
import json
from typing import Any

from collector.event import LandingRow
from tests.running_store import NOON_MS, RunningStore, make_event, make_id, make_row

_numbers = itertools.count(1)


def visitor_key(visitor: int) -> str:
    """Return the own person id of a visitor, as `make_row` gives it."""
    return make_id(visitor, 0xB)


def customer_key(customer: int) -> str:
    """Return the own person id of a customer."""
    return make_id(customer, 0xC)


def tell(visitor: int, name: str, after_s: float = 0, props: dict[str, Any] | None = None, **more: Any) -> LandingRow:
    """Return a beacon of one event."""
    event = make_event(next(_numbers), after_s=after_s, name=name, props=json.dumps(props or {}))
    return make_row(visitor, after_s=after_s, events=[event], **more)


def expose(visitor: int, action: str = "shown", after_s: float = 0, offer: str = "letter", **more: Any) -> LandingRow:
    """Return the beacon of an offer that was shown, held out or clicked."""
    return tell(visitor, f"offer_{action}", after_s, {"offer": offer, "slot": "shelf"}, **more)


def tie(store: RunningStore, ties: dict[int, int], *, version: int = 1, people: dict[int, int] | None = None) -> None:
    """Write the map: visitors of customers. `people`: customers that are part of another one."""
    known = {**dict.fromkeys(ties.values()), **(people or {})}
    merged = {customer: (known[customer] or customer) for customer in known}
    head = {"space_id": "main", "level": 3, "version": version}

    def row(key: str, kind: str, customer: int) -> dict[str, Any]:
        owner = merged[customer]
        ids = {"person_id": customer_key(owner), "customer_id": str(owner), "customer_key": customer_key(owner)}
        return {**head, **ids, "key": key, "key_kind": kind}

    rows = [row(visitor_key(visitor), "visitor", customer) for visitor, customer in ties.items()]
    rows += [{**row(customer_key(one), "customer", one), "key_customer_id": str(one)} for one in merged]
    store.put("identity_map", *rows)


def at_ms(after_s: float) -> int:
    """Return the moment so many seconds after noon."""
    return NOON_MS + int(after_s * 1000)
