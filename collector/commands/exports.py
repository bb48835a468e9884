"""`tagstitch export`: people, members of audiences, timelines and changes as CSV or Parquet."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from collector.commands.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    SetOption,
    find_operator,
    open_secrets,
    read_running,
)
from collector.commands.tables import print_json
from collector.config import Config
from collector.errors import ConfigError
from collector.exporting.allowed import Allowed
from collector.exporting.chosen import choose
from collector.exporting.customers import COLUMNS as CUSTOMER_COLUMNS
from collector.exporting.customers import Customers
from collector.exporting.files import check_target
from collector.exporting.history import Changes, Timeline
from collector.exporting.members import COLUMNS as MEMBER_COLUMNS
from collector.exporting.members import Members
from collector.exporting.pages import Source
from collector.exporting.run import Done, Log, export_file, export_stream
from collector.keyring import Keyring
from collector.profiles.definitions import Definitions
from collector.purposes import ASKED
from collector.sites.book import DEFAULT_SPACE
from collector.store.client import StoreClient, open_client
from collector.use.config import FILE_NAME, UseConfig, read_use

OutOption = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="FILE", help="A name ending in .csv, .csv.gz or .parquet; -: CSV to stdout."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file where it is there already.")]
SpaceOption = Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")]
PurposeOption = Annotated[
    str, typer.Option("--purpose", metavar="PURPOSE", help="Only people who have granted this purpose of consent.")
]
TraitOption = Annotated[
    list[str] | None, typer.Option("--trait", metavar="NAME", help="With this trait; may be given several times.")
]
ClearOption = Annotated[
    list[str] | None,
    typer.Option(
        "--clear",
        metavar="NAME",
        help="With this personal trait in clear, or with these identifiers, as id:email; may be given several times.",
    ),
]
AudienceOption = Annotated[str, typer.Option("--audience", metavar="NAME", help="Of this audience alone.")]
SinceOption = Annotated[
    str, typer.Option("--since", metavar="TIME", help="From here on, as 2026-11-01 or 2026-11-01T08:00:00Z.")
]
UntilOption = Annotated[str, typer.Option("--until", metavar="TIME", help="Before this. [default: now]")]

export_app = typer.Typer(
    no_args_is_help=True,
    help="Write people, members of audiences, timelines or changes to a file. Pseudonymous unless you name what is to "
    "be in clear; nobody who was erased or restricted. Each export is in the audit log before its file is there.",
)


@export_app.command()
def members(
    audience: Annotated[str, typer.Argument(metavar="AUDIENCE", help="As `tagstitch audience list` shows it.")],
    out: OutOption,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    traits: TraitOption = None,
    clear: ClearOption = None,
    purpose: PurposeOption = "",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write who is in an audience: person_id, customer_id, since, and the traits that you name.

    Its members have granted the audience's own purpose already.

    \b
        tagstitch export members lamp_lovers --out lamp_lovers.csv
        tagstitch export members lamp_lovers --out mailing.parquet --trait plan --clear id:email
    """
    with _opened(data, config, settings) as opened:
        one = opened.use.audiences.get(audience)
        if one is None:
            known = ", ".join(opened.use.audiences) or "none"
            place = str(opened.use.path or FILE_NAME)
            raise ConfigError(f"audiences.{audience}", place, f"there is no such audience; there is {known}")
        definitions = Definitions(opened.use.traits, one.space)
        chosen = choose(definitions, traits or (), clear or (), taken=MEMBER_COLUMNS, all_open=False)
        allowed = opened.allow(one.space, purpose)
        source = Members(opened.client, opened.keyring, allowed, chosen, audience, now_ms=opened.now_ms)
        _carry_out(opened, source, one.space, out, purpose, force=force, as_json=as_json)


@export_app.command()
def customers(
    out: OutOption,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    clear: ClearOption = None,
    purpose: PurposeOption = "",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write all customers: what a profile computes of them, their audiences, and every trait declared not personal.

    \b
        tagstitch export customers --out customers.parquet
        tagstitch export customers --out mailing.csv --purpose marketing --clear first_name --clear id:email
    """
    with _opened(data, config, settings) as opened:
        definitions = Definitions(opened.use.traits, space)
        chosen = choose(definitions, (), clear or (), taken=CUSTOMER_COLUMNS, all_open=True)
        allowed = opened.allow(space, purpose)
        source = Customers(opened.client, opened.keyring, allowed, chosen, now_ms=opened.now_ms)
        _carry_out(opened, source, space, out, purpose, force=force, as_json=as_json)


@export_app.command()
def timeline(
    out: OutOption,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    since: SinceOption = "",
    until: UntilOption = "",
    audience: AudienceOption = "",
    space: SpaceOption = DEFAULT_SPACE,
    purpose: PurposeOption = "",
    bots: Annotated[bool, typer.Option("--bots", help="Robots as well.")] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write what happened, as `v_timeline` has it, with the person as known now.

    \b
        tagstitch export timeline --since 2026-11-01 --out november.parquet
        tagstitch export timeline --since 2026-11-01 --audience lamp_lovers --out - | gzip > lamps.csv.gz
    """
    with _opened(data, config, settings) as opened:
        since_ms, until_ms = _read_times(since, until, opened.now_ms)
        source = Timeline(
            opened.client,
            opened.allow(space, purpose),
            space,
            since_ms=since_ms,
            until_ms=until_ms,
            audience=audience,
            bots=bots,
        )
        _carry_out(opened, source, space, out, purpose, force=force, as_json=as_json)


@export_app.command()
def changes(
    out: OutOption,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    since: SinceOption = "",
    until: UntilOption = "",
    audience: AudienceOption = "",
    space: SpaceOption = DEFAULT_SPACE,
    purpose: PurposeOption = "",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write who entered or left audiences, and what made it so. Kept for 90 days.

    \b
        tagstitch export changes --audience lamp_lovers --since 2026-11-01 --out changes.csv
    """
    with _opened(data, config, settings) as opened:
        since_ms, until_ms = _read_times(since, until, opened.now_ms)
        allowed = opened.allow(space, purpose)
        source = Changes(opened.client, allowed, space, since_ms=since_ms, until_ms=until_ms, audience=audience)
        _carry_out(opened, source, space, out, purpose, force=force, as_json=as_json)


class _Opened(NamedTuple):
    """What an export works with."""

    client: StoreClient
    keyring: Keyring
    use: UseConfig
    config: Config
    now_ms: int

    def allow(self, space: str, purpose: str) -> Allowed:
        """Return of whom may be told."""
        if purpose and purpose not in ASKED:
            raise typer.BadParameter(f"is one of {', '.join(ASKED)}", param_hint="--purpose")
        return Allowed(self.client, self.keyring, self.use.traits, space, purpose=purpose, now_ms=self.now_ms)


@contextlib.contextmanager
def _opened(data: str | None, config: Path | None, settings: list[str] | None) -> Iterator[_Opened]:
    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    with open_client(read.config, keyring, "writer") as client:
        yield _Opened(client, keyring, read_use(read.config), read.config, time.time_ns() // 1_000_000)


def _carry_out(
    opened: _Opened, source: Source, space: str, out: Path, purpose: str, *, force: bool, as_json: bool
) -> None:
    is_stream = str(out) == "-"
    if not is_stream:
        check_target(out, replaces=force)
    log = Log(opened.client, space, find_operator(), _now_ms, "command")
    began_s = time.monotonic()
    with _Progress() as progress:
        if is_stream:
            done = export_stream(source, sys.stdout.buffer, log, progress, purpose=purpose)
        else:
            done = export_file(source, out, log, progress, purpose=purpose, replaces=force)
    if as_json:
        said = {"file": str(out), "rows": done.rows, "withheld": done.withheld, "no_consent": done.refused}
        if not is_stream:
            print_json({**said, "audit_id": done.audit_id})
        return
    typer.echo(_say(done, source, out, time.monotonic() - began_s), err=True)


def _say(done: Done, source: Source, out: Path, seconds: float) -> str:
    rate = f", {done.rows / seconds:,.0f} a second" if seconds > 1 else ""
    said = [f"{out}: {done.rows:,} rows{rate}"]
    if done.withheld:
        said.append(f"{done.withheld:,} left out of people who were erased or restricted")
    if done.refused:
        said.append(f"{done.refused:,} left out of people who have not granted the purpose")
    if personal := [column.name for column in source.columns if column.personal]:
        said.append(f"in clear: {', '.join(personal)}")
    return "; ".join([*said, f"audit entry {done.audit_id}"])


def _read_times(since: str, until: str, now_ms: int) -> tuple[int, int]:
    since_ms = _read_time(since, "--since") if since else 0
    until_ms = _read_time(until, "--until") if until else now_ms
    if since_ms >= until_ms:
        raise typer.BadParameter("must lie before --until", param_hint="--since")
    return since_ms, until_ms


def _read_time(text: str, option: str) -> int:
    """Return milliseconds since 1970; what says no zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("write it as 2026-11-01 or 2026-11-01T08:00:00Z", param_hint=option) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Progress:
    """A bar on a terminal, nothing elsewhere; always on standard error. A Watcher."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.completed:,.0f} rows{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._clock = clock
        self._began_s = clock()
        self._task: TaskID | None = None
        self._rows = 0

    def __enter__(self) -> _Progress:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def begin(self, rows: int) -> None:
        """Hear how many rows there are, about."""
        self._began_s = self._clock()
        self._task = self._bars.add_task("", total=rows, rate="")

    def advance(self, rows: int) -> None:
        """Hear that so many more were read."""
        self._rows += rows
        if self._task is not None:
            rate = self._rows / max(self._clock() - self._began_s, 1e-3)
            self._bars.update(self._task, advance=rows, rate=f", {rate:,.0f} a second")
