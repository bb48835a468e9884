"""The role `activate` killed at any write, and two of them at once: nothing is lost, nothing is told twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import pytest

from collector.audiences.judging_loop import CHECK_S, JudgingLoop
from collector.errors import StoreError, StoreUnavailable
from collector.store.client import open_client
from tests.audiences.audience_world import BUYERS, World, customer, judge_buyers, visitor
from tests.running_store import RunningStore, running_store

pytestmark = [pytest.mark.engine, pytest.mark.chaos]

TABLES = ("audience_changes", "audience_members", "audience_progress")


class Killed(BaseException):
    """Nobody catches it, as nobody catches SIGKILL."""


class Killer:
    """Kills at the n-th write to a table."""

    def __init__(self, table: str, times: int = 1) -> None:
        self.table, self.left = table, times

    def __call__(self, table: str) -> None:
        if table == self.table:
            self.left -= 1
            if self.left == 0:
                raise Killed


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def world(running: RunningStore) -> World:
    running.clear()
    return World(running)


def run_until_killed(world: World, loop: JudgingLoop) -> bool:
    """Let a role work; returns whether it was killed."""
    try:
        world.run(loop)
    except Killed:
        return True
    return False


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.long)])
def test_killed_before_a_write_the_next_one_ends_the_same(world: World, table: str, times: int) -> None:
    """Members and changes are those of a role that nobody killed."""
    world.does(1)
    world.run()
    world.does(2)
    world.does(3)
    world.ties(visitor(1), customer(4711), customer_id="4711")
    killed = run_until_killed(world, world.loop(before_write=Killer(table, times)))
    assert killed or times == 2
    world.run()
    assert world.members() == {visitor(2), visitor(3), customer(4711)}
    assert sorted((who, what) for who, what, _ in world.changes()) == sorted(
        [
            (visitor(1), "enter"),
            (visitor(1), "leave"),
            (customer(4711), "enter"),
            (visitor(2), "enter"),
            (visitor(3), "enter"),
        ]
    )
    world.check_story()


def test_what_was_told_before_a_kill_stays_told(world: World) -> None:
    """Killed between change and member's row, and when the next one looks the person has gone: entered, and left."""
    world.run()
    world.does(1)
    assert run_until_killed(world, world.loop(before_write=Killer("audience_members")))
    assert world.members() == set()
    world.ties(visitor(1), customer(4711), customer_id="4711")
    world.run()
    assert world.members() == {customer(4711)}
    told = world.changes()
    assert [(what, why) for who, what, why in told if who == visitor(1)] == [("enter", "event"), ("leave", "identity")]
    world.check_story()


def test_a_change_written_by_two_is_one(world: World) -> None:
    """Each of two writes it before the other's row is there, on two days: one id, one row, the earlier time."""
    world.run()
    world.does(1)
    second = world.loop()

    def interrupt(table: str) -> None:
        if table == "audience_members":
            world.pass_s(86_400)
            world.run(second)

    world.run(world.loop(before_write=interrupt))
    assert world.changes() == [(visitor(1), "enter", "event")]
    written = world.store.query(
        "SELECT count() AS rows, uniqExact(change_id) AS ids, min(at) AS first FROM audience_changes"
    )
    assert (written[0]["rows"], written[0]["ids"]) == (2, 1)
    assert world.store.value("SELECT at FROM v_audience_changes") == written[0]["first"]
    world.check_story()


def test_who_writes_late_what_it_judged_early_is_put_right(world: World) -> None:
    """One judges, sleeps, wakes after the other has seen more, and writes: the other judges those people again."""
    is_in = True

    def judge(client: object, audiences: object, space_id: str, person_ids: list[str], *, now_ms: int) -> dict:  # type: ignore[type-arg]
        return {person: frozenset({"buyers"} if is_in else ()) for person in person_ids}

    awake = world.run(world.loop(judge=judge))

    def sleep(table: str) -> None:
        nonlocal is_in
        if table == "audience_changes" and is_in:
            is_in = False
            world.run(awake)

    world.does(1)
    sleepy = world.loop(judge=judge, before_write=sleep)
    world.run(sleepy)
    assert world.members() == {visitor(1)}
    world.pass_s(CHECK_S + 10)
    world.run(awake)
    assert world.members() == set()
    assert [what for _, what, _ in world.changes()] == ["enter", "leave"]
    world.check_story()


def test_a_store_that_refuses_in_between_is_asked_again(world: World) -> None:
    """What was written of a step and what was not does not matter: it is done again."""
    refusals = iter([StoreUnavailable("gone"), StoreError("no", 241), StoreUnavailable("gone again")])

    def refuse(table: str) -> None:
        if table == "audience_members" and (error := next(refusals, None)):
            raise error

    loop = world.run(world.loop(before_write=refuse))
    world.does(1)
    errors = 0
    for _ in range(10):
        try:
            world.run(loop)
        except StoreError:
            errors += 1
            loop.forget()
    assert errors == 3
    assert world.members() == {visitor(1)}
    assert [(who, what) for who, what, _ in world.changes()] == [(visitor(1), "enter")]
    world.check_story()


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_at_once_that_are_killed_again_and_again(world: World, seed: int) -> None:
    """Buys, merges and separations go on; in the end what was told adds up, and everybody is in their place."""
    fate = random.Random(seed)
    world.run()
    stop = threading.Event()
    deaths = [0, 0]

    def live(place: int) -> None:
        chance = random.Random(f"{seed}-{place}")

        def maybe_die(table: str) -> None:
            if chance.random() < 0.15:
                raise Killed

        with open_client(world.store.config, world.store.keyring, "writer") as client:
            while not stop.is_set():
                loop = world.loop(before_write=maybe_die, client=client)
                try:
                    while not stop.is_set():
                        world.pass_s(0.5)
                        loop.step()
                except Killed:
                    deaths[place] += 1

    roles = [threading.Thread(target=live, args=(place,)) for place in range(2)]
    for role in roles:
        role.start()
    bought, tied = set(), {}
    for _ in range(40):
        number = fate.randrange(1, 9)
        match fate.randrange(3):
            case 0:
                world.does(number)
                bought.add(number)
            case 1:
                world.ties(visitor(number), customer(number % 3 + 1), customer_id=str(number % 3 + 1))
                tied[number] = number % 3 + 1
            case _:
                world.ties(visitor(number), visitor(number), deleted=True)
                tied.pop(number, None)
    stop.set()
    for role in roles:
        role.join()
    assert min(deaths) >= 1
    world.run()
    expected = {customer(tied[number]) if number in tied else visitor(number) for number in bought}
    assert world.members() == expected
    world.check_story()
    assert judge_buyers(world.store.writer, BUYERS, "main", sorted(expected), now_ms=0) == {
        person: frozenset({"buyers"}) for person in expected
    }
