"""A store with a shop's people in it: made once for a scale, kept in a folder, used again.

At scale 1 there are 20 million events of 2 million visitors in 90 days. Three visitors each belong to one of 200,000
customers, with four traits; the others are nobody known. Ids are those that the instance itself gives to these numbers,
so that what is asked by HTTP finds them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

import msgspec
import pyarrow as pa

from bench.identity.store import merge
from bench.ingest.processes import Collector
from bench.ingest.traffic import SITE
from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.keyring import Keyring
from collector.sites.book import DEFAULT_SPACE
from collector.sites.keys import PROFILE_READ, create_key
from collector.store.client import StoreClient
from collector.store.dictionaries import reload_dictionaries

EVENTS, VISITORS, CUSTOMERS = 20_000_000, 2_000_000, 200_000
DEVICES_EACH = 3
EVENTS_EACH = EVENTS // VISITORS
DAYS = 90
START = "2026-06-01 00:00:00"
START_MS = 1_780_272_000_000
PIECE = 100_000
MADE = "made.json"
MERGED = ("events", "timeline", "visitor_facts", "identity_map", "person_keys", "traits")
_NAMES = UUID("6f1c1f36-5a0e-4d0c-9a55-0d6f1f0b7c11")


class Made(msgspec.Struct, frozen=True):
    """What stands in the folder. `secret`: of an API key that may read profiles."""

    events: int
    visitors: int
    customers: int
    secret: str


@dataclass(frozen=True, slots=True)
class People:
    """The ids of those in the store, by their numbers."""

    keyring: Keyring

    def name_visitor(self, number: int) -> str:
        """Return a visitor's id, as it stands in cookies."""
        return str(uuid5(_NAMES, str(number)))

    def find_visitor_key(self, number: int) -> str:
        """Return a visitor's own person id."""
        return own_person_id(self.keyring.pseudonym_key, DEFAULT_SPACE, VISITOR_KIND, self.name_visitor(number))

    def name_customer(self, number: int) -> str:
        """Return a customer's number as the shop writes it."""
        return str(100_000_000 + number)

    def find_customer_key(self, number: int) -> str:
        """Return a customer's own person id."""
        return own_person_id(self.keyring.pseudonym_key, DEFAULT_SPACE, "customer", self.name_customer(number))


@contextmanager
def standing_store(folder: Path, scale: float, step: Callable[[str], None]) -> Iterator[tuple[Collector, Made]]:
    """Run the engine over the people of this scale, on all cores, and make them where they are not there yet."""
    place = folder / f"use-{scale:g}"
    made_path = place / MADE
    if place.exists() and not made_path.exists():
        shutil.rmtree(place)  # the making was broken off
    place.mkdir(parents=True, exist_ok=True)
    collector = Collector(place, {"use_file": str((place / "use.toml").resolve())})
    (place / "use.toml").touch()
    try:
        step("starting the engine")
        collector.start_engine(f"0-{(os.cpu_count() or 1) - 1}")
        if not made_path.exists():
            with collector.open_store() as store:
                made = make_people(store, People(collector.keyring), scale, step)
            made_path.write_bytes(msgspec.json.encode(made))
        with collector.open_store() as store:
            reload_dictionaries(store)
        yield collector, msgspec.json.decode(made_path.read_bytes(), type=Made)
    finally:
        collector.close()


def make_people(store: StoreClient, people: People, scale: float, step: Callable[[str], None]) -> Made:
    """Fill an empty store. At scale 1 it takes some minutes and 3 GB."""
    visitors, customers = int(VISITORS * scale), int(CUSTOMERS * scale)
    store.command(
        "CREATE TABLE IF NOT EXISTS bench_visitors (number UInt64, visitor_id UUID, key UUID)"
        " ENGINE = MergeTree ORDER BY number"
    )
    store.command(
        "CREATE TABLE IF NOT EXISTS bench_customers (number UInt64, customer_id String, key UUID)"
        " ENGINE = MergeTree ORDER BY number"
    )
    for start in range(0, customers, PIECE):
        numbers = range(start, min(start + PIECE, customers))
        rows = {
            "number": pa.array(numbers, pa.uint64()),
            "customer_id": [people.name_customer(n) for n in numbers],
            "key": _ids(people.find_customer_key(n) for n in numbers),
        }
        store.insert_columns("bench_customers", pa.table(rows))
    for start in range(0, visitors, PIECE):
        step(f"{visitors:,} visitors, {start:,} are there")
        numbers = range(start, min(start + PIECE, visitors))
        rows = {
            "number": pa.array(numbers, pa.uint64()),
            "visitor_id": _ids(people.name_visitor(n) for n in numbers),
            "key": _ids(people.find_visitor_key(n) for n in numbers),
        }
        store.insert_columns("bench_visitors", pa.table(rows))
        _fill_events(store, start, len(numbers), customers)
    step("map and traits")
    _fill_map(store, customers)
    _fill_traits(store)
    for table in MERGED:
        step(f"merging {table}")
        merge(store, table)
    _, secret = create_key(store, people.keyring, scopes=(PROFILE_READ,), now_ms=START_MS, name="bench")
    return Made(visitors * EVENTS_EACH, visitors, customers, secret)


def _ids(texts: Iterator[str]) -> pa.Array:
    return pa.array([UUID(text).bytes for text in texts], pa.binary(16))


def _fill_events(store: StoreClient, start: int, count: int, customers: int) -> None:
    """Events of some visitors; the view makes their timeline and their facts. Each tenth event is an order."""
    store.command(
        "INSERT INTO events (site_id, space_id, time, received_at, event_id, event_name, visitor_id, visitor_proof,"  # noqa: S608  our own words
        " own_person_id, session_id, host, path, url, title, channel, device, browser, customer_key, assurance,"
        " consent, keep_days, props)"
        f" SELECT '{SITE.site_id}', '{DEFAULT_SPACE}', toDateTime64('{START}', 3, 'UTC')"
        f" + toIntervalMillisecond(cityHash64(v.number, one) % {DAYS * 86_400_000}) AS at, at,"
        " reinterpretAsUUID(sipHash128(v.number, one)), if(one = 0, 'purchase', 'page_view'), v.visitor_id, 'cookie',"
        " v.key, reinterpretAsUUID(sipHash128(v.number, intDiv(one, 4), 5)), 'shop.example',"
        " concat('/p/', toString(cityHash64(v.number, one, 1) % 5000)) AS page, concat('https://shop.example', page),"
        " concat('Product ', toString(cityHash64(v.number, one, 1) % 5000)),"
        " ['direct', 'search', 'email', 'internal'][1 + one % 4], ['desktop', 'mobile'][1 + v.number % 2], 'Firefox',"
        " if(v.number < {known:UInt64}, c.key, toUUID('00000000-0000-0000-0000-000000000000')),"
        " if(v.number < {known:UInt64}, 3, 0), 'analytics,marketing', 0,"
        ' if(one = 0, concat(\'{"order_id":"\', toString(v.number),'
        ' \'","value":19.5,"currency":"EUR","category":"shoes"}\'), \'{}\')'
        " FROM (SELECT number, visitor_id, key, intDiv(number, {each:UInt64}) AS customer FROM bench_visitors"
        " WHERE number >= {start:UInt64} AND number < {start:UInt64} + {count:UInt64}) AS v"
        " LEFT JOIN bench_customers AS c ON c.number = v.customer"
        f" ARRAY JOIN range({EVENTS_EACH}) AS one",
        {"start": start, "count": count, "each": DEVICES_EACH, "known": customers * DEVICES_EACH},
        {"max_partitions_per_insert_block": 1000},
    )


def _fill_map(store: StoreClient, customers: int) -> None:
    """Three visitors each are a customer's, by a sign-in."""
    columns = "(space_id, key, key_kind, key_customer_id, person_id, customer_id, customer_key, level, proved, version)"
    store.command(
        f"INSERT INTO identity_map {columns}"  # noqa: S608  our own words
        f" SELECT '{DEFAULT_SPACE}', v.key, '{VISITOR_KIND}', '', c.key, c.customer_id, c.key, 3, 1, 1"
        " FROM bench_visitors AS v JOIN bench_customers AS c ON c.number = intDiv(v.number, {each:UInt64})"
        " WHERE v.number < {known:UInt64}",
        {"each": DEVICES_EACH, "known": customers * DEVICES_EACH},
    )
    store.command(
        f"INSERT INTO identity_map {columns}"  # noqa: S608  our own words
        f" SELECT '{DEFAULT_SPACE}', key, 'customer', customer_id, key, customer_id, key, 3, 1, 1 FROM bench_customers"
    )


def _fill_traits(store: StoreClient) -> None:
    store.command(
        "INSERT INTO traits (space_id, key, name, source, level, value, sealed, time, keep_days, version, is_deleted)"  # noqa: S608
        f" SELECT '{DEFAULT_SPACE}', key, said.1, 'identify', 3, said.2, 0, toDateTime64('{START}', 3, 'UTC'), 0, 1, 0"
        " FROM bench_customers ARRAY JOIN [('first_name', '\"Ada\"'), ('plan', '\"gold\"'),"
        " ('city', concat('\"Town ', toString(number % 500), '\"')), ('points', toString(number % 1000))] AS said"
    )
