from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from collector.config import Config
from collector.errors import InstanceBusy, InstanceError
from collector.instance import RunningState, follow_running, open_instance, read_state


def test_a_new_folder_is_made_and_found_again(tmp_path: Path) -> None:
    """An empty or missing folder becomes an instance that only its owner can read."""
    path = tmp_path / "deep" / "data"
    open_instance(path, lock=True).close()
    assert path.stat().st_mode & 0o077 == 0
    open_instance(path, lock=True).close()


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written beside somebody else's files."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InstanceError, match=r"thesis\.txt.*--data"):
        open_instance(tmp_path, lock=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_disk_that_is_mounted_for_the_spool_may_come_first(tmp_path: Path) -> None:
    """The spool may have a disk of its own before the first start."""
    (tmp_path / "spool" / "lost+found").mkdir(parents=True)
    open_instance(tmp_path, lock=False)
    assert (tmp_path / "tagstitch.json").is_file()


def test_a_newer_folder_is_left_alone(tmp_path: Path) -> None:
    """An older program says that it is too old."""
    (tmp_path / "tagstitch.json").write_text('{"format": 99}')
    with pytest.raises(InstanceError, match="newer"):
        open_instance(tmp_path, lock=True)


def test_a_path_that_is_a_file_ends_with_one_line(tmp_path: Path) -> None:
    """A wrong --data names the cause."""
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InstanceError, match="--data"):
        open_instance(file, lock=True)


def test_a_second_instance_is_refused_and_names_the_first(tmp_path: Path) -> None:
    """Two supervisors never share a folder; the lock dies with its holder."""
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from collector.instance import open_instance;"
            "held = open_instance(Path(sys.argv[1]), lock=True); print('held', flush=True); sys.stdin.read()",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InstanceBusy, match=str(holder.pid)):
            open_instance(tmp_path, lock=True)
        holder.kill()
    open_instance(tmp_path, lock=True).close()


def test_commands_follow_the_running_instance(tmp_path: Path) -> None:
    """`--data DIR` is enough to reach an instance on other ports; what was said explicitly stays."""
    instance = open_instance(tmp_path, lock=True)
    instance.write_state(RunningState(os.getpid(), "127.0.0.1", 9001, "127.0.0.1", 9002))
    config = Config(data=str(tmp_path))
    assert follow_running(config).engine_port == 9002
    assert follow_running(msgspec.structs.replace(config, port=1), frozenset({"port"})).port == 1
    instance.close()
    assert read_state(tmp_path) is None
    assert follow_running(config) == config


def test_the_state_of_a_dead_instance_is_not_believed(tmp_path: Path) -> None:
    """A supervisor that was killed leaves its state behind; nobody follows it."""
    instance = open_instance(tmp_path, lock=True)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    instance.write_state(RunningState(dead.pid, "127.0.0.1", 9001, "127.0.0.1", 9002))
    assert read_state(tmp_path) is None
    instance.close()
