"""A whole instance with two web processes says how it is: metrics, status, logs; and replays what it had refused."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from instance_process import RunningInstance, running_instance
from prometheus_client.parser import text_string_to_metric_families

from collector.role_board import read_roles
from tests.edge_examples import make_id

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """One instance with two web processes."""
    with running_instance(tmp_path_factory.mktemp("seen"), "--demo", "--workers", "2") as running:
        yield running


def until(is_so: Callable[[], bool], explain: Callable[[], object] = str) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)


def scrape(instance: RunningInstance) -> dict[str, float]:
    """Scrape once, over a connection of its own, so that any of the processes answers."""
    request = urllib.request.Request(instance.url + "/metrics", headers={"Connection": "close"})
    with urllib.request.urlopen(request) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        " ".join((sample.name.removeprefix("tagstitch_"), *sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def send(instance: RunningInstance, number: int, *, name: str = "page_view", **changes: Any) -> int:
    now_ms = time.time_ns() // 1_000_000
    event = {"i": make_id(number, now_ms), "n": name, "t": changes.pop("t", now_ms)}
    body = {"v": 1, "s": "demo", "st": now_ms, "d": make_id(1, now_ms), "c": "ai", "e": [event], **changes}
    return instance.post(body, {"Connection": "close"})[0]


def find_web_pids(instance: RunningInstance) -> list[int]:
    return [role.pid for role in read_roles(instance.data) if role.name.startswith("web") and role.pid]


def test_one_answer_for_all_web_processes(instance: RunningInstance) -> None:
    """Whichever process answers, it counts for all; a killed one takes nothing with it, and nothing goes back."""
    before = scrape(instance).get("accepted_events_total demo", 0)
    for number in range(1, 41):
        assert send(instance, number) < 300
    seen = [scrape(instance)["accepted_events_total demo"] for _ in range(10)]
    assert seen == sorted(seen)
    until(lambda: scrape(instance)["accepted_events_total demo"] == before + 40)
    files = [json.loads(path.read_bytes()) for path in (instance.data / "run/metrics").glob("web-*.json")]
    assert len([shown for shown in files if shown["totals"]["counters"].get("accepted_events")]) == 2, "both took some"
    victim = find_web_pids(instance)[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(find_web_pids(instance)) == 2 and victim not in find_web_pids(instance))
    until(lambda: send(instance, 50) < 300)
    seen = [scrape(instance)["accepted_events_total demo"] for _ in range(10)]
    assert seen[0] >= before + 40
    assert seen == sorted(seen)
    until(lambda: scrape(instance)["role_restarts_total web-0"] + scrape(instance)["role_restarts_total web-1"] == 1)


def test_what_a_beacon_leaves_in_the_metrics(instance: RunningInstance) -> None:
    """Steps, refusals, histograms of acknowledgement, sync and batches, lag: all move with a beacon's way."""
    before = scrape(instance)
    assert send(instance, 60) < 300
    assert send(instance, 61, t=1) < 300

    def has_landed() -> bool:
        now = scrape(instance)
        return now["load_events_total"] > before["load_events_total"] and now["load_lag_seconds"] == 0

    until(has_landed, lambda: scrape(instance))
    until(lambda: scrape(instance)["acknowledgement_seconds_count"] == before["acknowledgement_seconds_count"] + 2)
    now = scrape(instance)
    assert now["rejected_total clock validate"] == before.get("rejected_total clock validate", 0) + 1
    assert now["step_beacons_total identify"] >= before.get("step_beacons_total identify", 0) + 2
    assert now["spool_commit_seconds_count"] > before["spool_commit_seconds_count"]
    assert now["load_batch_events_count"] > before["load_batch_events_count"]
    assert now["web_processes"] == 2
    assert now["role_up engine"] == now["role_up stitch"] == 1
    assert now["settings_age_seconds"] < 60


def test_the_status_of_a_running_instance(instance: RunningInstance) -> None:
    """Everything answers; a dead stitch is seen, and that it was started again."""
    pid = instance.role_pids()["stitch"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: instance.role_pids().get("stitch") not in (None, pid))
    facts = json.loads(instance.command("status", "--json", check=False).stdout)
    assert (facts["web"], facts["store"]) == ("ready", "answers")
    assert any("stitch was started again" in finding["sentence"] for finding in facts["findings"])
    assert {process["name"] for process in facts["processes"]} >= {"engine", "load", "stitch"}
    text = instance.command("status", "--once", check=False).stdout
    assert "stitch was started again once" in text
    assert "On the way" in text


@pytest.mark.long
def test_maintenance_is_seen(instance: RunningInstance) -> None:
    """Switched on, readiness, metrics and status say so; events wait, and the lag grows."""
    instance.command("maintenance", "on")
    try:
        assert send(instance, 70) < 300
        until(lambda: scrape(instance)["load_paused maintenance"] == 1 and scrape(instance)["load_lag_seconds"] > 0)
        with urllib.request.urlopen(instance.url + "/ready") as answer:
            assert json.load(answer)["maintenance"] is True
        assert "tagstitch maintenance off" in instance.command("status", "--once", check=False).stdout
    finally:
        instance.command("maintenance", "off")
    until(lambda: scrape(instance)["load_lag_seconds"] == 0)


@pytest.mark.long
def test_a_site_added_too_late_gets_its_events_once(instance: RunningInstance) -> None:
    """Beacons of an unknown site are refused, kept where the page says yes, and land once after two replays."""
    now_ms = time.time_ns() // 1_000_000
    for number in range(80, 85):
        assert send(instance, number, s="late-shop", c="a" if number < 83 else "") == 404
    until(lambda: scrape(instance).get("kept_bodies_total kept", 0) >= 3)
    done = instance.command("replay", "--dry-run", "--json", "--reason", "site", check=False)
    assert done.returncode == 0, done.stderr
    dry = json.loads(done.stdout)
    assert (dry["bodies"], dry["accepted"], dry["refused"]) == (3, 0, {"site": 3})
    instance.command("site", "add", "late-shop", "--origin", instance.url, "--consent", "required")
    for _ in range(2):
        done = instance.command("replay", "--reason", "site", "--since", "1h")
        assert "3 of 3 bodies" in done.stdout
    rows = "SELECT event_id FROM v_events WHERE site_id = 'late-shop'"
    instance.until(f"SELECT count() AS n FROM ({rows})", lambda found: int(found[0]["n"]) == 3, 60)
    until(lambda: scrape(instance)["spool_bytes"] == 0)
    (row,) = instance.sql(
        "SELECT count() AS n, uniqExact(event_id) AS ids, min(browser != '') AS has_browser, "
        f"min(toUnixTimestamp64Milli(received_at)) >= {now_ms} AS is_then FROM v_events WHERE site_id = 'late-shop'"
    )
    assert {name: int(value) for name, value in row.items()} == {"n": 3, "ids": 3, "has_browser": 1, "is_then": 1}


def test_a_wrong_call_of_replay_says_what_to_write(instance: RunningInstance) -> None:
    """Unknown reasons, sites and times end with a sentence, not with a traceback."""
    for wrong in (("--reason", "consent"), ("--site", "nobody"), ("--since", "yesterday")):
        done = instance.command("replay", *wrong, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("tagstitch: ")
        assert "Traceback" not in done.stderr


def test_a_flood_of_nonsense_writes_no_line_each(instance: RunningInstance) -> None:
    """Logs have a line for what happens to the service: hundreds of refused requests are none of that."""
    before = len(instance.log.splitlines())
    for number in range(100):
        instance.post(b"{", {"X-Nonsense": "\x7f"})
        send(instance, number, v=9)
        send(instance, number, s="nobody", c="")
    until(lambda: scrape(instance).get("rejected_total version validate", 0) >= 100)
    assert len(instance.log.splitlines()) - before < 10
