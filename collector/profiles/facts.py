"""Facts of identifiers: summed up already where the whole history is a person's, from the timeline where a part is.

`_FROM_TIMELINE` sums up what the view on `timeline` sums up into `visitor_facts`, by the same expressions; a test
compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from collector.profiles.computed import Facts, Order
from collector.profiles.keys import Held, select_events
from collector.store.client import StoreClient


class FactsRow(msgspec.Struct, frozen=True, array_like=True):
    """What is summed up of one identifier. Words come with the hash of the visit."""

    key: str
    first_ms: int
    last_ms: int
    sessions: int
    orders: tuple[Order, ...]
    categories: tuple[tuple[str, int], ...]
    channels: tuple[tuple[str, int], ...]
    devices: tuple[tuple[str, int], ...]

    def read(self) -> Facts:
        """Return them as facts."""
        return Facts(
            self.first_ms,
            self.last_ms,
            self.sessions,
            frozenset(self.orders),
            frozenset(self.categories),
            frozenset(self.channels),
            frozenset(self.devices),
        )


# Tuples as texts of arrays, and not as objects: names of a tuple's elements would stand at each.
_SHOWN = """toJSONString((own_person_id, toUnixTimestamp64Milli(first_ms), toUnixTimestamp64Milli(last_ms), visits,
    arrayMap(o -> (toString(o.1), toUnixTimestamp64Milli(o.2), o.3, o.4, o.5), bought),
    arrayMap(w -> (w.1, w.2), shelves), arrayMap(w -> (w.1, w.2), ways), arrayMap(w -> (w.1, w.2), machines))) AS row"""

FACTS = f"""
SELECT 'facts' AS part, {_SHOWN}
FROM
(
    SELECT own_person_id, min(first_time) AS first_ms, max(last_time) AS last_ms,
        uniqExactIfMerge(sessions) AS visits, groupUniqArrayIfMerge(orders) AS bought,
        groupUniqArrayIfMerge(categories) AS shelves, groupUniqArrayIfMerge(channels) AS ways,
        groupUniqArrayIfMerge(devices) AS machines
    FROM visitor_facts
    PREWHERE space_id = {{space:String}} AND own_person_id IN (keys)
    GROUP BY own_person_id
)
"""  # noqa: S608  our own words
_FROM_TIMELINE = """
    SELECT own_person_id, min(time) AS first_ms, max(time) AS last_ms, uniqExactIf(visit, has_session) AS visits,
        groupUniqArrayIf((if(order_id != '', cityHash64(order_id), cityHash64(event_id)), time, value,
            toString(currency), if(is_refund, -1, 1)), is_order OR is_refund) AS bought,
        groupUniqArrayIf((toString(category), visit), category != '') AS shelves,
        groupUniqArrayIf((toString(channel), visit), channel NOT IN ('', 'internal') AND host != '') AS ways,
        groupUniqArrayIf((toString(device), visit), device != '') AS machines
    FROM timeline
    PREWHERE space_id = {space:String} AND own_person_id IN {own:Array(UUID)}
    WHERE is_bot = 0
"""
_WORDS = """
WITH
    session_id != toUUID('00000000-0000-0000-0000-000000000000') AS has_session,
    if(has_session, toUInt32(bitAnd(cityHash64(session_id), 4294967295)), toYYYYMMDD(time)) AS visit,
    lower(replaceAll(toString(event_name), ' ', '_')) AS happened,
    happened IN ('purchase', 'order', 'order_completed') AS is_order,
    happened IN ('refund', 'order_refunded') AS is_refund
"""

decode_facts = msgspec.json.Decoder(FactsRow, strict=False).decode


def settle_facts(client: StoreClient, space_id: str, held: Mapping[str, Held], rows: Iterable[FactsRow]) -> list[Facts]:
    """Return the facts of a person's identifiers. Those of a part of a history are read from the timeline, in one
    statement for all. Raises StoreError."""
    found, parted = [], []
    for row in rows:
        item = held.get(row.key)
        if item is None:
            continue
        if any(span.covers(row.first_ms, row.last_ms) for span in item.spans):
            found.append(row.read())
        elif any(span.meets(row.first_ms, row.last_ms) for span in item.spans):
            parted.append(item)
    return found + read_parted(client, space_id, parted)


def read_parted(client: StoreClient, space_id: str, held: Iterable[Held]) -> list[Facts]:
    """Return the facts of identifiers within their spans, each that has any."""
    items = list(held)
    if not items:
        return []
    params: dict[str, Any] = {"space": space_id, "own": [item.key for item in items]}
    conditions = select_events(items, params)
    sql = f"SELECT {_SHOWN} FROM ({_WORDS} {_FROM_TIMELINE} AND {conditions} GROUP BY own_person_id)"  # noqa: S608  the same
    return [decode_facts(row["row"]).read() for row in client.query_rows(sql, params)]
