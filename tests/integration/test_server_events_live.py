"""Servers' events through a whole instance: HTTP in, real engine, what readers see; and a collector that dies."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from instance_process import RunningInstance, running_instance
from known_sites import PATIENCE_S, wait_for_site
from tagstitch_client import Client, Problem

from collector.sites.book import SiteBook
from tests.edge_examples import CHROME, make_id

pytestmark = pytest.mark.engine
PAGE = Path(__file__).parents[2] / "docs" / "server-events.md"
NUMBERS = itertools.count(1)


class Shop:
    """An instance with a site, and a server's key for it."""

    def __init__(self, instance: RunningInstance, key: str) -> None:
        self.instance = instance
        self.key = key

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send a request and return status and answer."""
        request = urllib.request.Request(
            f"{self.instance.url}/v1/{path}",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def until_events(self, where: str, count: int, columns: str = "event_name") -> list[dict[str, Any]]:
        """Return the events, once there are so many."""
        statement = f"SELECT {columns} FROM v_events WHERE {where} ORDER BY time, event_id"
        rows: list[dict[str, Any]] = self.instance.until(statement, lambda rows: len(rows) >= count)
        return rows


def wait_for_key(instance: RunningInstance, key: str) -> None:
    """Wait until web has heard of a key: from then on it knows it at once."""
    copy = instance.data / "web" / "sites.json"
    deadline = time.monotonic() + PATIENCE_S
    while key.split("_")[1] not in msgspec.json.decode(copy.read_bytes(), type=SiteBook).keys:
        assert time.monotonic() < deadline, instance.log[-2000:]
        time.sleep(0.05)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One instance for the module."""
    with running_instance(tmp_path_factory.mktemp("servers")) as running:
        running.command("site", "add", "shop", "--origin", "https://shop.example")
        made = running.command(
            "key", "create", "--scope", "track", "--scope", "identify-server", "--scope", "merge", "--site", "shop"
        )
        wait_for_site(running, "shop")
        wait_for_key(running, made.stdout.strip())
        yield Shop(running, made.stdout.strip())


def now() -> str:
    """Return this moment as calls have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def test_a_customer_without_a_visitor_is_known(shop: Shop) -> None:
    """The call centre's case: the event is the customer's, and the customer is in the list."""
    call = {"event": "Call", "userId": "phone-1", "messageId": "call-1", "timestamp": now(), "properties": {"min": 3}}
    assert shop.post("track", call) == (200, {"success": True})
    shop.instance.until("SELECT assurance FROM v_customers WHERE customer_id = 'phone-1'", lambda rows: bool(rows))
    columns = "customer_id, customer_id_then, assurance, is_bot, props.min::String AS minutes, visitor_proof"
    (row,) = shop.until_events("event_name = 'Call' AND customer_id = 'phone-1'", 1, columns)
    assert row == {
        "customer_id": "phone-1",
        "customer_id_then": "phone-1",
        "assurance": 4,
        "is_bot": 0,
        "minutes": "3",
        "visitor_proof": "server",
    }


def test_a_server_tells_who_a_browser_is(shop: Shop) -> None:
    """From its word on the visitor's events are the customer's, the browser's own too."""
    now_ms = int(time.time() * 1000)
    visitor = make_id(next(NUMBERS), now_ms)
    identify = {"userId": "4712", "anonymousId": visitor, "messageId": visitor, "timestamp": now()}
    assert shop.post("identify", identify)[0] == 200
    later_ms = int(time.time() * 1000) + 50
    beacon = {
        "v": 1,
        "s": "shop",
        "st": later_ms,
        "c": "ai",
        "d": visitor,
        "e": [{"i": make_id(next(NUMBERS), later_ms), "n": "page_view", "t": later_ms}],
    }
    headers = {"Origin": "https://shop.example", "User-Agent": CHROME}
    assert shop.instance.post(beacon, headers)[0] == 204
    where = f"visitor_id = '{visitor}' AND customer_id = '4712'"
    assert [row["event_name"] for row in shop.until_events(where, 2)] == ["identify", "page_view"]


def test_an_alias_makes_one_customer_of_two(shop: Shop) -> None:
    """Events of both are one person's."""
    for user in ("old-1", "new-1"):
        call = {"event": "Seen", "userId": user, "messageId": f"seen {user}", "timestamp": now()}
        assert shop.post("track", call)[0] == 200
    merge = {"userId": "new-1", "previousId": "old-1", "messageId": "merge", "timestamp": now()}
    assert shop.post("alias", merge)[0] == 200
    statement = "SELECT uniqExact(person_id) AS people, count() AS events FROM v_events WHERE event_name = 'Seen'"
    shop.instance.until(statement, lambda rows: rows[0] == {"people": 1, "events": 2})


def test_the_same_batch_a_hundred_times_is_one(shop: Shop) -> None:
    """In parallel, and again when it is in the store already."""
    batch = [
        {"type": "track", "event": "Repeated", "userId": n, "messageId": f"r-{n}", "timestamp": now()}
        for n in range(1, 10)
    ]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shop.post("batch", {"batch": batch}), range(100)))
    assert answers == [(200, {"success": True})] * 100
    shop.until_events("event_name = 'Repeated'", 9)
    assert shop.post("batch", {"batch": batch})[0] == 200
    assert shop.post("track", {"event": "Last", "userId": "1"})[0] == 200
    shop.until_events("event_name = 'Last'", 1)
    statement = "SELECT count() AS n, uniqExact(event_id) AS ids FROM v_events WHERE event_name = 'Repeated'"
    assert shop.instance.sql(statement) == [{"n": 9, "ids": 9}]


def test_what_is_refused_is_counted(shop: Shop) -> None:
    """With reason and field, for the site of the key."""
    status, answer = shop.post("track", {"event": "Order", "userId": "undefined"})
    assert (status, answer["error"], answer["field"]) == (400, "blocked", "userId")
    statement = "SELECT site_id, step FROM v_rejected WHERE reason = 'blocked' AND field = 'userId'"
    rows = shop.instance.until(statement, lambda rows: bool(rows))
    assert rows[0] == {"site_id": "shop", "step": "identify"}


def test_the_pages_example_arrives(shop: Shop) -> None:
    """Copied from docs/server-events.md, run by a shell, found in v_events."""
    found = re.search(r"<!-- tested: curl -->\s*```\w*\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    environ = {**os.environ, "TAGSTITCH_URL": shop.instance.url, "TAGSTITCH_KEY": shop.key}
    done = subprocess.run(
        ["bash", "-euc", found[1]], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, '{"success":true}'), done.stderr
    shop.until_events("event_name = 'Order completed' AND customer_id = '4711'", 1)


def test_the_pages_python_arrives(shop: Shop) -> None:
    """The same for the client: only address and key are the test's own."""
    found = re.search(r"<!-- tested: python -->.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    program = found[1].replace("https://collector.shop.example", shop.instance.url).replace("ts_…", shop.key)
    assert shop.key in program
    assert shop.instance.url in program
    visitor = make_id(next(NUMBERS), int(time.time() * 1000))
    names: dict[str, Any] = {"visitor_id": visitor}
    exec(program, names)
    assert names["client"].close()
    shop.until_events(f"visitor_id = '{visitor}' AND customer_id = '4711'", 1)


@pytest.mark.long
def test_no_event_is_lost_or_doubled_while_the_collector_dies(shop: Shop) -> None:
    """The client keeps calling while web is killed, again and again: each event is there once."""
    problems: list[Problem] = []
    client = Client(
        shop.instance.url, shop.key, on_error=problems.append, batch_size=20, interval_s=0.01, retry_base_s=0.05
    )
    ids: list[str] = []
    for _ in range(4):
        pid = shop.instance.role_pids().get("web")
        for _ in range(150):
            ids.append(client.track("Survivor", user_id=f"s-{len(ids) % 7}", properties={"number": len(ids)}))
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert client.flush(30.0), shop.instance.log[-2000:]
    assert client.close()
    assert problems == []
    assert len(set(ids)) == 600
    assert all(ids)
    statement = "SELECT count() AS n, uniqExact(event_id) AS ids FROM v_events WHERE event_name = 'Survivor'"
    shop.instance.until(statement, lambda rows: rows[0]["ids"] == 600)
    assert shop.instance.sql(statement) == [{"n": 600, "ids": 600}]
    stored = shop.instance.sql("SELECT toString(event_id) AS id FROM v_events WHERE event_name = 'Survivor'")
    assert {row["id"] for row in stored} == set(ids)


def test_a_call_that_is_sent_now_is_stored(shop: Shop) -> None:
    """Its receipt says so, and what is refused says why."""
    with Client(shop.instance.url, shop.key) as client:
        receipt = client.send_now("track", {"event": "At once", "userId": "1"})
        assert (receipt.is_stored, receipt.problems) == (True, ())
        refused = client.send_now("track", {"event": "At once", "userId": "guest"})
        assert [(problem.reason, problem.field) for problem in refused.problems] == [("blocked", "userId")]
    (row,) = shop.until_events("event_name = 'At once'", 1, "toString(event_id) AS id")
    assert row["id"] == receipt.message_id
