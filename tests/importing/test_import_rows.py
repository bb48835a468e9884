"""Rows of files and the calls that are made of them: every form, every way to be wrong, and nothing guessed."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from collector.errors import ImportFileError
from collector.event import Rejected
from collector.importing.calls import RowReader, check_call
from collector.importing.rows import MAX_ROW_BYTES, Row, find_form, read_rows


def read(path: Path, **options: Any) -> list[Row]:
    return list(read_rows(path, find_form(path), **options))


def reasons(rows: list[Row]) -> list[str]:
    return [row.values.reason.value if isinstance(row.values, Rejected) else "" for row in rows]


def make_call(values: dict[str, Any], mapping: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    call = RowReader(mapping or {}, **options).make_call(Row(1, values, json.dumps(values, default=str)))
    assert isinstance(call, bytes), call
    made: dict[str, Any] = json.loads(call)
    return made


def test_json_lines(tmp_path: Path) -> None:
    """Empty lines count but are no rows; a bad line costs itself alone, an enormous one no memory."""
    path = tmp_path / "a.jsonl"
    huge = b'{"event":"' + b"x" * (2 * MAX_ROW_BYTES) + b'"}'
    lines = [
        b'\xef\xbb\xbf{"event":"a"}',
        b"",
        b"{broken",
        b"[1]",
        b'{"event":"\xff"}',
        huge,
        b"[" * 5000,
        b'{"event":"z"}\r',
    ]
    path.write_bytes(b"\n".join(lines))
    rows = read(path)
    assert [row.number for row in rows] == [1, 3, 4, 5, 6, 7, 8]
    assert reasons(rows) == ["", "syntax", "shape", "encoding", "size", "depth", ""]
    assert rows[-1].values == {"event": "z"}


def test_a_json_array_is_told_apart(tmp_path: Path) -> None:
    """One array of everything is a common mistake, and the way out is named."""
    path = tmp_path / "a.json"
    path.write_text('[{"event":"a"}]')
    with pytest.raises(ImportFileError, match="one object a line"):
        read(path)


def test_csv(tmp_path: Path) -> None:
    """Quotes, line breaks in cells, empty cells, cells too many, letters of another encoding, a zero byte."""
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'\xef\xbb\xbfevent,"properties.text"\r\n'
        b'a,"two\nlines, and ""quotes"""\r\n'
        b"b,\r\n"
        b"c,d,e\r\n"
        b"\xe9,f\r\n"
        b"g,\0\r\n"
        b"\r\n"
        b"h\r\n"
    )
    rows = read(path)
    assert [row.values for row in rows if isinstance(row.values, dict)] == [
        {"event": "a", "properties.text": 'two\nlines, and "quotes"'},
        {"event": "b"},
        {"event": "g", "properties.text": "\ufffd"},
        {"event": "h"},
    ]
    assert reasons(rows) == ["", "", "shape", "encoding", "", ""]
    assert [row.number for row in rows] == [3, 4, 5, 6, 7, 9]


@pytest.mark.parametrize("head", ["event,event", "event,,x"])
def test_csv_needs_a_head(head: str, tmp_path: Path) -> None:
    """Columns without a name, or with the same, cannot be taken."""
    path = tmp_path / "a.csv"
    path.write_text(f"{head}\n1,2,3\n")
    with pytest.raises(ImportFileError, match="must name the columns"):
        read(path)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_csv_whose_columns_are_not_utf8(encoding: str, tmp_path: Path) -> None:
    """The names of its columns would be wrong in every row: said once, without the bytes."""
    path = tmp_path / "a.csv"
    path.write_bytes("event,properties.größe\na,5\n".encode(encoding))
    with pytest.raises(ImportFileError, match=r"a\.csv: column names must be UTF-8") as caught:
        read(path)
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


def test_other_separators_and_gzip(tmp_path: Path) -> None:
    """Tabs by the name, anything by option, gzip by the name; a cut gzip says so after what could be read."""
    rows = [{"event": "a", "userId": "1"}]
    tabs = tmp_path / "a.tsv"
    tabs.write_text("event\tuserId\na\t1\n")
    semicolons = tmp_path / "b.csv"
    semicolons.write_text("event;userId\na;1\n")
    packed = tmp_path / "c.csv.gz"
    packed.write_bytes(gzip.compress(b"event,userId\na,1\n" + b"b,2\n" * 20_000))
    assert [row.values for row in read(tabs)] == rows
    assert [row.values for row in read(semicolons, delimiter=";")] == rows
    assert read(packed)[0].values == rows[0]
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ImportFileError, match="cannot be read"):
        read(packed)


def test_a_damaged_gzip(tmp_path: Path) -> None:
    """Bytes that are wrong, not only missing: what stands before them, then one line that names the file."""
    path = tmp_path / "a.jsonl.gz"
    second = bytearray(gzip.compress(b'{"event":"b"}\n'))
    second[10] = 0x07  # behind the head: a block of a type that there is not
    path.write_bytes(gzip.compress(b'{"event":"a"}\n') + second)
    rows = read_rows(path, "jsonl")
    assert next(rows).values == {"event": "a"}
    with pytest.raises(ImportFileError, match=r"a\.jsonl\.gz: it cannot be read: .*invalid block type"):
        next(rows)


def test_parquet(tmp_path: Path) -> None:
    """Typed columns, nested ones, times with and without a zone, decimals, nulls."""
    path = tmp_path / "a.parquet"
    when = datetime(2024, 3, 1, 10, tzinfo=UTC)
    table = pa.table(
        {
            "event": ["order", "order"],
            "timestamp": pa.array([when, None], pa.timestamp("us", "UTC")),
            "properties.price": pa.array([Decimal("49.90"), None], pa.decimal128(10, 2)),
            "properties.items": [[{"sku": "a"}], []],
            "context": [{"ip": "203.0.113.9"}, None],
        }
    )
    parquet.write_table(table, path)
    rows = read(path)
    assert [row.number for row in rows] == [1, 2]
    assert isinstance(rows[0].values, dict)
    call = make_call(rows[0].values)
    assert call["timestamp"] == "2024-03-01T10:00:00Z"
    assert call["properties"] == {"price": 49.9, "items": [{"sku": "a"}]}
    assert call["context"] == {"ip": "203.0.113.9"}
    assert rows[1].values == {"event": "order", "properties.items": []}
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ImportFileError, match="no Parquet file"):
        read(path)


@pytest.mark.parametrize(
    "far",
    [
        pa.array([10**14], pa.timestamp("s")),
        pa.array([10**18], pa.timestamp("us")),
        pa.array([2**31 - 1], pa.date32()),
        pa.array([2**62], pa.duration("s")),
        pa.array([[10**14]], pa.list_(pa.timestamp("s"))),
    ],
    ids=lambda far: str(far.type),
)
def test_parquet_with_a_time_beyond_all_calendars(far: pa.Array, tmp_path: Path) -> None:
    """That row is refused, by the place of its column; the rows around it are taken."""
    path = tmp_path / "a.parquet"
    times = pa.concat_arrays([pa.nulls(1, far.type), far, pa.nulls(1, far.type)])
    parquet.write_table(pa.table({"event": ["a", "b", "c"], "properties.when": times}), path)
    rows = read(path)
    assert [row.number for row in rows] == [1, 2, 3]
    assert reasons(rows) == ["", "shape", ""]
    assert isinstance(rows[1].values, Rejected)
    assert rows[1].values.field == "column 2"
    assert rows[2].values == {"event": "c"}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """One line that names it; a name that says nothing asks for --format."""
    with pytest.raises(ImportFileError, match=r"gone\.csv: it cannot be read"):
        read(tmp_path / "gone.csv")
    with pytest.raises(ImportFileError, match="give --format"):
        find_form(tmp_path / "orders.txt")


def test_columns_become_a_call() -> None:
    """By their names, by the mapping, or not at all; what has no place is counted."""
    reader = RowReader({"total": "properties.price", "when": "timestamp", "secret": ""})
    row = {"event": "order", "total": 5, "when": "2024-03-01", "secret": "x", "color": "red", "sentAt": "now"}
    call = reader.make_call(Row(1, row, "text"))
    assert isinstance(call, bytes)
    made = json.loads(call)
    assert made.pop("messageId").startswith("import:")
    assert made == {"event": "order", "properties": {"price": 5}, "timestamp": "2024-03-01", "type": "track"}
    assert reader.unknown == {"color": 1}


def test_a_column_in_the_way_of_another() -> None:
    """`properties` cannot be a number and an object; two columns for one field are one too many."""
    for row in ({"properties": 5, "properties.a": 1}, {"event": "x", "Event": "y"}):
        call = RowReader({"Event": "event"}).make_call(Row(1, row, ""))
        assert isinstance(call, Rejected)
        assert call.reason == "shape"
    both = make_call({"properties.a": 1, "properties": {"b": 2}})
    assert both["properties"] == {"a": 1, "b": 2}


def test_texts_of_csv() -> None:
    """A number is a number only if nothing is lost by it; ids stay as they stand."""
    given = {
        "zeros": "00123",
        "long": "12345678901234567890",
        "price": "9.50",
        "count": "-3",
        "yes": "true",
        "list": '["a",1]',
        "no list": "[oops",
        "words": "1e5",
    }
    call = make_call({f"properties.{name}": text for name, text in given.items()} | {"userId": "42"}, is_text=True)
    assert call["properties"] == {
        "zeros": "00123",
        "long": "12345678901234567890",
        "price": 9.5,
        "count": -3,
        "yes": True,
        "list": ["a", 1],
        "no list": "[oops",
        "words": "1e5",
    }
    assert call["userId"] == "42"


@pytest.mark.parametrize(
    ("given", "month"),
    [
        ("2024-03-31T23:30:00-02:00", "2024-04"),
        ("2024-03-01 10:00:00", "2024-03"),
        (1709287200, "2024-03"),
        ("1709287200123", "2024-03"),
        (1709287200.5, "2024-03"),
        ("0", "1970-01"),
        ("-1", "1969-12"),
        ("yesterday", None),
        (10**30, None),
        (True, None),
        ("9999-12-31T23:59:59-10:00", None),
    ],
)
def test_times(given: object, month: str | None) -> None:
    """ISO 8601, seconds and milliseconds; the month is UTC's. What is no time is refused, by the field's name."""
    call = RowReader({}).make_call(Row(1, {"event": "a", "timestamp": given}, ""))
    assert isinstance(call, bytes)
    checked = check_call(call)
    if month is None:
        assert isinstance(checked, Rejected)
        assert checked.field == "timestamp"
    else:
        assert not isinstance(checked, Rejected)
        assert checked[1] == month


def test_the_same_row_is_the_same_message() -> None:
    """Its content is its name; another row has another one. An id of its own stays."""
    ids = [make_call({"event": "a", "userId": str(n)})["messageId"] for n in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert make_call({"event": "a", "messageId": "m-1"})["messageId"] == "m-1"
    assert make_call({"event": "a", "messageId": None})["messageId"].startswith("import:")


CANARY = "CANARY-UNCONSENTED"


@pytest.mark.parametrize(
    "consent",
    ["", "im", {"categoryPreferences": {}}, {"categoryPreferences": {"analytics": False, "marketing": True}}],
)
def test_a_call_without_storage_is_none(consent: object) -> None:
    """It is refused at the first look, before its time is asked for: nobody writes it down."""
    checked = check_call(json.dumps({"event": "a", "userId": CANARY, "context": {"consent": consent}}).encode())
    assert isinstance(checked, Rejected)
    assert (checked.reason, checked.step, checked.field) == ("consent", "consent", "context.consent")


@pytest.mark.parametrize(
    ("context", "may"),
    [
        ({}, True),
        ({"context": None}, True),
        ({"context": {"consent": None}}, True),
        ({"context": {"consent": "ai"}}, True),
        ({"context": {"consent": {"categoryPreferences": {"Analytics": True}}}}, True),
        ({"context.consent": "a", "context.ip": 5}, True),
        ({"ok": "a"}, True),
        ({"left": ""}, True),
        ({"context": {"consent": ""}}, False),
        ({"context": {"consent": {"categoryPreferences": {"analytics": False}}}}, False),
        ({"context.consent": "m"}, False),
        ({"ok": "m"}, False),
        ({"context.consent.categoryPreferences.analytics": False}, False),
        ({"context.consent.categoryPreferences.analytics": "false"}, False),
        ({"context": {"consent": 5}}, False),
        ({"context": {"consent": {"analytics": True}}}, False),
        ({"context": "consent: none"}, False),
        ({"context": {"consent": ""}, "context.consent": "a"}, False),
    ],
)
def test_what_of_a_refused_row_may_be_kept(context: dict[str, Any], may: bool) -> None:
    """Whatever it is refused for: only a row whose consent is read and grants storage, or that says nothing of it."""
    reader = RowReader({"ok": "context.consent", "left": ""})
    assert reader.may_be_kept(Row(1, {"event": 5, "userId": CANARY, **context}, "")) is may


def test_what_of_an_unreadable_row_may_be_kept(tmp_path: Path) -> None:
    """Nobody knows what it says of consent: kept where it has no word of it, by whatever name the column goes."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"userId":"x"\n{"userId":"x","context":{"consent":"a"}\n{"userId":"x","antwort":"a"\n')
    reader = RowReader({"antwort": "context.consent.categoryPreferences.analytics", "ähm": "context"})
    assert [reader.may_be_kept(row) for row in read(path)] == [True, False, False]
    table = tmp_path / "a.csv"
    for name, may in (("note", True), ("context.consent", False), ("ähm", False)):
        table.write_text(f"userId,{name},note2\nx,,,i\n")  # one cell too many: any of them may be the answer
        [row] = read(table)
        assert reader.may_be_kept(row) is may, name
