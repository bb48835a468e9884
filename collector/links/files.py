"""Lists of recipients as files: read some thousand rows at a time, and written with further columns behind their own.

CSV is UTF-8, with or without a byte order mark, its cells parted by comma, semicolon, tab or bar, its quotes those of
RFC 4180; with the ending `.gz` it is packed. Parquet is read and written in row groups. Rows keep their order, cells
their text. What is read is bounded by a batch, however long the list is; a line or cell that never ends is refused.
A file is written beside its name and takes it at the end, so that nobody uploads half a list. Every problem is a
ListFileError that names file, line and fix.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import os
import secrets
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal

from collector.errors import ListFileError

if TYPE_CHECKING:
    import pyarrow as pa

Form = Literal["csv", "parquet"]
PIPE = Path("-")
DELIMITERS = (",", ";", "\t", "|")
MAX_LINE_BYTES = 1_048_576
MAX_COLUMNS = 1_000
CSV_ROWS, PARQUET_ROWS = 8_192, 65_536
"""Rows of a batch."""
BATCH_BYTES = 8_388_608
"""A batch of CSV ends there too; a row that is twice as long is none."""
_BOM = "\ufeff"


@dataclass(slots=True)
class Batch:
    """Some rows of a list, as their form has them. `lines`: where each ends in the file; Parquet: its number from 1."""

    rows: list[list[str]] | pa.RecordBatch
    lines: Sequence[int]
    source: Path = PIPE

    def pick(self, column: int) -> list[str]:
        """Return the cells of a column as texts; "" for none. Raises ListFileError where Parquet holds what is none."""
        if isinstance(self.rows, list):
            return [row[column] for row in self.rows]
        try:
            return [write_cell(value) for value in self.rows.column(column).to_pylist()]
        except (ValueError, OverflowError):  # no UTF-8, or a time that is none: the file says that it is
            place = f"column {self.rows.schema.names[column]!r} from row {self.lines[0]} on"
            raise ListFileError(self.source, f"{place} holds what its type cannot: write the file anew") from None

    def read_rows(self) -> list[list[str]]:
        """Return all cells as texts. Raises ListFileError."""
        if isinstance(self.rows, list):
            return self.rows
        columns = [self.pick(column) for column in range(self.rows.num_columns)]
        return [list(row) for row in zip(*columns, strict=True)]


def find_form(path: Path) -> Form:
    """Return what a file is by its name; CSV where that says nothing."""
    return "parquet" if path.suffix.lower() in (".parquet", ".pq") else "csv"


def write_cell(value: object) -> str:
    """Return a value of Parquet as text. A whole number stays one where a table made a float of it, as pandas does."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class ListReader:
    """A list that is open. `columns`: its names. `total` and `done`: bytes or rows, for a bar; total 0: not known."""

    def __init__(self, path: Path, form: Form, delimiter: str = "") -> None:
        """Open it and read its header; `-` is standard input. `delimiter`: of CSV; empty: found. Raises
        ListFileError."""
        self.path = path
        self.form = form
        self.delimiter = delimiter
        self.has_mark = False
        self.line_end = "\n"
        self.columns: list[str] = []
        self.total = 0
        self._line = 0
        self._held_bytes = 0  # read, and in no batch yet
        self._rows_done = 0
        self._raw: IO[bytes] | None = None
        try:
            with self._explain():
                if form == "parquet":
                    self._open_parquet()
                else:
                    self._open_csv()
            self._check_header()
        except BaseException:
            self.close()
            raise

    @property
    def done(self) -> int:
        """How much of it is read."""
        if self.form == "parquet" or not self.total:
            return self._rows_done
        return self._raw.tell() if self._raw is not None else 0

    @property
    def schema(self) -> pa.Schema | None:
        """Names and types of a Parquet file's columns."""
        return self._parquet.schema_arrow if self.form == "parquet" else None

    def read(self) -> Iterator[Batch]:
        """Yield the rows. Raises ListFileError."""
        with self._explain():
            yield from self._read_parquet() if self.form == "parquet" else self._read_csv()

    def close(self) -> None:
        """Close the file."""
        if self._raw is not None and self.path != PIPE:
            self._raw.close()

    def __enter__(self) -> ListReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except csv.Error as error:
            raise ListFileError(self.path, f"line {self._line}: {_explain_csv(error)}") from None
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise ListFileError(self.path, "is damaged, or no file of gzip: pack it again") from None
        except OSError as error:
            raise ListFileError(self.path, f"cannot be read: {error.strerror or error}") from None

    def _check_header(self) -> None:
        if not any(name.strip() for name in self.columns):
            raise ListFileError(self.path, "has no header: its first row must name the columns")
        if len(self.columns) > MAX_COLUMNS:
            raise ListFileError(self.path, f"has more than {MAX_COLUMNS} columns: is it a list?")

    # --- CSV ---

    def _open_csv(self) -> None:
        raw: Any = sys.stdin.buffer if self.path == PIPE else self.path.open("rb")
        self._raw = raw
        if self.path != PIPE:
            self.total = os.fstat(raw.fileno()).st_size
        packed = self.path.suffix.lower() == ".gz"
        self._file: Any = BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw
        self._lines = self._read_lines()
        first = next(self._lines, "")
        self.has_mark = first.startswith(_BOM)
        first = first.removeprefix(_BOM)
        self.line_end = "\r\n" if first.endswith("\r\n") else "\n"
        self.delimiter = self.delimiter or find_delimiter(first)
        self._cells = csv.reader(_chain(first, self._lines), delimiter=self.delimiter, strict=True)
        self.columns = next(self._cells, [])

    def _read_lines(self) -> Iterator[str]:
        read = self._file.readline
        while line := read(MAX_LINE_BYTES):
            self._line += 1
            self._held_bytes += len(line)
            if self._held_bytes > 2 * BATCH_BYTES:
                raise ListFileError(self.path, f"line {self._line} is in a row that never ends: is it a list?")
            if len(line) == MAX_LINE_BYTES:
                raise ListFileError(self.path, f"line {self._line} has more than {MAX_LINE_BYTES} bytes: is it a list?")
            try:
                yield line.decode()
            except UnicodeDecodeError:
                raise ListFileError(
                    self.path, f"line {self._line} is not UTF-8 text: save the list as “CSV UTF-8”"
                ) from None

    def _read_csv(self) -> Iterator[Batch]:
        width = len(self.columns)
        rows: list[list[str]] = []
        lines: list[int] = []
        for row in self._cells:
            if len(row) != width:
                if not row:  # a blank line
                    continue
                self._fit(row, width)
            rows.append(row)
            lines.append(self._line)
            if len(rows) == CSV_ROWS or self._held_bytes >= BATCH_BYTES:
                self._rows_done += len(rows)
                yield Batch(rows, lines, self.path)
                rows, lines, self._held_bytes = [], [], 0
        if rows:
            self._rows_done += len(rows)
            yield Batch(rows, lines, self.path)

    def _fit(self, row: list[str], width: int) -> None:
        """Give a row as many cells as the header has. Raises ListFileError where it holds more than that."""
        if any(row[width:]):
            raise ListFileError(
                self.path,
                f"line {self._line} has {len(row)} cells, the header {width}: put cells that hold a {self.delimiter!r} "
                "into quotes",
            )
        row[:] = row[:width] + [""] * (width - len(row))

    # --- Parquet ---

    def _open_parquet(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.path == PIPE:
            raise ListFileError(self.path, "Parquet cannot come from a pipe: name a file")
        self._raw = self.path.open("rb")
        try:
            self._parquet = pq.ParquetFile(self._raw)
        except pa.ArrowException as error:
            raise ListFileError(self.path, f"is no Parquet file: {_first_line(error)}") from None
        self.columns = list(self._parquet.schema_arrow.names)
        self.total = self._parquet.metadata.num_rows

    def _read_parquet(self) -> Iterator[Batch]:
        import pyarrow as pa

        try:
            for batch in self._parquet.iter_batches(batch_size=PARQUET_ROWS):
                first = self._rows_done + 1
                self._rows_done += batch.num_rows
                yield Batch(batch, range(first, first + batch.num_rows), self.path)
        except pa.ArrowException as error:
            raise ListFileError(self.path, f"row {self._rows_done + 1}: {_first_line(error)}") from None


class ListWriter:
    """A list on its way out. As a context it takes its name at the end, or leaves nothing where something fails."""

    def __init__(
        self, path: Path, form: Form, source: ListReader, columns: Sequence[str], *, is_replacing: bool = False
    ) -> None:
        """`columns`: those that come behind the source's. `-` is standard output. Raises ListFileError where the file
        is there already, unless it is to be replaced."""
        if path == PIPE and form == "parquet":
            raise ListFileError(path, "Parquet cannot go into a pipe: name a file")
        if path != PIPE and path.exists() and not is_replacing:
            raise ListFileError(path, "is there already: choose another name, or replace it with --force")
        self.path = path
        self._form = form
        self._draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        self._schema: pa.Schema | None = None
        with self._explain():
            self._raw: Any = sys.stdout.buffer if path == PIPE else self._create()
            try:
                if form == "parquet":
                    self._begin_parquet(source, columns)
                else:
                    self._begin_csv(source, columns)
            except BaseException:
                self._drop()
                raise

    def write(self, batch: Batch, columns: Sequence[Sequence[str]]) -> None:
        """Write rows with their further cells, a sequence for each column. Raises ListFileError."""
        with self._explain():
            if self._form == "parquet":
                self._write_parquet(batch, columns)
                return
            self._cells.writerows([*row, *new] for row, *new in zip(batch.read_rows(), *columns, strict=True))

    def __enter__(self) -> ListWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._drop()
            return
        try:
            with self._explain():
                self._finish()
        except ListFileError:
            self._drop()
            raise

    def _create(self) -> IO[bytes]:
        # For its owner alone: it names customers, and its links are bearer tokens.
        fd = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        return os.fdopen(fd, "wb")

    def _begin_csv(self, source: ListReader, columns: Sequence[str]) -> None:
        is_packed = self.path.suffix.lower() == ".gz"
        self._packed = gzip.GzipFile(fileobj=self._raw, mode="wb", compresslevel=5, filename="") if is_packed else None
        self._text = TextIOWrapper(self._packed or self._raw, encoding="utf-8", newline="", write_through=False)
        if source.has_mark:
            self._text.write(_BOM)
        self._cells = csv.writer(self._text, delimiter=source.delimiter or ",", lineterminator=source.line_end)
        self._cells.writerow([*source.columns, *columns])

    def _begin_parquet(self, source: ListReader, columns: Sequence[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        new = [pa.field(name, pa.string()) for name in columns]
        known = source.schema
        old = [pa.field(name, pa.string()) for name in source.columns] if known is None else list(known)
        self._schema = pa.schema([*old, *new], metadata=None if known is None else known.metadata)
        self._parquet = pq.ParquetWriter(self._raw, self._schema)

    def _write_parquet(self, batch: Batch, columns: Sequence[Sequence[str]]) -> None:
        import pyarrow as pa

        if isinstance(batch.rows, list):
            old = [pa.array(cells, pa.string()) for cells in zip(*batch.rows, strict=True)]
        else:
            old = batch.rows.columns
        new = [pa.array(cells, pa.string()) for cells in columns]
        self._parquet.write_batch(pa.record_batch([*old, *new], schema=self._schema))

    def _finish(self) -> None:
        if self._form == "parquet":
            self._parquet.close()
        else:
            self._text.detach()  # and flush
            if self._packed is not None:
                self._packed.close()
            self._raw.flush()
        if self.path == PIPE:
            return
        self._raw.close()
        with self._draft.open("rb") as file:
            os.fsync(file.fileno())
        self._draft.replace(self.path)

    def _drop(self) -> None:
        if self.path == PIPE:
            # Closing the wrapper would close standard output itself; whoever read it may have gone.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                self._text.detach()
            return
        for file in (*(getattr(self, name, None) for name in ("_parquet", "_text", "_packed")), self._raw):
            if file is not None:
                with contextlib.suppress(OSError, ValueError):
                    file.close()
        self._draft.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ListFileError(self.path, f"cannot be written: {error.strerror or error}") from None


def find_delimiter(header: str) -> str:
    """Return what parts the cells of a header: of what stands outside quotes, the most frequent; a comma for none."""
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=lambda sign: (outside.count(sign), sign == ","))


def _chain(first: str, lines: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from lines


def _explain_csv(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end" in text or "field larger" in text:
        return "a quotation mark is opened and not closed, or a cell is larger than 128 KB: close it"
    if "new-line" in text:
        return "lines end as those of old Macs do: save the list as “CSV UTF-8”"
    if "NUL" in text:
        return "it is no text: save the list as “CSV UTF-8”"
    return "a quotation mark stands in the middle of a cell: double it, and put the cell into quotes"


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]
