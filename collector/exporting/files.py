"""The file of an export: CSV, CSV with gzip, or Parquet. There is the whole of it under its name, or none.

Rows go into `NAME.part` beside it, which is renamed at the end. Who is killed leaves that one behind, and the next
export to the same name writes over it. Two at a time are told apart by a lock. Only the owner may read the file.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import gzip
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from collector.errors import TagstitchError
from collector.exporting.columns import Column, make_schema, write_cell

ENDINGS = (".csv.gz", ".csv", ".parquet")
ROWS_PER_GROUP = 100_000
"""Of Parquet: so many are held in memory."""


class ExportError(TagstitchError):
    """An export cannot be made, or not be written. No file was left under its name."""


class Writer(Protocol):
    """Writes rows of one export."""

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write some more. Raises OSError."""

    def close(self) -> None:
        """Write what is left. Raises OSError."""


class CsvWriter:
    """RFC 4180, UTF-8, with a line of names. Texts that begin like a formula get an apostrophe."""

    def __init__(self, out: IO[bytes], columns: tuple[Column, ...]) -> None:
        self._text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=False)
        self._csv = csv.writer(self._text, lineterminator="\r\n")
        self._cells = [write_cell(column.kind) for column in columns]
        self._csv.writerow([column.name for column in columns])

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write some more."""
        if rows:
            columns = [map(write, values) for write, values in zip(self._cells, zip(*rows, strict=True), strict=True)]
            self._csv.writerows(zip(*columns, strict=True))

    def close(self) -> None:
        """Write what is left; the file stays open."""
        self._text.flush()
        self._text.detach()


class GzipWriter(CsvWriter):
    """The same, with gzip around it. The same rows give the same bytes."""

    def __init__(self, out: IO[bytes], columns: tuple[Column, ...]) -> None:
        self._gzip = gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, filename="", mtime=0)
        super().__init__(self._gzip, columns)  # type: ignore[arg-type]

    def close(self) -> None:
        """Write what is left; the file stays open."""
        super().close()
        self._gzip.close()


class ParquetWriter:
    """Parquet with typed columns, zstd."""

    def __init__(self, out: IO[bytes], columns: tuple[Column, ...]) -> None:
        from pyarrow import parquet

        self._schema = make_schema(columns)
        self._file = parquet.ParquetWriter(out, self._schema, compression="zstd")
        self._rows: list[tuple[Any, ...]] = []

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write some more, a group at a time."""
        self._rows += rows
        if len(self._rows) >= ROWS_PER_GROUP:
            self._write_group()

    def close(self) -> None:
        """Write what is left; the file stays open."""
        if self._rows:
            self._write_group()
        self._file.close()

    def _write_group(self) -> None:
        import pyarrow as pa

        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(values, type=field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._file.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows = []


def make_writer(name: str, out: IO[bytes], columns: tuple[Column, ...]) -> Writer:
    """Return what writes a file of this name, by its ending; anything else is CSV."""
    if name.endswith(".parquet"):
        return ParquetWriter(out, columns)
    return GzipWriter(out, columns) if name.endswith(".gz") else CsvWriter(out, columns)


def find_form(name: str) -> str:
    """Return of which form a file of this name is: csv, csv.gz or parquet."""
    return next((ending[1:] for ending in ENDINGS if name.endswith(ending)), "csv")


def check_target(path: Path, *, replaces: bool) -> None:
    """Raise ExportError where a file cannot be written under this name: found before anything is read."""
    if not path.name.endswith(ENDINGS) or path.name in ENDINGS:
        raise ExportError(f"{path}: the name must end with .csv, .csv.gz or .parquet; - is CSV to standard output")
    if not path.parent.is_dir():
        raise ExportError(f"{path}: there is no folder {path.parent}: make it first")
    if path.is_dir():
        raise ExportError(f"{path} is a folder: name a file in it")
    if path.exists() and not replaces:
        raise ExportError(f"{path} is there already: say --force to replace it, or another name")


@contextlib.contextmanager
def open_part(path: Path) -> Iterator[IO[bytes]]:
    """Open the file beside `path`, which is gone at the end unless it was renamed. Raises ExportError."""
    part = path.with_name(f"{path.name}.part")
    try:
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise explain(path, error) from None
    with os.fdopen(handle, "r+b") as out:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ExportError(f"{path}: another export is writing this file: wait for it, or name another") from None
        if not _is_at(handle, part):  # the other one has just given it its name
            raise ExportError(f"{path}: another export has written this file just now: look at it first")
        try:
            os.fchmod(handle, 0o600)
            out.truncate(0)
            yield out
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
            raise


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def show(path: Path, out: IO[bytes], *, replaces: bool) -> None:
    """Give what was written its name. Raises ExportError, OSError."""
    part = path.with_name(f"{path.name}.part")
    check_target(path, replaces=replaces)
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def explain(path: Path | str, error: OSError) -> ExportError:
    """Return an error of the file system in words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ExportError(f"{path}: the disk is full: make room, or write to another disk; nothing was left there")
    return ExportError(f"{path}: cannot be written ({error.strerror or type(error).__name__})")
