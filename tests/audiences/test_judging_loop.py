"""The role `activate` in a real store: who is touched is judged, and enters and leaves are told once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector.audiences.configuration import digest
from tests.audiences.audience_world import BUYERS, Declared, World, customer, judge_buyers, visitor
from tests.running_store import RunningStore, running_store

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def world(running: RunningStore) -> World:
    running.clear()
    return World(running)


def test_who_buys_enters_once(world: World) -> None:
    """An event, a member and a change; the next event of the same person changes nothing."""
    loop = world.run()
    world.does(1)
    world.does(2, "page_view")
    world.run(loop)
    assert world.members() == {visitor(1)}
    world.does(1)
    world.run(loop)
    assert world.changes() == [(visitor(1), "enter", "event")]
    assert (loop.counts.enters, loop.counts.leaves, loop.counts.batches) == (1, 0, 3)
    assert not loop.step()


def test_who_was_there_before_enters_by_the_definition(world: World) -> None:
    """The first start judges everybody, and a restart nobody."""
    world.does(1)
    world.run()
    assert world.changes() == [(visitor(1), "enter", "definition")]
    again = world.run()
    assert again.counts.judged == 1, "only the people of changes that may be unfinished"


def test_a_batch_waits_for_the_map_if_it_has_evidence(world: World) -> None:
    """Behind stitch: who signs in is judged when the map knows it. A batch without evidence waits for nobody."""
    loop = world.run()
    world.does(1, stitched=False)
    world.run(loop)
    assert world.members() == {visitor(1)}
    waiting = world.does(2, pieces=1, stitched=False)
    last = world.does(3, stitched=False)
    world.run(loop)
    assert world.members() == {visitor(1)}
    world.ties(visitor(2), customer(4711), customer_id="4711")
    world.stitched(waiting)
    world.run(loop)
    assert world.members() == {visitor(1), customer(4711), visitor(3)}
    assert loop.counts.batches == last


def test_a_batch_that_is_missing_in_the_list_is_waited_for(world: World) -> None:
    """What came with a later number is not judged before, so nothing is ever skipped."""
    loop = world.run()
    world.does(1)
    gap = next(world.seqs)
    world.does(2)
    world.run(loop)
    assert world.members() == {visitor(1)}
    world.list_batch(gap)
    world.run(loop)
    assert world.members() == {visitor(1), visitor(2)}


def test_who_is_merged_leaves_and_the_survivor_enters(world: World) -> None:
    """A sign-in gives the visitor's history to the customer. Taken back, both go back."""
    loop = world.run()
    world.does(1)
    world.run(loop)
    world.ties(visitor(1), customer(4711), customer_id="4711")
    world.run(loop)
    assert world.members() == {customer(4711)}
    assert sorted(world.changes()[1:]) == [(visitor(1), "leave", "identity"), (customer(4711), "enter", "identity")]
    world.ties(visitor(1), visitor(1), deleted=True)
    world.run(loop)
    assert world.members() == {visitor(1)}
    assert sorted(world.changes()[3:]) == [(visitor(1), "enter", "identity"), (customer(4711), "leave", "identity")]
    world.check_story()


def test_a_customer_merged_into_another_leaves(world: World) -> None:
    """The change names the customer by the id that is known of the person."""
    world.ties(customer(1), customer(1), kind="customer", customer_id="1")
    world.ties(visitor(1), customer(1), customer_id="1")
    loop = world.run()
    world.does(1)
    world.run(loop)
    assert world.members() == {customer(1)}
    assert world.store.value("SELECT customer_id FROM v_audience_changes") == "1"
    world.ties(customer(1), customer(2), kind="customer", customer_id="2")
    world.ties(visitor(1), customer(2), customer_id="2")
    world.run(loop)
    assert world.members() == {customer(2)}
    world.check_story()


def test_traits_and_consents_touch_without_a_batch(world: World) -> None:
    """A correction, a synchronisation, a consent taken back: found by the store's time."""
    judged: list[tuple[str, ...]] = []

    def judge(client: object, audiences: object, space_id: str, person_ids: list[str], *, now_ms: int) -> dict:  # type: ignore[type-arg]
        judged.append(tuple(sorted(person_ids)))
        return {}

    loop = world.run(world.loop(judge=judge))
    judged.clear()
    base = {"space_id": "main", "source": "adapter:crm", "level": 4, "value": '"gold"', "sealed": 0, "actor": ""}
    times = {"time": "2090-06-01T00:00:00Z", "keep_days": 0, "version": 1, "is_deleted": 0}
    world.store.put("traits", {**base, **times, "key": customer(7), "name": "plan"})
    world.run(loop)
    assert judged == [(customer(7),)]
    entry = {"purpose": "marketing", "state": "withdrawn", "source": "unsubscribe", "site_id": "", "policy_version": 1}
    more = {"actor": "", "proof": "", "consent_id": "c1", "batch_host": "", "batch_seq": 0}
    moments = dict.fromkeys(("time", "received_at"), "2090-06-01T00:00:00Z")
    world.store.put("consent_ledger", {"space_id": "main", "key": visitor(8), **entry, **more, **moments})
    world.run(loop)
    assert judged == [(customer(7),), (visitor(8),)]


def test_a_sweep_finds_what_time_alone_changes(world: World) -> None:
    """Every hour everybody is judged anew, with the time as the reason."""
    inside = True

    def judge(client: object, audiences: object, space_id: str, person_ids: list[str], *, now_ms: int) -> dict:  # type: ignore[type-arg]
        return {person: frozenset({"buyers"} if inside else ()) for person in person_ids}

    world.does(1)
    loop = world.run(world.loop(judge=judge))
    inside = False
    world.run(loop)
    assert world.members() == {visitor(1)}
    world.pass_s(3_600)
    world.run(loop)
    assert world.members() == set()
    assert world.changes()[-1] == (visitor(1), "leave", "time")
    assert loop.counts.rounds == 1


def test_a_changed_definition_is_judged_for_everybody(world: World) -> None:
    """Its digest is another one; its sentence alone changes nothing."""
    world.does(1)
    world.does(2, "page_view")
    world.run()
    readers = {"buyers": Declared(all=("page_view",))}
    world.run(world.loop(readers))
    assert world.members() == {visitor(2)}
    assert {reason for _, _, reason in world.changes()} == {"definition"}
    said = {"buyers": Declared(all=("page_view",), sentence="Whoever reads")}
    assert digest(said["buyers"]) == digest(readers["buyers"])
    told = len(world.changes())
    world.run(world.loop(said))
    assert len(world.changes()) == told
    assert world.store.value("SELECT sentence FROM audience_definitions FINAL") == "Whoever reads"


def test_an_audience_that_is_gone_is_left_by_everybody(world: World) -> None:
    """Nobody stays in what nobody can see any more; and who comes back enters anew."""
    world.does(1)
    world.run()
    world.run(world.loop({}))
    assert world.members() == set()
    assert world.changes()[-1] == (visitor(1), "leave", "definition")
    assert world.store.value("SELECT count() FROM audience_definitions FINAL") == 0
    world.run()
    assert world.members() == {visitor(1)}
    world.check_story()


def test_who_was_away_for_longer_than_is_kept_judges_everybody(world: World) -> None:
    """Whom batches touched is known for a day: afterwards everybody may have been."""
    loop = world.run()
    loop.close()
    world.does(1)
    world.store.writer.command("TRUNCATE TABLE touched_people")
    world.store.put(
        "audience_progress",
        {"space_id": "", "subject": "touches", "value": "1700000000000", "version": 9_999_999_999_999},
    )
    world.run()
    assert world.members() == {visitor(1)}
    assert world.changes() == [(visitor(1), "enter", "time")]


def test_one_bad_audience_does_not_stop_the_others(world: World) -> None:
    """It is left out, said, and judged for everybody once it works."""
    both = {**BUYERS, "ill": Declared(all=("broken",))}
    loop = world.loop(both)
    world.does(1)
    world.run(loop)
    assert world.members() == {visitor(1)}
    assert loop.counts.errors == 1
    assert loop.is_judged("main", "buyers", digest(BUYERS["buyers"]))
    assert not loop.is_judged("main", "ill", digest(both["ill"]))
    world.pass_s(60)
    world.run(loop)
    assert loop.counts.errors == 2
    well = {**BUYERS, "ill": Declared(all=("purchase",), sentence="Well again")}
    world.run(world.loop(well))
    assert world.members("ill") == {visitor(1)}


def test_many_keys_are_judged_in_portions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a rebuild of the map very many have changed: fresh events are judged in between."""
    monkeypatch.setattr("collector.audiences.following.PORTION", 10)
    loop = world.run()
    rows = 95
    values = ", ".join(f"('identity', 'main', '{visitor(number)}')" for number in range(rows))
    world.store.writer.command(f"INSERT INTO touched_keys (cause, space_id, key) VALUES {values}")
    world.pass_s(2)
    assert loop.step()
    assert loop.round[0] == "what has changed beside events"
    world.does(1)
    assert loop.step()
    assert world.members() == {visitor(1)}
    assert loop.round[0], "the portions are not done"
    before = loop.counts.judged
    world.run(loop)
    assert loop.counts.judged - before >= rows - 30
    assert loop.round == ("", 0)
    calls = loop.counts.judged
    world.run(loop)
    assert loop.counts.judged == calls, "what was read is not read again"


def test_a_judge_is_never_asked_about_other_spaces(world: World) -> None:
    """People of a space without audiences cost nothing."""
    elsewhere = {"buyers": Declared(space="elsewhere")}
    world.does(1)
    loop = world.run(world.loop(elsewhere, judge=judge_buyers))
    world.does(2)
    world.run(loop)
    assert (world.changes(), loop.counts.judged) == ([], 0)
