"""How soon evidence is readable: stitch, the loads of the dictionary and readers, on the same cores, for a minute.

A map of two million visitors stands. Evidence lands as the loader puts it there, one batch a second; seven of ten rows
are sign-ins on a browser on which the same customer did so before, the others mostly new browsers. Of each batch some
visitors that were never seen before are looked for in the dictionary, through which v_events reads, until they are
there. Meanwhile a reader asks every second for the people of each day, of a million events.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from bench.identity.evidence import BATCH_ROWS, CHUNK_ROWS, HOST, Population
from bench.identity.reading import STITCHED, fill_events
from bench.identity.rebuilding import SEED, run_rebuild
from bench.identity.store import Bench, fill_evidence, list_batches, merge, running_store
from bench.ingest.processes import Collector
from collector.event import EvidenceRow, LandingRow
from collector.store.client import StoreClient
from collector.store.dictionaries import reload_dictionaries
from collector.store.writer import insert_batch, insert_rows

ROWS_PER_S = 5_000
MAP_ROWS = 4_000_000
"""Evidence that leaves about two million visitors in the map: whole chunks, so that the last can be made once more."""
RETURNING = 0.7
EVENTS = 1_000_000
SAMPLES = 25
POLL_S = 0.1
PATIENCE_S = 180.0
_NAMES = tuple(name for name in EvidenceRow.__struct_fields__ if name not in ("time_ms", "session_started_ms"))


class FollowError(Exception):
    """Evidence did not become readable at all. `str(error)` is one line."""


class Batch(NamedTuple):
    """What lands at once, and the keys of some new visitors in it."""

    seq: int
    lines: bytes
    rows: int
    samples: list[str]


def measure_following(bench: Bench, seconds: int, rows_per_s: int = ROWS_PER_S) -> None:
    """Let so much evidence come in for so long."""
    with running_store(bench.folder / "following") as (collector, store):
        bench.step("a map of two million visitors")
        population = Population(MAP_ROWS, SEED)
        fill_evidence(store, population, MAP_ROWS)
        merge(store, "identity_evidence", "identity_pairs")
        run_rebuild(collector.folder, collector.engine_port)
        merge(store, "identity_map", "customers", "identity_intervals")
        fill_events(store, EVENTS, in_map=True)
        done = MAP_ROWS // BATCH_ROWS
        insert_rows(store, "stitch_progress", [{"host": HOST, "seq": done, "version": done}])
        reload_dictionaries(store)
        bench.note(
            "map_visitors", store.query_rows("SELECT count() AS n FROM identity_map WHERE key_kind = 'visitor'")[0]["n"]
        )
        batches = _make_batches(store, population, seconds, rows_per_s)
        bench.step(f"{rows_per_s:,} rows a second for {seconds} s")
        stitch = collector.start_role("stitch", f"0-{(os.cpu_count() or 1) - 1}")
        time.sleep(3)
        engine = collector.running["engine"]
        before = stitch.read_cpu_s(), engine.read_cpu_s()
        latencies, reads = _run(collector, batches)
        bench.note("stitch_cpu_share", (stitch.read_cpu_s() - before[0]) / seconds)
        bench.note("engine_cpu_share", (engine.read_cpu_s() - before[1]) / seconds)
        bench.note("stitch_rss_mb", stitch.read_rss_mb())
        latencies.sort()
        bench.note("map_readable_p50_s", latencies[len(latencies) // 2])
        bench.note("map_readable_p99_s", latencies[int(len(latencies) * 0.99)])
        bench.note("map_readable_worst_s", latencies[-1])
        bench.note("read_meanwhile_s", sorted(reads)[len(reads) // 2])


def _make_batches(store: StoreClient, population: Population, seconds: int, rows_per_s: int) -> list[Batch]:
    """Make what lands, a second each, in order of time after what is in the map: of all rows RETURNING are sign-ins on
    a browser that did the same before, the others are as what made the map, most of them on new browsers."""
    earlier = pa.concat_tables(list(population.make(CHUNK_ROWS, first=MAP_ROWS - CHUNK_ROWS)))
    back = round(rows_per_s * RETURNING)
    batches = []
    for number in range(seconds):
        first = MAP_ROWS + number * rows_per_s
        new = pa.concat_tables(list(population.make(rows_per_s - back, first=first)))
        part = pa.concat_tables([population.repeat(earlier, back, first=first), new])
        seq = MAP_ROWS // BATCH_ROWS + number + 1
        lines = _encode(part, seq)
        batches.append(Batch(seq, lines, part.num_rows, _choose_new(store, part)))
    return batches


def _choose_new(store: StoreClient, part: pa.Table) -> list[str]:
    """Return the keys of visitors who sign in by themselves and are not in the map, none of whom is taken back."""
    taken_back = part.filter(pc.less(part["op"], 0))["evidence_id"]
    part = part.filter(pc.invert(pc.is_in(part["evidence_id"], value_set=taken_back)))
    is_plain = pc.and_(
        pc.equal(part["kind"].cast(pa.string()), "identify"), pc.equal(part["b_kind"].cast(pa.string()), "customer")
    )
    is_plain = pc.and_(is_plain, pc.not_equal(part["b_value"], "guest"))
    is_plain = pc.and_(is_plain, pc.not_equal(part["b_value"], "C-TEST"))
    keys = [str(UUID(bytes=key)) for key in set(part.filter(is_plain)["a_key"].to_pylist())][: SAMPLES * 20]
    return sorted(set(keys) - _find_there(store, keys))[:SAMPLES]


def _encode(part: pa.Table, seq: int) -> bytes:
    names = [name for name in _NAMES if name in part.column_names]
    columns = {name: part[name].to_pylist() for name in (*names, "time", "session_started", "space_id", "site_id")}
    lines = []
    head = b'{"batch_host":"' + HOST.encode() + b'","batch_seq":' + str(seq).encode() + b","
    for place in range(part.num_rows):
        cells: dict[str, Any] = {name: _plain(columns[name][place]) for name in names}
        at_ms = int(columns["time"][place].timestamp() * 1000)
        began_ms = int(columns["session_started"][place].timestamp() * 1000)
        is_visitor = cells["a_kind"] == "visitor"
        row = LandingRow(
            received_at_ms=at_ms + 1000,
            site_id=columns["site_id"][place],
            space_id=columns["space_id"][place],
            visitor_id=cells["a_value"] if is_visitor else str(UUID(int=0)),
            own_person_id=cells["a_key"],
            evidence=[EvidenceRow(**cells, time_ms=at_ms, session_started_ms=began_ms)],
        )
        lines.append(head + msgspec.json.encode(row)[1:] + b"\n")
    return b"".join(lines)


def _plain(value: object) -> object:
    return str(UUID(bytes=value)) if isinstance(value, bytes) else value


def _find_there(store: StoreClient, keys: Sequence[str]) -> set[str]:
    rows = store.query_rows(
        "SELECT toString(arrayJoin(arrayFilter(key -> dictHas('identity', cityHash64(key)), {keys:Array(UUID)})))"
        " AS key",
        {"keys": list(keys)},
    )
    return {row["key"] for row in rows}


def _run(collector: Collector, batches: Sequence[Batch]) -> tuple[list[float], list[float]]:
    """Land the batches, one a second, and wait for the samples of all."""
    waiting: dict[str, float] = {}
    latencies: list[float] = []
    reads: list[float] = []
    stop = threading.Event()

    def land() -> None:
        with collector.open_store() as store:
            began_s = time.monotonic()
            for number, batch in enumerate(batches):
                time.sleep(max(0.0, began_s + number - time.monotonic()))
                insert_batch(store, batch.lines, f"bench-{batch.seq}")
                list_batches(store, batch.seq, batch.seq)
                waiting.update(dict.fromkeys(batch.samples, time.monotonic()))

    def read() -> None:
        with collector.open_store() as store:
            while not stop.wait(1.0):
                began_s = time.monotonic()
                store.query_rows(STITCHED, settings={"priority": 10})
                reads.append(time.monotonic() - began_s)

    threads = [threading.Thread(target=land), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    try:
        with collector.open_store() as store:
            while threads[0].is_alive() or waiting:
                time.sleep(POLL_S)
                now_s = time.monotonic()
                there = _find_there(store, list(waiting)) if waiting else set()
                latencies += [time.monotonic() - waiting.pop(key) for key in there]
                if waiting and now_s - min(waiting.values()) > PATIENCE_S:
                    raise FollowError(f"{len(waiting)} visitors were not readable after {PATIENCE_S:.0f} s")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return latencies, reads
