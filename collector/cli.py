"""The commands of `tagstitch`, put together. Each is one function in `commands/`; here is only how they are called.

A TagstitchError ends the program with one line on standard error and status 1, a wrong call with status 2.
"""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from collector import __version__
from collector.errors import TagstitchError

RUNNING, STORE, SEE, SITE = "Run", "Ask and change the store", "See what happens", "For a site"

COMMANDS = {
    "run": (RUNNING, "roles"),
    "web": (RUNNING, "roles"),
    "reload": (RUNNING, "roles"),
    "load": (RUNNING, "roles"),
    "stitch": (RUNNING, "roles"),
    "activate": (RUNNING, "roles"),
    "govern": (RUNNING, "roles"),
    "engine": (RUNNING, "roles"),
    "replay": (RUNNING, "replay"),
    "maintenance": (RUNNING, "maintenance"),
    "migrate": (STORE, "data"),
    "sql": (STORE, "data"),
    "copy": (STORE, "copy"),
    "backup": (STORE, "backups"),
    "restore": (STORE, "backups"),
    "import": (STORE, "imports"),
    "questions": (STORE, "questions"),
    "adapter": (STORE, "adapters"),
    "audience": (STORE, "audiences"),
    "export": (STORE, "exports"),
    "webhook": (STORE, "webhooks"),
    "offer": (STORE, "offers"),
    "identity": (STORE, "identity"),
    "profile": (STORE, "profiles"),
    "privacy": (STORE, "privacy"),
    "audit": (STORE, "audit"),
    "pseudonym": (STORE, "pseudonyms"),
    "tail": (SEE, "watch"),
    "status": (SEE, "status"),
    "doctor": (SEE, "doctor"),
    "site": (SITE, "sites"),
    "key": (SITE, "keys"),
    "snippet": (SITE, "links"),
    "link": (SITE, "links"),
    "links": (SITE, "links"),
}
"""Where each command stands in the help, and its module in `commands/`: there it is a function of its name, or an app
`<name>_app` with commands of its own."""

ALIASES = {"keys": "key"}
"""Other names of commands, for who says it so. They stand in no help."""


def make_app(only: str = "") -> typer.Typer:
    """Put the command line together. `only`: with this command alone; a name that is none of ours gives all.

    A command's libraries load with its module, so that one that is called does not wait for those of all others.
    """
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
    app.callback()(_take_options)
    for name, (panel, module_name) in COMMANDS.items():
        if only in COMMANDS and name != only:
            continue
        module = import_module(f"collector.commands.{module_name}")
        if hasattr(module, f"{name}_app"):
            app.add_typer(getattr(module, f"{name}_app"), name=name, rich_help_panel=panel)
        else:
            app.command(rich_help_panel=panel)(getattr(module, name))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tagstitch {__version__}")
        raise typer.Exit


def _take_options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Say the version."),
) -> None:
    """Take the options that stand before the command."""


def main() -> None:
    """Run the command line. Ends the process."""
    if sys.version_info < (3, 11):  # noqa: UP036  pip checks it, a copied folder does not
        sys.exit("tagstitch needs Python 3.11 or newer: install it, then run `make run` again")
    words = [ALIASES.get(word, word) for word in sys.argv[1:2]] + sys.argv[2:]
    try:
        make_app(next(iter(words), ""))(words)
    except TagstitchError as error:
        typer.echo(f"tagstitch: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
