"""Backups that are over their time: their key is destroyed, and they are removed where they lie."""

from __future__ import annotations

from pathlib import Path

from collector.backup.archive import DamagedBackup, read_head
from collector.backup.keys import drop_old_keys

SUFFIX = ".tsb"


def remove_old(folder: Path, keys: Path, now_ms: int) -> list[str]:
    """Destroy keys whose time is over, and remove the backups in a folder that no key opens any more. Returns their
    names. What is no backup stays. Raises BackupError."""
    known = {key.id for key in drop_old_keys(keys, now_ms)}
    removed = []
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        try:
            with path.open("rb") as source:
                head = read_head(source)
        except (OSError, DamagedBackup):
            continue
        if head.key_id not in known:
            path.unlink(missing_ok=True)
            removed.append(path.name)
    return removed
