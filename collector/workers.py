"""Several web processes on one port: how each is started, and `tagstitch web --workers N`, which runs them alone.

Each has a listening socket of its own, which whoever starts them holds (see `listener`), and takes a folder of the
spool of its own (see `web`). What they share lies in the data folder and is written so that it cannot tear: sites and
keys, issuers' keys, the salt of the day.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping, Sequence

import msgspec

from collector.config import Config
from collector.listener import listen
from collector.logs import get_logger
from collector.role_process import MODULE
from collector.supervisor import Role, Supervisor

WEB_STOP_S = 3.5
START_LIMIT_S = 60.0


def count_workers(config: Config) -> int:
    """Return how many web processes the settings ask for: one a core but for the one that loads, where they say 0."""
    if config.inspect:
        return 1  # the dry run remembers in the memory of one process
    return config.web_workers or max(1, len(os.sched_getaffinity(0)) - 1)


def make_web_roles(environ: Mapping[str, str], listeners: Sequence[socket.socket]) -> list[Role]:
    """Return how to start a web process on each of the listening sockets."""
    return [
        Role(
            "web",
            [sys.executable, "-m", MODULE, "web", "--fd", str(listener.fileno())],
            environ,
            pass_fds=[listener.fileno()],
            stop_s=WEB_STOP_S,
            announces=True,
            is_replaceable=True,
            number=number,
        )
        for number, listener in enumerate(listeners)
    ]


def make_environ(config: Config) -> Mapping[str, str]:
    """Return the environment of a role's process: ours, with all settings as they were read here."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TAGSTITCH_")}
    for name, value in msgspec.structs.asdict(config).items():
        environ[f"TAGSTITCH_{name.upper()}"] = str(value).lower() if isinstance(value, bool) else str(value)
    if secrets := os.environ.get("TAGSTITCH_SECRETS"):
        environ["TAGSTITCH_SECRETS"] = secrets
    if config.log_form == "auto" and sys.stderr.isatty():
        environ["TAGSTITCH_LOG_FORM"] = "text"
    environ["TAGSTITCH_SUPERVISED"] = "1"
    return environ


async def run_workers(config: Config) -> None:
    """Run web processes until a signal. Prints one JSON line when all are ready.

    Raises PortTaken, and RoleFailed where one does not start or keeps dying.
    """
    listeners = listen(config.host, config.port, "PORT or --port", count_workers(config))
    config = msgspec.structs.replace(config, port=listeners[0].getsockname()[1], web_workers=len(listeners))
    supervisor = Supervisor()
    try:
        roles = make_web_roles(make_environ(config), listeners)
        running = [await supervisor.start(role) for role in roles]
        for one in running:
            if await supervisor.until(one.announced, START_LIMIT_S, "web") is None:
                return
        ready = {"ready": True, "port": config.port, "pid": os.getpid(), "workers": len(running)}
        print(msgspec.json.encode(ready).decode(), flush=True)  # noqa: T201  who started us waits for it
        await asyncio.create_task(supervisor.wait())
    finally:
        close_listeners(listeners)
        await supervisor.stop(["web"])
        get_logger().info("stopped")


def close_listeners(listeners: Sequence[socket.socket]) -> None:
    """Give our hold on the sockets up: once the processes have closed theirs, connections are refused at once."""
    for listener in listeners:
        listener.close()
