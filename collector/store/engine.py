"""The engine role: an embedded ClickHouse (chdb) behind ClickHouse's own HTTP interface, in a process of its own.

Life of the process:

1. The configuration comes as one line of JSON on standard input. The environment is empty.
2. The process confines itself (`confinement`), then loads the engine, then listens.
3. It prints `{"ready": true, "port": N}` on standard output.
4. It ends when it gets SIGTERM or SIGINT, or when standard input ends: whoever started it keeps that open and so
   takes the engine along when it dies. It stops listening, gives running statements 5 s, closes the engine, exit 0.

A start that fails ends with status 1 and one line on standard error that names the cause and the fix.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # `python -I -m` has no other way to find an uninstalled checkout
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

from collector.store.engine_config import EngineConfig, read_config

if TYPE_CHECKING:
    import uvicorn

_BOOT = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop()); sys.argv.pop();"
    "runpy.run_module('collector.store.engine', run_name='__main__')"
)


def engine_command(config: EngineConfig) -> tuple[list[str], dict[str, str], bytes]:
    """Return how to start the engine: arguments, its whole environment, and the line for its standard input.

    Write the line and keep standard input open for as long as the engine shall live; read one line from its standard
    output to know that it is ready.
    """
    root = str(Path(__file__).resolve().parents[2])
    return (
        [sys.executable, "-I", "-c", _BOOT, "tagstitch-engine", root],
        {},
        msgspec.json.encode(config) + b"\n",
    )


class StartFailed(Exception):
    """The engine cannot start. `str(error)` is the line for the operator."""


def main() -> int:
    """Run the engine process. Returns its exit status."""
    try:
        config = _read_config()
        return run(config)
    except StartFailed as error:
        sys.stderr.write(f"engine: {error}\n")
        return 1


def _read_config() -> EngineConfig:
    # Byte by byte to the end of the line: what follows belongs to nobody, but the end of input means our own end.
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    try:
        return read_config(bytes(line))
    except msgspec.MsgspecError as error:
        raise StartFailed(
            f"the configuration on standard input is wrong ({error}): start it with `tagstitch engine`"
        ) from None


def run(config: EngineConfig) -> int:
    """Confine the process, open the engine, serve until told to stop."""
    from collector.store import confinement

    listening = _listen(config.host, config.port)
    port = listening.getsockname()[1]
    _configure_logs(config.log_level)
    _make_temporary_folder(config.temporary_folder)
    from collector.store.engine_handles import Chdb, EngineUnusable, prepare_folder

    try:
        prepare_folder(config.data_folder)
        # Before anything loads chdb: that starts threads, and only threads that come later are confined.
        confinement.confine([config.data_folder, config.temporary_folder])
        # While it is loaded, chdb makes a folder of its own in the place that this names.
        os.environ["TMPDIR"] = config.tmp
        engine = Chdb(config.data_folder)
    except EngineUnusable as error:
        raise StartFailed(str(error)) from None
    from collector.store.engine_http import Interface

    _clear(config.temporary_folder)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        _serve(Interface(engine, config), listening, port, config)
    finally:
        engine.close()
    return 0


def _make_temporary_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartFailed(f"cannot make the temporary folder {folder} ({error.strerror}): name another one") from None


def _clear(folder: Path) -> None:
    """Remove what an engine that was killed left behind. The data folder is ours by now, so no other engine runs."""
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(256)
    except OSError as error:
        listening.close()
        raise StartFailed(
            f"cannot listen on {host} port {port} ({error.strerror}): stop what listens there, or set another"
            " engine_port"
        ) from None
    return listening


def _configure_logs(level: str) -> None:
    import logging

    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping().get(level.upper(), 20)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _serve(interface: object, listening: socket.socket, port: int, config: EngineConfig) -> None:
    import uvicorn

    from collector.store.engine_http import Interface
    from collector.store.engine_protocol import EngineProtocol

    assert isinstance(interface, Interface)  # noqa: S101
    server = _Server(
        uvicorn.Config(
            interface,
            http=EngineProtocol,
            loop="uvloop",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=int(config.settings.drain_s),
        )
    )

    async def serve() -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        threading.Thread(target=_await_end_of_input, args=(loop, stop), daemon=True, name="engine-parent").start()
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        sys.stdout.write(json.dumps({"ready": True, "port": port}) + "\n")
        sys.stdout.flush()
        await serving
        interface.close()

    with uvicorn_loop() as runner:
        runner.run(serve())


@contextlib.contextmanager
def uvicorn_loop() -> Iterator[asyncio.Runner]:
    """Give an event loop of uvloop's."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


def _await_end_of_input(loop: asyncio.AbstractEventLoop, stop: object) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(stop)  # type: ignore[arg-type]


def _server_class() -> type:
    import uvicorn

    class Server(uvicorn.Server):
        """uvicorn's server without its signal handlers: ours end the process with status 0."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server


def _Server(config: uvicorn.Config) -> uvicorn.Server:  # noqa: N802
    server: uvicorn.Server = _server_class()(config)
    return server


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of chdb may outlive the interpreter: leave without waiting for them.
    os._exit(status)
