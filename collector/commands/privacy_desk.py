"""What the commands of `tagstitch privacy` share: their arguments, the officer's desk, and how a finding is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from collector.commands.identity_change import print_json, read_name
from collector.commands.options import find_operator, open_secrets
from collector.store.client import open_client

if TYPE_CHECKING:
    from collector.config import Settings
    from collector.privacy.desk import Finding, PrivacyDesk

NAME_HELP = "KIND=VALUE, or the id of a person or a visitor; -: read one name a line from standard input."
NamesArgument = Annotated[list[str], typer.Argument(metavar="NAME…", help=NAME_HELP)]
SpaceOption = Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")]
ActorOption = Annotated[
    str, typer.Option("--actor", metavar="NAME", help="Who does it. [default: the name you are logged in with]")
]
RequestArgument = Annotated[str, typer.Argument(metavar="REQUEST", help="Id of the request.")]


@contextmanager
def open_officer(read: Settings, space: str, actor: str) -> Iterator[PrivacyDesk]:
    """Open the store for one officer."""
    from collector.privacy.desk import PrivacyDesk

    keyring = open_secrets(read)
    with open_client(read.config, keyring, "writer") as client:
        yield PrivacyDesk(client, read.config, keyring, space, f"operator:{actor}" if actor else find_operator())


def read_names(names: list[str]) -> list[str]:
    """Return the names; `-` stands for the lines of standard input."""
    found: list[str] = []
    for name in names:
        found += [line.strip() for line in sys.stdin if line.strip()] if name == "-" else [read_name(name)]
    return found


def print_finding(found: Finding, as_json: bool) -> None:
    """Print who is meant and what is held, as JSON or to be read."""
    if as_json:
        print_json(found)
    else:
        show_finding(found)


def show_finding(found: Finding) -> None:
    """Print it to be read."""
    people = len(found.people)
    typer.echo(f"{people:,} {'person' if people == 1 else 'people'}, {len(found.identifiers):,} identifiers")
    for kind, value, is_shared in found.identifiers[:20]:
        more = "  used by others as well: only their own times" if is_shared else ""
        typer.echo(f"    {kind}{'=' + value if value else ''}{more}")
    if len(found.identifiers) > 20:
        typer.echo(f"    and {len(found.identifiers) - 20:,} more")
    for place in found.held:
        if place.rows or place.named:
            named = f", and {place.named:,} of others name them" if place.named else ""
            typer.echo(f"{place.rows:>12,}  {place.place}: {place.holds}{named}")
    if not found.rows:
        typer.echo("nothing is held about them")
