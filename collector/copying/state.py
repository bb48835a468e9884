"""Copies the tables of state whole: the identity map, customers, the list of batches, sites, keys and their like.

They change while the instance runs, so they are copied when loading is paused and stitch has caught up. Their rows
replace each other by version: copied twice is the same as once.
"""

from __future__ import annotations

from collections.abc import Iterator

from collector.copying.tables import Table
from collector.store.client import StoreClient
from collector.store.writer import insert_copied

SLICE_ROWS = 200_000
FIRST = "stitch_progress"
"""Copied before the map: a map that is ahead of its progress is only worked out again, one that is behind is wrong."""


def order_state(tables: list[Table]) -> list[Table]:
    """Return the tables of state in the order in which they have to be copied."""
    return sorted(
        (table for table in tables if table.kind == "state"), key=lambda table: (table.name != FIRST, table.name)
    )


def copy_state(source: StoreClient, target: StoreClient, table: Table) -> Iterator[int]:
    """Copy one table, in slices by a hash of its key; yield the bytes of each. Raises StoreError."""
    slices = 1 + table.rows // SLICE_ROWS
    columns = ", ".join(table.columns)
    for number in range(slices):
        answer = source.stream(
            f"SELECT {columns} FROM {table.name}"  # noqa: S608  our own names
            f" WHERE cityHash64({table.sorting_key}) % {{slices:UInt64}} = {{number:UInt64}}",
            {"slices": slices, "number": number},
            "Native",
        )
        with answer:
            data = b"".join(answer)
        if data:
            insert_copied(target, table.name, table.columns, data)
        yield len(data)
