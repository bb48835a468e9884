"""The pause in front of the last part of a copy: nobody is in the middle of a batch, and everybody goes on after."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from collector import disk
from collector.copying import pause
from collector.copying.pause import paused_loading
from collector.errors import InstanceError
from collector.load.journal import LoadJournal, Manifest, Range
from collector.load.maintenance import is_maintenance, set_maintenance

LATER_MS = 4_000_000_000_000


def freeze_batch(data: Path) -> LoadJournal:
    """A loader that died with a batch on its way."""
    journal = LoadJournal(data / "load", 1)
    ranges = [Range("web-0", "0000000001-00000000.v1.seg", 0, 10, is_last=True)]
    journal.freeze(Manifest(1, "token", ranges, 1, 0, 0, 1, 1, 1))
    return journal


def say(data: Path, paused: str, at_ms: int = LATER_MS) -> None:
    """What the loader's status file says."""
    (data / "load" / "status.json").write_bytes(msgspec.json.encode({"at_ms": at_ms, "paused": paused, "seq": 1}))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a `load/`, and little patience."""
    disk.make_folder(tmp_path / "load")
    monkeypatch.setattr(pause, "LOADER_PATIENCE_S", 0.0)
    return tmp_path


@pytest.mark.parametrize("is_kept", [False, True])
def test_without_a_loader_its_lock_is_held(data: Path, is_kept: bool) -> None:
    """A loader that is started meanwhile does not get the lock; the switch stays only if it shall."""
    with paused_loading(data) as held:
        assert disk.take_lock(data / "load" / "lock") is None
        assert is_maintenance(data)
        held.is_kept = is_kept
    lock = disk.take_lock(data / "load" / "lock")
    assert lock is not None
    disk.close(lock)
    assert is_maintenance(data) == is_kept


def test_an_unsettled_batch_without_a_loader_is_refused(data: Path) -> None:
    """Nobody can settle it: the old store alone knows whether it landed."""
    freeze_batch(data).close()
    with pytest.raises(InstanceError, match="a batch is unsettled and no loader runs"), paused_loading(data):
        raise AssertionError("must not be reached")
    assert not is_maintenance(data)


@pytest.mark.parametrize(("paused", "at_ms"), [("", LATER_MS), ("away", LATER_MS), ("maintenance", 1)])
def test_a_loader_that_does_not_rest(data: Path, paused: str, at_ms: int) -> None:
    """One that works, waits for its store, or said so before we asked: no copy is made of a moving thing."""
    lock = disk.take_lock(data / "load" / "lock")
    assert lock is not None
    say(data, paused, at_ms)
    with pytest.raises(InstanceError, match="does not come to rest"), paused_loading(data, sleep=lambda _: None):
        raise AssertionError("must not be reached")
    disk.close(lock)
    assert not is_maintenance(data)


def test_a_batch_on_its_way_may_finish(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader was paused with a batch in the air: it is let go for a moment, and settles it."""
    monkeypatch.setattr(pause, "LOADER_PATIENCE_S", 60.0)
    lock = disk.take_lock(data / "load" / "lock")
    assert lock is not None
    journal = freeze_batch(data)
    say(data, "maintenance")

    def wait(_: float) -> None:
        if not is_maintenance(data):
            journal.settle(journal.state.manifest.ranges if journal.state.manifest else [], 1)

    with paused_loading(data, sleep=wait):
        assert is_maintenance(data)
        assert journal.state.manifest is None
    journal.close()
    disk.close(lock)


def test_a_batch_under_a_pause_of_somebody_else(data: Path) -> None:
    """Maintenance that was on before is not ended for a moment either: it is said that it has to be."""
    lock = disk.take_lock(data / "load" / "lock")
    assert lock is not None
    journal = freeze_batch(data)
    set_maintenance(data, True)
    say(data, "maintenance")

    def wait(_: float) -> None:
        raise AssertionError("the pause was ended")

    with pytest.raises(InstanceError, match="end maintenance first"), paused_loading(data, sleep=wait):
        raise AssertionError("must not be reached")
    assert is_maintenance(data)
    journal.close()
    disk.close(lock)


def test_a_pause_of_somebody_else_stays(data: Path) -> None:
    """Maintenance that was on before is not ours to end."""
    set_maintenance(data, True)
    with pytest.raises(ZeroDivisionError), paused_loading(data):
        raise ZeroDivisionError
    assert is_maintenance(data)
