"""The index of a file of records: its keys and the fields that are read, in an SQLite file of the instance.

An index is made once for a state of the file and of the settings, which its name holds; it is never changed, and may
be read by many processes at once. It holds customers' records: only the instance's user can read it, and the last one
goes when its successor is there. What is large is indexed in a process of its own, so that who serves is not held up.

`main` is that process: it reads a Task from standard input, and writes an Outcome to standard output.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from collector.adapters.file_rows import RowPlan, Tally, make_encoder, read_rows
from collector.errors import AdapterError, AdapterReason

Made = TypeVar("Made")
FORMAT = 1
HERE_BYTES = 2_097_152
"""A file up to this size is indexed where it is wanted: a process takes longer to start."""
CACHE_KIB = 65_536
LAST = "\U0010ffff"
BATCH_ROWS = 10_000
CHUNK_ROWS = 1_000
POLL_S = 0.1

_START = "import sys; sys.path.insert(0, sys.argv.pop()); from collector.adapters.file_index import main; main()"


class Signature(NamedTuple):
    """A state of a file: as long as it is the same, so are the contents."""

    size: int
    mtime_ns: int
    inode: int


class Task(msgspec.Struct, frozen=True):
    """One index to be made. `target` does not exist yet."""

    plan: RowPlan
    target: str


class Outcome(msgspec.Struct, frozen=True):
    """How it went. `reason`: one of AdapterReason; empty: well."""

    tally: Tally = msgspec.field(default_factory=Tally)
    reason: str = ""
    message: str = ""


def name_index(plan: RowPlan, signature: Signature) -> str:
    """Return what tells this index from those of other states and settings: 16 hexadecimal digits."""
    said = msgspec.json.encode((FORMAT, plan, signature))
    return blake2b(said, digest_size=8, person=b"tagstitch.files").hexdigest()


def read_signature(path: str) -> Signature:
    """Return the state of the file. Raises AdapterError `unreachable`."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise AdapterError(AdapterReason.UNREACHABLE, f"{path} cannot be read: {error.strerror}") from None
    return Signature(status.st_size, status.st_mtime_ns, status.st_ino)


def build_index(task: Task) -> Tally:
    """Read the file and write the index, here. Raises AdapterError; then no target is left behind."""
    target = Path(task.target)
    target.unlink(missing_ok=True)
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        return _write_index(task, target)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error | OSError):
            message = f"the index of {task.plan.path} cannot be written: is the disk full? ({type(error).__name__})"
            raise AdapterError(AdapterReason.UNREACHABLE, message) from None
        raise


def build_apart(task: Task, is_given_up: Callable[[], bool]) -> Tally:
    """Make the index in a process of its own, which ends when `is_given_up` says so. Raises AdapterError."""
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _START, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    said: bytes | None = msgspec.json.encode(task)
    with process:
        try:
            while True:
                try:
                    answer, _ = process.communicate(said, timeout=POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    said = None
                    if is_given_up():
                        raise AdapterError(AdapterReason.UNREACHABLE, "the adapter was closed") from None
        finally:
            if process.poll() is None:
                process.kill()
    try:
        outcome = msgspec.json.decode(answer, type=Outcome)
    except msgspec.DecodeError:
        Path(task.target).unlink(missing_ok=True)
        message = f"the process that indexes {task.plan.path} died (status {process.returncode}): is memory short?"
        raise AdapterError(AdapterReason.UNREACHABLE, message) from None
    if outcome.reason:
        raise AdapterError(AdapterReason(outcome.reason), outcome.message)
    return outcome.tally


class FileIndex:
    """An index, opened. For one thread at a time."""

    def __init__(self, path: Path, plan: RowPlan, signature: Signature) -> None:
        """Raises sqlite3.Error for what is no index."""
        self.path = path
        self.plan = plan
        self.signature = signature
        # Immutable: no locks, and it may be read on when its successor has taken its place.
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        try:
            about = self._connection.execute("SELECT tally FROM about").fetchone()
            self.tally = msgspec.json.decode(about[0], type=Tally)
        except BaseException:
            self._connection.close()
            raise

    def find(self, key: str) -> list[list[Any]]:
        """Return the values of the rows with this key, two at most."""
        if not _is_text(key):
            return []
        if self.plan.ignore_case:
            key = key.casefold()
        rows = self._connection.execute("SELECT record FROM records WHERE key = ? LIMIT 2", (key,))
        return [msgspec.json.decode(row[0]) for row in rows]

    def search(self, terms: Sequence[tuple[int, str]], limit: int) -> list[tuple[str, list[Any]]]:
        """Return key and values of rows whose columns begin with the terms, whatever the case. `terms`: by position in
        the plan's columns, at least one."""
        if not all(_is_text(term) for _, term in terms):
            return []
        conditions, values = [], []
        for position, term in terms:
            place = self.plan.search.index(position)
            conditions.append(f"s{place} >= ? AND s{place} < ?")
            values += [term.casefold(), term.casefold() + LAST]
        sql = f"SELECT key, record FROM records WHERE {' AND '.join(conditions)} ORDER BY s{place}, key LIMIT ?"  # noqa: S608
        return [(key, msgspec.json.decode(record)) for key, record in self._connection.execute(sql, (*values, limit))]

    def scan(self, make: Callable[[str, list[Any]], Made]) -> Iterator[list[Made]]:
        """Yield what `make` makes of key and values of all rows, as they stand in the file, in batches."""
        cursor = self._connection.execute("SELECT key, record FROM records ORDER BY rowid")
        decode = msgspec.json.Decoder(list[Any]).decode
        batch: list[Made] = []
        # What is read is let go of while it is still in the processor's cache: that takes half the time.
        while rows := cursor.fetchmany(min(CHUNK_ROWS, BATCH_ROWS)):
            batch += [make(key, decode(record)) for key, record in rows]
            if len(batch) >= BATCH_ROWS:
                yield batch
                batch = []
        if batch:
            yield batch

    def open_again(self) -> FileIndex:
        """Return the same index, opened once more: for another thread. Raises sqlite3.Error where it has gone."""
        return FileIndex(self.path, self.plan, self.signature)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def _is_text(value: str) -> bool:
    """Whether it can stand in a file at all; half of a surrogate cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _write_index(task: Task, target: Path) -> Tally:
    tally, plan = Tally(), task.plan
    names = [f"s{place}" for place in range(len(plan.search))]
    connection = sqlite3.connect(target, isolation_level=None)
    try:
        # Nothing reads it before it is whole and synced, so nothing has to be taken back.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        columns = ["key TEXT NOT NULL", "record BLOB NOT NULL", *(f"{name} TEXT" for name in names)]
        connection.execute(f"CREATE TABLE records ({', '.join(columns)})")
        places = ", ".join("?" * (2 + len(names)))
        connection.executemany(f"INSERT INTO records VALUES ({places})", _make_rows(plan, tally))  # noqa: S608
        connection.execute("CREATE INDEX by_key ON records (key)")
        for name in names:
            connection.execute(f"CREATE INDEX by_{name} ON records ({name}, key)")
        distinct = connection.execute("SELECT count(DISTINCT key) FROM records").fetchone()[0]
        tally.doubled = tally.rows - distinct
        connection.execute("CREATE TABLE about (tally BLOB)")
        connection.execute("INSERT INTO about VALUES (?)", (msgspec.json.encode(tally),))
        connection.execute("COMMIT")
    finally:
        connection.close()
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return tally


def _make_rows(plan: RowPlan, tally: Tally) -> Iterator[tuple[Any, ...]]:
    encode = make_encoder()
    if not plan.search:
        for key, values in read_rows(plan, tally):
            yield key, encode(values)
        return
    for key, values in read_rows(plan, tally):
        found = (values[position] for position in plan.search)
        yield key, encode(values), *(None if value is None else str(value).casefold() for value in found)


def main() -> None:
    """Make one index, as politely as can be."""
    os.nice(10)
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    try:
        outcome = Outcome(build_index(task))
    except AdapterError as error:
        outcome = Outcome(reason=str(error.reason), message=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
