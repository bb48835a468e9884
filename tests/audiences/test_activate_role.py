"""The role `activate` around its loop: statements in a thread of their own, patience with the store, webhooks woken."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from collector.audiences import role
from collector.audiences.activate_status import ActivateStatusFile, read_activate_status
from collector.audiences.role import Activator, has_work, run_activate
from collector.audiences.sql_runs import Found, SqlRuns
from collector.errors import StoreError, StoreUnavailable
from collector.store.client import open_client
from collector.use.config import UseConfig
from tests.audiences.audience_world import BUYERS, Declared, World, judge_buyers, visitor
from tests.running_store import RunningStore, running_store

pytestmark = pytest.mark.engine

LISTED = {
    "bad": Declared(sql="SELECT nonsense", every_s=30),
    "good": Declared(sql="SELECT toString(person) FROM somewhere", every_s=30),
    "buyers": Declared(),
}


class Statements:
    """Stands for the store that is asked an audience's statement: what each gives, or how it fails."""

    def __init__(self) -> None:
        self.people: set[str] = set()
        self.trouble: StoreError | None = StoreError("ClickHouse refused: no such column", 47)
        self.asked: list[str] = []

    def __call__(self, *asked: Any, **_: Any) -> Iterable[str]:
        audience = asked[-1]
        self.asked.append(audience.sql)
        if "nonsense" in audience.sql and self.trouble:
            raise self.trouble
        return list(self.people)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def world(running: RunningStore) -> World:
    running.clear()
    return World(running)


def test_a_bad_statement_does_not_stop_the_others(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so once for each cause, and is asked again in its time; lists enter and leave as they change."""
    statements = Statements()
    statements.people = {visitor(1), visitor(2)}
    loop = world.loop(LISTED)
    with open_client(world.store.config, world.store.keyring, "writer") as client:
        runs = SqlRuns(client, LISTED, statements)
        activator = Activator(loop, runs, ActivateStatusFile(tmp_path), LISTED)
        now_s = 0.0

        def turn() -> None:
            """Let half a minute pass: the statements are asked, and what they gave is taken over."""
            nonlocal now_s
            now_s += 30
            for name in ("bad", "good"):
                asked = len(statements.asked)
                runs._audiences = {name: LISTED[name]}
                runs.ask_due(now_s)
                assert len(statements.asked) == asked + 1
                while activator.turn() is not None:
                    pass

        turn()
        assert world.members("good") == {visitor(1), visitor(2)}
        assert world.members("bad") == set()
        statements.people = {visitor(2), visitor(3)}
        turn()
        assert world.members("good") == {visitor(2), visitor(3)}
        assert world.changes()[-1][1:] == ("leave", "time")
        said = capsys.readouterr().out
        assert said.count("the statement of an audience fails") == 1
        assert "no such column" in said
        statements.trouble = None
        turn()
        assert world.members("bad") == {visitor(2), visitor(3)}
        assert "works again" in capsys.readouterr().out
    assert {why for who, _, why in world.changes() if who == visitor(1)} == {"definition", "time"}
    world.check_story()


def test_statements_are_asked_in_a_thread(world: World) -> None:
    """One after the other, and again at once where what they gave was not taken over."""
    statements = Statements()
    statements.people = {visitor(1)}
    audiences = {"good": LISTED["good"]}
    before = threading.active_count()
    with (
        open_client(world.store.config, world.store.keyring, "writer") as client,
        SqlRuns(client, audiences, statements) as runs,
    ):
        for _ in range(2):
            found = None
            while found is None:
                found = runs.take()
            assert found == Found("good", {visitor(1): True})
            runs.again()
    assert threading.active_count() <= before


def test_a_store_that_is_away_is_waited_for(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line in the log, longer and longer pauses, and then everything that was missed."""
    is_away = False

    def judge(*arguments: Any, **more: Any) -> dict[str, frozenset[str]]:
        if is_away:
            raise StoreUnavailable("ClickHouse does not answer")
        return judge_buyers(*arguments, **more)

    woken: list[int] = []
    loop = world.run(world.loop(judge=judge))
    with SqlRuns(world.store.writer, {}, Statements()) as runs:
        activator = Activator(loop, runs, ActivateStatusFile(tmp_path), BUYERS, lambda: woken.append(1))
        assert activator.turn() is None
        is_away = True
        world.does(1)
        assert [activator.turn() for _ in range(3)] == [0.5, 1.0, 2.0]
        status = read_activate_status(tmp_path)
        assert status is not None
        assert status.trouble == "ClickHouse does not answer"
        assert loop.counts.errors == 3
        is_away = False
        while activator.turn() is not None:
            pass
    said = capsys.readouterr().out
    assert said.count("activate waits for the store") == 1
    assert said.count("activate goes on") == 1
    assert world.members() == {visitor(1)}
    assert woken == [1]


def test_the_role_keeps_audiences_until_it_is_told_to_stop(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `tagstitch activate` plays it: with its own clients, clocks and threads."""
    monkeypatch.setattr(role, "find_rules", lambda *_: (judge_buyers, Statements()))
    config = msgspec.structs.replace(world.store.config, data=str(tmp_path), activate_interval_s=0.02)
    stop = threading.Event()
    thread = threading.Thread(
        target=run_activate, args=(config, world.store.keyring, UseConfig(audiences=cast(Any, BUYERS)), stop)
    )
    thread.start()
    while not world.store.value("SELECT count() FROM audience_progress WHERE subject = 'audience:buyers'"):
        assert thread.is_alive()
    seq = world.does(1)
    while not world.members():
        assert thread.is_alive()
    stop.set()
    thread.join()
    sql = "SELECT value FROM audience_progress FINAL WHERE subject = 'batches:host-1'"
    assert world.store.value(sql) == str(seq)
    status = read_activate_status(tmp_path)
    assert status is not None
    assert status.counts.enters == 1


def test_the_last_audience_is_left(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is configured any more the role begins once more, lets everybody leave, and is not needed again."""
    monkeypatch.setattr(role, "find_rules", lambda *_: (judge_buyers, Statements()))
    monkeypatch.setattr(role, "LEFT_S", 0.2)
    world.does(1)
    world.run()
    ActivateStatusFile(tmp_path).write(is_last=True)
    assert has_work(UseConfig(), tmp_path)
    config = msgspec.structs.replace(world.store.config, data=str(tmp_path), activate_interval_s=0.02)
    stop = threading.Event()
    thread = threading.Thread(target=run_activate, args=(config, world.store.keyring, UseConfig(), stop))
    thread.start()
    while has_work(UseConfig(), tmp_path):
        assert thread.is_alive()
    stop.set()
    thread.join()
    assert not world.members()
    assert {(change, why) for _, change, why in world.changes()} == {("enter", "definition"), ("leave", "definition")}


def test_without_anything_configured_there_is_no_work(tmp_path: Path) -> None:
    """The supervisor starts no process then."""
    assert not has_work(UseConfig(), tmp_path)
    assert has_work(UseConfig(audiences=cast(Any, BUYERS)), tmp_path)
    assert has_work(UseConfig(webhooks=cast(Any, {"mailing": ""})), tmp_path)
