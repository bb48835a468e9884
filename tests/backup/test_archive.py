"""The file of a backup: whole or refused, and noise without its key."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest

from collector.backup.archive import (
    FORMAT,
    MAGIC,
    ArchiveWriter,
    DamagedBackup,
    Head,
    Piece,
    mark_secrets,
    read_head,
    read_pieces,
)
from collector.backup.keys import DAY_MS, BackupKey, drop_old_keys, find_key, read_keys, take_key
from collector.errors import BackupError

KEY = BackupKey("k1", "a" * 64, 0, 10 * DAY_MS)
HEAD = Head(FORMAT, "b1", "k1", "i1", mark_secrets("secret"), 14, 0)
ROWS = [("events", b"one" * 1000), ("events", b"two" * 10), ("sites", b"three")]


def make(finish: bool = True) -> bytes:
    """Write a backup of three pieces."""
    out = io.BytesIO()
    archive = ArchiveWriter(out, HEAD, KEY)
    for table, data in ROWS:
        archive.write(Piece(table, ("a", "b"), len(data)), data)
    if finish:
        archive.finish()
    return out.getvalue()


def read(data: bytes, key: BackupKey = KEY) -> list[tuple[str, bytes]]:
    """Read it again."""
    source = io.BytesIO(data)
    head = read_head(source)
    return [(piece.table, rows) for piece, rows in read_pieces(source, head, key)]


def split(data: bytes) -> list[bytes]:
    """Return the head and the pieces, each with its length."""
    parts, at = [], len(MAGIC)
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at:end])
        at = end
    return parts


def test_what_was_written_is_read() -> None:
    """Every piece comes back, and nothing of it stands in the file in clear."""
    data = make()
    assert read(data) == ROWS
    assert b"events" not in data
    assert b"one" not in data


def test_a_backup_without_its_end_is_refused() -> None:
    """One that was not finished, and one that was cut off at any place."""
    with pytest.raises(DamagedBackup):
        read(make(finish=False))
    data = make()
    for end in range(0, len(data), 7):
        with pytest.raises(DamagedBackup):
            read(data[:end])


def test_a_changed_byte_is_found() -> None:
    """Wherever it is."""
    data = make()
    for at in range(0, len(data), 5):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises((DamagedBackup, BackupError)):
            read(bytes(changed))


def test_pieces_cannot_be_left_out_or_change_places() -> None:
    """Each is bound to its number and to the head."""
    head, first, second, third, end = split(make())
    for parts in ([head, second, first, third, end], [head, first, third, end], [head, first, first, second, end]):
        with pytest.raises(DamagedBackup):
            read(MAGIC + b"".join(parts))
    other = msgspec.json.encode(msgspec.structs.replace(HEAD, made_at_ms=1))
    with pytest.raises(DamagedBackup):
        read(MAGIC + len(other).to_bytes(4, "big") + other + first + second + third + end)


def test_another_key_opens_nothing() -> None:
    """A backup whose key is gone is noise."""
    with pytest.raises(DamagedBackup, match="piece 0"):
        read(make(), msgspec.structs.replace(KEY, secret="b" * 64))


def test_keys_age_out(tmp_path: Path) -> None:
    """A key serves a week of backups, lives as long as the last of them is kept, and is then destroyed."""
    path = tmp_path / "keys.json"
    first = take_key(path, 0, 35)
    assert path.stat().st_mode & 0o077 == 0
    assert take_key(path, 6 * DAY_MS, 35).id == first.id
    assert find_key(path, first.id).until_ms == 41 * DAY_MS
    second = take_key(path, 7 * DAY_MS, 35)
    assert second.id != first.id
    assert {key.id for key in drop_old_keys(path, 41 * DAY_MS - 1)} == {first.id, second.id}
    assert {key.id for key in drop_old_keys(path, 41 * DAY_MS)} == {second.id}
    assert first.secret.encode() not in path.read_bytes()
    with pytest.raises(BackupError, match="no key"):
        find_key(path, first.id)


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    """Whoever has them can read every backup."""
    path = tmp_path / "keys.json"
    take_key(path, 0, 35)
    path.chmod(0o644)
    with pytest.raises(BackupError, match="chmod 600"):
        read_keys(path)
    path.chmod(0o600)
    path.write_bytes(b"{")
    with pytest.raises(BackupError, match="damaged"):
        read_keys(path)
