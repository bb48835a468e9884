"""Commands that print something to put into a page or a mailing: `link` and `snippet`."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import typer

from collector.commands.options import ConfigOption, DataOption, SetOption, open_secrets, open_writer, read_running
from collector.config import Settings
from collector.errors import KeyringError, StoreError
from collector.links import DEFAULT_DAYS, DEFAULT_KIND, add_token, is_safe_target, mint_link
from collector.sites.book import DEFAULT_SPACE, Site
from collector.sites.poll import read_copy
from collector.sites.rows import read_book
from collector.snippet import make_snippet


def link(
    url: Annotated[str, typer.Argument(metavar="URL", help="The page to which the link leads.")],
    customer: Annotated[
        str, typer.Option("--customer", metavar="ID", help="The customer's reference, never an e-mail.")
    ],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    campaign: Annotated[str, typer.Option("--campaign", metavar="NAME", help="Campaign, shown in reports.")] = "",
    message: Annotated[str, typer.Option("--message", metavar="NAME", help="Which message of the campaign.")] = "",
    name: Annotated[str, typer.Option("--link", metavar="NAME", help="Which link of the message.")] = "",
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="Kind of the reference.")] = DEFAULT_KIND,
    days: Annotated[float, typer.Option("--days", metavar="N", help="How long the link is recognised.")] = DEFAULT_DAYS,
    space: Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")] = DEFAULT_SPACE,
    redirect: Annotated[
        bool, typer.Option("--redirect", help="Print the form that goes through the collector, /l/TOKEN.")
    ] = False,
) -> None:
    """Print a signed link for one customer.

    Whoever follows it is recognised on the site as that customer, provisionally, once a person has touched the page.
    It signs nobody in, and forwarding it changes nothing. The reference can be read from the link: no e-mail in it.

        tagstitch link --customer 4711 --campaign spring https://shop.example/offer
    """
    read = read_running(data, config, settings)
    if not is_safe_target(url):
        raise typer.BadParameter("must be an absolute http or https address", param_hint="URL")
    try:
        token = mint_link(
            open_secrets(read),
            customer,
            now_s=int(time.time()),
            days=days,
            kind=kind,
            campaign=campaign,
            message=message,
            link=name,
            space_id=space,
            target=url if redirect else "",
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if redirect:
        base = read.config.public_url or f"http://{read.config.host}:{read.config.port}"
        typer.echo(f"{base.rstrip('/')}{read.config.link_path.rstrip('/')}/{token}")
    else:
        typer.echo(add_token(url, token, read.config.link_parameter))


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
