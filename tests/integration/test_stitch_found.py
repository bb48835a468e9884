"""Stitch against a real engine: what reviewers found, each a story after which the map was not what a rebuild makes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from collector.identity import component
from collector.identity.difference import see_what_came
from collector.identity.standing import read_all_standing
from collector.identity.stitching import stitch as stitch_module
from collector.identity.stitching.stitch import Stitcher
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


@pytest.fixture
def pair(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[Stitcher]:
    """Two stitchers on the desk's store, which steps no more by itself."""
    monkeypatch.setattr(desk, "stitch", lambda: None)
    return [Stitcher(desk.store.writer, desk.store.config) for _ in range(2)]


def _finish(*stitchers: Stitcher) -> None:
    """Let stitchers work until neither finds anything, and once more: what was overtaken is done again then."""
    for _ in range(2):
        while sum(stitcher.step() for stitcher in stitchers):
            pass


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


@pytest.mark.long
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


@pytest.mark.parametrize(("gone", "hung"), [pytest.param(8, 5, marks=pytest.mark.long), (7, 0)])
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


def test_who_lets_go_again_sees_what_another_stitcher_has_attached(desk: Desk, pair: list[Stitcher]) -> None:
    """Both have seen K1 shared. It is not any more, and one of them hangs four on it; then it is again, and the other
    one, which had let go of it before, does both at once."""
    first, second = pair
    rows = [row for number in range(5) for row in sign_in(f"V{number}", "K1", at=minutes(number))]
    desk.load(*rows[:4])
    _finish(first, second)
    desk.load(*rows[4:])
    _finish(first, second)
    assert _count_hung(desk, "K1") == 0
    desk.load(*take_back(rows[:1]))
    _finish(second)
    assert _count_hung(desk, "K1") == 5
    desk.load(*sign_in("W", "K1", at=hours(1)))
    _finish(first)
    assert _count_hung(desk, "K1") == 0
    assert desk.differs() == 0
    _finish(second)
    assert desk.differs() == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.long
def test_two_stitchers_that_let_go_in_turn_end_where_one_would(desk: Desk, pair: list[Stitcher], seed: int) -> None:
    """Sign-ins and retractions around the cap, with either stitcher at work in between, or neither."""
    chance = random.Random(seed)
    standing: list[Any] = []
    for number in range(14):
        if len(standing) > 3 and chance.random() < 0.45:
            gone = chance.sample(standing, chance.randint(1, 2))
            standing = [row for row in standing if row not in gone]
            desk.load(*take_back(gone))
        else:
            rows = sign_in(f"V{number}", chance.choice(("K1", "K1", "K2")), at=minutes(number))
            standing += rows
            desk.load(*rows)
        for stitcher in chance.sample(pair, chance.randint(0, 2)):
            stitcher.step()
    _finish(*pair)
    assert desk.differs() == 0
