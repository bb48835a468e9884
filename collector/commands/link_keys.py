"""`tagstitch key rotate-links|links|drop-links`: the keys that sign tagged links, without a link in between."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from collector.commands.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    SetOption,
    find_operator,
    open_secrets,
    read_running,
)
from collector.config import Settings
from collector.errors import StoreError
from collector.identity import audit
from collector.key_changes import (
    LINK_GRACE_DAYS,
    activate_link_key,
    add_link_key,
    check_drop,
    drop_link_key,
    find_waiting,
)
from collector.keyring import Keyring, LinkKey
from collector.sites.rows import read_sites
from collector.store.client import open_client

MAX_GRACE_DAYS = 3660
NEXT = """next, before anything is signed with it:
  1. copy {path} to every other host
  2. on each host, this one too: tagstitch reload
  3. tagstitch key rotate-links, which then puts it in front"""
AFTER = """next:
  1. copy {path} to every other host
  2. on each host, this one too: tagstitch reload"""
EARLY = "hosts that do not know it yet take its links for forgeries until then: mint nothing before"
LOST = (
    "whatever this key has signed is a forgery from then on. Its links for unsubscribing stop working too, which "
    "otherwise work for ever, and which the law of many countries wants to work"
)


def rotate_links(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    grace_days: Annotated[
        float,
        typer.Option(
            "--grace-days",
            metavar="N",
            min=0,
            max=MAX_GRACE_DAYS,
            help="How long links of the other keys still tie, from when the new one signs. 0: a key has leaked.",
        ),
    ] = LINK_GRACE_DAYS,
    now: Annotated[bool, typer.Option("--now", help="Both steps at once: for a single host, or a leak.")] = False,
) -> None:
    """Replace the key that signs tagged links, in two steps, so that no host ever takes a good link for a forgery.

    The first call makes a key that verifies and signs nothing. Once every host has it, the second call puts it in
    front. What the others have signed ties visitors for --grace-days more, and leads to its page for ever; links for
    unsubscribing work for ever too.
    """
    read = read_running(data, config, settings)
    path, keyring = read.config.secrets_path, open_secrets(read)
    waiting = find_waiting(keyring)
    if waiting is None:
        waiting = find_waiting(add_link_key(path, _now_ms()))
        assert waiting is not None  # noqa: S101  it was put there
        if not now:
            typer.echo(f"link key {waiting.id} waits: it verifies, and signs nothing yet")
            typer.echo(NEXT.format(path=path))
            return
    keyring = activate_link_key(path, _now_ms(), grace_days)
    typer.echo(f"link key {waiting.id} signs from now on")
    for key in keyring.link_keys[1:]:
        typer.echo(f"what link key {key.id} has signed ties until {_say_time(key.until_ms)}")
    typer.echo(AFTER.format(path=path))
    if now:
        typer.echo(EARLY, err=True)
    facts = {"new": waiting.id, "old": [key.id for key in keyring.link_keys[1:]], "grace_days": grace_days}
    _note(read, keyring, audit.ROTATE_LINKS, facts)


def show_link_keys(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """List the keys that sign tagged links: what each does, since when and until when. Never the keys themselves."""
    keyring, now_ms = open_secrets(read_running(data, config, settings)), _now_ms()
    states = [_name_state(keyring, key, now_ms) for key in keyring.link_keys]
    if as_json:
        for key, state in zip(keyring.link_keys, states, strict=True):
            said = {"key": key.id, "state": state, "made_at_ms": key.made_at_ms, "until_ms": key.until_ms}
            typer.echo(json.dumps(said))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("key", "state", "made", "ties until"):
        table.add_column(name)
    for key, state in zip(keyring.link_keys, states, strict=True):
        until = _say_time(key.until_ms) if key.until_ms else "no end"
        table.add_row(key.id, state, _say_time(key.made_at_ms) if key.made_at_ms else "not known", until)
    Console(highlight=False).print(table)


def drop_links(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="Its id, as `tagstitch key links` shows it.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Even where what it has signed is not over.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take a key of links out of the secrets, once the time is over in which its links tie.

    Nothing has to be taken out: a key whose end is over ties nobody, and lets its links for unsubscribing work.
    """
    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    key = check_drop(keyring, key_id, _now_ms(), force=force)
    if not key.waits:
        typer.echo(LOST, err=True)
        if not yes and not typer.confirm(f"take link key {key_id} out?"):
            typer.echo("nothing was changed")
            raise typer.Exit(1)
    path = read.config.secrets_path
    keyring = drop_link_key(path, key_id, _now_ms(), force=force)
    typer.echo(f"link key {key_id} is gone from {path}")
    typer.echo(AFTER.format(path=path))
    _note(read, keyring, audit.DROP_LINK_KEY, {"key": key_id, "until_ms": key.until_ms, "forced": force})


def _name_state(keyring: Keyring, key: LinkKey, now_ms: int) -> str:
    if key is keyring.link_keys[0]:
        return "signs"
    if key.waits:
        return "waits"
    return "over" if 0 < key.until_ms <= now_ms else "verifies"


def _note(read: Settings, keyring: Keyring, action: str, facts: dict[str, object]) -> None:
    """Note it in the audit log of every space. The store may be away: keys are changed without it."""
    try:
        with open_client(read.config, keyring, "writer") as client:
            for space_id in sorted({site.space_id for site in read_sites(client)}):
                audit.write_setting(client, space_id, action, find_operator(), facts, _now_ms())
    except StoreError as error:
        typer.echo(f"the audit log does not have it: {error}", err=True)


def _say_time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
