"""The loader alone: a spool that is full already is brought into ClickHouse, against the engine's own insert-select.

The rows are those that the edge makes of the shop's traffic. The bound: the engine copies what the views have made of
them (`INSERT INTO copy SELECT * FROM table`) into tables of the same kind, with nothing to parse, to compute or to keep
for a crash. Both are counted in CPU seconds of the processes that work, with background merges stopped for both:
they are the same for either. What the tables need on disk is read after they have been merged.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, islice
from pathlib import Path

from bench.ingest.processes import Collector, Process
from bench.ingest.rounds import SEED, SERVER, Bench, BenchError, count_events
from bench.ingest.traffic import SITE, Request, Traffic
from collector import disk
from collector.accept.pipeline import Accepted, accept
from collector.event import Context
from collector.keyring import Keyring
from collector.sites.book import SiteBook
from collector.spool.frames import encode_frame
from collector.spool.segments import make_name
from collector.store.client import StoreClient

SEGMENT_BYTES = 25_165_824
TABLES = ("events", "sessions", "identity_evidence", "rejected_events")
ORIGIN = "https://shop.example"
MERGED_SESSIONS = 12_000
"""Sessions in the data whose size on disk is read: about 150,000 events over two weeks."""
FORTNIGHT_MS = 14 * 86_400_000
START_MS = 1_795_168_800_000
_numbers = count(1)


class Edge:
    """The edge without HTTP: makes landing rows of requests, as web does. `refused`: requests that it did not take."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._book = SiteBook(sites={SITE.site_id: SITE}, read_at_ms=1)
        self.refused = 0
        self.events = 0

    def make_line(self, request: Request) -> bytes | None:
        """Return the landing row's line, or None where the request was refused or lost an event."""
        name, _, value = request.cookie.partition("=")
        context = Context(
            received_at_ms=request.at_ms,
            sites=self._book,
            keyring=self._keyring,
            address=request.address,
            origin=ORIGIN,
            user_agent=request.agent,
            country="DE",
            cookies={name: value} if name else {},
        )
        outcome = accept(request.body, context)
        if not isinstance(outcome, Accepted) or outcome.reasons or outcome.events != len(request.event_ids):
            self.refused += 1
            return None
        self.events += outcome.events
        return outcome.line


class Loading:
    """An instance of its own for the loader, and the rows that it gets."""

    def __init__(self, bench: Bench, beacons: int = 6_000) -> None:
        """Make the rows of so many beacons of 20 events."""
        self._bench = bench
        self._collector = Collector(bench.folder / "loader")
        bench.step("rows for the loader")
        traffic = Traffic(SEED, self._collector.keyring)
        self._lines = self._make_lines(islice(traffic.make_stream(START_MS, 3_600_000, beacons, 20), beacons))

    def _make_lines(self, requests: Iterable[Request]) -> list[bytes]:
        edge = Edge(self._collector.keyring)
        lines = [edge.make_line(request) for request in requests]
        if edge.refused:
            raise BenchError(f"the edge did not take {edge.refused} of {len(lines)} beacons whole")
        return [line for line in lines if line is not None]

    def measure_speed(self) -> None:
        """One round: load, copy, compare."""
        collector, bench = self._collector, self._bench
        engine = collector.start_engine(SERVER)
        try:
            with collector.open_store() as store:
                self._empty(store)
                loader = collector.start_role("load", SERVER)
                self._load(self._lines[:200])  # it has connected by then, and read its queries
                before_events = count_events(collector)
                bench.step("loader")
                before_s, before_engine_s = loader.read_cpu_s(), engine.read_cpu_s()
                self._load(self._lines[200:])
                loader_s, engine_s = loader.read_cpu_s() - before_s, engine.read_cpu_s() - before_engine_s
                events = count_events(collector) - before_events
                bench.note("loader_per_cpu_s", events / (loader_s + engine_s))
                bench.note("loader_role_us", loader_s / events * 1e6)
                bench.note("loader_engine_us", engine_s / events * 1e6)
                bench.step("insert-select")
                bench.note("select_per_cpu_s", self._copy(store, engine))
        finally:
            collector.close()

    def measure_size(self, sessions: int = MERGED_SESSIONS) -> None:
        """Load two weeks of the shop as the tag would send them, merge everything, read the bytes on disk."""
        collector, bench = self._collector, self._bench
        bench.step("two weeks of the shop")
        stream = Traffic(SEED + 1, collector.keyring).make_stream(START_MS - FORTNIGHT_MS, FORTNIGHT_MS, sessions)
        lines = self._make_lines(stream)
        collector.start_engine(SERVER)
        try:
            with collector.open_store() as store:
                self._empty(store)
                collector.start_role("load", SERVER)
                self._load(lines)
                bench.step("merging")
                for table in TABLES:
                    store.command(f"SYSTEM START MERGES {table}")
                    store.command(f"OPTIMIZE TABLE {table} FINAL")
                events = store.query_rows("SELECT count() AS events FROM events FINAL")[0]["events"]
                for row in store.query_rows(
                    "SELECT table, sum(bytes_on_disk) AS bytes FROM system.parts"
                    " WHERE active AND database = currentDatabase() GROUP BY table ORDER BY bytes DESC"
                ):
                    bench.note(f"bytes_{row['table']}", row["bytes"] / events)
                total = sum(values[-1] for name, values in bench.series.items() if name.startswith("bytes_"))
                bench.note("bytes_per_event", total)
        finally:
            collector.close()

    def run_profiled(self, program: tuple[str, ...]) -> None:
        """Load once with the loader run in this way, and stop it."""
        collector = self._collector
        collector.start_engine(SERVER)
        try:
            collector.start_role("load", SERVER, program)
            self._bench.step("loader under the profiler")
            self._load(self._lines)
            collector.stop("load")
        finally:
            collector.close()

    def _empty(self, store: StoreClient) -> None:
        for table in TABLES:
            store.command(f"TRUNCATE TABLE {table}")
            store.command(f"SYSTEM STOP MERGES {table}")

    def _load(self, lines: list[bytes]) -> None:
        """Put the lines into the spool, all at once, and wait until they are loaded."""
        ready = write_segments(self._collector.folder / "filled", lines)
        target = self._collector.spool / "filled"
        disk.make_folder(target)
        for path in ready:
            path.rename(target / path.name)
        self._collector.await_drained()

    def _copy(self, store: StoreClient, engine: Process) -> float:
        """Return how many events the engine copies in a CPU second."""
        for table in TABLES:
            store.command(f"DROP TABLE IF EXISTS {table}_copy SYNC")
            store.command(f"CREATE TABLE {table}_copy AS {table}")
            store.command(f"SYSTEM STOP MERGES {table}_copy")
        before_s = engine.read_cpu_s()
        for table in TABLES:
            copy = f"INSERT INTO {table}_copy SELECT * FROM {table}"  # noqa: S608  our own names
            store.command(copy, settings={"async_insert": 0, "max_threads": 1, "max_insert_threads": 1})
        used_s = engine.read_cpu_s() - before_s
        events = store.query_rows("SELECT count() AS events FROM events_copy")[0]["events"]
        for table in TABLES:
            store.command(f"DROP TABLE {table}_copy SYNC")
        return float(events / used_s)


def write_segments(folder: Path, lines: list[bytes]) -> list[Path]:
    """Write sealed segments, as a writer that is gone would leave them, and return their paths."""
    disk.make_folder(folder)
    written: list[Path] = []
    frames: list[bytes] = []
    size = 0
    for place, line in enumerate(lines):
        frames.append(encode_frame(line))
        size += len(frames[-1])
        if size >= SEGMENT_BYTES or place == len(lines) - 1:
            path = folder / make_name(next(_numbers)).replace(".open", ".seg")
            path.write_bytes(b"".join(frames))
            written.append(path)
            frames, size = [], 0
    return written
