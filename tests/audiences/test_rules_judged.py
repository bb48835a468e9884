"""Rules judged on a real engine, beside a model of a few lines that reads the same people out of plain lists."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from collector.audiences.compile import AudienceSqlError, judge, judge_all, run_sql_audience
from collector.audiences.configuration import AudienceConfig, read_audiences
from collector.event import NIL_ID, LandingRow
from collector.profiles.definitions import Definitions, TraitConfig, TraitType
from collector.profiles.states import State, set_state
from collector.profiles.traits import NewTrait, write_traits
from collector.store.client import open_client
from tests.running_store import NOON_MS, RunningStore, make_event, make_id, make_row, running_store

pytestmark = pytest.mark.engine
DAY_S = 86_400
NOW_MS = NOON_MS + DAY_S * 1000
KNOWN = 12
"""Customers: visitor n and visitor n + 100 are customer n."""
STRANGERS = 12
NAMES = ("page_view", "view_item", "purchase")
TRAITS = {
    "plan": TraitConfig(personal=False),
    "points": TraitConfig(personal=False, type=TraitType.INTEGER),
    "city": TraitConfig(),
}


class Happened(NamedTuple):
    """One event of the model. `days`: how long before NOW."""

    name: str
    days: float
    path: str
    category: str
    session: int
    value: float


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def store(shared: RunningStore) -> RunningStore:
    shared.clear()
    return shared


def visitor(number: int) -> str:
    return make_id(number, 0xB)


def customer(number: int) -> str:
    return make_id(number, 0xC)


def read(text: str) -> dict[str, AudienceConfig]:
    """Return audiences as a file has them."""
    return read_audiences(tomllib.loads(text), Path("use.toml"), TRAITS)


def rules(*tables: str, purpose: str = "") -> dict[str, AudienceConfig]:
    """Return an audience for each of these rules."""
    return read("".join(f'[a{n}]\npurpose = "{purpose}"\nall = [{table}]\n' for n, table in enumerate(tables)))


def map_row(key: str, person: str, kind: str = "visitor", **more: Any) -> dict[str, Any]:
    """Return a row of the map."""
    number = str(int(person[-12:], 16))
    row = {"space_id": "main", "key": key, "key_kind": kind, "person_id": person, "customer_id": number}
    return {**row, "customer_key": person, "valid_from": 0, "level": 3, "version": 1, **more}


def tie(store: RunningStore, number: int, *keys: str, **more: Any) -> None:
    """Make a customer, whose these visitors are."""
    person = customer(number)
    rows = [map_row(person, person, "customer", key_customer_id=str(number))]
    store.put("identity_map", *rows, *(map_row(key, person, **more) for key in keys))
    known = {"space_id": "main", "person_id": person, "customer_id": str(number), "customer_key": person, "version": 1}
    store.put("customers", known)


def happen(number: int, *events: Happened, **more: Any) -> list[LandingRow]:
    """Return the beacons of a visitor, one for each event."""
    rows = []
    for place, one in enumerate(events):
        props: dict[str, Any] = {"category": one.category}
        if one.value:
            props |= {"value": one.value, "currency": "EUR", "order_id": f"{number}-{place}"}
        after_s = DAY_S - one.days * DAY_S
        event = make_event(
            number * 1000 + place, after_s=after_s, name=one.name, url=f"https://shop.example{one.path}",
            props=json.dumps(props),
        )  # fmt: skip
        session = make_id(number * 1000 + one.session, 0x5)
        rows.append(make_row(number, after_s=after_s, session_id=session, events=[event], **more))
    return rows


def judge_one(store: RunningStore, audiences: Mapping[str, AudienceConfig], person: str) -> set[str]:
    """Return in which audiences somebody is."""
    found = judge(store.writer, audiences, "main", [person], now_ms=NOW_MS, keyring=store.keyring, traits=TRAITS)
    return set(found[person])


def believe(store: RunningStore, key: str, name: str, value: Any, level: int = 4) -> None:
    """Write what a server says of somebody."""
    said = [NewTrait(key, name, value, "server", level, NOON_MS)]
    assert write_traits(store.writer, store.keyring, Definitions(TRAITS, "main"), said) == 1


def make_story(chance: random.Random) -> tuple[Happened, ...]:
    """Return what a visitor did: something in most cases, on days around the bounds that the rules have."""
    story = []
    for _ in range(chance.choice((0, 1, 2, 4, 8))):
        name = chance.choice(NAMES)
        days = chance.choice((0.5, 2, 6.9, 7.1, 20, 29, 31, 80, 400))
        value = chance.choice((20.0, 60.0, 300.0)) if name == "purchase" else 0
        path = chance.choice(("/shoes/1", "/shoes/2", "/lamps/1"))
        story.append(Happened(name, days, path, chance.choice(("shoes", "lamps")), chance.randrange(3), value))
    return tuple(story)


Model = Callable[[list[tuple[int, Happened]], bool], bool]


def _count(story: list[tuple[int, Happened]], test: Callable[[Happened], bool]) -> int:
    return sum(test(one) for _, one in story)


def _paid(story: list[tuple[int, Happened]], days: float) -> float:
    return sum(one.value for _, one in story if one.name == "purchase" and one.days <= days)


MODELS: dict[str, Model] = {
    '{ event = "purchase" }': lambda s, _: _count(s, lambda e: e.name == "purchase") >= 1,
    '{ event = "view_item", category = "shoes", within_days = 30, at_least = 2 }': lambda s, _: (
        _count(s, lambda e: e.name == "view_item" and e.category == "shoes" and e.days <= 30) >= 2
    ),
    '{ path_prefix = "/shoes/", at_most = 1 }': lambda s, _: _count(s, lambda e: e.path.startswith("/shoes/")) <= 1,
    '{ event = "page_view", within_days = 7, at_least = 1, at_most = 2 }': lambda s, _: (
        1 <= _count(s, lambda e: e.name == "page_view" and e.days <= 7) <= 2
    ),
    "{ orders = 2, within_days = 30 }": lambda s, _: _count(s, lambda e: e.name == "purchase" and e.days <= 30) >= 2,
    "{ orders = true, at_most = 0 }": lambda s, _: _count(s, lambda e: e.name == "purchase") == 0,
    "{ order_value = 100.0 }": lambda s, _: _paid(s, 1e9) >= 100,
    '{ order_value = true, currency = "EUR", within_days = 30, at_most = 60 }': lambda s, _: _paid(s, 30) <= 60,
    "{ sessions = 3 }": lambda s, _: len({(who, one.session) for who, one in s}) >= 3,
    "{ sessions = 2, within_days = 7 }": lambda s, _: len({(w, one.session) for w, one in s if one.days <= 7}) >= 2,
    "{ seen_within_days = 7 }": lambda s, _: any(one.days <= 7 for _, one in s),
    "{ not_seen_for_days = 30 }": lambda s, _: bool(s) and all(one.days > 30 for _, one in s),
    "{ first_seen_within_days = 30 }": lambda s, _: bool(s) and all(one.days <= 30 for _, one in s),
    "{ known = true }": lambda _, known: known,
    "{ known = false }": lambda _, known: not known,
    '{ rfm = "prospect" }': lambda s, _: not any(one.name == "purchase" for _, one in s),
    '{ rfm = ["new"] }': lambda s, _: (
        len(times := [one.days for _, one in s if one.name == "purchase"]) == 1 and min(times) <= 90
    ),
}


def test_everybody_is_judged_as_the_model_says(store: RunningStore) -> None:
    """Each kind of rule, for people with one visitor, with two and with none that did anything."""
    chance = random.Random(20_261_123)
    people: dict[str, tuple[list[tuple[int, Happened]], bool]] = {}
    rows: list[LandingRow] = []
    for number in (*range(1, KNOWN + 1), *range(50, 50 + STRANGERS)):
        is_known = number <= KNOWN
        numbers = (number, number + 100) if is_known else (number,)
        story = []
        for one in numbers:
            told = make_story(chance)
            story += [(one, event) for event in told]
            rows += happen(one, *told)
        if is_known:
            tie(store, number, *map(visitor, numbers))
        if is_known or story:
            people[customer(number) if is_known else visitor(number)] = (story, is_known)
    store.load(*rows)
    audiences = rules(*MODELS)
    judged = judge(store.writer, audiences, "main", list(people), now_ms=NOW_MS)
    for number, (rule, holds) in enumerate(MODELS.items()):
        expected = {person for person, (story, is_known) in people.items() if holds(story, is_known)}
        assert {person for person, names in judged.items() if f"a{number}" in names} == expected, rule
        assert 0 < len(expected) < len(people), f"tells nobody from anybody: {rule}"
    assert not any(judge_one(store, audiences, visitor(number)) for number in (1, 101)), "they are customer 1 by now"
    pages: dict[str, frozenset[str]] = {}
    for page in judge_all(store.writer, audiences, "main", now_ms=NOW_MS):
        assert not pages.keys() & page.keys(), "each person once"
        pages |= page
    assert {person: names for person, names in pages.items() if names} == {p: n for p, n in judged.items() if n}


def test_lists_of_rules(store: RunningStore) -> None:
    """All of `all`, one of `any`, none of `none`."""
    rows = [
        *happen(1, Happened("purchase", 1, "/", "shoes", 1, 9), Happened("page_view", 1, "/", "", 1, 0)),
        *happen(2, Happened("purchase", 1, "/", "lamps", 1, 9)),
        *happen(3, Happened("purchase", 1, "/", "books", 1, 9)),
    ]
    store.load(*rows)
    audiences = read(
        """
        [some]
        purpose = ""
        all = [{ event = "purchase" }]
        any = [{ category = "shoes" }, { category = "lamps" }]
        none = [{ event = "page_view" }]
        """
    )
    judged = judge(store.writer, audiences, "main", [visitor(1), visitor(2), visitor(3)], now_ms=NOW_MS)
    assert [person for person, names in judged.items() if names] == [visitor(2)]


def test_a_shared_browser_gives_each_their_own(store: RunningStore) -> None:
    """Customers 1 and 2 take turns at a browser: each has what was done in their turns, and what was done between
    belongs to the browser alone."""
    tie(store, 1)
    tie(store, 2)
    store.put("identity_map", map_row(visitor(7), visitor(7), several=1, customer_id="", customer_key=NIL_ID))
    turns = ((10, 8, customer(1)), (6, 4, customer(2)))
    for first, last, person in turns:
        store.put(
            "identity_intervals",
            {
                "space_id": "main",
                "key": visitor(7),
                "person_id": person,
                "customer_key": person,
                "level": 3,
                "valid_from": NOW_MS / 1000 - first * DAY_S,
                "valid_to": NOW_MS / 1000 - last * DAY_S,
                "version": 1,
            },
        )
    store.load(
        *happen(
            7,
            Happened("purchase", 9, "/", "shoes", 1, 5),
            Happened("view_item", 5, "/", "lamps", 2, 0),
            Happened("page_view", 7, "/", "books", 3, 0),
            Happened("page_view", 1, "/", "books", 3, 0),
        )
    )
    audiences = rules('{ event = "purchase" }', '{ event = "view_item" }', '{ event = "page_view", at_least = 2 }')
    assert judge_one(store, audiences, customer(1)) == {"a0"}
    assert judge_one(store, audiences, customer(2)) == {"a1"}
    assert judge_one(store, audiences, visitor(7)) == {"a2"}


def test_a_link_alone_gives_nobody_anything(store: RunningStore) -> None:
    """Until somebody confirms it: neither the customer whom it names, nor the visitor as somebody of their own."""
    tie(store, 1, visitor(1), provisional=1, level=2)
    store.load(*happen(1, Happened("purchase", 1, "/", "shoes", 1, 5)))
    audiences = rules('{ event = "purchase" }')
    assert judge_one(store, audiences, customer(1)) == set()
    assert judge_one(store, audiences, visitor(1)) == set()
    tie(store, 1, visitor(1), provisional=0, version=2)
    assert judge_one(store, audiences, customer(1)) == {"a0"}


@pytest.mark.parametrize("state", list(State))
def test_nothing_of_erased_and_restricted_people(store: RunningStore, state: State) -> None:
    """Whichever of their identifiers it was said of."""
    tie(store, 1, visitor(1))
    store.load(*happen(1, Happened("purchase", 1, "/", "shoes", 1, 5)))
    audiences = rules('{ event = "purchase" }')
    assert judge_one(store, audiences, customer(1)) == {"a0"}
    set_state(store.writer, "main", [visitor(1)], state, now_ms=1)
    assert judge_one(store, audiences, customer(1)) == set()
    set_state(store.writer, "main", [visitor(1)], None, now_ms=2)
    assert judge_one(store, audiences, customer(1)) == {"a0"}


def test_consent_to_the_purpose(store: RunningStore) -> None:
    """By the banner, as the latest event has it; and what was taken back by a link or a list holds."""
    tie(store, 1, visitor(1))
    bought = Happened("purchase", 2, "/", "shoes", 1, 5)
    audiences = rules('{ event = "purchase" }', purpose="marketing")
    store.load(*happen(1, bought, consent="analytics,storage"))
    assert judge_one(store, audiences, customer(1)) == set()
    store.load(*happen(1, bought, Happened("page_view", 1, "/", "", 1, 0), consent="marketing,storage"))
    assert judge_one(store, audiences, customer(1)) == {"a0"}
    entry = {"space_id": "main", "key": customer(1), "purpose": "marketing", "consent_id": "c-1", "source": "list"}
    times = {"time": NOW_MS / 1000 - 60, "received_at": NOW_MS / 1000 - 60}
    store.put("consent_ledger", {**entry, **times, "state": "withdrawn"})
    assert judge_one(store, audiences, customer(1)) == set()


def test_a_server_that_says_nothing_of_marketing_has_not_refused_it(store: RunningStore) -> None:
    """A browser's word stands until it says otherwise, whatever a shop's server sends in between."""
    tie(store, 1, visitor(1))
    audiences = rules('{ event = "purchase" }', purpose="marketing")
    store.load(*happen(1, Happened("purchase", 2, "/", "", 1, 5), consent="marketing"))
    store.load(*happen(2, Happened("page_view", 1, "/", "", 1, 0), visitor_proof="server", own_person_id=visitor(1)))
    assert judge_one(store, audiences, customer(1)) == {"a0"}


def test_traits(store: RunningStore) -> None:
    """Equal, one of several, between bounds, there or not; sealed ones are opened; the surest word counts."""
    tie(store, 1, visitor(1))
    tie(store, 2)
    believe(store, customer(1), "plan", "gold")
    believe(store, customer(1), "points", 120)
    believe(store, customer(1), "city", "Bonn")
    believe(store, visitor(1), "plan", "silver", level=1)
    holding = (
        '{ trait = "plan", is = "gold" }',
        '{ trait = "plan", in = ["gold", "platinum"] }',
        '{ trait = "points", at_least = 100, at_most = 120 }',
        '{ trait = "city", is = "Bonn" }',
        '{ trait = "city", exists = true }',
    )
    failing = (
        '{ trait = "plan", is = "silver" }',
        '{ trait = "points", at_least = 121 }',
        '{ trait = "points", is = 12 }',
        '{ trait = "city", exists = false }',
    )
    audiences = rules(*holding, *failing)
    assert judge_one(store, audiences, customer(1)) == {f"a{number}" for number in range(len(holding))}
    assert judge_one(store, audiences, customer(2)) == {f"a{len(holding) + len(failing) - 1}"}
    opened = judge(store.writer, audiences, "main", [customer(1)], now_ms=NOW_MS, traits=TRAITS)[customer(1)]
    assert "a3" not in opened, "without the secrets nobody looks into a sealed value"


def test_robots_and_other_spaces_are_nobody(store: RunningStore) -> None:
    """Neither counts for anybody here."""
    store.load(
        *happen(1, Happened("purchase", 1, "/", "", 1, 5), is_bot=1),
        *happen(2, Happened("purchase", 1, "/", "", 1, 5), space_id="other"),
    )
    audiences = rules('{ event = "purchase" }')
    assert judge_one(store, audiences, visitor(1)) == judge_one(store, audiences, visitor(2)) == set()


def test_words_are_never_part_of_the_statement(store: RunningStore) -> None:
    """Quotes, braces and backslashes are letters like others."""
    wild = "a'\"\\{x:String}%'; DROP TABLE timeline --"
    store.load(
        *happen(1, Happened("view_item", 1, "/", wild, 1, 0)), *happen(2, Happened("page_view", 1, "/", "", 1, 0))
    )
    audiences = rules(f"{{ category = {json.dumps(wild)} }}")
    assert judge_one(store, audiences, visitor(1)) == {"a0"}
    assert judge_one(store, audiences, visitor(2)) == set()


def test_more_rules_than_one_statement_takes(store: RunningStore) -> None:
    """They are asked in parts, and each person is in all that they belong in."""
    store.load(*happen(1, Happened("purchase", 1, "/", "", 1, 5)))
    counts = [f'{{ event = "purchase", within_days = {days}, at_least = 1 }}' for days in range(1, 400)]
    audiences = rules(*counts, '{ event = "view_item" }')
    assert len(judge_one(store, audiences, visitor(1))) == len(counts)
    with pytest.raises(ValueError, match="at most 2,000"):
        judge(store.writer, audiences, "main", [visitor(number) for number in range(2_001)], now_ms=NOW_MS)


def test_a_statement(store: RunningStore) -> None:
    """Gives whom it says, less those whose consent is missing, and less who is somebody else by now."""
    tie(store, 1, visitor(1))
    store.load(
        *happen(1, Happened("purchase", 1, "/", "", 1, 5), consent="marketing"),
        *happen(2, Happened("purchase", 1, "/", "", 1, 5), consent="storage"),
    )
    sql = (
        "SELECT arrayJoin([person_id, own_person_id]) AS person_id FROM v_timeline WHERE event_name = 'purchase' -- so"
    )
    audience = AudienceConfig(name="buyers", sql=sql)
    with open_client(store.config, store.keyring, "reader") as reader:
        assert run_sql_audience(reader, audience) == {customer(1), visitor(1), visitor(2)}
        checked = run_sql_audience(reader, audience, checking=store.writer, now_ms=NOW_MS)
    assert checked == {customer(1)}


@pytest.mark.parametrize(
    ("sql", "cause"),
    [
        ("SELECT 1", "person_id"),
        ("SELECT 'anna' AS person_id", "must be a person's id"),
        ("SELECT NULL AS person_id", "NULL"),
        ("SELEKT person_id", "Syntax error"),
        ("SELECT own_person_id AS person_id FROM timeline", "privileges"),
        ("SELECT generateUUIDv4() AS person_id FROM numbers(20)", "more than 10 people"),
        ("SELECT person_id FROM v_events; DROP TABLE events", "Syntax error"),
    ],
)
def test_a_statement_that_cannot_be_used(shared: RunningStore, sql: str, cause: str) -> None:
    """The audience, the cause; and it reads what readers may see, and no more."""
    with (
        open_client(shared.config, shared.keyring, "reader") as reader,
        pytest.raises(AudienceSqlError, match=cause) as caught,
    ):
        run_sql_audience(reader, AudienceConfig(name="odd", sql=sql), most=10)
    assert str(caught.value).startswith("audiences.odd.sql: ")
