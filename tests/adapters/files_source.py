"""A files adapter before a file of the test's own, in a clock that the test turns."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from collector.adapters import files
from collector.adapters.configuration import FilesSettings
from collector.adapters.contract import Described, Field, Record
from collector.adapters.files import FilesAdapter
from collector.errors import AdapterError

FIELDS = (
    Field(name="name", type="text"),
    Field(name="points", type="integer"),
    Field(name="rate", type="number"),
    Field(name="vip", type="boolean"),
    Field(name="since", type="date"),
    Field(name="seen", type="time"),
)
ALL = frozenset(field.name for field in FIELDS)
LONG_S = 60.0
ADA = {
    "number": "4711",
    "name": "Ada Übel, Countess",
    "points": 7,
    "rate": 0.5,
    "vip": True,
    "since": "2024-02-29",
    "seen": "2026-01-02T03:04:05Z",
}
FORMATS = ["csv", "jsonl", "parquet"]
EXPECTED = {name: value for name, value in ADA.items() if name != "number"}
BOB = {"number": "4712", "name": "Bob", "points": None, "rate": None, "vip": None, "since": None, "seen": None}


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make_adapter(
    path: Path, data: Path | None = None, clock: Clock | None = None, fields: tuple[Field, ...] = FIELDS, **said: Any
) -> FilesAdapter:
    settings = msgspec.convert({"path": path.name, "key": "number", "settle_s": 0.0, **said}, FilesSettings)
    described = Described("crm", "customer", fields, can_search=bool(settings.search), can_scan=True)
    return FilesAdapter(described, settings, path.parent, data, clock or Clock())


def write(path: Path, *rows: dict[str, Any]) -> None:
    """Write rows in the format that the path's ending names, in one go."""
    draft = path.with_suffix(".draft")
    if path.suffix == ".csv":
        with draft.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        draft.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        parquet.write_table(pa.Table.from_pylist(list(rows)), draft)
    draft.replace(path)


def use(adapter: FilesAdapter, story: Callable[[FilesAdapter], Awaitable[Any]]) -> Any:
    """Tell a story with an adapter, and close it."""

    async def tell() -> Any:
        try:
            return await story(adapter)
        finally:
            await adapter.close()

    return asyncio.run(tell())


def ask(adapter: FilesAdapter, key: str = "4711") -> Record | None:
    return use(adapter, lambda adapter: adapter.retrieve(key, ALL, LONG_S))


def refuse(adapter: FilesAdapter, key: str = "4711") -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        ask(adapter, key)
    assert "Ada" not in str(caught.value) and "4711" not in str(caught.value)
    return caught.value


async def settle(adapter: FilesAdapter, clock: Clock) -> None:
    """Let the adapter look at the file, and finish what it begins."""
    clock.now_s += files.CHECK_S
    await adapter.retrieve("4711", ALL, LONG_S)
    if adapter._building is not None:
        await adapter._building
