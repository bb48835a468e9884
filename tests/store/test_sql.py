"""`tagstitch sql`: tables for people, CSV and JSON for programs, errors in one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest

from collector.errors import StoreError
from collector.store.client import StoreClient, open_client
from collector.store.sql import TABLE_ROWS, Form, run_sql
from tests.running_store import RunningStore, make_event, make_row

pytestmark = pytest.mark.engine
NASTY = 'a\x1b[31m"red",\n∅'


class Terminal(io.StringIO):
    """Standard error as a person sees it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def reader(store: RunningStore) -> Iterator[StoreClient]:
    with open_client(store.config, store.keyring, "reader") as client:
        yield client


def ask(client: StoreClient, statement: str, form: Form) -> str:
    out = io.StringIO()
    run_sql(client, statement, form, out, errors=io.StringIO())
    return out.getvalue()


def test_json_is_one_array_of_objects(store: RunningStore, reader: StoreClient) -> None:
    """Times in ISO 8601, properties as objects, 64 bits as numbers, NaN as null, a semicolon at the end is fine."""
    store.load(make_row(1, events=[make_event(1, title=NASTY, props='{"n":1}'), make_event(2, after_s=1)]))
    rows = json.loads(
        ask(
            reader,
            "SELECT time, title, props, 18446744073709551615 AS big, nan AS x FROM v_events ORDER BY time;",
            "json",
        )
    )
    assert rows == [
        {"time": "2090-06-01T11:33:20.000Z", "title": NASTY, "props": {"n": 1}, "big": 2**64 - 1, "x": None},
        {"time": "2090-06-01T11:33:21.000Z", "title": "", "props": {}, "big": 2**64 - 1, "x": None},
    ]
    assert json.loads(ask(reader, "SELECT 1 AS a WHERE 0", "json")) == []


def test_csv_has_a_head_line_and_every_row(store: RunningStore, reader: StoreClient) -> None:
    """Quotes, commas and newlines come back as they were."""
    store.load(make_row(1, events=[make_event(n, after_s=n, title=NASTY) for n in range(3)]))
    rows = list(csv.reader(io.StringIO(ask(reader, "SELECT sequence, title FROM v_events", "csv"))))
    assert rows == [["sequence", "title"]] + [["0", NASTY]] * 3
    rows = list(csv.reader(io.StringIO(ask(reader, "SELECT number FROM system.numbers LIMIT 5000", "csv"))))
    assert len(rows) == 5001


def test_a_table_shows_what_could_steer_a_terminal(store: RunningStore, reader: StoreClient) -> None:
    """A title with an escape sequence is shown as text; numbers stand right, NULL is ∅."""
    store.load(make_row(1, events=[make_event(1, title=NASTY)]))
    text = ask(
        reader, "SELECT title, NULL AS nothing, 12345 AS number, count() AS n FROM v_events GROUP BY title", "table"
    )
    assert "\x1b" not in text
    assert 'a\\x1b[31m"red",\\n' in text
    assert "∅" in text
    head, _, row = (line for line in text.splitlines() if line.strip())
    assert head.split() == ["title", "nothing", "number", "n"]
    assert row.index("12345") + 5 == head.index("number") + 6


def test_a_table_is_cut_and_says_so(reader: StoreClient) -> None:
    """A thousand rows are enough to look at; the rest is there for CSV."""
    out, errors = io.StringIO(), io.StringIO()
    assert run_sql(reader, "SELECT number FROM system.numbers LIMIT 1001", "table", out, errors=errors) == TABLE_ROWS
    assert "only the first 1,000 rows are shown: --format csv writes all of them" in errors.getvalue()
    assert "999" in out.getvalue()
    assert "1000" not in out.getvalue()


def test_a_format_of_its_own_is_given(reader: StoreClient) -> None:
    """A statement that names a FORMAT knows what it wants."""
    assert ask(reader, "SELECT 1 AS a, 2 AS b FORMAT TSV", "table") == "1\t2\n"


@pytest.mark.parametrize("form", ["table", "csv", "json"])
@pytest.mark.parametrize(
    ("statement", "said"),
    [("SELECT nope FROM v_events", "nope"), ("SELEC 1", "Syntax error"), ("  ; ", "there is no statement")],
)
def test_an_error_is_one_line(reader: StoreClient, form: Form, statement: str, said: str) -> None:
    """What is wrong, in ClickHouse's words, without its version and stack."""
    with pytest.raises(StoreError, match=said) as refused:
        ask(reader, statement, form)
    assert "\n" not in str(refused.value)


def test_a_reader_cannot_write(store: RunningStore, reader: StoreClient) -> None:
    """The command is read-only by its credential."""
    store.load(make_row(1, events=[make_event(1)]))
    for statement in (
        "DROP TABLE tagstitch.events",
        "INSERT INTO tagstitch.sites (id) VALUES ('x')",
        "SELECT * FROM events",
    ):
        with pytest.raises(StoreError):
            ask(reader, statement, "json")
    assert store.value("SELECT count() FROM events") == 1


def test_a_long_question_shows_on_a_terminal_that_it_is_worked_on(store: RunningStore) -> None:
    """After half a second there is an indicator on standard error; a quick one shows none, a pipe never."""
    quick, slow, pipe = Terminal(), Terminal(), io.StringIO()
    run_sql(store.writer, "SELECT 1", "csv", io.StringIO(), errors=quick)
    run_sql(store.writer, "SELECT sleep(1.2)", "csv", io.StringIO(), errors=slow)
    run_sql(store.writer, "SELECT sleep(0.7)", "csv", io.StringIO(), errors=pipe)
    assert "ClickHouse is working" in slow.getvalue()
    assert quick.getvalue() == ""
    assert pipe.getvalue() == ""
