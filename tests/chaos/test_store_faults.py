"""The store away, slow, broken in every way that a network and a server know: events wait, and land exactly once.

The loader is the real one, in a thread; the engine is the real one in its process; between them stands the proxy.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from collector.load import patience
from collector.load.loader import run_loader
from tests.chaos.fault_proxy import Answer, CutAnswer, CutBody, Fault, FaultProxy, Reset, Slow
from tests.chaos.ledger import Ledger, ask_patiently, wait_until_loaded
from tests.chaos.outcome import SEED, chaos_case, count_rounds, is_long
from tests.chaos.stream import Stream
from tests.running_store import RunningStore, running_store

pytestmark = [pytest.mark.chaos, pytest.mark.engine, pytest.mark.timeout(900)]

FAULTS: dict[str, tuple[str, Fault]] = {
    "reset before": ("a reset instead of an answer, before the engine has heard of it", Reset()),
    "reset after commit": ("a reset instead of the answer, after the engine has committed", Reset(after=True)),
    "cut answer": ("half of the engine's answer, then a reset", CutAnswer()),
    "cut body": ("half of the body reaches the engine, ended after a whole row", CutBody()),
    "torn body": ("half of the body reaches the engine, ended within a row", CutBody(at_line=False)),
    "500": ("a plain 500 in the engine's place", Answer(status=500)),
    "500 after commit": ("a plain 500 after the engine has committed", Answer(after=True, status=500)),
    "503": ("a plain 503 for everything", Answer(status=503, everything=True)),
    "503 after commit": ("a plain 503 after the engine has committed", Answer(after=True, status=503)),
    "wrong password": ("ClickHouse code 516 for everything", Answer(status=403, code=516, everything=True)),
    "read-only": ("ClickHouse code 164, a read-only server", Answer(status=500, code=164)),
    "read-only replica": ("ClickHouse code 242, a replica without its keeper", Answer(status=500, code=242)),
    "too many parts": ("ClickHouse code 252", Answer(status=500, code=252)),
    "out of memory": ("ClickHouse code 241", Answer(status=500, code=241)),
    "out of memory after commit": (
        "ClickHouse code 241 after the views were filled",
        Answer(True, status=500, code=241),
    ),
}
HOLD_S = 2.0 if is_long() else 0.1
TRIES = count_rounds(1, 10)
GROUPS = [[name] for name in FAULTS] if is_long() else [list(FAULTS)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        store.writer.command("SYSTEM STOP MERGES")  # a merge would hide a row that was taken twice
        yield store


@pytest.fixture
def store(running: RunningStore) -> RunningStore:
    """The store, empty."""
    running.clear()
    return running


@contextlib.contextmanager
def loading(store: RunningStore, data: Path) -> Iterator[tuple[FaultProxy, Ledger, Stream]]:
    """A stream of beacons, and the loader behind a proxy. At the end everything must have been loaded."""
    ledger, stop = Ledger(), threading.Event()
    with FaultProxy(store.engine.host, store.engine.port) as proxy, pytest.MonkeyPatch.context() as patch:
        if not is_long():
            patch.setattr(patience, "LONGEST_WAIT_S", 0.2)
        config = msgspec.structs.replace(
            store.config, data=str(data), engine_host="127.0.0.1", engine_port=proxy.port, load_interval_s=0.01
        )
        role = threading.Thread(target=run_loader, args=(config, store.keyring, stop))
        role.start()
        try:
            with Stream(data, ledger) as stream:
                stream.wait_for_more()
                yield proxy, ledger, stream
                stream.wait_for_more()
            wait_until_loaded(data)
        finally:
            proxy.fault = None
            stop.set()
            role.join(60)
    assert not role.is_alive()


@pytest.mark.long
@pytest.mark.parametrize("names", GROUPS, ids=" and ".join if is_long() else "all in turn".format)
def test_fault_under_load(store: RunningStore, tmp_path: Path, names: list[str]) -> None:
    """While the fault lasts events are acknowledged and wait; when it is over all of them land, once."""
    injected = "; ".join(FAULTS[name][0] for name in names)
    case = f"store: {names[0]}" if is_long() else "store: every fault in turn"
    with chaos_case(case, f"{injected}, for {HOLD_S:g} s at a time under load", TRIES * len(names)) as outcome:
        with capture_logs() as logs, loading(store, tmp_path) as (proxy, ledger, stream):
            for name in names * TRIES:
                met = proxy.met.total()
                proxy.fault = FAULTS[name][1]
                time.sleep(HOLD_S)
                give_up_at = time.monotonic() + 30
                while proxy.met.total() < met + 2:
                    assert time.monotonic() < give_up_at, f"{name}: the loader has given up"
                    time.sleep(0.01)
                proxy.fault = None
                stream.wait_for_more()
        outcome.found = ledger.compare(ask_patiently(store.query), is_sent_once=True)
        assert not list((tmp_path / "load" / "refused").glob("*")), "a good row was blamed for the store's fault"
        assert not store.query("SELECT 1 FROM rejected_events LIMIT 1")
        assert "Traceback" not in repr(logs)


@pytest.mark.long
def test_slow_store(store: RunningStore, tmp_path: Path) -> None:
    """Each insert takes seconds: events wait, batches grow, and all of them land, once."""
    seconds, rounds = (5.0, 10) if is_long() else (1.0, 2)
    with chaos_case("store: slow", f"{seconds:g} s for each insert, under load", rounds) as outcome:
        with loading(store, tmp_path) as (proxy, ledger, stream):
            proxy.fault = Slow(seconds=seconds)
            give_up_at = time.monotonic() + 30 * seconds
            while proxy.met.total() < rounds:
                assert time.monotonic() < give_up_at
                stream.wait_for_more(1)
            proxy.fault = None
        outcome.found = ledger.compare(ask_patiently(store.query), is_sent_once=True)


def test_store_away(store: RunningStore, tmp_path: Path) -> None:
    """Connections are refused for a while: events are acknowledged all the same, and land when it is back."""
    seconds = 120 if is_long() else 2
    with chaos_case("store: away", f"connections refused for {seconds} s, under load") as outcome:
        with capture_logs() as logs, loading(store, tmp_path) as (proxy, ledger, stream):
            proxy.vanish()
            before = len(ledger.acknowledged)
            time.sleep(seconds)
            stream.wait_for_more()
            during = len(ledger.acknowledged) - before
            proxy.listen()
        found = ledger.compare(ask_patiently(store.query), is_sent_once=True)
        outcome.found = f"{found}, {during:,} of them while it was away"
        said = [entry["event"] for entry in logs]
        assert said.count("loading again") == 1, said
        assert said.count("loading is paused, events wait in the spool") <= 2, said


@pytest.mark.long
def test_flapping_store(store: RunningStore, tmp_path: Path) -> None:
    """It goes and comes back, and whatever breaks in between: all land, once."""
    chance = random.Random(SEED)
    times = count_rounds(8, 100)
    faults = [fault for _, fault in FAULTS.values()]
    with chaos_case("store: flapping", "away, then back with a random fault of this table", times) as outcome:
        with capture_logs(), loading(store, tmp_path) as (proxy, ledger, stream):
            for _ in range(times):
                proxy.vanish()
                time.sleep(chance.uniform(0.01, 0.2))
                proxy.fault = chance.choice([None, *faults])
                proxy.listen()
                time.sleep(chance.uniform(0.05, 0.4))
            proxy.fault = None
            stream.wait_for_more()
        outcome.found = ledger.compare(ask_patiently(store.query), is_sent_once=True)
        assert not list((tmp_path / "load" / "refused").glob("*"))
