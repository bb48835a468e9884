"""The collector's roles as they are run, each pinned to a core, and what the kernel says of them: CPU time and memory.

One folder is one instance. The sites' copy is put into it, so that web runs with and without a store.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench.ingest.traffic import SITE
from collector import disk
from collector.config import Config
from collector.instance import open_instance
from collector.keyring import Keyring, open_keyring
from collector.role_process import MODULE
from collector.sites.book import SiteBook
from collector.sites.rows import add_site
from collector.store.client import StoreClient, open_client
from collector.store.migrate import migrate

ROLE = ("-m", MODULE)
COMMAND = ("-m", "collector")
START_S = 60.0
STOP_S = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")


class ProcessError(Exception):
    """A role did not start, or did not get on. `str(error)` is one line, with the role's last words."""


@dataclass(slots=True)
class Process:
    """One process of ours, or the parent of several. `port`: where it listens; 0: nowhere."""

    name: str
    popen: subprocess.Popen[bytes]
    port: int = 0
    log: Path | None = None

    def read_last_words(self) -> str:
        """Return the last line of the log, or nothing."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n") if self.log else []
        return next((line.strip()[:500] for line in reversed(lines) if line.strip()), "it wrote nothing")

    def find_pids(self) -> list[int]:
        """Return this process and its children."""
        pid = self.popen.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        except OSError:
            children = []
        return [pid, *map(int, children)]

    def read_cpu_s(self) -> float:
        """Return the CPU seconds that it has used so far, children included, those that have ended too."""
        total = 0
        for pid in self.find_pids():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
                total += sum(map(int, words[11:13]))
        return total / _TICKS

    def read_rss_mb(self) -> float:
        """Return the memory of the largest process among it and its children, in MB (10^6 bytes)."""
        most = 0
        for pid in self.find_pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
                    if line.startswith("VmRSS:"):
                        most = max(most, int(line.split()[1]))
        return most * 1024 / 1e6

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, and see that it has ended."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
            try:
                self.popen.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                pipe.close()


@dataclass
class Collector:
    """One instance in a folder of its own. Roles are started one by one; `close` ends what runs."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    """What else stands in the roles' environment."""

    def __post_init__(self) -> None:
        """Make the folder with its secrets and the copy of the sites."""
        open_instance(self.folder, lock=False)
        self.keyring: Keyring = open_keyring(self.folder / "secrets.json")
        self.running: dict[str, Process] = {}
        self.engine_port = _find_port()
        book = SiteBook(sites={SITE.site_id: SITE}, read_at_ms=time.time_ns() // 1_000_000)
        disk.make_folder(self.folder / "web")
        (self.folder / "web" / "sites.json").write_bytes(msgspec.json.encode(book))

    @property
    def config(self) -> Config:
        """The settings under which the store is reached."""
        return Config(data=str(self.folder), engine_port=self.engine_port)

    @property
    def spool(self) -> Path:
        """Where what was accepted waits."""
        return self.folder / "spool"

    def start_web(self, core: int, workers: int = 1, program: tuple[str, ...] = ROLE) -> Process:
        """Start the web role and wait until it listens: one process as the supervisor starts it, or the supervisor."""
        if workers == 1:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen(2048)
                listener.set_inheritable(True)
                fd = listener.fileno()
                web = self._start("web", str(core), "--fd", str(fd), program=program, pass_fds=(fd,))
                web.port = listener.getsockname()[1]
        else:
            port = _find_port()
            more = ("--port", str(port), "--workers", str(workers))
            web = self._start("web", f"{core}-{core + workers - 1}", *more, program=COMMAND)
            web.port = port
        _await_answers(web, 1 if workers == 1 else 16 * workers)
        return web

    def start_engine(self, core: int | str) -> Process:
        """Start the engine, and see that schema and site are there."""
        engine = self._start("engine", str(core), program=COMMAND)
        engine.port = self.engine_port
        _await_answers(engine)
        migrate(self.config, self.keyring)
        with self.open_store() as store:
            add_site(store, SITE, replace=True)
        return engine

    def start_role(self, name: str, core: int | str, program: tuple[str, ...] = ROLE) -> Process:
        """Start `load`, `stitch` or `activate`."""
        return self._start(name, str(core), program=program)

    def open_store(self) -> StoreClient:
        """Return a client as the writer."""
        return open_client(self.config, self.keyring, "writer")

    def stop(self, *names: str) -> None:
        """Stop these roles."""
        for name in names:
            if name in self.running:
                self.running.pop(name).stop()

    def close(self) -> None:
        """Stop everything."""
        self.stop("web", "activate", "load", "stitch", "engine")

    def count_waiting(self) -> int:
        """Return how many segments of the spool are not loaded yet."""
        return sum(1 for path in self.spool.glob("*/*") if path.name.endswith((".open", ".seg")))

    def await_drained(self, limit_s: float = 300.0) -> None:
        """Wait until the spool is empty. Raises ProcessError."""
        deadline = time.monotonic() + limit_s
        while self.count_waiting():
            if time.monotonic() > deadline:
                said = self.running["load"].read_last_words() if "load" in self.running else "there is no loader"
                raise ProcessError(f"the spool is not empty after {limit_s:.0f} s: {said}")
            time.sleep(0.02)

    def clear_spool(self) -> None:
        """Throw away what waits. No web process may run."""
        shutil.rmtree(self.spool, ignore_errors=True)

    def _start(
        self, role: str, cores: str, *more: str, program: tuple[str, ...], pass_fds: tuple[int, ...] = ()
    ) -> Process:
        argv = ["taskset", "-c", cores, sys.executable, *program, role, *more]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TAGSTITCH_")}
        environ |= {f"TAGSTITCH_{name.upper()}": value for name, value in self.settings.items()}
        environ |= {
            "TAGSTITCH_DATA": str(self.folder),
            "TAGSTITCH_TRUSTED_PROXIES": "127.0.0.1/32",
            "TAGSTITCH_ENGINE_PORT": str(self.engine_port),
            **self.environ,
        }
        path = self.folder / "bench.log"
        with path.open("ab") as log:
            popen = subprocess.Popen(
                argv, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=pass_fds
            )
        process = self.running[role] = Process(role, popen, log=path)
        return process


@contextlib.contextmanager
def running_raw(core: int) -> Iterator[Process]:
    """Run the bound's server on a core."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        listener.set_inheritable(True)
        argv = ["taskset", "-c", str(core), sys.executable, "-m", "bench.ingest.raw", str(listener.fileno())]
        popen = subprocess.Popen(argv, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL)
        process = Process("raw", popen, listener.getsockname()[1])
    try:
        _await_answers(process)
        yield process
    finally:
        process.stop()


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answers(process: Process, connections: int = 1) -> None:
    """Wait until so many new connections in a row are answered: with several web processes each must be ready.

    A listening socket alone says nothing, for who starts the processes holds it already.
    """
    deadline = time.monotonic() + START_S
    answered = 0
    while answered < connections:
        try:
            with socket.create_connection(("127.0.0.1", process.port), 1) as probe:
                probe.settimeout(5)
                probe.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answered = answered + 1 if probe.recv(64).startswith(b"HTTP/1.1 ") else 0
        except OSError:
            answered = 0
            time.sleep(0.05)
        if process.popen.poll() is not None or time.monotonic() > deadline:
            raise ProcessError(f"{process.name} did not start: {process.read_last_words()}")
