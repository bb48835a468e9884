"""`tagstitch links mintings` and `links sent`: what was made, and how much of it went out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from collector.commands.link_options import read_time
from collector.commands.options import ConfigOption, DataOption, JsonOption, SetOption, open_writer, read_running
from collector.links.record import Minting, count_pending, read_mintings, send_pending, tell_sent

COLUMNS = ("minting", "made at", "type", "campaign", "message", "recipients", "links", "refused", "sent", "by")


def mintings(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space. [default: all]")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="The newest so many.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List what was minted: one line for each list, request or link, never one for a recipient.

    Records that waited for the store go in first.
    """
    read = read_running(data, config, settings)
    with open_writer(read) as client:
        _bring_in(send_pending(client, read.config.data_path), count_pending(read.config.data_path))
        found = read_mintings(client, space, limit)
    if as_json:
        for minting in found:
            typer.echo(json.dumps(msgspec.to_builtins(minting)))
        return
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("recipients", "links", "refused", "sent") else "left")
    for minting in found:
        table.add_row(*_describe(minting))
    Console(highlight=False, markup=False).print(table)


def sent(
    minting: Annotated[str, typer.Argument(metavar="MINTING", help="Its id, or how that begins.")],
    count: Annotated[int, typer.Argument(metavar="COUNT", min=0, help="Mails that went out.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="When: 2026-03-01T09:00, this machine's time.")] = "",
) -> None:
    """Say how many mails of a minting went out, for the reports; said again, the last word holds.

    tagstitch links sent 3f2a91c0 48211 --at 2026-03-01T09:00
    """
    read = read_running(data, config, settings)
    at_ms = read_time(at, "--at") * 1000
    with open_writer(read) as client:
        _bring_in(send_pending(client, read.config.data_path), count_pending(read.config.data_path))
        told = tell_sent(client, minting, count, at_ms)
    typer.echo(f"minting {told.minting_id}: {count:,} of {told.recipients:,} went out")


def _bring_in(brought: int, left: int) -> None:
    if brought:
        typer.echo(f"tagstitch: {brought} records that waited are in the store now", err=True)
    if left:
        typer.echo(f"tagstitch: {left} records cannot be read, see links/pending in the data folder", err=True)


def _describe(minting: Minting) -> tuple[str, ...]:
    made_at = datetime.fromtimestamp(minting.minted_at_ms / 1000, UTC)
    return (
        minting.minting_id[:8],
        f"{made_at:%Y-%m-%d %H:%M}",
        minting.kind + (" (test)" if minting.is_test else ""),
        minting.campaign,
        minting.message,
        f"{minting.recipients:,}",
        f"{minting.made:,}",
        f"{minting.refused:,}",
        f"{minting.sent:,}" if minting.sent >= 0 else "",
        f"{minting.actor} ({minting.via})",
    )
