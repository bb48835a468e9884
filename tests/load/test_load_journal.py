"""The loader's journal: what was written is read again, and nothing that was not synced is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector import disk
from collector.load.journal import LoadJournal, Manifest, Range
from tests.faulty_disk import FAULTS, FaultyOs

MANIFEST = Manifest(
    seq=1,
    token="host:1:digest",
    ranges=[Range("web-1", "0000000001-00000000.v1.seg", 0, 4711, is_last=False)],
    events=5,
    evidence=0,
    rejected=0,
    first_received_at_ms=1,
    last_received_at_ms=2,
    settings_version=1,
)


def test_reopened_journal_is_the_same(tmp_path: Path) -> None:
    """Manifest, offsets and number survive, whole segments are remembered until they are gone."""
    journal = LoadJournal(tmp_path, 1)
    journal.freeze(MANIFEST)
    journal.close()
    journal = LoadJournal(tmp_path, 1)
    assert journal.state.manifest == MANIFEST
    whole = Range("web-1", "0000000000-00000000.v1.seg", 0, 9, is_last=True)
    journal.settle([whole, *MANIFEST.ranges], 1)
    journal.close()
    journal = LoadJournal(tmp_path, 1)
    assert journal.state.manifest is None
    assert journal.state.seq == 1
    assert journal.state.offsets == {MANIFEST.ranges[0].key: 4711}
    assert journal.state.finished == [whole.key]
    journal.close()


def test_what_is_read_is_written_and_synced_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that stands in memory only, after a kill in front of the sync, is made durable before it is used."""
    LoadJournal(tmp_path, 1).close()
    calls = FaultyOs()
    monkeypatch.setattr(disk, "os", calls)
    LoadJournal(tmp_path, 1).close()
    assert calls.calls == ["open", "pwrite", "fdatasync"]


def test_short_writes_are_completed(tmp_path: Path) -> None:
    """A write that takes half of the bytes goes on with the other half, at the right place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "os", FaultyOs(1, FAULTS["short"], times=1000))
        journal = LoadJournal(tmp_path, 1)
        journal.freeze(MANIFEST)
        journal.close()
    journal = LoadJournal(tmp_path, 1)
    assert journal.state.manifest == MANIFEST
    journal.close()


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC", "torn"])
def test_failed_write_leaves_the_state_before(tmp_path: Path, fault: str) -> None:
    """When a write fails, what is read afterwards is the state before it or, whole, the one that was being written."""
    journal = LoadJournal(tmp_path, 1)
    journal.freeze(MANIFEST)
    before = journal.state
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "os", FaultyOs(1, FAULTS[fault]))
        with pytest.raises(OSError, match=r"pwrite|Input|space"):
            journal.settle(MANIFEST.ranges, 1)
    assert journal.state == before
    journal.close()
    journal = LoadJournal(tmp_path, 1)
    assert journal.state.manifest == MANIFEST
    journal.close()
