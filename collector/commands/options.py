"""Options that commands share, and how they become settings.

Every command takes `--data`, `--config` and `--set NAME=VALUE`, so that any setting can be given to any command.
A command that talks to a running instance finds its ports in the data folder.
"""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from collector.config import Settings, load_settings
from collector.errors import ConfigError, StoreError
from collector.instance import follow_running
from collector.keyring import Keyring, read_keyring
from collector.sites.book import SiteBook
from collector.store.client import StoreClient, open_client

DataOption = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="Folder of the instance. [default: ./data]")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file. [default: ./tagstitch.toml if there]")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any setting of docs/settings.md; may be given several times."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")]
FormatOption = Annotated[Literal["table", "csv", "json"], typer.Option("--format", help="How to print.")]


def read_options(data: str | None, config: Path | None, settings: list[str] | None, **flags: object) -> Settings:
    """Turn a command's options into settings. Raises ConfigError."""
    given: dict[str, object] = {}
    for item in settings or []:
        name, sign, value = item.partition("=")
        if not sign:
            raise ConfigError(item, "--set", "write it as NAME=VALUE")
        given[name.strip().replace("-", "_")] = value
    given.update({name: value for name, value in flags.items() if value is not None})
    if data is not None:
        given["data"] = data
    return load_settings(given, file=config)


def read_running(data: str | None, config: Path | None, settings: list[str] | None, **flags: object) -> Settings:
    """The same, with the ports of the instance that runs in the data folder."""
    read = read_options(data, config, settings, **flags)
    return Settings(follow_running(read.config, frozenset(read.sources)), read.sources)


def find_operator() -> str:
    """Return who gives this command, as the audit log names them."""
    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):
        return "operator:unknown"


def open_secrets(settings: Settings) -> Keyring:
    """Read the instance's secrets. Raises KeyringError that says how to make them."""
    return read_keyring(settings.config.secrets_path)


def read_site_book(settings: Settings) -> SiteBook:
    """Return the sites as the store has them, or where it is away as the last copy has them."""
    from collector.sites.poll import read_copy  # late: few commands need it
    from collector.sites.rows import read_book

    try:
        with open_writer(settings) as client:
            return read_book(client, time.time_ns() // 1_000_000)
    except StoreError:
        return read_copy(settings.config.data_path)


def open_writer(settings: Settings) -> StoreClient:
    """Open the store for a command that changes it."""
    return open_client(settings.config, open_secrets(settings), "writer")
