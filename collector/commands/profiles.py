"""`tagstitch profile`: one person as all that is known makes them, and who has looked at whom."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from collector.commands.identity_change import open_console, print_json, read_name
from collector.commands.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    SetOption,
    find_operator,
    open_secrets,
    read_running,
)
from collector.errors import RepairError, RepairReason
from collector.sites.book import DEFAULT_SPACE
from collector.store.client import open_client

profile_app = typer.Typer(
    no_args_is_help=True,
    help="Who somebody is and what is known of them. Every look is in a log, this command's too.",
)
SpaceOption = Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")]
NAME_HELP = "KIND=VALUE, or the id of a person or a visitor; -: read from standard input."


@profile_app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP)],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    personal: Annotated[bool, typer.Option("--personal", help="Personal values in clear, not masked.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=500, help="Events to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show a person: identifiers, traits with who said so, what is computed, consent, the newest events.

    Fields out of other sources are not asked for: `tagstitch adapter fetch` does that.

    \b
        tagstitch profile show customer=4711
        tagstitch profile show 0199f3c2-5a11-7c3e-9d41-2f6f0a7be913     a visitor, or a person
        echo email=anna@shop.example | tagstitch profile show -         in no list of processes, in no history
    """
    from collector.endpoints.profile_answers import show_profile
    from collector.identity.names import PERSON_KIND, find_known
    from collector.profiles.definitions import Definitions
    from collector.profiles.profile import ALL, Part, Unknown, Withheld, read_profile
    from collector.profiles.reads import note_read
    from collector.use.config import read_use

    read = read_running(data, config, settings)
    keyring, text, now_ms = open_secrets(read), read_name(name), time.time_ns() // 1_000_000
    parts = ALL - {Part.RECORDS} if personal else ALL - {Part.RECORDS, Part.VALUES}
    with open_client(read.config, keyring, "writer") as client:
        named = find_known(client, keyring, space, text)
        definitions = Definitions(read_use(read.config).traits, space)
        found = read_profile(
            client,
            keyring,
            definitions,
            named.key,
            now_ms=now_ms,
            parts=parts,
            limit=limit,
            shows_personal=personal,
            is_person_id=text.startswith(f"{PERSON_KIND}="),
        )
        note_read(client, space, named.key, found, find_operator(), parts, personal=personal, now_ms=now_ms)
    if isinstance(found, Unknown):
        raise RepairError(RepairReason.UNKNOWN, "nothing is known of this identifier")
    if isinstance(found, Withheld):
        raise RepairError(RepairReason.UNKNOWN, f"this person is {found.state}: nothing is told of them")
    shown = show_profile(found, parts)
    if as_json:
        print_json(shown)
        return
    from collector.commands.profile_screen import draw_profile

    draw_profile(open_console(), shown)


@profile_app.command("reads")
def reads(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help=f"Looks at this person alone. {NAME_HELP}")] = "",
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    actor: Annotated[
        str, typer.Option("--actor", metavar="WHO", help="Looks of this one alone: operator:NAME or key:ID.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="Looks to show.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show who has looked at which profile, the newest look first, and whether personal values were given.

    \b
        tagstitch profile reads customer=4711     who has looked at this customer
        tagstitch profile reads --actor key:ks3a  what this key has looked at
    """
    from collector.identity.names import find_identifier
    from collector.profiles.reads import list_reads

    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    with open_client(read.config, keyring, "writer") as client:
        key = find_identifier(client, keyring, space, read_name(name)).key if name else ""
        entries: list[dict[str, Any]] = list_reads(client, space, key=key, actor=actor, limit=limit)
    if as_json:
        for entry in entries:
            print_json(entry)
        return
    from collector.commands.profile_screen import draw_reads

    draw_reads(open_console(), entries)
