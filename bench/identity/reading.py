"""What reading through the map costs: a stitched question against the same one unstitched, on many events."""

from __future__ import annotations

import time

from bench.identity.store import Bench, merge, running_store
from collector.store.client import StoreClient
from collector.store.dictionaries import reload_dictionaries

EVENTS = 20_000_000
VISITORS = 2_000_000
PIECE = 2_000_000
DAYS = 30
START = "2026-06-01 00:00:00"
STITCHED = """
    SELECT toDate(time) AS day, uniq(person_id) AS people, count() AS events
    FROM v_events WHERE site_id = 'shop' GROUP BY day ORDER BY day
"""
PLAIN = """
    SELECT toDate(time) AS day, uniq(own_person_id) AS people, count() AS events
    FROM events FINAL WHERE site_id = 'shop' GROUP BY day ORDER BY day
"""


def measure_reading(bench: Bench, runs: int, events: int = EVENTS) -> None:
    """Ask both questions in turn."""
    with running_store(bench.folder / "reading") as (_, store):
        bench.step(f"{events:,} events of {VISITORS:,} visitors")
        fill_map(store)
        fill_events(store, events)
        merge(store, "events")
        for run in range(runs + 1):
            bench.step(f"questions, round {run}")
            for name, sql in (("plain_query", PLAIN), ("stitched_query", STITCHED)):
                began_s = time.monotonic()
                store.query_rows(sql)
                if run:  # the first round warms the machine up
                    bench.note(f"{name}_s", time.monotonic() - began_s)


def fill_map(store: StoreClient) -> None:
    """Make a map of VISITORS, three for each customer, with the customers' own keys, and load it."""
    store.command(
        "INSERT INTO identity_map"
        " (space_id, key, key_kind, person_id, customer_id, customer_key, level, proved, version)"
        " SELECT 'main', reinterpretAsUUID(sipHash128(number)), 'visitor', reinterpretAsUUID(sipHash128(n, 1)),"
        " toString(100000000 + n), reinterpretAsUUID(sipHash128(n, 1)), 3, 1, 1"
        " FROM (SELECT number, intDiv(number, 3) AS n FROM numbers({visitors:UInt64}))",
        {"visitors": VISITORS},
    )
    store.command(
        "INSERT INTO identity_map"
        " (space_id, key, key_kind, key_customer_id, person_id, customer_id, customer_key, level, proved, version)"
        " SELECT 'main', person_id, 'customer', customer_id, person_id, customer_id, person_id, 3, 1, 1"
        " FROM (SELECT DISTINCT person_id, customer_id FROM identity_map)"
    )
    reload_dictionaries(store)


def fill_events(store: StoreClient, events: int, *, in_map: bool = False) -> None:
    """Put events of the map's visitors into the store: of those of `fill_map`, or of those that stand there."""
    for start in range(0, events, PIECE):
        source = (
            "SELECT key, rowNumberInAllBlocks() + {start:UInt64} AS number FROM"
            " (SELECT key FROM identity_map WHERE key_kind = 'visitor' LIMIT {count:UInt64})"
            if in_map
            else "SELECT reinterpretAsUUID(sipHash128(cityHash64(number) % {visitors:UInt64})) AS key, number"
            " FROM numbers({start:UInt64}, {count:UInt64})"
        )
        store.command(
            "INSERT INTO events (site_id, space_id, time, received_at, event_id, event_name, visitor_id,"  # noqa: S608
            " visitor_proof, own_person_id, url)"
            f" SELECT 'shop', 'main', toDateTime64('{START}', 3, 'UTC') + toIntervalSecond(number % ({DAYS} * 86400)),"
            " now(), reinterpretAsUUID(sipHash128(number, 2)), 'page_view', key, 'cookie', key,"
            f" concat('https://shop.example/p/', toString(number % 5000)) FROM ({source})",
            {"start": start, "count": min(PIECE, events - start), "visitors": VISITORS},
            {"max_partitions_per_insert_block": 1000},
        )
