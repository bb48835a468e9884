"""Reads rows of JSON lines, CSV and Parquet files, one after the other, in bounded memory.

A row is a mapping of column names to values. What cannot be read is a row too, with the reason: the rest of the file
goes on. Of JSON lines and CSV the file may be compressed with gzip. Memory: one row of at most MAX_ROW_BYTES; of
Parquet, PARQUET_ROWS rows and what the reader needs for one row group.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import msgspec

from collector.accept.decode import read_json
from collector.errors import ImportFileError
from collector.event import Rejected
from collector.reasons import Reason

if TYPE_CHECKING:
    import pyarrow

Form = Literal["jsonl", "csv", "parquet"]
MAX_ROW_BYTES = 1_048_576
PARQUET_ROWS = 1_000
TELL_ROWS = 256
SUFFIXES: dict[str, Form] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
_OBJECTS = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `number`: line of JSON lines and CSV, row of Parquet, from 1. `values`: its columns, or why not.

    `text`: the row as JSON, so that it can be put right; "" where it is none.
    """

    number: int
    values: dict[str, Any] | Rejected
    text: str = ""


def find_form(path: Path) -> Form:
    """Return the form of a file by its name. Raises ImportFileError where the name does not say it."""
    form = SUFFIXES.get(_find_suffix(path))
    if form is None:
        raise ImportFileError(path, "its name does not say what it is: give --format jsonl, csv or parquet")
    return form


def read_rows(
    path: Path, form: Form, *, delimiter: str = "", read_bytes: Callable[[int], None] = lambda _: None
) -> Iterator[Row]:
    """Read the rows of a file in their order.

    `delimiter`: of CSV; "": a comma, a tab for `.tsv`. `read_bytes` hears how far in the file it has come. Raises
    ImportFileError where the file cannot be read at all, or not any further.
    """
    try:
        with path.open("rb") as raw:
            if form == "parquet":
                yield from _read_parquet(raw, path, read_bytes)
                return
            source = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
            if form == "csv":
                rows = _read_csv(source, path, delimiter or ("\t" if _find_suffix(path) == ".tsv" else ","))
            else:
                rows = _read_lines(source, path)
            for count, row in enumerate(rows):
                if count % TELL_ROWS == 0:
                    read_bytes(raw.tell())
                yield row
            read_bytes(raw.tell())
    except (OSError, EOFError, zlib.error) as error:
        raise ImportFileError(path, f"it cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _find_suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _read_lines(source: IO[bytes], path: Path) -> Iterator[Row]:
    number = 0
    while line := source.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES:
            while line and not line.endswith(b"\n"):
                line = source.readline(MAX_ROW_BYTES)
            yield Row(number, Rejected(Reason.SIZE, step="decode"))
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
            if line.lstrip().startswith(b"["):
                raise ImportFileError(path, "it is one JSON array: write one object a line (jq -c '.[]' does it)")
        line = line.strip()
        if line:
            values = read_json(_OBJECTS, line)
            if isinstance(values, Rejected):
                yield Row(number, msgspec.structs.replace(values, step="decode"), line.decode(errors="replace"))
            else:
                yield Row(number, values, line.decode(errors="replace"))


def _read_csv(source: IO[bytes], path: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(MAX_ROW_BYTES)
    lines = _read_text(source)
    reader = csv.reader(lines, delimiter=delimiter)
    names: list[str] = []
    while True:
        try:
            cells = next(reader, None)
        except csv.Error:
            yield Row(reader.line_num, Rejected(Reason.SYNTAX, step="decode"))
            continue
        if cells is None:
            return
        if not names:
            names = [name.strip() for name in cells]
            if any(_is_undecoded(name) for name in names):
                raise ImportFileError(path, "column names must be UTF-8: write the file in UTF-8 (iconv does it)")
            if len(set(names)) < len(names) or not all(names):
                raise ImportFileError(path, "its first line must name the columns, each once")
        elif cells:
            yield _make_csv_row(reader.line_num, names, cells)


def _make_csv_row(number: int, names: list[str], cells: list[str]) -> Row:
    values = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
    text = json.dumps(values, ensure_ascii=True)
    if len(cells) > len(names):  # with the empty ones: who knows which cell belongs where
        text = json.dumps(dict(zip(names, cells, strict=False)), ensure_ascii=True)
        return Row(number, Rejected(Reason.SHAPE, step="decode", field=f"column {len(names) + 1}"), text)
    if any(_is_undecoded(cell) for cell in cells):
        return Row(number, Rejected(Reason.ENCODING, step="decode"))
    return Row(number, values, text)


def _is_undecoded(cell: str) -> bool:
    """Whether some of its bytes are not UTF-8."""
    return not cell.isascii() and any("\udc80" <= c <= "\udcff" for c in cell)


def _read_text(source: IO[bytes]) -> Iterator[str]:
    first = True
    while line := source.readline(MAX_ROW_BYTES):
        text = line.decode("utf-8", "surrogateescape").replace("\0", "\ufffd")
        yield text.removeprefix("\ufeff") if first else text
        first = False


def _read_parquet(raw: IO[bytes], path: Path, read_bytes: Callable[[int], None]) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    size, number = path.stat().st_size, 0
    try:
        file = pyarrow.parquet.ParquetFile(raw)
        total = max(1, file.metadata.num_rows)
        for batch in file.iter_batches(batch_size=PARQUET_ROWS):
            for values in _read_batch(batch):
                number += 1
                if isinstance(values, Rejected):
                    yield Row(number, values)
                    continue
                known = {name: value for name, value in values.items() if value is not None}
                yield Row(number, known, msgspec.json.encode(known, enc_hook=str).decode())
            read_bytes(size * number // total)
    except (pyarrow.ArrowException, ValueError) as error:
        raise ImportFileError(
            path, f"it is no Parquet file that can be read (row {number + 1}): {_shorten(error)}"
        ) from error


def _read_batch(batch: pyarrow.RecordBatch) -> list[dict[str, Any] | Rejected]:
    """Return the rows; where a time or a span is beyond what Python can hold, that row alone is refused."""
    try:
        return cast("list[dict[str, Any] | Rejected]", batch.to_pylist())
    except OverflowError:
        return [_read_cells(batch, at) for at in range(batch.num_rows)]


def _read_cells(batch: pyarrow.RecordBatch, at: int) -> dict[str, Any] | Rejected:
    values = {}
    for place, name in enumerate(batch.schema.names):
        try:
            values[name] = batch.column(place)[at].as_py()
        except OverflowError:
            return Rejected(Reason.SHAPE, step="decode", field=f"column {place + 1}")
    return values


def _shorten(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
