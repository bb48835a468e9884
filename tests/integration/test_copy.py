"""`tagstitch copy`: from one real engine into another behind its HTTP interface, killed in the middle, and lived on."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from instance_process import start_instance

from collector import disk
from collector.config import Config
from collector.copying import pieces
from collector.copying.compare import compare_tables
from collector.copying.move import Move
from collector.copying.pieces import PieceCopier
from collector.copying.record import CopyRecord, Piece
from collector.copying.tables import EMPTIED, EXPIRY, read_tables
from collector.errors import ConfigError, InstanceBusy, InstanceError, StoreUnavailable
from collector.keyring import Keyring
from collector.load.maintenance import is_maintenance
from collector.store.client import StoreClient, open_client
from collector.store.migrate import migrate
from collector.store.writer import insert_copied, insert_rows
from tests.engine_process import RunningEngine, running_engine
from tests.faulty_disk import FaultyOs, die_after, die_before
from tests.running_store import (
    RunningStore,
    configure,
    make_event,
    make_evidence,
    make_id,
    make_refusal,
    make_row,
    make_vaulted,
    running_store,
)

pytestmark = pytest.mark.engine
MONTH_S = 32 * 86_400
HOST = "host-1"


class Silent:
    """A Watcher that remembers what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.planned: dict[str, int] = {}

    def plan(self, table: Any, rows: int) -> None:
        self.planned[table.name] = self.planned.get(table.name, 0) + rows

    def advance(self, table: Any, rows: int, size: int) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("source")) as store:
        yield store


@pytest.fixture(scope="module")
def target_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with running_engine(tmp_path_factory.mktemp("target")) as engine:
        yield engine


@pytest.fixture
def target(target_engine: RunningEngine) -> Iterator[StoreClient]:
    """The target, empty. Its tables are those of an embedded store: there, dictionaries know no users."""
    config, keyring = configure(target_engine)
    with open_client(config, keyring, "writer", database="default") as client:
        client.command("DROP DATABASE IF EXISTS tagstitch SYNC")
    migrate(config, keyring)
    server = Config(dsn=target_engine.dsn("writer", "tagstitch"))
    with open_client(server, keyring, "writer") as client:
        yield client


def load_batch(store: RunningStore, seq: int, *, host: str = HOST) -> None:
    """Load one batch as the loader does: three visitors in two months, a retry, evidence, a refusal, a value
    of the vault; then list it."""
    rows = []
    for visitor in (1, 2, 3):
        first = make_event(
            seq * 10 + visitor, after_s=visitor, props=json.dumps({"n": seq, "text": "ä\n", "deep": {"x": [1, "b"]}})
        )
        later = make_event(seq * 10 + visitor + 5, after_s=MONTH_S + visitor, name="order")
        again = make_event((seq - 1) * 10 + visitor, after_s=visitor, props='{"n": "sent again"}')
        rows.append(
            make_row(
                visitor,
                after_s=seq,
                events=[first, later, again],
                evidence=[make_evidence(seq * 10 + visitor, visitor, str(seq))],
                rejected=[make_refusal(events=seq)],
                vault=[make_vaulted(visitor, "p1" if seq % 2 else "p2")],
            )
        )
    store.load(*rows, host=host, seq=seq)
    list_batch(store, seq, host)


def list_batch(store: RunningStore, seq: int, host: str = HOST) -> None:
    row = {"host": host, "seq": seq, "token": f"t{seq}", "events": 9, "evidence": 3, "rejected": 3}
    insert_rows(store.writer, "batches", [row])


def fill_state(store: RunningStore, last_seq: int) -> None:
    """Rows of state as stitch and the commands write them."""
    store.put("identity_map", {"space_id": "main", "key": make_id(1, 0xB), "person_id": make_id(9, 0xC), "version": 3})
    store.put("stitch_progress", {"host": HOST, "seq": last_seq, "version": last_seq})
    said = {"key": make_id(1, 0xC), "purpose": "marketing", "state": "granted", "time": 1, "batch_seq": 1_000}
    store.put("consent_ledger", said | {"consent_id": "by a list, so from no spool"})
    for version in (1, 2):
        store.put("sites", {"id": "shop", "row": f'{{"keep_days":{version}}}', "version": version})


@pytest.fixture
def filled(source: RunningStore) -> RunningStore:
    source.clear()
    for seq in range(1, 8):
        load_batch(source, seq)
    load_batch(source, 1, host="host-2")
    fill_state(source, 7)
    source.put("stitch_progress", {"host": "host-2", "seq": 1, "version": 8})
    return source


def make_config(store: RunningStore, data: Path) -> Config:
    (data / "load").mkdir(parents=True, exist_ok=True)
    return msgspec.structs.replace(store.config, data=str(data))


@contextlib.contextmanager
def moving(store: RunningStore, data: Path, target: StoreClient) -> Iterator[tuple[Move, CopyRecord, Silent]]:
    """A move of the store to the target, with its record in `data`."""
    watcher = Silent()
    with Move(make_config(store, data), store.keyring, target.address.dsn, watcher) as move:
        record = CopyRecord(data, move.place)
        try:
            yield move, record, watcher
        finally:
            record.close()


def find_differences(store: RunningStore, target: StoreClient) -> list[Any]:
    found = []
    for _, _, differences in compare_tables(store.writer, target, read_tables(store.writer)):
        found += differences
    return found


def count_raw(client: StoreClient, table: str) -> int:
    return int(client.query_rows(f"SELECT count() AS n FROM {table}")[0]["n"])


def test_a_move_while_events_go_on_coming(
    filled: RunningStore, target: StoreClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes between two runs is copied by the second; after the last both are the same, and loading is paused."""
    monkeypatch.setattr(pieces, "PIECE_ROWS", 20)
    with moving(filled, tmp_path, target) as (move, record, watcher):
        first = move.follow(record)
        assert first.rows["events"] > 40
        assert first.left == 0
        assert not is_maintenance(tmp_path)
        load_batch(filled, 8)
        filled.load(make_row(4, events=[make_event(999)]), host=HOST, seq=9)  # on its way: not in the list yet
        second = move.follow(record)
        assert 0 < second.rows["events"] <= 9
        assert not target.query_rows("SELECT 1 FROM events WHERE batch_seq = 9")
        list_batch(filled, 9)
        filled.put("stitch_progress", {"host": HOST, "seq": 9, "version": 9})
        done = move.finish(record)
        assert done.differences == []
        assert done.is_stitched
        assert done.compared["events"] == count_final(filled.writer) == count_final(target)
        assert "comparing" in watcher.said
    assert is_maintenance(tmp_path)
    assert record.state.finished_at_ms
    for question in (
        "SELECT toJSONString(props) AS props, event_id FROM events FINAL ORDER BY event_id",
        "SELECT * FROM v_sessions ORDER BY session_id",
        "SELECT * FROM v_events ORDER BY event_id",
        "SELECT host, max(seq) AS seq FROM batches GROUP BY host ORDER BY host",
        "SELECT row, version FROM sites FINAL",
        "SELECT * FROM v_consent_history",
    ):
        answer = filled.writer.query_rows(question)
        assert answer
        assert answer == target.query_rows(question)


def count_final(client: StoreClient) -> int:
    return int(client.query_rows("SELECT count() AS n FROM events FINAL")[0]["n"])


def run_victim(config: Config, keyring: Keyring, dsn: str, at: int, fault: Callable[..., Any]) -> None:
    """Copy, and die at disk call `at`."""
    pieces.PIECE_ROWS = 20  # type: ignore[misc]
    disk.os = FaultyOs(at, fault)  # type: ignore[attr-defined]
    with Move(config, keyring, dsn, Silent()) as move:
        record = CopyRecord(config.data_path, move.place)
        move.finish(record)
        record.close()


@pytest.mark.timeout(240)
@pytest.mark.long
@pytest.mark.parametrize("fault", [die_before, die_after])
def test_killed_again_and_again(
    filled: RunningStore, target: StoreClient, tmp_path: Path, fault: Callable[..., Any]
) -> None:
    """kill -9 at the seventh call to the disk of each run: run after run gets further, and nothing is doubled, not
    even in the table that has no key."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["clickhouse_connect"])
    config = make_config(filled, tmp_path)
    deaths, doubts = 0, 0
    while True:
        at = 0 if deaths == 8 else 9 + deaths % 4
        victim = context.Process(target=run_victim, args=(config, filled.keyring, target.address.dsn, at, fault))
        victim.start()
        victim.join()
        if victim.exitcode == 0:
            break
        assert victim.exitcode == -signal.SIGKILL
        deaths += 1
        record = tmp_path / "copy" / "record.json"
        doubts += record.exists() and json.loads(record.read_bytes())["begun"] is not None
    assert deaths > 5
    assert doubts > 2
    assert find_differences(filled, target) == []
    assert count_raw(target, "rejected_events") == count_raw(filled.writer, "rejected_events")


@pytest.mark.long
def test_a_piece_that_was_sent_twice_lands_once(filled: RunningStore, target: StoreClient, tmp_path: Path) -> None:
    """After a reset behind the commit the same bytes go again under the same token; in doubt the target is asked."""
    with moving(filled, tmp_path, target) as (move, record, _):
        move._prepare(record)
        table = next(t for t in read_tables(filled.writer) if t.name == "rejected_events")
        copier = PieceCopier(filled.writer, target, record, sleep=lambda _: None)
        attempts = []

        def insert(client: StoreClient, *arguments: Any) -> None:
            insert_copied(client, *arguments)
            attempts.append(arguments)
            if len(attempts) < 4:
                raise StoreUnavailable("reset after commit")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pieces, "insert_copied", insert)
            for piece, _ in copier.plan(table, None):
                assert list(copier.copy(table, piece))
        assert len({arguments[-1] for arguments in attempts[:4]}) == 1
        assert count_raw(target, "rejected_events") == count_raw(filled.writer, "rejected_events")

        # Killed after the piece had landed, and retention has taken rows here since: other bytes, another token.
        lane = next(lane for lane in record.state.copied if lane.startswith("rejected_events/") and lane.endswith(HOST))
        partition = lane.split("/")[1]
        record.state.copied.pop(lane)
        record.begin(Piece("rejected_events", partition, HOST, 1, 7))
        filled.writer.command("ALTER TABLE rejected_events DELETE WHERE batch_seq = 2 SETTINGS mutations_sync = 2")
        before = count_raw(target, "rejected_events")
        for piece, _ in copier.plan(table, None):
            list(copier.copy(table, piece))
        assert count_raw(target, "rejected_events") == before
        assert record.state.copied[lane] == 7


@pytest.mark.long
def test_what_differs_is_named_and_loading_goes_on(filled: RunningStore, target: StoreClient, tmp_path: Path) -> None:
    """A row lost at the target is found by table and partition; one changed, by the checksum; the old store stays."""
    with moving(filled, tmp_path, target) as (move, record, _):
        move.follow(record)
        target.command("ALTER TABLE rejected_events DELETE WHERE batch_seq = 3 SETTINGS mutations_sync = 2")
        target.command("ALTER TABLE events UPDATE title = 'x' WHERE batch_seq = 4 SETTINGS mutations_sync = 2")
        done = move.finish(record)
    assert {item.table for item in done.differences} == {"rejected_events", "events"}
    lost = next(item for item in done.differences if item.table == "rejected_events")
    assert lost.source.rows == lost.target.rows + 3
    assert all(
        item.source.rows == item.target.rows and item.partition.startswith("2090")
        for item in done.differences
        if item.table == "events"
    )
    assert not is_maintenance(tmp_path)
    assert not record.state.finished_at_ms


@pytest.mark.long
def test_a_piece_too_large_is_halved(
    filled: RunningStore, target: StoreClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded: a piece above PIECE_BYTES goes in halves, down to one batch."""
    with moving(filled, tmp_path, target) as (move, record, _):
        tables = move._prepare(record)
        table = next(t for t in tables if t.name == "events")
        copier = PieceCopier(filled.writer, target, record)
        largest = max(len(copier._read(table, piece)) for piece, _ in copier.plan(table, None))
        monkeypatch.setattr(pieces, "PIECE_BYTES", largest // 2)
        sizes = [list(copier.copy(table, piece)) for piece, _ in copier.plan(table, None)]
        assert max(len(parts) for parts in sizes) > 1
        assert count_final(target) == count_final(filled.writer)


@pytest.mark.long
def test_refusals(filled: RunningStore, target: StoreClient, target_engine: RunningEngine, tmp_path: Path) -> None:
    """A target with rows of others, another target half way, two copies at once, a loader in the middle of a batch."""
    with moving(filled, tmp_path, target) as (move, record, _):
        move.follow(record)
        with pytest.raises(InstanceBusy, match="another `tagstitch copy`"):
            CopyRecord(tmp_path, move.place)
    with pytest.raises(InstanceError, match="was begun: finish that one"):
        CopyRecord(tmp_path, "elsewhere:8123/tagstitch")
    with (
        moving(filled, tmp_path / "other", target) as (move, record, _),
        pytest.raises(InstanceError, match="holds rows already"),
    ):
        move.follow(record)
    (tmp_path / "copy" / "record.json").write_bytes(b"{")
    with pytest.raises(InstanceError, match=r"record\.json is damaged"):
        CopyRecord(tmp_path, "x")
    config = make_config(filled, tmp_path)
    with pytest.raises(ConfigError, match="own engine"):
        Move(config, filled.keyring, f"http://x:y@{config.engine_host}:{config.engine_port}/tagstitch", Silent())
    with pytest.raises(ConfigError, match="on a server already"):
        Move(msgspec.structs.replace(config, dsn="http://a:b@c/d"), filled.keyring, "http://a:b@c/d", Silent())


def test_every_ttl_is_known(source: RunningStore) -> None:
    """What retention removes by itself may not look like a difference: each TTL of the schema is in EXPIRY."""
    rows = source.query(
        "SELECT name, engine_full, create_table_query AS source FROM system.tables"
        " WHERE database = 'tagstitch' AND engine LIKE '%MergeTree'"
    )
    assert {row["name"] for row in rows if " TTL " in row["engine_full"]} == set(EXPIRY)
    columns = {
        row["name"]: {
            line.split()[0].strip("`(") for line in row["source"].split(", `") if " TTL " in line.split("ENGINE")[0]
        }
        for row in rows
    }
    assert {name: found for name, found in columns.items() if found} == {k: set(v) for k, v in EMPTIED.items()}
    kinds = {table.name: table.kind for table in read_tables(source.writer)}
    assert [name for name, kind in kinds.items() if kind == "derived"] == [
        "identity_pairs",
        "offer_exposures",
        "sessions",
        "signal_withdrawals",
        "timeline",
        "visitor_facts",
    ]
    assert [name for name, kind in kinds.items() if kind == "batched"] == [
        "consent_ledger",
        "events",
        "identifier_vault",
        "identity_evidence",
        "profile_reads",
        "rejected_events",
    ]
    assert "schema_migrations" not in kinds


def send(url: str, stop: threading.Event, sent: list[str]) -> None:
    """Send beacons of one event each until told to stop; note those that got their 2xx."""
    import urllib.request

    while not stop.is_set():
        event_id = str(uuid.uuid4())
        now = int(time.time() * 1000)
        body = {
            "v": 1,
            "s": "demo",
            "st": now,
            "d": str(uuid.uuid4()),
            "c": "ai",
            "e": [{"i": event_id, "n": "page_view", "t": now, "u": "http://localhost/x"}],
        }
        request = urllib.request.Request(
            url, json.dumps(body).encode(), {"Content-Type": "text/plain", "Origin": url.rsplit("/x/", 1)[0]}
        )
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
            if answer.status in (200, 204):
                sent.append(event_id)
        stop.wait(0.01)


@pytest.mark.timeout(240)
@pytest.mark.long
def test_a_living_instance_moves_house(target: StoreClient, tmp_path: Path) -> None:
    """Under a stream of beacons: copied, killed, copied again, finished, restarted on the target: each event that got
    its 2xx is there once, and the numbers of the batches go on."""
    instance = start_instance(tmp_path / "data", tmp_path / "log", "--demo")
    stop, sent = threading.Event(), []  # type: tuple[threading.Event, list[str]]
    sender = threading.Thread(target=send, args=(instance.url + instance.config.beacon_path, stop, sent))
    sender.start()
    command = ["copy", "--to", target.address.dsn]
    try:
        instance.until("SELECT count() AS n FROM v_events", lambda rows: rows[0]["n"] > 50)
        dry = instance.command(*command, "--dry-run")
        assert "events" in dry.stdout
        assert not (tmp_path / "data" / "copy").exists()
        killed = subprocess.Popen(
            [sys.executable, "-m", "collector", *command, "--data", str(tmp_path / "data")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not (tmp_path / "data" / "copy" / "record.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        killed.kill()
        killed.wait()
        followed = instance.command(*command)
        assert "run it with --finish" in followed.stdout
        finished = instance.command(*command, "--finish", check=False)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        assert "tagstitch maintenance off" in finished.stdout
        assert target.address.password not in finished.stdout + finished.stderr + followed.stdout + followed.stderr
        count = len(sent)
        deadline = time.monotonic() + 30
        while len(sent) < count + 30:  # accepted all the same
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        stop.set()
        sender.join()
        instance.stop()
        assert instance.process.stdout is not None
        instance.process.stdout.close()
    moved = start_instance(tmp_path / "data", tmp_path / "log", "--demo", environ={"TAGSTITCH_DSN": target.address.dsn})
    try:
        assert not target.query_rows("SELECT 1 FROM events WHERE event_id = {id:UUID}", {"id": sent[-1]})
        moved.command("maintenance", "off")
        deadline = time.monotonic() + 30
        while True:
            there = [str(row["id"]) for row in target.query_rows("SELECT toString(event_id) AS id FROM events FINAL")]
            if set(sent) <= set(there) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        assert sorted(there) == sorted(sent)
        assert count_raw(target, "events") == len(sent)
        [row] = target.query_rows("SELECT count() AS n, max(seq) AS last, uniqExact(host) AS hosts FROM batches FINAL")
        assert (row["n"], row["hosts"]) == (row["last"], 1)
    finally:
        moved.stop()
        assert moved.process.stdout is not None
        moved.process.stdout.close()
