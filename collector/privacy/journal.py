"""The journal of erasures: what every erasure closed, outside of the store, for backups that are older than it.

`erasures.jsonl` in the instance's folder and in the folder of backups, one line for each erasure: its tombstones, which
are hashes that lead back to nobody. Written and synced before anything is erased. Whoever brings a backup back erases
by it again. It only grows, a few hundred bytes for each person.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from collector import disk
from collector.config import Config
from collector.logs import get_logger

FILE_NAME = "erasures.jsonl"


class JournalEntry(msgspec.Struct, frozen=True):
    """One erasure. `tombstones`: rows as the table has them, without space and request. Times in milliseconds."""

    request_id: str
    space_id: str
    at_ms: int
    tombstones: tuple[dict[str, Any], ...]


def find_backups(config: Config) -> Path:
    """Return the folder of backups."""
    return Path(config.backup_dir) if config.backup_dir else config.data_path / "backups"


def note_erasure(config: Config, entry: JournalEntry) -> tuple[str, ...]:
    """Write an entry into all journals. Returns where that was not possible: a folder of backups may be away. Raises
    OSError where the instance's own folder does not take it."""
    line = msgspec.json.encode(entry) + b"\n"
    if config.data_path.is_dir():
        _append(config.data_path / FILE_NAME, line)
    folder = find_backups(config)
    if not folder.is_dir():
        return (str(folder),) if config.backup_dir else ()
    try:
        _append(folder / FILE_NAME, line)
    except OSError as error:
        get_logger().warning("the journal of erasures in the folder of backups cannot be written", reason=str(error))
        return (str(folder),)
    return ()


def read_journal(paths: Iterable[Path]) -> Mapping[str, JournalEntry]:
    """Return the entries of these journals, by request; of one that was tried twice the later one. A torn last line, of
    a power cut, is left out. Raises OSError."""
    found: dict[str, JournalEntry] = {}
    for path in paths:
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                entry = msgspec.json.decode(line, type=JournalEntry)
            except msgspec.MsgspecError:
                continue
            known = found.get(entry.request_id)
            if known is None or known.at_ms <= entry.at_ms:
                found[entry.request_id] = entry
    return found


def _append(path: Path, line: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        disk.write_all(fd, line)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.sync_folder(path.parent)
