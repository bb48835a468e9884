"""`tagstitch identity`: who somebody is and why, and how to mend it: merge, split, retract, block, undo."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from collector.commands.identity_change import (
    ChangeOptions,
    change,
    open_console,
    open_desk,
    print_json,
    read_ms,
    read_name,
)
from collector.commands.options import ConfigOption, DataOption, JsonOption, SetOption, read_running
from collector.sites.book import DEFAULT_SPACE

identity_app = typer.Typer(
    no_args_is_help=True,
    help="Who is who and why, and how to mend it. Every change has a dry run, is in the audit log, and can be undone.",
)

NAME_HELP = "KIND=VALUE, or the id of a person or a visitor; -: read from standard input."
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP)]
SpaceOption = Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]
NoteOption = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why; it is kept in the audit log.")]
ActorOption = Annotated[
    str, typer.Option("--actor", metavar="NAME", help="Who does it. [default: the name you are logged in with]")
]
WaitOption = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", help="How long to wait for the map; 0: not at all.")
]
WAIT_S = 60.0


@identity_app.command("explain")
def explain(
    name: NameArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="Pieces of evidence to show.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Say who somebody is: every identifier, what tied it, and what was refused and why.

    \b
        tagstitch identity explain customer=4711
        tagstitch identity explain 0199f3c2-5a11-7c3e-9d41-2f6f0a7be913     a visitor, or a person
        echo email=anna@shop.example | tagstitch identity explain -         in no list of processes, in no history
    """
    from collector.identity.explain import MAX_SHOWN

    with open_desk(read_running(data, config, settings), space, "") as (_, repairs):
        said = repairs.explain(read_name(name), MAX_SHOWN if as_json else limit)
    if as_json:
        print_json(said)
        return
    from collector.commands.identity_screen import draw_explanation

    draw_explanation(open_console(), said)


@identity_app.command("merge")
def merge(
    first: Annotated[str, typer.Argument(metavar="A", help=NAME_HELP)],
    second: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    dry_run: DryRunOption = False,
    note: NoteOption = "",
    actor: ActorOption = "",
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Make one person of two customers. Their events are one person's from then on, the past ones included.

    \b
        tagstitch identity merge customer=4711 customer=0815 --dry-run
        tagstitch identity merge customer=4711 customer=0815 --note "asked for by phone, ticket 88"
    """
    change(
        read_running(data, config, settings),
        space,
        actor,
        ChangeOptions(dry_run, note, wait, as_json),
        lambda repairs: repairs.plan_merge(read_name(first), read_name(second)),
    )


@identity_app.command("split")
def split(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Identifiers of one person, to be set apart.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    dry_run: DryRunOption = False,
    note: NoteOption = "",
    actor: ActorOption = "",
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Take back what ties these identifiers to the rest of their person. Among each other they stay tied.

    \b
        tagstitch identity split email=anna@shop.example --dry-run
    """
    change(
        read_running(data, config, settings),
        space,
        actor,
        ChangeOptions(dry_run, note, wait, as_json),
        lambda repairs: repairs.plan_split([read_name(name) for name in names]),
    )


@identity_app.command("retract")
def retract(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="Id of a piece of evidence, as explain shows it.")
    ] = None,
    token: Annotated[str, typer.Option("--token", metavar="ID", help="Id of a link's token.")] = "",
    source: Annotated[
        str, typer.Option("--source", metavar="WORD", help="tag, capture, link, server, import or operator.")
    ] = "",
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who vouched for it: an agent, an issuer, …")] = "",
    site: Annotated[str, typer.Option("--site", metavar="SITE", help="Site on which it was seen.")] = "",
    of: Annotated[str, typer.Option("--of", metavar="NAME", help="Identifier that it names.")] = "",
    since: Annotated[
        datetime | None, typer.Option("--from", metavar="TIME", help="Received at this time or later, UTC.")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--to", metavar="TIME", help="Received before it, UTC.")] = None,
    yes_all: Annotated[
        int, typer.Option("--yes-all", metavar="N", help="Take back up to so many pieces, more than 1,000.")
    ] = 0,
    space: SpaceOption = DEFAULT_SPACE,
    dry_run: DryRunOption = False,
    note: NoteOption = "",
    actor: ActorOption = "",
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Take evidence back: all that fits everything given. People are then as if it had never come.

    \b
        tagstitch identity retract --token 7d1c… --dry-run           a mailing went to the wrong list
        tagstitch identity retract --by agent-7 --from 2026-11-20    an agent's account was misused
        tagstitch identity retract --id 5b0e…
    """
    from collector.identity.selection import Selector

    selector = Selector(
        ids=tuple(ids or ()),
        source=source,
        token=token,
        actor=by,
        site=site,
        from_ms=read_ms(since),
        to_ms=read_ms(until),
    )
    change(
        read_running(data, config, settings),
        space,
        actor,
        ChangeOptions(dry_run, note, wait, as_json),
        lambda repairs: repairs.plan_retract(selector, read_name(of) if of else "", yes_all),
    )


@identity_app.command("restore")
def restore(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of evidence that was taken back.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    dry_run: DryRunOption = False,
    note: NoteOption = "",
    actor: ActorOption = "",
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Give back evidence that was taken back. It stands again under new ids: `<old id>+1`, `+2`, …"""
    change(
        read_running(data, config, settings),
        space,
        actor,
        ChangeOptions(dry_run, note, wait, as_json),
        lambda repairs: repairs.plan_restore(ids),
    )


@identity_app.command("block")
def block(
    name: NameArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    dry_run: DryRunOption = False,
    note: NoteOption = "",
    actor: ActorOption = "",
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Let an identifier tie nobody, from now on and for all that it tied: a shared address, a test account.

    \b
        tagstitch identity block email=info@shop.example --note "the whole office"
    """
    change(
        read_running(data, config, settings),
        space,
        actor,
        ChangeOptions(dry_run, note, wait, as_json),
        lambda repairs: repairs.plan_block(read_name(name), note),
    )


@identity_app.command("unblock")
def unblock(
    name: NameArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    dry_run: DryRunOption = False,
    note: NoteOption = "",
    actor: ActorOption = "",
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Let an identifier that was blocked tie people again."""
    change(
        read_running(data, config, settings),
        space,
        actor,
        ChangeOptions(dry_run, note, wait, as_json),
        lambda repairs: repairs.plan_block(read_name(name), note, blocked=False),
    )


@identity_app.command("blocks")
def blocks(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    as_json: JsonOption = False,
) -> None:
    """List what the space has blocked."""
    with open_desk(read_running(data, config, settings), space, "") as (_, repairs):
        found = repairs.list_blocks()
    if as_json:
        for item in found:
            print_json(item)
        return
    from collector.commands.identity_screen import draw_blocks

    draw_blocks(open_console(), found)


@identity_app.command("undo")
def undo(
    audit_id: Annotated[str, typer.Argument(metavar="ENTRY", help="Id of an entry, as `log` shows it.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    dry_run: DryRunOption = False,
    note: NoteOption = "",
    actor: ActorOption = "",
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Undo an entry of the audit log. The people of before come back, with their old ids."""
    change(
        read_running(data, config, settings),
        space,
        actor,
        ChangeOptions(dry_run, note, wait, as_json),
        lambda repairs: repairs.plan_undo(audit_id),
    )


@identity_app.command("log")
def log(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="Entries to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show what was changed by whom, the newest first."""
    with open_desk(read_running(data, config, settings), space, "") as (_, repairs):
        entries = repairs.list_entries(limit)
    if as_json:
        for entry in entries:
            print_json(entry)
        return
    from collector.commands.identity_screen import draw_log

    draw_log(open_console(), entries)
