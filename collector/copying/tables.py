"""What a store consists of, as the copy sees it: its tables, how each is copied and how two copies are compared.

Read from the store itself, so that a table of a later migration is copied without a word here. Three kinds:

    batched   every row names its batch (`batch_host`, `batch_seq`): copied batch by batch while loading goes on
    derived   filled by a view on a stored table: the same view fills it at the target, it is only compared
    state     everything else: rows that replace each other by version; copied whole, at the end

Invariants: a checksum does not depend on the order of rows, on merges, or on what retention is about to remove.
What retention removes is in EXPIRY; a test holds it complete.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from collector.errors import SchemaError
from collector.store.client import StoreClient

Kind = Literal["batched", "derived", "state"]
NOT_COPIED = frozenset(
    {"schema_migrations", "schema_lock", "person_keys", "touched_people", "touched_keys", "audience_progress"}
)
"""The target has its own: `migrate` makes the first two, its map gives it the keys of people, and whom a batch has
touched is of use to this store's own followers alone, for a day. These begin anew there, and judge everybody."""

EXPIRY: Mapping[str, str] = {
    "audit_details": "toDateTime(at) + toIntervalDay(1095) < now() + toIntervalHour(12)",
    "audit_log": "toDateTime(at) + toIntervalDay(1095) < now() + toIntervalHour(12)",
    "audience_changes": "toDateTime(at) + toIntervalDay(90) < now() + toIntervalHour(12)",
    "events": "keep_days > 0 AND toDateTime(time) + toIntervalDay(keep_days) < now() + toIntervalHour(12)",
    "offer_exposures": "keep_days > 0 AND toDateTime(time) + toIntervalDay(keep_days) < now() + toIntervalHour(12)",
    "signal_withdrawals": "toDateTime(loaded_at) + toIntervalDay(30) < now() + toIntervalHour(12)",
    "sessions": "keep_days > 0 AND toDateTime(first_time) + toIntervalDay(keep_days) < now() + toIntervalDay(2)",
    "profile_reads": "toDateTime(at) + toIntervalDay(1095) < now() + toIntervalHour(12)",
    "rejected_events": "toDateTime(received_at) + toIntervalDay(keep_days) < now() + toIntervalHour(12)",
    "timeline": "keep_days > 0 AND toDateTime(time) + toIntervalDay(keep_days) < now() + toIntervalHour(12)",
    "traits": "keep_days > 0 AND toDateTime(time) + toIntervalDay(keep_days) < now() + toIntervalHour(12)",
    "touched_keys": "toDateTime(at) + toIntervalDay(1) < now() + toIntervalHour(12)",
    "touched_people": "loaded_at + toIntervalDay(1) < now() + toIntervalHour(12)",
    "visitor_facts": "keep_days > 0 AND toDateTime(last_time) + toIntervalDay(keep_days) < now() + toIntervalDay(2)",
    "webhook_deliveries": "toDateTime(created_at) + toIntervalDay(30) < now() + toIntervalHour(12)",
}
"""For each table with a TTL: the rows that are not compared, as either store may have removed them already."""
EMPTIED: Mapping[str, frozenset[str]] = {"events": frozenset({"network"})}
"""Columns with a TTL of their own, which are not compared either."""
COMPARED: Mapping[str, str] = {
    # Of one session two stores may hold other pieces: events that were sent twice left their traces in one only.
    "sessions": "site_id, visitor_id, session_id, first_time, last_time, finalizeAggregation(events), "
    "finalizeAggregation(page_views)",
    "visitor_facts": "space_id, own_person_id, month, first_time, last_time, "
    "arraySort(finalizeAggregation(orders)), arraySort(finalizeAggregation(seen))",
}
"""What is compared of a derived table."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `columns`: those that are stored, in order. `size_bytes`: on disk, compressed."""

    name: str
    kind: Kind
    columns: tuple[str, ...]
    sorting_key: str
    is_keyed: bool  # a row that comes twice becomes one by its key
    is_partitioned: bool
    rows: int
    size_bytes: int
    json_columns: frozenset[str] = frozenset()

    @property
    def checksum(self) -> str:
        """An expression: a number for each row, the same wherever the row lies."""
        if self.name in COMPARED:
            return f"cityHash64({COMPARED[self.name]})"
        left_out = EMPTIED.get(self.name, frozenset())
        # How a store keeps an object depends on its neighbours; its text does not.
        values = [f"toJSONString({c})" if c in self.json_columns else c for c in self.columns if c not in left_out]
        return f"cityHash64({', '.join(values)})"

    @property
    def order(self) -> str:
        """An ORDER BY under which the same rows are always the same bytes, and of two equal keys the later wins."""
        return f"batch_seq, {self.sorting_key if self.is_keyed else ', '.join(self.columns)}"


TABLES = """
SELECT name, engine, sorting_key, partition_key, dependencies_table AS views, coalesce(total_rows, 0) AS rows,
       coalesce(total_bytes, 0) AS size_bytes
FROM system.tables
WHERE database = {database:String} AND engine LIKE '%MergeTree'
ORDER BY name
"""
COLUMNS = """
SELECT table, name, type FROM system.columns
WHERE database = {database:String} AND default_kind NOT IN ('ALIAS', 'MATERIALIZED', 'EPHEMERAL')
ORDER BY table, position
"""
VIEWS = """
SELECT name, create_table_query AS source FROM system.tables
WHERE database = {database:String} AND engine = 'MaterializedView'
"""


def read_tables(client: StoreClient) -> list[Table]:
    """Return the tables to copy, batched ones first, then derived, then state. Raises StoreError.

    Raises SchemaError where a view fills a table that also holds rows of its own batches: such a one needs a kind.
    """
    params = {"database": client.database}
    columns: dict[str, list[tuple[str, str]]] = {}
    for row in client.query_rows(COLUMNS, params):
        columns.setdefault(row["table"], []).append((row["name"], row["type"]))
    rows = client.query_rows(TABLES, params)
    targets = {row["name"]: _find_view_target(row["source"]) for row in client.query_rows(VIEWS, params)}
    derived = {targets[view] for row in rows for view in row["views"] if view in targets}
    found = []
    for row in rows:
        name = row["name"]
        if name in NOT_COPIED:
            continue
        names = tuple(column for column, _ in columns[name])
        is_batched = {"batch_host", "batch_seq"} <= set(names)
        if is_batched and name in derived:
            raise SchemaError(f"table {name} is filled by a view on a table and names batches: it cannot be copied")
        found.append(
            Table(
                name=name,
                kind="batched" if is_batched else "derived" if name in derived else "state",
                columns=names,
                sorting_key=row["sorting_key"],
                is_keyed=row["engine"].removeprefix("Replicated") != "MergeTree",
                is_partitioned=bool(row["partition_key"]),
                rows=int(row["rows"]),
                size_bytes=int(row["size_bytes"]),
                json_columns=frozenset(column for column, kind in columns[name] if kind.startswith("JSON")),
            )
        )
    kinds = ("batched", "derived", "state")
    return sorted(found, key=lambda table: (kinds.index(table.kind), table.name))


def _find_view_target(source: str) -> str:
    match = re.search(r"\bTO (?:`?\w+`?\.)?`?(\w+)`?", source)
    return match[1] if match else ""
