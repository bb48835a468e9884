"""`tagstitch links page`: let somebody onto the page for marketers, once, for some minutes."""

from __future__ import annotations

import getpass
import re
import time
from typing import Annotated

import typer

from collector.commands.options import ConfigOption, DataOption, SetOption, open_secrets, read_running
from collector.config import Config
from collector.console.links_page_session import MOST_MINUTES, PATH, invite, is_page_name
from collector.sites.book import DEFAULT_SPACE


def page(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    minutes: Annotated[
        int, typer.Option("--minutes", metavar="N", help="Open it within so many minutes; it then lasts as long.")
    ] = 15,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Who works on it, as records say. [default: you]")
    ] = "",
    space: Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")] = DEFAULT_SPACE,
    base_url: Annotated[
        str, typer.Option("--base-url", metavar="URL", help="Where the browser reaches web. [default: as settings say]")
    ] = "",
) -> None:
    """Print a link to the page on which a marketer tags lists and reads what came of them.

    The link works once. Its secret is behind the #, so it reaches no log and no referrer; the browser changes it for
    a session that ends by itself.

    \b
        tagstitch links page --minutes 60 --name anna
    """
    if not 1 <= minutes <= MOST_MINUTES:
        raise typer.BadParameter(f"between 1 and {MOST_MINUTES}", param_hint="--minutes")
    if name and not is_page_name(name):
        raise typer.BadParameter(
            "at most 40 letters, digits, dots, hyphens and spaces: no e-mail address", param_hint="--name"
        )
    read = read_running(data, config, settings)
    secret = invite(open_secrets(read), name or _find_name(), minutes, int(time.time()), space)
    typer.echo(f"{(base_url or _find_base(read.config)).rstrip('/')}{PATH}#{secret}")


def _find_base(config: Config) -> str:
    if config.public_url:
        return config.public_url
    host = "localhost" if config.host in ("0.0.0.0", "::", "127.0.0.1") else config.host  # noqa: S104
    return f"http://{host}:{config.port}"


def _find_name() -> str:
    """Return this machine's name of who asks, as far as it may stand in a record."""
    try:
        name = re.sub(r"[^A-Za-z0-9._-]", "-", getpass.getuser())[:40].lstrip("-._")
    except (KeyError, OSError):
        name = ""
    return name if is_page_name(name) else "unknown"
