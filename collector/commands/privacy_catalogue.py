"""`tagstitch privacy catalogue`: what is kept about people, as a paper for officers or as JSON."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from collector.commands.identity_change import print_json
from collector.commands.options import ConfigOption, DataOption, JsonOption, SetOption, open_writer, read_running
from collector.privacy.catalogue import describe
from collector.privacy.catalogue_pages import PAPERS
from collector.privacy.catalogue_words import read_language
from collector.sites import rows as site_rows
from collector.use.config import UseConfig, read_use


def catalogue(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    paper: Annotated[
        Literal["catalogue", "cookies", "record", "dpia"],
        typer.Option(
            "--paper",
            help="catalogue: every field; cookies: what stands in browsers; record: of processing activities, GDPR "
            "Article 30; dpia: draft of an impact assessment, Article 35.",
        ),
    ] = "catalogue",
    language: Annotated[str, typer.Option("--language", metavar="CODE", help="en or de.")] = "en",
    site: Annotated[
        list[str] | None, typer.Option("--site", metavar="NAME", help="This site alone; several times. [default: all]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which fields are kept about people, what for, on which ground, from where, for whom and for how long.

    Made from the schema, the sites and the configuration as they are now, in Markdown. What only you can say is left
    open and marked.

    \\b
        tagstitch privacy catalogue > catalogue.md
        tagstitch privacy catalogue --paper record --language de > verzeichnis.md
        tagstitch privacy catalogue --paper cookies --site shop
    """
    words = read_language(language)
    read = read_running(data, config, settings)
    with open_writer(read) as client:
        sites = [one for one in site_rows.read_sites(client) if not one.deleted and (not site or one.site_id in site)]
    if as_json:
        print_json(describe(sites))
    else:
        typer.echo(PAPERS[paper](words, sites, _list_receivers(read_use(read.config))))


def _list_receivers(use: UseConfig) -> list[str]:
    """Return who is told anything, as it is configured, without what may be secret in an address."""
    return [
        *(f"webhook {name}: {one.origin.host}" for name, one in sorted(use.webhooks.items())),
        *(f"adapter {name}: {one.kind}" for name, one in sorted(use.adapters.items())),
    ]
