"""A space that has blocked more identifiers than fit into one question, against a real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector.identity.blocks import read_blocked
from collector.identity.names import expand_names
from tests.identity.repair_desk import Desk
from tests.identity.story import hours, key, name_value, rekey, sign_in
from tests.running_store import RunningStore, running_store

pytestmark = [pytest.mark.engine, pytest.mark.long]

BLOCKS = 40_000


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("blocks")) as store:
        yield store


@pytest.fixture
def desk(shared_store: RunningStore) -> Desk:
    """The engine with empty tables, and very many blocks."""
    desk = Desk(shared_store)
    shared_store.writer.command(
        "INSERT INTO identity_blocks (space_id, key, kind, value, blocked, reason, actor, at, version)"
        " SELECT 'main', generateUUIDv4(), 'email', '', 1, '', 'test', now(), number FROM numbers({many:UInt32})",
        {"many": BLOCKS},
    )
    return desk


def test_many_blocks_hold_up_neither_stitch_nor_operators(desk: Desk) -> None:
    """They are no parameter of any question: people are stitched, an identifier is blocked and let go."""
    desk.load(*sign_in("A", "K1", at=hours(1)), events=[("A", hours(2))])
    assert desk.who("A") == ["K1"]
    name = f"customer={name_value('K1')}"
    desk.carry_out(desk.repairs.plan_block(name))
    assert desk.who("A") == [""]
    assert len(read_blocked(desk.store.writer, "main")) == BLOCKS + 1
    desk.carry_out(desk.repairs.plan_block(name, blocked=False))
    assert desk.who("A") == ["K1"]


def test_whoever_is_blocked_is_by_all_names_among_many(desk: Desk) -> None:
    """Two rotations: three names of one address, blocked by the one in the middle; asked for with all others too."""
    desk.load(*rekey("E1", "E2", at=hours(1)), *rekey("E2", "E3", at=hours(2)))
    desk.carry_out(desk.repairs.plan_block(f"email={name_value('E2')}"))
    blocked = read_blocked(desk.store.writer, "main")
    assert blocked >= {key("E1"), key("E2"), key("E3")}
    assert len(blocked) == BLOCKS + 3
    assert expand_names(desk.store.writer, "main", blocked) == blocked
