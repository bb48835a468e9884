"""`tagstitch sql`: one statement, its answer as a table, CSV or JSON, written as it comes.

- table: for people. Up to 1,000 rows; numbers to the right; control characters shown, never sent to the terminal.
- csv: RFC 4180 with a head line, every row, times as `2026-11-22 10:00:00.000` in UTC.
- json: one array of one object a row, every row, times in ISO 8601 with Z. Numbers stand as numbers, 64 bits wide:
  a reader that keeps them as doubles (JavaScript) asks for toString(column). NaN and infinity are null.

A statement that names a FORMAT of its own gets it, whatever was asked for.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TextIO

from collector.errors import StoreError
from collector.store.client import StoreClient, Stream

if TYPE_CHECKING:
    from rich.console import Console

Form = Literal["table", "csv", "json"]
TABLE_ROWS = 1000
PATIENCE_S = 0.5  # a question that is answered sooner shows no indicator
FORMATS = {"table": "JSONCompactEachRowWithNamesAndTypes", "csv": "CSVWithNames", "json": "JSONEachRow"}
SETTINGS: dict[str, dict[str, Any]] = {
    "table": {"output_format_json_quote_64bit_integers": 0, "output_format_json_quote_denormals": 1},
    "csv": {"date_time_output_format": "simple"},
    "json": {
        "output_format_json_array_of_rows": 1,
        "output_format_json_quote_64bit_integers": 0,
        "output_format_json_quote_denormals": 0,
        "date_time_output_format": "iso",
    },
}


def run_sql(
    client: StoreClient,
    statement: str,
    form: Form,
    out: TextIO,
    *,
    params: dict[str, Any] | None = None,
    errors: TextIO | None = None,
) -> int:
    """Carry out one statement and write its answer. Returns the number of rows of a table, of bytes otherwise.

    `errors` (standard error) gets a progress indicator, on a terminal and after half a second, and the note that
    a table was cut. Raises StoreError with one line that says what ClickHouse did not like.
    """
    errors = sys.stderr if errors is None else errors
    text = statement.strip().rstrip(";").strip()
    if not text:
        raise StoreError('there is no statement: tagstitch sql "select count() from v_events"')
    with (
        _show_progress(errors) as done,
        contextlib.closing(client.stream(text, params, FORMATS[form], SETTINGS[form])) as stream,
    ):
        if form == "table" and stream.form in ("", FORMATS["table"]):
            rows, head, is_cut = _read_table(stream)
            done()
            _print_table(out, head, rows)
            if is_cut:
                errors.write(f"only the first {TABLE_ROWS:,} rows are shown: --format csv writes all of them\n")
            return len(rows)
        return _copy(stream, out, done)


def _copy(stream: Stream, out: TextIO, done: Any) -> int:
    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    size = 0
    for piece in stream:
        done()
        out.write(decode(piece))
        size += len(piece)
    out.write(decode(b"", final=True))
    out.flush()
    return size


def _read_table(stream: Stream) -> tuple[list[list[str]], list[tuple[str, str]], bool]:
    """Return rows, (name, type) of each column, and whether there were more rows than a table shows."""
    names: list[str] | None = None
    types: list[str] | None = None
    rows: list[list[str]] = []
    for line in _split_lines(stream):
        values = json.loads(line)
        if names is None:
            names = values
        elif types is None:
            types = values
        elif len(rows) < TABLE_ROWS:
            rows.append([_show_value(value) for value in values])
        else:
            return rows, list(zip(names, types, strict=True)), True
    return rows, list(zip(names or [], types or [], strict=True)), False


def _split_lines(stream: Stream) -> Iterator[bytes]:
    rest = b""
    for piece in stream:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line for line in lines if line)
    if rest:
        yield rest


def _show_value(value: object) -> str:
    """Return a value as a person reads it. What could steer a terminal is shown as its escape."""
    if value is None:
        return "∅"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _print_table(out: TextIO, head: list[tuple[str, str]], rows: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    if not head:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, kind in head:
        is_number = kind.removeprefix("Nullable(").startswith(("UInt", "Int", "Float", "Decimal"))
        table.add_column(Text(_show_value(name)), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    _open_console(out).print(table)


def _open_console(file: TextIO) -> Console:
    """Return a console that prints text as it is. Into a file or a pipe nothing is wrapped."""
    from rich.console import Console

    return Console(file=file, highlight=False, markup=False, emoji=False, width=None if file.isatty() else 100_000)


@contextlib.contextmanager
def _show_progress(errors: TextIO) -> Iterator[Any]:
    """Show that a question is being worked on, and for how long. Yields a function that ends it early."""
    if not errors.isatty():
        yield lambda: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    ended = threading.Event()
    progress = Progress(
        SpinnerColumn(),
        TextColumn("ClickHouse is working, Ctrl-C cancels"),
        TimeElapsedColumn(),
        console=_open_console(errors),
        transient=True,
    )

    def show() -> None:
        if ended.wait(PATIENCE_S):
            return
        with progress:
            progress.add_task("", total=None)
            ended.wait()

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()

    def end() -> None:
        if not ended.is_set():
            ended.set()
            thread.join()

    try:
        yield end
    finally:
        end()
