"""Rules judged on a real engine: whose something is, what may be made of it, and audiences that are a statement."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collector.audiences.compile import AudienceSqlError, ask_sql_audience, judge, keep_allowed
from collector.audiences.configuration import AudienceConfig
from collector.event import NIL_ID
from collector.profiles.states import State, set_state
from collector.store.client import open_client
from tests.audiences.audience_world import customer, visitor
from tests.audiences.judged_people import (
    DAY_S,
    NOW_MS,
    TRAITS,
    Happened,
    believe,
    happen,
    judge_one,
    map_row,
    rules,
    tie,
)
from tests.running_store import RunningStore

pytestmark = pytest.mark.engine


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


def test_browsers_that_change_hands_all_the_time(store: RunningStore) -> None:
    """More turns than one parameter takes: whose something is does not depend on how they are told."""
    tie(store, 1)
    tie(store, 2)
    store.put("identity_map", map_row(visitor(7), visitor(7), several=1, customer_id="", customer_key=NIL_ID))
    turns = [
        {
            "space_id": "main",
            "key": visitor(7),
            "person_id": customer(1 + number % 2),
            "customer_key": customer(1 + number % 2),
            "level": 3,
            "valid_from": NOW_MS / 1000 - DAY_S + number * 10,
            "valid_to": NOW_MS / 1000 - DAY_S + (number + 1) * 10,
            "version": 1,
        }
        for number in range(8_000)
    ]
    store.put("identity_intervals", *turns)
    last = 1 - 79_995 / DAY_S
    store.load(*happen(7, Happened("purchase", 1, "/", "", 1, 5), Happened("view_item", last, "/", "", 1, 0)))
    audiences = rules('{ event = "purchase" }', '{ event = "view_item" }')
    assert judge_one(store, audiences, customer(1)) == {"a0"}
    assert judge_one(store, audiences, customer(2)) == {"a1"}


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
    store.load(*happen(1, bought, consent="analytics,analytics"))
    assert judge_one(store, audiences, customer(1)) == set()
    store.load(*happen(1, bought, Happened("page_view", 1, "/", "", 1, 0), consent="analytics,marketing"))
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
        people = ask_sql_audience(reader, audience)
    assert people == {customer(1), visitor(1), visitor(2)}
    assert keep_allowed(store.writer, audience, people, now_ms=NOW_MS) == {customer(1)}


def test_a_statement_with_a_long_answer(store: RunningStore) -> None:
    """It comes in pieces that end anywhere: nobody is lost between two, and nobody is there twice."""
    sql = "SELECT toUUID('0000000b-0000-4000-8000-' || leftPad(toString(number % 5000), 12, '0')) AS person_id"
    audience = AudienceConfig(name="many", sql=f"{sql} FROM numbers(10000)")
    with open_client(store.config, store.keyring, "reader") as reader:
        people = ask_sql_audience(reader, audience)
    assert people == {f"0000000b-0000-4000-8000-{number:012d}" for number in range(5_000)}
    assert keep_allowed(store.writer, audience, people, now_ms=NOW_MS) == set(), "nobody knows any of them"


def test_the_statements_of_the_page(store: RunningStore) -> None:
    """docs/audiences.md: they are taken as they stand there, with a reader's rights."""
    page = (Path(__file__).parents[2] / "docs" / "audiences.md").read_text(encoding="utf-8")
    store.load(*happen(1, Happened("purchase", 1, "/", "", 1, 5)))
    (audience,) = re.findall(r'sql = """\n(.*?)"""', page, re.DOTALL)
    (question,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    with open_client(store.config, store.keyring, "reader") as reader:
        assert ask_sql_audience(reader, AudienceConfig(name="big_spenders", sql=audience)) == {visitor(1)}
        assert reader.query_rows(question) == []


def test_no_value_is_told_by_an_error(store: RunningStore) -> None:
    """A store quotes what it cannot read, and what is said of a statement goes to the log."""
    store.load(*happen(1, Happened("page_view", 1, "/anna", "", 1, 0)))
    audience = AudienceConfig(name="odd", sql="SELECT toUUID(path) AS person_id FROM v_timeline")
    with (
        open_client(store.config, store.keyring, "reader") as reader,
        pytest.raises(AudienceSqlError, match="toUUIDOrNull") as caught,
    ):
        ask_sql_audience(reader, audience)
    assert "anna" not in str(caught.value)


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
        ask_sql_audience(reader, AudienceConfig(name="odd", sql=sql), most=10)
    assert str(caught.value).startswith("audiences.odd.sql: ")
