"""The file of a backup: a head that says what it is, and pieces that are compressed and sealed, one after the other.

    "tagstitch-backup\\n"  length  head (JSON)  { length  nonce  cipher text and tag }…

Lengths are 4 bytes, big end first. A piece is AES-256-GCM under a key made of the backup key and the backup's own id;
its number and the head's digest are bound to it, and the last one says that it is the last and how many rows there
were: so a piece cannot be changed, left out, put elsewhere or cut off. Inside: JSON of one line that says which table
and how many rows, then blocks of format Native, zstd.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, NamedTuple

import msgspec
import zstandard

from collector.backup.keys import BackupKey
from collector.errors import TagstitchError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"tagstitch-backup\n"
FORMAT = 1
NONCE_BYTES = 12
MAX_PIECE_BYTES = 1 << 30
END = ""


class DamagedBackup(TagstitchError):
    """A backup is not as it was written."""


class Head(msgspec.Struct, frozen=True):
    """What a backup says of itself in clear. `schema`: the last migration; `secrets_mark`: of the secrets of the
    instance, which it needs again."""

    format: int
    backup_id: str
    key_id: str
    instance_id: str
    secrets_mark: str
    schema: int
    made_at_ms: int


class Piece(msgspec.Struct, frozen=True):
    """What stands before the rows. `table` is END for the last piece, whose `rows` are those of all."""

    table: str
    columns: tuple[str, ...]
    rows: int


class ReadPiece(NamedTuple):
    """One piece, opened."""

    piece: Piece
    data: bytes


class ArchiveWriter:
    """Writes a backup. Not whole before `finish`."""

    def __init__(self, out: IO[bytes], head: Head, key: BackupKey) -> None:
        self._out = out
        self._cipher, self._bound, encoded = _make_cipher(head, key), _digest(head), msgspec.json.encode(head)
        self._number = 0
        self._pack = zstandard.ZstdCompressor(level=3)
        self.rows = 0
        out.write(MAGIC + len(encoded).to_bytes(4, "big") + encoded)

    def write(self, piece: Piece, data: bytes) -> int:
        """Write rows of a table. Returns the bytes that this took."""
        self.rows += piece.rows
        return self._write(piece, data)

    def finish(self) -> None:
        """Say that this was all."""
        self._write(Piece(END, (), self.rows), b"")

    def _write(self, piece: Piece, data: bytes) -> int:
        plain = msgspec.json.encode(piece) + b"\n" + self._pack.compress(data)
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, plain, self._bound + self._number.to_bytes(8, "big"))
        self._out.write(len(sealed).to_bytes(4, "big") + sealed)
        self._number += 1
        return len(sealed) + 4


def read_head(source: IO[bytes]) -> Head:
    """Return what a backup says of itself. Raises DamagedBackup."""
    if source.read(len(MAGIC)) != MAGIC:
        raise DamagedBackup("this is no backup of tagstitch")
    try:
        head = msgspec.json.decode(_read(source), type=Head)
    except msgspec.MsgspecError as error:
        raise DamagedBackup("the head of the backup is damaged") from error
    if head.format != FORMAT:
        raise DamagedBackup(f"the backup has format {head.format}, this version knows {FORMAT}: update")
    return head


def read_pieces(source: IO[bytes], head: Head, key: BackupKey) -> Iterator[ReadPiece]:
    """Yield the pieces behind the head. Raises DamagedBackup where anything was changed, or the end is missing."""
    from cryptography.exceptions import InvalidTag

    cipher, bound, rows, number = _make_cipher(head, key), _digest(head), 0, 0
    unpack = zstandard.ZstdDecompressor()
    while True:
        sealed = _read(source)
        try:
            plain = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound + number.to_bytes(8, "big"))
        except (InvalidTag, ValueError) as error:
            raise DamagedBackup(f"piece {number} of the backup is not as it was written") from error
        said, _, packed = plain.partition(b"\n")
        piece = msgspec.json.decode(said, type=Piece)
        number += 1
        if piece.table == END:
            if piece.rows != rows:
                raise DamagedBackup(f"the backup has {rows:,} rows and says {piece.rows:,}")
            return
        rows += piece.rows
        yield ReadPiece(piece, unpack.decompress(packed))


def mark_secrets(pseudonym_key: str) -> str:
    """Return a mark of the secrets that the rows of a backup need: 16 hexadecimal digits."""
    return hmac.new(pseudonym_key.encode(), b"tagstitch.backup", hashlib.sha256).hexdigest()[:16]


def _read(source: IO[bytes]) -> bytes:
    size = int.from_bytes(source.read(4), "big")
    data = source.read(size) if 0 < size <= MAX_PIECE_BYTES else b""
    if not data or len(data) != size:
        raise DamagedBackup("the backup ends before its end: it was not written to its end, or was cut off")
    return data


def _digest(head: Head) -> bytes:
    return hashlib.sha256(msgspec.json.encode(head)).digest()


def _make_cipher(head: Head, key: BackupKey) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(hmac.new(key.secret.encode(), f"backup|{head.backup_id}".encode(), hashlib.sha256).digest())
