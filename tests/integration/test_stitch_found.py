"""Stitch against a real engine: what reviewers found, each a story after which the map was not what a rebuild makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from collector.identity import component
from collector.identity.difference import see_what_came
from collector.identity.standing import read_all_standing
from collector.identity.stitching import stitch as stitch_module
from tests.identity.repair_desk import Desk
from tests.identity.story import hand_over, hours, key, minutes, name_value, sign_in, take_back, tie
from tests.running_store import RunningStore, running_store

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("found")) as store:
        yield store


@pytest.fixture
def desk(shared_store: RunningStore, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An empty store, in which an identifier is shared from the fifth visitor or customer on."""

    def with_small_caps(make: Any) -> Any:
        def make_policy(*args: Any, **more: Any) -> Any:
            policy = make(*args, **more)
            kinds = tuple(msgspec.structs.replace(kind, max_visitors=4) for kind in policy.kinds)
            return replace(policy, kinds=kinds, max_visitors=4, max_customers_per_visitor=4)

        return make_policy

    for module in ("stitching.stitch", "blocks"):
        name = f"collector.identity.{module}.make_policy"
        monkeypatch.setattr(name, with_small_caps(stitch_module.make_policy))
    return Desk(shared_store)


def _count_hung(desk: Desk, person: str) -> int:
    """Return how many identifiers are in the map as this person's."""
    rows = read_all_standing(desk.store.writer, "main").map_rows.values()
    return sum(row.person_id == key(person) for row in rows)


def test_the_first_of_an_anonymous_group_is_let_go(desk: Desk) -> None:
    """H has no row of its own: four visitors that came from it are its, until the fifth shows that it is shared."""
    for number in range(4):
        desk.load(*hand_over(f"W{number}", "H", minutes(number)))
    assert _count_hung(desk, "H") == 4
    assert desk.differs() == 0
    desk.load(*hand_over("W4", "H", minutes(9)))
    assert _count_hung(desk, "H") == 0
    assert desk.differs() == 0


def test_a_blocked_visitor_counts_for_nobody(desk: Desk) -> None:
    """The fifth visitor has made K1 a shared value. It is blocked, so four are left, and they are K1's again."""
    for number, visitor in enumerate("ABCDX"):
        desk.load(*sign_in(visitor, "K1", at=minutes(number)))
    assert _count_hung(desk, "K1") == 0
    plan = desk.repairs.plan_block("visitor=" + name_value("X"))
    blocked = desk.carry_out(plan)
    assert len(plan.difference.moved) == 5
    assert see_what_came(desk.store.writer, "main", plan.prospect).moved == plan.difference.moved
    assert _count_hung(desk, "K1") == 5
    assert desk.differs() == 0
    desk.load(*sign_in("A", "K1", at=hours(2)))
    assert _count_hung(desk, "K1") == 5
    assert desk.differs() == 0
    desk.undo(blocked)
    assert _count_hung(desk, "K1") == 0
    assert desk.differs() == 0


def test_a_visitor_with_one_customer_less_is_somebodys_again(desk: Desk) -> None:
    """Five customers signed in on V, so it is nobody's; one is blocked, so that four are left: each has had V."""
    for number in range(5):
        desk.load(*sign_in("V", f"K{number}", at=hours(number)))
    assert _count_hung(desk, "K4") == 0
    plan = desk.repairs.plan_block("customer=value-K1")
    desk.carry_out(plan)
    assert see_what_came(desk.store.writer, "main", plan.prospect).moved == plan.difference.moved
    assert _count_hung(desk, "K4") == 2
    assert desk.differs() == 0


@pytest.mark.parametrize("turned", [False, True])
def test_what_shares_an_id_and_differs_stands_alike_before_and_after_a_merge(desk: Desk, turned: bool) -> None:
    """One id under two moments and proofs, received in either order: the engine's merges change nobody."""
    told = [tie("A", "K2", hours(10), id="told", proof="server"), tie("A", "K2", hours(20), id="told")]
    desk.load(*sign_in("A", "K1", at=hours(1)), events=[("A", hours(2)), ("A", hours(12)), ("A", hours(22))])
    for row in reversed(told) if turned else told:
        desk.load(row)
    assert desk.who("A") == ["K1", "K1", "K2"]
    assert desk.differs() == 0
    desk.store.writer.command("OPTIMIZE TABLE identity_evidence FINAL")
    assert desk.differs() == 0
    desk.load(*sign_in("A", "K2", at=hours(30)))
    assert desk.who("A") == ["K1", "K1", "K2"]
    assert desk.differs() == 0


@pytest.mark.parametrize(("gone", "hung"), [(8, 5), (7, 0)])
def test_a_value_seen_with_very_many_is_counted_as_one_seen_with_few(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, gone: int, hung: int
) -> None:
    """Of twelve visitors some are taken back: whether those left are too many does not hang on which come first."""
    monkeypatch.setattr(component, "SPARE_VISITORS", 1)  # so that five of a value's visitors are looked at first
    rows = [row for number in range(12) for row in sign_in(f"V{number}", "K1", at=minutes(number))]
    desk.load(*rows)
    assert _count_hung(desk, "K1") == 0
    ordered = sorted(rows, key=lambda row: row.a_key)
    desk.load(*take_back(ordered[:gone]))
    assert _count_hung(desk, "K1") == hung
    assert desk.differs() == 0
    desk.load(*sign_in("W", "K1", at=hours(1)))
    assert _count_hung(desk, "K1") == 0
    assert desk.differs() == 0
