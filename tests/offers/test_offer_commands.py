"""`tagstitch offer list|report`: what they print, for people and for scripts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from tests.instance_process import run_command
from tests.running_store import RunningStore, make_event, make_row

pytestmark = pytest.mark.engine
USE = """
[offers.letter]
sentence = "A lamp for reading"
slot = "shelf"
content = { title = "A lamp" }
hold_out = 0.2
cap = { shown = 3, within_days = 7 }

[offers.autumn]
slot = "shelf"
priority = 5
content = { title = "Autumn" }
purpose = ""
ends = 2020-11-30
"""


@pytest.fixture
def options(store: RunningStore, tmp_path: Path) -> list[str]:
    """What leads a command to this store, and to a file with two offers."""
    use_file = tmp_path / "use.toml"
    use_file.write_text(USE)
    secrets = tmp_path / "data" / "secrets.json"
    secrets.parent.mkdir()
    secrets.write_bytes(msgspec.json.encode(store.keyring))
    secrets.chmod(0o600)
    port = f"engine_port={store.config.engine_port}"
    return ["--data", str(secrets.parent), "--set", f"use_file={use_file}", "--set", port]


def test_what_is_configured(options: list[str]) -> None:
    """In the order in which they win a slot, with their state."""
    said = run_command("offer", "list", *options, check=True).stdout
    assert said.index("autumn") < said.index("letter")
    for words in ("A lamp for reading", "20%", "3 in 7 days", "marketing", "purchase in 14 days", "running", "over"):
        assert words in said
    rows = [json.loads(line) for line in run_command("offer", "list", *options, "--json").stdout.splitlines()]
    assert [(row["name"], row["state"], row["hold_out"]) for row in rows] == [
        ("autumn", "over", 0),
        ("letter", "running", 0.2),
    ]


def test_none_yet_says_how(tmp_path: Path) -> None:
    """Lines to begin with, and where to read on."""
    use_file = tmp_path / "use.toml"
    use_file.write_text("")
    said = run_command("offer", "list", "--data", str(tmp_path), "--set", f"use_file={use_file}", check=True).stdout
    assert "[offers.welcome]" in said and "docs/offers.md" in said


def test_what_it_brought(store: RunningStore, options: list[str]) -> None:
    """Both arms, a sentence, and the same for scripts; who is asked for an offer that is not there names those that
    are."""
    rows = []
    now_ms = time.time_ns() // 1_000_000
    for visitor in range(1, 61):
        action = "offer_held_out" if visitor % 3 == 0 else "offer_shown"
        happened = [(action, '{"offer":"letter"}')]
        if action == "offer_shown" and visitor % 2:
            happened.append(("purchase", '{"value":10,"currency":"EUR"}'))
        events = [
            make_event(visitor * 10 + number, name=name, props=props) for number, (name, props) in enumerate(happened)
        ]
        for number, event in enumerate(events):
            event.time_ms = now_ms - 60_000 + number
        rows.append(make_row(visitor, received_at_ms=now_ms, events=events))
    store.load(*rows)
    said = run_command("offer", "report", "letter", *options, check=True).stdout
    for words in ("A lamp for reading", "Goal: purchase within 14 days", "shown", "held out", "50.0%", "more often"):
        assert words in said
    assert "Too few have reached the goal" in said
    report = json.loads(run_command("offer", "report", "letter", *options, "--json", "--days", "7").stdout)
    assert (report["shown"]["people"], report["shown"]["converted"], report["held_out"]["people"]) == (40, 20, 20)
    assert report["rate"]["low"] > 0
    wrong = run_command("offer", "report", "lettre", *options)
    assert wrong.returncode == 1 and "there is no such offer; there is letter, autumn" in wrong.stderr
    assert run_command("offer", "report", "letter", *options, "--zone", "Mars").returncode == 2
