"""`run/stitch.json` and what `/metrics` makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.condition import read_condition
from collector.endpoints.exposition import expose
from collector.identity.stitching.stitch_status import MergeFuse, StitchCounts, StitchStatusFile, read_stitch_status


def test_the_lag_grows_while_something_waits(tmp_path: Path) -> None:
    """A step that takes long, or a stitch that is gone, is seen by the age of what waits."""
    clock_ms = [1_000_000]
    status = StitchStatusFile(tmp_path, now_ms=lambda: clock_ms[0])
    counts = StitchCounts(touched=3, refusals={"fused": 2})
    status.write(counts, 999_000)
    text = expose(read_condition(tmp_path, 1_004_000)).decode()
    assert "tagstitch_stitch_lag_seconds 5.0" in text
    assert "tagstitch_stitch_touched_total 3.0" in text
    assert 'tagstitch_stitch_refusals_total{reason="fused"} 2.0' in text
    status.write(counts, 0)
    assert "tagstitch_stitch_lag_seconds 0.0" in expose(read_condition(tmp_path, 1_004_000)).decode()


def test_idle_it_writes_now_and_then(tmp_path: Path) -> None:
    """Nothing waits, again and again: the disk is left alone for two seconds."""
    clock_ms = [1_000_000]
    status = StitchStatusFile(tmp_path, now_ms=lambda: clock_ms[0])
    seen = []
    for _ in range(10):
        status.write(StitchCounts(), 0)
        found = read_stitch_status(tmp_path)
        assert found is not None
        seen.append(found.at_ms)
        clock_ms[0] += 500
    assert sorted(set(seen)) == [1_000_000, 1_002_000, 1_004_000]


def test_without_a_stitch_there_are_no_such_metrics(tmp_path: Path) -> None:
    """A host on which no stitch ever ran says nothing about one."""
    assert "tagstitch_stitch_" not in expose(read_condition(tmp_path, 1_000)).decode()


@pytest.mark.parametrize(("after_s", "is_blown"), [(0.0, True), (59.9, True), (60.0, False)])
def test_the_fuse_counts_a_minute(after_s: float, is_blown: bool) -> None:
    """Merges of the last minute, more than the most."""
    clock_s = [10.0]
    fuse = MergeFuse(5, lambda: clock_s[0])
    fuse.count(5)
    assert not fuse.is_blown()
    fuse.count(1)
    clock_s[0] += after_s
    assert fuse.is_blown() == is_blown
