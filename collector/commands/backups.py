"""`tagstitch backup` and `tagstitch restore`: the whole store in one sealed file, and back."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from collector.commands.identity_change import print_json
from collector.commands.options import ConfigOption, DataOption, JsonOption, SetOption, open_secrets, read_running
from collector.errors import InstanceError
from collector.instance import MARKER
from collector.store.client import open_client


def backup(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="The file to write. [default: one in backup_dir]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the whole store into one file, sealed and whole, while beacons are accepted.

    It is sealed with a key that is destroyed after `backup_days`: then the file is noise, wherever its copies lie. Keep
    `backup_keys.json` and `secrets.json` somewhere else as well, and no copy of the keys for longer than that. Backups
    that are over their time are removed from the folder.

    \b
        tagstitch backup
        tagstitch backup --to /mnt/backup/shop.tsb
    """
    from collector.backup.backup import make_backup
    from collector.backup.keys import find_path
    from collector.backup.old import remove_old
    from collector.privacy.journal import find_backups

    read = read_running(data, config, settings)
    if not (read.config.data_path / MARKER).is_file():
        raise InstanceError(read.config.data_path, "there is no instance here: name its folder with --data")
    keyring, now_ms = open_secrets(read), time.time_ns() // 1_000_000
    folder = find_backups(read.config)
    path = to or folder / f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%d-%H%M%S}.tsb"
    with open_client(read.config, keyring, "writer") as client, _Shown() as shown:
        rows = make_backup(read.config, keyring, client, path, shown, now_ms)
    removed = remove_old(folder, find_path(read.config), now_ms)
    if as_json:
        print_json({"file": str(path), "bytes": path.stat().st_size, "rows": rows, "removed": removed})
        return
    typer.echo(f"{sum(rows.values()):,} rows of {len(rows)} tables, {path.stat().st_size:,} bytes: {path}")
    typer.echo(f"to be brought back for {read.config.backup_days} days, with {find_path(read.config)} and the secrets")
    for name in removed:
        typer.echo(f"removed, its key is gone: {name}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a backup back into an instance that is running and empty. Whoever was erased since is erased again.

    The instance needs the secrets of the one that made the backup, and the keys of backups. The journal of erasures
    (`erasures.jsonl`) is read in the instance's folder, in `backup_dir` and beside the file: bring the newest one.

    \b
        mkdir new && cp secrets.json backup_keys.json new/ && tagstitch run --data new
        tagstitch restore 20261123-020000.tsb --data new
    """
    from collector.backup.restore import restore_backup

    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    with open_client(read.config, keyring, "writer") as client, _Shown() as shown:
        done = restore_backup(read.config, keyring, client, file, shown)
    if as_json:
        print_json({"rows": done.rows, "erased_again": done.erased_again, "rows_erased": done.rows_erased})
        return
    made = datetime.fromtimestamp(done.head.made_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    typer.echo(f"{sum(done.rows.values()):,} rows of {len(done.rows)} tables, as they were on {made} UTC")
    typer.echo(f"{done.erased_again:,} erasures since then were carried out again: {done.rows_erased:,} rows")


class _Shown:
    """Shows how far it is, on a terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("…", total=None)

    def __enter__(self) -> _Shown:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def say(self, what: str) -> None:
        """Something begins."""
        self._progress.update(self._task, description=what)

    def plan(self, rows: int) -> None:
        """So many rows there are."""
        self._progress.update(self._task, total=rows)

    def advance(self, rows: int) -> None:
        """So many more are done."""
        self._progress.advance(self._task, rows)
