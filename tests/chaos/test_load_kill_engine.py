"""kill -9 of the role `load` at any moment, under a stream of beacons, with the real engine behind it."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import threading
import time
from pathlib import Path

import msgspec
import pytest

from collector.load.loader import run_loader
from collector.spool.writer import SpoolWriter
from tests.chaos.outcome import SEED, chaos_case, count_rounds
from tests.chaos.victims import run_role
from tests.running_store import make_event, make_evidence, make_row, running_store

pytestmark = [pytest.mark.chaos, pytest.mark.engine]

ROUNDS = count_rounds(6, 200)


async def stream(folder: Path, enough: threading.Event, acknowledged: list[int]) -> None:
    """Append beacons of three events, eight at a time, until it is enough."""
    writer = SpoolWriter(folder, segment_age_s=0.05)
    number = 0
    while not enough.is_set():
        group = range(number, number + 8)
        rows = [
            make_row(
                visitor + 1,
                events=[make_event(visitor * 3 + index) for index in range(3)],
                evidence=[make_evidence(visitor, visitor + 1)],
            )
            for visitor in group
        ]
        await asyncio.gather(*[writer.append(msgspec.json.encode(row)) for row in rows])
        acknowledged += group
        number += 8
        await asyncio.sleep(0.004)
    writer.close()


@pytest.mark.timeout(60 + 5 * ROUNDS)
@chaos_case("kill -9 of the loader at any moment", "SIGKILL of the loader alone, the real engine behind it", ROUNDS)
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """What was acknowledged is in every table exactly once, and the list of batches has no gap."""
    chance = random.Random(SEED)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.chaos.victims"])
    with running_store(tmp_path / "store") as store:
        config = msgspec.structs.replace(store.config, data=str(tmp_path / "data"), load_interval_s=0.01)
        acknowledged: list[int] = []
        enough = threading.Event()
        sender = threading.Thread(
            target=lambda: asyncio.run(stream(tmp_path / "data" / "spool" / "web-1", enough, acknowledged))
        )
        sender.start()
        try:
            for _ in range(ROUNDS):
                victim = context.Process(target=run_role, args=(config, store.keyring))
                victim.start()
                time.sleep(chance.uniform(0.1, 0.7))
                victim.kill()
                victim.join()
        finally:
            enough.set()
            sender.join()
        stop = threading.Event()
        last = threading.Thread(target=run_loader, args=(config, store.keyring, stop))
        last.start()
        give_up_at = time.monotonic() + 50
        while list((tmp_path / "data" / "spool").rglob("*.seg")) and time.monotonic() < give_up_at:
            time.sleep(0.05)
        stop.set()
        last.join()

        assert len(acknowledged) > 50
        events = 3 * len(acknowledged)
        assert store.value("SELECT count() FROM events") == events
        assert store.value("SELECT uniqExact(event_id) FROM events") == events
        assert store.value("SELECT count() FROM identity_evidence") == len(acknowledged)
        assert store.value("SELECT sum(events) FROM batches FINAL") == events
        assert store.value("SELECT max(seq) - count() FROM batches FINAL") == 0
    assert [path.name for path in (tmp_path / "data" / "spool").rglob("*") if path.is_file()] == ["lock"]
