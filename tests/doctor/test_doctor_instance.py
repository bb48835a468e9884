"""`tagstitch doctor` on a whole instance, healthy, then with one thing broken at a time: it names cause and fix."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from instance_process import RunningInstance, running_instance
from known_sites import wait_for_site

from collector.config import Config
from collector.doctor import instance as doctor_instance
from collector.doctor import store as doctor_store
from collector.doctor.finding import Finding
from collector.doctor.instance import check_instance
from collector.sites.book import Site
from collector.sites.rows import add_site, write_site
from collector.store.client import open_client
from collector.store.migrate import migrate

pytestmark = pytest.mark.engine

HEALTHY = ["data folder", "disk", "secrets", "supervisor", "web", "spool", "store", "schema", "stitch", "sites"]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """A whole instance with one site. Each test puts right again what it breaks."""
    with running_instance(tmp_path_factory.mktemp("patient"), "--set", "settings_interval_s=0.2") as running:
        with open_client(running.config, running.keyring, "writer") as client:
            add_site(client, Site("shop", origins=(running.url,), identify_versions=(1,)))
        wait_for_site(running, "shop")
        yield running


@contextlib.contextmanager
def _dead(instance: RunningInstance, role: str) -> Iterator[None]:
    """Kill a role and keep the supervisor from starting it again; at the end everything runs as before."""
    os.kill(instance.process.pid, signal.SIGSTOP)
    try:
        os.kill(instance.role_pids()[role], signal.SIGKILL)
        yield
    finally:
        os.kill(instance.process.pid, signal.SIGCONT)
    _wait_for_health(instance)


@contextlib.contextmanager
def _frozen(instance: RunningInstance, role: str) -> Iterator[None]:
    """Let a role hang: it holds its connections and does nothing."""
    pid = instance.role_pids()[role]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _wait_for_health(instance: RunningInstance) -> None:
    deadline = time.monotonic() + 60
    while bad := _bad(_check(instance)):
        assert time.monotonic() < deadline, (bad, instance.log[-2000:])
        time.sleep(0.2)


def _check(instance: RunningInstance, **settings: object) -> list[Finding]:
    return list(check_instance(msgspec.structs.replace(instance.config, **settings)))


def _bad(findings: list[Finding]) -> dict[str, tuple[str, str]]:
    return {finding.subject: (finding.text, finding.fix) for finding in findings if finding.verdict == "bad"}


def _doctor(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "collector", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, **environ},
    )


def test_a_healthy_instance_is_good(instance: RunningInstance) -> None:
    """Nothing wrong, nothing doubtful, in the order in which one depends on the other; status 0."""
    done = _doctor("--data", str(instance.data), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["subject"] for line in lines][: len(HEALTHY)] == HEALTHY
    assert {line["verdict"] for line in lines if line["subject"] in HEALTHY} == {"good"}
    assert not [line for line in lines if line["verdict"] == "warning"]
    assert instance.keyring.writer.password not in done.stdout + done.stderr


def test_in_a_terminal_long_lines_are_wrapped_under_their_subject(instance: RunningInstance) -> None:
    """In a terminal of 60 columns no line is longer, and what is wrapped begins under the text, not at the margin."""
    if shutil.which("script") is None:
        pytest.skip("needs the program script of util-linux")
    command = f"COLUMNS=60 {sys.executable} -m collector doctor --data {instance.data / 'nowhere'}"
    done = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip() for line in re.split(r"[\r\n]+", done.stdout)]
    shown = [line for line in lines if line.strip() and "looking …" not in line][1:]
    assert shown[0].startswith("  ✗ data folder      ")
    assert any(line.startswith(" " * 21 + "→ name the right one") for line in shown)
    assert [line for line in shown[1:-1] if not line.startswith(" " * 21)] == []
    assert max(map(len, shown)) <= 60
    assert shown[-1] == "1 wrong."


@pytest.mark.long
def test_a_killed_engine(instance: RunningInstance) -> None:
    """With the engine dead the store is named, how to start it, and that nothing is lost; web goes on. Status 1."""
    with _dead(instance, "engine"):
        done = _doctor("--data", str(instance.data))
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if "✗" in line]
    assert line.startswith(
        f"  ✗ store            ClickHouse at 127.0.0.1:{instance.config.engine_port} does not answer"
    )
    assert "start it: tagstitch run" in line
    assert "nothing is lost" in line
    assert "  ✓ web " in done.stdout


def test_a_hanging_engine(instance: RunningInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes connections and answers nothing is a finding, not a doctor that hangs."""
    monkeypatch.setattr(doctor_store, "PATIENCE_S", 1)
    with _frozen(instance, "engine"):
        found = _bad(_check(instance))
    assert list(found) == ["store"]
    assert "does not answer" in found["store"][0]


@pytest.mark.long
def test_a_killed_web(instance: RunningInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """With web dead and its socket held by the supervisor: said as it is, and the store is looked at all the same."""
    monkeypatch.setattr(doctor_instance, "WEB_PATIENCE_S", 0.5)
    with _dead(instance, "web"):
        findings = _check(instance)
    assert list(_bad(findings)) == ["web"]
    assert "answers nothing" in _bad(findings)["web"][0]
    assert ("store", "good") in [(finding.subject, finding.verdict) for finding in findings]


def test_nothing_runs(instance: RunningInstance, tmp_path: Path) -> None:
    """On a stopped instance web and store are down, and the first fix is to start it."""
    shutil.copytree(instance.data, tmp_path / "copy", ignore=shutil.ignore_patterns("engine*", "spool", "run", "*lock"))
    done = _doctor("--data", str(tmp_path / "copy"), "--set", "port=9", "--set", "engine_port=9", "--json")
    lines = {(line := json.loads(text))["subject"]: line for text in done.stdout.splitlines()}
    assert done.returncode == 1
    assert lines["supervisor"]["verdict"] == "unknown"
    assert lines["web"]["text"] == "does not answer on 127.0.0.1:9: [Errno 111] Connection refused"
    assert lines["web"]["fix"] == "start it: tagstitch run, or tagstitch web"
    assert lines["store"]["verdict"] == "bad"


def test_another_program_on_the_port(instance: RunningInstance) -> None:
    """Something else that answers where web should be is not taken for it, whatever its status."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as other:
        other.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        try:
            found = _bad(_check(instance, port=other.server_port))
        finally:
            other.shutdown()
            thread.join()
    assert list(found) == ["web"]
    assert found["web"][0] == f"another program answers on 127.0.0.1:{other.server_port}"


def test_a_store_of_another_instance(instance: RunningInstance, tmp_path: Path) -> None:
    """Secrets that the store does not know: said so, without showing any."""
    secrets = tmp_path / "secrets.json"
    text = json.loads((instance.data / "secrets.json").read_text())
    text["writer"]["password"] = "of-another-store"
    secrets.write_text(json.dumps(text))
    secrets.chmod(0o600)
    found = _bad(_check(instance, secrets_file=str(secrets)))
    assert list(found) == ["store"]
    assert "does not know our password" in found["store"][0]
    assert "of-another-store" not in str(found)


@pytest.mark.parametrize("kind", ["missing", "empty", "foreign"])
@pytest.mark.long
def test_a_wrong_folder(tmp_path: Path, kind: str) -> None:
    """A folder that is no instance ends the look at once, with how to name the right one; nothing is made there."""
    folder = tmp_path / "wrong"
    if kind != "missing":
        folder.mkdir()
    if kind == "foreign":
        (folder / "holiday.jpg").touch()
    before = sorted(tmp_path.rglob("*"))
    done = _doctor("--data", str(folder))
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if "✗" in line]
    assert str(folder) in line
    assert "name the right one with --data DIR" in line
    assert sorted(tmp_path.rglob("*")) == before


def test_secrets_that_are_missing_or_readable(instance: RunningInstance) -> None:
    """Missing secrets must be restored, never made anew; readable ones get the one command that closes them."""
    path = instance.data / "secrets.json"
    away = path.with_name("away.json")
    path.rename(away)
    try:
        found = _bad(_check(instance))
        assert found["secrets"][0] == f"{path} is not there"
        assert "restore it from a backup" in found["secrets"][1]
        assert "tagstitch run" not in found["secrets"][1]
    finally:
        away.rename(path)
    path.chmod(0o644)
    try:
        done = _doctor("--data", str(instance.data))
    finally:
        path.chmod(0o600)
    assert done.returncode == 1
    assert f"can be read by others; no role starts with it → chmod 600 {path}" in done.stdout
    path.write_bytes((text := path.read_bytes())[:100])
    try:
        assert "restore them" in _bad(_check(instance))["secrets"][1]
    finally:
        path.write_bytes(text)


def test_a_damaged_or_newer_folder(tmp_path: Path) -> None:
    """A marker that cannot be read, or of a format to come, is told apart from a foreign folder."""
    (tmp_path / "tagstitch.json").write_text("{")
    assert "restore it from a backup" in _bad(list(check_instance(Config(data=str(tmp_path)))))["data folder"][1]
    (tmp_path / "tagstitch.json").write_text('{"format": 99}')
    assert _bad(list(check_instance(Config(data=str(tmp_path)))))["data folder"][1] == "update this program"


def test_an_old_schema(instance: RunningInstance) -> None:
    """A store whose last migration was not carried out: named, with `tagstitch migrate`, after which all is good."""
    with open_client(instance.config, instance.keyring, "writer") as client:
        last = client.command("SELECT max(version) FROM schema_migrations")
        client.command(f"ALTER TABLE schema_migrations DELETE WHERE version = {last} SETTINGS mutations_sync = 2")
        found = _bad(_check(instance))
        assert list(found) == ["schema"]
        assert re.search(rf"is older than this program: {last:04}_\w+ not carried out", found["schema"][0])
        assert found["schema"][1] == "tagstitch migrate"
        migrate(instance.config, instance.keyring)
        assert _bad(_check(instance)) == {}


def test_a_newer_schema(instance: RunningInstance) -> None:
    """A store that a newer program has migrated: the program is to be updated, not the store."""
    with open_client(instance.config, instance.keyring, "writer") as client:
        client.command("INSERT INTO schema_migrations (version, name, checksum) VALUES (99, 'to_come', 'x')")
        try:
            found = _bad(_check(instance))
        finally:
            client.command("ALTER TABLE schema_migrations DELETE WHERE version = 99 SETTINGS mutations_sync = 2")
    assert list(found) == ["schema"]
    assert found["schema"][1] == "update this program"


def test_beacons_that_do_not_move_on(instance: RunningInstance) -> None:
    """With the loader hanging, what waits for long in the spool is a finding, and it says that nothing is lost."""
    with _frozen(instance, "load"):
        now_ms = time.time_ns() // 1_000_000
        event = {"i": str(uuid.uuid4()), "n": "page_view", "t": now_ms}
        status, _ = instance.post({"v": 1, "s": "shop", "st": now_ms, "d": str(uuid.uuid4()), "c": "a", "e": [event]})
        assert status == 204
        assert _bad(_check(instance)) == {}
        deadline = time.monotonic() + 20
        while not (sealed := list((instance.data / "spool").rglob("*.seg"))):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for path in sealed:
            os.utime(path, (time.time() - 600, time.time() - 600))
        found = _bad(_check(instance))
        assert list(found) == ["spool"]
        assert "the oldest for 10 minutes" in found["spool"][0]
        assert "Nothing is lost" in found["spool"][1]
    _wait_for_health(instance)


def test_what_was_refused_lately(instance: RunningInstance) -> None:
    """Refusals of the last hour are told with their reason and what to do; those that must be are no warning."""
    now_ms = time.time_ns() // 1_000_000
    event = {"i": str(uuid.uuid4()), "n": "page_view", "t": now_ms}
    beacon = {"v": 1, "s": "shop", "st": now_ms, "e": [event]}
    assert instance.post({**beacon, "c": "a"}, {"Origin": "https://copied.example"})[0] == 403
    assert instance.post({**beacon, "c": ""})[0] == 204
    query = "SELECT DISTINCT reason FROM v_rejected WHERE site_id = 'shop' AND reason IN ('origin', 'consent')"
    instance.until(query, lambda rows: len(rows) == 2)
    told = {item.text.partition(" for ")[2]: item for item in _check(instance) if item.subject == "refused"}
    assert told["origin, site shop"].verdict == "warning"
    assert "add its origin to the site" in told["origin, site shop"].fix
    assert told["consent, site shop: as it should be"].verdict == "good"
    with open_client(instance.config, instance.keyring, "writer") as client:
        client.command("ALTER TABLE rejected_events DELETE WHERE site_id = 'shop' SETTINGS mutations_sync = 2")


def test_a_site_that_cannot_work(instance: RunningInstance) -> None:
    """A site without any origin is wrong, by name."""
    with open_client(instance.config, instance.keyring, "writer") as client:
        made = add_site(client, Site("nowhere", identify_versions=(1,)))
        try:
            found = _bad(_check(instance))
        finally:
            write_site(client, msgspec.structs.replace(made, deleted=True), made)
    assert found["site nowhere"][0] == "origins: no origin is allowed: every browser's beacon is refused"


def test_a_full_disk(instance: RunningInstance) -> None:
    """With less room than min_free_bytes: said what that does, and that the tags come again."""
    found = _bad(_check(instance, min_free_bytes=1 << 62))
    assert list(found) == ["disk"]
    assert "503" in found["disk"][0]


@pytest.mark.long
def test_an_address_that_is_none() -> None:
    """What is no http address is refused before anything is looked at."""
    for address in ("shop.example", "ftp://shop.example/", "https://", "http://[::1"):
        done = _doctor(address)
        assert done.returncode == 2
        assert "must be an address such as https://shop.example/" in re.sub(r"\s+", " ", done.stderr)
