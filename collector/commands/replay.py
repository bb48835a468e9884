"""`tagstitch replay`: refused beacons through the accept path again, after a fix."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from collector.commands.options import ConfigOption, DataOption, SetOption, open_secrets, read_running
from collector.config import Config, Settings
from collector.errors import ConfigError, InstanceError, StoreError
from collector.instance import MARKER, open_instance
from collector.replaying.replay import STORE, WRITER, Replay, Tally, Wanted, list_reasons
from collector.sites.book import SiteBook
from collector.sites.poll import read_copy
from collector.sites.rows import read_book
from collector.spool.writer import SpoolWriter
from collector.store.client import open_client

_AGO = re.compile(r"(\d{1,6})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def replay(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="REASON", help=f"Refused for this alone: {', '.join(list_reasons())}.")
    ] = "",
    site: Annotated[str, typer.Option("--site", metavar="SITE", help="Of this site alone.")] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="WHEN", help="Received since then: 90m, 6h, 3d, or 2026-11-22T08:00.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge everything again and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")] = False,
) -> None:
    """Send refused beacons again, after what they were refused for has been mended.

    A site was added, an origin, a kind of identifier; a clock was set right; a program or the schema was mended. What
    may be kept of a refused beacon is kept for a few days (setting `rejected_days`), never without consent. Sent again,
    it is judged by the sites as they are now, and goes through the spool. Repeating it is safe: an event that landed is
    one row. `store` stands for what the store would not take. Works while the instance runs, and while it does not.

        tagstitch replay --dry-run
        tagstitch replay --reason origin --site shop --since 3d
    """
    read = read_running(data, config, settings)
    if not (read.config.data_path / MARKER).exists():
        raise InstanceError(read.config.data_path, "there is no instance in it: name its folder with --data")
    open_instance(read.config.data_path, lock=False)
    if reason and reason not in list_reasons():
        raise ConfigError(reason, "--reason", f"nothing is kept for that; one of {', '.join(list_reasons())}")
    now_ms = time.time_ns() // 1_000_000
    wanted = Wanted(reason, read_since(since, now_ms), site)
    sites = _read_sites(read, now_ms)
    if site and sites.find_site(site) is None:
        raise ConfigError(site, "--site", "there is no such site; `tagstitch site list` names them")
    work = Replay(read.config.data_path, open_secrets(read), sites, wanted, now_ms, read.config.max_events)
    console = Console(highlight=False, stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=as_json or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("judging" if dry_run else "replaying", total=work.measure())
        if dry_run:
            work.try_out(lambda size: progress.advance(task, size))
        else:
            asyncio.run(_send(read.config, work, lambda size: progress.advance(task, size)))
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, **msgspec.to_builtins(work.tally)}))
    else:
        _print(work.tally, dry_run)


def read_since(text: str, now_ms: int) -> int:
    """Return the moment in milliseconds since 1970; 0 without a text. Raises ConfigError.

    A date without an offset is this machine's time.
    """
    if not text:
        return 0
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now_ms - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) // timedelta(milliseconds=1)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(text, "--since", "write 90m, 6h or 3d for so long ago, or a date: 2026-11-22T08:00") from None
    return int(at.astimezone(UTC).timestamp() * 1000)


def _read_sites(read: Settings, now_ms: int) -> SiteBook:
    """Return the sites as the store has them, or, while it is away, as web last knew them."""
    try:
        with open_client(read.config, open_secrets(read), "writer") as client:
            return read_book(client, now_ms)
    except StoreError as error:
        book = read_copy(read.config.data_path)
        if not book.read_at_ms:
            raise
        age = timedelta(milliseconds=now_ms - book.read_at_ms) // timedelta(minutes=1)
        typer.echo(f"the store is away, so sites are as they were {age} minutes ago ({error})", err=True)
        return book


async def _send(config: Config, work: Replay, advance: Callable[[int], None]) -> None:
    spool = await asyncio.to_thread(
        SpoolWriter,
        config.data_path / "spool" / WRITER,
        max_spool_bytes=config.max_spool_bytes,
        min_free_bytes=config.min_free_bytes,
        durability=config.durability,
    )
    try:
        await work.run(spool, advance)
    finally:
        await asyncio.to_thread(spool.close)


def _print(tally: Tally, dry_run: bool) -> None:
    if not tally.bodies:
        typer.echo("nothing is kept that fits: there is nothing to replay")
        return
    would = "would be " if dry_run else ""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_row(f"{would}accepted", f"{tally.accepted:,} of {tally.bodies:,} bodies", f"{tally.events:,} events")
    for before, count in tally.accepted_by.most_common():
        what = "the store would not take" if before == STORE else f"refused for {before}"
        table.add_row("", f"{count:,} {what}", "")
    for again, count in tally.refused.most_common():
        table.add_row(f"{would}refused again", f"{again}", f"{count:,} events")
    for name, count in (("left alone", tally.skipped), ("unreadable", tally.unreadable)):
        if count:
            table.add_row(name, f"{count:,} bodies", "")
    Console(highlight=False).print(table)
    if dry_run:
        typer.echo("nothing was changed")
    elif tally.accepted:
        typer.echo("they are in the spool; the loader brings them into ClickHouse")
