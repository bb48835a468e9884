"""The Python client: calls that never raise, batches that never change, and a word for each call that is lost."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tagstitch_client import Client, Problem
from tagstitch_client.calls import MAX_CALL_BYTES, CallError, make_call
from tagstitch_client.delivery import find_delay_s
from tagstitch_client.transport import Address, read_address

from tests.client.scripted_collector import CUT, ScriptedCollector, scripted_collector

ROOT = Path(__file__).parents[2]
KEY = "ts_aa_secret"
LATER = {"error": "unavailable", "retry": True}
SUCCESS: dict[str, Any] = {"success": True}


def open_client(collector: ScriptedCollector, problems: list[Problem] | None = None, **options: Any) -> Client:
    """Return a client that is quick to try again. `problems`: where what it could not send is put."""
    heard = problems.append if problems is not None else None
    return Client(collector.url, KEY, on_error=heard, **{"retry_base_s": 0.01, "interval_s": 0.01, **options})


# --- one call ------------------------------------------------------------------------------------------------


def test_a_call_has_an_id_and_a_time_from_its_beginning() -> None:
    """Both are part of what makes it one; a UUIDv7 tells the same time."""
    before_ms = int(datetime.now(UTC).timestamp() * 1000)
    message_id, body = make_call("track", {"event": "Order", "userId": None})
    call = json.loads(body)
    assert call.keys() == {"type", "event", "messageId", "timestamp"}
    assert call["messageId"] == message_id
    assert UUID(message_id).version == 7
    assert UUID(message_id).variant == "specified in RFC 4122"
    assert before_ms - 1 <= UUID(message_id).int >> 80 <= before_ms + 20_000
    assert call["timestamp"].endswith("Z")


def test_values_are_written_as_json() -> None:
    """Times, ids, sums and sets too; what JSON cannot hold names its field."""
    east = timezone(timedelta(hours=2))
    given = {"at": datetime(2026, 11, 18, 13, tzinfo=east), "id": UUID(int=1), "sum": Decimal("1.5"), "set": {1}}
    _, body = make_call(
        "track", {"properties": given, "timestamp": datetime(2026, 11, 18, 13, 0, 0, 5_999, tzinfo=east)}
    )
    call = json.loads(body)
    assert call["properties"] == {
        "at": "2026-11-18T11:00:00.000Z",
        "id": "00000000-0000-0000-0000-000000000001",
        "sum": 1.5,
        "set": [1],
    }
    assert call["timestamp"] == "2026-11-18T11:00:00.005Z"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"properties": {"a": object()}}, "properties"),
        ({"traits": {"a": math.nan}}, "traits"),
        ({"properties": {(1, 2): 3}}, "properties"),
        ({"timestamp": 17}, "timestamp"),
        ({"timestamp": datetime.min}, "timestamp"),
        ({"properties": {"a": "x" * MAX_CALL_BYTES}}, ""),
    ],
)
def test_what_makes_no_call_names_its_field(fields: dict[str, Any], field: str) -> None:
    """Never its value."""
    with pytest.raises(CallError) as caught:
        make_call("track", fields)
    assert caught.value.field == field
    assert "xxx" not in str(caught.value)


def test_a_deep_value_is_refused() -> None:
    """It does not run into the interpreter's own bound."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(CallError):
        make_call("track", {"properties": {"a": value}})


# --- the address ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "collector.example", "ftp://a", "http://collector.example", "https://"])
def test_a_wrong_address_is_said_at_once(url: str) -> None:
    """Where the program starts, not where its first event is lost. A key never travels in clear."""
    with pytest.raises(ValueError, match="http"):
        read_address(url)


def test_addresses() -> None:
    """A path before /v1 stays; plain http is for this machine, or for whoever says so."""
    assert read_address("https://c.example/t/") == Address("c.example", None, "/t", True)
    assert read_address("http://127.0.0.1:8000") == Address("127.0.0.1", 8000, "", False)
    assert read_address("http://collector:8000", allow_http=True) == Address("collector", 8000, "", False)


@pytest.mark.parametrize(
    "options", [{"key": ""}, {"key": "a\nb"}, {"batch_size": 501}, {"max_queue": 0}, {"interval_s": -1}]
)
def test_wrong_options_are_said_at_once(options: dict[str, Any]) -> None:
    """As a ValueError, from the constructor alone."""
    with pytest.raises(ValueError, match=r"key|batch_size"):
        Client("https://c.example", **{"key": KEY, **options})


# --- sending -------------------------------------------------------------------------------------------------


def test_calls_are_sent_in_batches() -> None:
    """Full ones at once, the rest after a moment or a flush; on one connection, with the key, packed."""
    with scripted_collector() as collector, open_client(collector, batch_size=3, interval_s=30.0) as client:
        ids = [client.track("Order", user_id=n, properties={"note": "x" * 500}) for n in range(7)]
        assert client.flush()
        assert [len(collector.calls(n)) for n in range(3)] == [3, 3, 1]
        assert [call["messageId"] for n in range(3) for call in collector.calls(n)] == ids
        assert collector.connections == 1
        assert collector.paths == ["/v1/batch"] * 3
        assert collector.headers[0]["authorization"] == f"Bearer {KEY}"
        assert collector.headers[0]["content-encoding"] == "gzip"


def test_each_kind_of_call_has_its_fields() -> None:
    """By their names on the wire; the site stands in the context, where a call's own word wins."""
    with scripted_collector() as collector:
        with open_client(collector, site="shop", interval_s=30.0) as client:
            client.track("Order", user_id="1", properties={"a": 1}, context={"ip": "203.0.113.7"}, message_id="m")
            client.identify("1", anonymous_id="b", traits={"plan": "gold"}, context={"siteId": "blog"})
            client.page("Shoes", anonymous_id="b", properties={"url": "https://shop.example/"})
            client.group("g", user_id="1", traits={"size": 3})
            client.alias("old", "1", timestamp="2026-11-18T11:00:00Z")
        calls = collector.calls(0)
    for call in calls:
        call.pop("timestamp")
        call.pop("messageId")
    shop = {"siteId": "shop"}
    assert calls == [
        {
            "type": "track",
            "event": "Order",
            "userId": "1",
            "properties": {"a": 1},
            "context": shop | {"ip": "203.0.113.7"},
        },
        {
            "type": "identify",
            "userId": "1",
            "anonymousId": "b",
            "traits": {"plan": "gold"},
            "context": {"siteId": "blog"},
        },
        {
            "type": "page",
            "name": "Shoes",
            "anonymousId": "b",
            "properties": {"url": "https://shop.example/"},
            "context": shop,
        },
        {"type": "group", "groupId": "g", "userId": "1", "traits": {"size": 3}, "context": shop},
        {"type": "alias", "previousId": "old", "userId": "1", "context": shop},
    ]


@pytest.mark.parametrize(
    "answer",
    [
        CUT,
        (503, LATER, {"Retry-After": "0"}),
        (429, LATER, {}),
        (500, {}, {}),
        (502, {}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        (200, {"page": "of some proxy"}, {}),
    ],
)
def test_without_a_definite_answer_the_same_bytes_come_again(
    answer: tuple[int, dict[str, Any], dict[str, str]],
) -> None:
    """Same ids, same times, same batch, until there is one; and nobody is told of a problem."""
    problems: list[Problem] = []
    with scripted_collector(answer, answer, answer) as collector, open_client(collector, problems) as client:
        client.track("Order", user_id="1")
        client.track("Order", user_id="2")
        assert client.flush()
        assert len(collector.bodies) >= 4
        assert len({body for body in collector.bodies if json.loads(body)["batch"][0] == collector.calls(0)[0]}) == 1
        assert problems == []


def test_a_delay_that_was_asked_for_is_kept() -> None:
    """Retry-After comes on top of our own; ours grows up to a minute, and is never the same for all."""
    for attempt in (0, 3, 50, 10_000):
        for _ in range(50):
            backoff_s = find_delay_s(attempt, 7.0, 0.5) - 7.0
            assert 0.25 * min(120, 2 ** min(attempt, 10)) <= backoff_s <= 60.0
    assert len({find_delay_s(5, 0.0, 0.5) for _ in range(50)}) > 40


def test_refused_calls_are_told_one_by_one() -> None:
    """By the answer's own words; the others of the batch are not sent again."""
    problems: list[Problem] = []
    rejected = [{"index": 1, "reason": "blocked", "field": "userId", "message": "names nobody"}]
    left_out = [{"index": 0, "reason": "shape", "field": "context.ip", "message": "no address"}]
    answer = (200, {"success": True, "rejected": rejected, "left_out": left_out}, {})
    with scripted_collector(answer) as collector, open_client(collector, problems, interval_s=30.0) as client:
        client.track("Order", user_id="1")
        client.track("Order", user_id="guest")
        assert client.flush()
        assert len(collector.bodies) == 1
    assert [(p.reason, p.field, p.message, p.call["userId"], p.is_kept) for p in problems] == [
        ("blocked", "userId", "names nobody", "guest", False),
        ("shape", "context.ip", "no address", "1", True),
    ]


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (401, {"error": "unauthorized", "message": "no key"}, "unauthorized"),
        (400, {"error": "count"}, "count"),
        (301, {}, "status 301"),
        (404, {"error": "site"}, "site"),
    ],
)
def test_a_refused_batch_is_told_call_by_call(status: int, text: dict[str, Any], reason: str) -> None:
    """And not sent again: the collector has said that it will not be taken."""
    problems: list[Problem] = []
    with scripted_collector((status, text, {})) as collector:
        with open_client(collector, problems, interval_s=30.0) as client:
            client.track("Order", user_id="1")
            client.track("Order", user_id="2")
        assert len(collector.bodies) == 1
    assert [(problem.reason, problem.call["userId"]) for problem in problems] == [(reason, "1"), (reason, "2")]


def test_a_batch_that_is_too_big_is_halved() -> None:
    """A collector may have lower bounds than ours; one call that is too big is told."""
    problems: list[Problem] = []
    too_big = (413, {"error": "size"}, {})
    with scripted_collector(too_big, too_big, too_big) as collector:
        with open_client(collector, problems, interval_s=30.0) as client:
            for n in range(4):
                client.track("Order", user_id=n)
        assert [len(json.loads(body)["batch"]) for body in collector.bodies] == [4, 2, 1, 1, 2]
    assert [problem.reason for problem in problems] == ["size"]


def test_what_cannot_be_written_is_told_and_never_raised() -> None:
    """The program's own work goes on."""
    problems: list[Problem] = []
    with scripted_collector() as collector, open_client(collector, problems) as client:
        assert client.track("Order", user_id="1", properties={"a": object()}) == ""
        assert client.track("Order", user_id="1", timestamp=17) == ""  # type: ignore[arg-type]
    assert [(problem.reason, problem.field) for problem in problems] == [("call", "properties"), ("call", "timestamp")]


def test_a_callback_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its fault is logged; the next call is sent."""

    def fail(problem: Problem) -> None:
        raise RuntimeError("in the callback")

    with scripted_collector((400, {"error": "shape"}, {})) as collector:
        with Client(collector.url, KEY, on_error=fail, interval_s=0.01) as client:
            client.track("Order", user_id="1")
            assert client.flush()
            client.track("Order", user_id="2")
            assert client.flush()
        assert len(collector.bodies) == 2
    assert "on_error failed" in caplog.text


def test_without_a_callback_the_log_hears(caplog: pytest.LogCaptureFixture) -> None:
    """The reason and the field, never a value."""
    caplog.set_level(logging.WARNING)
    refused = (400, {"error": "blocked", "field": "userId"}, {})
    with scripted_collector(refused) as collector, Client(collector.url, KEY, interval_s=0.01) as client:
        client.track("Order", user_id="secret-4711")
    assert "blocked userId" in caplog.text
    assert "4711" not in caplog.text


# --- the queue -----------------------------------------------------------------------------------------------


def test_the_queue_is_bounded() -> None:
    """What does not fit is told at once; what was queued is sent."""
    problems: list[Problem] = []
    with scripted_collector() as collector:
        collector.gate.clear()
        client = open_client(collector, problems, max_queue=5)
        ids = [client.track("Order", user_id=n) for n in range(8)]
        assert [bool(message_id) for message_id in ids] == [True] * 5 + [False] * 3
        assert [(problem.reason, problem.call["userId"]) for problem in problems] == [
            ("queue_full", n) for n in (5, 6, 7)
        ]
        assert not client.flush(0.05)
        collector.gate.set()
        assert client.close()
        sent = {call["userId"] for n in range(len(collector.bodies)) for call in collector.calls(n)}
    assert sent == set(range(5))


def test_closing_sends_what_waits_and_takes_no_more() -> None:
    """Twice is no error."""
    problems: list[Problem] = []
    with scripted_collector() as collector:
        client = open_client(collector, problems, interval_s=30.0)
        client.track("Order", user_id="1")
        assert client.close()
        assert client.close()
        assert client.track("Order", user_id="2") == ""
        assert [call["userId"] for call in collector.calls(0)] == ["1"]
    assert [problem.reason for problem in problems] == ["closed"]


def test_what_could_not_be_sent_before_the_end_is_told() -> None:
    """A collector that is away: after one last attempt each call comes back."""
    problems: list[Problem] = []
    with scripted_collector() as collector:
        url = collector.url
    client = Client(url, KEY, on_error=problems.append, batch_size=2, interval_s=0.0, retry_base_s=30.0)
    for n in range(5):
        client.track("Order", user_id=n)
    client.close(5.0)
    assert sorted(problem.call["userId"] for problem in problems) == [0, 1, 2, 3, 4]
    assert {problem.reason for problem in problems} <= {"unavailable", "closed"}


def test_a_flush_waits_for_what_was_there() -> None:
    """Not for what other threads queue behind it: else it would never end in a busy program."""
    with scripted_collector() as collector, open_client(collector, batch_size=1) as client:
        first = client.track("Order", user_id="first")
        stop = threading.Event()

        def go_on() -> None:
            while not stop.is_set() and client.track("Order", user_id="more"):
                stop.wait(0.001)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            assert client.flush(30.0)
        finally:
            stop.set()
            thread.join()
        assert collector.calls(0)[0]["messageId"] == first


def test_a_fault_of_the_library_is_told_and_passes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread lives on, and the next batch is sent."""
    problems: list[Problem] = []
    with scripted_collector((400, {"error": "shape"}, {})) as collector, open_client(collector, problems) as client:
        with monkeypatch.context() as patched:
            patched.setattr("tagstitch_client.delivery.judge_answer", lambda answer, calls: 1 / 0)
            client.track("Order", user_id="1")
            assert client.flush()
        client.track("Order", user_id="2")
        assert client.flush()
        assert len(collector.bodies) == 2
    assert [(problem.reason, problem.call["userId"]) for problem in problems] == [("fault", "1")]
    assert "could not be delivered" in caplog.text


def test_where_no_thread_can_start_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python starts none when it is about to end: the call is told, and the end is not held up."""
    problems: list[Problem] = []

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    client = Client("http://127.0.0.1:9", KEY, on_error=problems.append)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        assert client.track("Order", user_id="1") == ""
    assert client.close(5.0)
    assert [problem.reason for problem in problems] == ["call"]


def test_many_threads_may_call() -> None:
    """Each call is sent once."""
    with scripted_collector() as collector, open_client(collector) as client:

        def work(start: int) -> None:
            for n in range(start, start + 50):
                client.track("Order", user_id=n)

        threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 400, 50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush()
        sent = [call["userId"] for n in range(len(collector.bodies)) for call in collector.calls(n)]
    assert sorted(sent) == list(range(400))


_EXIT = """
import sys
from tagstitch_client import Client
Client(sys.argv[1], "ts_aa_secret", interval_s=30).track("Order", user_id="1")
"""
_FORK = """
import os, sys
from tagstitch_client import Client
client = Client(sys.argv[1], "ts_aa_secret", interval_s=30)
client.track("Order", user_id="parent")
child = os.fork()
if not child:
    client.track("Order", user_id="child")
    sys.exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize(("program", "users"), [(_EXIT, ["1"]), (_FORK, ["child", "parent"])])
def test_a_program_that_ends_has_sent_its_events(program: str, users: list[str]) -> None:
    """Without closing; and where it forks, each process sends its own, once."""
    with scripted_collector() as collector:
        environ = {**os.environ, "PYTHONPATH": str(ROOT / "clients" / "python")}
        subprocess.run([sys.executable, "-c", program, collector.url], check=True, timeout=60, env=environ)
        sent = [call["userId"] for n in range(len(collector.bodies)) for call in collector.calls(n)]
    assert sorted(sent) == users


# --- at once -------------------------------------------------------------------------------------------------


def test_a_call_that_is_sent_now_has_a_receipt() -> None:
    """It is on disk; and it was sent again, the same, until that was sure."""
    with scripted_collector(CUT, (503, LATER, {})) as collector, open_client(collector, site="shop") as client:
        receipt = client.send_now("track", {"event": "Order", "userId": "1"})
        assert (receipt.is_stored, receipt.problems) == (True, ())
        assert len(set(collector.bodies)) == 1
        assert collector.calls(0)[0]["messageId"] == receipt.message_id
        assert collector.calls(0)[0]["context"] == {"siteId": "shop"}


def test_a_call_that_is_not_stored_says_why() -> None:
    """Refused, never answered, or no call at all."""
    refused = (400, {"error": "blocked", "field": "userId", "message": "names nobody"}, {})
    with scripted_collector(refused, *[(503, LATER, {})] * 1_000) as collector, open_client(collector) as client:
        receipt = client.send_now("track", {"event": "Order", "userId": "guest"})
        assert (receipt.is_stored, [problem.reason for problem in receipt.problems]) == (False, ["blocked"])
        receipt = client.send_now("track", {"event": "Order", "userId": "1"}, timeout_s=0.1)
        assert (receipt.is_stored, [problem.reason for problem in receipt.problems]) == (False, ["unavailable"])
        assert receipt.message_id
        receipt = client.send_now("track", {"event": object()})
        assert (receipt.is_stored, [problem.reason for problem in receipt.problems]) == (False, ["call"])
