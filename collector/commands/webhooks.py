"""`tagstitch webhook list|test|deliveries|dead|replay|secret`: whom audiences are told to, and how that goes."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import typer

from collector.commands.options import ConfigOption, DataOption, JsonOption, SetOption, open_writer, read_running
from collector.commands.tables import make_table, open_console, print_json
from collector.config import Settings
from collector.errors import ConfigError
from collector.use.config import FILE_NAME, UseConfig, read_use
from collector.webhooks.configuration import WebhookConfig
from collector.webhooks.deliveries import (
    State,
    count_deliveries,
    list_deliveries,
    list_given_up,
    may_replay,
    replay,
    write_deliveries,
    write_time,
)
from collector.webhooks.posting import Outcome, Poster
from collector.webhooks.progress import Progress, read_progress, write_replay
from collector.webhooks.signing import BadSecret, make_secret, read_secrets

SAID_CHARS = 300
PAGE = 5_000
NONE_YET = """no webhook is configured. One is these lines in {file}:

    [webhooks.mailing]
    url = "https://mail.example/hooks/tagstitch"
    audiences = ["lamp_lovers"]
    secret_env = "MAILING_WEBHOOK_SECRET"

`tagstitch webhook secret` makes the secret; docs/webhooks.md says how it is verified."""
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The webhook, as `webhook list` shows it.")]
OptionalName = Annotated[str, typer.Argument(metavar="[NAME]", help="Of this webhook alone. [default: of all]")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most, the newest first.")]
StateOption = Annotated[
    Literal["all", "pending", "delivered", "dead", "dropped"], typer.Option("--state", help="In this state alone.")
]

webhook_app = typer.Typer(
    help="See and try whom audiences are told to: deliveries, those that were given up, and how to send them anew.",
    no_args_is_help=True,
)


@webhook_app.command(name="list")
def list_webhooks(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """List the webhooks that are configured, with how their deliveries stand.

    Pending ones are on their way or wait for their next try; dead ones were given up after about a day; dropped ones
    are not told any more (the receiver said 410, or somebody withdrew their consent or was erased).

    \b
        tagstitch webhook list
        tagstitch webhook list --json
    """
    read, use = _read(data, config, settings)
    if not use.webhooks:
        typer.echo("" if as_json else NONE_YET.format(file=use.path or FILE_NAME), nl=not as_json)
        return
    with open_writer(read) as client:
        counts, progress = count_deliveries(client), read_progress(client)
    table = make_table("webhook", "to", "audiences", "changes", "space", "how it is", *State)
    for one in use.webhooks.values():
        numbers = {state.value: counts.get((one.name, state), {}).get("deliveries", 0) for state in State}
        how = _judge(one, progress.get(one.name))
        if as_json:
            said = {"webhook": one.name, "to": one.origin.authority, "audiences": one.audiences, "space": one.space}
            print_json({**said, "changes": one.changes, "how": how, **numbers})
            continue
        audiences, changes = ", ".join(one.audiences) or "all", ", ".join(one.changes)
        table.add_row(one.name, one.origin.authority, audiences, changes, one.space, how, *map(str, numbers.values()))
    if not as_json:
        open_console().print(table)


@webhook_app.command(name="test")
def try_one(
    name: NameArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a signed example, and say what came back. Ends with status 1 where it was not taken.

    The example is of type webhook.test and about nobody. It is signed with the secret of this shell's environment: set
    the variable that `secret_env` names. The store is not asked, and nothing is written down.

    \b
        export MAILING_WEBHOOK_SECRET=whsec_…
        tagstitch webhook test mailing
    """
    _, use = _read(data, config, settings)
    one = _find(use, name)
    delivery_id = str(uuid.uuid4())
    body = msgspec.json.encode(
        {
            "type": "webhook.test",
            "timestamp": write_time(time.time_ns() // 1_000_000),
            "data": {"webhook": name, "audiences": one.audiences, "space": one.space},
        }
    )
    try:
        keys = read_secrets(one.secret_names, os.environ)
    except BadSecret as error:
        raise ConfigError(f"webhooks.{name}.secret_env", str(use.path), str(error)) from None
    outcome = asyncio.run(_post(one, keys, delivery_id, body))
    said = _clean(outcome.said.decode("utf-8", "replace")[:SAID_CHARS])
    if as_json:
        told = {"webhook": name, "taken": outcome.is_taken, "status": outcome.status, "reason": outcome.reason}
        print_json({**told, "took_ms": round(outcome.took_s * 1000), "webhook_id": delivery_id, "said": said})
    else:
        typer.echo(f"sent to {one.origin.authority} as {delivery_id}, {len(body)} bytes, {len(keys)} signature(s)")
        how = f"taken: status {outcome.status}" if outcome.is_taken else f"not taken: {outcome.reason}"
        typer.echo(f"{how}, after {outcome.took_s * 1000:.0f} ms")
        if said:
            typer.echo(f"it said: {said}")
    if not outcome.is_taken:
        raise typer.Exit(1)


@webhook_app.command()
def deliveries(
    name: OptionalName = "",
    state: StateOption = "all",
    limit: LimitOption = 50,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the last deliveries: what was told of whom, how often it was tried, and why the last try failed.

    \b
        tagstitch webhook deliveries mailing --state pending
    """
    read, use = _read(data, config, settings)
    _show(read, use, name, [] if state == "all" else [state], limit, as_json=as_json)


@webhook_app.command()
def dead(
    name: OptionalName = "",
    limit: LimitOption = 50,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the deliveries that were given up. They are kept for 30 days; `webhook replay` sends them anew.

    \b
        tagstitch webhook dead
        tagstitch webhook replay mailing
    """
    read, use = _read(data, config, settings)
    _show(read, use, name, [State.DEAD.value], limit, as_json=as_json)


@webhook_app.command(name="replay")
def replay_some(
    name: OptionalName = "",
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="This delivery; may be given several times.")
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send deliveries anew: all that were given up or dropped for a 410, or those with the ids that you name.

    They go out within seconds where the role `activate` runs, under the ids that they had, so that a receiver that has
    one of them already can tell. One that was delivered can be named by its id; one of somebody who has withdrawn, or
    was erased, is not sent. A webhook that said 410 is told of new changes again.

    \b
        tagstitch webhook replay mailing
        tagstitch webhook replay --id 0d2f6d5e-4b0a-5f0e-9a53-6f1f1d0c7a44
    """
    if bool(name) == bool(ids):
        raise typer.BadParameter("say either the webhook or --id", param_hint="NAME")
    for text in ids or ():
        _check_id(text)
    read, use = _read(data, config, settings)
    if name:
        _find(use, name)
    counted: dict[str, int] = {}
    left_out = 0
    with open_writer(read) as client:
        while True:
            found = list_deliveries(client, ids=ids, most=PAGE) if ids else list_given_up(client, name, PAGE)
            wanted = [one for one in found if may_replay(one) and one.webhook in use.webhooks]
            left_out = len(found) - len(wanted) if ids else 0
            write_deliveries(client, replay(wanted, time.time_ns() // 1_000_000))
            for webhook in {one.webhook for one in wanted} | ({name} if name else set()):
                mine = [one.created_ms for one in wanted if one.webhook == webhook]
                counted[webhook] = counted.get(webhook, 0) + len(mine)
                write_replay(client, webhook, min(mine, default=time.time_ns() // 1_000_000))
            if ids or len(found) < PAGE:
                break
    missing = len(set(ids or ())) - sum(counted.values()) - left_out
    if as_json:
        print_json({"replayed": counted, "not_allowed": left_out, "unknown": max(0, missing)})
        return
    for webhook, number in counted.items():
        typer.echo(f"{webhook}: {number} deliveries are sent anew")
    if left_out:
        typer.echo(f"{left_out} are not: they are under way already, or nobody may be told of these people any more")
    if missing > 0:
        typer.echo(f"{missing} are not known: deliveries are kept for 30 days")


@webhook_app.command()
def secret() -> None:
    """Make a secret and print it, once: both sides need it, and nothing of it is kept here.

    Put it into the environment of `tagstitch run` under the name that `secret_env` says, and give it to the receiver.
    To change it: the new one under `secret_env`, the old one under `previous_secret_env` until the receiver has the new
    one; meanwhile each delivery is signed with both.

    \b
        export MAILING_WEBHOOK_SECRET=$(tagstitch webhook secret)
    """
    typer.echo(make_secret())


def _read(data: Any, config: Any, settings: Any) -> tuple[Settings, UseConfig]:
    read = read_running(data, config, settings)
    return read, read_use(read.config)


def _find(use: UseConfig, name: str) -> WebhookConfig:
    if name not in use.webhooks:
        known = ", ".join(use.webhooks) or "none"
        raise ConfigError(f"webhooks.{name}", str(use.path or FILE_NAME), f"there is no such webhook; there is {known}")
    return use.webhooks[name]


def _judge(one: WebhookConfig, progress: Progress | None) -> str:
    """Return how a webhook stands, as far as it can be seen from here."""
    if progress is None:
        return "new: the role activate has not seen it yet"
    if progress.is_gone:
        return f"gone since {_write(progress.gone_ms)}: its receiver said 410"
    return "told of changes"


async def _post(one: WebhookConfig, keys: list[bytes], delivery_id: str, body: bytes) -> Outcome:
    poster = Poster(one, keys)
    try:
        return await poster.post(delivery_id, body)
    finally:
        await poster.close()


def _show(read: Settings, use: UseConfig, name: str, states: list[str], limit: int, *, as_json: bool) -> None:
    if name and name not in use.webhooks and not as_json:
        typer.echo(f"tagstitch: {name} is not configured; what is kept of it is shown", err=True)
    with open_writer(read) as client:
        found = list_deliveries(client, [name] if name else [], states, most=limit)
    if as_json:
        for one in found:
            print_json(one)
        return
    if not found:
        typer.echo("none")
        return
    table = make_table("made", "webhook", "delivery", "change", "person", "state", "tries", "next try", "reason")
    for one in found:
        next_try = _write(one.next_ms) if one.state == State.PENDING else ""
        change = f"{one.change} {one.audience}"
        table.add_row(
            *(_write(one.created_ms), one.webhook, one.delivery_id, change, one.person_id, one.state),
            *(str(one.attempts), next_try, one.reason),
        )
    open_console().print(table)


def _check_id(text: str) -> None:
    try:
        uuid.UUID(text)
    except ValueError:
        raise typer.BadParameter("is no id of a delivery", param_hint="--id") from None


def _write(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _clean(text: str) -> str:
    """Return a text with what could steer a terminal as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
