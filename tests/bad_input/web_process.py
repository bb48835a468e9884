"""One real `tagstitch web` without a store: it lives on the copy of the sites; what it keeps is read from its spool.

with running_web(folder, [site]) as web:
    web.ask(b"POST /x/b HTTP/1.1\\r\\n…")
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from collector.config import Config
from collector.event import LandingRow
from collector.instance import open_instance
from collector.keyring import Keyring, open_keyring
from collector.sites.book import ApiKey, Site, SiteBook
from collector.sites.keys import SCOPES, hash_key
from collector.spool.frames import scan_frames

PATIENCE_S = 30.0
KEY_ID = "0123456789ab"
KEY = f"ts_{KEY_ID}_{'k' * 43}"
"""A key with every scope, for every site of the space."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Answer:
    """An answer as it came over the wire. `status`: 0 where the connection ended without one."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes


@dataclass
class WebProcess:
    """The process, and how to reach it."""

    process: subprocess.Popen[bytes]
    port: int
    data: Path
    log_file: Path
    keyring: Keyring = field(repr=False)

    @property
    def log(self) -> str:
        """What it wrote to standard error so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def cpu_s(self) -> float:
        """Processor time that it has used, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def ask(self, *pieces: bytes) -> Answer:
        """Send the pieces on a connection of their own, and return what is answered until the server closes it."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            connection.settimeout(PATIENCE_S)
            with contextlib.suppress(OSError):  # the server may have closed before all was sent
                for piece in pieces:
                    connection.sendall(piece)
            raw = b""
            with contextlib.suppress(ConnectionError):
                while chunk := connection.recv(65_536):
                    raw += chunk
        return read_answer(raw)

    def read_rows(self) -> list[LandingRow]:
        """Return every line of its spool, in the order of writing. For after its end: then all of them are there."""
        rows = []
        for path in sorted((self.data / "spool").rglob("*")):
            if path.is_file() and path.name != "lock":
                lines = (stretch.line for stretch in scan_frames(path.read_bytes()))
                rows += [msgspec.json.decode(line, type=LandingRow) for line in lines if line]
        return rows


def read_answer(raw: bytes) -> Answer:
    """Read the one answer of a connection."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = int(first.split()[1]) if first.startswith("HTTP/1.1 ") else 0
    pairs = (line.partition(":") for line in lines)
    return Answer(status, {name.lower(): value.strip() for name, _, value in pairs}, body, raw)


@contextlib.contextmanager
def running_web(folder: Path, sites: Sequence[Site], *options: str) -> Iterator[WebProcess]:
    """Run `tagstitch web` on a free port, with these sites known; its store is away. Ends it in the proper way."""
    data, log_file = folder / "data", folder / "log"
    open_instance(data, lock=False)
    keyring = open_keyring(Config(data=str(data)).secrets_path)
    keys = {KEY_ID: ApiKey(KEY_ID, hash_key(keyring, KEY), scopes=SCOPES)}
    book = SiteBook(sites={site.site_id: site for site in sites}, keys=keys, read_at_ms=time.time_ns() // 1_000_000)
    (data / "web").mkdir(exist_ok=True)
    (data / "web" / "sites.json").write_bytes(msgspec.json.encode(book))
    nowhere = "http://writer:w@127.0.0.1:9/tagstitch"
    command = [sys.executable, "-m", "collector", "web", "--data", str(data), "--port", "0", "--set", f"dsn={nowhere}"]
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [*command, *(word for option in options for word in ("--set", option))],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=log,
            env={name: value for name, value in os.environ.items() if not name.startswith("TAGSTITCH_")},
        )
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], PATIENCE_S)[0], log_file.read_text()
        said = process.stdout.readline()
        assert said, log_file.read_text()
        yield WebProcess(process, json.loads(said)["port"], data, log_file, keyring)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0, log_file.read_text()[-3000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()  # type: ignore[union-attr]
