"""`tagstitch status` says how an instance is doing, in every state, and never fails for what is away."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from collector.commands.status import describe
from collector.commands.status_facts import Asked, Facts, Watcher
from collector.commands.status_screen import PAUSES, draw, judge
from collector.config import Config
from collector.load.counts import LoaderCounts
from collector.load.status import PAUSES as PAUSE_WORDS
from collector.load.status import LoadStatusFile, Position
from collector.metrics import SEPARATOR, Histogram, Totals
from collector.privacy.govern_status import GovernStatus, write_status
from collector.role_board import RoleBoard
from collector.shared_totals import SharedTotals
from tests.edge_examples import KEYRING

NOON_MS = 1_790_000_000_000
ANSWERS = Asked("ready", "answers", 0)


class Folder:
    """A data folder in which a loader and a web process seem to run: this process plays both."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.at_ms = NOON_MS
        self.trouble = ""
        self.totals = Totals()
        self.watcher = Watcher(Config(data=str(data), min_free_bytes=0), None, lambda: self.at_ms)
        self.board = RoleBoard(data, lambda: self.at_ms)
        self.board.note_start("web-0", os.getpid())
        (data / "load").mkdir()
        position, counts = Position("abc", 7), LoaderCounts()
        counts.count_batch(10, 300, 12_000, NOON_MS - 2000)
        self.load = LoadStatusFile(data, lambda: position, lambda: self.trouble, counts, lambda: self.at_ms)
        self.shared = SharedTotals(data, "web-0", lambda: self.totals, lambda: self.at_ms, lambda: self.at_ms)

    def look(self, asked: Asked = ANSWERS) -> Facts:
        self.load.write()
        self.shared.write()
        return dataclasses.replace(self.watcher.look(), asked=asked)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr("collector.shared_totals.read_totals", Totals)  # what other tests have counted
    return Folder(tmp_path)


def show(facts: Facts, height: int = 50) -> str:
    """The view as text."""
    console = Console(file=io.StringIO(), width=110, color_system=None)
    console.print(draw(facts, height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_all_is_well(folder: Folder) -> None:
    """Where nothing is wrong it says so first, and shows processes, rates, the last batch and what stitch is at."""
    facts = folder.look()
    assert judge(facts) == []
    text = show(facts)
    assert text.startswith("● all is well")
    for part in ("web-0", "● up", "300 events, 12.0 kB", "2.0 s ago", "caught up", "refused", "nothing"):
        assert part in text


def test_a_small_terminal_holds_it(folder: Folder) -> None:
    """With many reasons, a few roles and a finding it still has at most 24 lines; in a tall one it has air."""
    for name in ("engine", "load", "stitch"):
        folder.board.note_start(name, os.getpid())
    folder.trouble = "away"
    reasons = {SEPARATOR.join(("validate", word)): 9 for word in ("clock", "origin", "size", "id", "version", "count")}
    folder.totals = Totals({"rejected": reasons})
    facts = folder.look()
    assert len(show(facts, 24).splitlines()) <= 24
    assert "4 other reasons" in show(facts, 24)
    assert "\n\nProcesses" in show(facts, 50)


def test_rates_and_percentiles_are_of_what_has_changed(folder: Folder) -> None:
    """Two looks apart give rates by the seconds between them, and percentiles of what came meanwhile alone."""
    clock, origin = SEPARATOR.join(("validate", "clock")), SEPARATOR.join(("validate", "origin"))
    slow = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1000]
    folder.totals = Totals(
        {"accepted_events": {"shop": 100}, "rejected": {clock: 5, origin: 7}}, {"spool_commit_seconds": Histogram(slow)}
    )
    first = folder.look()
    assert (first.events_per_s, first.sync[0]) == (None, 1.0)
    folder.at_ms += 4000
    folder.totals = Totals(
        {"accepted_events": {"shop": 300}, "rejected": {clock: 13, origin: 7}},
        {"spool_commit_seconds": Histogram([100, *slow[1:]])},
    )
    second = folder.look()
    assert second.events_per_s == 50
    counts = {reason: rate for reason, (_, rate) in second.rejected.items()}
    assert (counts["clock"], counts["origin"]) == (2, 0)
    assert second.sync == (0.00025, 0.000495)
    assert "50.0/s" in show(second)
    folder.at_ms += 120_000
    assert folder.look().sync[0] == 1.0, "nothing came in the last minute: of all time"


@pytest.mark.parametrize("word", PAUSE_WORDS)
def test_every_pause_says_what_to_do(folder: Folder, word: str) -> None:
    """A paused loader is named with its reason in a sentence; only what somebody wants so is nothing bad."""
    folder.trouble = "refusal 241" if word == "refused" else word
    (finding,) = judge(folder.look())
    assert finding.sentence == PAUSES[word].format(code=241)
    assert finding.level == ("look" if word == "maintenance" else "bad")
    assert finding.sentence[:40] in show(folder.look())


def test_a_dead_role_and_a_dead_loader(folder: Folder) -> None:
    """A role that is down is named with its last words; a loader that has stopped writing does not run."""
    folder.board.note_start("engine", os.getpid())
    folder.board.note_death("engine", "killed by SIGKILL")
    facts = folder.look()
    assert ("bad", "engine is down: killed by SIGKILL") in judge(facts)
    assert "something is wrong" in show(facts)
    folder.at_ms += 60_000
    folder.shared.write()
    assert any("no loader runs" in finding.sentence for finding in judge(folder.watcher.look()))


def test_what_does_not_answer_is_said(folder: Folder) -> None:
    """Web and store that are away are findings of their own, and the view stands."""
    facts = folder.look(Asked("does not answer on 127.0.0.1:1", "ClickHouse does not answer", None))
    assert [finding.level for finding in judge(facts)] == ["bad", "bad"]
    assert "not known" in show(facts)


def test_a_stitch_that_is_late_is_said(folder: Folder) -> None:
    """Where the roles run apart nobody else tells that it is down."""
    assert judge(folder.look(Asked("ready", "answers", 100))) == []
    (finding,) = judge(folder.look(Asked("ready", "answers", 2500)))
    assert (finding.level, finding.sentence[:28]) == ("look", "stitch is 2,500 batches behi")


def test_requests_of_people_are_said(folder: Folder) -> None:
    """What waits, what is late, and tables from which nobody can be erased; what does not run is seen."""
    assert "govern" not in show(folder.look())
    write_status(folder.data, GovernStatus(NOON_MS, 1, waiting=3, erased=7))
    facts = folder.look()
    assert judge(facts) == []
    assert "3 requests wait" in show(facts)
    assert describe(facts)["govern"]["erased"] == 7
    write_status(folder.data, GovernStatus(NOON_MS, 1, waiting=3, late=2, unlisted=1, trouble="the store is away"))
    said = {finding.level: finding.sentence for finding in judge(folder.look())}
    assert said["bad"] == "2 requests of people are late: `tagstitch privacy requests`"
    assert "tagstitch privacy tables" in said["look"]
    write_status(folder.data, GovernStatus(NOON_MS - 600_000, 1, waiting=3))
    assert "govern does not run" in judge(folder.look())[0].sentence
    assert "not running" in show(folder.look())


def test_nothing_runs(tmp_path: Path) -> None:
    """A folder without an instance, and one that is stopped with a full spool, say what to do."""
    watcher = Watcher(Config(data=str(tmp_path)), None, lambda: NOON_MS)
    text = show(watcher.look())
    assert "nothing runs here" in text
    assert "There is no instance yet" in text
    (tmp_path / "tagstitch.json").write_text("{}")
    (tmp_path / "spool/web-0").mkdir(parents=True)
    (tmp_path / "spool/web-0/0000000001-00000000.v1.seg").write_bytes(b"x" * 5000)
    text = show(watcher.look())
    assert "Start it with: tagstitch run" in text
    assert "5.0 kB wait in the spool" in text


def test_a_store_that_hangs_holds_nothing_up(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes the connection and is silent: the look comes all the same and says so."""
    monkeypatch.setattr("collector.commands.status_facts.PATIENCE_S", 0.3)
    monkeypatch.setattr("collector.commands.status_facts.SILENCE_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        config = Config(data=str(folder.data), host="127.0.0.1", port=port, engine_port=port)
        watcher = Watcher(config, KEYRING, lambda: folder.at_ms)
        watcher.start()
        watcher.wait()
        facts = watcher.look()
        watcher.stop()
    assert facts.asked.store.startswith("has not answered")
    assert any(finding.sentence.startswith("store: has not answered") for finding in judge(facts))


def test_facts_for_scripts_are_json(folder: Folder) -> None:
    """Everything that is shown has a name in the object."""
    facts = json.loads(json.dumps(describe(folder.look())))
    assert (facts["web"], facts["store"], facts["findings"]) == ("ready", "answers", [])
    assert facts["load"]["batches"] == 1
    assert facts["roles"][0]["name"] == "web-0"


@pytest.mark.parametrize("option", ["--once", "--json"])
def test_the_command_ends_with_one_where_nothing_runs(tmp_path: Path, option: str) -> None:
    """A script can ask; no traceback, no folder made."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "collector", "status", option),
            *("--data", str(tmp_path / "none"), "--set", f"port={port}", "--set", f"engine_port={port}"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "nothing runs here" in done.stdout or json.loads(done.stdout)["load_paused"] == "not running"
    assert not (tmp_path / "none").exists()
