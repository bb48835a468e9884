"""The salt of the day: one for all processes of a host, gone when the day is."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from collector import disk
from collector.sites.day_salt import DAY_MS, DaySalts

NOON_MS = 1_795_348_800_000  # 2026-11-22
MIDNIGHT_MS = NOON_MS + DAY_MS // 2


def list_files(folder: Path) -> list[str]:
    """Return what lies in the folder, drafts included."""
    return sorted(path.name for path in folder.iterdir())


def test_one_salt_all_day_for_every_process(tmp_path: Path) -> None:
    """Whoever comes first makes it, everybody else reads it, and a restart changes nothing."""
    folder = tmp_path / "web"
    first = DaySalts(folder)
    salt = first.find(NOON_MS)
    assert len(salt) == 32
    assert {first.find(MIDNIGHT_MS - 1), DaySalts(folder).find(NOON_MS - 1)} == {salt}
    assert list_files(folder) == ["day-salt-2026-11-22"]
    assert stat.S_IMODE((folder / "day-salt-2026-11-22").stat().st_mode) == 0o600


def test_at_midnight_there_is_another_and_the_earlier_one_is_gone(tmp_path: Path) -> None:
    """The new day's salt has nothing to do with the earlier one, of which no file is left."""
    salts = DaySalts(tmp_path)
    before = salts.find(MIDNIGHT_MS - 1)
    after = salts.find(MIDNIGHT_MS)
    assert before != after
    assert list_files(tmp_path) == ["day-salt-2026-11-23"]
    assert before.hex() not in (tmp_path / "day-salt-2026-11-23").read_text()


def test_a_day_without_visitors_leaves_no_salt_either(tmp_path: Path) -> None:
    """What sweeps deletes the file and forgets the salt, and makes no new one."""
    salts = DaySalts(tmp_path)
    before = salts.find(NOON_MS)
    salts.sweep(MIDNIGHT_MS - 1)
    assert salts.find(NOON_MS) == before
    salts.sweep(MIDNIGHT_MS)
    assert list_files(tmp_path) == []
    assert salts.find(NOON_MS) != before, "it is not in memory either"


def test_a_file_of_a_far_day_does_not_stay(tmp_path: Path) -> None:
    """A clock that was wrong once leaves nothing that would be used or kept."""
    for name in ("day-salt-2099-01-01", "day-salt-1970-01-01", "day-salt-", "day-salt-2026-11-24"):
        (tmp_path / name).write_text("ab" * 32)
    (tmp_path / "day-salt-2026-11-23").write_text("cd" * 32)  # a process whose clock is ahead by a moment
    (tmp_path / "sites.json").write_text("{}")
    DaySalts(tmp_path).find(NOON_MS)
    assert list_files(tmp_path) == ["day-salt-2026-11-22", "day-salt-2026-11-23", "sites.json"]


@pytest.mark.parametrize("content", [b"", b"ab", b"\xff" * 64, b"zz" * 32])
def test_a_damaged_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    """What is no salt is not used as one."""
    (tmp_path / "day-salt-2026-11-22").write_bytes(content)
    salt = DaySalts(tmp_path).find(NOON_MS)
    assert len(salt) == 32
    assert DaySalts(tmp_path).find(NOON_MS) == salt
    assert list_files(tmp_path) == ["day-salt-2026-11-22", "day-salt.lock"]


@pytest.mark.parametrize("is_damaged", [False, True])
def test_processes_that_start_together_end_with_the_same(tmp_path: Path, is_damaged: bool) -> None:
    """Of eight that make one at the same moment, or replace a damaged one, all use one."""
    if is_damaged:
        (tmp_path / "day-salt-2026-11-22").write_bytes(b"ab")
    found: list[bytes] = []
    barrier = threading.Barrier(8)

    def find() -> None:
        barrier.wait()
        found.append(DaySalts(tmp_path).find(NOON_MS))

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert found[0].hex() == (tmp_path / "day-salt-2026-11-22").read_text()
    assert list_files(tmp_path) == ["day-salt-2026-11-22", *(["day-salt.lock"] if is_damaged else [])]


def test_where_the_disk_refuses_there_is_no_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No salt, no exception, no draft left; with the disk back there is one."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    salts = DaySalts(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(disk, "sync", refuse)
        assert salts.find(NOON_MS) == b""
        assert list_files(tmp_path) == []
    assert len(salts.find(NOON_MS)) == 32
