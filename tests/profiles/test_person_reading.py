"""Facts and timeline of people are what v_events says of them, whatever happened to their identifiers."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from collector.event import NIL_ID, EventRow, LandingRow
from collector.identity.policy import DAY_MS, MINUTE_MS
from collector.identity.resolve import resolve
from collector.identity.standing import Change, write_change
from collector.profiles import facts, keys
from collector.profiles.computed import Computed, Facts
from collector.profiles.definitions import Definitions
from collector.profiles.profile import Part, Profile, Unknown, read_profile
from collector.profiles.timeline import Cursor, CursorError, decode_cursor
from collector.store.client import StoreClient
from collector.store.dictionaries import reload_dictionaries
from tests.identity.story import POLICY, alias, days, key, sign_in
from tests.identity.test_bulk import make_shop
from tests.running_store import RunningStore, make_event, make_id, make_row

pytestmark = pytest.mark.engine
NOTHING = Definitions({})
NOW_MS = days(300)
WORDS = ("Lamps", "Rugs", "Beds")
REFERRERS = ("", "https://www.google.com/", "https://t.co/a", "https://shop.example/")
PROOFS = ("cookie", "cookie", "script", "server", "fresh")


def tell(seed: int) -> list[Any]:
    """Return the evidence of a shop, with a shared device and a browser that nothing proves."""
    rows = make_shop(random.Random(seed), 7)
    for number in range(7):
        rows += sign_in("tablet", f"K{number}", at=days(20 + number), session=f"tablet-{number}")
    for number in range(4):
        rows += sign_in("bare", f"K{number}", at=days(30 + number), proof="script")
    return rows


def stitch(store: RunningStore, evidence: list[Any], version: int = 1) -> list[str]:
    """Write the map that follows from evidence. Returns the identifiers it names."""
    found = resolve(evidence, POLICY)
    write_change(
        store.writer,
        "main",
        Change(list(found.map_rows), list(found.intervals), list(found.customers), [], [], []),
        version,
    )
    reload_dictionaries(store.writer)
    return sorted({row.a_key for row in evidence} | {row.b_key for row in evidence})


def make_beacons(chance: random.Random, own_keys: list[str], count: int) -> list[LandingRow]:
    """Return beacons of these identifiers over the time of the story, with orders, refunds, robots and retries."""
    rows = []
    for number in range(count):
        own, at = chance.choice(own_keys), days(chance.random() * 210)
        events = []
        for place in range(chance.randrange(1, 4)):
            name = chance.choice(("page_view", "view_item", "purchase", "refund", "Order Completed"))
            props: dict[str, Any] = {"category": chance.choice(WORDS)} if chance.random() < 0.5 else {}
            if name not in ("page_view", "view_item"):
                props |= {"transaction_id": f"o-{chance.randrange(200)}", "value": chance.randrange(4_000) / 100}
            events.append(
                EventRow(
                    event_id=make_id(number * 10 + place, 0xE),
                    name=name,
                    time_ms=at + place * MINUTE_MS,
                    url="https://shop.example/a",
                    referrer=chance.choice(REFERRERS),
                    props=msgspec.json.encode(props).decode(),
                )
            )
        rows.append(
            make_row(
                1,
                received_at_ms=at + DAY_MS,
                own_person_id=own,
                visitor_proof=chance.choice(PROOFS),
                session_id=NIL_ID if chance.random() < 0.1 else make_id(int(at // (3 * DAY_MS)), int(own[:6], 16)),
                device=chance.choice(("", "desktop", "mobile")),
                is_bot=int(chance.random() < 0.1),
                events=events,
            )
        )
    return rows


class Telling:
    """What v_events says of each person."""

    def __init__(self, store: RunningStore) -> None:
        self.rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in store.query(
            "SELECT toString(person_id) AS person, toString(event_id) AS id, toUnixTimestamp64Milli(time) AS ms,"
            " is_bot, toString(session_id) AS session, event_name, channel, device,"
            " toString(props.category) AS category, toString(props.transaction_id) AS number,"
            " toFloat64OrZero(toString(props.value)) AS value"
            " FROM v_events ORDER BY time DESC, event_id DESC"
        ):
            self.rows[row["person"]].append(row)

    def page(self, person: str) -> list[tuple[int, str]]:
        return [(row["ms"], row["id"]) for row in self.rows[person]]

    def seen(self, person: str) -> dict[str, Any]:
        """Return the facts, counted one by one."""
        rows = [row for row in self.rows[person] if not row["is_bot"]]
        visits: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for row in rows:
            visit = row["session"] if row["session"] != NIL_ID else str(row["ms"] // DAY_MS)
            if row["category"]:
                visits["categories"].add((row["category"], visit))
            if row["channel"] not in ("", "internal"):
                visits["channels"].add((row["channel"], visit))
            if row["device"]:
                visits["devices"].add((row["device"], visit))
        orders: dict[str, dict[str, Any]] = {}
        back: defaultdict[str, set[tuple[int, float]]] = defaultdict(set)
        for row in reversed(rows):
            if row["event_name"] in ("purchase", "Order Completed"):
                first = orders.setdefault(row["number"], row)
                if (row["ms"], row["value"]) < (first["ms"], first["value"]):
                    orders[row["number"]] = row
            elif row["event_name"] == "refund":
                back[row["number"]].add((row["ms"], row["value"]))
        left = {}
        for number, row in orders.items():
            returned = row["value"] if any(v <= 0 for _, v in back[number]) else sum(v for _, v in back[number])
            if not back[number] or row["value"] - returned >= 0.005:
                left[number] = max(0.0, row["value"] - returned)
        counts = {
            kind: {word: sum(w == word for w, _ in visits[kind]) for word, _ in visits[kind]}
            for kind in ("categories", "channels", "devices")
        }
        return counts | {
            "first": min((row["ms"] for row in rows), default=0),
            "last": max((row["ms"] for row in rows), default=0),
            "sessions": len({row["session"] for row in rows} - {NIL_ID}),
            "orders": len(left),
            "value": round(sum(left.values()), 2),
        }


def show(computed: Computed | None) -> dict[str, Any]:
    assert computed is not None
    return {
        "categories": computed.categories,
        "channels": computed.channels,
        "devices": computed.devices,
        "first": computed.first_seen_ms,
        "last": computed.last_seen_ms,
        "sessions": computed.sessions,
        "orders": computed.orders,
        "value": round(sum(computed.value.values()), 2),
    }


def read(store: RunningStore, person: str, **more: Any) -> Profile:
    """Read a person of whom something is known."""
    profile = read_profile(store.writer, store.keyring, NOTHING, person, now_ms=NOW_MS, **more)
    assert isinstance(profile, Profile)
    return profile


def turn_pages(store: RunningStore, person: str, limit: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    cursor: Cursor | None = None
    while True:
        page = read(store, person, parts={Part.TIMELINE}, cursor=cursor, limit=limit, exactly=True).page
        found += [(event.time_ms, event.event_id) for event in page.events]
        assert len(page.events) <= limit
        if page.next is None:
            return found
        cursor = decode_cursor(page.next.encode())


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3))])
def test_everybody_has_what_v_events_says(store: RunningStore, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random stories: shared devices, look-back, sign-outs, what nothing proves, facts of many, retries, robots."""
    parted: set[str] = set()

    def note(client: StoreClient, space_id: str, held: list[keys.Held]) -> list[Facts]:
        parted.update(item.key for item in held)
        return read_parted(client, space_id, held)

    read_parted = facts.read_parted
    monkeypatch.setattr(facts, "read_parted", note)
    chance = random.Random(seed)
    own_keys = [*stitch(store, tell(seed)), make_id(1, 0xF1)]
    beacons = make_beacons(chance, own_keys, 160)
    for start in range(0, len(beacons), 80):
        store.load(*beacons[start : start + 80], *chance.sample(beacons[: start + 1], min(start, 20)))
    telling = Telling(store)
    held: set[str] = set()
    for person in sorted(telling.rows):
        profile = read(store, person, exactly=True, limit=9)
        assert show(profile.computed) == telling.seen(person)
        shown = [(event.time_ms, event.event_id) for event in profile.page.events]
        assert shown == telling.page(person)[:9]
        if profile.page.next is not None:
            assert turn_pages(store, person, chance.choice((5, 7))) == telling.page(person)
        held.update(item.own_person_id for item in profile.identifiers)
        customer = store.query("SELECT any(customer_id) AS id FROM v_events WHERE person_id = {p:UUID}", p=person)
        assert profile.customer_id == customer[0]["id"]
    # The stories reach both ways of reading.
    assert len(parted) > 3
    assert len(held - parted) > 10


def test_merges_and_their_undoing_show_at_once(store: RunningStore) -> None:
    """Nothing is rewritten but the map: the profile follows it, even where the dictionary does not yet."""
    annas = sign_in("A", "K1", at=days(1)) + sign_in("B", "K1", at=days(1))
    stitch(store, annas)
    store.load(make_row(1, own_person_id=key("A"), events=[make_event(1)]))
    store.load(make_row(2, own_person_id=key("B"), events=[make_event(2)]))
    assert len(read(store, key("K1")).page.events) == 2
    row = {"space_id": "main", "key": key("B"), "key_kind": "visitor", "version": 9, "is_deleted": 1}
    store.writer.insert_lines(f"{store.writer.database}.identity_map", msgspec.json.encode(row))
    assert [event.own_person_id for event in read(store, key("K1")).page.events] == [key("A")]
    lone = read(store, key("B"))
    assert (lone.person_id, lone.customer_id, len(lone.page.events)) == (key("B"), "", 1)


def test_who_asks_by_a_name_of_old_is_told_so(store: RunningStore) -> None:
    """A customer who is part of another now is merged; an e-mail or a visitor of theirs is just theirs."""
    rows = sign_in("A", "K1", "E1", at=days(1)) + sign_in("B", "K2", at=days(2))
    merged = resolve([*rows, *alias("K1", "K2", at=days(3))], POLICY)
    write_change(store.writer, "main", Change(list(merged.map_rows), [], list(merged.customers), [], [], []), 1)
    reload_dictionaries(store.writer)
    (survivor,) = {row.person_id for row in merged.map_rows}
    other = ({key("K1"), key("K2")} - {survivor}).pop()
    assert read(store, survivor).merged_from == ""
    assert (read(store, other).person_id, read(store, other).merged_from) == (survivor, other)
    for name in ("E1", "A", "B"):
        assert (read(store, key(name)).person_id, read(store, key(name)).merged_from) == (survivor, "")
    assert read(store, key("A"), is_person_id=True).merged_from == key("A")


def test_a_shared_device_is_whose_it_is_now(store: RunningStore) -> None:
    """Asked for the visitor, the profile is that of who has it, and of nobody where nobody has or proved it."""
    stitch(store, sign_in("A", "K1", at=days(5)) + sign_in("A", "K2", at=days(6)))
    for now, who in ((days(5.5), "K1"), (days(7), "K2")):
        profile = read_profile(store.writer, store.keyring, NOTHING, key("A"), now_ms=now)
        assert isinstance(profile, Profile)
        assert profile.person_id == key(who)
    store.clear()
    stitch(store, sign_in("A", "K1", at=days(5), proof="script"))
    assert read(store, key("A")).person_id == key("A")


def test_nobody_is_unknown(store: RunningStore) -> None:
    """An id that was never seen; one that was blocked out of the map and has no event either."""
    answer = read_profile(store.writer, store.keyring, NOTHING, make_id(7), now_ms=NOW_MS)
    assert answer == Unknown(make_id(7))


def test_pages_stay_as_they_are_while_events_come(store: RunningStore) -> None:
    """What comes between two pages is on neither; what is shown once is not shown again. Equal times are parted."""
    own = make_id(1, 0xB)
    store.load(make_row(1, events=[make_event(number, after_s=number // 3) for number in range(9)]))
    first = read(store, own, limit=4).page
    store.load(make_row(1, events=[make_event(number, after_s=number) for number in range(20, 30)]))
    assert first.next is not None
    second = read(store, own, limit=4, cursor=first.next).page
    third = read(store, own, limit=4, cursor=second.next).page
    shown = [event.event_id for page in (first, second, third) for event in page.events]
    assert len(shown) == len(set(shown)) == 9
    assert third.next is None


@pytest.mark.parametrize("text", ["", "x", "MQ", "é", "Ly4u", "MS4wMDAwMDAwMA", "A" * 5_000])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    """Made up, cut off, too long: one kind of error."""
    with pytest.raises(CursorError):
        decode_cursor(text)


def test_the_events_of_many_are_never_read(store: RunningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has to be read again: no statement names `events` or a view on it, and what is usual takes two."""
    asked: list[str] = []
    for name in ("stream", "query_rows"):
        original = getattr(StoreClient, name)

        def ask(self: StoreClient, sql: str, *more: Any, _original: Any = original, **named: Any) -> Any:
            asked.append(sql)
            return _original(self, sql, *more, **named)

        monkeypatch.setattr(StoreClient, name, ask)
    stitch(store, tell(1))
    store.load(*make_beacons(random.Random(1), [key("tablet"), key("bare"), key("K0")], 60))
    store.load(make_row(1, events=[make_event(1)]))
    asked.clear()
    read(store, make_id(1, 0xB))
    assert len(asked) == 2
    for name in ("K0", "K1", "tablet", "bare"):
        read(store, key(name), limit=2)
        read(store, key(name), limit=2, exactly=True)
    tables = {table for sql in asked for table in re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", sql)}
    assert tables == {
        *("person_keys", "identity_map", "identity_intervals", "visitor_facts", "timeline"),
        *("traits", "consent_ledger", "identifier_vault", "person_states", "audience_members"),
    }
