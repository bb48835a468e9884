"""A store of its own on all cores, filled with evidence or events without the edge: what stitching is measured on."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from bench.identity.evidence import BATCH_ROWS, HOST, Population
from bench.ingest.processes import Collector
from collector.identity.stitching.standing_columns import SETTINGS
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

PIECE_ROWS = 250_000
MERGE_TIMEOUT_S = 1_800.0
MAP_TABLES = ("identity_map", "identity_intervals", "customers", "merge_log", "guard_log", "stitch_progress")


@dataclass
class Bench:
    """What the parts share: where, how to say what is being done, and the values so far by measure."""

    folder: Path
    step: Callable[[str], None]
    series: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def note(self, measure: str, value: float) -> None:
        """Take a value down."""
        self.series[measure].append(value)


@contextmanager
def running_store(folder: Path) -> Iterator[tuple[Collector, StoreClient]]:
    """Run an engine on all cores, with our schema and one site."""
    collector = Collector(folder)
    try:
        collector.start_engine(f"0-{(os.cpu_count() or 1) - 1}")
        with collector.open_store() as store:
            yield collector, store
    finally:
        collector.close()


def fill_evidence(store: StoreClient, population: Population, rows: int, *, first: int = 0) -> None:
    """Put evidence into the store as the landing views leave it, with the list of its batches."""
    for chunk in population.make(rows, first=first):
        insert_evidence(store, chunk)
    list_batches(store, first // BATCH_ROWS + 1, (first + rows) // BATCH_ROWS)


def insert_evidence(store: StoreClient, rows: pa.Table) -> None:
    """Insert rows of evidence; their pairs follow by the view."""
    for start in range(0, rows.num_rows, PIECE_ROWS):
        store.insert_columns(f"{store.database}.identity_evidence", rows.slice(start, PIECE_ROWS), SETTINGS)


def list_batches(store: StoreClient, first: int, last: int) -> None:
    """Enter batches into the list that stitch follows. Both included."""
    rows = [
        {"host": HOST, "seq": seq, "token": str(seq), "events": 0, "evidence": BATCH_ROWS, "rejected": 0}
        for seq in range(first, last + 1)
    ]
    insert_rows(store, "batches", rows)


def merge(store: StoreClient, *tables: str) -> None:
    """Let background merges come to their end, so that what is measured does not pay for what was prepared."""
    with StoreClient(store.address, timeout_s=MERGE_TIMEOUT_S) as patient:
        for table in tables:
            patient.command(f"OPTIMIZE TABLE {table} FINAL")


def empty_map(store: StoreClient) -> None:
    """Take away what stitch has made."""
    for table in MAP_TABLES:
        store.command(f"TRUNCATE TABLE {table}")
