"""Commands that print something to put into a page or a mailing: `link`, `snippet`, and the group `links`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

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
from collector.commands.link_revocations import revocations, revoke, unrevoke
from collector.commands.links_mint import mint
from collector.commands.links_page import page
from collector.commands.links_records import mintings, sent
from collector.commands.options import (
    ConfigOption,
    DataOption,
    SetOption,
    find_operator,
    open_secrets,
    open_writer,
    read_running,
    read_site_book,
)
from collector.config import Settings
from collector.errors import KeyringError, LinkError, StoreError
from collector.links.minting import LinkMaker, Mailing
from collector.links.record import begin_minting, keep_minting
from collector.links.targets import add_token
from collector.links.token import LASTING, LinkKind
from collector.sites.book import DEFAULT_SPACE, Site
from collector.sites.poll import read_copy
from collector.sites.rows import read_book
from collector.snippet import make_snippet

QR_FORMS = (".svg", ".png", ".pdf")

links_app = typer.Typer(no_args_is_help=True, help="Tagged links of mailings: make them, see what came of them.")
links_app.command("mint")(mint)
links_app.command("page")(page)
links_app.command("mintings")(mintings)
links_app.command("sent")(sent)
links_app.command("revoke")(revoke)
links_app.command("revocations")(revocations)
links_app.command("unrevoke")(unrevoke)


def link(
    url: Annotated[str, typer.Argument(metavar="[URL]", help="The page to which the link leads.")] = "",
    customer: Annotated[
        str, typer.Option("--customer", metavar="ID", help="Whose link it is: a reference of the kind --kind.")
    ] = "",
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    kind: KindOption = "customer",
    type_: TypeOption = LinkKind.MESSAGE,
    campaign: CampaignOption = "",
    message: MessageOption = "",
    name: Annotated[str, typer.Option("--link", metavar="NAME", help="Which link of the message.")] = "",
    consent: Annotated[
        str, typer.Option("--consent", metavar="LETTERS", help="What the customer has consented to: i, m or im.")
    ] = "",
    days: DaysOption = None,
    sent_at: SentAtOption = "",
    test: TestOption = False,
    sealed: SealedOption = False,
    space: Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")] = DEFAULT_SPACE,
    redirect: RedirectOption = False,
    base_url: BaseOption = "",
    token_only: Annotated[bool, typer.Option("--token-only", help="Print the bare token.")] = False,
    qr: Annotated[
        Path | None, typer.Option("--qr", metavar="FILE", help="Draw it as a QR code too: .svg, .png or .pdf.")
    ] = None,
) -> None:
    """Print a signed link for one customer.

    Whoever follows it is recognised on the site as that customer, provisionally, once a person has touched the page.
    It signs nobody in, and forwarding it changes nothing. The reference can be read from the link unless it is
    sealed: no e-mail in it; with `--kind email` the link carries a pseudonym of the address.

    \b
        tagstitch link --customer 4711 --campaign spring https://shop.example/offer
        tagstitch link --customer anna@mail.example --kind email --campaign spring https://shop.example/offer
        tagstitch link --customer 4711 --type unsubscribe --base-url https://shop.example
        tagstitch link --customer 4711 --campaign flyer --redirect --qr flyer.svg https://shop.example/offer
    """
    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    is_lasting = type_ in LASTING
    if is_lasting and url:
        raise typer.BadParameter(f"{type_} links lead to the collector's own page: leave it out", param_hint="URL")
    if not (url or is_lasting or token_only):
        raise typer.BadParameter("say to which page the link leads, or --token-only", param_hint="URL")
    if not customer:
        raise typer.BadParameter("say whose link it is", param_hint="--customer")
    book = read_site_book(read)
    check_targets(book, space, [url] if url else [])
    mailing = Mailing(
        kind=type_,
        campaign=campaign,
        message=message,
        link=name,
        identifier_kind=find_kind(book, space, kind),
        space_id=space,
        target=url if redirect else "",
        days=days,
        sent_at_s=read_time(sent_at, "--sent-at"),
        is_test=test,
        sealed=sealed,
    )
    now_ms = time.time_ns() // 1_000_000
    try:
        token = LinkMaker(keyring, mailing, now_ms // 1000).make(customer, consent=consent)
    except LinkError as error:
        raise typer.BadParameter(str(error)) from error
    if token_only:
        made = token
    elif redirect or is_lasting:
        made = f"{find_link_base(read.config, base_url)}{token}"
    else:
        made = add_token(url, token, read.config.link_parameter)
    if qr is not None:
        _draw(made, qr)
    minting = begin_minting(keyring, mailing, now_ms=now_ms, actor=find_operator(), via="command")
    keep_minting(read.config, keyring, msgspec.structs.replace(minting, made=1, recipients=1))
    typer.echo(made)


def _draw(text: str, path: Path) -> None:
    """Draw a QR code of level M, which is read with 15 % of it dirty. Raises BadParameter."""
    import segno

    if path.suffix.lower() not in QR_FORMS:
        raise typer.BadParameter(f"must end with one of {', '.join(QR_FORMS)}", param_hint="--qr")
    try:
        segno.make_qr(text, error="m").save(str(path), scale=8, border=4)
    except segno.DataOverflowError:
        raise typer.BadParameter("the link is too long for a QR code: shorten it", param_hint="--qr") from None
    except OSError as error:
        raise typer.BadParameter(f"cannot be written: {error.strerror}", param_hint="--qr") from None


def snippet(
    site: Annotated[str, typer.Option("--site", metavar="SITE", help="The site that the page belongs to.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    base_url: Annotated[
        str, typer.Option("--base-url", metavar="URL", help="Where the collector is; empty: on the site's own origin.")
    ] = "",
    consent: Annotated[
        Literal["required", "implied", "cookieless", "off"] | None,
        typer.Option("--consent", help="Another preset than the site's. [default: as the site says]"),
    ] = None,
    versioned: Annotated[
        bool, typer.Option("--versioned", help="The immutable path of this build, with its integrity hash (SRI).")
    ] = False,
    nonce: Annotated[bool, typer.Option("--nonce", help="Leave a place for the nonce of a content policy.")] = False,
) -> None:
    """Print what goes into the head of every page, as the site's settings say.

    They come from the store or, where it is away, from the copy that web keeps in the data folder. The plain form
    follows updates; `--versioned` pins this very build and lets the browser check it.

    \b
        tagstitch snippet --site shop
        tagstitch snippet --site shop --versioned --nonce
    """
    read = read_running(data, config, settings)
    html = make_snippet(
        read.config,
        _find_site(read, site),
        base_url=base_url or read.config.public_url,
        versioned=versioned,
        consent=consent or "",
        nonce=nonce,
    )
    typer.echo(html, nl=False)


def _find_site(read: Settings, site_id: str) -> Site:
    """Return the site's row from the store, else from the copy on disk, else a site of this id with default settings.

    The snippet itself goes to standard output; what to know about it goes to standard error.
    """
    try:
        with open_writer(read) as client:
            book = read_book(client, 0)
        where = "in the store"
    except (StoreError, KeyringError):
        book = read_copy(read.config.data_path)
        where = "in the copy in the data folder (the store is away)" if book.sites else ""
    site = book.find_site(site_id)
    if site is not None:
        return site
    if where:
        typer.echo(f"tagstitch: there is no site {site_id} {where}: printed with default settings", err=True)
    else:
        typer.echo("tagstitch: the site's settings cannot be read here: printed with default settings", err=True)
    return Site(site_id=site_id)
