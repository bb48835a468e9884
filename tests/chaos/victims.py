"""Processes that are made to die at the n-th file operation or store call. Run by the chaos tests, one at a time."""

from __future__ import annotations

import asyncio
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
from collector.load.loader import Loader
from collector.load.patience import Patience
from collector.spool.writer import SpoolWriter
from tests.faulty_disk import FaultyOs
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


def run_role(config: Config, keyring: Keyring) -> None:
    """Run the role `load` until killed."""
    loader.run_loader(config, keyring, threading.Event())
