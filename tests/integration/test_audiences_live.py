"""Audiences on a whole instance: from a beacon to a member, and what a sign-in changes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from identity_drive import Browser, Space, World, running_world

pytestmark = pytest.mark.engine

USE = """
[audiences.buyers]
sentence = "Whoever has bought in the last month"
purpose = ""
space = "s0"
all = [{ event = "purchase", within_days = 30, at_least = 1 }]

[audiences.named]
sentence = "Everybody whom we know by name, asked as a statement"
purpose = ""
space = "s0"
every_s = 30
sql = "SELECT person_id FROM v_customers WHERE space_id = 's0'"
"""
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("audiences")
    use_file = folder / "use.toml"
    use_file.write_text(USE)
    with running_world(folder, spaces=1, options=(f"use_file={use_file}",)) as world:
        yield world


def buy(browser: Browser) -> None:
    """Buy something, now."""
    assert browser.send(browser.make_event("purchase", 0.0)).status in (200, 204)


def read_members(space: Space, audience: str) -> list[tuple[str, str]]:
    """Return the members, as person and customer."""
    rows = space.query(
        "SELECT toString(person_id) AS person, customer_id FROM v_audience_members"
        " WHERE space_id = {space:String} AND audience = {audience:String} ORDER BY customer_id, person",
        audience=audience,
    )
    return [(row["person"], row["customer_id"]) for row in rows]


def read_changes(space: Space) -> list[tuple[str, str, str]]:
    """Return who entered or left `buyers`, and why, in order."""
    rows = space.query(
        "SELECT toString(person_id) AS person, change, reason FROM v_audience_changes"
        " WHERE space_id = {space:String} AND audience = 'buyers' ORDER BY at, change"
    )
    return [(row["person"], row["change"], row["reason"]) for row in rows]


def await_members(space: Space, audience: str, wanted: list[tuple[str, str]]) -> None:
    """Wait until exactly these are members."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := read_members(space, audience)) != wanted:
        assert time.monotonic() < deadline, f"still {found}\n{space.world.instance.log[-3000:]}"
        time.sleep(0.05)


@pytest.mark.long
def test_a_purchase_makes_a_member_and_a_sign_in_a_customer(world: World) -> None:
    """The visitor enters by an event. When they sign in, the visitor leaves and the customer enters, by identity: all
    that the visitor has done is the customer's. A second device of theirs changes nothing."""
    space = world.take_space()
    anna = space.browser()
    buy(anna)
    deadline = time.monotonic() + PATIENCE_S
    while not (found := read_members(space, "buyers")):
        assert time.monotonic() < deadline, world.instance.log[-3000:]
        time.sleep(0.05)
    [(visitor, nobody)] = found
    assert nobody == ""
    assert read_changes(space) == [(visitor, "enter", "event")]

    anna.sign_in(customer="anna")
    deadline = time.monotonic() + PATIENCE_S
    while "anna" not in (customers := space.customers()):
        assert time.monotonic() < deadline, world.instance.log[-3000:]
        time.sleep(0.05)
    person = customers["anna"]
    await_members(space, "buyers", [(person, "anna")])
    assert sorted(read_changes(space)[1:]) == sorted([(visitor, "leave", "identity"), (person, "enter", "identity")])

    phone = space.browser()
    phone.sign_in(customer="anna")
    buy(phone)
    space.settle()
    ben = space.browser()
    buy(ben)
    deadline = time.monotonic() + PATIENCE_S
    while len(read_members(space, "buyers")) < 2:
        assert time.monotonic() < deadline, world.instance.log[-3000:]
        time.sleep(0.05)
    assert len(read_changes(space)) == 4, "the second device and its purchase told nothing"

    instance = world.instance
    said: dict[str, Any] = json.loads(instance.command("status", "--json", check=False).stdout)
    assert "activate" in {role["name"] for role in said["roles"]} | {use["name"] for use in said.get("uses", [])}
    assert "activate" in instance.role_pids()
    text = instance.command("status", "--once", check=False).stdout
    assert "activate" in text
