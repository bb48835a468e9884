"""The engine role: an embedded ClickHouse (chdb) behind ClickHouse's own HTTP interface, in a process of its own.

Life of the process:

1. The configuration comes as one line of JSON on standard input. The environment is empty.
2. The process confines itself (`confinement`), then loads the engine, then listens.
3. It prints `{"ready": true, "port": N}` on standard output.
4. It ends when it gets SIGTERM or SIGINT, or when standard input ends: whoever started it keeps that open and so
   takes the engine along when it dies. It stops listening, gives running statements 5 s, stops those that remain,
   closes the engine and exits with status 0. After a kill -9 the next start finds all that was acknowledged.

A start that fails ends with status 1 and one line on standard error that names the cause and the fix.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

if __name__ == "__main__":  # `python -I -m` has no other way to find an uninstalled checkout
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
import structlog

from collector.engine import confinement
from collector.engine.config import EngineConfig, read_config

_BOOT = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop()); sys.argv.pop();"
    "runpy.run_module('collector.engine.process', run_name='__main__')"
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
    listening = _listen(config.host, config.port)
    _configure_logs(config.log_level)
    _make_temporary_folder(config.temporary_folder)
    # Loaded here, so that whoever only needs `engine_command` does not load a web server.
    from collector.engine.handles import Chdb, EngineUnusable, prepare_folder
    from collector.engine.http import Interface
    from collector.engine.serve import serve

    try:
        prepare_folder(config.data_folder)
        # Before anything loads chdb: that starts threads, and only threads that come later are confined.
        confinement.confine([config.data_folder, config.temporary_folder])
        # While it is loaded, chdb makes a folder of its own in the place that this names.
        os.environ["TMPDIR"] = config.tmp
        engine = Chdb(config.data_folder)
    except EngineUnusable as error:
        raise StartFailed(str(error)) from None
    _clear(config.temporary_folder)
    # chdb's own handling of signals was taken back; a client that goes away must not end the process.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if serve(Interface(engine, config), listening, config.settings.drain_s):
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
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping().get(level.upper(), 20)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of chdb may outlive the interpreter: leave without waiting for them.
    os._exit(status)
