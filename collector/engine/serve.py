"""Serving the engine's HTTP interface on a socket that listens already, until it is time to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import structlog
import uvicorn
import uvloop

from collector.engine.http import Interface
from collector.engine.protocol import EngineProtocol

_log = structlog.get_logger("engine")

# What is left for statements that were told to stop.
_STOP_S = 3.0


class _Server(uvicorn.Server):
    """uvicorn's server that says when it is ready, and leaves signals to us: they end the process with status 0."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()


def serve(interface: Interface, listening: socket.socket, drain_s: float) -> bool:
    """Serve until SIGTERM, SIGINT or the end of standard input. Tell whether every statement has ended."""
    port = listening.getsockname()[1]

    def say_ready() -> None:
        sys.stdout.write(json.dumps({"ready": True, "port": port}) + "\n")
        sys.stdout.flush()

    server = _Server(
        uvicorn.Config(
            interface,
            http=EngineProtocol,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=int(drain_s),
        ),
        say_ready,
    )

    async def run() -> bool:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        threading.Thread(target=_await_end_of_input, args=(loop, stop), daemon=True, name="engine-parent").start()
        await server.serve(sockets=[listening])
        return await interface.close(_STOP_S)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ended = runner.run(run())
    if not ended:
        _log.warning(
            "a statement did not stop in time: the engine ends without closing, and recovers at its next start"
        )
    return ended


def _await_end_of_input(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(stop)
