"""Waiting until the spool as it is now is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from collector.errors import InstanceError
from collector.load.counts import LoaderCounts
from collector.load.drain import find_waiting, look_at_spool, wait_for_spool
from collector.load.status import LoadStatus

NOW_MS = 1_800_000_000_000
OPEN, SEALED = "0000000001-abcdef01.v1.open", "0000000001-abcdef01.v1.seg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of one writer, with one open segment of 100 bytes."""
    folder = tmp_path / "spool" / "web-1"
    folder.mkdir(parents=True)
    (folder / OPEN).write_bytes(b"x" * 100)
    (folder / "lock").touch()
    return folder


def write_status(data: Path, paused: str = "", at_ms: int = NOW_MS, **offsets: int) -> None:
    (data / "load").mkdir(exist_ok=True)
    loaded = {f"web-1/{SEALED}": end for end in offsets.values()}
    status = LoadStatus(at_ms, os.getpid(), at_ms, "host", 1, 0, 0, 0, paused, 0, loaded, LoaderCounts())
    (data / "load" / "status.json").write_bytes(msgspec.json.encode(status))


def wait(data: Path, step: Callable[[], None] = lambda: None) -> list[int]:
    told: list[int] = []
    wait_for_spool(data, told.append, patience_s=2, sleep=lambda _: step(), now_ms=lambda: NOW_MS)
    return told


def test_an_empty_spool_is_not_waited_for(tmp_path: Path) -> None:
    """Nor one that is not there, nor a segment into which nothing was written; no loader is needed for that."""
    assert wait(tmp_path) == []
    (tmp_path / "spool" / "web-1").mkdir(parents=True)
    (tmp_path / "spool" / "web-1" / OPEN).touch()
    assert wait(tmp_path) == []


def test_a_segment_is_waited_for_until_it_is_gone(tmp_path: Path, folder: Path) -> None:
    """Sealed meanwhile it is the same one; what is written after the first look is not waited for."""
    write_status(tmp_path)
    spooled = look_at_spool(tmp_path)
    (folder / OPEN).rename(folder / SEALED)
    assert find_waiting(tmp_path, spooled) == {"web-1/0000000001-abcdef01.v1": 100}

    def load() -> None:
        (folder / SEALED).unlink()
        (folder / "0000000002-abcdef02.v1.open").write_bytes(b"later")

    assert wait(tmp_path, load) == [100]


def test_a_segment_may_be_loaded_up_to_where_it_was(tmp_path: Path, folder: Path) -> None:
    """A large one is loaded in several batches."""
    write_status(tmp_path, part=60)
    assert wait(tmp_path, lambda: write_status(tmp_path, part=100)) == [40]


@pytest.mark.parametrize(
    ("paused", "at_ms", "why"),
    [("", 0, "no loader runs"), ("maintenance", NOW_MS, "paused .maintenance"), ("", NOW_MS, "nothing of it")],
)
def test_a_loader_that_does_not_load_is_not_waited_for(
    tmp_path: Path, folder: Path, paused: str, at_ms: int, why: str
) -> None:
    """It says what waits and why, at once where it can be known."""
    write_status(tmp_path, paused, at_ms)
    with pytest.raises(InstanceError, match=rf"1 segment of the spool, 100 bytes, .*{why}"):
        wait(tmp_path)
