"""What the commands that make links share: what a reference is, where links may lead, when the mail goes out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import typer

from collector.config import Config
from collector.links.minting import find_kinds
from collector.links.targets import find_target_site, is_safe_target
from collector.links.token import LinkKind
from collector.sites.book import IdentifierKind, SiteBook

TypeOption = Annotated[
    LinkKind,
    typer.Option(
        "--type",
        help="What the links are for: one message; recipient: a field kept in the mailing system; or consent.",
    ),
]
KindOption = Annotated[
    str,
    typer.Option(
        "--kind", metavar="NAME", help="What the references are: customer, email (as pseudonyms) or another kind."
    ),
]
CampaignOption = Annotated[str, typer.Option("--campaign", metavar="NAME", help="Campaign, shown in reports.")]
MessageOption = Annotated[str, typer.Option("--message", metavar="NAME", help="Which message of the campaign.")]
DaysOption = Annotated[
    float | None,
    typer.Option("--days", metavar="N", help="How long links are recognised. [default: 90; recipient 396]"),
]
SentAtOption = Annotated[
    str,
    typer.Option("--sent-at", metavar="TIME", help="When the mail goes out: 2026-03-01T09:00, this machine's time."),
]
TestOption = Annotated[bool, typer.Option("--test", help="A test mail: its links tie nobody and are not counted.")]
SealedOption = Annotated[bool, typer.Option("--sealed", help="Nobody can read the reference from the link; longer.")]
RedirectOption = Annotated[
    bool, typer.Option("--redirect", help="Links that go through the collector, /l/TOKEN, to the address inside them.")
]
BaseOption = Annotated[
    str, typer.Option("--base-url", metavar="URL", help="Where the collector is reached. [default: public_url]")
]


def find_kind(book: SiteBook, space_id: str, name: str) -> IdentifierKind:
    """Return the kind of identifier of this name, see `find_kinds`. Raises BadParameter."""
    kinds = find_kinds(book, space_id)
    for kind in kinds:
        if kind.name == name:
            return kind
    known = ", ".join(kind.name for kind in kinds)
    raise typer.BadParameter(f"no site of the space knows it: one of {known}", param_hint="--kind")


def check_targets(book: SiteBook, space_id: str, urls: Iterable[str]) -> None:
    """Raise BadParameter where a link may not lead to one of them. Where no site is known, standard error says so."""
    for url in urls:
        if not is_safe_target(url):
            raise typer.BadParameter(
                "must be an absolute http or https address, host in lower case, no user name", param_hint=url[:80]
            )
        if find_target_site(url, space_id, book.sites.values()) is not None:
            continue
        if any(site.space_id == space_id and not site.deleted for site in book.sites.values()):
            raise typer.BadParameter(
                "no site of the space lets links lead there: it must be of a site's origin, or of a host in its "
                "link_hosts",
                param_hint=url[:80],
            )
        typer.echo("tagstitch: no site can be read here: whether links may lead there is not checked", err=True)
        return


def find_link_base(config: Config, base_url: str = "") -> str:
    """Return what stands before the token of a link that goes through the collector."""
    base = base_url or config.public_url
    if not base:
        host = "localhost" if config.host in ("0.0.0.0", "::", "127.0.0.1") else config.host  # noqa: S104
        base = f"http://{host}:{config.port}"
        typer.echo(
            f"tagstitch: these links lead to {base}, which only this machine reaches: say --base-url",
            err=True,
        )
    return f"{base.rstrip('/')}{config.link_path.rstrip('/')}/"


def read_time(text: str, hint: str) -> int:
    """Return a time in seconds since 1970; 0 for none. Without an offset it is this machine's. Raises BadParameter."""
    if not text:
        return 0
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        raise typer.BadParameter("write a time as 2026-03-01T09:00+01:00", param_hint=hint) from None
