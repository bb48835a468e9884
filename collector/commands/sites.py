"""`tagstitch site` and `tagstitch key`: who may send, who may ask."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from collector.commands.options import ConfigOption, DataOption, SetOption, open_secrets, read_running
from collector.config import Settings
from collector.sites import keys as api_keys
from collector.sites import rows as site_rows
from collector.sites.book import DEFAULT_SPACE, IdentifierKind, Site
from collector.store.client import StoreClient, open_client

site_app = typer.Typer(no_args_is_help=True, help="Sites: what may be sent from where, and under which consent.")
key_app = typer.Typer(no_args_is_help=True, help="Keys: for the API, and for signing identifies.")

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")]
SiteArgument = Annotated[str, typer.Argument(metavar="SITE", help="Id of the site.")]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, as `tagstitch key list` shows it.")]
IDENTIFY_SCOPE = "identify"
VERSIONED_ID = re.compile(r"(?P<site>[a-z0-9][a-z0-9_-]*):(?P<version>\d+)")


@site_app.command("add")
def add_site(
    site: SiteArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", metavar="ORIGIN", help="https://shop.example; several times.")
    ] = None,
    consent: Annotated[
        Literal["required", "implied", "off"] | None,
        typer.Option("--consent", help="What counts before the page asked. [default: required]"),
    ] = None,
    space: Annotated[
        str | None, typer.Option("--space", metavar="NAME", help="Sites of a space share people. [default: main]")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="SPEC",
            help="Identifier kind, NAME[:unique][:personal][:email|uuid|text]; several times, highest priority first. "
            "[default: customer:unique, email:personal:email]",
        ),
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", metavar="ZONE", help="Where its days begin. [default: UTC]")
    ] = None,
    session_minutes: Annotated[
        int | None, typer.Option("--session-minutes", help="Idle time that ends a session. [default: 30]")
    ] = None,
    keep_days: Annotated[
        int | None, typer.Option("--keep-days", help="Retention of its events; 0: for ever. [default: 0]")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="NETWORK", help="Office, monitor: 203.0.113.0/24; several times."),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", metavar="NAME", help="URL parameter to keep besides utm_* and click ids."),
    ] = None,
    identify: Annotated[
        Literal["any", "signed"] | None,
        typer.Option("--identify", help="Whether unsigned identifies are taken at all. [default: any]"),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Change a site that is there: what is not named stays as it is.")
    ] = False,
) -> None:
    """Make a site, or with --replace change one.

    Web processes know it a few seconds later.

        tagstitch site add shop --origin https://shop.example --time-zone Europe/Berlin
        tagstitch site add shop --replace --keep-days 400
    """
    given: dict[str, Any] = {
        "origins": None if origin is None else tuple(origin),
        "consent": consent,
        "space_id": space,
        "kinds": None if kind is None else tuple(_read_kind(text, rank) for rank, text in enumerate(kind)),
        "time_zone": time_zone,
        "session_minutes": session_minutes,
        "keep_days": keep_days,
        "excluded_networks": None if exclude is None else tuple(exclude),
        "url_parameters": None if parameter is None else tuple(parameter),
        "identify": identify,
    }
    named = {name: value for name, value in given.items() if value is not None}
    with _open(read := read_running(data, config, settings)) as client:
        earlier = site_rows.find_site(client, site) if replace else Site(site_id=site)
        made = site_rows.add_site(client, msgspec.structs.replace(earlier, **named), replace=replace)
        typer.echo(f"site {made.site_id}, version {made.version}")
        _print_findings(client, made.site_id, read.config.public_url)
    typer.echo(f"next: tagstitch snippet --site {made.site_id}")


@site_app.command("list")
def list_sites(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """List the sites."""
    with _open(read_running(data, config, settings)) as client:
        sites = [site for site in site_rows.read_sites(client) if not site.deleted]
    if as_json:
        for site in sites:
            typer.echo(msgspec.json.encode(site).decode())
        return
    table = Table(box=None, pad_edge=False)
    for name in ("site", "space", "consent", "identify", "origins"):
        table.add_column(name)
    for site in sites:
        table.add_row(site.site_id, site.space_id, site.consent, site.identify, "\n".join(site.origins) or "none")
    Console(highlight=False).print(table)


@site_app.command("show")
def show_site(
    site: SiteArgument, data: DataOption = None, config: ConfigOption = None, settings: SetOption = None
) -> None:
    """Print all settings of one site as JSON."""
    with _open(read_running(data, config, settings)) as client:
        found = site_rows.find_site(client, site)
    typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


@site_app.command("check")
def check_site(
    site: Annotated[str, typer.Argument(metavar="[SITE]", help="One site; all of them without.")] = "",
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Say what looks wrong with a site's settings, each with its fix. Ends with status 1 for an error."""
    with _open(read := read_running(data, config, settings)) as client:
        worst = _print_findings(client, site, read.config.public_url)
    raise typer.Exit(1 if worst == "error" else 0)


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
    with _open(read) as client:
        if scope == [IDENTIFY_SCOPE]:
            if not site:
                raise typer.BadParameter("a signing secret belongs to one site", param_hint="--site")
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
    _print_secret(f"key {key.key_id}", text)


@key_app.command("list")
def list_keys(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """List keys and signing secrets: scopes, expiry, last use; never the secrets themselves."""
    with _open(read_running(data, config, settings)) as client:
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
    with _open(read_running(data, config, settings)) as client:
        if versioned := VERSIONED_ID.fullmatch(key):
            site_rows.drop_identify_secrets(client, versioned["site"], {int(versioned["version"])})
        else:
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
    with _open(read) as client:
        if versioned := VERSIONED_ID.fullmatch(key):
            _, version, text = site_rows.add_identify_secret(client, keyring, versioned["site"])
            _print_secret(f"signing secret {versioned['site']}:{version}", text)
            return
        rotated, text = api_keys.rotate_key(client, keyring, key, now_ms=_now_ms(), grace_ms=int(grace * 3_600_000))
    _print_secret(f"key {rotated.key_id}", text)


def _open(read: Settings) -> StoreClient:
    return open_client(read.config, open_secrets(read), "writer")


def _read_kind(text: str, rank: int) -> IdentifierKind:
    name, *marks = text.split(":")
    if unknown := set(marks) - {"unique", "personal", "email", "uuid", "text"}:
        raise typer.BadParameter(
            f"{text}: {min(unknown)} is none of unique, personal, email, uuid, text", param_hint="--kind"
        )
    normaliser = next((mark for mark in marks if mark in {"email", "uuid", "text"}), "text")
    return IdentifierKind(
        name=name, unique="unique" in marks, personal="personal" in marks, normaliser=normaliser, priority=rank * 10
    )


def _print_findings(client: StoreClient, site_id: str, public_url: str) -> str:
    severities = []
    for name, findings in site_rows.check_sites(client, site_id, public_url=public_url).items():
        for finding in findings:
            severities.append(finding.severity)
            typer.echo(f"{finding.severity}: {name}, {finding.setting}: {finding.problem}\n  → {finding.fix}")
        if not findings:
            typer.echo(f"{name}: nothing looks wrong")
    return min(severities, key=["error", "warning", "note"].index, default="")


def _print_secret(what: str, secret: str) -> None:
    typer.echo(f"{what}; keep it now, it is not shown again:", err=True)
    typer.echo(secret)


def _say_day(ms: int, none: str) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}" if ms else none


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
