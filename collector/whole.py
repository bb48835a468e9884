"""The whole instance under one supervisor: what `tagstitch run` does, in order.

Order of a start: folder and secrets, ports, then engine and web at the same time (web needs no store), then the
schema, then load and stitch, and activate where something is configured for it. Ready means: every role answers. What
is printed is for people; logs go to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Sequence

import msgspec

from collector.audiences.role import has_work
from collector.config import Config
from collector.engine.config import Access, EngineConfig, Limits, Policy
from collector.engine.credentials import Role as EngineRole
from collector.engine.credentials import digest_password
from collector.engine.process import engine_command
from collector.errors import PortTaken, RoleFailed, StoreUnavailable
from collector.instance import Instance, RunningState, open_instance
from collector.keyring import Credential, Keyring, open_keyring
from collector.listener import listen
from collector.logs import get_logger
from collector.role_board import RoleBoard
from collector.role_process import MODULE
from collector.sites.poll import write_copy
from collector.sites.rows import ensure_demo_site, read_book
from collector.store.client import open_client
from collector.store.dsn import Role as DsnRole
from collector.store.dsn import find_address
from collector.store.migrate import migrate
from collector.supervisor import Role, Supervisor
from collector.use.config import read_use
from collector.workers import START_LIMIT_S, close_listeners, count_workers, make_environ, make_web_roles

READY_LIMIT_S = 10.0
ENGINE_DRAIN_S = 1.5  # nobody loads any more when its turn comes: only a reader's statement can still run
STOP_ORDER = ("web", "load", "stitch", "activate", "govern", "engine")


async def run_all(config: Config) -> None:
    """Run all roles until a signal. Raises TagstitchError where something cannot start or keeps dying."""
    started = time.monotonic()
    use = read_use(config)  # what cannot be used is said before anything starts
    instance = open_instance(config.data_path, lock=True)
    try:
        keyring = open_keyring(config.secrets_path)
        listeners = listen(config.host, config.port, "PORT or --port", count_workers(config))
        config = _settle_ports(config, listeners)
        board = RoleBoard(config.data_path)
        supervisor = Supervisor(board)
        try:
            activates = has_work(use, config.data_path)
            await _start(supervisor, instance, config, keyring, listeners, started, activates=activates)
            await supervisor.wait()
        finally:
            close_listeners(listeners)
            await supervisor.stop(STOP_ORDER)
            board.close()
            get_logger().info("stopped")
    finally:
        instance.close()


async def _start(
    supervisor: Supervisor,
    instance: Instance,
    config: Config,
    keyring: Keyring,
    listeners: Sequence[socket.socket],
    started: float,
    *,
    activates: bool,
) -> None:
    environ = make_environ(config)
    engine = None
    if config.is_embedded:
        engine = await supervisor.start(make_engine_role(config, keyring))
    instance.write_state(RunningState(os.getpid(), config.host, config.port, config.engine_host, config.engine_port))
    command = [sys.executable, "-m", MODULE]
    webs = make_web_roles(environ, listeners)
    # Web processes that have a copy of the sites can start at once; the first ones wait until they are in the store.
    is_first = not (config.data_path / "web" / "sites.json").exists()
    running = [] if is_first else [await supervisor.start(web) for web in webs]
    if engine is not None and await supervisor.until(engine.announced, START_LIMIT_S, "engine") is None:
        return
    await _migrate(supervisor, config, keyring)
    if supervisor.is_ending:
        return
    if is_first:
        await asyncio.to_thread(_copy_sites, config, keyring)
    running = running or [await supervisor.start(web) for web in webs]
    await supervisor.start(Role("load", [*command, "load"], environ, stop_s=4.0))
    await supervisor.start(Role("stitch", [*command, "stitch"], environ, stop_s=2.0))
    await supervisor.start(Role("govern", [*command, "govern"], environ, stop_s=5.0))
    if activates:
        await supervisor.start(Role("activate", [*command, "activate"], environ, stop_s=5.0))
    for web in running:
        if await supervisor.until(web.announced, START_LIMIT_S, "web") is None:
            return
    await _await_ready(supervisor, config)
    if supervisor.is_ending:
        return
    _greet(config, keyring, time.monotonic() - started)


def make_engine_role(config: Config, keyring: Keyring) -> Role:
    """Return how to start the embedded engine: with an empty environment and its settings on standard input."""
    folder = config.data_path.resolve()
    engine = EngineConfig(
        path=str(folder / "engine"),
        tmp=str(folder / "engine-tmp"),
        credentials={
            EngineRole.WRITER: _give_access(keyring.writer),
            EngineRole.READER: _give_access(keyring.reader),
            EngineRole.ANALYST: _give_access(keyring.analyst),
        },
        host=config.engine_host,
        port=config.engine_port,
        policy=Policy(views=(f"{config.database}.v_*",)),
        settings=Limits(
            reader_time_s=config.query_timeout_s,
            reader_memory_bytes=config.query_memory_bytes,
            drain_s=ENGINE_DRAIN_S,
        ),
        log_level=config.log_level,
    )
    argv, env, stdin = engine_command(engine)
    return Role("engine", argv, env, stdin=stdin, stop_s=ENGINE_DRAIN_S + 2.5, announces=True)


def _give_access(credential: Credential) -> Access:
    return Access(credential.user, digest_password(credential.password))


def _settle_ports(config: Config, listeners: Sequence[socket.socket]) -> Config:
    """Replace ports and numbers of 0 by real ones and see that the engine's is free, before anything starts."""
    changes: dict[str, int] = {"port": listeners[0].getsockname()[1], "web_workers": len(listeners)}
    if config.is_embedded:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((config.engine_host, config.engine_port))
            except OSError as error:
                close_listeners(listeners)
                raise PortTaken(config.engine_host, config.engine_port, "ENGINE_PORT or --engine-port") from error
            changes["engine_port"] = probe.getsockname()[1]
    return msgspec.structs.replace(config, **changes)


async def _await_ready(supervisor: Supervisor, config: Config) -> None:
    """Wait until web would accept a beacon; go on all the same where the disk, say, keeps it from that."""
    give_up_at = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < give_up_at and not supervisor.is_ending:
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(config.host, config.port)
            writer.write(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            try:
                answer = await asyncio.wait_for(reader.read(), 1)
            finally:
                writer.close()
            if answer.startswith(b"HTTP/1.1 200"):
                return
        await asyncio.sleep(0.05)


async def _migrate(supervisor: Supervisor, config: Config, keyring: Keyring) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not supervisor.is_ending:
        try:
            await asyncio.to_thread(migrate, config, keyring)
        except StoreUnavailable as error:  # a server that is still starting
            if time.monotonic() > deadline:
                raise RoleFailed("store", str(error)) from error
            await asyncio.sleep(0.5)
        else:
            break
    if config.demo and not supervisor.is_ending:
        await asyncio.to_thread(_ensure_demo_site, config, keyring)


def _copy_sites(config: Config, keyring: Keyring) -> None:
    """Put the copy of sites and keys in its place, so that every web process can accept from its first moment."""
    with open_client(config, keyring, "writer") as client:
        write_copy(config.data_path, read_book(client, time.time_ns() // 1_000_000))


def _ensure_demo_site(config: Config, keyring: Keyring) -> None:
    with open_client(config, keyring, "writer") as client:
        ensure_demo_site(client, config.port)


def _greet(config: Config, keyring: Keyring, seconds: float) -> None:
    base = config.public_url or f"http://{config.host}:{config.port}"
    lines = [f"tagstitch is ready ({seconds:.1f} s). Ctrl-C stops it; nothing is lost.", ""]
    if config.demo:
        lines += [f"  demo shop    {base}/demo", f"  live page    {base}/demo/live"]
    lines += [f"  the tag      {base}{config.tag_path}", f"  beacons      {base}{config.beacon_path}"]
    # Into a terminal only: what is printed elsewhere ends in somebody's log.
    show = sys.stdout.isatty()
    labels: dict[DsnRole, str] = {"reader": "read only", "analyst": "analyst  "}
    for role, label in labels.items():
        dsn = find_address(config, keyring, role).dsn if show else f"tagstitch status --dsn {role}"
        lines.append(f"  {'ClickHouse' if role == 'reader' else '':<12} {label}  {dsn}")
    lines += ["", f'  try          tagstitch sql --data {config.data} "select count() from v_events"', ""]  # noqa: S608  a hint to read
    print("\n".join(lines), flush=True)  # noqa: T201  what the person at the terminal waits for
