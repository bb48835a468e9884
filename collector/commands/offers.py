"""`tagstitch offer list|report`: offers as `use.toml` configures them, and what each has brought."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import typer

from collector.commands.options import ConfigOption, DataOption, JsonOption, SetOption, open_secrets, read_running
from collector.commands.tables import make_table, open_console
from collector.errors import ConfigError
from collector.offers.choice import is_running
from collector.offers.configuration import OfferConfig
from collector.store.client import open_client
from collector.use.config import FILE_NAME, UseConfig, read_use

NONE_YET = """no offer is configured. One for everybody who is signed in is these lines in {file}:

    [offers.welcome]
    slot = "hero"
    content = {{ title = "Good to see you", href = "/new" }}
    hold_out = 0.1

docs/offers.md says what more there is, and what a page does with it."""

offer_app = typer.Typer(help="See offers, and what each of them has brought.", no_args_is_help=True)


@offer_app.command(name="list")
def list_offers(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """List the offers that are configured, those first that win a slot.

    \b
        tagstitch offer list
        tagstitch offer list --set use_file=/etc/tagstitch/use.toml
    """
    use = read_use(read_running(data, config, settings).config)
    now_ms = time.time_ns() // 1_000_000
    offers = sorted(use.offers.values(), key=lambda one: (one.space, one.slot, -one.priority, one.name))
    if as_json:
        for one in offers:
            typer.echo(msgspec.json.encode({**msgspec.structs.asdict(one), "state": _say_state(one, now_ms)}).decode())
        return
    if not offers:
        typer.echo(NONE_YET.format(file=use.path or FILE_NAME))
        return
    table = make_table(
        "offer", "slot", "priority", "for", "held out", "at most", "needs", "goal", "state", "what it is"
    )
    for one in offers:
        cap = f"{one.cap.shown} in {one.cap.within_days:g} days" if one.cap else ""
        goal = f"{one.outcome.event} in {one.outcome.within_days} days"
        table.add_row(
            *(one.name, one.slot, str(one.priority), one.audience or "everybody known", f"{one.hold_out:.0%}", cap),
            *(one.purpose or "nothing", goal, _say_state(one, now_ms), one.sentence),
        )
    open_console().print(table)


@offer_app.command()
def report(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The offer, as `offer list` shows it.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3_660, help="First exposures of so many days.")] = 30,
    zone: Annotated[str, typer.Option("--zone", help="Time zone in which days begin.")] = "UTC",
    as_json: JsonOption = False,
) -> None:
    """Say what an offer has brought: people who were shown it beside those held out, and how sure the difference is.

    Each person is counted once, in the arm of their first exposure. The interval holds for one look at the end: decide
    before how long you run it.

    \b
        tagstitch offer report lamp_letter --days 60
    """
    # Late: the distributions take a moment to load, and no other command needs them.
    from collector.offers.report import read_report

    read = read_running(data, config, settings)
    offer = _find(read_use(read.config), name)
    try:
        today = datetime.now(UTC if zone == "UTC" else ZoneInfo(zone)).date()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise typer.BadParameter("there is no such time zone; write Europe/Berlin, say", param_hint="--zone") from None
    with open_client(read.config, open_secrets(read), "reader") as client:
        found = read_report(client, offer, today - timedelta(days=days - 1), today, zone)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    console = open_console()
    console.print(
        f"{offer.name}: {offer.sentence or 'an offer'}. Goal: {found.goal} within {found.window_days} days of the first"
        f" exposure; first exposures from {found.first} to {found.last}"
    )
    table = make_table("", "people", "clicked", "reached it", "share", "value", "value a person", "still waiting")
    for title, arm in (("shown", found.shown), ("held out", found.held_out)):
        amounts = f"{arm.value:,.2f}", f"{arm.value_mean:,.2f}"
        table.add_row(
            *(title, f"{arm.people:,}", f"{arm.clicked:,}", f"{arm.converted:,}", f"{arm.rate:.1%}"),
            *(*amounts, f"{arm.waiting:,}"),
        )
    console.print(table)
    console.print(found.sentence)
    if found.value is not None:
        money = f" {found.currencies[0]}" if found.currencies else ""
        console.print(
            f"Value a person: {found.value.estimate:+,.2f}{money} (95 % interval: {found.value.low:+,.2f} to"
            f" {found.value.high:+,.2f})."
        )
    elif len(found.currencies) > 1:
        console.print(f"Values are in {', '.join(found.currencies)}: they are not compared.")
    elif found.shown.people and found.held_out.people:
        console.print("Too few have reached the goal to compare what they were worth.")


def _find(use: UseConfig, name: str) -> OfferConfig:
    if name not in use.offers:
        known = ", ".join(use.offers) or "none"
        raise ConfigError(f"offers.{name}", str(use.path or FILE_NAME), f"there is no such offer; there is {known}")
    return use.offers[name]


def _say_state(offer: OfferConfig, now_ms: int) -> str:
    if is_running(offer, now_ms):
        return "running" if offer.ends_ms is None else f"until {_say_time(offer.ends_ms)}"
    if offer.starts_ms is not None and now_ms < offer.starts_ms:
        return f"from {_say_time(offer.starts_ms)}"
    return "over"


def _say_time(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
