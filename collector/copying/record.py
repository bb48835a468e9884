"""How far a copy has come: `copy/record.json` in the data folder, synced before and after every piece.

Invariants
    1. `begun` is on disk before a piece is sent, and how far the piece reaches is on disk after it has landed: after
       a kill at any instruction at most one piece is in doubt, and its bounds are known.
    2. A record belongs to one target; another target needs another record.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from collector import disk
from collector.errors import InstanceBusy, InstanceError

FOLDER_NAME = "copy"
RECORD_NAME = "record.json"
LOCK_NAME = "lock"


class Piece(msgspec.Struct, frozen=True):
    """Rows of one table, one partition and one host: those of batches `first` … `last`, both included."""

    table: str
    partition: str
    host: str
    first: int
    last: int

    @property
    def lane(self) -> str:
        """Pieces of one lane are copied in the order of their batches."""
        return f"{self.table}/{self.partition}/{self.host}"


class CopyState(msgspec.Struct):
    """`copied`: the last batch of each lane that is at the target. `begun`: the piece whose fate may not be known."""

    target: str
    copied: dict[str, int] = {}
    begun: Piece | None = None
    finished_at_ms: int = 0


class CopyRecord:
    """The record of one copy. Holds the folder's lock, so that one copy runs at a time."""

    def __init__(self, data: Path, target: str) -> None:
        """Open or make the record. `target`: the address without user and password.

        Raises InstanceBusy where another copy runs, InstanceError where a copy to another target was begun.
        """
        self._folder = data / FOLDER_NAME
        self._path = self._folder / RECORD_NAME
        disk.make_folder(self._folder)
        lock = disk.take_lock(self._folder / LOCK_NAME)
        if lock is None:
            raise InstanceBusy(data, "another `tagstitch copy` runs on it: let that one finish, or stop it")
        self._lock = lock
        try:
            self.is_new = not self._path.exists()
            self.state = CopyState(target) if self.is_new else self._read(target)
        except BaseException:
            self.close()
            raise

    def begin(self, piece: Piece) -> None:
        """Note that the piece is going to be sent."""
        self.state.begun = piece
        self._write()

    def finish_piece(self, piece: Piece) -> None:
        """Note that the piece is at the target."""
        self.state.copied[piece.lane] = piece.last
        self.state.begun = None
        self._write()

    def find_copied(self, piece: Piece) -> int:
        """Return the last batch of the piece's lane that is at the target; 0 where none is."""
        return self.state.copied.get(piece.lane, 0)

    def keep(self, finished_at_ms: int = 0) -> None:
        """Write the record as it stands. `finished_at_ms`: when both stores were found equal; 0: not yet."""
        self.state.finished_at_ms = finished_at_ms
        self._write()

    def close(self) -> None:
        """Give the lock back."""
        disk.close(self._lock)

    def _read(self, target: str) -> CopyState:
        try:
            state = msgspec.json.decode(self._path.read_bytes(), type=CopyState)
        except msgspec.MsgspecError as error:
            raise InstanceError(
                self._folder, f"its {RECORD_NAME} is damaged: empty the target's database and copy with --restart"
            ) from error
        if state.target != target:
            raise InstanceError(
                self._folder, f"a copy to {state.target} was begun: finish that one, or give it up with --restart"
            )
        return state

    def _write(self) -> None:
        disk.write_file(self._path, msgspec.json.encode(self.state))


def forget_record(data: Path) -> None:
    """Remove the record of a copy that was given up. Raises InstanceBusy where it runs."""
    folder = data / FOLDER_NAME
    if not folder.is_dir():
        return
    lock = disk.take_lock(folder / LOCK_NAME)
    if lock is None:
        raise InstanceBusy(data, "a `tagstitch copy` runs on it: stop that one first")
    try:
        disk.unlink(folder / RECORD_NAME)
        disk.sync_folder(folder)
    finally:
        disk.close(lock)
