"""`tagstitch run` as a newcomer meets it: started, refused with a reason, stopped, and the commands that ask it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from instance_process import RunningInstance, running_instance, start_instance
from typer.testing import CliRunner

from collector.cli import make_app
from collector.document import render_commands

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """One instance for all that only asks."""
    with running_instance(tmp_path_factory.mktemp("run"), "--demo", is_first=True) as running:
        yield running


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "collector", "run", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def _send(instance: RunningInstance, site: str = "demo", origin: str | None = None) -> tuple[int, str]:
    visitor = str(uuid.uuid4())
    now_ms = time.time_ns() // 1_000_000
    event = {"i": str(uuid.uuid4()), "n": "test_event", "t": now_ms, "p": {"price": 9.5}}
    body = {"v": 1, "s": site, "st": now_ms, "d": visitor, "c": "ai", "u": f"{instance.url}/page?utm_source=x&secret=1"}
    status, _ = instance.post({**body, "e": [event]}, {"Origin": origin} if origin else None)
    return status, visitor


def test_a_taken_port_is_one_line_with_the_fix(tmp_path: Path) -> None:
    """Whoever runs something else on the port learns which setting to change; nothing is left running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for options in (("--port", port, "--engine-port", "0"), ("--port", "0", "--engine-port", port)):
            done = _run("--data", str(tmp_path / "data"), *options)
            assert done.returncode == 1
            assert done.stdout == ""
            [line] = done.stderr.strip().splitlines()
            assert f"port {port} on 127.0.0.1 is taken" in line
            assert "port" in line.partition("with")[2]


def test_a_foreign_folder_is_one_line_with_the_fix(tmp_path: Path) -> None:
    """Somebody's photographs are not turned into a database."""
    (tmp_path / "photo.jpg").write_bytes(b"x")
    done = _run("--data", str(tmp_path), "--port", "0", "--engine-port", "0")
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert "photo.jpg" in line
    assert "--data" in line
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_second_instance_on_the_same_data_is_refused(instance: RunningInstance) -> None:
    """The first one goes on."""
    done = _run("--data", str(instance.data), "--port", "0", "--engine-port", "0")
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert str(instance.process.pid) in line
    assert instance.sql("SELECT 1 AS one") == [{"one": 1}]


def test_ctrl_c_stops_everything_and_the_second_start_finds_it_all(tmp_path: Path) -> None:
    """What was acknowledged or refused a moment before Ctrl-C is in the store after the next start."""
    with running_instance(tmp_path, "--demo", is_first=True) as first:
        visitors = [_send(first)[1] for _ in range(20)]
        assert [_send(first, origin="https://evil.example")[0] for _ in range(5)] == [403] * 5
    second = start_instance(tmp_path / "data", tmp_path / "log", "--demo")
    try:
        rows = second.until(
            "SELECT toString(visitor_id) AS visitor FROM v_events WHERE event_name = 'test_event'",
            lambda rows: len(rows) >= 20,
        )
        assert sorted(row["visitor"] for row in rows) == sorted(visitors)
        second.until(
            "SELECT sum(beacons) AS n FROM v_rejected WHERE reason = 'origin'", lambda rows: int(rows[0]["n"]) == 5
        )
    finally:
        assert second.stop() == 0
        assert second.process.stdout is not None
        second.process.stdout.close()
    assert "Traceback" not in second.log
    assert '"level": "error"' not in second.log
    assert "dead writer" not in second.log, "web seals its spool itself"


def test_ctrl_c_while_it_waits_for_the_store(tmp_path: Path) -> None:
    """A start that waits for a ClickHouse server that is away can be ended like any other."""
    with socket.socket() as nobody:  # bound, never listening: what connects there is refused
        nobody.bind(("127.0.0.1", 0))
        dsn = f"http://nobody:nothing@127.0.0.1:{nobody.getsockname()[1]}/tagstitch"
        process = subprocess.Popen(
            [sys.executable, "-m", "collector", "run", "--data", str(tmp_path / "data"), "--port", "0"],
            env={**os.environ, "TAGSTITCH_DSN": dsn},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _until(lambda: (tmp_path / "data" / "run" / "state.json").exists())
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
            _, said = process.communicate()
    assert b"Traceback" not in said


def test_the_instance_says_how_it_is(instance: RunningInstance) -> None:
    """Health, readiness, metrics and the description answer on this machine."""
    for path, word in (("/health", "alive"), ("/ready", "ready"), ("/openapi.json", "/x/b"), ("/metrics", "tagstitch")):
        with urllib.request.urlopen(instance.url + path) as answer:
            assert word in answer.read().decode()
    done = instance.command("status", "--json")
    facts = json.loads(done.stdout)
    assert facts["web"] == "ready"
    assert facts["store"] == "answers"


def test_a_path_with_a_slash_too_many_leads_nowhere(instance: RunningInstance) -> None:
    """No redirect is built from the host that a request names."""
    for path in ("/x/b/", "/health/", "/x/t.js/", "/v1/sites/", "//evil.example/"):
        request = urllib.request.Request(instance.url + path, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 404
        refused.value.close()


def test_metrics_from_elsewhere_want_the_key(instance: RunningInstance) -> None:
    """A proxy on this machine does not open the operator's pages to the world."""
    for path in ("/metrics", "/demo", "/demo/live"):
        request = urllib.request.Request(instance.url + path, headers={"X-Forwarded-For": "203.0.113.9"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 403
        refused.value.close()
        request.add_header("X-Tagstitch-Key", instance.keyring.operator_key)
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200


@pytest.mark.long
def test_a_site_of_ones_own(instance: RunningInstance) -> None:
    """Add a site, get its snippet, send from its origin, see it land, and see why another origin is refused."""
    shop = "https://shop.example"
    done = instance.command("site", "add", "shop", "--origin", shop, "--time-zone", "Europe/Berlin")
    assert "site shop, version 1" in done.stdout
    assert 'data-site="shop"' in instance.command("snippet", "--site", "shop").stdout
    assert json.loads(instance.command("site", "show", "shop").stdout)["origins"] == [shop]
    assert "shop" in instance.command("site", "list").stdout
    assert instance.command("site", "add", "shop", "--origin", shop, check=False).returncode == 1
    instance.command("site", "add", "shop", "--replace", "--keep-days", "400")
    changed = json.loads(instance.command("site", "show", "shop").stdout)
    assert (changed["origins"], changed["keep_days"], changed["time_zone"]) == ([shop], 400, "Europe/Berlin")
    refused = instance.command("site", "add", "other", "--origin", "shop.example/path", check=False)
    assert refused.returncode == 1
    assert "origin" in refused.stderr

    deadline = time.monotonic() + 20
    while (sent := _send(instance, "shop", shop))[0] == 404:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert sent[0] == 204
    assert _send(instance, "shop", "https://evil.example")[0] == 403
    instance.until("SELECT count() AS n FROM v_events WHERE site_id = 'shop'", lambda rows: rows[0]["n"] >= 1)
    instance.until(
        "SELECT count() AS n FROM v_rejected WHERE site_id = 'shop' AND reason = 'origin'",
        lambda rows: rows[0]["n"] == 1,
    )
    tail = instance.command("tail", "--site", "shop", "--no-follow", "--json")
    told = [json.loads(line) for line in tail.stdout.splitlines()]
    assert {row.get("event_name") or row.get("reason") for row in told} >= {"test_event", "origin"}
    text = instance.command("tail", "--site", "shop", "--no-follow").stdout
    assert "refused" in text
    assert "origin 1" in text


def test_keys_are_shown_once_and_work_until_revoked(instance: RunningInstance) -> None:
    """A key opens the API, a revoked one does not, and the store holds only its digest."""
    text = instance.command("key", "create", "--scope", "read", "--name", "test").stdout.strip()
    key_id = text.split("_")[1]

    def ask() -> int:
        request = urllib.request.Request(f"{instance.url}/v1/sites", headers={"Authorization": f"Bearer {text}"})
        try:
            with urllib.request.urlopen(request) as answer:
                assert "demo" in answer.read().decode()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    _until(lambda: ask() == 200)
    assert text not in instance.command("key", "list").stdout
    assert key_id in instance.command("key", "list").stdout
    instance.command("key", "revoke", key_id)
    _until(lambda: ask() == 401)


def test_sql_prints_tables_csv_and_json(instance: RunningInstance) -> None:
    """The three forms say the same; writing is refused in one line."""
    question = "SELECT 1 AS one, 'a,b' AS text"
    assert json.loads(instance.command("sql", question, "--format", "json").stdout) == [{"one": 1, "text": "a,b"}]
    assert instance.command("sql", question, "--format", "csv").stdout.splitlines()[-1] == '1,"a,b"'
    assert "one" in instance.command("sql", question).stdout
    for statement in ("DROP TABLE events", "SELECT * FROM events", "SELECT file('/etc/passwd')"):
        refused = instance.command("sql", statement, check=False)
        assert refused.returncode == 1
        assert len(refused.stderr.strip().splitlines()) == 1
        assert "root:" not in refused.stdout


def test_every_command_teaches() -> None:
    """--help of every command explains what it does, and the page of commands names it."""
    names = [line.removeprefix("## tagstitch ") for line in render_commands().splitlines() if line.startswith("## ")]
    assert len(names) > 18
    for name in names:
        done = CliRunner().invoke(make_app(name.split()[0]), [*name.split(), "--help"])
        assert done.exit_code == 0
        assert len(done.output.splitlines()) > 8


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)
