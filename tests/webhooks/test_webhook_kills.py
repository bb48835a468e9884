"""A sender that is killed anywhere: the next one delivers everything, and what comes twice has the same id."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.running_store import RunningStore, make_id
from tests.webhooks.receiver import (
    add_changes,
    count_states,
    make_change,
    make_webhook,
    now_ms,
    running_receiver,
    running_sender,
    wait_until,
)

pytestmark = [pytest.mark.engine, pytest.mark.chaos]

ROOT = Path(__file__).parents[2]
PEOPLE = 30
FEW = [("made", 1), ("answered", 5)]
MORE = [
    *(("make", 1), ("note", 1), ("send", 1), ("send", 20)),
    *(("answered", 1), ("write", 1), ("write", 2), ("written", 1)),
]


@pytest.mark.parametrize(("step", "times"), [*FEW, *(pytest.param(*more, marks=pytest.mark.long) for more in MORE)])
def test_nothing_is_lost(store: RunningStore, step: str, times: int) -> None:
    """Every person's two changes arrive, each in its order, whenever the first sender died."""
    with running_receiver() as receiver:
        with running_sender(store, make_webhook(receiver.url)):
            pass  # the webhook is known from here on
        at_ms = now_ms()
        changes = [make_change(person, version, at=at_ms) for version in (1, 2) for person in range(PEOPLE)]
        add_changes(store, *changes)
        told = {
            "config": msgspec.to_builtins(store.config),
            "keyring": msgspec.to_builtins(store.keyring),
            "url": receiver.url,
            "step": step,
            "times": times,
        }
        program = [sys.executable, "-m", "tests.webhooks.killed_sender"]
        killed = subprocess.run(program, input=json.dumps(told), text=True, cwd=ROOT, timeout=60, check=False)
        assert killed.returncode == -signal.SIGKILL
        with running_sender(store, make_webhook(receiver.url)):
            wait_until(lambda: count_states(store) == {"delivered": 2 * PEOPLE})
        firsts = [body["data"]["change_id"] for body in receiver.told]
        assert set(firsts) == {change["change_id"] for change in changes}
        assert len(set(receiver.ids)) == 2 * PEOPLE
        for person in range(PEOPLE):
            told_of = [b["data"]["version"] for b in receiver.told if b["data"]["person_id"] == make_id(person, 0xDD)]
            assert told_of == sorted(told_of)
