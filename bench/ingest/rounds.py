"""What is measured, part by part. Each part takes a Bench and adds values to its series; a part runs one round.

Cores: everything that is measured runs on SERVER, wrk and this program on GENERATOR, but where a part says otherwise.
A run in which one request was refused or unanswered is no run: BenchError.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from bench.ingest.generator import Ammunition, Shot, run_wrk, write_requests
from bench.ingest.processes import Collector, Process, running_raw
from bench.ingest.traffic import Traffic

SERVER, GENERATOR = 0, 1
SEED = 4711
CONNECTIONS = 64
HALF_LOAD_CONNECTIONS = 256
VISITORS_IN_MAP = 2_000_000
GROWTH_CONNECTIONS = (1, 8, 32, 128, 400, 1000)

Step = Callable[[str], None]


class BenchError(Exception):
    """A round means nothing. `str(error)` is one line that says why."""


@dataclass
class Bench:
    """What the parts share: where, how long, the requests, and the values so far by measure."""

    folder: Path
    seconds: float
    step: Step
    series: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Make the instance and the requests: an hour of a shop's traffic that has just gone by."""
        self.collector = Collector(self.folder / "instance")
        now_ms = time.time_ns() // 1_000_000
        self.one = self._write("one", 1, 5_000, now_ms)
        self.twenty = self._write("twenty", 20, 2_000, now_ms)

    def _write(self, name: str, events_each: int, requests: int, now_ms: int) -> Ammunition:
        stream = Traffic(SEED, self.collector.keyring).make_stream(now_ms - 3_700_000, 3_600_000, 3_000, events_each)
        return write_requests(self.folder / name, islice(stream, requests))

    def note(self, measure: str, value: float) -> None:
        """Take a value down."""
        self.series[measure].append(value)

    def fire(
        self, process: Process, ammunition: Ammunition, *, connections: int = CONNECTIONS, per_s: float = 0.0
    ) -> tuple[Shot, float]:
        """Let wrk loose on a process. Return what it saw, and the CPU seconds that the process needed.

        Raises BenchError where a request was refused or had no answer.
        """
        before_s = process.read_cpu_s()
        shot = run_wrk(
            process.port, ammunition, connections=connections, seconds=self.seconds, core=GENERATOR, per_s=per_s
        )
        if not shot.is_clean or not shot.requests:
            raise BenchError(
                f"{process.name} refused {shot.refused} and did not answer {shot.broken} of {shot.requests} requests:"
                f" {process.read_last_words()}"
            )
        return shot, process.read_cpu_s() - before_s


def measure_acks(bench: Bench) -> None:
    """Answers a second of web alone on one core, against raw."""
    web = bench.collector.start_web(SERVER)
    try:
        with running_raw(SERVER) as raw:
            for name, ammunition in (("1", bench.one), ("20", bench.twenty)):
                for process, label in ((raw, "raw"), (web, "ack")):
                    bench.step(f"{label}, warming up")
                    run_wrk(process.port, ammunition, connections=CONNECTIONS, seconds=1, core=GENERATOR)
                    bench.step(f"{label}, {name} a request")
                    shot, cpu_s = bench.fire(process, ammunition)
                    bench.note(f"{label}_{name}_per_s", shot.per_s)
                    bench.note(f"{label}_{name}_per_cpu_s", shot.requests / cpu_s)
    finally:
        bench.collector.stop("web")
        bench.collector.clear_spool()


def measure_half_load(bench: Bench) -> None:
    """How long an answer takes at half load: web on its core, at half of what it answered at most in this run."""
    per_s = max(bench.series["ack_1_per_s"], default=0.0) / 2
    if not per_s:
        measure_acks(bench)
        per_s = max(bench.series["ack_1_per_s"]) / 2
    web = bench.collector.start_web(SERVER)
    try:
        bench.step("answers at half load")
        bench.fire(web, bench.one, connections=HALF_LOAD_CONNECTIONS, per_s=per_s)  # warm: connections, user agents
        shot, _ = bench.fire(web, bench.one, connections=HALF_LOAD_CONNECTIONS, per_s=per_s)
        bench.note("half_p99_ms", shot.p99_us / 1000)
        bench.note("half_p50_ms", shot.p50_us / 1000)
    finally:
        bench.collector.stop("web")
        bench.collector.clear_spool()


def start_whole(bench: Bench) -> Process:
    """Start engine, load, stitch and web, all on one core, with the map of many visitors loaded."""
    collector = bench.collector
    collector.start_engine(SERVER)
    bench.step(f"a map of {VISITORS_IN_MAP:,} visitors")
    fill_map(collector, VISITORS_IN_MAP)
    collector.start_role("load", SERVER)
    collector.start_role("stitch", SERVER)
    return collector.start_web(SERVER)


def fill_map(collector: Collector, visitors: int) -> None:
    """Give the store a map: so many visitors, one customer for three of them, and load the dictionary."""
    with collector.open_store() as store:
        if store.query_rows("SELECT count() AS rows FROM identity_map")[0]["rows"] >= visitors:
            return
        store.command(
            "INSERT INTO identity_map (space_id, key, key_kind, key_customer_id, person_id, customer_id, customer_key,"
            " valid_from, several, level, provisional, version, is_deleted)"
            " SELECT 'main', generateUUIDv4(number), 'visitor', '',"
            " reinterpretAsUUID(sipHash128(intDiv(number, 3))), toString(100000000 + intDiv(number, 3)),"
            " reinterpretAsUUID(sipHash128(intDiv(number, 3), 1)), toDateTime64(0, 3, 'UTC'), 0, 3, 0, 1, 0"
            " FROM numbers({visitors:UInt64})",
            {"visitors": visitors},
            {"max_threads": 1},
        )
        store.command("SYSTEM RELOAD DICTIONARY identity")


def measure_through(bench: Bench) -> None:
    """Events a second through to ClickHouse, everything on one core, from the first request to the last batch.

    The whole instance runs already. What it needs of memory meanwhile is taken down too.
    """
    collector = bench.collector
    web, engine = collector.running["web"], collector.running["engine"]
    with running_raw(SERVER) as raw:
        bench.step("raw, 20 a request")
        shot, cpu_s = bench.fire(raw, bench.twenty)
        bench.note("through_raw_per_s", shot.per_s * 20)
        bench.note("through_raw_per_cpu_s", shot.requests * 20 / cpu_s)
    bench.step("through to ClickHouse")
    before_events = count_events(collector)
    before_cpu_s = {name: process.read_cpu_s() for name, process in collector.running.items()}
    started_s = time.time()
    shot, _ = bench.fire(web, bench.twenty)
    bench.note("web_rss_mb", web.read_rss_mb())
    bench.note("engine_rss_mb", engine.read_rss_mb())
    collector.await_drained()
    used = {name: process.read_cpu_s() - before_cpu_s[name] for name, process in collector.running.items()}
    events = count_events(collector) - before_events
    if events != shot.requests * 20:
        lost = shot.requests * 20 - events
        if not 0 <= -lost <= CONNECTIONS * 20:  # answers that wrk did not wait for any more
            raise BenchError(f"{shot.requests * 20} events were acknowledged, and {events} are in ClickHouse")
    with collector.open_store() as store:
        ended = store.query_rows("SELECT toFloat64(max(loaded_at)) AS at FROM batches")[0]["at"]
    bench.note("through_per_s", events / (ended - started_s))
    bench.note("through_per_cpu_s", events / sum(used.values()))
    for name, cpu in used.items():
        bench.note(f"through_{name}_us", cpu / events * 1e6)


def measure_store_away(bench: Bench) -> None:
    """The answer's p99 with the whole instance on one core, and with its engine gone, at the same modest load.

    The load is half of what went through, in requests of one event; what lies between answer and table is read from
    the first of the two. The whole instance runs already, and runs again afterwards.
    """
    collector = bench.collector
    web = collector.running["web"]
    per_s = max(bench.series["through_per_s"]) / 2 / 4
    bench.fire(web, bench.one, connections=HALF_LOAD_CONNECTIONS, per_s=per_s)
    collector.await_drained()
    with collector.open_store() as store:
        before = store.query_rows("SELECT max(seq) AS seq FROM batches")[0]["seq"]
    bench.step("answers with the store")
    shot, _ = bench.fire(web, bench.one, connections=HALF_LOAD_CONNECTIONS, per_s=per_s)
    bench.note("up_p99_ms", shot.p99_us / 1000)
    collector.await_drained()
    with collector.open_store() as store:
        lag_s = store.query_rows(
            "SELECT quantileExact(0.99)(toFloat64(b.loaded_at) - toFloat64(e.received_at)) AS lag"
            " FROM events AS e INNER JOIN (SELECT host, seq, loaded_at FROM batches FINAL) AS b"
            " ON e.batch_host = b.host AND e.batch_seq = b.seq WHERE e.batch_seq > {before:UInt64}",
            {"before": before},
        )[0]["lag"]
    bench.note("queryable_p99_s", lag_s)
    bench.step("answers without the store")
    collector.stop("engine")
    shot, _ = bench.fire(web, bench.one, connections=HALF_LOAD_CONNECTIONS, per_s=per_s)
    bench.note("down_p99_ms", shot.p99_us / 1000)
    collector.start_engine(SERVER)
    collector.await_drained()


def measure_growth(bench: Bench) -> None:
    """Answers a second with few and many connections, and with a second web process on the second core."""
    for workers in (1, 2):
        web = bench.collector.start_web(SERVER, workers)
        try:
            for connections in GROWTH_CONNECTIONS if workers == 1 else (CONNECTIONS,):
                bench.step(f"{workers} web, {connections} connections")
                shot, cpu_s = bench.fire(web, bench.one, connections=connections)
                name = f"growth_{workers}_{connections}"
                bench.note(f"{name}_per_s", shot.per_s)
                bench.note(f"{name}_per_cpu_s", shot.requests / cpu_s)
                bench.note(f"{name}_p99_ms", shot.p99_us / 1000)
        finally:
            bench.collector.stop("web")
            bench.collector.clear_spool()


def count_events(collector: Collector) -> int:
    """Return how many events the list of batches has."""
    with collector.open_store() as store:
        return int(store.query_rows("SELECT sum(events) AS events FROM batches FINAL")[0]["events"])
