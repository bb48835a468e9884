"""What is kept for looks at one person: timeline, facts, traits, keys of people, whom a batch touched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.event import NIL_ID, EventRow
from collector.store.client import open_client
from tests.running_store import NOON_MS, RunningStore, make_event, make_evidence, make_id, make_row

pytestmark = pytest.mark.engine
DERIVED = ("timeline", "visitor_facts", "traits", "touched_people")
ANNA = make_id(4711, 0xC)
FACTS = """
    SELECT own_person_id, arraySort(groupUniqArrayIfMerge(orders)) AS orders,
        arraySort(arrayMap(one -> (one.1, one.2), groupUniqArrayArrayMerge(seen))) AS seen
    FROM visitor_facts GROUP BY own_person_id ORDER BY own_person_id
"""


def make_order(number: int, **props: Any) -> EventRow:
    """Return a purchase `number` seconds into the story."""
    return make_event(number, after_s=number, name="purchase", props=msgspec.json.encode(props).decode())


def sign_in(number: int, props: dict[str, Any], *, level: int = 3, key: str = ANNA, after_s: float = 0) -> EventRow:
    """Return an identify with traits, as the edge leaves it with this level in force."""
    text = msgspec.json.encode(props).decode()
    return make_event(number, name="identify", props=text, assurance=level, customer_key=key, after_s=after_s)


def read_traits(store: RunningStore) -> list[tuple[Any, ...]]:
    rows = store.query(
        "SELECT key, name, source, level, value FROM traits FINAL WHERE is_deleted = 0"
        " ORDER BY key, name, source, level"
    )
    return [(str(row["key"]), row["name"], row["source"], row["level"], row["value"]) for row in rows]


# --- exactly once ---------------------------------------------------------------------------------------------------


def load_some(store: RunningStore, token: str = "") -> str:
    rows = [
        make_row(
            visitor,
            device="mobile",
            events=[make_order(visitor * 10, value=5), sign_in(visitor * 10 + 1, {"plan": "gold"})],
        )
        for visitor in (1, 2, 3)
    ]
    return store.load(*rows, seq=1, token=token)


def count_rows(store: RunningStore) -> dict[str, int]:
    return {table: store.value(f"SELECT count() FROM {table}") for table in DERIVED}


def test_a_replayed_batch_changes_nothing(store: RunningStore) -> None:
    """The same bytes under the same token: each table stays as it is, before any merge."""
    token = load_some(store)
    assert count_rows(store) == {"timeline": 6, "visitor_facts": 3, "traits": 3, "touched_people": 3}
    load_some(store, token)
    assert count_rows(store) == {"timeline": 6, "visitor_facts": 3, "traits": 3, "touched_people": 3}


@pytest.mark.parametrize("table", DERIVED)
def test_a_replay_fills_what_a_crash_left_out(store: RunningStore, table: str) -> None:
    """A crash in mid-insert leaves one table empty: the replay fills that one and doubles none."""
    token = load_some(store)
    complete = count_rows(store)
    store.writer.command(f"TRUNCATE TABLE {table}")
    load_some(store, token)
    assert count_rows(store) == complete


def test_a_retry_in_another_batch_adds_nothing(store: RunningStore) -> None:
    """Sent twice, received twice: one line of the timeline, as first received, and the facts of one event."""
    event = make_order(1, transaction_id="o-1", value=20, currency="EUR", category="Lamps")
    again = msgspec.structs.replace(event, assurance=3)
    store.load(make_row(1, device="mobile", events=[event]))
    once = store.query(FACTS)
    store.load(make_row(1, device="mobile", after_s=90, events=[again]))
    assert store.query(FACTS) == once
    assert store.query("SELECT assurance FROM timeline FINAL") == [{"assurance": 0}]
    (facts,) = once
    assert [order[2:] for order in facts["orders"]] == [(20, "EUR", 1)]
    assert facts["seen"] == [(1, "1"), (2, "Lamps"), (4, "mobile")]


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("props", "expected"),
    [
        ({"transaction_id": "o-1", "value": 12.5, "currency": "eur"}, ("o-1", 12.5, "EUR", "")),
        ({"order_id": 77, "revenue": 3, "items": [{"item_category": "Lamps"}]}, ("77", 3, "", "Lamps")),
        ({"orderId": "x", "total": "9.90", "item_category": "Rugs"}, ("x", 9.9, "", "Rugs")),
        ({"value": "much", "currency": "euros", "category": ["a"], "items": "none"}, ("", 0, "", "")),
        ({"value": True, "transaction_id": {"a": 1}, "items": [1, 2], "category": "é" * 101}, ("", 0, "", "é" * 100)),
        ({}, ("", 0, "", "")),
    ],
)
def test_what_an_event_says_of_an_order(store: RunningStore, props: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """Order, amount, currency and category by their usual names; what is of another type is none."""
    store.load(make_row(1, events=[make_order(1, **props)]))
    (row,) = store.query("SELECT order_id, value, currency, category FROM timeline")
    assert tuple(row.values()) == expected


@pytest.mark.parametrize(
    ("name", "props", "more", "expected"),
    [
        ("page_view", "{}", {}, "web"),
        ("screen_view", "{}", {}, "app"),
        ("order", "{}", {"visitor_proof": "server"}, "server"),
        ("call", '{"touchpoint":"call_centre"}', {"visitor_proof": "none", "visitor_id": NIL_ID}, "call_centre"),
        ("order", '{"touchpoint":"Shop"}', {"visitor_proof": "server"}, "shop"),
        ("page_view", '{"touchpoint":"elsewhere"}', {}, "web"),
        ("mail_open", "{}", {"visitor_proof": "none", "visitor_id": NIL_ID}, "email"),
    ],
)
def test_where_it_happened(store: RunningStore, name: str, props: str, more: dict[str, Any], expected: str) -> None:
    """The property says where, else the name of the event and how it came."""
    store.load(make_row(1, events=[make_event(1, name=name, props=props)], **more))
    assert store.value("SELECT touchpoint FROM timeline") == expected


def test_what_is_nobodys_and_what_robots_do(store: RunningStore) -> None:
    """An event without anybody is in no timeline; a robot's is, and in no fact."""
    store.load(
        make_row(1, own_person_id=NIL_ID, events=[make_event(1)]),
        make_row(2, is_bot=1, events=[make_event(2)]),
        make_row(3, rejected=[]),
    )
    assert store.value("SELECT count() FROM timeline") == 1
    assert store.value("SELECT count() FROM visitor_facts") == 0
    touched = store.query("SELECT host, seq, own_person_id FROM touched_people")
    assert [(row["host"], str(row["own_person_id"])) for row in touched] == [("host-1", make_id(2, 0xB))]


def test_days_are_over_for_all_of_it(store: RunningStore) -> None:
    """What the site keeps for 30 days goes from timeline, facts and traits; 0 keeps for ever."""
    long_ago_s = 1_600_000_000 - NOON_MS / 1000  # September 2020
    for visitor, keep_days in ((1, 30), (2, 0)):
        event = msgspec.structs.replace(sign_in(visitor, {"plan": "gold"}, level=0), time_ms=1_600_000_000_000)
        store.load(make_row(visitor, after_s=long_ago_s, keep_days=keep_days, events=[event]))
    for table, key in (("timeline", "own_person_id"), ("visitor_facts", "own_person_id"), ("traits", "key")):
        store.writer.command(f"OPTIMIZE TABLE {table} FINAL")
        left = store.query(f"SELECT {key} AS id FROM {table}")
        assert [str(row["id"]) for row in left] == [make_id(2, 0xB)], table


# --- traits ---------------------------------------------------------------------------------------------------------


def test_signed_traits_are_the_customers_and_unsigned_ones_the_visitors(store: RunningStore) -> None:
    """What decides is the identify's own signature: nobody signed in before lends theirs to a page's word."""
    signed = sign_in(1, {"plan": "gold"})
    store.load(
        make_row(1, events=[signed], evidence=[make_evidence(1, 1, event_id=signed.event_id)]),
        # Signed in earlier, or known by a link: the event has customer and level, this identify has no signature.
        make_row(2, events=[sign_in(2, {"plan": "silver"})], evidence=[make_evidence(2, 2, level=1)]),
        make_row(3, events=[sign_in(3, {"plan": "bronze"}, level=2)]),
        make_row(4, events=[sign_in(4, {"plan": "iron"}, level=0, key=NIL_ID)]),
    )
    assert read_traits(store) == [
        (make_id(2, 0xB), "plan", "identify", 1, '"silver"'),
        (make_id(3, 0xB), "plan", "identify", 1, '"bronze"'),
        (make_id(4, 0xB), "plan", "identify", 1, '"iron"'),
        (ANNA, "plan", "identify", 3, '"gold"'),
    ]


def test_traits_of_a_server_are_level_4_and_claims_stay_claims(store: RunningStore) -> None:
    """A server that vouches says it of the customer; one that may not, of the visitor."""
    store.load(
        make_row(1, visitor_proof="server", events=[sign_in(1, {"plan": "gold"}, level=4)]),
        make_row(2, visitor_proof="server", events=[sign_in(2, {"plan": "silver"}, level=0, key=NIL_ID)]),
    )
    assert read_traits(store) == [
        (make_id(2, 0xB), "plan", "server", 1, '"silver"'),
        (ANNA, "plan", "server", 4, '"gold"'),
    ]


def test_the_latest_word_of_a_source_stands_and_none_takes_it_back(store: RunningStore) -> None:
    """By the time at which it was said, not at which it came; `null` says that there is none any more."""
    for number, after_s, plan in ((1, 50, "new"), (2, 10, "old")):
        store.load(make_row(1, events=[sign_in(number, {"plan": plan, "city": "Rome"}, level=4, after_s=after_s)]))
    assert [row[1:] for row in read_traits(store)] == [
        ("city", "identify", 4, '"Rome"'),
        ("plan", "identify", 4, '"new"'),
    ]
    store.load(make_row(1, events=[sign_in(3, {"plan": None}, level=4, after_s=60)]))
    assert [row[1:] for row in read_traits(store)] == [("city", "identify", 4, '"Rome"')]


def test_names_of_traits_are_made_one_and_odd_ones_left_out(store: RunningStore) -> None:
    """firstName, first-name and First Name are one; what the edge removed, and what is no name, is none."""
    props = {
        "firstName": "Anna",
        "last-name": "B",
        "Home City": "Rome",
        "mail": "[removed]",
        "4": 1,
        "é": 2,
        "x" * 64: 3,
    }
    store.load(make_row(1, events=[sign_in(1, props, level=4)]))
    assert [row[1] for row in read_traits(store)] == ["first_name", "home_city", "last_name"]


def test_readers_see_what_is_declared_not_personal_and_nothing_else(store: RunningStore) -> None:
    """Neither a trait that nobody declared, nor a personal one, nor what is sealed, nor the table behind the view."""
    said = sign_in(1, {"plan": "gold", "first_name": "Anna", "loose": "canary"}, level=4)
    store.load(make_row(1, visitor_proof="server", events=[said]))
    sealed = {"space_id": "main", "key": ANNA, "name": "plan", "source": "correction", "level": 4, "value": "x"}
    store.put("traits", {**sealed, "sealed": 1, "version": 1})
    with open_client(store.config, store.keyring, "reader") as reader:
        assert reader.query_rows("SELECT * FROM v_traits") == []
        for name, personal in (("plan", 0), ("first_name", 1)):
            row = {"space_id": "main", "name": name, "type": "text", "personal": personal, "version": 1}
            store.put("trait_definitions", row)
        rows = reader.query_rows("SELECT name, value, source, level, person_id FROM v_traits")
        assert [tuple(map(str, row.values())) for row in rows] == [("plan", '"gold"', "server", "4", ANNA)]
        store.put(
            "trait_definitions", {"space_id": "main", "name": "plan", "type": "text", "is_deleted": 1, "version": 2}
        )
        assert reader.query_rows("SELECT * FROM v_traits") == []


# --- who has which identifiers --------------------------------------------------------------------------------------


def test_the_map_leads_back_from_people_to_identifiers(store: RunningStore) -> None:
    """Every identifier that was somebody else's once is found, whether the map or an interval said so."""
    row = {"space_id": "main", "key": make_id(1, 0xB), "key_kind": "visitor", "person_id": ANNA, "version": 1}
    held = {"space_id": "main", "key": make_id(2, 0xB), "valid_from": "2090-01-01T00:00:00", "person_id": ANNA}
    store.put("identity_map", row, {**row, "key": ANNA, "key_kind": "customer"})
    store.put(
        "identity_map", {**row, "person_id": make_id(8, 0xC), "version": 2}, {**row, "is_deleted": 1, "version": 3}
    )
    store.put("identity_intervals", {**held, "valid_to": "2099-01-01T00:00:00", "version": 1})
    rows = store.query("SELECT person_id, key FROM person_keys FINAL ORDER BY person_id, key")
    assert [(str(row["person_id"]), str(row["key"])) for row in rows] == [
        (make_id(8, 0xC), make_id(1, 0xB)),
        (ANNA, make_id(1, 0xB)),
        (ANNA, make_id(2, 0xB)),
    ]


def test_the_pages_question_about_one_person_is_answered(store: RunningStore) -> None:
    """What docs/data-model.md shows works as it stands, with the rights of a reader: the customer alone is found."""
    row = {"space_id": "main", "person_id": ANNA, "customer_id": "4711", "customer_key": ANNA, "version": 1}
    store.put(
        "identity_map",
        {**row, "key": ANNA, "key_kind": "customer", "key_customer_id": "4711"},
        {**row, "key": make_id(1, 0xB), "key_kind": "visitor"},
    )
    store.load(make_row(1, events=[make_order(1, transaction_id="o-1", value=5)]), make_row(2, events=[make_event(2)]))
    page = (Path(__file__).parents[2] / "docs" / "data-model.md").read_text(encoding="utf-8")
    questions = re.findall(r"<!-- tested: sql -->\s*```sql\n(.*?)```", page, re.DOTALL)
    assert questions
    with open_client(store.config, store.keyring, "reader") as reader:
        for question in questions:
            assert [found["order_id"] for found in reader.query_rows(question)] == ["o-1"]
