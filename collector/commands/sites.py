"""`tagstitch site`: what may be sent from where, under which consent, and how the tag is delivered."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from collector.commands.help import PanelCommand
from collector.commands.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    SetOption,
    find_operator,
    open_writer,
    read_running,
)
from collector.identity import audit
from collector.sites import rows as site_rows
from collector.sites.book import Site
from collector.sites.presets import DEFAULT, PRESETS
from collector.sites.specs import read_capture_cookie, read_issuer, read_kind
from collector.sites.validate import AUTO_WORDS
from collector.store.client import StoreClient

site_app = typer.Typer(no_args_is_help=True, help="Sites: what may be sent from where, and under which consent.")

SiteArgument = Annotated[str, typer.Argument(metavar="SITE", help="Id of the site.")]
WHERE = "Where it is, and what is kept"
CONSENT = "Consent"
PEOPLE = "Who it is"
COOKIES = "Cookies and domains"
TAG = "The tag"

_Part = TypeVar("_Part")


@site_app.command("add", cls=PanelCommand)
def add_site(
    site: SiteArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Change a site that is there: what is not named stays as it is.")
    ] = False,
    origin: Annotated[
        list[str] | None,
        typer.Option("--origin", metavar="ORIGIN", help="https://shop.example; several times.", rich_help_panel=WHERE),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            "--space", metavar="NAME", help="Sites of a space share people. [default: main]", rich_help_panel=WHERE
        ),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option("--time-zone", metavar="ZONE", help="Where its days begin. [default: UTC]", rich_help_panel=WHERE),
    ] = None,
    session_minutes: Annotated[
        int | None,
        typer.Option("--session-minutes", help="Idle time that ends a session. [default: 30]", rich_help_panel=WHERE),
    ] = None,
    keep_days: Annotated[
        int | None,
        typer.Option("--keep-days", help="Retention of events; 0: for ever. [default: 426]", rich_help_panel=CONSENT),
    ] = None,
    network_days: Annotated[
        int | None,
        typer.Option("--network-days", help="The same of truncated addresses. [default: 30]", rich_help_panel=CONSENT),
    ] = None,
    rejected_days: Annotated[
        int | None,
        typer.Option("--rejected-days", help="The same of what was refused. [default: 14]", rich_help_panel=CONSENT),
    ] = None,
    preset: Annotated[
        Literal["eu", "us", "strict", "none"] | None,
        typer.Option("--preset", help="Consent and retention at once: docs/privacy.md.", rich_help_panel=CONSENT),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="NETWORK",
            help="Office, monitor: 203.0.113.0/24; several times.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            metavar="NAME",
            help="URL parameter to keep besides utm_* and click ids.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    consent: Annotated[
        Literal["required", "implied", "cookieless", "off"] | None,
        typer.Option(
            "--consent",
            help="What counts before the page asked; cookieless: visitors of a day, nothing on the device. "
            "[default: required]",
            rich_help_panel=CONSENT,
        ),
    ] = None,
    consent_from: Annotated[
        str | None,
        typer.Option(
            "--consent-from",
            metavar="WORDS",
            help="Consent tools that the tag listens to: tcf gpp google.",
            rich_help_panel=CONSENT,
        ),
    ] = None,
    policy_version: Annotated[
        int | None,
        typer.Option(
            "--policy-version",
            help="Version of what people answer to; with a new one answers are written down anew. [default: 1]",
            rich_help_panel=CONSENT,
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="SPEC",
            help="Identifier kind, NAME[:unique][:personal][:clear][:email|phone=REGION|uuid|text]; several times, "
            "highest priority first. A value that holds an e-mail address is stored as a pseudonym unless it is clear. "
            ":visitors=N: seen with more, it ties nobody (200). :values=N: most that one person may have (10). "
            "[default: customer:unique, email:personal:email]",
            rich_help_panel=PEOPLE,
        ),
    ] = None,
    identify: Annotated[
        Literal["any", "signed"] | None,
        typer.Option(
            "--identify", help="Whether unsigned identifies are taken at all. [default: any]", rich_help_panel=PEOPLE
        ),
    ] = None,
    vault: Annotated[
        bool | None,
        typer.Option(
            "--vault/--no-vault",
            help="Keep the clear values behind pseudonyms, sealed, in a table for the collector alone. "
            "[default: no-vault]",
            rich_help_panel=PEOPLE,
        ),
    ] = None,
    issuer: Annotated[
        list[str] | None,
        typer.Option(
            "--issuer",
            metavar="SPEC",
            help="Whose ID tokens sign a customer in: ISSUER,AUDIENCE[,kind=KIND][,claim=NAME][,jwks=ADDRESS]"
            "[,mfa=ACR]; several times.",
            rich_help_panel=PEOPLE,
        ),
    ] = None,
    capture: Annotated[
        list[str] | None,
        typer.Option(
            "--capture",
            metavar="SPEC",
            help="What the tag picks up: KIND=SOURCE:NAME, the source param, cookie, meta, data or js; several times.",
            rich_help_panel=PEOPLE,
        ),
    ] = None,
    capture_cookie: Annotated[
        list[str] | None,
        typer.Option(
            "--capture-cookie",
            metavar="SPEC",
            help="Cookie that the collector reads, HttpOnly ones too: NAME[:KIND][:signed]; several times.",
            rich_help_panel=PEOPLE,
        ),
    ] = None,
    cookie_name: Annotated[
        str | None,
        typer.Option(
            "--cookie-name",
            metavar="NAME",
            help="Name of the visitor cookie; the tag's own is NAME_v. [default: ts_SITE and _ts_v]",
            rich_help_panel=COOKIES,
        ),
    ] = None,
    cookie_domain: Annotated[
        str | None,
        typer.Option(
            "--cookie-domain",
            metavar="DOMAIN",
            help="Whose hosts share the visitor, such as shop.example. [default: each host alone]",
            rich_help_panel=COOKIES,
        ),
    ] = None,
    linked_domain: Annotated[
        list[str] | None,
        typer.Option(
            "--linked-domain",
            metavar="HOST",
            help="Host of the same space to which visitors are handed over; several times.",
            rich_help_panel=COOKIES,
        ),
    ] = None,
    link_host: Annotated[
        list[str] | None,
        typer.Option(
            "--link-host",
            metavar="HOST",
            help="Host besides the origins to which tagged links may lead, by https; several times.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    auto: Annotated[
        str | None,
        typer.Option(
            "--auto",
            metavar="WORDS",
            help=f"What the tag notes by itself: {' '.join(AUTO_WORDS)}; or none. [default: all but hash, vitals]",
            rich_help_panel=TAG,
        ),
    ] = None,
    sample: Annotated[
        float | None,
        typer.Option(
            "--sample",
            metavar="SHARE",
            help="Share of visitors that is kept, 0.1 for a tenth. [default: 1]",
            rich_help_panel=TAG,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            metavar="EVENTS",
            help="Events a second that each host takes for it; more are answered 429. 0: any. [default: 0]",
            rich_help_panel=WHERE,
        ),
    ] = None,
    tag: Annotated[
        bool | None,
        typer.Option(
            "--tag/--no-tag", help="Whether the tag works at all: the switch for emergencies.", rich_help_panel=TAG
        ),
    ] = None,
) -> None:
    """Make a site, or with --replace change one.

    Web processes know it a few seconds later. An empty value ("") takes a setting back to its default. What the tag
    itself must know stands in the snippet: print it anew after a change.

    \b
        tagstitch site add shop --origin https://shop.example --time-zone Europe/Berlin
        tagstitch site add shop --replace --keep-days 400 --cookie-domain shop.example
        tagstitch site add shop --replace --capture customer=param:cid --linked-domain outlet.example
    """
    given: dict[str, Any] = {
        "origins": _list(origin, str, "--origin"),
        "consent": consent,
        "space_id": space,
        "kinds": _list(kind, lambda text: read_kind(text, (kind or []).index(text)), "--kind"),
        "time_zone": time_zone,
        "session_minutes": session_minutes,
        "keep_days": keep_days,
        "network_days": network_days,
        "rejected_days": rejected_days,
        "excluded_networks": _list(exclude, str, "--exclude"),
        "url_parameters": _list(parameter, str, "--parameter"),
        "identify": identify,
        "issuers": _list(issuer, read_issuer, "--issuer"),
        "capture_cookies": _list(capture_cookie, read_capture_cookie, "--capture-cookie"),
        "cookie": cookie_name,
        "cookie_domain": cookie_domain,
        "capture": _list(capture, str, "--capture"),
        "auto": auto,
        "consent_from": consent_from,
        "policy_version": policy_version,
        "linked_domains": _list(linked_domain, str, "--linked-domain"),
        "link_hosts": _list(link_host, str, "--link-host"),
        "sample": sample,
        "rate": rate,
        "tag": tag,
        "vault": vault,
    }
    default = Site(site_id=site)
    chosen = PRESETS[preset] if preset else {} if replace else PRESETS[DEFAULT]
    named = chosen | {
        name: getattr(default, name) if value in ("", ()) else value
        for name, value in given.items()
        if value is not None
    }
    with open_writer(read := read_running(data, config, settings)) as client:
        earlier = site_rows.find_site(client, site) if replace else default
        with _note_change(client, earlier, wanted := msgspec.structs.replace(earlier, **named)):
            made = site_rows.add_site(client, wanted, replace=replace)
        typer.echo(f"site {made.site_id}, version {made.version}")
        _print_findings(client, made.site_id, read.config.public_url)
    typer.echo(f"next: tagstitch snippet --site {made.site_id}")


@contextlib.contextmanager
def _note_change(client: StoreClient, earlier: Site, wanted: Site) -> Iterator[None]:
    """Say in the audit log, before it is done, which settings of a site change; apart from them, whether it begins or
    ends to keep clear values sealed."""
    space, actor, now_ms = wanted.space_id, find_operator(), time.time_ns() // 1_000_000
    names = {name for name in Site.__struct_fields__ if getattr(earlier, name) != getattr(wanted, name)}
    site = {"site": wanted.site_id}
    with contextlib.ExitStack() as stack:
        if "vault" in names:
            stack.enter_context(
                audit.noting(client, space, audit.VAULT, actor, {**site, "vault": wanted.vault}, now_ms)
            )
        if changed := {name: msgspec.to_builtins(getattr(wanted, name)) for name in sorted(names - {"vault"})}:
            stack.enter_context(audit.noting(client, space, audit.SITE, actor, {**site, "changed": changed}, now_ms))
        yield


@site_app.command("list")
def list_sites(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """List the sites."""
    with open_writer(read_running(data, config, settings)) as client:
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
    with open_writer(read_running(data, config, settings)) as client:
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
    with open_writer(read := read_running(data, config, settings)) as client:
        worst = _print_findings(client, site, read.config.public_url)
    raise typer.Exit(1 if worst == "error" else 0)


def _list(texts: list[str] | None, read: Callable[[str], _Part], option: str) -> tuple[_Part, ...] | None:
    """Read an option that may be given several times; None where it was not given, nothing where it was empty."""
    if texts is None:
        return None
    try:
        return tuple(read(text) for text in texts if text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _print_findings(client: StoreClient, site_id: str, public_url: str) -> str:
    severities = []
    for name, findings in site_rows.check_sites(client, site_id, public_url=public_url).items():
        for finding in findings:
            severities.append(finding.severity)
            typer.echo(f"{finding.severity}: {name}, {finding.setting}: {finding.problem}\n  → {finding.fix}")
        if not findings:
            typer.echo(f"{name}: nothing looks wrong")
    return min(severities, key=["error", "warning", "note"].index, default="")
