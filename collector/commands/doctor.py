"""`tagstitch doctor`: what is right and what is not, each with its fix."""

from __future__ import annotations

import contextlib
import json
from typing import Annotated

import typer
from rich.console import Console

from collector.commands.options import ConfigOption, DataOption, SetOption, read_running
from collector.doctor.finding import Finding
from collector.doctor.instance import check_instance
from collector.doctor.page import check_page
from collector.errors import StoreError
from collector.keyring import read_keyring
from collector.site_rows import read_sites
from collector.sites import Site
from collector.store.client import open_client

MARKS = {"good": ("✓", "green"), "warning": ("!", "yellow"), "bad": ("✗", "red"), "unknown": ("?", "cyan")}


def doctor(
    url: Annotated[str | None, typer.Argument(metavar="[URL]", help="A page that should carry the tag.")] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")] = False,
) -> None:
    """Look at the instance and, with a URL, at a page; say what is wrong and how to mend it.

    The page is opened in a fresh Chromium where there is one: tag found, path on the site's own origin, content
    policy, site and origin known, consent, beacon, cookies, and whether the event reached the store. Ends with status
    1 where something is wrong.

        tagstitch doctor
        tagstitch doctor https://shop.example/
    """
    if url is not None and not url.startswith(("http://", "https://")):
        raise typer.BadParameter("must begin with http:// or https://", param_hint="URL")
    read = read_running(data, config, settings)
    console = Console(highlight=False, soft_wrap=True)
    wrong = 0

    def show(finding: Finding) -> None:
        nonlocal wrong
        wrong += finding.verdict == "bad"
        if as_json:
            told = {"subject": finding.subject, "verdict": finding.verdict, "text": finding.text, "fix": finding.fix}
            console.print(json.dumps(told), markup=False)
            return
        mark, style = MARKS[finding.verdict]
        console.print(f"{mark} {finding.subject:<22} ", style=style, end="", markup=False)
        console.print(finding.text, markup=False)
        if finding.fix:
            console.print(f"  {'':<22} → {finding.fix}", style="dim", markup=False)

    for finding in check_instance(read.config):
        show(finding)
    if url is not None and not wrong:
        keyring = read_keyring(read.config.secrets_path)
        sites: dict[str, Site] = {}
        with contextlib.suppress(StoreError), open_client(read.config, keyring, "writer") as client:
            sites = {site.site_id: site for site in read_sites(client)}
        for finding in check_page(url, read.config, keyring, sites):
            show(finding)
    raise typer.Exit(1 if wrong else 0)
