"""Backups through the whole instance: made while beacons come, brought back without whoever was erased since."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from collector.backup.keys import BackupKey
from collector.identity.stitching.rebuild import rebuild
from collector.store.client import open_client
from tests.identity_drive import Space, World, running_world
from tests.instance_process import RunningInstance, running_instance

pytestmark = pytest.mark.engine
COUNTED = ("events", "timeline", "sessions", "visitor_facts", "identity_evidence", "identity_map", "traits")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for the module."""
    with running_world(tmp_path_factory.mktemp("backup"), spaces=3) as running:
        yield running


@pytest.fixture
def space(world: World) -> Space:
    """A space of the test's own."""
    return world.take_space()


@contextlib.contextmanager
def running_empty(folder: Path, of: RunningInstance) -> Iterator[RunningInstance]:
    """Run an empty instance with the secrets, the backup keys and the journal of another one."""
    (folder / "data").mkdir(parents=True)
    for name in ("secrets.json", "backup_keys.json"):
        shutil.copy(of.data / name, folder / "data" / name)
        (folder / "data" / name).chmod(0o600)
    with running_instance(folder) as instance:
        yield instance


def count_rows(instance: RunningInstance, space: str) -> dict[str, int]:
    """Count what readers would see of a space, by table."""
    with contextlib.closing(open_client(instance.config, instance.keyring, "writer")) as writer:
        return {
            table: writer.query_rows(
                f"SELECT count() AS found FROM {table} FINAL WHERE space_id = {{space:String}}", {"space": space}
            )[0]["found"]
            for table in COUNTED
        }


def test_who_was_erased_since_does_not_come_back(space: Space, tmp_path: Path) -> None:
    """Somebody is erased after a backup; it is brought back elsewhere: all others are there, and they are not."""
    anna, ben = space.browser(), space.browser()
    anna.sign_in(customer="anna", ago_h=2)
    anna.view(ago_h=1)
    ben.sign_in(customer="ben", ago_h=1)
    space.call("identify", userId="ben", traits={"city": "Bremen"}, ago_h=0.5)
    space.settle()
    instance = space.world.instance
    path = tmp_path / "backups" / "one.tsb"
    made = json.loads(instance.command("backup", "--to", str(path), "--json").stdout)
    assert made["rows"]["events"] > 5
    assert path.stat().st_mode & 0o077 == 0
    before = count_rows(instance, space.name)
    backups = ("--set", f"backup_dir={path.parent}", "--set", "settings_interval_s=0.3")
    instance.command("privacy", "erase", "customer=anna", "--space", space.name, "--yes", *backups)
    after = count_rows(instance, space.name)
    assert after["events"] == before["events"] - 3
    with running_empty(tmp_path, instance) as other:
        done = json.loads(other.command("restore", str(path), "--json").stdout)
        assert done["rows"] == made["rows"]
        assert done["erased_again"] == 1
        assert count_rows(other, space.name) == after
        customers = other.sql("SELECT customer_id FROM v_customers WHERE space_id = 'x' OR 1")
        assert {"ben"} <= {row["customer_id"] for row in customers}
        assert "anna" not in {row["customer_id"] for row in customers}
        assert rebuild(other.config, other.keyring, dry_run=True).differences == 0
        again = other.command("restore", str(path), check=False)
        assert (again.returncode, "not empty" in again.stderr) == (1, True)


@pytest.mark.long
def test_a_backup_is_noise_to_strangers(space: Space, tmp_path: Path) -> None:
    """An instance with other secrets refuses it."""
    path = tmp_path / "one.tsb"
    space.world.instance.command("backup", "--to", str(path))
    with running_instance(tmp_path / "strange") as strange:
        refused = strange.command("restore", str(path), check=False)
        assert (refused.returncode, "other secrets" in refused.stderr) == (1, True)


def test_a_backup_is_noise_without_its_key(space: Space, tmp_path: Path) -> None:
    """A backup whose key was destroyed is removed: nobody could bring it back."""
    instance = space.world.instance
    path = tmp_path / "backups" / "one.tsb"
    instance.command("backup", "--to", str(path))
    keys_path = instance.data / "backup_keys.json"
    keys = msgspec.json.decode(keys_path.read_bytes(), type=list[BackupKey])
    keys_path.write_bytes(msgspec.json.encode([msgspec.structs.replace(key, until_ms=1) for key in keys]))
    second = path.with_name("two.tsb")
    said = json.loads(
        instance.command("backup", "--to", str(second), "--json", "--set", f"backup_dir={path.parent}").stdout
    )
    assert said["removed"] == ["one.tsb"]
    assert not path.exists()
    assert second.exists()
