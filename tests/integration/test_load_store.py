"""Spool and loader against the real engine: what was acknowledged is in the views, each event once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from collector.errors import SchemaError, StoreUnavailable
from collector.event import LandingRow
from collector.load.loader import Loader, run_loader
from collector.load.patience import Patience
from collector.load.store import ClickHouseLanding
from collector.spool.writer import SpoolWriter
from tests.running_store import RunningStore, make_event, make_evidence, make_refusal, make_row, running_store

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("load")) as store:
        yield store


@pytest.fixture
def store(running: RunningStore, tmp_path: Path) -> RunningStore:
    """The store, empty, with settings that name a data folder of this test's own."""
    running.clear()
    running.config = msgspec.structs.replace(running.config, data=str(tmp_path))
    return running


def spool_rows(store: RunningStore, rows: list[LandingRow], writer: str = "web-1", **settings: Any) -> None:
    """Append all rows at once and seal: when it returns, all of them are acknowledged."""

    async def work() -> None:
        spool = SpoolWriter(store.config.data_path / "spool" / writer, **settings)
        await asyncio.gather(*[spool.append(msgspec.json.encode(row)) for row in rows])
        spool.close()

    asyncio.run(work())


def load(store: RunningStore) -> None:
    """Run the role until the spool is empty."""
    stop = threading.Event()
    role = threading.Thread(target=run_loader, args=(store.config, store.keyring, stop))
    role.start()
    try:
        for _ in range(600):
            if not list((store.config.data_path / "spool").rglob("*.seg")):
                break
            stop.wait(0.05)
    finally:
        stop.set()
        role.join(60)
    assert not list((store.config.data_path / "spool").rglob("*.seg"))


class Unsure(ClickHouseLanding):
    """The store behind a line that breaks after each insert, as long as `breaks`."""

    breaks = True

    def insert(self, body: bytes, token: str) -> None:
        super().insert(body, token)
        if self.breaks:
            raise StoreUnavailable("reset after commit")


def test_twenty_thousand_events(store: RunningStore) -> None:
    """1,000 beacons with 20,000 events, from two writers, are in the view once each, and in the list of batches."""
    rows = [
        make_row(visitor, events=[make_event(visitor * 20 + index, after_s=index) for index in range(20)])
        for visitor in range(1000)
    ]
    spool_rows(store, rows[:600], segment_bytes=1_000_000)
    spool_rows(store, rows[600:], "web-2")
    store.config = msgspec.structs.replace(store.config, batch_events=7000)
    load(store)
    assert store.value("SELECT count() FROM v_events") == 20_000
    assert store.value("SELECT uniqExact(event_id) FROM v_events") == 20_000
    assert store.value("SELECT uniqExact(visitor_id) FROM events") == 1000
    batches = store.query("SELECT host, seq, events, token FROM batches FINAL ORDER BY seq")
    assert [row["seq"] for row in batches] == list(range(1, len(batches) + 1))
    assert sum(row["events"] for row in batches) == 20_000
    assert max(row["events"] for row in batches) <= 7000
    counted = store.query(
        "SELECT batch_host AS host, batch_seq AS seq, count() AS events FROM events GROUP BY ALL ORDER BY seq"
    )
    assert counted == [{name: row[name] for name in ("host", "seq", "events")} for row in batches]


def test_replayed_batch_counts_once_everywhere(store: RunningStore, tmp_path: Path) -> None:
    """A batch whose answer was lost again and again, across a restart of the loader, is once in every table."""
    rows = [
        make_row(
            visitor,
            events=[make_event(visitor * 3 + index) for index in range(3)],
            evidence=[make_evidence(visitor, visitor)],
            rejected=[make_refusal()],
        )
        for visitor in range(200)
    ]
    spool_rows(store, rows)
    landing = Unsure(store.config, store.keyring)
    stop = threading.Event()
    attempts = []

    class Patient(Patience):
        def wait(self) -> None:
            attempts.append(1)
            landing.breaks = len(attempts) < 5

    for _ in range(2):
        loader = Loader(tmp_path / "spool", tmp_path / "load", landing, Patient(stop))
        with capture_logs():
            while loader.step():
                pass
        loader.close()
    landing.close()
    assert len(attempts) == 5
    # Without FINAL: it is not the merge that makes them one.
    assert store.value("SELECT count() FROM events") == 600
    assert store.value("SELECT count() FROM identity_evidence") == 200
    assert store.value("SELECT count() FROM rejected_events") == 200
    assert store.query("SELECT events, evidence, rejected FROM batches") == [
        {"events": 600, "evidence": 200, "rejected": 200}
    ]


def test_killed_loader_repeats_its_manifest(store: RunningStore, tmp_path: Path) -> None:
    """A loader that dies between insert and cursor leaves a manifest; the next one sends it, and it counts once."""
    spool_rows(store, [make_row(visitor, events=[make_event(visitor)]) for visitor in range(50)])

    class Dying(ClickHouseLanding):
        def insert(self, body: bytes, token: str) -> None:
            super().insert(body, token)
            raise KeyboardInterrupt  # nothing of ours catches it

    loader = Loader(
        tmp_path / "spool", tmp_path / "load", Dying(store.config, store.keyring), Patience(threading.Event())
    )
    with pytest.raises(KeyboardInterrupt):
        loader.step()
    loader.close()
    spool_rows(store, [make_row(visitor, events=[make_event(visitor)]) for visitor in range(50, 60)])
    load(store)
    assert store.value("SELECT count() FROM events") == 60
    assert store.query("SELECT seq, events FROM batches FINAL ORDER BY seq") == [
        {"seq": 1, "events": 50},
        {"seq": 2, "events": 10},
    ]


def test_one_bad_row_in_a_thousand(store: RunningStore) -> None:
    """The engine refuses a batch for one row: 999 land, the bad one is kept aside and is a rejection with its site."""
    rows = [make_row(visitor, events=[make_event(visitor)]) for visitor in range(1000)]
    rows[617].visitor_id = "no visitor at all"
    spool_rows(store, rows)
    with capture_logs() as logs:
        load(store)
    assert store.value("SELECT count() FROM events") == 999
    assert store.query("SELECT site_id, step, reason, events FROM rejected_events") == [
        {"site_id": "shop", "step": "load", "reason": "shape", "events": 1}
    ]
    (kept,) = (store.config.data_path / "load" / "refused").iterdir()
    assert msgspec.json.decode(kept.read_bytes())["visitor_id"] == "no visitor at all"
    assert "no visitor" not in repr(logs)


def test_missing_view_pauses(store: RunningStore, tmp_path: Path) -> None:
    """A landing table without one of its views takes rows and loses them: nothing is sent until it is back."""
    spool_rows(store, [make_row(1, events=[make_event(1)])])
    store.writer.command("RENAME TABLE landing_to_events TO landing_to_events_away")
    landing = ClickHouseLanding(store.config, store.keyring)
    waits = []

    class Patient(Patience):
        def wait(self) -> None:
            waits.append(1)
            if len(waits) == 3:
                store.writer.command("RENAME TABLE landing_to_events_away TO landing_to_events")

    with pytest.raises(SchemaError):
        landing.check()
    loader = Loader(tmp_path / "spool", tmp_path / "load", landing, Patient(threading.Event()))
    with capture_logs() as logs:
        while loader.step():
            pass
    loader.close()
    landing.close()
    assert len(waits) == 3
    assert len(logs) == 2
    assert store.value("SELECT count() FROM events") == 1
