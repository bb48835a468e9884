"""Upgrades: a folder as each release left it in the middle of its work comes up with this program; what does not fit is
refused and left as it is. The folders are made by tests/data/releases/write_release.py."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from instance_process import RunningInstance, start_instance

from collector.config import Config
from collector.keyring import Keyring, read_keyring
from collector.load.journal import LoadJournal, Manifest, has_unsettled_batch
from collector.load.maintenance import set_maintenance
from collector.spool.frames import encode_frame
from collector.spool.segments import parse_name
from collector.store.client import open_client
from collector.store.migrate import migrate
from collector.store.writer import BATCH_SETTINGS_VERSION, insert_batch, insert_rows
from tests.engine_process import running_engine
from tests.running_store import configure

pytestmark = pytest.mark.engine
RELEASES = sorted((Path(__file__).parent.parent / "data" / "releases").glob("*.tar.xz"))


@dataclass
class Left:
    """What a release left: the instance's folder, what the store had been sent, what must be found in the end."""

    data: Path
    landed: Path
    facts: dict[str, Any]

    @property
    def bodies(self) -> list[bytes]:
        """The batches, the unsettled one last."""
        return [path.read_bytes() for path in sorted(self.landed.iterdir())]


def unpack(release: Path, folder: Path) -> Left:
    with tarfile.open(release) as archive:
        archive.extractall(folder, filter="tar")
    return Left(folder / "data", folder / "landed", json.loads((folder / "facts.json").read_bytes()))


def seed_store(instance: RunningInstance, left: Left, count: int) -> None:
    """Put into the store what the release had loaded: `count` batches, those that were settled listed."""
    with open_client(instance.config, instance.keyring, "writer") as client:
        for body, token in list(zip(left.bodies, left.facts["tokens"], strict=True))[:count]:
            insert_batch(client, body, token)
        insert_rows(client, "batches", left.facts["listed"])


def ask(instance: RunningInstance, question: str) -> list[dict[str, Any]]:
    with open_client(instance.config, instance.keyring, "writer") as client:
        return client.query_rows(question)


def stop(instance: RunningInstance) -> None:
    if instance.process.poll() is None:
        instance.stop()
    assert instance.process.stdout is not None
    instance.process.stdout.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("had_landed", [pytest.param(False, marks=pytest.mark.long), True])
@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_a_folder_of_a_release_comes_up(release: Path, had_landed: bool, tmp_path: Path) -> None:
    """Segments sealed, open, torn and loaded in part, and a batch whose fate only the store knows: all events are there
    once, under the host's own name and without a gap in the list."""
    left = unpack(release, tmp_path)
    set_maintenance(left.data, True)
    settled = len(left.facts["listed"])
    assert has_unsettled_batch(left.data / "load")
    assert any(path.suffix == ".open" for path in (left.data / "spool").rglob("*"))
    instance = start_instance(left.data, tmp_path / "log")
    try:
        seed_store(instance, left, settled + had_landed)
        assert len(ask(instance, "SELECT 1 FROM events")) < len(left.facts["events"])
        instance.command("maintenance", "off")
        instance.until(
            "SELECT uniqExact(event_id) AS n FROM v_events", lambda rows: rows[0]["n"] >= len(left.facts["events"])
        )
        instance.until("SELECT sum(events) AS n FROM v_batches", lambda rows: rows[0]["n"] >= len(left.facts["events"]))
        rows = ask(instance, "SELECT toString(event_id) AS id FROM events")
        assert sorted(row["id"] for row in rows) == sorted(left.facts["events"])
        [found] = ask(instance, "SELECT uniqExact(visitor_id) AS visitors, uniqExact(batch_host) AS hosts FROM events")
        assert (found["visitors"], found["hosts"]) == (left.facts["visitors"], 1)
        [listed] = ask(
            instance,
            "SELECT count() AS n, min(seq) AS first, max(seq) AS last, any(host) AS host, sum(events) AS events,"
            " sum(evidence) AS evidence, sum(rejected) AS rejected FROM batches FINAL",
        )
        assert (listed["n"], listed["first"], listed["host"]) == (listed["last"], 1, left.facts["host"])
        assert (listed["events"], listed["rejected"]) == (len(left.facts["events"]), left.facts["refusals"])
        assert listed["evidence"] == left.facts["evidence"]
        assert ask(instance, "SELECT count() AS n FROM identity_evidence") == [{"n": left.facts["evidence"]}]
        tokens = {row["token"] for row in ask(instance, "SELECT token FROM batches FINAL")}
        assert left.facts["unsettled"] in tokens
        assert "cut a torn tail off" in instance.log
    finally:
        stop(instance)
    assert not has_unsettled_batch(left.data / "load")
    assert not [path for path in (left.data / "spool").rglob("*") if parse_name(path.name)]


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_the_copy_of_the_sites_serves_without_a_store(release: Path, tmp_path: Path) -> None:
    """Web comes up on a release's folder while the store is away, and knows the sites: a beacon is accepted."""
    left = unpack(release, tmp_path)
    (left.data / "run").mkdir()
    log = (tmp_path / "log").open("wb")
    web = subprocess.Popen(
        [
            *(sys.executable, "-m", "collector", "web", "--data", str(left.data)),
            "--port",
            "0",
            "--set",
            "engine_port=1",
        ],
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        assert web.stdout is not None
        port = json.loads(web.stdout.readline())["port"]
        config, keyring = configure_web(left, port)
        instance = RunningInstance(web, left.data, tmp_path / "log", config, keyring)
        event = {"i": "0a1b2c3d-0000-4000-8000-000000000001", "n": "page_view", "t": time.time_ns() // 1_000_000}
        body = {
            "v": 1,
            "s": "shop",
            "st": event["t"],
            "d": "0a1b2c3d-0000-4000-8000-000000000002",
            "c": "a",
            "e": [event],
        }
        status, answer = instance.post(body, {"Origin": left.facts["origin"]})
        assert status in (200, 204), answer
    finally:
        web.terminate()
        web.wait(30)
        assert web.stdout is not None
        web.stdout.close()
        log.close()


def configure_web(left: Left, port: int) -> tuple[Config, Keyring]:
    return Config(data=str(left.data), port=port), read_keyring(left.data / "secrets.json", {})


@pytest.mark.long
def test_a_newer_schema_stops_an_older_program(tmp_path: Path) -> None:
    """Rollback over a migration: `tagstitch run` ends with one line, `load` waits; the spool stays as it is."""
    left = unpack(RELEASES[-1], tmp_path / "left")
    with running_engine(tmp_path / "server") as engine:
        config, keyring = configure(engine)
        migrate(config, keyring)
        later = {"version": 999, "name": "later", "checksum": "x"}
        with open_client(config, keyring, "writer") as client:
            insert_rows(client, "schema_migrations", [later])
        spool = list_spool(left.data)
        dsn = ("--set", f"dsn={engine.dsn('writer', 'tagstitch')}")
        command = [sys.executable, "-m", "collector"]
        done = subprocess.run(
            [*command, "run", "--data", str(left.data), "--port", "0", *dsn],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert "schema version 999" in done.stderr.splitlines()[-1]
        assert "update tagstitch" in done.stderr.splitlines()[-1]
        load = subprocess.Popen([*command, "load", "--data", str(left.data), *dsn], stderr=subprocess.PIPE, text=True)
        assert load.stderr is not None
        said = ""
        while "999" not in said:
            line = load.stderr.readline()
            assert line, said
            said += line
        load.terminate()
        assert load.wait(30) == 0
        load.stderr.close()
        with open_client(config, keyring, "writer") as client:
            assert client.query_rows("SELECT count() AS n FROM events") == [{"n": 0}]
    names = {name.removesuffix(".open").removesuffix(".seg") for name in spool}
    assert {name.removesuffix(".seg") for name in list_spool(left.data)} >= names
    assert has_unsettled_batch(left.data / "load")


def list_spool(data: Path) -> set[str]:
    return {path.name for path in (data / "spool").rglob("*") if parse_name(path.name)}


@pytest.mark.timeout(180)
@pytest.mark.long
def test_segments_of_a_later_format_wait(tmp_path: Path) -> None:
    """Rollback over a format of the spool: what a later version wrote is left alone and named; ours is loaded."""
    left = unpack(RELEASES[-1], tmp_path)
    folder = left.data / "spool" / "web-7"
    folder.mkdir()
    foreign = [folder / "0000000001-00000000.v2.seg", folder / "0000000002-00000001.v2.open"]
    for path in foreign:
        path.write_bytes(encode_frame(b'{"of":"a later version"}'))
    set_maintenance(left.data, True)
    instance = start_instance(left.data, tmp_path / "log")
    try:
        seed_store(instance, left, len(left.facts["listed"]))
        instance.command("maintenance", "off")
        instance.until(
            "SELECT uniqExact(event_id) AS n FROM v_events", lambda rows: rows[0]["n"] == len(left.facts["events"])
        )
    finally:
        stop(instance)
    assert instance.log.count("another version wrote this spool segment") == len(foreign)
    assert [path.read_bytes() for path in foreign] == [encode_frame(b'{"of":"a later version"}')] * 2


def test_an_unsettled_batch_of_other_settings_is_refused(tmp_path: Path) -> None:
    """A batch that this program cannot repeat byte for byte is left for the version that began it."""
    left = unpack(RELEASES[-1], tmp_path)
    journal = LoadJournal(left.data / "load", left.facts["settings_version"])
    assert journal.state.manifest is not None
    manifest: Manifest = msgspec.structs.replace(journal.state.manifest, settings_version=BATCH_SETTINGS_VERSION + 1)
    journal.freeze(manifest)
    journal.close()
    before = (left.data / "load" / "journal").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "collector", "load", "--data", str(left.data)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "a batch of another version is unsettled: let that version load it first" in done.stderr
    assert (left.data / "load" / "journal").read_bytes() == before


def test_a_folder_of_a_later_format_is_refused(tmp_path: Path) -> None:
    """Nothing in it is touched."""
    left = unpack(RELEASES[-1], tmp_path)
    (left.data / "tagstitch.json").write_bytes(b'{"format":2}')
    before = sorted((path, path.stat().st_mtime_ns) for path in left.data.rglob("*"))
    for role in ("run", "web"):
        done = subprocess.run(
            [sys.executable, "-m", "collector", role, "--data", str(left.data), "--port", "0"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert "was made by a newer tagstitch (format 2): update this program" in done.stderr
    assert sorted((path, path.stat().st_mtime_ns) for path in left.data.rglob("*")) == before


def test_every_release_is_small() -> None:
    """They are kept for ever."""
    assert RELEASES
    assert all(release.stat().st_size < 300_000 for release in RELEASES)
