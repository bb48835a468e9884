"""Erasing through the whole instance: what is left on the disk, what stays of others, who comes back."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from collector.store.client import open_client
from tests.identity_drive import Browser, Space, World, running_world

pytestmark = pytest.mark.engine
CANARY = "Xk7canary"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for the module."""
    with running_world(tmp_path_factory.mktemp("erasure"), spaces=8) as running:
        write_plain(running)
        yield running


@pytest.fixture
def space(world: World) -> Space:
    """A space of the test's own."""
    return world.take_space()


def write_plain(world: World) -> None:
    """Let the store compress nothing from now on, so that whoever looks through its files finds what stands there."""
    with contextlib.closing(open_client(world.instance.config, world.instance.keyring, "writer")) as writer:
        tables = writer.query_rows(
            "SELECT name, create_table_query AS source FROM system.tables"
            " WHERE database = 'tagstitch' AND engine LIKE '%MergeTree'"
        )
        for table in tables:
            writer.command(f"ALTER TABLE {table['name']} MODIFY SETTING default_compression_codec = 'NONE'")
            for column in re.findall(r"^ +`(\w+)` .*CODEC\(", table["source"], re.MULTILINE):
                writer.command(f"ALTER TABLE {table['name']} MODIFY COLUMN {column} CODEC(NONE)")


def erase(space: Space, *names: str) -> dict[str, Any]:
    """Erase people of a space as an officer does, and return the certificate."""
    done = space.world.instance.command("privacy", "erase", *names, "--space", space.name, "--yes", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def find_bytes(folder: Path, *pieces: bytes) -> list[str]:
    """Return the files below a folder in which any of these bytes stand."""
    return sorted(
        f"{path.relative_to(folder)}: {piece!r}"
        for path in folder.rglob("*")
        if path.is_file() and (data := path.read_bytes())
        for piece in pieces
        if piece in data
    )


def spell_id(text: str) -> list[bytes]:
    """Return an id in every form in which it may stand in a file."""
    value = UUID(text)
    swapped = value.bytes[7::-1] + value.bytes[:7:-1]
    return [text.encode(), value.hex.encode(), value.bytes, swapped]


def test_nothing_is_left_of_a_person(space: Space) -> None:
    """After an erasure no file holds a mark that was planted wherever a person can leave one."""
    anna, ben = Browser(space), space.browser()
    anna.view(
        ago_h=3,
        p={"note": f"{CANARY}-prop", f"{CANARY}-name": 1},
        u=f"https://x.example/{CANARY}-path",
        h=f"{CANARY}-title",
    )
    anna.sign_in(customer=f"{CANARY}-customer", email=f"{CANARY}@shop.example", ago_h=2)
    ben.sign_in(customer="ben", ago_h=2)
    space.settle()
    folder = Path(space.world.instance.config.data)
    assert find_bytes(folder, CANARY.encode())
    certificate = erase(space, f"customer={CANARY}-customer")
    marks = [CANARY.encode(), CANARY.lower().encode(), *spell_id(anna.visitor)]
    assert find_bytes(folder, *marks) == []
    assert certificate["people"] == 1
    assert {place["place"]: place["rows"] for place in certificate["places"]}["events"] == 2
    assert space.who(ben) == ["ben"]
