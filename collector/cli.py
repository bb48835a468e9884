"""The commands of `tagstitch`, put together. Each is one function in `commands/`; here is only how they are called.

A TagstitchError ends the program with one line on standard error and status 1, a wrong call with status 2.
"""

from __future__ import annotations

import sys

import typer

from collector import __version__
from collector.commands import (
    copy,
    data,
    doctor,
    imports,
    keys,
    links,
    maintenance,
    questions,
    replay,
    roles,
    sites,
    status,
    watch,
)
from collector.errors import TagstitchError

app = typer.Typer(
    name="tagstitch",
    help="Recognise your customers across web, e-mail, app, call centre and shop, in software you run yourself.",
    epilog="Start with `tagstitch run --demo`, then open the pages that it prints. Every command explains itself "
    "with --help; settings are in docs/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

RUNNING = "Run"
app.command(rich_help_panel=RUNNING)(roles.run)
app.command(rich_help_panel=RUNNING)(roles.web)
app.command(rich_help_panel=RUNNING)(roles.reload)
app.command(rich_help_panel=RUNNING)(roles.load)
app.command(rich_help_panel=RUNNING)(roles.stitch)
app.command(rich_help_panel=RUNNING)(roles.engine)
app.command(rich_help_panel=RUNNING)(replay.replay)
app.add_typer(maintenance.maintenance_app, name="maintenance", rich_help_panel=RUNNING)

STORE = "Ask and change the store"
app.command(rich_help_panel=STORE)(data.migrate)
app.command(rich_help_panel=STORE)(data.sql)
app.command(rich_help_panel=STORE)(copy.copy)
app.add_typer(imports.import_app, name="import", rich_help_panel=STORE)
app.command(rich_help_panel=STORE)(questions.questions)

SEE = "See what happens"
app.command(rich_help_panel=SEE)(watch.tail)
app.command(rich_help_panel=SEE)(status.status)
app.command(rich_help_panel=SEE)(doctor.doctor)

SITE = "For a site"
app.add_typer(sites.site_app, name="site", rich_help_panel=SITE)
app.add_typer(keys.key_app, name="key", rich_help_panel=SITE)
app.command(rich_help_panel=SITE)(links.snippet)
app.command(rich_help_panel=SITE)(links.link)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tagstitch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Say the version."),
) -> None:
    """Take the options that stand before the command."""


def main() -> None:
    """Run the command line. Ends the process."""
    if sys.version_info < (3, 11):  # noqa: UP036  pip checks it, a copied folder does not
        sys.exit("tagstitch needs Python 3.11 or newer: install it, then run `make run` again")
    try:
        app()
    except TagstitchError as error:
        typer.echo(f"tagstitch: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
