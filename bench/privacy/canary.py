"""A person with a mark in every field that a page or a server can fill, among others, in a store that packs nothing."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import msgspec

from bench.identity.store import Bench
from bench.ingest.processes import Collector
from bench.privacy.erasing import count_hits, erase, find_hits, spell
from bench.use.dataset import People
from collector.event import ConsentRow, EventRow, EvidenceRow, LandingRow
from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.load.batch import build_body
from collector.sites.book import DEFAULT_SPACE
from collector.store.client import StoreClient
from collector.store.writer import insert_batch, insert_rows

MARK = "Xk7canary"
SITE_ID = "bench"


def measure_canary(bench: Bench, collector: Collector) -> None:
    """Plant marks, erase whom they stand for, and count the files in which one is left. Raises ProcessError."""
    bench.step("a person with a mark everywhere")
    customer, visitor = f"{MARK}-{uuid4().hex[:8]}", str(uuid4())
    keys = [_find_key(collector, VISITOR_KIND, visitor), _find_key(collector, "customer", customer)]
    marks = [MARK.encode(), *(form for text in [visitor, *keys] for form in spell(text))]
    with collector.open_store() as store:
        _write_plain(store)
        row = _make_row(customer, visitor, *keys)
        now_s = int(time.time())
        lines = [msgspec.json.encode(row)]
        insert_batch(store, build_body(lines, "bench", now_s), f"canary-{now_s}")
        shared: dict[str, Any] = {"space_id": DEFAULT_SPACE, "person_id": keys[1], "customer_id": customer}
        shared |= {"customer_key": keys[1], "level": 3, "proved": 1, "version": 1}
        ties = [
            {"key": keys[0], "key_kind": VISITOR_KIND, "key_customer_id": ""},
            {"key": keys[1], "key_kind": "customer", "key_customer_id": customer},
        ]
        insert_rows(store, "identity_map", [{**shared, **tie} for tie in ties])
        store.command("SYSTEM RELOAD DICTIONARIES")
    if not find_hits(collector.folder, marks):
        raise AssertionError("nothing was planted: the search would find nothing whatever was left")
    erase(collector, [f"customer={customer}"])
    count_hits(bench, collector, marks)


def _make_row(customer: str, visitor: str, visitor_key: str, customer_key: str) -> LandingRow:
    """Return a beacon in which every text holds the mark."""
    now_ms = time.time_ns() // 1_000_000
    texts: dict[str, Any] = {
        name: f"{MARK}-{name}" for name in LandingRow.__struct_fields__ if isinstance(_default(name), str)
    }
    texts |= {
        "site_id": SITE_ID,
        "space_id": DEFAULT_SPACE,
        "visitor_id": visitor,
        "visitor_proof": "cookie",
        "own_person_id": visitor_key,
        "reset_from": visitor,
        "session_id": str(uuid4()),
    }
    props = {f"{MARK}-name": f"{MARK}-value", "order_id": f"{MARK}-order", "category": f"{MARK}-category"}
    address = f"https://{MARK}.example/{MARK}?utm_campaign={MARK}"
    events = [
        EventRow(
            *(str(uuid4()), name, now_ms, address, address, f"{MARK}-title", msgspec.json.encode(props).decode(), 1),
            *(customer_key, 3, 0),
        )
        for name in (f"{MARK}-event", "identify", "purchase", "offer_shown")
    ]
    evidence = EvidenceRow(
        evidence_id=f"{MARK}-evidence",
        kind="identify",
        level=3,
        a_kind=VISITOR_KIND,
        a_value=visitor,
        a_key=visitor_key,
        b_kind="customer",
        b_value=customer,
        b_key=customer_key,
        b_unique=1,
        source="tag",
        proof="cookie",
        time_ms=now_ms,
        token_id=f"{MARK}-token",
        actor=f"{MARK}-actor",
        campaign=f"{MARK}-campaign",
        verification=f"{MARK}-how",
    )
    consent = ConsentRow(f"{MARK}-consent", customer_key, "marketing", "granted", "list", now_ms, proof=f"{MARK}-proof")
    more: dict[str, Any] = {"received_at_ms": now_ms, "events": events, "evidence": [evidence], "consents": [consent]}
    return LandingRow(**{**texts, **more})


def _default(name: str) -> object:
    row = LandingRow(0, "", "")
    return getattr(row, name)


def _find_key(collector: Collector, kind: str, value: str) -> str:
    return own_person_id(People(collector.keyring).keyring.pseudonym_key, DEFAULT_SPACE, kind, value)


def _write_plain(store: StoreClient) -> None:
    """Let the store pack nothing, so that whoever looks through its files finds what stands there."""
    rows = store.query_rows(
        "SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'"
        " AND NOT startsWith(name, 'bench_')",
        {"database": store.database},
    )
    for row in rows:
        store.command(f"ALTER TABLE {row['name']} MODIFY SETTING default_compression_codec = 'NONE'")
    for column in ("packed", "tails"):
        store.command(f"ALTER TABLE identity_evidence MODIFY COLUMN {column} CODEC(NONE)")
