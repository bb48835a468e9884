"""Records from files: each format, what does not fit, searches and scans."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from collector.adapters import file_index
from collector.adapters.contract import Field, Record, Wrong
from collector.adapters.files import FilesAdapter
from collector.errors import AdapterError, AdapterReason
from tests.adapters.files_source import (
    ADA,
    ALL,
    BOB,
    EXPECTED,
    FORMATS,
    LONG_S,
    ask,
    make_adapter,
    refuse,
    use,
    write,
)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_record_of_each_format(tmp_path: Path, ending: str) -> None:
    """Values come in the form of their field, whatever the format; what is empty is none; what is not there is none."""
    path = tmp_path / f"customers.{ending}"
    write(path, ADA, BOB)
    assert ask(make_adapter(path)) == Record("4711", EXPECTED)
    assert ask(make_adapter(path), "4712") == Record("4712", {"name": "Bob"})
    assert ask(make_adapter(path), "47") is None
    assert ask(make_adapter(path), "\ud800") is None


def test_fields_that_are_not_asked_for_do_not_come(tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    write(path, ADA)
    names = frozenset({"points", "unknown"})
    record = use(make_adapter(path), lambda adapter: adapter.retrieve("4711", names, LONG_S))
    assert record == Record("4711", {"points": 7})


@pytest.mark.parametrize("ending", FORMATS)
def test_what_does_not_fit_is_named(tmp_path: Path, ending: str) -> None:
    """A bad value costs its field, and no more."""
    path = tmp_path / f"customers.{ending}"
    write(path, {**ADA, "points": "seven", "since": "29.2.2024"})
    record = ask(make_adapter(path))
    assert record is not None and record.unfit == {"points", "since"}
    assert record.values["name"] == ADA["name"] and record.values["rate"] == 0.5


def test_values_as_parquet_has_them(tmp_path: Path) -> None:
    """Dates, instants, decimals and lists; numbers of customers as numbers."""
    path = tmp_path / "customers.parquet"
    row = {
        "number": 4711,
        "name": b"Ada",
        "points": Decimal("7.00"),
        "rate": Decimal("0.25"),
        "vip": True,
        "since": date(2024, 2, 29),
        "seen": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "tags": ["a", "b"],
    }
    write(path, row)
    fields = (*make_adapter(path).describe().fields, Field(name="tags", type="json"))
    adapter = make_adapter(path, fields=fields)
    record = use(adapter, lambda adapter: adapter.retrieve("4711", ALL | {"tags"}, LONG_S))
    expected = {**EXPECTED, "name": "Ada", "rate": 0.25, "tags": ["a", "b"]}
    assert record == Record("4711", expected)


def test_keys_of_any_spelling(tmp_path: Path) -> None:
    """Numbers are their digits; what is no key is left out, and counted."""
    path = tmp_path / "customers.jsonl"
    rows = [{"number": number, "name": str(number)} for number in (7, 8.0, 8.5, True, None, " 9 ", "", "x" * 1_025)]
    write(path, *rows, {"number": "10", "name": "10"})
    adapter = make_adapter(path)

    async def story(adapter: FilesAdapter) -> Any:
        found = [await adapter.retrieve(key, ALL, LONG_S) for key in ("7", "8", "9", "10", "8.5", "True", "")]
        return [record is not None for record in found], await adapter.look()

    there, said = use(adapter, story)
    assert there == [True, True, True, True, False, False, False]
    assert said == ["4 rows", "5 left out for want of a key or of columns, the first in line 3"]


def test_keys_whatever_their_case(tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    write(path, {**ADA, "number": "Ada@Example.COM"})
    assert ask(make_adapter(path), "ada@example.com") is None
    record = ask(make_adapter(path, ignore_case=True), "ADA@example.com")
    assert record is not None and record.key == "ADA@example.com"


def test_a_key_of_two_rows_has_no_answer(tmp_path: Path) -> None:
    """Two customers with one key: neither is shown as the other."""
    path = tmp_path / "customers.csv"
    write(path, ADA, {**BOB, "number": "4711"}, BOB)
    assert refuse(make_adapter(path)).reason is AdapterReason.BAD_ANSWER
    assert ask(make_adapter(path), "4712") is not None
    assert "1 with a key that another one has" in use(make_adapter(path), lambda adapter: adapter.look())[1]


def test_other_names_separators_and_encodings(tmp_path: Path) -> None:
    path = tmp_path / "customers.txt"
    path.write_bytes("Nr;Vorname\n4711;Änne\n".encode("cp1252"))
    fields = (Field(name="name", type="text"),)
    said: dict[str, Any] = {"format": "csv", "key": "Nr", "map": {"name": "Vorname"}, "delimiter": ";"}
    record = ask(make_adapter(path, fields=fields, encoding="cp1252", **said))
    assert record == Record("4711", {"name": "Änne"})
    error = refuse(make_adapter(path, fields=fields, **said))
    assert error.reason is AdapterReason.BAD_ANSWER and "encoding" in str(error)


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", AdapterReason.BAD_ANSWER, "empty"),
        (b"number,name\n", AdapterReason.BAD_ANSWER, "empty"),
        (b"number,name\n4711,Ada,3\n4712\n4713,C,D\n4714,\n4715\n", AdapterReason.BAD_ANSWER, "cut off"),
        (b"number,nick\n4711,Ada\n", AdapterReason.CONFIG, "it has number, nick"),
        (b'number,name\n4711,"Ada\n', AdapterReason.BAD_ANSWER, "no CSV"),
        (b"number,name\n,Ada\n,Bob\n", AdapterReason.BAD_ANSWER, "none of its rows"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes, reason: AdapterReason, words: str) -> None:
    """What is wrong is said, and nothing of what stands in it."""
    path = tmp_path / "customers.csv"
    path.write_bytes(content)
    error = refuse(make_adapter(path, fields=(Field(name="name", type="text"),)))
    assert error.reason is reason and words in str(error)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    error = refuse(make_adapter(tmp_path / "customers.csv"))
    assert error.reason is AdapterReason.UNREACHABLE and "customers.csv" in str(error)


@pytest.mark.parametrize(("said", "setting"), [({"encoding": "base64"}, "encoding"), ({"encoding": "u-8"}, "encoding")])
def test_settings_that_cannot_work(tmp_path: Path, said: dict[str, Any], setting: str) -> None:
    with pytest.raises(Wrong) as caught:
        make_adapter(tmp_path / "customers.csv", **said)
    assert caught.value.setting == setting
    with pytest.raises(Wrong):
        make_adapter(tmp_path / "customers.dat")


def test_searches(tmp_path: Path) -> None:
    """By how a field begins, whatever the case; nothing in a term means anything but itself; all terms must fit."""
    path = tmp_path / "customers.csv"
    rows = [
        {**BOB, "number": str(number), "name": name, "points": number}
        for number, name in enumerate(["Äda", "Adam", "ADELE", "100%", "1000", "A_", "Zoë"], 1)
    ]
    write(path, *rows)

    async def story(adapter: FilesAdapter) -> Any:
        terms = [{"name": "äd"}, {"name": "ad"}, {"name": "100%"}, {"name": "a_"}, {"name": "A", "points": "3"}]
        found = [[record.key for record in await adapter.search(term, 10)] for term in terms]
        few = await adapter.search({"name": "a"}, 2)
        for wrong in ({}, {"name": " "}, {"rate": "1"}):
            with pytest.raises(AdapterError) as caught:
                await adapter.search(wrong, 10)
            assert caught.value.reason is AdapterReason.NOT_SUPPORTED
        return found, len(few), await adapter.search({"name": "\ud800"}, 1)

    found, few, none = use(make_adapter(path, search=["name", "points"]), story)
    assert found == [["1"], ["2", "3"], ["4"], ["6"], ["3"]]
    assert few == 2 and none == []


@pytest.mark.parametrize("ending", FORMATS)
def test_a_scan_gives_all(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches, in the file's order, in the fields' form; one that is left early lets go of everything."""
    monkeypatch.setattr(file_index, "BATCH_ROWS", 10)
    path = tmp_path / f"customers.{ending}"
    write(path, *({**ADA, "number": str(number)} for number in range(25)))

    async def story(adapter: FilesAdapter) -> Any:
        batches = [batch async for batch in adapter.scan()]
        begun = adapter.scan()
        assert await anext(begun) == batches[0]
        await begun.aclose()  # type: ignore[attr-defined]
        return batches

    batches = use(make_adapter(path), story)
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert [record for batch in batches for record in batch] == [Record(str(n), EXPECTED) for n in range(25)]


@pytest.mark.long
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_million_rows(tmp_path: Path, ending: str) -> None:
    """Any of them by its key, one by its name, and all in batches."""
    path = tmp_path / f"customers.{ending}"
    count = 1_000_000
    if ending == "csv":
        with path.open("w", encoding="utf-8") as file:
            file.write("number,name,points\n")
            file.writelines(
                f"K{number * 7_919 % 1_000_003:07d},Customer {number},{number}\n" for number in range(count)
            )
    else:
        import pyarrow as pa
        from pyarrow import parquet

        keys = [f"K{number * 7_919 % 1_000_003:07d}" for number in range(count)]
        names = [f"Customer {number}" for number in range(count)]
        parquet.write_table(pa.table({"number": keys, "name": names, "points": range(count)}), path)

    async def story(adapter: FilesAdapter) -> int:
        for number in range(0, count, 99_991):
            record = await adapter.retrieve(f"K{number * 7_919 % 1_000_003:07d}", ALL, LONG_S)
            assert record is not None and record.values == {"name": f"Customer {number}", "points": number}
        assert await adapter.retrieve("K9999999", ALL, LONG_S) is None
        (found,) = await adapter.search({"name": "customer 999999"}, 10)
        assert found.values["points"] == 999_999
        return sum([len(batch) async for batch in adapter.scan()])

    fields = (Field(name="name", type="text"), Field(name="points", type="integer"))
    assert use(make_adapter(path, fields=fields, search=["name"]), story) == count
