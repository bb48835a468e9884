"""Servers of PostgreSQL and MariaDB of the test's own, from Debian's packages, each in a folder of its own.

Both refuse to run as root: then they run as nobody.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.adapters.certificates import make_authority, make_server_context

PASSWORD = "Zq8-s3cr3t"
START_S = 60.0
NOBODY: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


@dataclass
class Server:
    """A running server. `execute` carries statements out as the one who may do everything, and returns all rows of the
    last one."""

    dialect: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes]
    execute: Callable[..., list[tuple[Any, ...]]]

    @property
    def url(self) -> str:
        return f"{self.dialect}://reader@127.0.0.1:{self.port}/shop"

    def freeze(self, pid: int) -> None:
        """Let one of its processes do nothing any more, without a word."""
        os.kill(pid, signal.SIGSTOP)

    def thaw(self, pid: int) -> None:
        os.kill(pid, signal.SIGCONT)


def find_postgresql() -> Path:
    """Return the folder of Debian's PostgreSQL with the highest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    assert found, "PostgreSQL is not installed: run  sh deploy/install-test-programs.sh"
    return found[-1].parent


@contextmanager
def running_postgresql() -> Iterator[Server]:
    import psycopg

    programs = find_postgresql()
    with _folder() as folder:
        data, port = folder / "data", _find_port()
        (folder / "password").write_text(PASSWORD)
        _hand_over(folder)
        options = ["-A", "scram-sha-256", "-U", "owner", f"--pwfile={folder / 'password'}", "-N", "-E", "UTF8"]
        _run([str(programs / "initdb"), "-D", str(data), "--locale=C", *options])
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
        pem = _write_certificate(folder)
        settings |= {"shared_buffers": "16MB", "ssl": "on", "ssl_cert_file": pem, "ssl_key_file": pem}
        argv = [str(programs / "postgres"), "-D", str(data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]

        def execute(*statements: str, database: str = "shop") -> list[tuple[Any, ...]]:
            said = f"host=127.0.0.1 port={port} user=owner password={PASSWORD} dbname={database}"
            with psycopg.connect(said, autocommit=True) as connection:
                for statement in statements:
                    cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []

        with _serve(argv, folder) as process:
            _wait(lambda: execute("SELECT 1", database="postgres"), process, folder)
            execute("CREATE DATABASE shop", f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'", database="postgres")
            yield Server("postgresql", port, folder, process, execute)


@contextmanager
def running_mariadb() -> Iterator[Server]:
    import pymysql

    assert shutil.which("mariadbd", path="/usr/sbin:/usr/bin"), (
        "MariaDB is not installed: run  sh deploy/install-test-programs.sh"
    )
    with _folder() as folder:
        data, port = folder / "data", _find_port()
        _hand_over(folder)
        _run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", "--innodb-log-file-size=4M"]
        )
        (folder / "start.sql").write_text(
            f"CREATE USER owner@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';"
            "GRANT ALL ON *.* TO owner@'127.0.0.1' WITH GRANT OPTION;"
            f"CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';"
            "CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;\n".replace(";", ";\n")
        )
        argv = ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", f"--port={port}", "--skip-log-bin"]
        argv += ["--bind-address=127.0.0.1", f"--socket={folder / 'socket'}", f"--init-file={folder / 'start.sql'}"]
        argv += ["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=0"]
        pem = _write_certificate(folder)
        argv += [f"--pid-file={folder / 'pid'}", f"--ssl-cert={pem}", f"--ssl-key={pem}"]

        def execute(*statements: str, database: str = "shop") -> list[tuple[Any, ...]]:
            arguments: dict[str, Any] = {"host": "127.0.0.1", "port": port, "user": "owner", "password": PASSWORD}
            arguments |= {"database": database, "autocommit": True, "ssl_disabled": True, "charset": "utf8mb4"}
            with pymysql.connect(**arguments) as connection, connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall()) if statements else []

        with _serve(argv, folder) as process:
            _wait(lambda: execute("SELECT 1"), process, folder)
            yield Server("mariadb", port, folder, process, execute)


def _write_certificate(folder: Path) -> Path:
    """Write the certificate of 127.0.0.1 with its key, and the file `authority.pem` that trusts it."""
    make_server_context(make_authority(folder), "127.0.0.1", folder)
    path = folder / "127.0.0.1.pem"
    path.chmod(0o600)
    _hand_over(path)
    return path


@contextmanager
def _folder() -> Iterator[Path]:
    # Not pytest's folder: nobody may not look into it, and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="ts-db-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hand_over(path: Path) -> None:
    if NOBODY:
        shutil.chown(path, NOBODY["user"], NOBODY["group"])


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd="/", **NOBODY)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")


@contextmanager
def _serve(argv: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **NOBODY)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGQUIT if "postgres" in argv[0] else signal.SIGKILL)
        process.wait(20)


def _wait(ask: Callable[[], object], process: subprocess.Popen[bytes], folder: Path) -> None:
    ends_s = time.monotonic() + START_S
    while True:
        try:
            ask()
        except Exception:
            said = (folder / "log").read_text(errors="replace")
            assert process.poll() is None and time.monotonic() < ends_s, said
            time.sleep(0.05)
        else:
            return
