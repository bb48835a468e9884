"""Repair on random logs: what a dry run says is what then happens, and undoing gives the map of before, row for row."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from collector.errors import RepairError, RepairReason
from collector.identity.evidence import Evidence
from collector.identity.repair import Plan, Repairs
from collector.identity.selection import Selector
from tests.identity.repair_desk import Desk, check_prospect, compare_with
from tests.identity.story import click, hand_over, hours, key, name_value, reset, sign_in
from tests.running_store import RunningStore, running_store

pytestmark = [pytest.mark.engine, pytest.mark.long]
ROUNDS = max(1, int(os.environ.get("TAGSTITCH_TEST_EXAMPLES", "12")) // 8)
VISITORS, CUSTOMERS, EMAILS = ("A", "B", "C", "D"), ("K1", "K2", "K3"), ("E1", "E2")
REFUSALS = {RepairReason.NOTHING, RepairReason.CONFLICT, RepairReason.UNKNOWN}


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("random")) as store:
        yield store


def make_log(chance: random.Random) -> list[Evidence]:
    """Return what a few people do with a few browsers on one day: of everything something."""
    rows: list[Evidence] = []
    for place in range(chance.randint(6, 14)):
        at, visitor, customer = hours(1 + place), chance.choice(VISITORS), chance.choice(CUSTOMERS)
        proof = chance.choice(("cookie", "cookie", "script"))
        match chance.randrange(6):
            case 0 | 1:
                rows += sign_in(visitor, customer, at=at, proof=proof)
            case 2:
                rows += sign_in(visitor, customer, chance.choice(EMAILS), at=at, proof=proof)
            case 3:
                rows += click(visitor, customer, at, token=f"mail-{chance.randint(1, 2)}", proof=proof)
            case 4:
                rows += reset(visitor, visitor, at)
            case 5:
                other = chance.choice([name for name in VISITORS if name != visitor])
                rows += hand_over(visitor, other, at, token=f"cross-{place}")
    return rows


def choose_plan(chance: random.Random, repairs: Repairs, log: list[Evidence]) -> Plan:
    """Plan something. Raises RepairError where it makes no sense here."""
    kinds = {"K": "customer", "E": "email"}
    keys = [f"{kinds[name[0]]}={name_value(name)}" for name in (*CUSTOMERS, *EMAILS)]
    names = [*keys, *(f"visitor={name_value(name)}" for name in VISITORS)]
    match chance.randrange(6):
        case 0 | 1:
            return repairs.plan_merge(*chance.sample(keys, 2))
        case 2:
            return repairs.plan_split([chance.choice(names)])
        case 3:
            return repairs.plan_retract(Selector(token=f"mail-{chance.randint(1, 2)}"))
        case 4:
            return repairs.plan_retract(Selector(ids=tuple(row.evidence_id for row in chance.sample(log, 3))))
        case _:
            return repairs.plan_block(chance.choice(names))


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_what_is_said_is_what_happens_and_undoing_undoes_it(shared_store: RunningStore, seed: int) -> None:
    """Three changes after each other, each as foreseen in the map and in v_events; then back, each to the very rows."""
    chance = random.Random(seed)
    desk, log = Desk(shared_store), make_log(chance)
    desk.load(*log, events=[(name, hours(at)) for name in VISITORS for at in (0, 4, 8, 12, 16)], proof="cookie")
    desk.load(events=[(name, hours(at)) for name in VISITORS for at in (2, 6, 10)], proof="script")
    done = []
    for _ in range(8):
        try:
            plan = choose_plan(chance, desk.repairs, log)
        except RepairError as error:
            if error.reason not in REFUSALS:
                raise
            continue
        before, owners = desk.stand(), desk.owners()
        entry = desk.carry_out(plan)
        after = desk.stand()
        said, came = compare_with(plan, before, after)
        assert came == said, plan.action
        check_prospect(plan, after)
        moved = sum(desk.owners()[event] != person for event, person in owners.items())
        assert moved == plan.difference.events, plan.action
        done.append((entry, before))
        if len(done) == 3:
            break
    assert done, "no change made sense"
    assert desk.differs() == 0
    for entry, before in reversed(done):
        try:
            desk.undo(entry)
        except RepairError as error:
            # A block of what was blocked already, or a piece that a later undo has restored, changed nothing.
            if error.reason != RepairReason.NOTHING:
                raise
        assert desk.stand() == before, entry.action
    assert desk.differs() == 0


def test_random_logs_have_people_in_them(shared_store: RunningStore) -> None:
    """The logs above are worth repairing: most tie several identifiers to one person."""
    sizes = []
    for seed in range(ROUNDS):
        desk = Desk(shared_store)
        desk.load(*make_log(random.Random(seed)))
        people = desk.people()
        sizes.append(len(people) - len(set(people.values())))
        assert key("K1") not in people or people[key("K1")]
    assert sorted(sizes)[len(sizes) // 2] >= 2
