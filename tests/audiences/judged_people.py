"""People for the rules: what they did, whose they are, what is said of them, and in which audiences that puts them.

tie(store, 1, visitor(1))                                       # visitor 1 is customer 1
store.load(*happen(1, Happened("purchase", 2, "/", "shoes", 1, 5)))
judge_one(store, rules('{ event = "purchase" }'), customer(1))  # {"a0"}
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from collector.audiences.compile import judge
from collector.audiences.configuration import AudienceConfig, read_audiences
from collector.event import LandingRow
from collector.profiles.definitions import Definitions, TraitConfig, TraitType
from collector.profiles.traits import NewTrait, write_traits
from tests.audiences.audience_world import customer
from tests.running_store import NOON_MS, RunningStore, make_event, make_id, make_row

DAY_S = 86_400
NOW_MS = NOON_MS + DAY_S * 1000
TRAITS = {
    "plan": TraitConfig(personal=False),
    "points": TraitConfig(personal=False, type=TraitType.INTEGER),
    "city": TraitConfig(),
}


class Happened(NamedTuple):
    """One event of the model. `days`: how long before NOW."""

    name: str
    days: float
    path: str
    category: str
    session: int
    value: float


def read(text: str) -> dict[str, AudienceConfig]:
    """Return audiences as a file has them."""
    return read_audiences(tomllib.loads(text), Path("use.toml"), TRAITS)


def rules(*tables: str, purpose: str = "") -> dict[str, AudienceConfig]:
    """Return an audience for each of these rules."""
    return read("".join(f'[a{n}]\npurpose = "{purpose}"\nall = [{table}]\n' for n, table in enumerate(tables)))


def map_row(key: str, person: str, kind: str = "visitor", **more: Any) -> dict[str, Any]:
    """Return a row of the map."""
    number = str(int(person[-12:], 16))
    row = {"space_id": "main", "key": key, "key_kind": kind, "person_id": person, "customer_id": number}
    return {**row, "customer_key": person, "valid_from": 0, "level": 3, "version": 1, **more}


def tie(store: RunningStore, number: int, *keys: str, **more: Any) -> None:
    """Make a customer, whose these visitors are."""
    person = customer(number)
    rows = [map_row(person, person, "customer", key_customer_id=str(number))]
    store.put("identity_map", *rows, *(map_row(key, person, **more) for key in keys))
    known = {"space_id": "main", "person_id": person, "customer_id": str(number), "customer_key": person, "version": 1}
    store.put("customers", known)


def happen(number: int, *events: Happened, **more: Any) -> list[LandingRow]:
    """Return the beacons of a visitor, one for each event."""
    rows = []
    for place, one in enumerate(events):
        props: dict[str, Any] = {"category": one.category}
        if one.value:
            props |= {"value": one.value, "currency": "EUR", "order_id": f"{number}-{place}"}
        after_s = DAY_S - one.days * DAY_S
        event = make_event(
            number * 1000 + place, after_s=after_s, name=one.name, url=f"https://shop.example{one.path}",
            props=json.dumps(props),
        )  # fmt: skip
        session = make_id(number * 1000 + one.session, 0x5)
        rows.append(make_row(number, after_s=after_s, session_id=session, events=[event], **more))
    return rows


def judge_one(store: RunningStore, audiences: Mapping[str, AudienceConfig], person: str) -> set[str]:
    """Return in which audiences somebody is."""
    found = judge(store.writer, audiences, "main", [person], now_ms=NOW_MS, keyring=store.keyring, traits=TRAITS)
    return set(found[person])


def believe(store: RunningStore, key: str, name: str, value: Any, level: int = 4) -> None:
    """Write what a server says of somebody."""
    said = [NewTrait(key, name, value, "server", level, NOON_MS)]
    assert write_traits(store.writer, store.keyring, Definitions(TRAITS, "main"), said) == 1
