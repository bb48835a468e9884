"""`tagstitch pseudonym`: what stands in the store in place of a value, so that analysts can join lists of their own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from collector.commands.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    SetOption,
    open_secrets,
    read_running,
    read_site_book,
)
from collector.errors import ConfigError
from collector.identity.identifiers import VISITOR_KIND, is_blocked, name_identifier
from collector.identity.normal_forms import normalise
from collector.keyring import Keyring
from collector.sites.book import DEFAULT_SPACE, IdentifierKind, SiteBook


def pseudonym(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of the values, as the site declares it: email.")],
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VALUE]...", help="In clear; without any, one a line is read from standard input."),
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")] = DEFAULT_SPACE,
    as_json: JsonOption = False,
) -> None:
    """Print what the store has in place of values: a pseudonym for personal ones, or the value itself.

    One line for each, in order: join it with `customer_id`, or with --json the person id. While personal keys rotate
    there are several, the newest first, with a tab between. A value that is none of its kind gives an empty line,
    and status 1 in the end. Whoever may run this can try out every address there is: keep it to those who may.

    \b
        tagstitch pseudonym email < addresses.txt
        paste addresses.txt <(tagstitch pseudonym email < addresses.txt)
    """
    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    found = _find_kind(read_site_book(read), space, kind)
    if values is None and sys.stdin.isatty():
        raise typer.BadParameter("give values, or a file by `<`", param_hint="VALUE")
    lines: Iterable[str] = values if values is not None else (line.rstrip("\r\n") for line in sys.stdin)
    bad = 0
    for number, text in enumerate(lines, 1):
        normal = None if is_blocked(text) else normalise(found, text)
        if normal is None:
            bad += 1
            typer.echo(f"value {number}: names nobody, or is no {found.normaliser}", err=True)
        if as_json:
            typer.echo(json.dumps(_describe(keyring, space, found, normal)))
        else:
            typer.echo("" if normal is None else "\t".join(_describe(keyring, space, found, normal)["names"]))
    if bad:
        raise typer.Exit(1)


def _describe(keyring: Keyring, space: str, kind: IdentifierKind, normal: str | None) -> dict[str, list[str]]:
    """Return the names of a value in normal form and the own person ids of each, the newest first."""
    if normal is None:
        return {"names": [], "own_person_ids": []}
    named = name_identifier(keyring, space, kind, normal)
    pairs = [(named.value, named.key), *named.earlier]
    return {"names": [value for value, _ in pairs], "own_person_ids": [key for _, key in pairs]}


def _find_kind(book: SiteBook, space: str, name: str) -> IdentifierKind:
    """Return the kind as the sites of the space declare it, which they do alike. Raises ConfigError."""
    sites = [site for site in book.sites.values() if site.space_id == space and not site.deleted]
    kinds = {kind.name: kind for site in sites for kind in site.kinds if kind.name != VISITOR_KIND}
    if name not in kinds:
        known = ", ".join(sorted(kinds)) or "none: no site is in it"
        raise ConfigError("KIND", "command line", f"space {space} has no kind {name}; its kinds: {known}")
    return kinds[name]
