"""A whole instance for the chaos cases, how to look at its processes, and how to hold a ledger against its store."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from instance_process import RunningInstance, running_instance
from known_sites import wait_for_site

from collector.store.client import open_client
from tests.chaos.ledger import Ledger, ask_patiently, wait_until_loaded


@contextlib.contextmanager
def running_chaos(
    folder: Path,
    *options: str,
    environ: Mapping[str, str] | None = None,
    program: Sequence[str] = (sys.executable, "-m", "collector"),
) -> Iterator[RunningInstance]:
    """Run an instance that knows the demo site, and takes any number of beacons from our one address."""
    settings = {"TAGSTITCH_ADDRESS_RATE": "0", **(environ or {})}
    with running_instance(folder, "--demo", *options, environ=settings, program=program) as instance:
        wait_for_site(instance, "demo")
        yield instance


def ask(instance: RunningInstance, question: str) -> list[dict[str, Any]]:
    """Ask as the writer, who sees every table."""
    with contextlib.closing(open_client(instance.config, instance.keyring, "writer")) as client:
        return client.query_rows(question)


def compare(instance: RunningInstance, ledger: Ledger, limit_s: float = 60.0) -> str:
    """Wait until everything is loaded, and hold the ledger against the store."""
    wait_until_loaded(instance.data, limit_s=limit_s, explain=lambda: instance.log[-3000:])
    return ledger.compare(ask_patiently(lambda question: ask(instance, question)))


def list_pids(instance: RunningInstance, role: str) -> list[int]:
    """Return the process ids of a role, of which web has several."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{instance.process.pid}/task/{instance.process.pid}/children").read_text().split()
        return sorted(int(pid) for pid in children if role in _read_words(pid))
    return []


def _read_words(pid: str) -> list[str]:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return [word.removeprefix("tagstitch-") for word in words]
    return []
