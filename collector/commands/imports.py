"""`tagstitch import events`: events of the past, from files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from collector.commands.options import ConfigOption, DataOption, SetOption, open_secrets, read_running, read_site_book
from collector.errors import ConfigError

if TYPE_CHECKING:
    from collector.importing.events import Preview
    from collector.importing.state import ImportState

SOME_REFUSED = 3

import_app = typer.Typer(no_args_is_help=True, help="Bring in what other systems know.")


@import_app.command("events")
def import_events(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON lines, CSV (both also .gz) or Parquet.")],
    site: Annotated[str, typer.Option("--site", metavar="SITE", help="Whose events.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="Take a column as that field; COLUMN= leaves it out."),
    ] = None,
    kind: Annotated[
        Literal["track", "identify", "page", "screen", "group", "alias"],
        typer.Option("--type", help="What a row is that names no type."),
    ] = "track",
    form: Annotated[
        Literal["jsonl", "csv", "parquet"] | None,
        typer.Option("--format", help="What the files are. [default: by their names]"),
    ] = None,
    delimiter: Annotated[
        str, typer.Option("--delimiter", metavar="CHARACTER", help="Between cells of CSV. [default: comma]")
    ] = "",
    rejected: Annotated[
        Path | None,
        typer.Option("--rejected", metavar="FILE", help="Where refused rows go. [default: FILE.rejected.jsonl]"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and judge everything, say what would happen, write nothing.")
    ] = False,
) -> None:
    """Import events of the past, through the same judgement and the same spool as those of today.

    A row is a call in Segment's shape (docs/server-events.md): event, userId, anonymousId, timestamp, messageId,
    properties, context. In CSV and Parquet a dot in a column's name leads into an object: properties.price,
    context.page.url. Any time since 1970 will do. A row without messageId is known by its content: the same row is
    the same event, however often it is imported.

    Interrupted or killed, it goes on where it was when it is started again with the same words. Refused rows stand in
    FILE.rejected.jsonl with the reason. Ends with status 0 where all rows were taken, 3 where some were refused, 1
    where it could not go on. It waits when the spool is half full, so that today's beacons always have room.

    \b
        tagstitch import events orders.jsonl --site shop --dry-run
        tagstitch import events orders.csv --site shop \\
            --map customer_no=userId --map ordered_at=timestamp --map total=properties.price --map kind=event
        tagstitch import events 2024-*.parquet --site shop
    """
    from collector.importing.events import EventImport, Options
    from collector.importing.rows import find_form

    read = read_running(data, config, settings)
    if rejected is not None and len(files) > 1:
        raise ConfigError("--rejected", "command line", "one file for several sources: import them one by one")
    if len(delimiter) > 1:
        raise ConfigError("--delimiter", "command line", "must be one character")
    fields = _read_mapping(mapping or [])
    book = read_site_book(read)
    console = Console(highlight=False, soft_wrap=True)
    some_refused = False
    for path in files:
        options = Options(site, form or find_form(path), fields, kind, delimiter)
        with _Progress() as progress:
            work = EventImport(read.config, open_secrets(read), book, path, options, progress, refused_path=rejected)
            if dry_run:
                preview = work.preview()
                some_refused |= bool(preview.reasons)
            else:
                began = time.monotonic()
                state = asyncio.run(work.run())
                some_refused |= bool(state.rejected)
        if dry_run:
            _show_preview(console, path, preview)
        else:
            _show_state(console, path, state, work.refused_path, work.unknown, time.monotonic() - began)
    if some_refused:
        raise typer.Exit(SOME_REFUSED)


def _read_mapping(items: Iterable[str]) -> dict[str, str]:
    found = {}
    for item in items:
        column, sign, field = item.partition("=")
        if not sign or not column:
            raise ConfigError("--map", "command line", f"{item!r} must be COLUMN=FIELD, such as total=properties.price")
        found[column] = field
    return found


def _show_preview(console: Console, path: Path, found: Preview) -> None:
    from collector.importing.events import SHOWN_REFUSALS

    refused = sum(found.reasons.values())
    console.print(f"{path.name}: {found.rows:,} rows, {found.events:,} events, {refused:,} refused", markup=False)
    months = Table(box=None, pad_edge=False)
    months.add_column("month")
    months.add_column("rows", justify="right")
    for month in sorted(found.months):
        months.add_row(month, f"{found.months[month]:,}")
    console.print(months)
    for reason, count in found.reasons.most_common():
        console.print(f"refused as {reason}: {count:,}", markup=False)
    for row in found.first:
        where = f", {row.field}" if row.field else ""
        console.print(f"  line {row.line}: {row.reason}{where}", markup=False)
    if refused > len(found.first):
        console.print(f"  (the first {SHOWN_REFUSALS})")
    if found.expired:
        console.print(f"{found.expired:,} rows are older than the site keeps its events: they would be removed again")
    _show_unknown(console, found.unknown)
    console.print("Nothing was written.")


def _show_state(
    console: Console, path: Path, state: ImportState, refused: Path, unknown: dict[str, int], seconds: float
) -> None:
    rate = f", {state.spooled / seconds:,.0f} a second" if seconds > 1 else ""
    console.print(
        f"{path.name}: {state.rows:,} rows, {state.events:,} events spooled, {state.rejected:,} refused{rate}",
        markup=False,
    )
    for reason, count in sorted(state.reasons.items()):
        console.print(f"refused as {reason}: {count:,}", markup=False)
    if state.rejected:
        console.print(f"refused rows: {refused}", markup=False)
    _show_unknown(console, unknown)


def _show_unknown(console: Console, unknown: dict[str, int]) -> None:
    if unknown:
        names = ", ".join(f"{name} ({count:,})" for name, count in sorted(unknown.items())[:20])
        console.print(
            f"columns that no event has a place for: {names}; --map NAME=properties.NAME keeps one", markup=False
        )


class _Progress:
    """A bar on a terminal, nothing elsewhere. A Watcher."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[waits]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._unit = ""
        self._waits = ""

    def __enter__(self) -> _Progress:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def begin(self, step: str, total: int, unit: str) -> None:
        """See Watcher."""
        self._unit = unit
        self._task = self._bars.add_task(step, total=total, rate="", waits="")

    def reach(self, count: int) -> None:
        """See Watcher."""
        if self._task is not None:
            speed = self._bars.tasks[self._task].speed or 0.0
            rate = f"{speed / 1e6:,.0f} MB/s" if self._unit == "bytes" else f"{speed:,.0f} {self._unit}/s"
            self._bars.update(self._task, completed=count, rate=rate)

    def wait(self, reason: str) -> None:
        """See Watcher. Off a terminal a line says it, once."""
        if self._task is not None:
            self._bars.update(self._task, waits=f"waiting: {reason}" if reason else "")
        if reason and not self._waits and not self._console.is_terminal:
            self._console.print(f"waiting: {reason}", markup=False)
        self._waits = reason
