"""`tagstitch privacy`: what is held about somebody, and what they may ask for: to have it erased, for one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collector.commands.identity_change import print_json
from collector.commands.options import ConfigOption, DataOption, JsonOption, SetOption, open_writer, read_running
from collector.commands.privacy_catalogue import catalogue
from collector.commands.privacy_desk import (
    NAME_HELP,
    ActorOption,
    NamesArgument,
    SpaceOption,
    open_officer,
    read_names,
    show_finding,
)
from collector.commands.privacy_requests import approve, erase, link, list_requests, refuse, run, verify
from collector.errors import PrivacyError, PrivacyReason
from collector.sites.book import DEFAULT_SPACE

privacy_app = typer.Typer(
    no_args_is_help=True,
    help="What is held about somebody, and what they may ask for. Everything is written down with its deadline.",
)


@privacy_app.command("find")
def find(
    names: NamesArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    as_json: JsonOption = False,
) -> None:
    """Say who is meant, under which identifiers, and in which tables anything is held about them. Changes nothing.

    \b
        tagstitch privacy find customer=4711
        echo email=anna@shop.example | tagstitch privacy find -      in no list of processes, in no history
    """
    with open_officer(read_running(data, config, settings), space, "") as desk:
        found = desk.find(read_names(names))
    if as_json:
        print_json(found)
    else:
        show_finding(found)


@privacy_app.command("export")
def export(
    names: NamesArgument,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The zip to write.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    language: Annotated[str, typer.Option("--language", metavar="CODE", help="Of the readable page: en or de.")] = "en",
    actor: ActorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write everything that is held about somebody as one zip, for them: a page to read, JSON, CSV and a dictionary.

    In clear, as far as this instance can open it: give it to nobody else. The file is readable for you alone.

    \b
        tagstitch privacy export customer=4711 --to 4711.zip --language de
    """
    import os

    from collector.privacy.words import LANGUAGES

    if language not in LANGUAGES:
        raise typer.BadParameter(f"there are {', '.join(LANGUAGES)}", param_hint="--language")
    with open_officer(read_running(data, config, settings), space, actor) as desk:
        asked = read_names(names)
        try:
            handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise PrivacyError(PrivacyReason.ARGUMENT, f"{to}: {error.strerror or error}") from error
        try:
            with os.fdopen(handle, "wb") as out:
                counts = desk.export(asked, out, LANGUAGES[language])
        except BaseException:
            to.unlink(missing_ok=True)
            raise
    if as_json:
        print_json(counts)
        return
    for name, count in counts.items():
        if count:
            typer.echo(f"{count:>12,}  {name}")
    typer.echo(f"written: {to}")


@privacy_app.command("correct")
def correct(
    name: Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP)],
    values: Annotated[
        list[str], typer.Argument(metavar="TRAIT=VALUE…", help="The value as JSON or as text; empty: take it back.")
    ],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    actor: ActorOption = "",
) -> None:
    """Put values about somebody right. A correction beats every source, and stays when a source is read again.

    \b
        tagstitch privacy correct customer=4711 city=Bremen birth_date=1990-02-28
        tagstitch privacy correct customer=4711 city=                              what the sources say counts again
    """
    from collector.profiles.definitions import Definitions
    from collector.use.config import read_use

    read = read_running(data, config, settings)
    said = {}
    for pair in values:
        trait, sign, text = pair.partition("=")
        if not sign:
            raise typer.BadParameter(f"{pair}: write TRAIT=VALUE", param_hint="TRAIT=VALUE…")
        said[trait] = _read_value(text)
    definitions = Definitions(read_use(read.config).traits, space)
    with open_officer(read, space, actor) as desk:
        desk.correct(read_names([name]), said, definitions)
    typer.echo(f"corrected: {', '.join(said)}")


@privacy_app.command("restrict")
def restrict(
    names: NamesArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    lift: Annotated[bool, typer.Option("--lift", help="Let it be used again.")] = False,
    actor: ActorOption = "",
) -> None:
    """Keep what is held about somebody, and let nobody use it: no profile, no page, no audience, no export.

    \b
        tagstitch privacy restrict customer=4711
        tagstitch privacy restrict customer=4711 --lift
    """
    with open_officer(read_running(data, config, settings), space, actor) as desk:
        done = desk.restrict(read_names(names), restricted=not lift)
    typer.echo(f"{'lifted' if lift else 'restricted'}: {done.people:,} {'person' if done.people == 1 else 'people'}")


@privacy_app.command("object")
def object_to(
    names: NamesArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    purpose: Annotated[
        list[str] | None, typer.Option("--purpose", metavar="PURPOSE", help="What is objected to. [default: marketing]")
    ] = None,
    actor: ActorOption = "",
) -> None:
    """Take back what somebody consented to, under all their identifiers.

    \b
        tagstitch privacy object customer=4711
        tagstitch privacy object customer=4711 --purpose marketing --purpose fingerprint
    """
    with open_officer(read_running(data, config, settings), space, actor) as desk:
        desk.object_to(read_names(names), purpose or ["marketing"])
    typer.echo(f"objected to: {', '.join(purpose or ['marketing'])}")


def tables(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """List what analysts have put into database analytics, and how people are erased from it.

    A table is found by its columns person_id, own_person_id, visitor_id, customer_id and customer_key, or by what its
    comment says. No erasure begins while there is one of which nobody knows. Ends with status 1 then.

    \b
        tagstitch privacy tables
    """
    from collector.privacy.materialised import list_materialised, write_fix

    with open_writer(read_running(data, config, settings)) as client:
        found = list_materialised(client)
    for table in found:
        if as_json:
            print_json(table._asdict())
            continue
        typer.echo(f"{table.name}  {table.holds}")
        if table.problem:
            typer.echo(f"    {write_fix(table.name)}")
    if not found and not as_json:
        typer.echo("analysts have made no table")
    raise typer.Exit(int(any(table.problem for table in found)))


def _read_value(text: str) -> object:
    """Return a value: nothing, JSON, or else the text itself."""
    import json

    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


privacy_app.command("catalogue")(catalogue)
privacy_app.command("tables")(tables)
privacy_app.command("erase")(erase)
privacy_app.command("requests")(list_requests)
privacy_app.command("approve")(approve)
privacy_app.command("refuse")(refuse)
privacy_app.command("link")(link)
privacy_app.command("run")(run)
privacy_app.command("verify")(verify)
