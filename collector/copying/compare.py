"""Whether two stores hold the same: rows and a checksum of every table, by partition where a row has one for ever.

Both sides are asked the same question. Rows that differ only in how far merges have come are the same: a table with
a key is read as its readers see it, with FINAL.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from collector.copying.tables import EXPIRY, Table
from collector.store.client import StoreClient


class Sum(NamedTuple):
    """Rows, and the sum of their checksums modulo 2^64."""

    rows: int
    checksum: int


class Difference(NamedTuple):
    """A partition that is not the same. `partition`: as ClickHouse names it, `all` where the table has none."""

    table: str
    partition: str
    source: Sum
    target: Sum


def compare_tables(
    source: StoreClient, target: StoreClient, tables: list[Table]
) -> Iterator[tuple[Table, int, list[Difference]]]:
    """Compare table by table: yield each with its rows at the source and what differs. Raises StoreError."""
    for table in tables:
        ours, theirs = sum_table(source, table), sum_table(target, table)
        nothing = Sum(0, 0)
        differences = [
            Difference(table.name, partition, ours.get(partition, nothing), theirs.get(partition, nothing))
            for partition in sorted(ours.keys() | theirs.keys())
            if ours.get(partition, nothing) != theirs.get(partition, nothing)
        ]
        yield table, sum(part.rows for part in ours.values()), differences


def sum_table(client: StoreClient, table: Table) -> dict[str, Sum]:
    """Return rows and checksum by partition."""
    # A session may begin in another month's partition there: its parts are put together over all of them.
    by_partition = table.is_partitioned and table.kind != "derived"
    partition = "_partition_id" if by_partition else "'all'"
    final = "FINAL" if table.is_keyed else ""
    alive = f"NOT ({EXPIRY[table.name]})" if table.name in EXPIRY else "1"
    rows = client.query_rows(
        f"SELECT {partition} AS part, count() AS n, sum({table.checksum}) AS checksum"  # noqa: S608  our own names
        f" FROM {table.name} {final} WHERE {alive} GROUP BY part",
        settings={"do_not_merge_across_partitions_select_final": int(by_partition), "priority": 5},
    )
    return {str(row["part"]): Sum(int(row["n"]), int(row["checksum"])) for row in rows}
