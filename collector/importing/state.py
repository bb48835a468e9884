"""What an import must not forget: `import/<id>/state.json`, synced.

The id is a digest of the file's content and of what it is read by, so the same import started again finds its own
state, wherever the file lies now. Phases: `sort` (from the beginning after a crash), `spool` (month by month, from
`offset` of `month` on), `done`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector import disk
from collector.errors import ImportFileError

FOLDER_NAME = "import"
STATE_NAME = "state.json"
READ_BYTES = 1_048_576


class ImportState(msgspec.Struct):
    """How far one import is. `rejected_bytes`: of the file of refused rows, written so far."""

    file: str
    phase: str = "sort"
    month: str = ""
    offset: int = 0
    rows: int = 0  # of the source
    calls: int = 0  # that were sorted
    spooled: int = 0  # of those: judged, and in the spool or refused
    events: int = 0
    rejected_bytes: int = 0
    reasons: dict[str, int] = {}

    @property
    def rejected(self) -> int:
        """Rows that were refused."""
        return sum(self.reasons.values())


def make_import_id(path: Path, options: object, read_bytes: Callable[[int], None] = lambda _: None) -> str:
    """Return the id: 16 hexadecimal digits. Reads the whole file. Raises ImportFileError."""
    digest = hashlib.blake2b(msgspec.json.encode(options, order="deterministic"), digest_size=8)
    size = 0
    try:
        with path.open("rb") as file:
            while data := file.read(READ_BYTES):
                digest.update(data)
                size += len(data)
                read_bytes(size)
    except OSError as error:
        raise ImportFileError(path, f"it cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def read_state(folder: Path, path: Path) -> ImportState:
    """Return the state in the folder, a new one where there is none. Raises ImportFileError, OSError."""
    try:
        return msgspec.json.decode((folder / STATE_NAME).read_bytes(), type=ImportState)
    except FileNotFoundError:
        return ImportState(path.name)
    except msgspec.MsgspecError as error:
        raise ImportFileError(
            path, f"the record of its import is damaged: remove {folder} and import it again"
        ) from error


def write_state(folder: Path, state: ImportState) -> None:
    """Keep the state. Raises OSError."""
    disk.write_file(folder / STATE_NAME, msgspec.json.encode(state))
