"""`tagstitch audience list|preview|members|changes`: who is meant, who is in it, and who came and went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from collector.audiences.configuration import AudienceConfig, digest
from collector.audiences.preview import Preview, count_everybody, make_preview
from collector.commands.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    SetOption,
    open_secrets,
    open_writer,
    read_running,
)
from collector.commands.tables import make_table, open_console, print_json
from collector.config import Settings
from collector.errors import ConfigError, StoreUnavailable
from collector.store.client import StoreClient, open_client
from collector.use.config import FILE_NAME, UseConfig, read_use

NONE_YET = """no audience is configured. One of those who looked at shoes twice in a month is these lines in {file}:

    [audiences.shoe_lovers]
    sentence = "Looked at shoes twice or more in the last 30 days"
    all = [{{ event = "view_item", category = "shoes", within_days = 30, at_least = 2 }}]

`tagstitch audience preview shoe_lovers` then says who that would be; docs/audiences.md has all rules."""
_MEMBERS = """
SELECT toString(person_id) AS person_id, customer_id, toString(since) AS since
FROM v_audience_members
WHERE space_id = {space:String} AND audience = {audience:String}
ORDER BY v_audience_members.since DESC, person_id LIMIT {most:UInt32}
"""
_COUNTS = """
SELECT space_id, audience, count() AS members, toString(max(since)) AS latest
FROM v_audience_members GROUP BY space_id, audience
"""
_CHANGES = """
SELECT toString(at) AS at, audience, change, reason, toString(person_id) AS person_id, customer_id, space_id
FROM v_audience_changes
WHERE {audience:String} IN ('', audience) AND {change:String} IN ('', change)
ORDER BY v_audience_changes.at DESC, audience, person_id LIMIT {most:UInt32}
"""
_DIGESTS = """
SELECT space_id, subject, value FROM audience_progress FINAL WHERE startsWith(subject, 'audience:')
"""
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The audience, as `audience list` shows it.")]
OptionalName = Annotated[str, typer.Argument(metavar="[NAME]", help="Of this audience alone. [default: of all]")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many at most, the newest first.")]

audience_app = typer.Typer(
    help="See who is meant by an audience, who is in it, and who came and went.", no_args_is_help=True
)


@audience_app.command(name="list")
def list_audiences(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """List the audiences that are configured, with how many people are in each.

    An audience is kept by the role `activate`, which `tagstitch run` starts. One that is new or was changed is being
    judged until everybody has been looked at.

    \b
        tagstitch audience list
        tagstitch audience list --set use_file=/etc/tagstitch/use.toml
    """
    read, use = _read(data, config, settings)
    if not use.audiences:
        typer.echo("" if as_json else NONE_YET.format(file=use.path or FILE_NAME), nl=not as_json)
        return
    counts, digests, is_away = _read_state(read)
    table = make_table("audience", "members", "how", "consent to", "on pages", "space", "state", "who is meant")
    for one in use.audiences.values():
        members = None if is_away else counts.get((one.space, one.name), 0)
        state = "the store is away" if is_away else _say_state(one, digests)
        if as_json:
            said = {"audience": one.name, "members": members, "purpose": one.purpose, "page": one.page}
            print_json({**said, "space": one.space, "state": state, "sentence": one.sentence})
            continue
        how = f"SQL, every {one.every_s:g} s" if one.sql else f"{len(one.rules)} rule{'s' * (len(one.rules) > 1)}"
        pages = "yes" if one.page else "no"
        count = "?" if members is None else f"{members:,}"
        table.add_row(one.name, count, how, one.purpose or "nothing", pages, one.space, state, one.sentence)
    if not as_json:
        open_console().print(table)


@audience_app.command()
def preview(
    name: NameArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    sample: Annotated[int, typer.Option("--sample", min=0, max=1_000, help="How many members to show.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Say who would be in an audience, as it is configured now. Writes nothing, and tells nobody.

    Everybody is judged by the same code that keeps the audience. Beside the count stands who would enter and leave
    against what is kept, and how many are left out because they have not granted its purpose.

    \b
        tagstitch audience preview lamp_lovers
        tagstitch audience preview lamp_lovers --sample 50 --json
    """
    read, use = _read(data, config, settings)
    one = _find(use, name)
    keyring = open_secrets(read)
    began_s = time.monotonic()
    with (
        open_client(read.config, keyring, "writer") as client,
        open_client(read.config, keyring, "reader") as reader,
        _progress(client, one, is_shown=not as_json) as step,
    ):
        found = make_preview(client, reader, one, keyring=keyring, traits=use.traits, sample=sample, step=step)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    _print_preview(one, found, time.monotonic() - began_s)


@audience_app.command()
def members(
    name: NameArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """List who is in an audience, whoever entered last first.

    People stand here by their ids; `tagstitch profile show` says who somebody is, and writes down who asked.

    \b
        tagstitch audience members lamp_lovers
        tagstitch audience members lamp_lovers --limit 1000 --json
    """
    read, use = _read(data, config, settings)
    one = _find(use, name)
    with open_client(read.config, open_secrets(read), "reader") as client:
        rows = list(client.query_rows(_MEMBERS, {"space": one.space, "audience": name, "most": limit}))
        count = len(rows)
        if count == limit:
            counted = client.query_rows(_COUNTS)
            count = next((int(row["members"]) for row in counted if _is_of(row, one)), count)
    if as_json:
        for row in rows:
            print_json(row)
        return
    if not rows:
        typer.echo(f"nobody is in {name} as it stands; `tagstitch audience preview {name}` judges everybody now")
        return
    table = make_table("person", "customer", "since (UTC)")
    for row in rows:
        table.add_row(row["person_id"], row["customer_id"] or "not known", row["since"])
    console = open_console()
    console.print(table)
    console.print(f"{count:,} in all" if count <= len(rows) else f"the last {len(rows):,} of {count:,}")


@audience_app.command()
def changes(
    name: OptionalName = "",
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    only: Annotated[str, typer.Option("--only", metavar="enter|leave", help="Of this kind alone.")] = "",
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """List who entered or left, the newest first, and what made it so. Kept for 90 days.

    Reasons: event (something happened), time (days went by), trait, identity (two turned out to be one, or not to be),
    consent, definition (the audience was changed).

    \b
        tagstitch audience changes
        tagstitch audience changes lamp_lovers --only leave
    """
    if only not in ("", "enter", "leave"):
        raise typer.BadParameter("write enter or leave", param_hint="--only")
    read, use = _read(data, config, settings)
    if name:
        _find(use, name)
    params = {"audience": name, "change": only, "most": limit}
    with open_client(read.config, open_secrets(read), "reader") as client:
        rows = list(client.query_rows(_CHANGES, params))
    if as_json:
        for row in rows:
            print_json(row)
        return
    if not rows:
        typer.echo("nobody has entered or left yet")
        return
    table = make_table("when (UTC)", "audience", "change", "because of", "person", "customer")
    for row in rows:
        customer = row["customer_id"] or "not known"
        table.add_row(row["at"], row["audience"], row["change"], row["reason"], row["person_id"], customer)
    open_console().print(table)


def _read(data: str | None, config: Any, settings: list[str] | None) -> tuple[Settings, UseConfig]:
    read = read_running(data, config, settings)
    return read, read_use(read.config)


def _read_state(read: Settings) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], str], bool]:
    """Return members and digests by space and audience, and whether the store was not there to be asked."""
    try:
        with open_writer(read) as client:
            counts = {(row["space_id"], row["audience"]): int(row["members"]) for row in client.query_rows(_COUNTS)}
            rows = client.query_rows(_DIGESTS)
            digests = {(row["space_id"], row["subject"].removeprefix("audience:")): row["value"] for row in rows}
    except StoreUnavailable:
        return {}, {}, True
    return counts, digests, False


def _say_state(one: AudienceConfig, digests: dict[tuple[str, str], str]) -> str:
    found = digests.get((one.space, one.name))
    if found is None:
        return "new: not judged yet"
    return "kept" if found == digest(one) else "changed: being judged"


def _find(use: UseConfig, name: str) -> AudienceConfig:
    if name not in use.audiences:
        known = ", ".join(use.audiences) or "none"
        reason = f"there is no such audience; there is {known}"
        raise ConfigError(f"audiences.{name}", str(use.path or FILE_NAME), reason)
    return use.audiences[name]


def _is_of(row: dict[str, Any], one: AudienceConfig) -> bool:
    return (row["space_id"], row["audience"]) == (one.space, one.name)


def _print_preview(one: AudienceConfig, found: Preview, took_s: float) -> None:
    console = open_console()
    console.print(f"{one.name}: {one.sentence or 'an audience'}")
    share = f" ({found.members / found.judged:.1%})" if found.judged else ""
    console.print(f"{found.members:,} of {found.judged:,} people would be in it{share}; judged in {took_s:.1f} s")
    if found.without_consent:
        console.print(f"{found.without_consent:,} more would be, had they granted {one.purpose}")
    console.print(
        f"{found.standing:,} are in it as it is kept: {found.enters:,} would enter, {found.leaves:,} would leave"
    )
    if found.sample:
        table = make_table("some of them", "customer")
        for person in found.sample:
            table.add_row(person.person_id, person.customer_id or "not known")
        console.print(table)


@contextmanager
def _progress(client: StoreClient, one: AudienceConfig, *, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar while everybody is judged, on a terminal."""
    console = Console(stderr=True)
    if one.sql or not (is_shown and console.is_terminal):
        yield lambda _: None
        return
    columns = (TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TextColumn("people,"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("judging", total=count_everybody(client, one.space))
        yield lambda people: progress.advance(task, people)
