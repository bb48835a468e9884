"""What stands in the identity tables, as columns: read, compared and written without an object for each row.

What `standing` does for a few people, for millions. A row is the same where all its columns are; rows are found by
their key's bytes. Imports numpy and pyarrow: only stitch and rebuild may import this module, and late.

Invariants: comparing is a function of two sets of rows, in any order; what is written is what differs, and a row that
should not stand is written as one that says so. The map is written last, because the intervals belong to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from collector.identity.bulk.columns import CUSTOMERS, INTERVALS, KEY, MAP, ResolutionColumns
from collector.identity.standing import FOR_EVER_MS
from collector.identity.stitching.component_columns import FIELDS_OF_KEYS, cut_keys
from collector.identity.stitching.packed_map import read_map_rows
from collector.store.client import StoreClient

GUARD_LOG, MERGE_LOG = "guard_log", "merge_log"
ROWS_PER_INSERT = 1_500_000
MOST_MOMENTS = 100_000
MOMENTS_PER_QUESTION = 6_000
SETTINGS: Mapping[str, Any] = {
    "async_insert": 0,
    "input_format_defaults_for_omitted_fields": 1,
    "optimize_on_insert": 0,  # no row comes twice: looking for that costs three times the insert
}
_ENTRY = ("evidence_id", "reason", "from_person_id", "to_person_id")
_MOMENT = pa.timestamp("ms", "UTC")
_LOGGED = """
    SELECT evidence_id, reason, log.from_person_id AS from_person_id, log.to_person_id AS to_person_id
    FROM {table:Identifier} AS log
    WHERE space_id = {space:String}
"""


class Form(NamedTuple):
    """How one table of the store is read into columns. `names`: what names a row there."""

    table: str
    schema: pa.Schema
    names: tuple[str, ...]
    moments: Mapping[str, str]  # column of the table by column of ours; milliseconds in ours

    @property
    def question(self) -> str:
        """The rows of a space that stand."""
        said = [
            f"toUnixTimestamp64Milli(standing.{self.moments[name]}) AS {name}"
            if name in self.moments
            else f"standing.{name} AS {name}"
            for name in self.schema.names
        ]
        # Our own names, from the schema; values are bound.
        return f"SELECT {', '.join(said)} FROM {self.table} AS standing FINAL WHERE space_id = {{space:String}}"  # noqa: S608


MAP_FORM = Form("identity_map", MAP, ("key",), {"valid_from_ms": "valid_from"})
INTERVALS_FORM = Form(
    "identity_intervals",
    INTERVALS,
    ("key", "valid_from_ms"),
    {"valid_from_ms": "valid_from", "valid_to_ms": "valid_to"},
)
CUSTOMERS_FORM = Form("customers", CUSTOMERS, ("person_id",), {"since_ms": "since"})
FORMS = (INTERVALS_FORM, CUSTOMERS_FORM, MAP_FORM)
"""In the order in which they are written."""


@dataclass(frozen=True, slots=True)
class TableChange:
    """What must be written to one table: rows that are new or differ, and the names of rows that must go."""

    form: Form
    rows: pa.Table
    gone: pa.Table

    @property
    def size(self) -> int:
        """How many rows differ."""
        return int(self.rows.num_rows + self.gone.num_rows)


def pick(form: Form, columns: ResolutionColumns) -> pa.Table:
    """Return the part of a resolution that belongs into a table, as `read_table` gives what stands there."""
    rows = {"identity_map": columns.map_rows, "identity_intervals": columns.intervals}.get(form.table)
    return _level(form, columns.customers if rows is None else rows)


def read_table(client: StoreClient, form: Form, space_id: str) -> pa.Table:
    """Return the rows of a space that stand."""
    return _level(form, client.read_columns(form.question, {"space": space_id}))


def read_rows(client: StoreClient, form: Form, space_id: str, keys: Iterable[bytes]) -> pa.Table:
    """Return those of the rows of a space that stand under these keys."""
    if form is MAP_FORM:
        rows, unsure = read_map_rows(client, space_id, keys)
        return pa.concat_tables([rows, _read_final(client, form, space_id, unsure.to_pylist())])
    return _read_final(client, form, space_id, keys)


def _read_final(client: StoreClient, form: Form, space_id: str, keys: Iterable[bytes]) -> pa.Table:
    sql = f"{form.question} AND standing.{form.names[0]} IN {FIELDS_OF_KEYS}"
    parts = [client.read_columns(sql, {"space": space_id, **part}) for part in cut_keys(keys)]
    return _level(form, pa.concat_tables(parts)) if parts else _level(form, form.schema.empty_table())


def write_all_again(change: TableChange, wanted: pa.Table, keys: Iterable[bytes]) -> TableChange:
    """Return all rows of these keys, changed or not, and a sign for each key that has none, or whose row is gone.

    For positions that another stitcher may have seen half of: whatever it writes late has a lower version than this.
    """
    if change.form is INTERVALS_FORM:
        return TableChange(change.form, wanted, change.gone)
    name = change.form.names[0]
    every = pa.array(sorted({*keys, *change.gone[name].to_pylist()}), KEY)
    none = every.filter(pc.invert(pc.is_in(every, value_set=wanted[name])))
    return TableChange(change.form, wanted, pa.table({name: none}))


def compare_table(form: Form, wanted: pa.Table, found: pa.Table) -> TableChange:
    """Return what must be written so that `found` becomes `wanted`."""
    if not found.num_rows:
        return TableChange(form, wanted, found.select(form.names))
    names, there = _name(form, wanted), _name(form, found)
    places = pc.index_in(names, value_set=there)
    differs = pc.is_null(places)
    standing = found.take(pc.fill_null(places, 0))
    for name in form.schema.names:
        if name not in form.names:
            differs = pc.or_(differs, pc.not_equal(_plain(wanted[name]), _plain(standing[name])))
    gone = found.select(form.names).filter(pc.invert(pc.is_in(there, value_set=names)))
    return TableChange(form, wanted.filter(differs), gone)


def write_table(
    client: StoreClient, space_id: str, change: TableChange, version: int, tell: Callable[[int], None] = lambda _: None
) -> None:
    """Write what differs. `tell` hears how many rows were written, insert by insert. Raises StoreError."""
    for rows, is_deleted in ((change.rows, 0), (change.gone, 1)):
        for start in range(0, rows.num_rows, ROWS_PER_INSERT):
            part = rows.slice(start, ROWS_PER_INSERT)
            store = _for_store(change.form, part, space_id, version, is_deleted)
            client.insert_columns(f"{client.database}.{change.form.table}", store, SETTINGS)
            tell(part.num_rows)


def write_log(client: StoreClient, table: str, space_id: str, entries: pa.Table, version: int) -> dict[str, int]:
    """Add those entries of `guard_log` or `merge_log` that are not there yet. Returns how many, by their reason.
    Raises StoreError."""
    if not entries.num_rows:
        return {}
    entries = name_entries(table, entries)
    entries = leave_known(entries, _read_known(client, table, space_id, entries))
    add_entries(client, table, space_id, entries, version)
    counts = pc.value_counts(entries["reason"].cast(pa.string())).to_pylist()
    return {item["values"]: item["counts"] for item in counts}


def name_entries(table: str, entries: pa.Table) -> pa.Table:
    """Return what `resolve` says of guards or merges with the names that the log has."""
    first, second = ("person_id", "other_person_id") if table == GUARD_LOG else ("other_person_id", "person_id")
    entries = entries.rename_columns({first: "from_person_id", second: "to_person_id", "at_ms": "at"})
    return entries.set_column(entries.schema.get_field_index("at"), "at", entries["at"].cast(_MOMENT))


def leave_known(entries: pa.Table, known: pa.Table) -> pa.Table:
    """Return the entries that are not known. `known`: as `read_log` has it."""
    if not known.num_rows or not entries.num_rows:
        return entries
    return entries.filter(pc.invert(pc.is_in(_glue(entries, _ENTRY), value_set=_glue(known, _ENTRY))))


def add_entries(client: StoreClient, table: str, space_id: str, entries: pa.Table, version: int) -> None:
    """Add entries to a log. Raises StoreError."""
    for start in range(0, entries.num_rows, ROWS_PER_INSERT):
        part = _head(entries.slice(start, ROWS_PER_INSERT), space_id, version)
        client.insert_columns(f"{client.database}.{table}", part, SETTINGS)


def read_log(client: StoreClient, table: str, space_id: str) -> pa.Table:
    """Return what names the entries that a log has."""
    return client.read_columns(_LOGGED, {"table": table, "space": space_id})


def _read_known(client: StoreClient, table: str, space_id: str, entries: pa.Table) -> pa.Table:
    """Return what the log has of the moments of these entries; of very many entries, all that it has."""
    params = {"table": table, "space": space_id}
    if entries.num_rows > MOST_MOMENTS:
        return read_log(client, table, space_id)
    moments = sorted(set(entries["at"].cast(pa.int64()).to_pylist()))
    parts = [
        client.read_columns(
            f"{_LOGGED} AND at IN (SELECT fromUnixTimestamp64Milli(arrayJoin({{moments:Array(Int64)}}), 'UTC'))",
            {**params, "moments": moments[start : start + MOMENTS_PER_QUESTION]},
        )
        for start in range(0, len(moments), MOMENTS_PER_QUESTION)
    ]
    return pa.concat_tables(parts)


def _level(form: Form, rows: pa.Table) -> pa.Table:
    """Return rows with the schema of ours, without null: an interval that never ends has the store's last moment."""
    columns = []
    for field in form.schema:
        column = rows[field.name]
        if field.name == "valid_to_ms":
            column = pc.fill_null(column.cast(pa.int64()), FOR_EVER_MS)
        columns.append(column.cast(field.type))
    return pa.table(columns, names=form.schema.names)


def _name(form: Form, rows: pa.Table) -> pa.ChunkedArray:
    """Return what names each row there as one array of bytes."""
    if len(form.names) == 1:
        return rows[form.names[0]]
    return _glue(rows, form.names)


def _glue(rows: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    """Return several columns as one of bytes. Ids have one length and come last, so that nothing can be confused."""
    parts = []
    for name in names:
        column = _plain(rows[name])
        parts.append(column.cast(pa.string()).cast(pa.binary()) if column.type != KEY else column.cast(pa.binary()))
    return pc.binary_join_element_wise(*parts, pa.scalar(b"\x00", pa.binary()))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return words as texts: two dictionaries need not have the same order."""
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _for_store(form: Form, rows: pa.Table, space_id: str, version: int, is_deleted: int) -> pa.Table:
    """Return rows as the table in the store has them."""
    columns = {}
    for name in rows.column_names:
        if name in form.moments:
            columns[form.moments[name]] = rows[name].cast(_MOMENT)
        else:
            columns[name] = rows[name]
    columns["is_deleted"] = pa.repeat(pa.scalar(is_deleted, pa.uint8()), rows.num_rows)
    return _head(pa.table(columns), space_id, version)


def _head(rows: pa.Table, space_id: str, version: int) -> pa.Table:
    count = rows.num_rows
    space = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), pa.array([space_id]))
    return rows.append_column("space_id", space).append_column(
        "version", pa.repeat(pa.scalar(version, pa.uint64()), count)
    )
