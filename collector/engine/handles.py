"""Handles on the embedded ClickHouse, one for each request: settings, results into a pipe, inserts from chunks, cancel.

The only module that touches chdb. Invariants:

- One process, one path: `Chdb` is opened once, and a root handle stays open until `close`.
- A handle serves one statement at a time and is never shared between requests of different credentials: `SET` and
  `readonly` stick to it. What is lent again has answered nothing but the writer's questions, with the same settings.
- A result is never held in memory: the engine writes it, in the wanted format and complete with its head and foot,
  into a pipe (`INTO OUTFILE '/proc/self/fd/N'`). The pipe's other end is the response. A slow reader slows the
  query, nothing else.
- Every method that runs SQL blocks and gives the interpreter lock free: call it in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.engine.errors import QUERY_WAS_CANCELLED, QueryFailed, read_error
from collector.engine.lexer import quote

# What chdb sets for an interactive shell and a server does not, and what an embedded store must not do.
_BASE_SETTINGS = {
    "allow_introspection_functions": "0",
    "implicit_select": "0",
    "async_insert": "0",
    # What admission says about names holds for the new analyzer.
    "enable_analyzer": "1",
    "max_query_size": "4194304",
    "storage_file_read_method": "pread",
}

MOST_KEPT = 16
"""Handles that wait to be used again."""
Prepared = tuple[str, frozenset[tuple[str, str]]]
"""What a handle was brought to: its database, "" for the engine's own, and its settings beside the base ones."""
Progress = Callable[[dict[str, int]], None]


class EngineUnusable(Exception):
    """The data folder cannot be opened. `str(error)` is one line with the cause and the fix."""


@dataclass(slots=True)
class Outcome:
    """What a statement did. `body` is the result of a statement that could not go into a pipe."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    elapsed_ns: int = 0
    body: bytes = b""

    def as_summary(self) -> dict[str, str]:
        """Return the fields of `X-ClickHouse-Summary`, numbers as strings, as the server writes them."""
        return {
            "read_rows": str(self.read_rows),
            "read_bytes": str(self.read_bytes),
            "written_rows": str(self.written_rows),
            "written_bytes": str(self.written_bytes),
            "total_rows_to_read": "0",
            "result_rows": str(self.result_rows),
            "result_bytes": "0",
            "elapsed_ns": str(self.elapsed_ns),
        }


class Handle:
    """One connection to the engine in this process."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.cancelled = threading.Event()

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def set(self, settings: Mapping[str, str]) -> None:
        """Apply settings; `DEFAULT` as a value resets one. Raise `QueryFailed` for unknown names and bad values."""
        if settings:
            self._query(
                "SET "
                + ", ".join(
                    f"`{name}` = {value if value == 'DEFAULT' else quote(value)}" for name, value in settings.items()
                )
            )

    def use(self, database: str) -> None:
        """Make `database` the one that unqualified names belong to."""
        self._query(f"USE {quote_name(database)}")

    def rows(self, sql: str, parameters: Mapping[str, str] | None = None) -> list[list[str]]:
        """Run a small query and return its rows as text, escaped as TabSeparated has it."""
        text = self._query(sql, "TabSeparatedRaw", parameters).bytes().decode("utf-8", "replace")
        return [line.split("\t") for line in text.split("\n")[:-1]]

    def text(self, sql: str, parameters: Mapping[str, str] | None = None) -> str:
        """Run a small query and return its first column as one text, exactly as TSVRaw writes it."""
        return bytes(self._query(sql, "TSVRaw", parameters).bytes()).decode("utf-8", "replace")

    def run(self, sql: str, format_name: str, parameters: Mapping[str, str] | None = None) -> Outcome:
        """Run a statement whose result, if it has one, is small; the result is in `body`."""
        result = self._query(sql, format_name, parameters)
        return _outcome(result, bytes(result.bytes() or b""))

    def run_into(self, pipe: int, sql: str, format_name: str, parameters: Mapping[str, str] | None = None) -> Outcome:
        """Run a statement and have the engine write its result into the file descriptor `pipe`."""
        target = f"\nINTO OUTFILE '/proc/self/fd/{pipe}' APPEND FORMAT {quote_name(format_name)}"
        return _outcome(self._query(sql + target, "TabSeparated", parameters), b"")

    def insert(self, head: str, format_name: str, chunks: Iterable[bytes]) -> Outcome:
        """Run `INSERT INTO t (…)` with rows in `format_name`, all of them in memory first.

        From a file and not by chdb's `send_insert`, which reports success where a landing view threw or a constraint
        refused the rows: they were acknowledged and gone.
        """
        rows = os.memfd_create("insert")
        try:
            for chunk in chunks:
                self._check()
                view = memoryview(chunk)
                while view:
                    view = view[os.write(rows, view) :]
            os.lseek(rows, 0, os.SEEK_SET)
            source = f"{head}\nFROM INFILE '/proc/self/fd/{rows}' COMPRESSION 'none' FORMAT {quote_name(format_name)}"
            return _outcome(self._query(source), b"")
        finally:
            os.close(rows)

    def on_progress(self, callback: Progress | None) -> None:
        """Have `callback` called about every 100 ms while a statement runs, in the thread that runs it."""
        self._connection.set_progress_callback(callback)

    def _check(self) -> None:
        if self.cancelled.is_set():
            raise QueryFailed(QUERY_WAS_CANCELLED, "The statement was stopped.")

    def _query(self, sql: str, format_name: str = "TabSeparated", parameters: Mapping[str, str] | None = None) -> Any:
        self._check()
        try:
            result = self._connection.query(sql, format_name, params=dict(parameters or {}))
        except RuntimeError as error:
            raise read_error(str(error)) from None
        if result.has_error():
            raise read_error(str(result.error_message()))
        return result


def _outcome(result: Any, body: bytes) -> Outcome:
    return Outcome(
        read_rows=int(result.storage_rows_read()),
        read_bytes=int(result.storage_bytes_read()),
        written_rows=int(result.rows_written()),
        written_bytes=int(result.bytes_written()),
        result_rows=0 if result.rows_written() else int(result.rows_read()),
        elapsed_ns=int(result.elapsed() * 1e9),
        body=body,
    )


def quote_name(name: str) -> str:
    """Write an identifier in backticks."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Chdb:
    """The embedded engine on one path. Importing chdb starts threads: confine the process before."""

    def __init__(self, path: Path, defaults: Mapping[str, str] | None = None) -> None:
        import chdb

        # chdb's own Connection class hides what we need: classes of statements, progress, streaming inserts.
        native: Any = chdb._chdb
        native.reset_signal_handlers()
        self._connect = native.connect
        self._path = str(path)
        self._defaults = {**_BASE_SETTINGS, **(defaults or {})}
        said: list[str] = []
        try:
            with _catch_stderr(said):
                self._root = Handle(self._connect(self._path))
        except RuntimeError as error:
            raise EngineUnusable(_why_unusable(path, "".join(said) or str(error))) from None
        native.reset_signal_handlers()
        self._root_lock = threading.Lock()
        self._kept: list[tuple[Prepared, Handle]] = []
        self._kept_lock = threading.Lock()
        self.version, self.time_zone = self._root.rows("SELECT version(), timezone()")[0]

    def open(self) -> Handle:
        """Return a fresh handle with the base settings (0.4 ms)."""
        handle = Handle(self._connect(self._path))
        handle.set(self._defaults)
        return handle

    def lend(self, prepared: Prepared) -> Handle | None:
        """Return a handle that stands so already, where one was given back: it saves a third of a small question."""
        with self._kept_lock:
            for place, (known, handle) in enumerate(self._kept):
                if known == prepared:
                    del self._kept[place]
                    return handle
        return None

    def give_back(self, prepared: Prepared, handle: Handle) -> None:
        """Keep a handle for the next one that wants it so. Nothing but what `prepared` says may have been set."""
        handle.on_progress(None)
        with self._kept_lock:
            self._kept.append((prepared, handle))
            gone = self._kept[:-MOST_KEPT]
            del self._kept[:-MOST_KEPT]
        for _, oldest in gone:
            oldest.close()

    def kill(self, mark: str) -> None:
        """Stop what runs with `mark` at the start of its `log_comment`; does not wait for it."""
        with self._root_lock:
            self._root.run(f"KILL QUERY WHERE startsWith(Settings['log_comment'], {quote(mark)}) ASYNC", "TabSeparated")

    def close(self) -> None:
        """Flush and close the engine. No handle may be in use."""
        with self._kept_lock:
            for _, handle in self._kept:
                handle.close()
            self._kept.clear()
        with self._root_lock:
            self._root.close()


@contextlib.contextmanager
def _catch_stderr(said: list[str]) -> Iterator[None]:
    """Catch what chdb itself writes on standard error: there it says why it cannot open a folder."""
    kept = os.dup(2)
    caught = os.memfd_create("stderr")
    os.dup2(caught, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.lseek(caught, 0, os.SEEK_SET)
        said.append(os.read(caught, 65536).decode("utf-8", "replace"))
        os.close(caught)


def prepare_folder(path: Path) -> None:
    """Make the data folder, or raise `EngineUnusable` for one that is not the engine's, before it writes there."""
    if path.exists() and not path.is_dir():
        raise EngineUnusable(f"{path} is a file, and the engine needs a folder: name another one as its data folder")
    if not path.exists():
        try:
            path.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise EngineUnusable(
                f"{path} cannot be made ({error.strerror}): name a folder that can be written"
            ) from None
    names = {entry.name for entry in path.iterdir()}
    if names and not names & {"status", "store", "metadata"}:
        stranger = sorted(names)[0]
        raise EngineUnusable(
            f"{path} holds other files (such as {stranger}) and no ClickHouse data: name an empty folder"
        )


def _why_unusable(path: Path, message: str) -> str:
    """Say why the engine did not open. chdb names no reason when another process holds the path."""
    status = path / "status"
    if status.exists():
        with status.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return f"{path} is in use by another engine process: stop that one, or name another data folder"
    reason = " ".join(read_error(message.partition("Stack trace")[0]).reason.split()).strip(" .,")
    reason = reason or "chdb names no reason"
    return f"{path} cannot be opened ({reason[:300]}): restore it from a backup, or move it away and start anew"
