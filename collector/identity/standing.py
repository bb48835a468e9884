"""What stands in the identity tables, and how it is brought to what `resolve` says.

Owns reading and writing `identity_map`, `identity_intervals`, `customers`, `merge_log` and `guard_log`. A row is
replaced by one of a higher version, the position in the list of batches that it was computed from; a row that should
not be is replaced by one that says so. The two logs only grow: they are history.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from collector.identity.resolve import CustomerRow, IntervalRow, MapRow, Resolution
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

FOR_EVER_MS = 10_413_791_999_999
"""2299-12-31 23:59:59.999: the last moment that DateTime64(3) knows stands for "no end"."""

KEYS_PER_QUESTION = 250
_EPOCH = datetime(1970, 1, 1)
# Qualified, because a bare name would mean the text that the question makes of the column.
_SPACE = " WHERE space_id = {space:String}"
_BY_KEY = _SPACE + " AND standing.key IN {keys:Array(UUID)}"
_BY_PERSON = _SPACE + " AND standing.person_id IN {keys:Array(UUID)}"
_MAP = """
    SELECT toString(standing.key) AS key, key_kind, key_customer_id, toString(standing.person_id) AS person_id,
        customer_id, toString(customer_key) AS customer_key, toUnixTimestamp64Milli(valid_from) AS valid_from_ms,
        several, level, provisional, proved
    FROM identity_map AS standing FINAL
"""
_INTERVALS = """
    SELECT toString(standing.key) AS key, toUnixTimestamp64Milli(valid_from) AS valid_from_ms,
        toUnixTimestamp64Milli(valid_to) AS valid_to_ms, toString(standing.person_id) AS person_id, customer_id,
        toString(customer_key) AS customer_key, level, provisional, proved
    FROM identity_intervals AS standing FINAL
"""
_CUSTOMERS = """
    SELECT toString(standing.person_id) AS person_id, customer_id, customer_kind,
        toString(customer_key) AS customer_key, level, provisional, toUnixTimestamp64Milli(since) AS since_ms
    FROM customers AS standing FINAL
"""


class Standing(NamedTuple):
    """Rows of the three tables by what names them there."""

    map_rows: dict[str, MapRow]
    intervals: dict[tuple[str, int], IntervalRow]
    customers: dict[str, CustomerRow]


class Change(NamedTuple):
    """Rows to write and rows to take away, by table. Nothing in it: nothing has changed."""

    map_rows: list[MapRow]
    intervals: list[IntervalRow]
    customers: list[CustomerRow]
    map_gone: list[str]
    intervals_gone: list[tuple[str, int]]
    customers_gone: list[str]

    @property
    def size(self) -> int:
        """How many rows differ."""
        return sum(len(part) for part in self)


def read_standing(client: StoreClient, space_id: str, keys: Iterable[str]) -> Standing:
    """Read the rows of these keys: as identifiers, and as people."""
    standing = Standing({}, {}, {})
    ordered = sorted(keys)
    for start in range(0, len(ordered), KEYS_PER_QUESTION):
        part = ordered[start : start + KEYS_PER_QUESTION]
        _read_into(standing, client, {"space": space_id, "keys": part}, _BY_KEY, _BY_PERSON)
    return standing


def read_all_standing(client: StoreClient, space_id: str) -> Standing:
    """Read all rows of a space."""
    standing = Standing({}, {}, {})
    _read_into(standing, client, {"space": space_id}, _SPACE, _SPACE)
    return standing


def index(resolution: Resolution) -> Standing:
    """Return what ought to stand."""
    return Standing(
        {row.key: row for row in resolution.map_rows},
        {(row.key, row.valid_from_ms): row for row in resolution.intervals},
        {row.person_id: row for row in resolution.customers},
    )


def compare(wanted: Standing, found: Standing) -> Change:
    """Return what must be written so that `found` becomes `wanted`."""
    return Change(
        [row for key, row in wanted.map_rows.items() if found.map_rows.get(key) != row],
        [row for key, row in wanted.intervals.items() if found.intervals.get(key) != row],
        [row for key, row in wanted.customers.items() if found.customers.get(key) != row],
        [key for key in found.map_rows if key not in wanted.map_rows],
        [key for key in found.intervals if key not in wanted.intervals],
        [key for key in found.customers if key not in wanted.customers],
    )


def write_all_again(wanted: Standing, found: Standing, keys: Iterable[str]) -> Change:
    """Return all rows of these keys, changed or not, and a sign for each key that has none.

    For positions that another stitcher may have seen half of: whatever it writes late has a lower version than this.
    """
    keys = sorted(keys)
    return Change(
        list(wanted.map_rows.values()),
        list(wanted.intervals.values()),
        list(wanted.customers.values()),
        [key for key in keys if key not in wanted.map_rows],
        [key for key in found.intervals if key not in wanted.intervals],
        [key for key in keys if key not in wanted.customers],
    )


def write_change(client: StoreClient, space_id: str, change: Change, version: int) -> None:
    """Write the rows; the map last, because the intervals belong to it. May be repeated. Raises StoreError."""
    head = {"space_id": space_id, "version": version}
    insert_rows(
        client,
        "identity_intervals",
        [
            *({**head, **_encode_interval(row), "is_deleted": 0} for row in change.intervals),
            *(
                {**head, "key": key, "valid_from": _time(ms), "valid_to": _time(ms), "is_deleted": 1}
                for key, ms in change.intervals_gone
            ),
        ],
    )
    insert_rows(
        client,
        "customers",
        [
            *({**head, **_encode_customer(row), "is_deleted": 0} for row in change.customers),
            *({**head, "person_id": key, "is_deleted": 1} for key in change.customers_gone),
        ],
    )
    insert_rows(
        client,
        "identity_map",
        [
            *({**head, **_encode_map(row), "is_deleted": 0} for row in change.map_rows),
            *({**head, "key": key, "is_deleted": 1} for key in change.map_gone),
        ],
    )


def write_logs(client: StoreClient, space_id: str, resolution: Resolution, version: int) -> None:
    """Add those entries of the guard log and the merge log that are not there yet."""
    guards = [
        _encode_entry(g.evidence_id, g.reason, g.at_ms, g.a_key, g.b_key, g.person_id, g.other_person_id)
        for g in resolution.guards
    ]
    merges = [
        _encode_entry(m.evidence_id, m.reason, m.at_ms, m.a_key, m.b_key, m.other_person_id, m.person_id)
        for m in resolution.merges
    ]
    for table, entries in (("guard_log", guards), ("merge_log", merges)):
        known = _read_known(client, table, space_id, entries)
        head = {"space_id": space_id, "version": version}
        insert_rows(client, table, [{**head, **entry} for entry in entries if _name(entry) not in known])


def find_dependents(client: StoreClient, space_id: str, people: Iterable[str]) -> set[str]:
    """Return the identifiers whose rows name these people now, or did for a while."""
    sql = """
        SELECT toString(key) AS key FROM identity_map FINAL
        WHERE space_id = {space:String} AND person_id IN {keys:Array(UUID)}
        UNION DISTINCT
        SELECT toString(key) AS key FROM identity_intervals FINAL
        WHERE space_id = {space:String} AND person_id IN {keys:Array(UUID)}
    """
    found: set[str] = set()
    ordered = sorted(people)
    for start in range(0, len(ordered), KEYS_PER_QUESTION):
        part = ordered[start : start + KEYS_PER_QUESTION]
        found |= {row["key"] for row in client.query_rows(sql, {"space": space_id, "keys": part})}
    return found


def _read_into(standing: Standing, client: StoreClient, params: dict[str, Any], by_key: str, by_person: str) -> None:
    for row in client.query_rows(_MAP + by_key, params):
        standing.map_rows[row["key"]] = MapRow(**row)
    for row in client.query_rows(_INTERVALS + by_key, params):
        end_ms = row.pop("valid_to_ms")
        interval = IntervalRow(**row, valid_to_ms=None if end_ms >= FOR_EVER_MS else end_ms)
        standing.intervals[(interval.key, interval.valid_from_ms)] = interval
    for row in client.query_rows(_CUSTOMERS + by_person, params):
        standing.customers[row["person_id"]] = CustomerRow(**row)


def _encode_map(row: MapRow) -> dict[str, Any]:
    fields = row._asdict()
    start = _time(fields.pop("valid_from_ms"))
    return {**fields, "valid_from": start}


def _encode_interval(row: IntervalRow) -> dict[str, Any]:
    fields = row._asdict()
    end = fields.pop("valid_to_ms")
    start = _time(fields.pop("valid_from_ms"))
    return {**fields, "valid_from": start, "valid_to": _time(FOR_EVER_MS if end is None else end)}


def _encode_customer(row: CustomerRow) -> dict[str, Any]:
    fields = row._asdict()
    since = _time(fields.pop("since_ms"))
    return {**fields, "since": since}


def _encode_entry(
    evidence_id: str, reason: str, at_ms: int, a_key: str, b_key: str, from_person_id: str, to_person_id: str
) -> dict[str, str]:
    return {
        "at": _time(at_ms),
        "reason": reason,
        "evidence_id": evidence_id,
        "a_key": a_key,
        "b_key": b_key,
        "from_person_id": from_person_id,
        "to_person_id": to_person_id,
    }


def _name(entry: dict[str, str]) -> tuple[str, ...]:
    return tuple(entry[name] for name in ("evidence_id", "reason", "from_person_id", "to_person_id"))


def _read_known(client: StoreClient, table: str, space_id: str, entries: list[dict[str, str]]) -> set[tuple[str, ...]]:
    sql = """
        SELECT evidence_id, reason, toString(log.from_person_id) AS from_person_id,
            toString(log.to_person_id) AS to_person_id
        FROM {table:Identifier} AS log
        WHERE space_id = {space:String} AND at IN {moments:Array(DateTime64(3))} AND evidence_id IN {ids:Array(String)}
    """
    known = set()
    for start in range(0, len(entries), KEYS_PER_QUESTION // 2):
        part = entries[start : start + KEYS_PER_QUESTION // 2]
        params = {
            "table": table,
            "space": space_id,
            "moments": sorted({entry["at"] for entry in part}),
            "ids": sorted({entry["evidence_id"] for entry in part}),
        }
        known |= {_name(row) for row in client.query_rows(sql, params)}
    return known


def _time(ms: int) -> str:
    """Return the moment as ClickHouse reads it, in UTC, with milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ms % 1000:03d}"
