"""What the role `activate` follows: windows of batches, moments of `touched_keys`, pages of everybody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.audiences import following
from collector.audiences.changes import Reason
from collector.audiences.everybody import Everybody, list_members
from collector.audiences.following import (
    OVERLAP_MS,
    PORTION,
    Follower,
    Places,
    cut_portions,
    find_present,
    note,
    read_places,
    write_places,
)
from tests.audiences.audience_world import World, customer, visitor
from tests.running_store import RunningStore, make_event, make_id, make_row, running_store


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def world(running: RunningStore) -> World:
    running.clear()
    return World(running)


@given(st.dictionaries(st.integers(1, 10_000), st.integers(1, 3 * PORTION), max_size=30))
def test_portions_hold_every_moment_once(moments: dict[int, int]) -> None:
    """Small ones together, large ones in pieces of about PORTION rows; none is left out, and none comes twice."""
    portions = cut_portions(moments)
    held: dict[int, int] = {}
    for portion in portions:
        inside = [at_ms for at_ms in moments if portion.from_ms <= at_ms <= portion.to_ms]
        assert portion.pieces == 1 or len(inside) == 1
        assert sum(moments[at_ms] for at_ms in inside) // portion.pieces <= PORTION
        for at_ms in inside:
            held[at_ms] = held.get(at_ms, 0) + 1
    for at_ms, rows in moments.items():
        assert held[at_ms] == (rows // PORTION + 1 if rows > PORTION else 1)


def test_of_two_reasons_the_one_that_says_more_stays() -> None:
    """Who had an event and was merged at the same time is looked at because of the merge."""
    people: dict[str, Reason] = {}
    for reason in (Reason.EVENT, Reason.IDENTITY, Reason.TRAIT):
        note(people, "anna", reason)
    assert people == {"anna": Reason.IDENTITY}


@pytest.mark.engine
def test_a_backlog_comes_in_windows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stop not everything is read at once, however many batches wait."""
    monkeypatch.setattr(following, "WINDOW_EVENTS", 3)
    for number in range(1, 11):
        world.does(number)
    follower = Follower(world.store.writer, Places({"host-1": 1}))
    seen = []
    while (ahead := follower.look()).batches:
        keys = follower.read_people(ahead)
        seen.append(sorted(keys["main"]))
        follower.settle_batches(ahead)
    assert [len(keys) for keys in seen] == [3, 3, 3]
    assert sorted(key for keys in seen for key in keys) == sorted(visitor(number) for number in range(2, 11))
    assert ahead.is_all


@pytest.mark.engine
def test_hosts_are_followed_each_by_itself(world: World) -> None:
    """One whose map is behind does not hold the others up; one that is new begins at its first batch."""
    world.does(1)
    for host in ("host-2", "host-3"):
        for seq in (1, 2):
            row = make_row(seq, events=[make_event(seq + 50)], own_person_id=make_id(seq, int(host[-1])))
            world.store.load(row, host=host, seq=seq)
            world.list_batch(seq, pieces=1, host=host)
    world.stitched(1, "host-2")
    follower = Follower(world.store.writer, Places({"host-1": 0}))
    ahead = follower.look()
    assert ahead.hosts == {"host-1": 1, "host-2": 1}
    assert sorted(follower.read_people(ahead)["main"]) == sorted([visitor(1), make_id(1, 2)])
    follower.settle_batches(ahead)
    world.stitched(2, "host-3")
    assert follower.look().hosts == {"host-1": 1, "host-2": 1, "host-3": 2}


@pytest.mark.engine
def test_a_clock_that_was_put_back_hides_nothing(world: World) -> None:
    """What is touched from then on has a time before what was read last."""
    client = world.store.writer
    follower = Follower(client, find_present(client))
    now_ms = follower.places.touches_ms
    follower.places.touches_ms += 600_000
    client.command(
        "INSERT INTO touched_keys (at, cause, space_id, key)"
        f" VALUES (fromUnixTimestamp64Milli({now_ms}, 'UTC'), 'trait', 'main', '{visitor(1)}')"
    )
    for expected in ([visitor(1)], []):
        portions, moments = follower.find_portions()
        assert [key for portion in portions for key in follower.read_portion(portion)["main"]] == expected
        follower.settle_touches(moments)


@pytest.mark.engine
def test_a_row_that_shows_up_late_is_found(world: World) -> None:
    """By its time it should have been there before: a replica that is behind, a statement that ran."""
    client = world.store.writer
    follower = Follower(client, find_present(client))
    now_ms = follower.places.touches_ms

    def touch(number: int, at_ms: int) -> None:
        client.command(
            "INSERT INTO touched_keys (at, cause, space_id, key)"
            f" VALUES (fromUnixTimestamp64Milli({at_ms}, 'UTC'), 'trait', 'main', '{visitor(number)}')"
        )

    def read() -> list[str]:
        portions, moments = follower.find_portions()
        found = [key for portion in portions for key in follower.read_portion(portion)["main"]]
        follower.settle_touches(moments)
        return sorted(found)

    touch(1, now_ms + 10)
    assert read() == [visitor(1)]
    assert read() == []
    touch(2, now_ms - OVERLAP_MS // 2)
    assert read() == [visitor(2)]
    touch(3, now_ms + 10)
    assert read() == [visitor(1), visitor(3)], "the same moment has got more rows"
    touch(4, now_ms - 2 * OVERLAP_MS)
    assert read() == []


@pytest.mark.engine
def test_how_far_it_is_is_written_down(world: World) -> None:
    """By host, and the store's time; nothing where nobody ever was."""
    client = world.store.writer
    assert read_places(client) is None
    write_places(client, Places({"host-1": 7, "host-2": 3}, 12_345), 99)
    write_places(client, Places({"host-1": 8, "host-2": 3}, 12_346), 100)
    assert read_places(client) == Places({"host-1": 8, "host-2": 3}, 12_346, 100)


@pytest.mark.engine
def test_everybody_comes_and_a_page_stays_until_it_is_settled(world: World) -> None:
    """Visitors, customers without events, people with traits, members whose events are gone."""
    client = world.store.writer
    for number in range(1, 8):
        world.does(number)
    world.ties(visitor(1), customer(1), customer_id="1")
    base = {
        "space_id": "main",
        "customer_kind": "customer",
        "level": 3,
        "provisional": 0,
        "version": 1,
        "is_deleted": 0,
    }
    moment = "2090-01-01T00:00:00Z"
    world.store.put(
        "customers",
        {**base, "person_id": customer(2), "customer_id": "2", "customer_key": customer(2), "since": moment},
    )
    member = {"space_id": "main", "audience": "buyers", "since": moment, "change_id": make_id(1), "version": 1}
    world.store.put("audience_members", {**member, "person_id": make_id(9, 9), "is_member": 1})
    world.store.put("audience_members", {**member, "person_id": make_id(8, 9), "is_member": 0, "version": 2})
    everybody = Everybody(client, "main", page=3)
    seen: set[str] = set()
    pages = 0
    while (people := everybody.read()) is not None:
        assert everybody.read() == people
        everybody.settle()
        seen |= people
        pages += 1
    assert seen == {customer(1), customer(2), make_id(9, 9), *(visitor(number) for number in range(2, 8))}
    assert pages == 5
    assert Everybody(client, "elsewhere").read() is None
    assert list_members(client, "main", "buyers").read() == [make_id(9, 9)]
    assert list_members(client, "main", "others").read() is None
