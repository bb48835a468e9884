"""A store with a few people in it, and what leads a command to it.

Customers 1 to 4 by visitors of the same numbers; 5 is nobody known. 3 is restricted. 1 has granted marketing, 2 has
said no. All but 5 are in `buyers`, and were judged by the role.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from collector.profiles.definitions import Definitions, TraitConfig, TraitType
from collector.profiles.states import State, set_state
from collector.profiles.traits import NewTrait, write_traits
from collector.store.writer import insert_rows
from tests.audiences.audience_world import World, customer, visitor
from tests.running_store import NOON_MS, RunningStore, make_event, make_id, make_row

TRAITS = {
    "plan": TraitConfig(personal=False),
    "points": TraitConfig(type=TraitType.INTEGER, personal=False),
    "first_name": TraitConfig(),
}
USE = """
[traits.plan]
personal = false
[traits.points]
type = "integer"
personal = false
[traits.first_name]

[audiences.crowd]
purpose = ""
all = [{ event = "crowded", at_least = 1 }]

[audiences.buyers]
purpose = ""
all = [{ event = "purchase", at_least = 1 }]
"""
UNTIL = "2100-01-01"


def fill(store: RunningStore) -> World:
    """Fill an empty store."""
    world = World(store)
    for number in range(1, 5):
        name = f"C-{number}" if number != 2 else "=2+5"
        world.ties(customer(number), customer(number), kind="customer", customer_id=name)
        world.ties(visitor(number), customer(number), customer_id=name)
        known = {"space_id": "main", "person_id": customer(number), "customer_id": name, "customer_kind": "customer"}
        more = {"customer_key": customer(number), "level": 3, "provisional": 0, "since": NOON_MS / 1000}
        store.put("customers", {**known, **more, "version": number, "is_deleted": 0})
        world.does(number)
    events = [
        make_event(70, name="purchase", props='{"order_id": "A-1", "value": 120.5, "currency": "EUR"}'),
        make_event(72, after_s=9, name="purchase", props='{"order_id": "A-2", "value": 10, "currency": "EUR"}'),
        make_event(71, after_s=60, name="page_view", title="=HYPERLINK(1)", url="https://shop.example/lamps"),
    ]
    store.load(make_row(1, device="mobile", events=events))
    world.does(5, "page_view")
    world.run()
    definitions = Definitions(TRAITS)
    said = [
        *((1, "plan", "gold"), (1, "points", -7), (1, "first_name", "+Ada")),
        *((2, "plan", "-x"), (2, "first_name", "Bo")),
    ]
    values = [NewTrait(customer(number), name, value, "adapter:crm", 4, NOON_MS) for number, name, value in said]
    write_traits(store.writer, store.keyring, definitions, values)
    say(store, 1, "granted")
    say(store, 2, "denied")
    set_state(store.writer, "main", [customer(3), visitor(3)], State.RESTRICTED, now_ms=NOON_MS)
    return world


def say(store: RunningStore, number: int, state: str) -> None:
    """Write a customer's word on marketing."""
    row = {"space_id": "main", "key": customer(number), "purpose": "marketing", "state": state, "source": "list"}
    more = {"time": NOON_MS / 1000, "received_at": NOON_MS / 1000, "consent_id": make_id(number, 0xF)}
    insert_rows(store.writer, "consent_ledger", [{**row, **more}])


def make_options(store: RunningStore, folder: Path, port: int = 0) -> list[str]:
    """Return what leads a command to the store, and to the file with traits and audiences."""
    use_file = folder / "use.toml"
    use_file.write_text(USE)
    secrets = folder / "data" / "secrets.json"
    secrets.parent.mkdir(exist_ok=True)
    secrets.write_bytes(msgspec.json.encode(store.keyring))
    secrets.chmod(0o600)
    address = f"engine_port={port or store.config.engine_port}"
    return ["--data", str(secrets.parent), "--set", f"use_file={use_file}", "--set", address]
