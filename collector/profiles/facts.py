"""Facts of identifiers: summed up already where the whole history is a person's, from the timeline where a part is.

`_FROM_TIMELINE` sums up what the view on `timeline` sums up into `visitor_facts`, by the same expressions; a test
compares the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from collector.profiles.computed import Facts, Order
from collector.profiles.keys import Held, select_events
from collector.store.client import StoreClient

SESSION, CATEGORY, CHANNEL, DEVICE = 1, 2, 3, 4
"""What was seen in a visit, as `visitor_facts` counts."""


class FactsRow(msgspec.Struct, frozen=True, array_like=True):
    """What is summed up of one identifier, or of a month of it. `seen`: what, word, and hash of the visit."""

    key: str
    first_ms: int
    last_ms: int
    orders: tuple[Order, ...]
    seen: tuple[tuple[int, str, int], ...]


# Sets are put together here and not by the store: a look costs it a third less.
FACTS = """
SELECT 'facts' AS part, toJSONString((own_person_id, toUnixTimestamp64Milli(first_time),
    toUnixTimestamp64Milli(last_time), finalizeAggregation(orders), finalizeAggregation(seen))) AS row
FROM visitor_facts
PREWHERE space_id = {space:String} AND own_person_id IN {keys:Array(UUID)}
"""
_WORDS = """
WITH
    session_id != toUUID('00000000-0000-0000-0000-000000000000') AS has_session,
    if(has_session, toUInt32(bitAnd(cityHash64(session_id), 4294967295)), toYYYYMMDD(time)) AS visit,
    lower(replaceAll(toString(event_name), ' ', '_')) AS happened,
    happened IN ('purchase', 'order', 'order_completed') AS is_order,
    happened IN ('refund', 'order_refunded') AS is_refund
"""
_FROM_TIMELINE = """
    SELECT toJSONString((own_person_id, toUnixTimestamp64Milli(min(time)), toUnixTimestamp64Milli(max(time)),
        groupUniqArrayIf((if(order_id != '', cityHash64(order_id), cityHash64(event_id)),
            toUnixTimestamp64Milli(time), value, toString(currency), if(is_refund, -1, 1)), is_order OR is_refund),
        groupUniqArrayArray(arrayFilter(one -> one.2 != '', [
            (1, if(has_session, '1', ''), visit),
            (2, toString(category), visit),
            (3, if(host != '' AND channel != 'internal', toString(channel), ''), visit),
            (4, toString(device), visit)])))) AS row
    FROM timeline
    PREWHERE space_id = {space:String} AND own_person_id IN {own:Array(UUID)}
    WHERE is_bot = 0
"""

decode_facts = msgspec.json.Decoder(FactsRow, strict=False).decode


def settle_facts(client: StoreClient, space_id: str, held: Mapping[str, Held], rows: Iterable[FactsRow]) -> list[Facts]:
    """Return the facts of a person's identifiers. Those of a part of a history are read from the timeline, in one
    statement for all. Raises StoreError."""
    whole, parted = part_facts(held, rows)
    return whole + (read_parted(client, space_id, parted) if parted else [])


def part_facts(held: Mapping[str, Held], rows: Iterable[FactsRow]) -> tuple[list[Facts], list[Held]]:
    """Return the facts of identifiers whose whole history is a person's, and the identifiers of which a part is."""
    by_key: defaultdict[str, list[FactsRow]] = defaultdict(list)
    for row in rows:
        if row.key in held:
            by_key[row.key].append(row)
    whole: list[FactsRow] = []
    parted: list[Held] = []
    for key, months in by_key.items():
        spans = held[key].spans
        first_ms, last_ms = min(row.first_ms for row in months), max(row.last_ms for row in months)
        if any(span.covers(first_ms, last_ms) for span in spans):
            whole += months
        elif any(span.meets(first_ms, last_ms) for span in spans):
            parted.append(held[key])
    return [_read(row) for row in whole], parted


def read_parted(client: StoreClient, space_id: str, held: Iterable[Held]) -> list[Facts]:
    """Return the facts of identifiers within their spans, each that has any."""
    return list(read_parted_by_key(client, space_id, held).values())


def read_parted_by_key(client: StoreClient, space_id: str, held: Iterable[Held]) -> dict[str, Facts]:
    """The same by identifier, each of which may be there once. Raises StoreError."""
    items = list(held)
    params: dict[str, Any] = {"space": space_id, "own": [item.key for item in items]}
    sql = f"{_WORDS} {_FROM_TIMELINE} AND {select_events(items, params)} GROUP BY own_person_id"
    found = [decode_facts(row["row"]) for row in client.query_rows(sql, params)]
    return {row.key: _read(row) for row in found}


def _read(row: FactsRow) -> Facts:
    seen: dict[int, set[tuple[str, int]]] = {what: set() for what in (SESSION, CATEGORY, CHANNEL, DEVICE)}
    for what, word, visit in row.seen:
        seen[what].add((word, visit))
    return Facts(
        first_ms=row.first_ms,
        last_ms=row.last_ms,
        sessions=frozenset(visit for _, visit in seen[SESSION]),
        orders=frozenset(row.orders),
        categories=frozenset(seen[CATEGORY]),
        channels=frozenset(seen[CHANNEL]),
        devices=frozenset(seen[DEVICE]),
    )
