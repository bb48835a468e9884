"""The roles as commands: `run` (all of them), `web`, `load`, `stitch`, `activate`, `govern`, `engine`."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Annotated

import typer

from collector import disk
from collector.commands.options import ConfigOption, DataOption, SetOption, read_options, read_running
from collector.config import Config
from collector.errors import InstanceError
from collector.instance import read_state
from collector.keyring import open_keyring, read_keyring
from collector.listener import listen
from collector.logs import configure_logs, get_logger
from collector.role_process import play_activate, play_govern, play_load, play_stitch, play_web, start_role

HostOption = Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Address on which web listens.")]
PortOption = Annotated[int | None, typer.Option("--port", metavar="PORT", help="Port on which web listens.")]
EnginePortOption = Annotated[
    int | None, typer.Option("--engine-port", metavar="PORT", help="Port of the embedded ClickHouse.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Web processes on the port; 0: one for each core but one.")
]
DemoOption = Annotated[
    bool | None, typer.Option("--demo/--no-demo", help="Serve the demo shop at /demo and its live page.")
]


def run(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    host: HostOption = None,
    port: PortOption = None,
    engine_port: EnginePortOption = None,
    workers: WorkersOption = None,
    demo: DemoOption = None,
) -> None:
    """Start engine, web, load, stitch and govern under one supervisor; activate where use.toml has audiences.

    The data folder is made on first start, with fresh secrets. Ctrl-C stops all of it and loses nothing.
    `tagstitch reload` puts new web processes in the place of the old ones, without a gap.

        tagstitch run --demo                 everything on this machine, with the demo shop
        tagstitch run --data /srv/tagstitch  the same with a folder of your choice
        TAGSTITCH_DSN=https://… tagstitch run   on a ClickHouse server instead of the embedded engine
    """
    from collector.whole import run_all  # late: `tagstitch --help` needs none of it

    flags = {"host": host, "port": port, "engine_port": engine_port, "web_workers": workers, "demo": demo}
    read = read_options(data, config, settings, **flags)
    configure_logs("supervisor", read.config.log_level, read.config.log_form)
    disk.allow_open_files()  # the roles inherit it
    asyncio.run(run_all(read.config))


def web(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    host: HostOption = None,
    port: PortOption = None,
    workers: WorkersOption = None,
    demo: DemoOption = None,
) -> None:
    """Take beacons in and serve the tag, the API and the pages.

    Needs the data folder and its secrets, and works while the store is away. Several hosts share one secrets file.
    With several workers, SIGHUP replaces them one at a time by new processes, without a gap.
    """
    from collector.workers import count_workers, run_workers

    read = read_options(data, config, settings, host=host, port=port, web_workers=workers, demo=demo)
    if count_workers(read.config) > 1:
        configure_logs("supervisor", read.config.log_level, read.config.log_form)
        read_keyring(read.config.secrets_path)  # where they are missing this is said once, not by each
        disk.allow_open_files()
        asyncio.run(run_workers(read.config))
        return
    if not os.isatty(0):
        signal.signal(signal.SIGHUP, _decline_reload)
    [listener] = listen(read.config.host, read.config.port, "PORT or --port")
    play_web(read.config, listener)


def reload(data: DataOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Put new web processes in the place of those that run, one at a time, without a gap.

    A new one is ready before the old one is asked to go, and the old one answers what it has begun. They run the
    program that is installed now, with the secrets of now and the settings with which `tagstitch run` was started.
    Where a new one does not become ready the old one stays, and the log says why.

    \b
        tagstitch reload --data /srv/tagstitch
        systemctl reload tagstitch
    """
    read = read_options(data, config, settings)
    state = read_state(read.config.data_path)
    if state is None:
        raise InstanceError(
            read.config.data_path, "no `tagstitch run` here; send SIGHUP to the process of `tagstitch web --workers N`"
        )
    os.kill(state.pid, signal.SIGUSR1)
    typer.echo(f"asked process {state.pid} to replace its web processes one at a time; its log says when it has")


def load(data: DataOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Bring what is in the spool into ClickHouse, in batches, each exactly once. One of these on each host."""
    play_load(read_running(data, config, settings).config)


def stitch(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make the whole map anew from the evidence, once, and end.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --rebuild: count what differs, write nothing.")
    ] = False,
) -> None:
    """Turn evidence into the identity map: who is who. One of these is enough; a second does no harm.

    The map is a function of the evidence alone, so a rebuild changes nothing unless the identifier kinds or the
    rules have changed since.
    """
    read = read_running(data, config, settings)
    if not rebuild:
        play_stitch(read.config)
        return
    _rebuild(read.config, dry_run)


def activate(data: DataOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Keep audiences: who enters, who leaves; and tell webhooks. One of these is enough; a second does no harm.

    Follows stitch, and judges those who were touched; everybody once in `audience_sweep_s`, and where a definition has
    changed. Reads `use.toml` at its start: restart it after a change.
    """
    play_activate(read_running(data, config, settings).config)


def govern(data: DataOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Chain the audit log, carry out erasures that were asked for, and see that they stay so. One of these is enough.

    Entries of the log enter the chain within seconds, see `tagstitch audit verify`. Erasures that come by the API, that
    were approved or broken off, are carried out here.
    """
    play_govern(read_running(data, config, settings).config)


def engine(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    engine_port: EnginePortOption = None,
) -> None:
    """Run the embedded ClickHouse behind its HTTP interface, on loopback. `tagstitch run` does this for you."""
    from collector.whole import make_engine_role

    read = read_options(data, config, settings, engine_port=engine_port)
    keyring = open_keyring(read.config.secrets_path)
    role = make_engine_role(read.config, keyring)
    # The engine's configuration goes through a pipe, so that neither its arguments nor its environment carry it.
    receiver, sender = os.pipe()
    os.write(sender, role.stdin)
    os.dup2(receiver, 0)
    os.set_inheritable(sender, True)  # stays open: the end of it would tell the engine that we are gone
    disk.allow_open_files()
    os.execve(role.argv[0], list(role.argv), dict(role.env))  # noqa: S606  our own program


def _rebuild(config: Config, dry_run: bool) -> None:
    """Rebuild the map with a bar on a terminal, and print what differed."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from collector.identity.stitching.arrow_memory import set_arrow_up
    from collector.identity.stitching.rebuild import rebuild

    set_arrow_up()
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description:<10}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("read", total=None)

        def show(step: str, done: int, total: int) -> None:
            progress.update(task, description=step, completed=done, total=total if done else None)

        found = rebuild(config, start_role("stitch", config), dry_run=dry_run, tell=show)
    differ = "would change" if dry_run else "changed"
    typer.echo(f"{found.evidence} pieces of evidence, {found.map_rows} rows of the map, {found.differences} {differ}")
    for table, count in found.differing.items():
        if count:
            typer.echo(f"  {table}: {count}")


def _decline_reload(*_: object) -> None:
    """Go on: a service manager's reload must not end a process that has nobody to replace it."""
    get_logger().warning("a single web process is not replaced: set web_workers to 2 or more, or restart it")
