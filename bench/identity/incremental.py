"""Further evidence on a map that stands: the steps of stitch, each over ten batches, until all of it is in the map."""

from __future__ import annotations

import time

from bench.identity.evidence import BATCH_ROWS, HOST, Population
from bench.identity.rebuilding import SEED, RebuildError, run_rebuild
from bench.identity.store import Bench, fill_evidence, insert_evidence, list_batches, merge, running_store
from collector.identity.stitching.rebuild import rebuild
from collector.identity.stitching.stitch import Stitcher
from collector.store.writer import insert_rows

FURTHER_ROWS = 1_000_000
STEP_ROWS = 10 * BATCH_ROWS


def measure_incremental(bench: Bench, rows: int, further: int = FURTHER_ROWS) -> None:
    """Rebuild a map of so many rows, bring `further` rows into it, and see that a rebuild finds nothing to change."""
    with running_store(bench.folder / "incremental") as (collector, store):
        bench.step(f"a map of {rows:,} rows of evidence")
        population = Population(rows, SEED)
        fill_evidence(store, population, rows)
        merge(store, "identity_evidence", "identity_pairs")
        run_rebuild(collector.folder, collector.engine_port)
        done = rows // BATCH_ROWS
        insert_rows(store, "stitch_progress", [{"host": HOST, "seq": done, "version": done}])
        stitcher = Stitcher(store, collector.config)
        stitcher.step()
        engine = collector.running["engine"]
        took_s = cpu_s = 0.0
        for first in range(rows, rows + further, STEP_ROWS):
            bench.step(f"{first - rows:,} of {further:,} further rows")
            for chunk in population.make(STEP_ROWS, first=first):
                insert_evidence(store, chunk)
            list_batches(store, first // BATCH_ROWS + 1, (first + STEP_ROWS) // BATCH_ROWS)
            began_s, before_s = time.monotonic(), time.process_time() + engine.read_cpu_s()
            while stitcher.step():
                pass
            took_s += time.monotonic() - began_s
            cpu_s += time.process_time() + engine.read_cpu_s() - before_s
        bench.note("incremental_rows_per_s", further / took_s)
        bench.note("incremental_cpu_us_per_row", cpu_s / further * 1e6)
        stitcher.write_progress()
        differences = rebuild(collector.config, collector.keyring, dry_run=True).differences
        if differences:
            raise RebuildError(f"a rebuild after further evidence found {differences} differences")
