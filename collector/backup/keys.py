"""Keys of backups: each seals the backups of some days, and is destroyed when these are too old to be kept.

A backup whose key is gone is noise, wherever its copies lie. The keys stand in a file of their own (`backup_keys.json`
in the instance's folder, or the setting `backup_keys_file`), mode 0600: without it no backup can be brought back, so it
is kept somewhere else as well, and its copies must not outlive it.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from collector import disk
from collector.config import Config
from collector.errors import BackupError

DAY_MS = 86_400_000
KEY_DAYS = 7
"""A new key after so many days, so that not all backups depend on one."""
FILE_NAME = "backup_keys.json"


class BackupKey(msgspec.Struct, frozen=True):
    """One key. `until_ms`: when it is destroyed, milliseconds since 1970."""

    id: str
    secret: str
    made_at_ms: int
    until_ms: int


def find_path(config: Config) -> Path:
    """Return where the keys stand."""
    return Path(config.backup_keys_file) if config.backup_keys_file else config.data_path / FILE_NAME


def read_keys(path: Path) -> list[BackupKey]:
    """Return the keys, none where there is no file. Raises BackupError where it cannot be used."""
    try:
        if path.stat().st_mode & 0o077:
            raise BackupError(path, "it can be read by others: chmod 600 it")
        return msgspec.json.decode(path.read_bytes(), type=list[BackupKey])
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BackupError(path, f"the keys of backups cannot be read: {error.strerror or error}") from error
    except msgspec.MsgspecError as error:
        raise BackupError(path, "the keys of backups are damaged: restore them from where you keep them") from error


def take_key(path: Path, now_ms: int, keep_days: int) -> BackupKey:
    """Return the key for a backup that is made now, a new one where the last is KEY_DAYS old. Raises BackupError.

    It lives `keep_days` from now: that is how long the backup can be brought back.
    """
    keys = drop_old_keys(path, now_ms)
    until_ms = now_ms + keep_days * DAY_MS
    newest = max(keys, key=lambda key: key.made_at_ms, default=None)
    if newest is None or now_ms - newest.made_at_ms >= KEY_DAYS * DAY_MS:
        newest = BackupKey(secrets.token_hex(4), secrets.token_hex(32), now_ms, until_ms)
        keys.append(newest)
    else:
        newest = msgspec.structs.replace(newest, until_ms=max(newest.until_ms, until_ms))
        keys = [newest if key.id == newest.id else key for key in keys]
    _write(path, keys)
    return newest


def drop_old_keys(path: Path, now_ms: int) -> list[BackupKey]:
    """Destroy keys whose time is over, and return the others. Raises BackupError."""
    keys = read_keys(path)
    kept = [key for key in keys if key.until_ms > now_ms]
    if len(kept) < len(keys):
        _write(path, kept)
    return kept


def find_key(path: Path, key_id: str) -> BackupKey:
    """Return a key. Raises BackupError where it is gone: then the backup cannot be brought back."""
    for key in read_keys(path):
        if key.id == key_id:
            return key
    raise BackupError(
        path, f"it has no key {key_id}: the backup is older than it was to be kept, or its keys are somewhere else"
    )


def _write(path: Path, keys: list[BackupKey]) -> None:
    try:
        disk.make_folder(path.parent)
        disk.write_file(path, msgspec.json.format(msgspec.json.encode(keys), indent=2))
        path.chmod(0o600)
    except OSError as error:
        raise BackupError(path, f"the keys of backups cannot be written: {error.strerror or error}") from error
