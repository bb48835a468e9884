"""`tagstitch links mint`: tag a whole list of recipients."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console

from collector.commands.link_options import (
    BaseOption,
    CampaignOption,
    DaysOption,
    KindOption,
    MessageOption,
    RedirectOption,
    SealedOption,
    SentAtOption,
    TestOption,
    TypeOption,
    check_targets,
    find_kind,
    find_link_base,
    read_time,
)
from collector.commands.links_tagging import ListColumns, ListWork
from collector.commands.options import (
    ConfigOption,
    DataOption,
    SetOption,
    find_operator,
    open_secrets,
    read_running,
    read_site_book,
)
from collector.config import Settings
from collector.errors import LinkError
from collector.links.files import Batch, ListReader, find_form
from collector.links.minting import Mailing
from collector.links.record import begin_minting
from collector.links.tagging import Outlet, Plan, make_outlet, tag_batches
from collector.links.token import LASTING, LinkKind
from collector.sites.book import DEFAULT_SPACE, IdentifierKind

PREVIEWS = 10
GUESSES = {
    "customer": ("customerid", "customer", "customerno", "customernumber", "id", "userid", "crmid", "kundennummer"),
    "email": ("email", "emailaddress", "mail", "subscriber"),
    "phone": ("phone", "phonenumber", "mobile", "telephone"),
}
"""Columns that a list has its references in, as far as letters go, the most telling first."""


def mint(
    source: Annotated[Path, typer.Argument(metavar="LIST", help="CSV (also .gz) or Parquet; - is standard input.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    url: Annotated[str, typer.Option("--url", metavar="URL", help="The page to which the links lead.")] = "",
    link: Annotated[
        list[str] | None,
        typer.Option("--link", metavar="NAME=URL", help="A named link, a column for each; may be given several times."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where the tagged list goes; - is standard output.")
    ] = None,
    column: Annotated[
        str, typer.Option("--column", metavar="NAME", help="Column of the references. [default: found by its name]")
    ] = "",
    kind: KindOption = "customer",
    type_: TypeOption = LinkKind.MESSAGE,
    campaign: CampaignOption = "",
    message: MessageOption = "",
    token_only: Annotated[
        bool, typer.Option("--token-only", help="The bare token, for a merge field, in place of a whole link.")
    ] = False,
    redirect: RedirectOption = False,
    consent_column: Annotated[
        str,
        typer.Option("--consent-column", metavar="NAME", help="Column that says yes or no to marketing, or letters."),
    ] = "",
    ledger: Annotated[
        bool, typer.Option("--ledger/--no-ledger", help="Whether that goes to the ledger of consent.")
    ] = True,
    days: DaysOption = None,
    sent_at: SentAtOption = "",
    test: TestOption = False,
    sealed: SealedOption = False,
    space: Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")] = DEFAULT_SPACE,
    base_url: BaseOption = "",
    form: Annotated[
        Literal["csv", "parquet"] | None, typer.Option("--format", help="What LIST is. [default: by its name]")
    ] = None,
    delimiter: Annotated[
        str, typer.Option("--delimiter", metavar="CHARACTER", help="Between cells of CSV. [default: found]")
    ] = "",
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=0, help="Processes; 0: one a core.")] = 1,
    refused: Annotated[
        Path | None,
        typer.Option("--refused", metavar="FILE", help="Where refused rows are listed. [default: OUT.refused.csv]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show ten rows, write nothing.")] = False,
) -> None:
    """Tag a list of recipients: its columns and rows stay, the links come behind them.

    The new column is `link`, or `link_NAME` for each --link; with --token-only `lt`. A row for which no link can be
    made keeps its place with the plain address, and stands in OUT.refused.csv with the reason. Ends with status 1
    where no link at all could be made.

    Only the secrets are needed. The record of the minting waits for the store where it is away; what a consent column
    says needs it, unless --no-ledger. A list of e-mail addresses is minted with --kind email: links then carry
    pseudonyms.

    \b
        tagstitch links mint members.csv --url https://shop.example/spring --campaign spring --out tagged.csv
        tagstitch links mint members.csv --link top=https://shop.example/ --link sale=https://shop.example/sale \\
            --campaign spring --consent-column newsletter --out tagged.csv
        tagstitch links mint all.parquet --type recipient --token-only --kind email --out fields.parquet
    """
    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    book = read_site_book(read)
    if len(delimiter) > 1 or delimiter in ('"', "\r", "\n", "\0"):
        raise typer.BadParameter("must be one character, and no quotation mark", param_hint="--delimiter")
    if out is None and not dry_run:
        raise typer.BadParameter("say where the tagged list goes", param_hint="--out")
    mailing = Mailing(
        kind=type_,
        campaign=campaign,
        message=message,
        identifier_kind=find_kind(book, space, kind),
        space_id=space,
        days=days,
        sent_at_s=read_time(sent_at, "--sent-at"),
        is_test=test,
        sealed=sealed,
    )
    wanted = _read_links(url, link or [], token_only, type_)
    base = find_link_base(read.config, base_url) if redirect or (type_ in LASTING and not token_only) else ""
    check_targets(book, space, (address for _, address in wanted if address))
    say = Console(stderr=True, highlight=False, soft_wrap=True)
    with ListReader(source, form or find_form(source), delimiter) as reader:
        columns = _find_columns(reader, column, consent_column, mailing.identifier_kind, say)
        outlets = _make_outlets(reader, wanted, read, base, token_only=token_only, redirect=redirect)
        now_ms = time.time_ns() // 1_000_000
        minting = begin_minting(keyring, mailing, now_ms=now_ms, actor=find_operator(), via="command")
        minting = msgspec.structs.replace(minting, links=tuple(outlet.link for outlet in outlets if outlet.link))
        keeps_said = bool(consent_column) and ledger and not dry_run and not test
        plan = Plan(keyring, mailing, outlets, now_ms // 1000, keeps_said)
        try:
            if dry_run:
                _show_previews(plan, reader, columns)
                return
            assert out is not None  # noqa: S101  looked at above
            work = ListWork(read, keyring, minting, plan, columns, workers)
            work.run(reader, out, refused, say, is_replacing=force)
        except LinkError as error:
            raise typer.BadParameter(str(error)) from error
    if work.rows and not work.made:
        raise typer.Exit(1)


def _read_links(url: str, named: list[str], token_only: bool, kind: LinkKind) -> list[tuple[str, str]]:
    """Return names and addresses of the links. Raises BadParameter."""
    found: list[tuple[str, str]] = []
    for item in named:
        name, sign, address = item.partition("=")
        if not name or not (address or token_only):
            raise typer.BadParameter(f"{item!r} must be NAME=URL", param_hint="--link")
        found.append((name, address if sign else ""))
    if url or not found:
        found.insert(0, ("", url))
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        raise typer.BadParameter("two links have one name", param_hint="--link")
    if kind is LinkKind.RECIPIENT and any(names):
        raise typer.BadParameter("a recipient's token is kept for all links: leave names out", param_hint="--link")
    if kind in LASTING and any(address for _, address in found):
        raise typer.BadParameter(f"{kind} links lead to the collector's own page: leave it out", param_hint="--url")
    if not all(address for _, address in found) and not token_only and kind not in LASTING:
        raise typer.BadParameter("say to which page links lead, or --token-only", param_hint="--url")
    return found


def _make_outlets(
    reader: ListReader, wanted: list[tuple[str, str]], read: Settings, base: str, *, token_only: bool, redirect: bool
) -> tuple[Outlet, ...]:
    taken = {name.strip().lower() for name in reader.columns}
    outlets = []
    for name, address in wanted:
        column = ("lt" if token_only else "link") + (f"_{name}" if name else "")
        free = next(each for each in (column, *(f"{column}_{n}" for n in range(2, 9_999))) if each.lower() not in taken)
        taken.add(free.lower())
        outlet = make_outlet(
            free,
            link=name,
            url="" if token_only else address,
            parameter=read.config.link_parameter,
            base="" if token_only else base,
        )
        outlets.append(outlet._replace(target=address if redirect else ""))
    return tuple(outlets)


def _find_columns(
    reader: ListReader, column: str, consent_column: str, kind: IdentifierKind, say: Console
) -> ListColumns:
    """Return the places of the columns. Raises BadParameter that names those that there are."""
    names = [name.strip() for name in reader.columns]

    def find(name: str, hint: str) -> int:
        fits = [place for place, each in enumerate(names) if each == name] or [
            place for place, each in enumerate(names) if each.lower() == name.lower()
        ]
        if len(fits) == 1:
            return fits[0]
        problem = "the list has several columns" if fits else "the list has no column"
        raise typer.BadParameter(f"{problem} {name!r}: {_name_columns(names)}", param_hint=hint)

    consent = find(consent_column, "--consent-column") if consent_column else -1
    if column:
        return ListColumns(find(column, "--column"), consent)
    bare = [re.sub(r"[\W_]", "", name.lower()) for name in names]
    for guess in (re.sub(r"[\W_]", "", kind.name.lower()), *GUESSES.get(kind.name, ())):
        if bare.count(guess) == 1:
            place = bare.index(guess)
            say.print(f"references are read from column {names[place]!r}", markup=False)
            return ListColumns(place, consent)
    raise typer.BadParameter(
        f"which column holds the references? The list has {_name_columns(names)}", param_hint="--column"
    )


def _name_columns(names: list[str]) -> str:
    return ", ".join(name[:40] for name in names[:30]) + (" …" if len(names) > 30 else "")


def _show_previews(plan: Plan, reader: ListReader, columns: ListColumns) -> None:
    """Print what becomes of the first rows."""
    for batch, tagged in tag_batches(plan, _first(reader.read()), columns.reference, columns.consent):
        refused = {row.place: row for row in tagged.refused}
        references = batch.pick(columns.reference)
        for place, line in enumerate(batch.lines):
            typer.echo(f"line {line}: {references[place]}")
            if place in refused:
                typer.echo(f"  refused as {refused[place].word}: {refused[place].message}")
            for outlet, cells in zip(plan.outlets, tagged.columns, strict=True):
                if place not in refused:
                    typer.echo(f"  {outlet.column}: {cells[place]}")
    typer.echo("nothing was written", err=True)


def _first(batches: Iterator[Batch]) -> Iterator[Batch]:
    for batch in batches:
        yield Batch(batch.read_rows()[:PREVIEWS], batch.lines[:PREVIEWS])
        return
