"""Tables of analysts: what dbt and notebooks have put into the database `analytics`, and how people are erased there.

A table says by which columns it names people:

    by the columns' names     person_id, own_person_id, customer_key, visitor_id, customer_id, as the views have them
    by its comment            [tagstitch: person=uid], [tagstitch: customer=no, visitor=v]
    that it names nobody      [tagstitch: nobody], or no column that could: numbers, dates and LowCardinality alone

Any other table is not listed, and no erasure begins while there is one: what nobody can find nobody can erase, and a
certificate would say too much. Views hold nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from collector.errors import PrivacyError, PrivacyReason
from collector.privacy.store_files import wait_for_files, wait_for_mutations
from collector.privacy.traces import Names
from collector.store.client import StoreClient
from collector.store.dsn import ANALYTICS_DATABASE

KNOWN = {
    "person_id": "person",
    "own_person_id": "person",
    "customer_key": "person",
    "visitor_id": "visitor",
    "customer_id": "customer",
}
"""What the views call them, and what each holds."""

_DECLARED = re.compile(r"\[tagstitch:\s*([^\]]*)\]")
_PAIR = re.compile(r"(person|visitor|customer)\s*=\s*([A-Za-z_][A-Za-z0-9_]*)")
_HARMLESS = re.compile(
    r"(?:Nullable\()?(?:U?Int\d+|Float\d+|BFloat16|Bool|Date(?:32)?|Time|Decimal|DateTime|Enum|Interval|LowCardinality"
    r"|SimpleAggregateFunction\(\w+, (?:U?Int|Float|Date))"
)
_TABLES = """
SELECT held.name AS name, held.engine AS engine, held.comment AS comment,
    arraySort(groupArray((columns.position, columns.name, columns.type))) AS columns
FROM system.tables AS held INNER JOIN system.columns AS columns
    ON columns.database = held.database AND columns.table = held.name
WHERE held.database = {database:String} AND held.engine NOT LIKE '%View' AND held.engine != 'Null'
GROUP BY name, engine, comment ORDER BY name
"""
KEYS_PER_QUESTION = 2_000
_SYNC: Mapping[str, object] = {"mutations_sync": 2}


class _Marks(NamedTuple):
    """Keyed hashes of values by their kind, and the key, as it is bound."""

    key: dict[str, int]
    hashes: dict[str, list[int]]


class Materialised(NamedTuple):
    """A table. `columns`: kind (person, visitor, customer) by the column's name; `problem`: why it is not listed, ""
    where it is."""

    name: str
    columns: Mapping[str, str]
    problem: str = ""

    @property
    def holds(self) -> str:
        """What it says of itself, in words."""
        by = ", ".join(sorted(self.columns))
        return self.problem or (f"erased by {by}" if by else "names nobody")


def list_materialised(client: StoreClient) -> list[Materialised]:
    """Return the tables of analysts. Raises StoreError."""
    rows = client.query_rows(_TABLES, {"database": ANALYTICS_DATABASE})
    return [
        _judge(row["name"], row["engine"], row["comment"], [column[1:] for column in row["columns"]]) for row in rows
    ]


def check_listed(client: StoreClient) -> None:
    """Raise PrivacyError where a table of analysts does not say by which column people are erased; StoreError."""
    unlisted = [table for table in list_materialised(client) if table.problem]
    if unlisted:
        first = unlisted[0]
        more = f" (and {len(unlisted) - 1} more: `tagstitch privacy tables`)" if len(unlisted) > 1 else ""
        raise PrivacyError(
            PrivacyReason.PENDING,
            f"nobody can be erased from {ANALYTICS_DATABASE}.{first.name}: {first.problem}{more}. Drop it, or say in "
            f"its comment by which column people are found: {write_fix(first.name)}",
        )


def write_fix(name: str) -> str:
    """Return the statement by which a table says how people are erased from it."""
    table = f"{ANALYTICS_DATABASE}.`{name}`"
    return f"ALTER TABLE {table} MODIFY COMMENT '[tagstitch: person=COLUMN]', or '[tagstitch: nobody]'"


def erase_materialised(client: StoreClient, names: Names) -> dict[str, int]:
    """Remove rows that name them, and return how many went, by table; those files are gone from the disk then.

    Raises PrivacyError where rows are left, StoreError.
    """
    found: dict[str, int] = {}
    tables = [table for table in list_materialised(client) if table.columns]
    marks = _hash(client, names)
    for table in tables:
        for condition, params in _list_conditions(table, marks):
            if count := _count(client, table, condition, params):
                client.command(
                    f"ALTER TABLE {_name(table)}{_on_cluster(client)} DELETE WHERE {condition}", params, _SYNC
                )
                found[f"{ANALYTICS_DATABASE}.{table.name}"] = found.get(f"{ANALYTICS_DATABASE}.{table.name}", 0) + count
    touched = [name.partition(".")[2] for name in found]
    wait_for_mutations(client, touched, database=ANALYTICS_DATABASE)
    wait_for_files(client, touched, database=ANALYTICS_DATABASE)
    for table in tables:
        if any(_count(client, table, *asked) for asked in _list_conditions(table, marks)):
            raise PrivacyError(PrivacyReason.LEFT, f"rows are left in {ANALYTICS_DATABASE}.{table.name}: run it again")
    return found


def _judge(name: str, engine: str, comment: str, columns: Iterable[tuple[str, str]]) -> Materialised:
    types = dict(columns)
    declared = _DECLARED.search(comment)
    said = {column: kind for kind, column in _PAIR.findall(declared[1])} if declared else {}
    if unknown := sorted(set(said) - set(types)):
        return Materialised(name, {}, f"its comment names column {unknown[0]}, which it has not")
    if declared and not said:
        is_nobody = declared[1].strip() == "nobody"
        return Materialised(name, {}, "" if is_nobody else "its comment cannot be understood")
    by = said or {column: KNOWN[column] for column in types if column in KNOWN}
    if by and not engine.endswith("MergeTree") and engine != "Memory":
        return Materialised(name, by, f"no row can be removed from a table of engine {engine}")
    if by or all(_HARMLESS.match(kind) for kind in types.values()):
        return Materialised(name, by)
    return Materialised(name, {}, "it does not say by which column it names people")


def _hash(client: StoreClient, names: Names) -> _Marks:
    """Return what stands for each value: the store keeps the text of a deletion on its disk, so no value may be in it.
    The key is drawn anew each time, and so leads from one text to no other."""
    key = {"k0": secrets.randbits(64), "k1": secrets.randbits(64)}
    held = {"person": names.keys, "visitor": names.visitors, "customer": names.values}
    hashes: dict[str, list[int]] = {}
    for kind, values in held.items():
        ordered = sorted(values)
        hashes[kind] = []
        for start in range(0, len(ordered), KEYS_PER_QUESTION):
            rows = client.query_rows(
                "SELECT sipHash64Keyed(({k0:UInt64}, {k1:UInt64}), arrayJoin({values:Array(String)})) AS hash",
                {**key, "values": ordered[start : start + KEYS_PER_QUESTION]},
            )
            hashes[kind] += [int(row["hash"]) for row in rows]
    return _Marks(key, hashes)


def _count(client: StoreClient, table: Materialised, condition: str, params: Mapping[str, object]) -> int:
    sql = f"SELECT count() AS found FROM {_name(table)} WHERE {condition}"  # noqa: S608  our own words
    return int(client.query_rows(sql, params)[0]["found"])


def _name(table: Materialised) -> str:
    return f"`{ANALYTICS_DATABASE}`.`{table.name}`"


def _list_conditions(table: Materialised, marks: _Marks) -> Iterable[tuple[str, dict[str, object]]]:
    for column, kind in sorted(table.columns.items()):
        hashes = marks.hashes[kind]
        for start in range(0, len(hashes), KEYS_PER_QUESTION):
            params: dict[str, object] = {**marks.key, "hashes": hashes[start : start + KEYS_PER_QUESTION]}
            value = f"ifNull(toString(`{column}`), '')"
            yield f"sipHash64Keyed(({{k0:UInt64}}, {{k1:UInt64}}), {value}) IN {{hashes:Array(UInt64)}}", params


def _on_cluster(client: StoreClient) -> str:
    return f" ON CLUSTER `{client.cluster}`" if client.cluster else ""
