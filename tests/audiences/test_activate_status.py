"""`run/activate.json`, and what `/metrics` and `tagstitch status` make of it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from collector.audiences.activate_status import ActivateStatusFile, WebhookCounts, read_activate_status
from collector.commands.status_facts import Watcher
from collector.commands.status_screen import draw, judge
from collector.condition import read_condition
from collector.config import Config
from collector.endpoints.exposition import expose
from collector.role_board import RoleBoard

NOW_MS = 1_790_000_000_000


class Folder:
    """A data folder in which an activate writes how it is doing, and whoever looks at it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.now_ms = NOW_MS
        self.status = ActivateStatusFile(data, lambda: self.now_ms)
        RoleBoard(data, lambda: self.now_ms).note_start("activate", 1)

    def show(self) -> tuple[str, list[str]]:
        """Return the whole view, and what is said to be wrong with the audiences."""
        facts = Watcher(Config(data=str(self.data), min_free_bytes=0), None, lambda: self.now_ms).look()
        console = Console(file=io.StringIO(), width=140)
        console.print(draw(facts))
        text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO
        return text, [one.sentence for one in judge(facts) if one.sentence.startswith("audiences")]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_lag_grows_while_something_waits(folder: Folder) -> None:
    """A step that takes long, or a role that is gone, is seen by the age of what waits."""
    folder.status.counts.enters = 3
    folder.status.write(NOW_MS - 1_000)
    text = expose(read_condition(folder.data, NOW_MS + 4_000)).decode()
    assert "tagstitch_activate_lag_seconds 5.0" in text
    assert "tagstitch_activate_enters_total 3.0" in text
    folder.status.write()
    assert "tagstitch_activate_lag_seconds 0.0" in expose(read_condition(folder.data, NOW_MS + 4_000)).decode()


def test_webhooks_are_counted(folder: Folder) -> None:
    """Each by its name, once there is one."""
    assert "webhook_" not in expose(read_condition(folder.data, NOW_MS)).decode()
    folder.status.count_webhooks = lambda: {"mailing": WebhookCounts(made=3, tries=4, delivered=2, dead=1, waiting=7)}
    folder.status.write()
    text = expose(read_condition(folder.data, NOW_MS)).decode()
    assert 'tagstitch_webhook_tries_total{webhook="mailing"} 4.0' in text
    assert 'tagstitch_webhook_dead_total{webhook="mailing"} 1.0' in text
    assert 'tagstitch_webhook_waiting{webhook="mailing"} 7.0' in text


def test_a_host_without_the_role_says_nothing_of_it(tmp_path: Path) -> None:
    """Neither in the metrics nor in the view."""
    folder = Folder(tmp_path)
    assert "activate_" not in expose(read_condition(tmp_path, NOW_MS)).decode()
    assert "caught up" not in folder.show()[0]
    assert read_activate_status(tmp_path / "nowhere") is None


def test_status_says_how_far_the_audiences_are(folder: Folder) -> None:
    """Caught up, behind, standing still, judging everybody, and gone: each its own words."""
    folder.status.write()
    text, wrong = folder.show()
    assert "caught up" in text
    assert wrong == []
    folder.status.write(NOW_MS - 90_000, "main: buyers", 2_000_000)
    text, wrong = folder.show()
    assert "1 min 30 s behind" in text
    assert "judging main: buyers, 2,000,000 people so far" in text
    assert wrong == ["audiences are 1 min 30 s behind"]
    folder.status.write(trouble="ClickHouse does not answer")
    text, wrong = folder.show()
    assert "stands still" in text
    assert wrong == ["audiences stand still: ClickHouse does not answer"]
    folder.now_ms += 120_000
    text, wrong = folder.show()
    assert "last seen 2 min 0 s ago" in text
    assert wrong == []


def test_idle_it_writes_now_and_then(folder: Folder) -> None:
    """Nothing waits, again and again: the disk is left alone for two seconds."""
    seen = set()
    for _ in range(10):
        folder.status.write()
        found = read_activate_status(folder.data)
        assert found is not None
        seen.add(found.at_ms - NOW_MS)
        folder.now_ms += 500
    assert sorted(seen) == [0, 2_000, 4_000]
