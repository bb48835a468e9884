"""Tables and JSON lines, as commands print them: whole rows where nobody looks, so that scripts get them."""

from __future__ import annotations

from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

WIDTH = 200


def make_table(*titles: str) -> Table:
    """Return a table without lines; what is too long goes on below."""
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def open_console() -> Console:
    """Return a console that prints text as it is: as wide as the terminal, else WIDTH."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    typer.echo(msgspec.json.encode(value).decode())
