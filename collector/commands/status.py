"""`tagstitch status`: how the instance on this machine is doing, as a view that lives, or once."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from collector.audiences.activate_status import ActivateStatus
from collector.commands.options import ConfigOption, DataOption, SetOption, open_secrets, read_running
from collector.commands.status_facts import Facts, Watcher
from collector.commands.status_screen import draw, judge
from collector.errors import KeyringError
from collector.instance import MARKER
from collector.keyring import Keyring
from collector.privacy.govern_status import GovernStatus
from collector.store.dsn import find_address

INTERVAL_S = 1.0


def status(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    once: Annotated[bool, typer.Option("--once", help="Print it once and end, as when it is no terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Once, as one JSON object, for scripts.")] = False,
    dsn: Annotated[
        Literal["reader", "analyst"] | None,
        typer.Option(
            "--dsn", help="Print the address of ClickHouse for a notebook, Grafana or dbt, password included."
        ),
    ] = None,
) -> None:
    """Show how the instance is doing: processes, what comes in, what is refused, how far load and stitch are behind.

    Reads the data folder on this machine, so it works while the store is away and while nothing runs. Refreshes every
    second until Ctrl-C. Once, it ends with status 1 where something is wrong.

        tagstitch status
        tagstitch status --once || echo "somebody should look"
        tagstitch status --json | jq .load_lag_s
    """
    read = read_running(data, config, settings)
    if dsn is not None:
        typer.echo(find_address(read.config, open_secrets(read), dsn).dsn)
        return
    keyring: Keyring | None = None
    if (Path(read.config.data) / MARKER).exists():
        try:
            keyring = open_secrets(read)
        except KeyringError as error:
            typer.echo(f"tagstitch: {error}", err=True)
    console = Console(highlight=False)
    watcher = Watcher(read.config, keyring)
    watcher.start()
    if not as_json and not once and console.is_terminal:
        _live(console, watcher)
        return
    watcher.wait()
    facts = watcher.look()
    watcher.stop()
    if as_json:
        typer.echo(json.dumps(describe(facts)))
    else:
        console.print(draw(facts), soft_wrap=not sys.stdout.isatty())
    is_bad = not facts.is_anything_running or any(finding.level == "bad" for finding in judge(facts))
    raise typer.Exit(int(is_bad))


def _live(console: Console, watcher: Watcher) -> None:
    with Live(draw(watcher.look(), console.height), console=console, auto_refresh=False, transient=False) as live:
        try:
            while True:
                time.sleep(INTERVAL_S)
                live.update(draw(watcher.look(), console.height), refresh=True)
        except KeyboardInterrupt:
            watcher.stop()


def describe(facts: Facts) -> dict[str, Any]:
    """Return the facts under names that scripts may rely on. Durations in seconds, sizes in bytes."""
    condition = facts.condition
    counts = condition.load.counts if condition.load is not None else None
    return {
        "web": facts.asked.web,
        "store": facts.asked.store,
        "findings": [finding._asdict() for finding in judge(facts)],
        "roles": msgspec.to_builtins(condition.roles),
        "processes": [dataclasses.asdict(use) for use in condition.uses],
        "accepted_beacons": sum(condition.totals.counters.get("accepted_beacons", {}).values()),
        "accepted_events": sum(condition.totals.counters.get("accepted_events", {}).values()),
        "rejected": {reason: count for reason, (count, _) in facts.rejected.items()},
        "acknowledgement_p50_s": facts.acknowledgement[0],
        "acknowledgement_p99_s": facts.acknowledgement[1],
        "sync_p50_s": facts.sync[0],
        "sync_p99_s": facts.sync[1],
        "spool_bytes": condition.spool.bytes,
        "spool_segments": condition.spool.segments + condition.spool.open_segments,
        "load_lag_s": condition.load_lag_s,
        "load_paused": condition.paused,
        "load": msgspec.to_builtins(counts) if counts is not None else None,
        "stitch_batches_behind": facts.asked.batches_behind,
        "activate": None if (activate := condition.activate) is None else _describe_activate(activate, condition.at_ms),
        "govern": None if (govern := condition.govern) is None else _describe_govern(govern, condition.at_ms),
        "disk_free_bytes": condition.disk_free_bytes,
        "settings_age_s": condition.settings_age_s,
        "maintenance": condition.is_maintenance,
    }


def _describe_activate(status: ActivateStatus, now_ms: int) -> dict[str, Any]:
    return {
        "is_running": status.is_fresh(now_ms),
        "lag_s": status.find_lag_s(now_ms),
        "trouble": status.trouble,
        "round": status.round,
        "round_judged": status.round_judged,
        **msgspec.to_builtins(status.counts),
    }


def _describe_govern(status: GovernStatus, now_ms: int) -> dict[str, Any]:
    said = {name: value for name, value in msgspec.to_builtins(status).items() if name not in ("at_ms", "pid")}
    return {"is_running": status.is_fresh(now_ms), **said}
