"""`tagstitch links revoke|revocations|unrevoke`: links that tie nobody any more, though they are not over."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from collector.commands.identity_change import ChangeOptions, change, read_name
from collector.commands.link_options import read_time
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
from collector.config import Settings
from collector.errors import RepairError, RepairReason
from collector.links.revocations import Revocation
from collector.links.rows import read_revocations
from collector.sites.book import DEFAULT_SPACE

if TYPE_CHECKING:
    from collector.identity.selection import Selector

WAIT_S = 60.0
NAMES = {
    "token_id": "token",
    "campaign": "campaign",
    "message": "message",
    "key_id": "key",
    "customer_key": "customer",
    "issued_from_s": "issued from",
    "issued_to_s": "issued before",
}


def revoke(
    context: typer.Context,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    token: Annotated[
        str, typer.Option("--token", metavar="LINK", help="One link: the whole of it, its token, or its token's id.")
    ] = "",
    campaign: Annotated[str, typer.Option("--campaign", metavar="NAME", help="Links of this campaign.")] = "",
    message: Annotated[str, typer.Option("--message", metavar="NAME", help="Links of this message.")] = "",
    key: Annotated[str, typer.Option("--key", metavar="ID", help="Links that this key has signed.")] = "",
    customer: Annotated[
        str, typer.Option("--customer", metavar="REF", help="Links of this customer; -: read from standard input.")
    ] = "",
    kind: Annotated[
        str, typer.Option("--kind", metavar="NAME", help="What that reference is: customer, email or another kind.")
    ] = "customer",
    issued_from: Annotated[
        str, typer.Option("--issued-from", metavar="TIME", help="Links issued then or later, this machine's time.")
    ] = "",
    issued_to: Annotated[str, typer.Option("--issued-to", metavar="TIME", help="Links issued before.")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the revocation.")] = "",
    take_back: Annotated[
        bool, typer.Option("--take-back", help="Also take back whom such links have tied already.")
    ] = False,
    yes_all: Annotated[
        int, typer.Option("--yes-all", metavar="N", help="Take back up to so many pieces of evidence, more than 1,000.")
    ] = 0,
    space: Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")] = DEFAULT_SPACE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", help="How long to wait for the map with --take-back.")
    ] = WAIT_S,
) -> None:
    """Take links back: those for which all holds that is given. They lead to the page as before, and tie nobody.

    Every web process knows it after `settings_interval_s`, 5 seconds by default, and keeps it while the store is away.
    Whom such links tied before stays tied, unless --take-back. Links for unsubscribing are never taken back.

    \b
        tagstitch links revoke --campaign spring --message launch --reason "wrong list" --take-back --dry-run
        tagstitch links revoke --token 'https://shop.example/?lt=m1a2b.…'
        tagstitch links revoke --customer 4711
        tagstitch links revoke --key 1a2b --issued-from 2026-03-01T00:00 --issued-to 2026-03-02T00:00
    """
    from collector.links.revoking import Wanted, make_selector, plan_revocations, write_revocations

    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    named = {"token": read_name(token), "customer": read_name(customer)}
    _refuse_empty(
        context,
        **named,
        campaign=campaign,
        message=message,
        key=key,
        issued_from=issued_from,
        issued_to=issued_to,
    )
    wanted = Wanted(
        **named,
        campaign=campaign,
        message=message,
        key=key,
        kind=kind,
        issued_from_s=read_time(issued_from, "--issued-from"),
        issued_to_s=read_time(issued_to, "--issued-to"),
        reason=reason,
    )
    with open_writer(read) as client:
        planned = plan_revocations(client, keyring, space, wanted, find_operator(), _now_ms())
        selector = make_selector(planned) if take_back else None
        typer.echo(f"links of space {space}, {_describe(planned[0])}")
        if not dry_run:
            if not yes and not typer.confirm("take them back?"):
                typer.echo("nothing was changed")
                raise typer.Exit(1)
            for row in write_revocations(client, planned, "command"):
                typer.echo(f"revocation {row.revocation_id} holds in {read.config.settings_interval_s:g} s everywhere")
    if selector is not None:
        options = ChangeOptions(dry_run, reason, wait, as_json=False)
        _take_back(read, space, selector, options, yes_all)
    elif dry_run:
        typer.echo("nothing was written")


def _refuse_empty(context: typer.Context, **values: str) -> None:
    """Raise BadParameter where something is named by nothing: a script's empty variable must not widen the rest."""
    for name, value in values.items():
        source = context.get_parameter_source(name)
        if not value.strip() and source is not None and source.name != "DEFAULT":
            hint = f"--{name.replace('_', '-')}"
            raise typer.BadParameter("is empty: leave it out, or say what it names", param_hint=hint)


def revocations(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space. [default: all]")] = "",
    lifted: Annotated[bool, typer.Option("--all", help="Also those that were lifted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List which links were taken back, the newest first."""
    with open_writer(read_running(data, config, settings)) as client:
        found = [row for row in read_revocations(client, space) if lifted or not row.lifted]
    if as_json:
        for row in found:
            typer.echo(json.dumps(msgspec.to_builtins(row)))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("revocation", "links of", "space", "since", "by", "reason", "state"):
        table.add_column(name)
    for row in found:
        since = _say_time(row.revoked_at_ms // 1000)
        state = "lifted" if row.lifted else "in force"
        table.add_row(row.revocation_id, _describe(row), row.space_id, since, row.actor, row.reason, state)
    Console(highlight=False, markup=False).print(table)


def unrevoke(
    revocation: Annotated[str, typer.Argument(metavar="REVOCATION", help="Its id, as `revocations` shows it.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Let links that were taken back count again. Evidence that was taken back with them does not come back by this:

    `tagstitch identity log` shows that entry, and `tagstitch identity undo` undoes it.
    """
    from collector.links.revoking import lift_revocation

    read = read_running(data, config, settings)
    with open_writer(read) as client:
        row = lift_revocation(client, "", revocation.strip(), find_operator(), _now_ms(), "command")
    typer.echo(f"lifted {row.revocation_id}: links of space {row.space_id}, {_describe(row)}")


def _take_back(read: Settings, space: str, selector: Selector, options: ChangeOptions, yes_all: int) -> None:
    """Take evidence back as `identity retract` does; that there is none is no error here."""
    try:
        change(read, space, "", options, lambda repairs: repairs.plan_retract(selector, "", yes_all))
    except RepairError as error:
        if error.reason is not RepairReason.NOTHING:
            raise
        typer.echo("no evidence of such links stands: there is nobody to take back")
    if not options.dry_run:
        typer.echo("what was on its way meanwhile comes in within a minute: give the same command again then")


def _describe(revocation: Revocation) -> str:
    said = []
    for name, word in NAMES.items():
        value = getattr(revocation, name)
        if value:
            said.append(f"{word} {_say_time(value) if name.startswith('issued') else value}")
    return ", ".join(said)


def _say_time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
