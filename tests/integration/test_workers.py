"""Several web processes on one port: they share the load, are replaced without a gap, and lose nothing when they die.

The clients are as nervous as browsers: what has no answer is sent again. Every event goes through a ledger, which is
held against the store in the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import urllib.response
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from instance_process import RunningInstance, running_instance, start_instance

from collector.role_board import read_roles
from collector.store.client import open_client
from tests.chaos.ledger import Ledger, ask_patiently, wait_until_loaded
from tests.chaos.senders import Senders, make_beacon
from tests.open_files import list_open_files

pytestmark = pytest.mark.engine

WORKERS = 2


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """One instance with two web processes."""
    with running_instance(tmp_path_factory.mktemp("workers"), "--demo", "--workers", str(WORKERS)) as running:
        yield running


def list_webs(data: Path) -> dict[str, int]:
    """Return the process ids of the web processes that live, by label."""
    return {role.name: role.pid for role in read_roles(data) if role.name.startswith("web") and role.pid}


def spool_of(pid: int) -> Path:
    """Return the folder of the spool that a web process has locked: after a replacement it is the next free one."""
    [lock] = [Path(name) for name in list_open_files(pid) if "/spool/" in name and name.endswith("/lock")]
    return lock.parent


def until(is_so: Callable[[], bool], explain: Callable[[], object] = str, limit_s: float = 60.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)


def compare(instance: RunningInstance, ledger: Ledger) -> None:
    """Wait until everything is loaded, and hold the ledger against the store."""

    def ask(question: str) -> list[dict[str, Any]]:
        with contextlib.closing(open_client(instance.config, instance.keyring, "writer")) as client:
            return client.query_rows(question)

    wait_until_loaded(instance.data, explain=lambda: instance.log[-3000:])
    ledger.compare(ask_patiently(ask))


def test_all_of_them_take_beacons(instance: RunningInstance) -> None:
    """New connections reach every web process, and each writes a folder of the spool of its own."""
    webs = list_webs(instance.data)
    assert set(webs) == {"web-0", "web-1"}
    folders = [spool_of(pid) for pid in webs.values()]
    assert len(set(folders)) == len(webs)
    before = [folder.stat().st_mtime_ns for folder in folders]
    ledger = Ledger()
    with Senders(ledger, [instance.config.port], connections=40) as senders:
        until(
            lambda: all(folder.stat().st_mtime_ns > at for folder, at in zip(folders, before, strict=True)),
            lambda: (senders.answers, [list(folder.iterdir()) for folder in folders], instance.log[-3000:]),
        )
        senders.wait_for(400)
    assert set(senders.answers) <= {"200", "204"}
    compare(instance, ledger)


@pytest.mark.long
def test_they_are_replaced_without_a_gap(instance: RunningInstance) -> None:
    """`tagstitch reload` under load: every process is a new one, and no event is lost or doubled.

    An answer is a success or none at all: the connection was closed, and the same bytes were taken on another.
    """
    ledger = Ledger()
    with Senders(ledger, [instance.config.port], connections=12, pause_s=0.002) as senders:
        for _ in range(2):
            senders.wait_for(len(ledger.acknowledged) + 100)
            before = list_webs(instance.data)
            told = instance.log.count("replaced processes")
            assert str(instance.process.pid) in instance.command("reload").stdout
            until(lambda told=told: instance.log.count("replaced processes") > told, lambda: instance.log[-3000:])
            after = list_webs(instance.data)
            assert set(after) == set(before)
            assert not set(after.values()) & set(before.values())
            assert not any(Path(f"/proc/{pid}").exists() for pid in before.values())
        senders.wait_for(len(ledger.acknowledged) + 100)
    assert set(senders.answers) <= {"200", "204", "cut"}
    assert senders.answers["cut"] <= 2 * WORKERS * 12, "each replaced process cuts a connection once at most"
    compare(instance, ledger)


@pytest.mark.long
def test_one_dies_and_the_others_go_on(instance: RunningInstance) -> None:
    """kill -9 of one web process under load: it comes again, the other one is the same, and nothing is lost."""
    ledger = Ledger()
    with Senders(ledger, [instance.config.port], connections=12, pause_s=0.002) as senders:
        senders.wait_for(100)
        before = list_webs(instance.data)
        os.kill(before["web-1"], signal.SIGKILL)
        until(lambda: list_webs(instance.data).get("web-1", before["web-1"]) != before["web-1"])
        senders.wait_for(len(ledger.acknowledged) + 200)
        assert list_webs(instance.data)["web-0"] == before["web-0"]
    assert set(senders.answers) <= {"200", "204", "cut"}
    compare(instance, ledger)


def test_a_connection_to_a_dead_one_waits_for_the_next(instance: RunningInstance) -> None:
    """Connections that are made while no web process lives are answered by the next ones, not refused."""
    for pid in (pids := list_webs(instance.data)).values():
        os.kill(pid, signal.SIGKILL)
    with urllib.request.urlopen(instance.url + "/health", timeout=60) as answer:
        assert answer.status == 200
    until(lambda: len(list_webs(instance.data)) == WORKERS)
    assert not set(list_webs(instance.data).values()) & set(pids.values())


@pytest.mark.long
def test_sigterm_under_load_drains(tmp_path: Path) -> None:
    """Stopped in the middle of a stream: web answers what it has begun and seals its spool, the loader drains it."""
    ledger = Ledger()
    first = start_instance(tmp_path / "data", tmp_path / "log", "--demo", "--workers", str(WORKERS))
    try:
        with Senders(ledger, [first.config.port], connections=12, pause_s=0.002) as senders:
            senders.wait_for(300)
            first.process.send_signal(signal.SIGTERM)
            assert first.process.wait(60) == 0
        assert set(senders.answers) <= {"200", "204", "cut"}
    finally:
        if first.process.poll() is None:
            first.process.kill()
            first.process.wait()
        assert first.process.stdout is not None
        first.process.stdout.close()
    assert not list((tmp_path / "data" / "spool").rglob("*.open"))
    assert "killed" not in first.log
    assert "Traceback" not in first.log
    with running_instance(tmp_path, "--demo", "--workers", str(WORKERS)) as second:
        compare(second, ledger)
    assert "dead writer" not in second.log


@pytest.mark.long
def test_web_alone(instance: RunningInstance, tmp_path: Path) -> None:
    """`tagstitch web --workers N` beside others on the same data: ready once, replaced by SIGHUP, ended by SIGTERM."""
    log = (tmp_path / "log").open("w+b")
    process = subprocess.Popen(
        [sys.executable, "-m", "collector", "web", "--workers", "2", "--port", "0", "--data", str(instance.data)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert (ready["ready"], ready["pid"], ready["workers"]) == (True, process.pid, 2)
        ledger = Ledger()
        with Senders(ledger, [ready["port"]], connections=8, pause_s=0.002) as senders:
            senders.wait_for(50)
            process.send_signal(signal.SIGHUP)
            until(lambda: b"replaced processes" in Path(log.name).read_bytes())
            senders.wait_for(len(ledger.acknowledged) + 50)
        assert set(senders.answers) <= {"200", "204", "cut"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        compare(instance, ledger)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        log.close()
    assert b"Traceback" not in Path(log.name).read_bytes()


@contextlib.contextmanager
def web_beside(
    instance: RunningInstance, log_file: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run one more `tagstitch web` on the instance's data, without a terminal. Yields the process and its port."""
    command = [sys.executable, "-m", "collector", "web", "--port", "0", "--data", str(instance.data), *options]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())["port"]
        finally:
            process.terminate()
            assert process.wait(60) == 0
            process.stdout.close()


def post(port: int, visitor: str, **headers: str) -> urllib.response.addinfourl:
    """Send one beacon with one page view and return the answer, whatever its status."""
    event = {"i": str(uuid.uuid4()), "n": "page_view"}
    body = make_beacon(visitor, str(uuid.uuid4()), [event])
    request = urllib.request.Request(f"http://127.0.0.1:{port}/x/b", body, headers)
    try:
        return urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        return error


def test_maintenance_accepts_and_loads_nothing(instance: RunningInstance) -> None:
    """While it is on beacons are acknowledged, /ready says so and nothing arrives; then everything does, once."""
    spool = instance.data / "spool"
    instance.command("maintenance", "on")
    try:
        assert instance.command("maintenance", "status", check=False).returncode == 1
        until(lambda: "maintenance is on" in instance.log, lambda: instance.log[-3000:])
        ledger = Ledger()
        with Senders(ledger, [instance.config.port], connections=4, pause_s=0.002) as senders:
            senders.wait_for(100)
        assert set(senders.answers) <= {"200", "204"}
        with urllib.request.urlopen(instance.url + "/ready") as answer:
            assert json.load(answer)["maintenance"] is True
        # Which of the processes got the four connections is chance: each that wrote something seals it.
        until(
            lambda: any(spool.rglob("*.seg")) and not any(spool.rglob("*.open")),
            lambda: (list(spool.rglob("*")), instance.log[-3000:]),
        )
        visitors = ", ".join(repr(visitor) for visitor in ledger.visitors)
        assert instance.sql(f"SELECT count() AS n FROM v_events WHERE visitor_id IN ({visitors})") == [{"n": 0}]
    finally:
        instance.command("maintenance", "off")
    assert instance.command("maintenance", "status").returncode == 0
    compare(instance, ledger)


def test_an_address_over_its_rate_is_refused_by_the_real_thing(instance: RunningInstance, tmp_path: Path) -> None:
    """Told by X-Forwarded-For of a trusted proxy: 429 and when to come again, others pass, the sum is in the store."""
    options = ("trusted_proxies=127.0.0.1/32", "address_rate=1", "address_burst=2")
    visitor = str(uuid.uuid4())
    before = _count_rate_refusals(instance)
    with web_beside(instance, tmp_path / "log", *(f"--set={option}" for option in options)) as (_, port):
        statuses = []
        for _ in range(12):
            with post(port, visitor, **{"X-Forwarded-For": "192.0.2.66, 203.0.113.50"}) as answer:
                statuses.append(answer.status)
                if answer.status == 429:
                    assert int(answer.headers["Retry-After"]) >= 1
                    assert answer.headers["X-Tagstitch-Rejected"] == "rate"
        refused = statuses.count(429)
        assert refused >= 1
        assert statuses[:2] == [204, 204]
        assert set(statuses) == {204, 429}
        with post(port, visitor, **{"X-Forwarded-For": "203.0.113.51"}) as answer:
            assert answer.status == 204
    until(lambda: _count_rate_refusals(instance) - before == refused)
    until(
        lambda: (
            instance.sql(f"SELECT count() AS n FROM v_events WHERE visitor_id = '{visitor}'")[0]["n"] == 13 - refused
        )
    )
    assert "203.0.113.5" not in (tmp_path / "log").read_text()


def _count_rate_refusals(instance: RunningInstance) -> int:
    return int(instance.sql("SELECT sum(beacons) AS n FROM v_rejected WHERE reason = 'rate'")[0]["n"])


def test_a_single_web_process_outlives_a_reload(instance: RunningInstance, tmp_path: Path) -> None:
    """There is nobody to replace it, so it says that and goes on; SIGTERM still ends it."""
    log = tmp_path / "log"
    with web_beside(instance, log) as (process, port):
        process.send_signal(signal.SIGHUP)
        until(lambda: "web_workers" in log.read_text(), log.read_text)
        with post(port, str(uuid.uuid4())) as answer:
            assert answer.status == 204
