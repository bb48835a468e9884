"""Commands about the store: `migrate` and `sql`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from collector.commands.options import (
    ConfigOption,
    DataOption,
    FormatOption,
    SetOption,
    open_secrets,
    read_running,
)


def migrate(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    grants: Annotated[
        bool, typer.Option("--grants", help="Make the users and rights on a ClickHouse server as well.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the statements and change nothing.")] = False,
) -> None:
    """Bring the tables and views to this program's version.

    Safe to repeat. Refuses a store that a newer version has made. The load waits while a view changes.
    `tagstitch run` does this at every start.
    """
    from collector.store.migrate import migrate as run_migrate

    read = read_running(data, config, settings)
    done = run_migrate(read.config, open_secrets(read), grants=grants, dry_run=dry_run)
    if dry_run:
        typer.echo(";\n\n".join(done.statements) or "nothing to do")
        return
    for label in done.applied:
        typer.echo(f"carried out {label}")
    typer.echo(f"the schema is at version {done.version}")


def sql(
    statement: Annotated[str, typer.Argument(metavar="STATEMENT", help="One statement; `-`: from standard input.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    form: FormatOption = "table",
    analyst: Annotated[
        bool, typer.Option("--analyst", help="As the analyst, who may write to database `analytics`.")
    ] = False,
) -> None:
    """Ask the store, read only.

    The views are described in docs/data-model.md; `tagstitch questions` lists ready ones.

        tagstitch sql "select event_name, count() from v_events group by 1"
        tagstitch sql "select * from v_customers" --format csv > customers.csv
    """
    from collector.store.client import open_client
    from collector.store.sql import run_sql

    read = read_running(data, config, settings)
    if statement == "-":
        statement = sys.stdin.read()
    with open_client(read.config, open_secrets(read), "analyst" if analyst else "reader") as client:
        run_sql(client, statement, form, sys.stdout)
