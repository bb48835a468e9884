"""What a chaos case did and found, written down for `docs/reliability.md`.

Every case appends one JSON object to the file that TAGSTITCH_CHAOS_REPORT names, also when it fails: a fault that is
found and not mended stands in the table too. `tests.chaos.report` makes the table. Without the variable nothing is
written. TAGSTITCH_CHAOS_ROUNDS asks for the long form, TAGSTITCH_CHAOS_SEED repeats a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

REPORT = "TAGSTITCH_CHAOS_REPORT"
SEED = int(os.environ.get("TAGSTITCH_CHAOS_SEED", "4711"))
_ROUNDS = int(os.environ.get("TAGSTITCH_CHAOS_ROUNDS", "0"))
FULL_ROUNDS = 200
"""A case says its size for so many rounds: see `count_rounds`."""


class Outcome:
    """What a case says about itself. `rounds` and `found` are set while it runs."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.found = "0 lost, 0 doubled"


def count_rounds(short: int, full: int) -> int:
    """Return how many rounds to make: `short` in `make test`, `full` at 200 rounds of `make chaos`, else in proportion,
    and never fewer than `short`."""
    return max(short, full * _ROUNDS // FULL_ROUNDS) if _ROUNDS else short


def is_long() -> bool:
    """Tell whether this is `make chaos`."""
    return _ROUNDS > 0


@contextlib.contextmanager
def chaos_case(case: str, injected: str, rounds: int = 1) -> Iterator[Outcome]:
    """Run one case and append what came of it. Also a decorator. The parts of a case share its name: `report` adds
    their rounds, and it holds only where all of them do."""
    outcome = Outcome(rounds)
    try:
        yield outcome
    except BaseException as error:
        lines = str(error).strip().splitlines()
        _append(case, injected, outcome.rounds, f"{type(error).__name__}: {lines[0][:200] if lines else ''}", ok=False)
        raise
    _append(case, injected, outcome.rounds, outcome.found, ok=True)


def _append(case: str, injected: str, rounds: int, found: str, *, ok: bool) -> None:
    name = os.environ.get(REPORT)
    if not name:
        return
    entry = {
        "case": case,
        "rounds": rounds,
        "seed": SEED,
        "injected": injected,
        "outcome": found,
        "ok": ok,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    with Path(name).open("a", encoding="utf-8") as file:  # one write: several test processes share the file
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")
