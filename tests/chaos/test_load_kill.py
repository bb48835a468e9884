"""kill -9 of a loader, before and after each of its steps: every beacon lands exactly once all the same."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from collector.load.journal import has_unsettled_batch
from collector.spool.frames import encode_frame
from tests.chaos.outcome import chaos_case
from tests.chaos.victims import run_loader
from tests.faulty_disk import FaultyOs, die_after, die_before
from tests.folder_store import FolderStore

pytestmark = pytest.mark.chaos


def fill(data: Path) -> None:
    """Write twelve beacons in three segments; the third one's writer is dead."""
    folder = data / "spool" / "web-1"
    folder.mkdir(parents=True)
    for segment, form in ((1, "seg"), (2, "seg"), (3, "open")):
        lines = [
            b'{"received_at_ms":1,"viewport":"%d","events":[{}]}' % number
            for number in range(segment * 4 - 4, segment * 4)
        ]
        path = folder / f"{segment:010d}-00000000.v1.{form}"
        path.write_bytes(b"".join(encode_frame(line) for line in lines))


@pytest.mark.parametrize("fault", [die_before, die_after])
@chaos_case("kill at every file operation of the loader", "SIGKILL before and after each call of a small run")
def test_killed_at_every_step(tmp_path: Path, fault: Callable[..., Any]) -> None:
    """Killed before and after every file operation and every answer of the store, then started again: each beacon is
    in the store once, the list of batches has no gap, and the spool is empty."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.chaos.victims"])
    at, survived, unsettled = 0, False, 0
    while not survived:
        at += 1
        data = tmp_path / str(at)
        fill(data)
        victim = context.Process(target=run_loader, args=(data, at, fault))
        victim.start()
        victim.join()
        survived = victim.exitcode == 0
        assert survived or victim.exitcode == -9
        unsettled += has_unsettled_batch(data / "load")
        with capture_logs(), pytest.MonkeyPatch.context() as patch:
            patch.setattr("collector.disk.os", FaultyOs())
            run_loader(data, 0, fault)
        store = FolderStore(data / "store")
        assert sorted(int(row["viewport"]) for row in store.rows) == list(range(12)), f"call {at}"
        assert [row["seq"] for row in store.batches] == list(range(1, len(store.blocks) + 1)), f"call {at}"
        assert sum(row["events"] for row in store.batches) == 12
        assert [path.name for path in (data / "spool" / "web-1").iterdir()] == ["lock"]
    assert at > 40  # the steps were there
    assert unsettled > 10  # and many a batch was in the air
