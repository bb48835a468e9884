"""A kill armed at each step of the way, from the write to the removed segment, with the real engine at its end."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from collector.load.loader import run_loader
from tests.chaos.ledger import Ledger, ask_patiently, wait_until_loaded
from tests.chaos.outcome import SEED, chaos_case, count_rounds
from tests.chaos.stream import note_acknowledged, note_sent
from tests.chaos.victims import STEPS, run_armed_loader, run_armed_writer
from tests.running_store import RunningStore, running_store

pytestmark = [pytest.mark.chaos, pytest.mark.engine, pytest.mark.timeout(600)]

ROUNDS = count_rounds(3, 20)
FIRST, *OTHERS = STEPS
LOADER_STEPS = ("after insert, before the cursor", "after the cursor, before unlink")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        store.writer.command("SYSTEM STOP MERGES")  # a merge would hide a row that was taken twice
        yield store


class Host:
    """A data folder on which one victim after the other dies, and the ledger of what they acknowledged."""

    def __init__(self, store: RunningStore, data: Path) -> None:
        store.clear()
        self.store = store
        self.config = msgspec.structs.replace(store.config, data=str(data), batch_events=30, load_interval_s=0.01)
        self.ledger = Ledger()
        self._first = itertools.count(1, 1000)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.chaos.victims"])

    def write(self, step: str, at: int) -> None:
        """Let a writer die at the `at`-th time of the step."""
        first = next(self._first)
        numbers = range(first, first + 200)
        for number in numbers:
            note_sent(self.ledger, number)
        receiver, sender = self._context.Pipe(duplex=False)
        folder = self.config.data_path / "spool" / "web-0"
        victim = self._context.Process(target=run_armed_writer, args=(folder, step, at, numbers, sender))
        victim.start()
        sender.close()
        try:
            while True:
                note_acknowledged(self.ledger, receiver.recv())
        except EOFError:
            receiver.close()
        victim.join()
        assert victim.exitcode == -9

    def load(self, step: str, at: int) -> None:
        """Let a loader die at the `at`-th time of the step."""
        victim = self._context.Process(target=run_armed_loader, args=(self.config, self.store.keyring, step, at))
        victim.start()
        victim.join(60)
        assert victim.exitcode == -9

    def finish(self) -> str:
        """Load what is left, nobody dying any more, and hold the ledger against the store."""
        stop = threading.Event()
        last = threading.Thread(target=run_loader, args=(self.config, self.store.keyring, stop))
        with capture_logs():
            last.start()
            try:
                wait_until_loaded(self.config.data_path)
            finally:
                stop.set()
                last.join(60)
        return self.ledger.compare(ask_patiently(self.store.query), is_sent_once=True)


@pytest.mark.parametrize("step", [FIRST, *(pytest.param(step, marks=pytest.mark.long) for step in OTHERS)])
def test_writer_killed_at_a_step(running: RunningStore, tmp_path: Path, step: str) -> None:
    """Whatever of a group was written or synced when the writer died: what it acknowledged lands, once."""
    chance = random.Random(f"{SEED} {step}")
    with chaos_case(f"kill armed: {step}", "SIGKILL of the writer at exactly that step", ROUNDS) as outcome:
        host = Host(running, tmp_path)
        for _ in range(ROUNDS):
            host.write(step, chance.randint(1, 30))
        outcome.found = host.finish()
        assert host.ledger.acknowledged


@pytest.mark.parametrize("step", LOADER_STEPS)
@pytest.mark.long
def test_loader_killed_at_a_step(running: RunningStore, tmp_path: Path, step: str) -> None:
    """The batch that was in the air is sent again with the same bytes and token, and counts once."""
    chance = random.Random(f"{SEED} {step}")
    with chaos_case(f"kill armed: {step}", "SIGKILL of the loader at exactly that step", ROUNDS) as outcome:
        host = Host(running, tmp_path)
        for _ in range(ROUNDS):
            host.write("before the acknowledgement", chance.randint(20, 30))
            host.load(step, chance.randint(1, 4))
        outcome.found = host.finish()
        assert host.ledger.acknowledged
