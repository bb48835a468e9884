"""`tagstitch key`: who may ask the API, and what sites sign with."""

from __future__ import annotations

import json
import re
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from collector.commands.link_keys import drop_links, rotate_links, show_link_keys
from collector.commands.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    SetOption,
    find_operator,
    open_secrets,
    open_writer,
    read_running,
)
from collector.commands.personal_keys import finish_rotation, rotate_personal, show_rotation
from collector.identity import audit
from collector.sites import keys as api_keys
from collector.sites import rows as site_rows
from collector.sites.book import DEFAULT_SPACE
from collector.store.client import StoreClient

key_app = typer.Typer(no_args_is_help=True, help="Keys: for the API, for identifies and links, and behind pseudonyms.")

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, as `tagstitch key list` shows it.")]
IDENTIFY_SCOPE = "identify"
VERSIONED_ID = re.compile(r"(?P<site>[a-z0-9][a-z0-9_-]*):(?P<version>\d+)")


@key_app.command("create")
def create_key(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="SCOPE", help=f"{', '.join(api_keys.SCOPES)}; or identify, to sign with."),
    ] = None,
    site: Annotated[str, typer.Option("--site", metavar="SITE", help="Bind it to one site.")] = "",
    space: Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")] = DEFAULT_SPACE,
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    expires: Annotated[float, typer.Option("--expires", metavar="DAYS", help="Valid for so long; 0: for ever.")] = 0,
) -> None:
    """Make a key and print it, this once: it is stored hashed.

    Scope `identify` makes a new signing secret of a site; the earlier ones stay in force until revoked.

        tagstitch key create --scope identify --site shop
        tagstitch key create --scope read --name dashboard --expires 365
    """
    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    with open_writer(read) as client:
        if scope == [IDENTIFY_SCOPE]:
            if not site:
                raise typer.BadParameter("a signing secret belongs to one site", param_hint="--site")
            with _note(client, site_rows.find_site(client, site).space_id, "created", f"{site}:identify"):
                _, version, secret = site_rows.add_identify_secret(client, keyring, site)
            _print_secret(f"signing secret {site}:{version}", secret)
            return
        now_ms = _now_ms()
        key, text = api_keys.create_key(
            client,
            keyring,
            scopes=scope or [],
            now_ms=now_ms,
            site_id=site,
            space_id=space,
            name=name,
            expires_at_ms=now_ms + int(expires * 86_400_000) if expires else 0,
        )
        with _note(client, key.space_id, "created", key.key_id, scopes=list(key.scopes), site=key.site_id):
            pass
    _print_secret(f"key {key.key_id}", text)


@key_app.command("list")
def list_keys(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """List keys and signing secrets: scopes, expiry, last use; never the secrets themselves."""
    with open_writer(read_running(data, config, settings)) as client:
        keys, uses, sites = site_rows.read_keys(client), site_rows.read_uses(client), site_rows.read_sites(client)
    rows = [
        {
            "key": key.key_id,
            "name": key.name,
            "scopes": ", ".join(key.scopes),
            "site": key.site_id or f"all of {key.space_id}",
            "state": "in force"
            if api_keys.is_in_force(key, _now_ms())
            else "revoked"
            if key.revoked_at_ms
            else "expired",
            "expires": _say_day(key.expires_at_ms, "never"),
            "last used": _say_day(uses.get(key.key_id, 0), "never"),
        }
        for key in keys
    ]
    for site in sites:
        rows += [
            {
                "key": f"{site.site_id}:{version}",
                "name": "",
                "scopes": IDENTIFY_SCOPE,
                "site": site.site_id,
                "state": "in force",
                "expires": "never",
                "last used": "",
            }
            for version in site.identify_versions
            if not site.deleted
        ]
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("key", "name", "scopes", "site", "state", "expires", "last used"):
        table.add_column(name)
    for row in rows:
        table.add_row(*row.values())
    Console(highlight=False).print(table)


@key_app.command("revoke")
def revoke_key(
    key: KeyArgument, data: DataOption = None, config: ConfigOption = None, settings: SetOption = None
) -> None:
    """Take a key out of force, or a signing secret (SITE:VERSION). Web processes know it a few seconds later."""
    with open_writer(read_running(data, config, settings)) as client:
        if versioned := VERSIONED_ID.fullmatch(key):
            with _note(client, site_rows.find_site(client, versioned["site"]).space_id, "revoked", key):
                site_rows.drop_identify_secrets(client, versioned["site"], {int(versioned["version"])})
        else:
            with _note(client, api_keys.find_key(client, key).space_id, "revoked", key):
                api_keys.revoke_key(client, key, now_ms=_now_ms())
    typer.echo(f"revoked {key}")


@key_app.command("rotate")
def rotate_key(
    key: KeyArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    grace: Annotated[float, typer.Option("--grace", metavar="HOURS", help="How long the earlier one is valid.")] = 24,
) -> None:
    """Give a key a new secret and print it. The earlier one stays valid for a while, so that nothing stops.

    A signing secret (SITE:VERSION) gets a new version beside it; revoke the earlier one when nobody signs with it.
    """
    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    with open_writer(read) as client:
        if versioned := VERSIONED_ID.fullmatch(key):
            with _note(client, site_rows.find_site(client, versioned["site"]).space_id, "rotated", key):
                _, version, text = site_rows.add_identify_secret(client, keyring, versioned["site"])
            _print_secret(f"signing secret {versioned['site']}:{version}", text)
            return
        with _note(client, api_keys.find_key(client, key).space_id, "rotated", key, grace_hours=grace):
            rotated, text = api_keys.rotate_key(client, keyring, key, now_ms=_now_ms(), grace_ms=int(grace * 3_600_000))
    _print_secret(f"key {rotated.key_id}", text)


key_app.command("rotate-personal")(rotate_personal)
key_app.command("rotation")(show_rotation)
key_app.command("finish-rotation")(finish_rotation)
key_app.command("rotate-links")(rotate_links)
key_app.command("links")(show_link_keys)
key_app.command("drop-links")(drop_links)


def _note(
    client: StoreClient, space_id: str, what: str, key: str, **more: object
) -> AbstractContextManager[audit.AuditEntry]:
    """Say in the audit log what becomes of a key; never its secret."""
    return audit.noting(client, space_id, audit.KEY, find_operator(), {"key": key, "what": what, **more}, _now_ms())


def _print_secret(what: str, secret: str) -> None:
    typer.echo(f"{what}; keep it now, it is not shown again:", err=True)
    typer.echo(secret)


def _say_day(ms: int, none: str) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}" if ms else none


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
