"""`tagstitch adapter sync`: copies a source into customers and traits, what has changed since the last time."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn

from collector.adapters.configuration import AdapterConfig
from collector.adapters.opening import Place, describe_adapter, make_place, open_scanned
from collector.commands.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    SetOption,
    find_operator,
    open_secrets,
    open_writer,
    read_running,
)
from collector.commands.tables import make_table, open_console, print_json
from collector.config import Settings
from collector.errors import ConfigError
from collector.identity import audit
from collector.use.config import FILE_NAME, UseConfig, read_use

if TYPE_CHECKING:
    from collector.syncing.sync import AdapterSync, Outcome

SOME_REFUSED = 3
REASONS = {
    "key": "no key that could be one of its kind",
    "blocked": "the key names nobody (null, guest, 000)",
    "double": "several records have the key: none of them is copied",
    "erased": "whoever has the key was erased",
    "restricted": "whoever has the key is restricted: what stands is left as it is",
}
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The adapter, as `adapter list` shows it.")]


def sync(
    name: NameArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what differs, and write nothing.")] = False,
    allow_gone: Annotated[
        bool, typer.Option("--allow-gone", help="Take back what has gone from the source, however much that is.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy a source: its values become traits, its keys customers. Only what has changed since last time is written.

    A field becomes the trait of its name (`trait = "…"` says another one), said by adapter:NAME; a correction still
    beats it. A field that says `identifier = "email"` ties that address to the customer, as your server would: level 4.
    What the source no longer says is taken back; if that is more than 30 % of it, the sync stops and asks.

    Interrupted or killed, the same words go on. Ends with status 0 where all records were taken, 3 where some were
    refused, 1 where it could not go on.

    \b
        tagstitch adapter sync crm --dry-run
        tagstitch adapter sync crm
        17 3 * * *  tagstitch adapter sync crm --data /var/lib/tagstitch --json      # each night, by cron
    """
    read = read_running(data, config, settings)
    use = read_use(read.config)
    adapter = _find(use, name)
    began_s = time.monotonic()
    with _Bar(is_shown=not as_json) as bar, _few_collections():
        outcome = _run(read, use, adapter, bar, is_dry=dry_run, allow_gone=allow_gone)
    took_s = time.monotonic() - began_s
    if as_json:
        print_json({**msgspec.structs.asdict(outcome), "took_s": round(took_s, 3)})
    else:
        _show(outcome, took_s)
    if outcome.refused:
        raise typer.Exit(SOME_REFUSED)


def _run(
    read: Settings, use: UseConfig, adapter: AdapterConfig, bar: _Bar, *, is_dry: bool, allow_gone: bool
) -> Outcome:
    from collector.syncing.opening import open_sync  # late: it works with columns, which no other command here needs

    keyring = open_secrets(read)
    place = make_place(read.config, lambda: keyring)
    described = describe_adapter(adapter, place)
    with open_writer(read) as client:
        work = open_sync(
            read.config, client, keyring, adapter, described, use.traits, bar, is_dry=is_dry, allow_gone=allow_gone
        )
        try:
            return asyncio.run(_scan(work, adapter, place))
        finally:
            if not is_dry:
                said = {name: value for name, value in msgspec.structs.asdict(work.outcome).items() if name != "sample"}
                audit.write_setting(
                    client, adapter.space, audit.SYNC, find_operator(), said, time.time_ns() // 1_000_000
                )


@contextmanager
def _few_collections() -> Iterator[None]:
    """Millions of small objects come and go, none of them in a cycle: to look for cycles takes a fifth of the time."""
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


async def _scan(work: AdapterSync, config: AdapterConfig, place: Place) -> Outcome:
    scanned = open_scanned(config, place)
    try:
        return await work.run(scanned)
    finally:
        await scanned.close()


def _find(use: UseConfig, name: str) -> AdapterConfig:
    if name not in use.adapters:
        known = ", ".join(use.adapters) or "none"
        raise ConfigError(f"adapters.{name}", str(use.path or FILE_NAME), f"there is no such adapter; there is {known}")
    return use.adapters[name]


def _show(outcome: Outcome, took_s: float) -> None:
    console = open_console()
    rate = f", {outcome.read / took_s:,.0f} a second" if took_s > 1 else ""
    console.print(f"{outcome.adapter}: {outcome.read:,} records read{rate}")
    counts = ("new", outcome.new), ("changed", outcome.changed), ("same", outcome.same), ("gone", outcome.gone)
    console.print("  ".join(f"{count:,} {word}" for word, count in counts))
    for reason, count in outcome.refused.items():
        console.print(f"refused: {count:,}, {REASONS.get(reason, reason)}")
    for field, count in outcome.unfit.items():
        console.print(f"field {field}: {count:,} values are not of its type, too long, or no identifier: not copied")
    if outcome.traits:
        traits = ", ".join(f"{name} ({count:,})" for name, count in outcome.traits.items())
        console.print(f"what has changed: {traits}")
    if outcome.is_dry and outcome.sample:
        table = make_table("some of them", "", "traits")
        for one in outcome.sample:
            table.add_row(one.key, one.outcome, ", ".join(one.traits))
        console.print(table)
    if outcome.warning:
        console.print(outcome.warning)
    if outcome.is_dry:
        console.print("Nothing was written.")
        return
    said = f"{outcome.evidence_added:,} pieces of evidence added, {outcome.evidence_taken_back:,} taken back"
    console.print(f"{outcome.values_written:,} values written; {said}, on their way to stitch")


class _Bar:
    """A line on a terminal, nothing elsewhere. A Watcher."""

    def __init__(self, *, is_shown: bool) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.completed:,.0f} records"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[waits]}"),
            console=self._console,
            disable=not (is_shown and self._console.is_terminal),
            transient=True,
        )
        self._task: TaskID = self._bars.add_task("", total=None, rate="", waits="")
        self._is_waiting = False

    def __enter__(self) -> _Bar:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def reach(self, records: int) -> None:
        """See Watcher."""
        speed = self._bars.tasks[0].speed or 0.0
        self._bars.update(self._task, completed=records, rate=f"{speed:,.0f} a second" if speed else "")

    def wait(self, reason: str) -> None:
        """See Watcher. Off a terminal a line says it, once."""
        self._bars.update(self._task, waits=f"waiting: {reason}" if reason else "")
        if reason and not self._is_waiting and not self._console.is_terminal:
            self._console.print(f"waiting: {reason}", markup=False)
        self._is_waiting = bool(reason)
