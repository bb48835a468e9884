"""How a change of identity is made from the command line: planned, shown or written, waited for, shown again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from rich.console import Console

from collector.commands.options import find_operator, open_secrets
from collector.config import Config, Settings
from collector.errors import InstanceError, RepairError, RepairReason, SpoolError
from collector.store.client import open_client

if TYPE_CHECKING:
    from collector.identity.repair import Plan, Repairs

WIDTH = 160
STAGES = {"loading": "is being loaded", "stitching": "is being stitched", "publishing": "is being made visible"}


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    """What every change is told. `wait_s`: how long to wait for the map, 0: not at all."""

    dry_run: bool
    note: str
    wait_s: float
    as_json: bool


def change(read: Settings, space: str, actor: str, options: ChangeOptions, plan_it: Callable[[Repairs], Plan]) -> None:
    """Plan a change; then show it, or make it, wait for it and show what came of it."""
    from collector.identity.arrival import wait_for_map
    from collector.identity.difference import see_what_came

    with open_desk(read, space, actor) as (config, repairs):
        plan = plan_it(repairs)
        if options.dry_run:
            _show(plan.action, plan, options.as_json, plan.difference, "", "nothing was written")
            return
        entry = repairs.begin(plan, options.note)
        _spool(config, repairs, plan, entry)
        if options.wait_s <= 0:
            said = "on disk; the map follows in a moment. This is what will change"
            _show(plan.action, plan, options.as_json, plan.difference, entry.audit_id, said)
            return
        console = Console(stderr=True, highlight=False)
        with console.status("…") as status:
            arrived = wait_for_map(
                repairs.client,
                plan.statements,
                plan.difference.moved,
                options.wait_s,
                tell=lambda stage: status.update(STAGES[stage]),
            )
        if not arrived:
            raise RepairError(
                RepairReason.PENDING,
                f"this is on disk and in the audit log ({entry.audit_id}), and not in the map after "
                f"{options.wait_s:g} s: is everything running? `tagstitch status` says it",
            )
        came = see_what_came(repairs.client, space, plan.prospect)
        _show(plan.action, plan, options.as_json, came, entry.audit_id, "in the map")


def _spool(config: Config, repairs: Repairs, plan: Plan, entry: Any) -> None:
    """Write the plan's rows to the spool. Where that fails the log says so."""
    from collector.identity.arrival import make_lines, spool_lines

    try:
        asyncio.run(spool_lines(config, make_lines(plan.statements, repairs.now_ms())))
    except (SpoolError, InstanceError, OSError):
        repairs.note_failure(entry)
        raise


def _show(word: str, plan: Plan, as_json: bool, difference: Any, audit_id: str, said: str) -> None:
    if as_json:
        print_json(
            {
                "action": word,
                "audit_id": audit_id,
                "evidence_added": len(plan.appended),
                "evidence_taken_back": len(plan.taken_back),
                "difference": difference,
            }
        )
        return
    from collector.commands.identity_screen import draw_difference

    console = open_console()
    counts = [
        f"{len(ids):,} {'piece' if len(ids) == 1 else 'pieces'} of evidence {what}"
        for what, ids in (("added", plan.appended), ("taken back", plan.taken_back))
        if ids
    ]
    console.print(f"{word}: {', '.join([*counts, said])}", markup=False)
    console.print()
    draw_difference(console, difference)
    if audit_id:
        console.print(f"to undo it: tagstitch identity undo {audit_id}", markup=False)


@contextmanager
def open_desk(read: Settings, space: str, actor: str) -> Iterator[tuple[Config, Repairs]]:
    """Open the store for one operator."""
    from collector.identity.repair import Repairs

    keyring = open_secrets(read)
    with open_client(read.config, keyring, "writer") as client:
        yield (
            read.config,
            Repairs(client, read.config, keyring, space, f"operator:{actor}" if actor else find_operator()),
        )


def read_name(name: str) -> str:
    """Return a name; `-` is a line of standard input, so that it stands in no list of processes."""
    return sys.stdin.readline().strip() if name == "-" else name


def read_ms(moment: datetime | None) -> int:
    """Return milliseconds since 1970; a time without zone is UTC. 0: not given."""
    if moment is None:
        return 0
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def print_json(value: object) -> None:
    """Print one JSON object as one line."""
    typer.echo(msgspec.json.encode(value).decode())


def open_console() -> Console:
    """Return the terminal, as all of these commands use it; off a terminal lines are long, and not cut."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = WIDTH
    return console
