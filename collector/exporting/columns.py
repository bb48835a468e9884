"""Columns of an export: what they are called, of which type they are, and how a value stands in a file.

Values on their way: times are milliseconds since 1970, lists are tuples of texts, days are `datetime.date`; None is
none. A CSV file has ISO 8601 in UTC, an empty cell for none, and `true` or `false`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from collector.exporting.cells import neutralise
from collector.profiles.definitions import Definitions, TraitRefused, TraitType

if TYPE_CHECKING:
    import pyarrow as pa


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME = "time"
    DATE = "date"
    TEXTS = "texts"


_OF_TRAITS = {
    TraitType.TEXT: Kind.TEXT,
    TraitType.NUMBER: Kind.NUMBER,
    TraitType.INTEGER: Kind.INTEGER,
    TraitType.BOOLEAN: Kind.BOOLEAN,
    TraitType.DATE: Kind.DATE,
    TraitType.TIME: Kind.TIME,
    TraitType.JSON: Kind.TEXT,
}


class Column(msgspec.Struct, frozen=True):
    """One column. `personal`: it holds personal values in clear."""

    name: str
    kind: Kind = Kind.TEXT
    personal: bool = False


def make_trait_column(definitions: Definitions, name: str) -> Column:
    """Return the column of a trait. JSON stands in it as text."""
    trait = definitions.find(name)
    return Column(name, _OF_TRAITS[trait.type], trait.personal)


def read_trait(definitions: Definitions, name: str, value: Any) -> Any:
    """Return a trait's value as its column holds it; None where it is not of the declared type."""
    try:
        value = definitions.check(name, value)
    except TraitRefused:
        return None
    match definitions.find(name).type:
        case TraitType.NUMBER:
            return float(value)
        case TraitType.DATE:
            return date.fromisoformat(value)
        case TraitType.TIME:
            return int(datetime.fromisoformat(value).timestamp() * 1000)
        case TraitType.JSON:
            return msgspec.json.encode(value).decode()
    return value


def write_cell(kind: Kind) -> Callable[[Any], object]:
    """Return what makes a cell of CSV of a column's value."""
    if kind in (Kind.INTEGER, Kind.NUMBER):
        return lambda value: value
    if kind is Kind.BOOLEAN:
        return lambda value: None if value is None else "true" if value else "false"
    if kind is Kind.TIME:
        return lambda value: None if value is None else write_time(value)
    if kind is Kind.DATE:
        return lambda value: None if value is None else value.isoformat()
    return neutralise


def write_time(at_ms: int) -> str:
    """Return a moment as ISO 8601 in UTC, with milliseconds."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def make_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the columns as Parquet has them."""
    import pyarrow as pa

    types = {
        Kind.TEXT: pa.string(),
        Kind.INTEGER: pa.int64(),
        Kind.NUMBER: pa.float64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.TIME: pa.timestamp("ms", tz="UTC"),
        Kind.DATE: pa.date32(),
        Kind.TEXTS: pa.list_(pa.string()),
    }
    return pa.schema([(column.name, types[column.kind]) for column in columns])
