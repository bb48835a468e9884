"""Processes that are made to die at the n-th file operation or store call. Run by the chaos tests, one at a time."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import clickhouse_connect  # noqa: F401  so that a victim is at work at once, not importing

from collector import disk
from collector.config import Config
from collector.keyring import Keyring
from collector.load import loader
from collector.load.journal import LoadJournal
from collector.load.loader import Loader
from collector.load.patience import Patience
from collector.load.store import ClickHouseLanding
from collector.spool.writer import SpoolWriter
from tests.chaos.stream import make_line
from tests.faulty_disk import FaultyOs, die_after, die_before
from tests.folder_store import FolderStore


def run_writer(folder: Path, at: int, fault: Callable[..., Any], acknowledge: Connection) -> None:
    """Append seven lines, two to a segment, and tell each acknowledgement. Call `at` is the last one."""

    async def work() -> None:
        writer = SpoolWriter(folder / "web", segment_bytes=30, segment_age_s=60)
        for number in range(7):
            await writer.append(b'{"number":%d}' % number)
            acknowledge.send(number)
        writer.close()

    disk.os = FaultyOs(at, fault)  # type: ignore[attr-defined]
    asyncio.run(work())


def run_loader(data: Path, at: int, fault: Callable[..., Any]) -> None:
    """Load what is in the spool. Call `at`, of the disk or the store, is the last one."""
    calls = FaultyOs(at, fault)
    disk.os = calls  # type: ignore[attr-defined]
    store = FolderStore(data / "store", calls)
    role = Loader(data / "spool", data / "load", store, Patience(threading.Event()), batch_events=5)
    while role.step():
        pass


STEPS: dict[str, tuple[Callable[..., Any], frozenset[str]]] = {
    "after write": (die_after, frozenset({"write"})),
    "before fsync": (die_before, frozenset({"fdatasync"})),
    "before the acknowledgement": (die_after, frozenset({"fdatasync"})),
}
"""Steps of the writer, as the fault of a file operation."""


def run_armed_writer(folder: Path, step: str, at: int, numbers: range, acknowledge: Connection) -> None:
    """Append these beacons, four at a time, and tell each acknowledgement. Dies at the `at`-th time of the step."""

    async def append(writer: SpoolWriter, number: int) -> None:
        await writer.append(make_line(number))
        acknowledge.send(number)

    async def work() -> None:
        writer = SpoolWriter(folder, segment_bytes=4096, segment_age_s=60)
        for first in numbers[::4]:
            await asyncio.gather(*[append(writer, number) for number in range(first, first + 4)])
        writer.close()

    fault, names = STEPS[step]
    disk.os = FaultyOs(at, fault, names=names)  # type: ignore[attr-defined]
    asyncio.run(work())


def run_armed_loader(config: Config, keyring: Keyring, step: str, at: int) -> None:
    """Run the role `load` and die at the `at`-th time of the step."""
    owner, name = {
        "after insert, before the cursor": (ClickHouseLanding, "insert"),
        "after the cursor, before unlink": (LoadJournal, "settle"),
    }[step]
    real, times = getattr(owner, name), itertools.count(1)

    def armed(*arguments: Any) -> Any:
        result = real(*arguments)
        if next(times) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, armed)
    loader.run_loader(config, keyring, threading.Event())


def run_role(config: Config, keyring: Keyring) -> None:
    """Run the role `load` until killed."""
    loader.run_loader(config, keyring, threading.Event())
