"""Nothing is sent anywhere unless somebody configures it: every connection of every process of an instance is seen.

Python reports each connection and each question for a name before it is made; the hook stands in a `sitecustomize` that
all roles load. The engine, which loads none, is watched from outside, by its open sockets.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instance_process import RunningInstance, running_instance

pytestmark = pytest.mark.engine

HOOK = """
import os, sys, threading

_OUT = os.environ.get("TEST_CONNECTIONS", "")
_busy = threading.local()

def _note(event, args):
    if not _OUT or event not in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        return
    if getattr(_busy, "is_so", False):
        return
    _busy.is_so = True
    try:
        where = args[0] if event in ("socket.getaddrinfo", "socket.gethostbyname") else args[1]
        host = where[0] if isinstance(where, tuple) else where
        with open(_OUT, "a", encoding="utf-8") as out:
            out.write(f"{event} {host!r} {' '.join(sys.argv[-3:])}\\n")
    finally:
        _busy.is_so = False

sys.addaudithook(_note)
"""
LOCAL_NAMES = ("localhost", "None", "''", "'0.0.0.0'", "'::'")


@pytest.fixture
def hook(tmp_path: Path) -> dict[str, str]:
    """The environment in which every Python says where it connects to."""
    folder = tmp_path / "hook"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    return {"PYTHONPATH": str(folder), "TEST_CONNECTIONS": str(folder / "connections")}


def read_foreign(hook: dict[str, str]) -> list[str]:
    """What was said of anything but this machine."""
    path = Path(hook["TEST_CONNECTIONS"])
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line for line in lines if not _is_local(line.split(" ")[1])]


def _is_local(said: str) -> bool:
    text = said.removeprefix("b").strip("'\"")
    if said in LOCAL_NAMES or text in LOCAL_NAMES or text.startswith("/"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(text).is_loopback
    return False


class SocketWatch:
    """Looks at the sockets of a process and all below it, again and again."""

    def __init__(self, pid: int) -> None:
        self.found: set[str] = set()
        self.looks = 0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> SocketWatch:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            held = {link for pid in _list_tree(self._pid) for link in _read_links(pid)}
            self.found |= {remote for inode, remote in _list_remotes() if f"socket:[{inode}]" in held}
            self.looks += 1


def _list_tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _read_links(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(entry.readlink())


def _list_remotes() -> Iterator[tuple[str, str]]:
    """Each socket with a far end that is not this machine."""
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            parts = line.split()
            text = parts[2].partition(":")[0]
            raw = b"".join(bytes.fromhex(text[place : place + 8])[::-1] for place in range(0, len(text), 8))
            address = ipaddress.ip_address(raw)
            if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
                address = address.ipv4_mapped
            if not (address.is_loopback or address.is_unspecified):
                yield parts[9], f"{name} {address}"


def test_an_instance_talks_to_nobody(tmp_path: Path, hook: dict[str, str]) -> None:
    """Through a visit, a sign-in, a page's question, an officer's export and an erasure, and its end."""
    with running_instance(tmp_path, "--demo", environ=hook) as instance, SocketWatch(instance.process.pid) as watch:
        _live(instance, hook)
    assert watch.looks > 10
    assert watch.found == set()
    assert read_foreign(hook) == []
    said = Path(hook["TEST_CONNECTIONS"]).read_text(encoding="utf-8")
    assert "127.0.0.1" in said, "the roles have talked to the engine, and the hook has heard it"


def _live(instance: RunningInstance, hook: dict[str, str]) -> None:
    now_ms = time.time_ns() // 1_000_000
    visitor = str(uuid.uuid4())
    events = [
        {"i": str(uuid.uuid4()), "n": "page_view", "t": now_ms},
        {"i": str(uuid.uuid4()), "n": "identify", "t": now_ms, "k": [{"k": "customer", "v": "4711"}]},
    ]
    body = {"v": 1, "s": "demo", "st": now_ms, "d": visitor, "c": "aifpm", "u": f"{instance.url}/demo", "e": events}
    assert instance.post(body)[0] == 204
    instance.until("SELECT count() AS n FROM v_events", lambda rows: rows[0]["n"] == 2)
    options = ("--data", str(instance.data))
    environ = {**os.environ, **hook}
    for words in (
        ("privacy", "export", f"visitor={visitor}", "--to", str(instance.data.parent / "held.zip"), *options),
        ("privacy", "erase", f"visitor={visitor}", "--yes", *options),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "collector", *words], env=environ, capture_output=True, check=False
        )
        assert done.returncode in (0, 1), done.stderr.decode()


def test_the_watch_would_see_it(hook: dict[str, str], tmp_path: Path) -> None:
    """A process that connects elsewhere, by address or by name, is seen by the hook; an open socket by its number."""
    program = (
        "import socket\n"
        "for ask in (lambda: socket.create_connection(('192.0.2.1', 9), 0.05),"
        " lambda: socket.getaddrinfo('x.invalid', 1)):\n"
        "    try: ask()\n"
        "    except OSError: pass\n"
    )
    subprocess.run([sys.executable, "-c", program], env={**os.environ, **hook}, check=True)
    seen = read_foreign(hook)
    assert any("192.0.2.1" in line for line in seen)
    assert any("x.invalid" in line for line in seen)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("192.0.2.1", 9))  # nothing is sent by that
        with SocketWatch(os.getpid()) as watch:
            time.sleep(0.3)
    assert "udp 192.0.2.1" in watch.found
