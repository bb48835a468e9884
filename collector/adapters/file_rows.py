"""The rows of a file of records: CSV, JSON lines or Parquet, read once from beginning to end, in little memory.

A row that is none (too few columns, no JSON, no key) is counted and left out. A file whose last row is none was cut
off, or is being written to: it is not taken at all, and neither is one without a single good row.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from collector.errors import AdapterError, AdapterReason

MAX_KEY_CHARS = 1_024
BATCH_ROWS = 10_000
MAX_NAMES = 30

Row = tuple[str, list[Any]]
"""The key as text, and the values in the order of the plan's columns; None where there is none."""


class RowPlan(msgspec.Struct, frozen=True):
    """How a file is read. `columns`: each of them once, without the key. `search`: positions in `columns`."""

    path: str
    format: str
    key: str
    columns: tuple[str, ...]
    search: tuple[int, ...] = ()
    ignore_case: bool = False
    delimiter: str = ","
    encoding: str = "utf-8-sig"


class Tally(msgspec.Struct):
    """What was read. `first_skipped`: the number of the first row that was left out, counted from 1, in CSV the
    line."""

    rows: int = 0
    skipped: int = 0
    first_skipped: int = 0
    doubled: int = 0

    def skip(self, number: int) -> None:
        """Count a row that was left out."""
        self.skipped += 1
        self.first_skipped = self.first_skipped or number


def read_rows(plan: RowPlan, tally: Tally) -> Iterator[Row]:
    """Yield the rows of the file, and count them. Raises AdapterError: `unreachable` where it cannot be opened,
    `config` where it has no such column, `bad_answer` where it is not of its format or is cut off."""
    read = {"csv": _read_csv, "jsonl": _read_lines, "parquet": _read_parquet}[plan.format]
    is_last_good = True
    try:
        for number, raw, values in read(plan):
            key = None if values is None else read_key(raw)
            is_last_good = values is not None
            if values is None or not key:
                tally.skip(number)
                continue
            tally.rows += 1
            yield (key.casefold() if plan.ignore_case else key), values
    except OSError as error:
        raise AdapterError(AdapterReason.UNREACHABLE, f"{plan.path} cannot be read: {error.strerror}") from None
    except UnicodeError:
        raise _bad(plan, f"it is not {plan.encoding}: say its `encoding`, such as latin-1") from None
    if not is_last_good:
        raise _bad(plan, "its last row is cut off: write it under another name, and rename it when it is whole")
    if not tally.rows:
        reason = f"none of its rows can be read: is it {plan.format}, and does `key` name the right column?"
        raise _bad(plan, reason if tally.skipped else "it is empty")


def read_key(raw: Any) -> str:
    """Return a key as text; "" for what is none. Tables number their customers: 7 and 7.0 are "7"."""
    if isinstance(raw, bool) or raw is None:
        return ""
    if isinstance(raw, float | Decimal):
        if not _is_whole(raw):
            return ""
        raw = int(raw)
    text = str(raw).strip() if isinstance(raw, str | int) else ""
    return text if len(text) <= MAX_KEY_CHARS else ""


def _is_whole(number: float | Decimal) -> bool:
    try:
        return number == int(number)
    except (ValueError, OverflowError):
        return False


def _bad(plan: RowPlan, reason: str) -> AdapterError:
    return AdapterError(AdapterReason.BAD_ANSWER, f"{plan.path}: {reason}")


def _find_places(plan: RowPlan, names: list[str]) -> list[int]:
    """Return the positions of key and columns. Raises AdapterError that says which columns there are."""
    for name in (plan.key, *plan.columns):
        if name not in names:
            there = ", ".join(names[:MAX_NAMES])
            message = f"{plan.path} has no column {name}: correct `key` or `map`; it has {there}"
            raise AdapterError(AdapterReason.CONFIG, message)
    return [names.index(name) for name in (plan.key, *plan.columns)]


def _read_csv(plan: RowPlan) -> Iterator[tuple[int, Any, list[Any] | None]]:
    with Path(plan.path).open(encoding=plan.encoding, newline="") as file:
        reader = csv.reader(file, delimiter=plan.delimiter, strict=True)
        try:
            head = next(reader, [])
            if not head:
                raise _bad(plan, "it is empty")
            key, *places = _find_places(plan, head)
            width = len(head)
            for row in reader:
                if len(row) == width:
                    yield reader.line_num, row[key], [row[place] or None for place in places]
                elif row:
                    yield reader.line_num, None, None
        except csv.Error as error:
            raise _bad(plan, f"line {reader.line_num} is no CSV: {error}") from None


def _read_lines(plan: RowPlan) -> Iterator[tuple[int, Any, list[Any] | None]]:
    names = (plan.key, *plan.columns)
    # A column may be the key and a field as well; msgspec leaves out what is not named here, without making it.
    places = {name: index for index, name in enumerate(dict.fromkeys(names))}
    made = msgspec.defstruct(
        "Line",
        [(f"c{index}", Any, None) for index in places.values()],
        rename={f"c{index}": name for name, index in places.items()},
    )
    decoder = msgspec.json.Decoder(made)
    order = [places[name] for name in plan.columns]
    number = 0
    with Path(plan.path).open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                values = msgspec.structs.astuple(decoder.decode(line))
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                yield number, None, None
                continue
            yield number, values[0], [values[place] for place in order]


def _read_parquet(plan: RowPlan) -> Iterator[tuple[int, Any, list[Any] | None]]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    with Path(plan.path).open("rb") as file:
        try:
            table = parquet.ParquetFile(file)
            _find_places(plan, table.schema_arrow.names)
            columns = list(dict.fromkeys((plan.key, *plan.columns)))
            for batch in table.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                by_name = {name: _make_list(batch.column(name)) for name in columns}
                keys = by_name[plan.key]
                lists = [by_name[name] for name in plan.columns]
                rows = zip(*lists, strict=True) if lists else ([] for _ in keys)
                for key, values in zip(keys, rows, strict=True):
                    number += 1
                    yield number, key, list(values)
        except (pa.ArrowException, pa.ArrowInvalid) as error:
            raise _bad(plan, f"it is no whole Parquet file ({type(error).__name__})") from None


def _make_list(column: Any) -> list[Any]:
    """Return a column's values. Nanoseconds, which Python's times have not, are cut; bytes that are text are text."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    values: list[Any] = column.to_pylist()
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        values = [_read_bytes(value) for value in values]
    return values


def _read_bytes(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeError:
        return None


def make_encoder() -> Callable[[list[Any]], bytes]:
    """Return how a row's values are written: as a list in JSON, what JSON has no form for as nothing."""
    encode = msgspec.json.Encoder(decimal_format="string", enc_hook=lambda _: None).encode

    def write(values: list[Any]) -> bytes:
        try:
            return encode(values)
        except (TypeError, ValueError, OverflowError):
            return json.dumps(values, default=_name_value).encode()

    return write


def _name_value(value: Any) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else None
