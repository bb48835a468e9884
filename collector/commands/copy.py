"""`tagstitch copy`: moves an embedded instance to a ClickHouse server, while the collector runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table as Grid

from collector.commands.options import ConfigOption, DataOption, SetOption, open_secrets, read_running

if TYPE_CHECKING:
    from collector.copying.move import Copied, Size
    from collector.copying.tables import Table


def copy(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="DSN",
            help="The server, http(s)://user:password@host:port/database; `-`: from standard input.",
        ),
    ],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="Also pause loading, copy the rest and compare, so that you can switch."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what there is to copy, and change nothing.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget the copy that was begun. The target must be empty again.")
    ] = False,
) -> None:
    """Move this embedded instance to a ClickHouse server, while it runs.

    First without --finish, as often as you like: it makes the tables there and copies what has been loaded, while
    beacons come in and are loaded as always. Interrupted or killed, it goes on where it was. Then, when you are ready
    to switch, with --finish: loading pauses (beacons are accepted to disk), the rest is copied, both stores are
    compared by counts and checksums, and the steps to switch are printed. Ends with status 1 where they differ;
    loading then goes on as before. Where the loader is stopped, --finish holds its lock (load/lock) meanwhile: a `run`
    that is started then cannot load, and ends with "another loader runs here"; start it after this command.

    \b
        tagstitch copy --to https://tagstitch:PASSWORD@ch.example:8443/tagstitch --dry-run
        tagstitch copy --to - < dsn.txt             the password is in no list of processes
        tagstitch copy --to - --finish < dsn.txt
    """
    from collector.copying.move import Move
    from collector.copying.record import CopyRecord, forget_record

    dsn = sys.stdin.read().strip() if to == "-" else to
    read = read_running(data, config, settings)
    console = Console(highlight=False, soft_wrap=True)
    with _Progress() as progress, Move(read.config, open_secrets(read), dsn, progress) as move:
        if dry_run:
            console.print(_draw_sizes(move.measure()))
            return
        if restart:
            forget_record(read.config.data_path)
        record = CopyRecord(read.config.data_path, move.place)
        try:
            done = move.finish(record) if finish else move.follow(record)
        finally:
            record.close()
    console.print(_draw_rows(done))
    if not finish:
        console.print(
            f"Caught up, {done.left:,} rows have come since. When you are ready to switch, run it with --finish."
        )
        return
    if done.differences:
        for item in done.differences:
            console.print(
                f"{item.table}, partition {item.partition}: {item.source.rows:,} rows here, {item.target.rows:,} there"
                + (", with other content" if item.source.rows == item.target.rows else ""),
                style="red",
            )
        console.print(
            "The stores differ, so nothing was switched and loading goes on here. Were rows deleted here meanwhile? "
            "Empty the target's database and copy again with --restart."
        )
        raise typer.Exit(1)
    if not done.is_stitched:
        console.print("Stitch was behind; it goes on there.", style="yellow")
    console.print(_describe_switch(move.place, str(read.config.data_path), done), markup=False)


def _draw_sizes(sizes: list[Size]) -> Grid:
    grid = Grid(box=None, pad_edge=False)
    for name in ("table", "rows", "bytes on disk", "rows at the target"):
        grid.add_column(name, justify="left" if name == "table" else "right")
    for size in sizes:
        table = size.table
        there = f"{size.target_rows:,}"
        grid.add_row(table.name, f"{table.rows:,}", f"{table.size_bytes:,}", there)
    grid.add_row(
        "together", f"{sum(s.table.rows for s in sizes):,}", f"{sum(s.table.size_bytes for s in sizes):,}", style="bold"
    )
    return grid


def _draw_rows(done: Copied) -> Grid:
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("table")
    grid.add_column("rows copied", justify="right")
    if done.compared:
        grid.add_column("rows compared", justify="right")
    for name in sorted(done.rows.keys() | done.compared.keys()):
        compared = [f"{done.compared[name]:,}" if name in done.compared else ""] if done.compared else []
        grid.add_row(name, f"{done.rows[name]:,}" if name in done.rows else "by its view", *compared)
    return grid


def _describe_switch(place: str, data: str, done: Copied) -> str:
    return f"""\
Both stores hold the same. Loading has been paused for {done.paused_s:.0f} s and stays so; beacons wait in the spool.
Now, and before anybody changes a site or a key:

  1. stop tagstitch
  2. give it the server: dsn = "…{place.rpartition("@")[2]}" in tagstitch.toml, or TAGSTITCH_DSN in its environment
  3. tagstitch migrate --grants --data {data}     the readers' users and rights there
  4. start tagstitch
  5. tagstitch maintenance off --data {data}      what waits is loaded there, each event once

To stay here instead: tagstitch maintenance off, and nothing else. Once all is well there, the folder
{data}/engine and {data}/copy may go."""


class _Progress:
    """A bar for each table on a terminal; elsewhere one line for each table. A Watcher."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._bytes: dict[str, int] = {}

    def __enter__(self) -> _Progress:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def plan(self, table: Table, rows: int) -> None:
        """See Watcher."""
        if not rows:
            return
        if table.name not in self._tasks:
            self._tasks[table.name] = self._bars.add_task(table.name, total=rows, speed="")
        else:
            task = self._bars.tasks[self._tasks[table.name]]
            self._bars.update(task.id, total=(task.total or 0) + rows)
        if not self._console.is_terminal:
            self._console.print(f"{table.name}: {rows:,} rows")

    def advance(self, table: Table, rows: int, size: int) -> None:
        """See Watcher."""
        self._bytes[table.name] = self._bytes.get(table.name, 0) + size
        if table.name in self._tasks:
            task = self._bars.tasks[self._tasks[table.name]]
            seconds = task.elapsed or 1.0
            self._bars.update(task.id, advance=rows, speed=f"{self._bytes[table.name] / seconds / 1e6:.1f} MB/s")

    def say(self, text: str) -> None:
        """See Watcher."""
        self._bars.console.print(text)
