"""Changes in a real store reach a real receiver: signed, once where nothing breaks, in order for each person."""

from __future__ import annotations

import asyncio

import pytest

from collector.audiences.changes import make_change_id
from collector.profiles.states import State, set_state
from collector.webhooks.following import Follower
from tests.adapters.faulty_server import Request, by_path, give, hang, one_after_another
from tests.running_store import RunningStore, make_id
from tests.webhooks.receiver import (
    FAILED,
    TAKEN,
    add_changes,
    count_states,
    make_change,
    make_webhook,
    now_ms,
    running_receiver,
    running_sender,
    wait_until,
)

pytestmark = pytest.mark.engine


def test_a_change_is_told(store: RunningStore) -> None:
    """Type, time and data as described; signed; delivered once, and known as delivered."""
    with running_receiver() as receiver, running_sender(store, make_webhook(receiver.url)):
        change = make_change(1)
        add_changes(store, change)
        wait_until(lambda: count_states(store) == {"delivered": 1})
        assert receiver.told == [
            {
                "type": "audience.entered",
                "timestamp": change["at"],
                "data": {
                    "audience": "lamps",
                    "space": "main",
                    "person_id": change["person_id"],
                    "reason": "event",
                    "version": 1,
                    "change_id": change["change_id"],
                    "customer_id": "4001",
                },
            }
        ]
        assert receiver.requests[0].target == "/hook"
        assert receiver.requests[0].headers["content-type"] == "application/json"


def test_only_what_is_wanted_is_told(store: RunningStore) -> None:
    """Other audiences, other changes and other spaces are not; nor is what happened before the webhook was there."""
    with running_receiver() as receiver:
        add_changes(store, make_change(9, at=now_ms() - 5_000))
        webhooks = make_webhook(receiver.url, audiences=["lamps"], changes=["leave"], customer_ids=False)
        with running_sender(store, webhooks):
            add_changes(
                store,
                make_change(1),
                make_change(2, 2, audience="desks"),
                make_change(3, 2, space_id="other"),
                make_change(4, 2),
            )
            wait_until(lambda: count_states(store) == {"delivered": 1})
        assert [body["data"]["person_id"] for body in receiver.told] == [make_id(4, 0xDD)]
        assert receiver.told[0]["type"] == "audience.left"
        assert "customer_id" not in receiver.told[0]["data"]


def test_order_for_each_person(store: RunningStore) -> None:
    """While the first one fails the second waits; other people's do not."""
    ids: dict[str, int] = {}

    async def fail_first_of_one(request: Request, writer: asyncio.StreamWriter) -> None:
        person = request.body.decode().partition('"person_id":"')[2][:36]
        ids[person] = ids.get(person, 0) + 1
        is_failing = person == make_id(1, 0xDD) and ids[person] == 1
        await (FAILED if is_failing else TAKEN)(request, writer)

    with running_receiver(fail_first_of_one) as receiver, running_sender(store, make_webhook(receiver.url)):
        add_changes(store, make_change(1, 1), make_change(1, 2), make_change(1, 3), make_change(2, 1))
        wait_until(lambda: count_states(store) == {"delivered": 4})
        told = [(body["data"]["person_id"], body["data"]["version"]) for body in receiver.told]
    assert [version for person, version in told if person == make_id(1, 0xDD)] == [1, 1, 2, 3]
    assert told.index((make_id(2, 0xDD), 1)) < told.index((make_id(1, 0xDD), 2))


def test_a_dead_receiver_holds_up_nobody(store: RunningStore) -> None:
    """One hangs, the other gets all of a hundred meanwhile; each has its own id of the same change."""
    with running_receiver(by_path(hang=hang, fine=TAKEN)) as receiver:
        base = receiver.url.removesuffix("/hook")
        webhooks = make_webhook(f"{base}/hang", "hangs", timeout_s=60) | make_webhook(f"{base}/fine", "fine")
        with running_sender(store, webhooks):
            add_changes(store, *(make_change(person) for person in range(100)))
            wait_until(lambda: count_states(store, "fine") == {"delivered": 100})
            assert count_states(store, "hangs") == {"pending": 100}
        fine = {r.headers["webhook-id"] for r in receiver.requests if r.target == "/fine"}
        hung = {r.headers["webhook-id"] for r in receiver.requests if r.target == "/hang"}
        assert len(fine) == 100
        assert 1 <= len(hung) <= 8
        assert not fine & hung


def test_changes_that_come_late_are_told(store: RunningStore) -> None:
    """Another writer's clock is behind by half a minute, and one's is ahead by an hour: none is lost."""
    with running_receiver() as receiver, running_sender(store, make_webhook(receiver.url)) as sender:
        # A webhook is new: what is older than itself is not told. So it gets older first.
        store.writer.command(
            "INSERT INTO webhook_progress SELECT webhook, subject, since - 60, at, gone_at, address, version + 1,"
            " is_deleted FROM webhook_progress FINAL"
        )
        sender.stop()
        with running_sender(store, make_webhook(receiver.url)):
            add_changes(store, make_change(1, at=now_ms() + 3_600_000))
            wait_until(lambda: sum(count_states(store).values()) == 1)
            add_changes(store, make_change(2))
            wait_until(lambda: len(receiver.ids) == 1)
            add_changes(store, make_change(3, at=now_ms() - 30_000))
            wait_until(lambda: len(receiver.ids) == 2)
            same = now_ms()
            add_changes(store, make_change(4, at=same))
            wait_until(lambda: len(receiver.ids) == 3)
            add_changes(store, make_change(5, at=same))
            wait_until(lambda: len(receiver.ids) == 4)
    assert len(set(receiver.ids)) == 4


def test_a_receiver_that_is_gone(store: RunningStore) -> None:
    """410: what is pending is dropped, nothing new is made, another address begins anew."""
    with running_receiver(by_path(hook=give({}, 410), fine=TAKEN, new=TAKEN)) as receiver:
        fine = make_webhook(receiver.url.replace("hook", "fine"), "fine")
        with running_sender(store, make_webhook(receiver.url) | fine):
            add_changes(store, *(make_change(person) for person in range(40)))
            wait_until(lambda: count_states(store) == {"dropped": 40})
            add_changes(store, make_change(50))
            wait_until(lambda: count_states(store, "fine") == {"delivered": 41})
        with running_sender(store, make_webhook(receiver.url) | fine):
            add_changes(store, make_change(51))
            wait_until(lambda: count_states(store, "fine") == {"delivered": 42})
            assert count_states(store) == {"dropped": 40}
        with running_sender(store, make_webhook(receiver.url.replace("hook", "new"))):
            add_changes(store, make_change(52))
            wait_until(lambda: count_states(store).get("delivered") == 1)
    assert [request.target for request in receiver.requests].count("/new") == 1


def test_consent_that_was_withdrawn(store: RunningStore) -> None:
    """What was to be told of somebody before is dropped, but for the leave itself."""
    answers = one_after_another(*[FAILED] * 3, TAKEN)
    with running_receiver(answers) as receiver, running_sender(store, make_webhook(receiver.url)):
        add_changes(store, make_change(1, 1))
        wait_until(lambda: len(receiver.ids) == 1)
        wait_until(lambda: store.value("SELECT max(attempts) FROM webhook_deliveries") == 1)
        receiver.server.respond = TAKEN
        add_changes(store, make_change(1, 2, reason="consent"), make_change(2, 1))
        wait_until(lambda: count_states(store) == {"dropped": 1, "delivered": 2})
        told = [(body["type"], body["data"]["person_id"]) for body in receiver.told[1:]]
    assert sorted(told) == [("audience.entered", make_id(2, 0xDD)), ("audience.left", make_id(1, 0xDD))]


def test_a_webhook_of_enterings_alone_hears_of_nobody_who_has_withdrawn(store: RunningStore) -> None:
    """It is not told that they left, and not any more that they had entered."""
    person = make_id(1, 0xDD)
    with running_receiver(FAILED) as receiver, running_sender(store, make_webhook(receiver.url, changes=["enter"])):
        add_changes(store, make_change(1, 1))
        wait_until(lambda: len(receiver.ids) == 1)
        wait_until(lambda: store.value("SELECT max(attempts) FROM webhook_deliveries") == 1)
        withdrawn = make_change_id("main", "lamps", person, 2)
        add_changes(store, make_change(1, 2, reason="consent", change_id=withdrawn))
        receiver.server.respond = TAKEN
        add_changes(store, make_change(2, 1))
        wait_until(lambda: count_states(store) == {"dropped": 1, "delivered": 1})
    assert {body["data"]["person_id"] for body in receiver.told[1:]} == {make_id(2, 0xDD)}


def test_a_clock_that_was_put_back_hides_no_change(store: RunningStore) -> None:
    """What happens from then on has a time before what was told last."""
    follower = Follower(now_ms() + 600_000)
    add_changes(store, make_change(1, 1))
    (portion,) = follower.look(store.writer)
    assert [change.person_id for change in follower.read_page(store.writer, portion)] == [make_id(1, 0xDD)]
    follower.note(portion)
    assert follower.look(store.writer) == []


def test_people_who_were_erased(store: RunningStore) -> None:
    """Nobody is told that they entered; that they left is told."""
    person = make_id(1, 0xDD)
    set_state(store.writer, "main", [person], State.ERASED, now_ms=now_ms())
    with running_receiver() as receiver, running_sender(store, make_webhook(receiver.url)):
        add_changes(store, make_change(1, 1), make_change(1, 2), make_change(2, 1))
        wait_until(lambda: count_states(store) == {"dropped": 1, "delivered": 2})
    assert sorted(body["data"]["version"] for body in receiver.told) == [1, 2]
    assert [body["data"]["version"] for body in receiver.told if body["data"]["person_id"] == person] == [2]


def test_a_webhook_that_comes_back_is_new(store: RunningStore) -> None:
    """What happened while it was not configured is not told."""
    with running_receiver() as receiver:
        webhooks = make_webhook(receiver.url)
        with running_sender(store, webhooks):
            pass
        with running_sender(store, make_webhook(receiver.url, "another")):
            wait_until(lambda: store.value("SELECT countIf(webhook = 'mailing') FROM webhook_progress FINAL") == 0)
            add_changes(store, make_change(1))
            wait_until(lambda: count_states(store, "another") == {"delivered": 1})
        with running_sender(store, webhooks):
            add_changes(store, make_change(2))
            wait_until(lambda: count_states(store) == {"delivered": 1})


def test_a_backlog_is_worked_off(store: RunningStore) -> None:
    """Two thousand changes of people with several each: all arrive, each person's in their order, none twice."""
    with running_receiver() as receiver:
        webhooks = make_webhook(receiver.url)
        with running_sender(store, webhooks):
            pass
        rows = [make_change(number % 1_100, number // 1_100 + 1) for number in range(2_000)]
        add_changes(store, *rows)
        with running_sender(store, webhooks):
            wait_until(lambda: count_states(store) == {"delivered": 2_000}, 60)
    assert len(receiver.ids) == len(set(receiver.ids)) == 2_000
    seen: dict[str, int] = {}
    for body in receiver.told:
        person, version = body["data"]["person_id"], body["data"]["version"]
        assert version == seen.get(person, 0) + 1
        seen[person] = version
