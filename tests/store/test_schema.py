"""The tables and views: complete, documented, exactly once, and true to what the edge wrote."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints

import msgspec
import pytest

from collector.event import NIL_ID, EventRow, EvidenceRow, LandingRow, RejectedRow, VaultRow
from collector.reports.questions import run_question
from collector.store.client import open_client
from tests.running_store import (
    NOON_MS,
    RunningStore,
    make_event,
    make_evidence,
    make_id,
    make_refusal,
    make_row,
    make_vaulted,
)

pytestmark = pytest.mark.engine
TARGETS = ("events", "sessions", "identity_evidence", "identity_pairs", "rejected_events", "identifier_vault")


def count_rows(store: RunningStore) -> dict[str, int]:
    return {table: store.value(f"SELECT count() FROM {table}") for table in TARGETS}


def make_batch() -> list[LandingRow]:
    """Three beacons with five events, a piece of evidence, a refusal and a value of the vault each."""
    return [
        make_row(
            visitor,
            events=[make_event(visitor * 10 + n, after_s=n) for n in range(5)],
            evidence=[make_evidence(visitor, visitor)],
            rejected=[make_refusal()],
            vault=[make_vaulted(visitor)],
        )
        for visitor in (1, 2, 3)
    ]


def tie(key: str, customer: str, **more: Any) -> dict[str, Any]:
    """Return a row of the identity map."""
    values = {
        "space_id": "main",
        "key": key,
        "key_kind": "visitor",
        "person_id": make_id(int(customer), 0xC),
        "customer_id": customer,
        "customer_key": make_id(int(customer), 0xC),
        "valid_from": "1970-01-01T00:00:00",
        "level": 3,
        "version": 1,
    }
    return values | more


def name_customer(number: str) -> dict[str, Any]:
    """Return the map's row of a customer key that is a person: every customer has one."""
    return tie(make_id(int(number), 0xC), number, key_kind="customer", key_customer_id=number)


# --- complete and documented ----------------------------------------------------------------------------------------


def test_landing_has_exactly_the_fields_of_a_landing_row(store: RunningStore) -> None:
    """What the edge writes and what the store reads have the same names, nested ones included, in the same order."""
    columns = store.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = 'landing'"
        " ORDER BY position"
    )
    assert [c["name"] for c in columns] == ["batch_host", "batch_seq", *LandingRow.__struct_fields__]
    nested = {c["name"]: re.findall(r"(\w+) (?:U?Int\d+|UUID|String)\b", c["type"]) for c in columns}
    for name, struct in (
        ("events", EventRow),
        ("evidence", EvidenceRow),
        ("rejected", RejectedRow),
        ("vault", VaultRow),
    ):
        assert nested[name] == list(struct.__struct_fields__)


def test_types_of_landing_fit_the_structs(store: RunningStore) -> None:
    """Text is text, numbers are numbers, ids are UUIDs: what has an id's name is a UUID in the store."""
    columns = {
        c["name"]: c["type"]
        for c in store.query(
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = 'landing'"
        )
    }
    texts = {"site_id", "space_id", "link_token_id"}  # ids of ours that are no UUIDs
    for name, hint in get_type_hints(LandingRow).items():
        if hint is int:
            assert re.fullmatch(r"U?Int\d+", columns[name]), name
        elif hint is str:
            is_id = (name.endswith("_id") or name == "reset_from") and name not in texts
            assert ("UUID" if is_id else "String") in columns[name], name


def test_every_column_of_every_table_and_view_has_a_comment(store: RunningStore) -> None:
    """Nobody has to ask what a column means. (Dictionaries and landing views repeat their tables.)"""
    missing = store.query(
        "SELECT c.table, c.name FROM system.columns AS c INNER JOIN system.tables AS t"
        " ON c.database = t.database AND c.table = t.name"
        " WHERE c.database = currentDatabase() AND c.comment = ''"
        " AND t.engine NOT IN ('Dictionary', 'MaterializedView')"
    )
    assert missing == []
    assert (
        store.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND comment = ''"
            " AND engine != 'MaterializedView'"
        )
        == []
    )


def test_v_events_has_the_columns_that_others_rely_on(store: RunningStore) -> None:
    """The interface of the first release: these names stay."""
    promised = (
        "event_id, site_id, time, received_at, event_name, visitor_id, visitor_proof, session_id, person_id, "
        "customer_id, customer_id_then, assurance, url, path, referrer, utm_source, utm_medium, utm_campaign, "
        "browser, os, device, is_bot, props"
    )
    store.query(f"SELECT {promised} FROM v_events")


# --- exactly once ---------------------------------------------------------------------------------------------------


def test_a_replayed_batch_changes_nothing(store: RunningStore) -> None:
    """The same bytes under the same token: every table behind every view stays as it is."""
    token = store.load(*make_batch(), seq=1)
    before = count_rows(store)
    kept = ("identity_evidence", "identity_pairs", "rejected_events", "identifier_vault")
    assert before == {"events": 15, "sessions": 3, **dict.fromkeys(kept, 3)}
    for _ in range(3):
        store.load(*make_batch(), seq=1, token=token)
    assert count_rows(store) == before
    assert store.query("SELECT sum(events) AS e, sum(page_views) AS p FROM v_sessions") == [{"e": 15, "p": 15}]


@pytest.mark.parametrize("table", TARGETS)
def test_a_replay_fills_what_a_crash_left_out(store: RunningStore, table: str) -> None:
    """A crash in mid-insert leaves some tables filled and one not: the replay fills that one and doubles none."""
    token = store.load(*make_batch(), seq=1)
    complete = count_rows(store)
    store.writer.command(f"TRUNCATE TABLE {table}")
    store.load(*make_batch(), seq=1, token=token)
    assert count_rows(store) == complete


def test_a_full_batch_is_one_block_in_every_table(store: RunningStore) -> None:
    """50,000 events and 8 MB under one token: one part, and a replay of it is recognised whole."""
    url = "https://shop.example/" + "x" * 40
    rows = [
        make_row(100 + v, events=[make_event(v * 500 + n, after_s=n / 10, url=url) for n in range(500)])
        for v in range(100)
    ]
    assert sum(len(msgspec.json.encode(row)) for row in rows) > 8_000_000
    token = store.load(*rows, seq=1)
    parts = store.query(
        "SELECT table, count() AS n, sum(rows) AS rows FROM system.parts WHERE active AND database = currentDatabase()"
        " AND table IN ('events', 'sessions') GROUP BY table ORDER BY table"
    )
    assert parts == [{"table": "events", "n": 1, "rows": 50_000}, {"table": "sessions", "n": 1, "rows": 100}]
    store.load(*rows, seq=1, token=token)
    assert store.value("SELECT count() FROM events") == 50_000
    assert store.value("SELECT sum(events) FROM v_sessions") == 50_000


def test_a_retry_in_another_batch_is_one_event(store: RunningStore) -> None:
    """The tag sent it twice: one row, one session event, and what was known at the first arrival stays."""
    event = make_event(1, customer_key=NIL_ID, assurance=0)
    again = msgspec.structs.replace(event, customer_key=make_id(4711, 0xC), assurance=3)
    store.load(make_row(1, after_s=1, events=[event]))
    store.load(make_row(1, after_s=90, events=[again]))
    rows = store.query("SELECT event_id, received_at, assurance FROM v_events")
    assert [(str(r["event_id"]), r["assurance"]) for r in rows] == [(event.event_id, 0)]
    assert rows[0]["received_at"] == datetime.fromtimestamp(NOON_MS / 1000 + 1, UTC)
    assert store.query("SELECT events, page_views FROM v_sessions") == [{"events": 1, "page_views": 1}]


def test_evidence_that_came_twice_counts_once_and_a_retraction_beside_it(store: RunningStore) -> None:
    """The same evidence id is one row; its retraction is another."""
    evidence = make_evidence(1)
    back = msgspec.structs.replace(evidence, op=-1)
    store.load(make_row(1, evidence=[evidence]))
    store.load(make_row(1, after_s=9, evidence=[evidence]))
    store.load(make_row(1, after_s=99, evidence=[back]))
    rows = store.query("SELECT op, batch_seq FROM identity_evidence FINAL ORDER BY op")
    assert [r["op"] for r in rows] == [-1, 1]


def test_equal_rows_of_state_are_all_taken(store: RunningStore) -> None:
    """A map row that goes and comes back equal is there again: no deduplication window eats it."""
    key = make_id(1, 0xB)
    there, gone = tie(key, "4711"), tie(key, "4711", is_deleted=1)
    for version, row in enumerate((there, gone, there), start=1):
        store.put("identity_map", row | {"version": version})
    store.put("identity_map", there | {"version": 3})
    assert store.value("SELECT count() FROM identity_map FINAL") == 1
    store.put("identity_map", gone | {"version": 4})
    assert store.value("SELECT count() FROM identity_map FINAL") == 0


# --- what follows from an event -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "referrer", "expected"),
    [
        ("https://shop.example/", "", ("direct", "", "", "")),
        ("https://shop.example/a", "https://www.shop.example/b", ("internal", "shop.example", "", "")),
        ("https://shop.example/", "https://www.google.co.uk/search?q=x", ("search", "google.co.uk", "", "")),
        ("https://shop.example/", "https://duckduckgo.com/", ("search", "duckduckgo.com", "", "")),
        ("https://shop.example/", "https://notgoogle.com/", ("referral", "notgoogle.com", "", "")),
        ("https://shop.example/", "https://t.co/abc", ("social", "t.co", "", "")),
        ("https://shop.example/", "https://l.instagram.com/", ("social", "l.instagram.com", "", "")),
        ("https://shop.example/", "https://mail.google.com/", ("search", "mail.google.com", "", "")),
        ("https://shop.example/", "https://blog.example/post", ("referral", "blog.example", "", "")),
        ("https://shop.example/?gclid=x", "https://www.google.com/", ("paid", "google.com", "", "gclid")),
        ("https://shop.example/?utm_source=g&utm_medium=CPC", "", ("paid", "", "g", "")),
        ("https://shop.example/?utm_source=list&utm_medium=e-mail", "", ("email", "", "list", "")),
        ("https://shop.example/?utm_source=Newsletter", "", ("email", "", "Newsletter", "")),
        ("https://shop.example/?fbclid=x", "https://m.facebook.com/", ("social", "m.facebook.com", "", "fbclid")),
        ("https://shop.example/?utm_source=poster&utm_medium=qr", "", ("campaign", "", "poster", "")),
        ("https://shop.example/?utm_source=a%20b%26c", "", ("campaign", "", "a b&c", "")),
        ("https://shop.example/?notgclid=1", "", ("direct", "", "", "")),
        ("https://shop.example/?utm_source=%ff%", "", ("campaign", "", "\ufffd%", "")),
        ("http://[::", "android-app://com.example", ("referral", "com.example", "", "")),
        ("\x00\n", "", ("direct", "", "", "")),
    ],
)
def test_where_a_visit_came_from(
    store: RunningStore, url: str, referrer: str, expected: tuple[str, str, str, str]
) -> None:
    """Channel, referrer's host, campaign source and kind of click id follow from address and referrer."""
    store.load(make_row(events=[make_event(1, url=url, referrer=referrer)]))
    row = store.query("SELECT channel, referrer_host, utm_source, click_id FROM v_events")[0]
    assert tuple(row.values()) == expected


def test_a_tagged_link_is_a_channel_of_its_own_unless_the_campaign_says_more(store: RunningStore) -> None:
    """utm_medium=email beside the token is e-mail; the token alone is link."""
    mail = make_event(1, url="https://shop.example/?utm_medium=email")
    plain = make_event(2, url="https://shop.example/offer", after_s=1)
    store.load(make_row(events=[mail, plain], link_status="unconfirmed", link_campaign="spring"))
    rows = store.query("SELECT channel, link_campaign FROM v_events ORDER BY time")
    assert [tuple(r.values()) for r in rows] == [("email", "spring"), ("link", "spring")]


@pytest.mark.parametrize(
    ("props", "expected"),
    [
        ('{"price":19.9,"sku":"a"}', {"price": 19.9, "sku": "a"}),
        ('{"a":{"b":[1,2]}}', {"a": {"b": [1, 2]}}),
        ('{"a.b":1,"a":{"b":2}}', {"a": {"b": 1}}),
        ('{"a":1,"a":2}', {"a": 1}),
        ('{"a":null}', {}),
        ("[1]", {}),
        ("{", {}),
        ('{"a":1e999}', {}),
        ('{"a":"\\ud800"}', {}),
        ("", {}),
    ],
)
def test_odd_properties_never_stop_a_batch(store: RunningStore, props: str, expected: dict[str, Any]) -> None:
    """What is no JSON object becomes an empty one, a path that comes twice counts once; the others are kept."""
    store.load(make_row(events=[make_event(1, props=props), make_event(2, props='{"ok":1}')]))
    rows = store.query("SELECT props FROM v_events ORDER BY event_id")
    assert [r["props"] for r in rows] == [expected, {"ok": 1}]


def test_more_kinds_of_properties_than_a_path_limit_are_kept(store: RunningStore) -> None:
    """Beyond 32 names the values go to shared storage, and are found as before."""
    many = {f"k{n}": n for n in range(200)}
    store.load(make_row(events=[make_event(1, props=msgspec.json.encode(many).decode())]))
    row = store.query("SELECT props.k7 AS seven, props.k199 AS last FROM v_events")[0]
    assert row == {"seven": 7, "last": 199}


@pytest.mark.parametrize("value", [-(2**62), -1, 2**40, 2**62])
def test_numbers_beyond_all_bounds_are_clamped(store: RunningStore, value: int) -> None:
    """Numbers come from outside; one odd number stops neither the batch nor a reader."""
    event = make_event(1, sequence=value)
    event.time_ms = value
    store.load(make_row(events=[event], session_number=value, session_started_ms=value))
    row = store.query("SELECT time, sequence, session_number FROM v_events")[0]
    assert 1970 <= row["time"].year <= 2299
    assert row["sequence"] == row["session_number"] == min(max(value, 0), 2**32 - 1)


# --- who it was -----------------------------------------------------------------------------------------------------

WHO = "SELECT person_id, customer_id, customer_id_then, assurance, provisional FROM v_events ORDER BY time"


def who(store: RunningStore) -> list[tuple[Any, ...]]:
    return [(str(r.pop("person_id")), *r.values()) for r in store.query(WHO)]


def test_an_anonymous_visitor_is_a_person_of_its_own(store: RunningStore) -> None:
    """Nothing known: the visitor's own person id, no customer."""
    store.load(make_row(1, events=[make_event(1)]))
    assert who(store) == [(make_id(1, 0xB), "", "", 0, 0)]


def test_history_follows_the_map_at_once(store: RunningStore) -> None:
    """A row in the map gives the anonymous past to the customer; taking it away gives it back."""
    known = make_event(2, after_s=60, customer_key=make_id(4711, 0xC), assurance=3)
    store.load(make_row(1, events=[make_event(1), known]))
    key = make_id(4711, 0xC)
    row = tie(make_id(1, 0xB), "4711")
    store.put("identity_map", row, tie(key, "4711", key_kind="customer"))
    assert who(store) == [(key, "4711", "", 0, 0), (key, "4711", "4711", 3, 0)]
    store.put("identity_map", row | {"version": 2, "is_deleted": 1})
    own = make_id(1, 0xB)
    assert who(store) == [(own, "", "", 0, 0), (own, "", "4711", 3, 0)]


def test_history_begins_where_the_map_says(store: RunningStore) -> None:
    """Before valid_from the visitor is still a person of its own."""
    store.load(make_row(1, events=[make_event(1), make_event(2, after_s=60)]))
    begin = datetime.fromtimestamp(NOON_MS / 1000 + 60, UTC).isoformat()
    store.put(
        "identity_map", name_customer("4711"), tie(make_id(1, 0xB), "4711", valid_from=begin, provisional=1, level=2)
    )
    assert who(store) == [(make_id(1, 0xB), "", "", 0, 0), (make_id(4711, 0xC), "4711", "", 0, 1)]
    assert store.query("SELECT customer_id, provisional FROM v_sessions") == [{"customer_id": "4711", "provisional": 1}]


def test_a_customer_is_told_nothing_of_who_only_followed_their_link(store: RunningStore) -> None:
    """Until a sign-in confirms it, the visitor is in no journey of that customer, unless it is asked for."""
    store.load(make_row(1, events=[make_event(1)]), make_row(2, events=[make_event(2)]))
    linked = tie(make_id(1, 0xB), "4711", provisional=1, level=2)
    store.put("identity_map", name_customer("4711"), linked, tie(make_id(2, 0xB), "4711"))
    today = datetime.fromtimestamp(NOON_MS / 1000, UTC).date()
    told = [
        [str(row["event_id"]) for row in run_question(store.writer, "customer_journey", given, today=today)]
        for given in ({"customer": "4711"}, {"customer": "4711", "provisional": "1"})
    ]
    assert told == [[make_id(2, 0xE)], [make_id(1, 0xE), make_id(2, 0xE)]]


def test_a_shared_device_belongs_to_people_in_turn(store: RunningStore) -> None:
    """Intervals include their begin and not their end; between them the device is nobody's but its own."""
    store.load(make_row(1, events=[make_event(n, after_s=n * 10) for n in range(5)]))
    own = make_id(1, 0xB)

    def at(after_s: int) -> str:
        return (datetime.fromtimestamp(NOON_MS / 1000, UTC) + timedelta(seconds=after_s)).isoformat()

    store.put("identity_map", *map(name_customer, "123"), tie(own, "2", several=1))
    for customer, begin, end in (("1", 0, 20), ("2", 20, 30), ("3", 40, 50)):
        row = tie(own, customer, valid_from=at(begin), valid_to=at(end))
        del row["key_kind"]
        store.put("identity_intervals", row)
    assert [(person, customer) for person, customer, *_ in who(store)] == [
        (make_id(1, 0xC), "1"),
        (make_id(1, 0xC), "1"),
        (make_id(2, 0xC), "2"),
        (own, ""),
        (make_id(3, 0xC), "3"),
    ]


def test_what_a_cookie_proves_is_not_given_to_who_proved_nothing(store: RunningStore) -> None:
    """In an interval that is not proved only the script's own events and sessions change hands."""
    own = make_id(1, 0xB)
    for number, proof in enumerate(("cookie", "server", "script")):
        event, session = make_event(number, after_s=number), make_id(number, 0x5)
        store.load(make_row(1, visitor_proof=proof, session_id=session, events=[event]))
    store.put("identity_map", name_customer("2"), tie(own, "2", several=1, proved=0))
    interval = tie(own, "2", valid_to="2299-12-31T00:00:00", proved=0)
    del interval["key_kind"]
    store.put("identity_intervals", interval)
    theirs, visitors = (make_id(2, 0xC), "2"), (own, "")
    assert [(person, customer) for person, customer, *_ in who(store)] == [visitors, visitors, theirs]
    sessions = store.query("SELECT toString(person_id) AS person, customer_id FROM v_sessions ORDER BY started_at")
    assert [(row["person"], row["customer_id"]) for row in sessions] == [visitors, visitors, theirs]
    store.put("identity_intervals", interval | {"version": 2, "proved": 1})
    assert [(person, customer) for person, customer, *_ in who(store)] == [theirs] * 3


def test_assurance_is_never_above_the_tie(store: RunningStore) -> None:
    """An event said 3, the tie is a link (2): 2. Without a customer the event's own level counts."""
    store.load(make_row(1, events=[make_event(1, assurance=3), make_event(2, assurance=1, after_s=1)]))
    assert [row[3] for row in who(store)] == [3, 1]
    store.put("identity_map", name_customer("4711"), tie(make_id(1, 0xB), "4711", level=2))
    assert [row[3] for row in who(store)] == [2, 1]


def test_who_it_was_then_does_not_move_with_a_merge(store: RunningStore) -> None:
    """Customer 1 is merged into 2: the report of then still says 1, the one of now says 2."""
    key = make_id(1, 0xC)
    store.load(make_row(1, events=[make_event(1, customer_key=key, assurance=3)]))
    merged = tie(key, "2", key_kind="customer", key_customer_id="1")
    store.put("identity_map", name_customer("2"), tie(make_id(1, 0xB), "2"), merged)
    assert who(store) == [(make_id(2, 0xC), "2", "1", 3, 0)]


def test_a_customer_key_that_is_gone_names_nobody(store: RunningStore) -> None:
    """A row that takes a key away says nothing of it but its name."""
    store.load(make_row(1, events=[make_event(1, customer_key=make_id(4711, 0xC), assurance=3)]))
    store.put("identity_map", name_customer("4711"), tie(make_id(1, 0xB), "4711"))
    assert [row[1:3] for row in who(store)] == [("4711", "4711")]
    store.put(
        "identity_map",
        *(
            {"space_id": "main", "key": key, "version": 2, "is_deleted": 1}
            for key in (make_id(4711, 0xC), make_id(1, 0xB))
        ),
    )
    assert who(store) == [(make_id(1, 0xB), "", "", 3, 0)]


def test_a_session_is_whose_it_was_at_its_end(store: RunningStore) -> None:
    """Sessions are read through the same map."""
    store.load(make_row(1, events=[make_event(1, url="https://shop.example/a?utm_campaign=spring")]))
    store.load(make_row(1, events=[make_event(2, after_s=90, url="https://shop.example/b")]))
    store.put("identity_map", name_customer("4711"), tie(make_id(1, 0xB), "4711"))
    row = store.query(
        "SELECT customer_id, events, duration_s, is_bounce, entry_path, exit_path, utm_campaign FROM v_sessions"
    )
    assert row == [
        {
            "customer_id": "4711",
            "events": 2,
            "duration_s": 90.0,
            "is_bounce": 0,
            "entry_path": "/a",
            "exit_path": "/b",
            "utm_campaign": "spring",
        }
    ]


def test_an_event_without_a_session_is_in_none(store: RunningStore) -> None:
    """Server events and pixels have no session, and make none up."""
    store.load(make_row(1, session_id=NIL_ID, events=[make_event(1)]))
    assert store.value("SELECT count() FROM v_events") == 1
    assert store.value("SELECT count() FROM v_sessions") == 0


def test_intervals_are_looked_up_for_shared_devices_only(store: RunningStore) -> None:
    """The second, dearer lookup is not paid for visitors with one person."""
    store.load(make_row(1, events=[make_event(n, after_s=n) for n in range(50)]))
    store.put("identity_map", tie(make_id(1, 0xB), "4711"))
    looked_up = (
        "SELECT query_count FROM system.dictionaries WHERE database = currentDatabase()"
        " AND name = 'identity_intervals_dict'"
    )
    before = store.value(looked_up)
    store.query("SELECT uniq(person_id), uniq(customer_id), max(assurance), max(provisional) FROM v_events")
    assert store.value(looked_up) == before
    store.load(make_row(2, events=[make_event(99)]))
    store.put("identity_map", tie(make_id(2, 0xB), "4711", several=1))
    before = store.value(looked_up)
    store.query("SELECT uniq(person_id) FROM v_events")
    assert store.value(looked_up) == before + 1


def test_a_day_is_read_not_a_month(store: RunningStore) -> None:
    """A time range uses the day in the sorting key: of 28 days one or two are read."""
    store.writer.command(
        "INSERT INTO events (event_id, site_id, time, received_at, visitor_id)"
        " SELECT generateUUIDv4(number), 'shop', toDateTime64('2026-09-01 00:00:00', 3, 'UTC') + number * 8 AS at, at,"
        " generateUUIDv4(number + 1) FROM numbers(300000)"
    )
    plan = "\n".join(
        r["explain"]
        for r in store.query(
            "EXPLAIN indexes = 1 SELECT uniq(person_id) FROM v_events WHERE site_id = 'shop'"
            " AND time >= '2026-09-10 00:00:00' AND time < '2026-09-11 00:00:00'"
        )
    )
    read, total = (int(n) for n in re.findall(r"Granules: (\d+)/(\d+)", plan)[-1])
    assert read <= 5 < 30 <= total


# --- kept no longer, shown no more than it may -----------------------------------------------------------------------


def test_events_go_when_their_days_are_over(store: RunningStore) -> None:
    """keep_days counts from the event's time; 0 keeps for ever. The network has days of its own."""
    long_ago_s = 1_600_000_000 - NOON_MS / 1000  # September 2020
    for visitor, keep_days in ((1, 30), (2, 0), (3, 30_000)):
        store.load(
            make_row(
                visitor,
                after_s=long_ago_s,
                keep_days=keep_days,
                network="192.0.2.0/24",
                network_days=60_000 if visitor == 3 else 30,
                events=[make_event(visitor, after_s=long_ago_s)],
            )
        )
    for table in ("events", "sessions"):
        store.writer.command(f"OPTIMIZE TABLE {table} FINAL")
    left = store.query("SELECT visitor_id, network FROM events ORDER BY visitor_id")
    assert [(str(r["visitor_id"]), r["network"]) for r in left] == [
        (make_id(2, 0xA), ""),
        (make_id(3, 0xA), "192.0.2.0/24"),
    ]
    sessions = store.query("SELECT DISTINCT visitor_id FROM sessions ORDER BY visitor_id")
    assert [str(r["visitor_id"]) for r in sessions] == [make_id(2, 0xA), make_id(3, 0xA)]


def test_refusals_go_when_their_days_are_over(store: RunningStore) -> None:
    """The site says how many; 14 where nobody does."""
    for after_days, rejected_days in ((-13, 14), (-15, 14), (-15, 20), (-15, 7)):
        after_s = time.time() - NOON_MS / 1000 + after_days * 86_400
        refusal = make_refusal()
        store.load(make_row(1, after_s=after_s, rejected_days=rejected_days, rejected=[refusal]))
    store.writer.command("OPTIMIZE TABLE rejected_events FINAL")
    left = store.query("SELECT keep_days FROM rejected_events ORDER BY received_at")
    assert [row["keep_days"] for row in left] == [20, 14]


def test_views_for_readers_show_no_personal_value(store: RunningStore) -> None:
    """Values of identifiers, actors, networks and who holds a key stand in no view: a canary in each is not found."""
    canary = "canary-7f3a"
    evidence = make_evidence(1, a_value=canary, b_value=canary, actor=canary)
    store.load(make_row(1, network=canary, events=[make_event(1)], evidence=[evidence], rejected=[make_refusal()]))
    store.put("identity_map", tie(make_id(1, 0xB), "4711"))
    store.put("sites", {"id": "shop", "row": canary, "version": 1})
    store.put("api_keys", {"id": "key", "row": canary, "version": 1})
    views = [
        r["name"]
        for r in store.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'v_')"
        )
    ]
    assert len(views) >= 8
    with open_client(store.config, store.keyring, "reader") as reader:
        for view in views:
            with reader.stream(f"SELECT * FROM {view}") as answer:
                assert canary.encode() not in b"".join(answer), view
    assert store.value("SELECT count() FROM events WHERE network = {canary:String}", canary=canary) == 1
    assert store.value("SELECT count() FROM identity_evidence WHERE actor = {canary:String}", canary=canary) == 1
