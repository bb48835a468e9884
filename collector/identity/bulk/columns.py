"""Columns: evidence and what follows from it as Arrow tables, for steps with too many rows to hold each as an object.

Owns the schemas and the way between tables and `Evidence` and `Resolution`. Imports pyarrow, which takes its time and
memory: only stitch and rebuild may import this module, and late.

Invariants: ids are the 16 bytes of a UUID in the order of its text, so that bytes sort as texts do. A table has all
that `resolve` looks at and nothing else. There and back again gives rows of which `resolve` makes the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from collector.identity.evidence import Evidence
from collector.identity.guards import GuardEntry
from collector.identity.identifiers import UUID, VISITOR_KIND, is_blocked
from collector.identity.people import MergeEntry
from collector.identity.resolve import CustomerRow, IntervalRow, MapRow, Resolution

KEY = pa.binary(16)
WORD = pa.dictionary(pa.int32(), pa.string())

EVIDENCE = pa.schema(
    [
        # The bytes of the id; where its text is no UUID in lower case, 16 bytes of any digest of the text.
        pa.field("evidence_id", KEY, nullable=False),
        pa.field("evidence_text", pa.string()),  # null where the bytes say it
        pa.field("kind", WORD, nullable=False),
        pa.field("level", pa.uint8(), nullable=False),
        pa.field("a_kind", WORD, nullable=False),
        # Null: a visitor's own id, 36 characters, that is neither blocked for all nor on the space's list.
        pa.field("a_value", pa.string()),
        pa.field("a_key", KEY, nullable=False),
        pa.field("b_kind", WORD, nullable=False),
        pa.field("b_value", pa.string()),  # null: as in `a_value`
        pa.field("b_key", KEY, nullable=False),
        pa.field("proof", WORD, nullable=False),
        pa.field("time_ms", pa.int64(), nullable=False),
        pa.field("session_id", KEY, nullable=False),
        pa.field("session_started_ms", pa.int64(), nullable=False),
        pa.field("event_id", KEY, nullable=False),
        pa.field("token_id", pa.string(), nullable=False),
        pa.field("human", WORD, nullable=False),
        pa.field("site_id", WORD, nullable=False),
        pa.field("op", pa.int8(), nullable=False),
    ]
)
"""One row of evidence of one space. Rows in any order, with repeats and with what is taken back."""

MAP = pa.schema(
    [
        ("key", KEY),
        ("key_kind", WORD),
        ("key_customer_id", pa.string()),
        ("person_id", KEY),
        ("customer_id", pa.string()),
        ("customer_key", KEY),
        ("valid_from_ms", pa.int64()),
        ("several", pa.uint8()),
        ("level", pa.uint8()),
        ("provisional", pa.uint8()),
        ("proved", pa.uint8()),
    ]
)
INTERVALS = pa.schema(
    [
        ("key", KEY),
        ("valid_from_ms", pa.int64()),
        ("valid_to_ms", pa.int64()),  # null: for ever
        ("person_id", KEY),
        ("customer_id", pa.string()),
        ("customer_key", KEY),
        ("level", pa.uint8()),
        ("provisional", pa.uint8()),
        ("proved", pa.uint8()),
    ]
)
CUSTOMERS = pa.schema(
    [
        ("person_id", KEY),
        ("customer_id", pa.string()),
        ("customer_kind", WORD),
        ("customer_key", KEY),
        ("level", pa.uint8()),
        ("provisional", pa.uint8()),
        ("since_ms", pa.int64()),
    ]
)
GUARDS = pa.schema(
    [
        ("evidence_id", pa.string()),
        ("reason", WORD),
        ("at_ms", pa.int64()),
        ("a_key", KEY),
        ("b_key", KEY),
        ("person_id", KEY),
        ("other_person_id", KEY),
    ]
)
MERGES = GUARDS


@dataclass(slots=True)
class ResolutionColumns:
    """What `Resolution` has, as tables of the schemas above. Rows are in no order; none comes twice."""

    map_rows: pa.Table
    intervals: pa.Table
    customers: pa.Table
    guards: pa.Table
    merges: pa.Table


def make_table(rows: Iterable[Evidence], blocked: frozenset[str] = frozenset()) -> pa.Table:
    """Return evidence as a table. `blocked`: the space's own list of values, see `Policy`."""
    rows = list(rows)
    columns: dict[str, list[Any]] = {name: [getattr(row, name, None) for row in rows] for name in EVIDENCE.names}
    for name in ("a_key", "b_key", "session_id", "event_id"):
        columns[name] = [to_bytes(text) for text in columns[name]]
    for side in ("a", "b"):
        columns[f"{side}_value"] = [
            None if kind == VISITOR_KIND and is_ordinary(value, blocked) else value
            for kind, value in zip(columns[f"{side}_kind"], columns[f"{side}_value"], strict=True)
        ]
    texts = columns["evidence_id"]
    columns["evidence_text"] = [None if UUID.fullmatch(text) else text for text in texts]
    columns["evidence_id"] = [
        to_bytes(text) if UUID.fullmatch(text) else blake2b(text.encode(), digest_size=16).digest() for text in texts
    ]
    return pa.table(columns, schema=EVIDENCE)


def is_ordinary(value: str, blocked: frozenset[str]) -> bool:
    """Whether a visitor's value need not be carried: an id as the tag makes them, and on no list."""
    return UUID.fullmatch(value) is not None and not is_blocked(value) and value not in blocked


def read_evidence(table: pa.Table) -> list[Evidence]:
    """Return a table's rows as evidence, with what `resolve` looks at: all else has its default.

    A value that is not carried is given as the text of its key, which is as good an id as any.
    """
    columns = {name: table[name].to_pylist() for name in EVIDENCE.names}
    for name in ("evidence_id", "a_key", "b_key", "session_id", "event_id"):
        columns[name] = [to_text(raw) for raw in columns[name]]
    texts = columns.pop("evidence_text")
    columns["evidence_id"] = [text or of for text, of in zip(texts, columns["evidence_id"], strict=True)]
    for side in ("a", "b"):
        values, keys = columns[f"{side}_value"], columns[f"{side}_key"]
        columns[f"{side}_value"] = [key if value is None else value for value, key in zip(values, keys, strict=True)]
    names = list(columns)
    return [
        Evidence(**dict(zip(names, cells, strict=True)), b_unique=0, source="")
        for cells in zip(*columns.values(), strict=True)
    ]


def make_columns(resolution: Resolution) -> ResolutionColumns:
    """Return a resolution as tables."""
    return ResolutionColumns(
        _make(resolution.map_rows, MapRow._fields, MAP),
        _make(resolution.intervals, IntervalRow._fields, INTERVALS),
        _make(resolution.customers, CustomerRow._fields, CUSTOMERS),
        _make(resolution.guards, GuardEntry._fields, GUARDS),
        _make(resolution.merges, MergeEntry._fields, MERGES),
    )


def read_resolution(columns: ResolutionColumns) -> Resolution:
    """Return tables as a resolution, each part sorted as `resolve` sorts it."""
    return Resolution(
        tuple(sorted(MapRow(*cells) for cells in _read(columns.map_rows))),
        tuple(sorted((IntervalRow(*cells) for cells in _read(columns.intervals)), key=lambda row: row[:2])),
        tuple(sorted(CustomerRow(*cells) for cells in _read(columns.customers))),
        tuple(sorted(GuardEntry(*cells) for cells in _read(columns.guards))),
        tuple(sorted(MergeEntry(*cells) for cells in _read(columns.merges))),
    )


def to_bytes(text: str) -> bytes:
    """Return the 16 bytes of a UUID's text."""
    return bytes.fromhex(text.replace("-", ""))


def to_text(raw: bytes) -> str:
    """Return the text of a UUID's 16 bytes."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _make(rows: Sequence[tuple[Any, ...]], names: Sequence[str], schema: pa.Schema) -> pa.Table:
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    arrays = []
    for field in schema:
        cells: Sequence[Any] = columns[field.name]
        if field.type == KEY:
            cells = [to_bytes(text) for text in cells]
        arrays.append(pa.array(cells, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _read(table: pa.Table) -> Iterable[tuple[Any, ...]]:
    columns = []
    for field in table.schema:
        cells = table[field.name].to_pylist()
        columns.append([to_text(raw) for raw in cells] if field.type == KEY else cells)
    return zip(*columns, strict=True)
