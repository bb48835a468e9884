"""Every named question, asked as the reader, against numbers computed in Python from the same happenings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from statistics import median_low
from typing import Any

import pytest

from collector.reports.questions import QuestionError, find_question, list_questions, run_question
from collector.store.client import StoreClient, open_client
from tests.reports.simulated_shop import FIRST, LAST, Happening, Shop, simulate_shop
from tests.running_store import RunningStore, make_id

pytestmark = pytest.mark.engine
BY_CLASS = frozenset(("link_clicks", "link_days", "link_unfilled"))
"""Questions that tell people from machines by the class of a click."""
TODAY = LAST.date()
RANGE = {"site": "shop", "first": FIRST.date() - timedelta(days=1), "last": LAST.date()}


@pytest.fixture(scope="module")
def shop(store: RunningStore) -> Shop:
    """A shop whose happenings are in the store, with its map."""
    shop = simulate_shop(seed=7)
    store.load(*shop.landing)
    store.put("identity_map", *shop.identity_map)
    store.put("identity_intervals", *shop.intervals)
    return shop


@pytest.fixture
def reader(store: RunningStore, shop: Shop) -> Iterator[StoreClient]:
    with open_client(store.config, store.keyring, "reader") as client:
        yield client


def ask(reader: StoreClient, name: str, **params: Any) -> list[dict[str, Any]]:
    return run_question(reader, name, {**RANGE, **params}, today=TODAY)


def test_each_question_explains_itself() -> None:
    """A question, its parameters with type and meaning, and what it costs; nothing but views for readers is read."""
    questions = list_questions()
    assert [q.name for q in questions] == [
        "campaigns",
        "customer_journey",
        "daily_visitors",
        "first_last_touch",
        "funnel",
        "link_clicks",
        "link_days",
        "link_unfilled",
        "links",
        "offer_uplift",
        "rejected",
        "retention",
        "sessions",
        "top_pages",
    ]
    for question in questions:
        assert question.question.endswith("?")
        assert question.parameters
        assert question.costs
        for parameter in question.parameters:
            assert f"{{{parameter.name}:{parameter.type}}}" in question.sql
        assert question.sql.count("{") == sum(
            question.sql.count(f"{{{p.name}:{p.type}}}") for p in question.parameters
        ), f"{question.name}: a parameter is bound but not described"
        assert "FROM events" not in question.sql
        assert ("is_bot = 0" in question.sql) == (question.name not in BY_CLASS)


def test_daily_visitors(reader: StoreClient, shop: Shop) -> None:
    """Visitors, people, customers, sessions and page views of each day, without bots."""
    days: dict[str, list[Happening]] = defaultdict(list)
    for happening in shop.human:
        days[happening.day].append(happening)
    expected = [
        {
            "day": date.fromisoformat(day),
            "visitors": len({h.visitor for h in found}),
            "people": len({h.person for h in found}),
            "customers": len({h.customer for h in found} - {""}),
            "sessions": len({h.session for h in found}),
            "page_views": sum(h.name == "page_view" for h in found),
        }
        for day, found in sorted(days.items())
    ]
    assert ask(reader, "daily_visitors") == expected


def test_days_begin_in_the_zone(reader: StoreClient, shop: Shop) -> None:
    """In Auckland (12 hours ahead in September) the same evening is the next day."""
    day = date(2090, 9, 10)
    begin = datetime(2090, 9, 9, 12, tzinfo=UTC)
    inside = [h for h in shop.human if begin <= h.time < begin + timedelta(days=1)]
    rows = ask(reader, "daily_visitors", first=day, last=day, zone="Pacific/Auckland")
    assert [row["day"] for row in rows] == [day]
    assert rows[0]["visitors"] == len({h.visitor for h in inside})


def test_top_pages(reader: StoreClient, shop: Shop) -> None:
    """Page views and people by path, the most seen first."""
    pages: dict[str, list[Happening]] = defaultdict(list)
    for happening in shop.human:
        if happening.name == "page_view":
            pages[happening.path].append(happening)
    expected = sorted(
        (-len(found), path, len({h.visitor for h in found}), len({h.person for h in found}))
        for path, found in pages.items()
    )
    rows = ask(reader, "top_pages", rows=3)
    assert [(-r["page_views"], r["path"], r["visitors"], r["people"]) for r in rows] == expected[:3]
    assert {r["host"] for r in rows} == {"shop.example"}


def test_campaigns(reader: StoreClient, shop: Shop) -> None:
    """Sessions by what they began with, and the purchases in them."""
    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for visit in shop.human_visits:
        groups[visit.channel, visit.campaign].append(visit)
    expected = {}
    for key, visits in groups.items():
        sold = [[h for h in visit.happenings if h.name == "purchase"] for visit in visits]
        expected[key] = (
            len(visits),
            sum(bool(s) for s in sold),
            sum(len(s) for s in sold),
            round(sum(h.value for s in sold for h in s), 2),
        )
    found: dict[tuple[str, str], Any] = {}
    for r in ask(reader, "campaigns"):
        key = (r["channel"], r["campaign"])
        now = (r["sessions"], r["converting_sessions"], r["conversions"], r["value"])
        found[key] = tuple(round(a + b, 2) for a, b in zip(found[key], now, strict=True)) if key in found else now
    assert found == expected
    assert len(found) > 5


def test_first_and_last_touch(reader: StoreClient, shop: Shop) -> None:
    """By person, over all browsers: the first and the last session before the first purchase."""
    bought: dict[str, datetime] = {}
    for happening in sorted(shop.human, key=lambda h: h.time):
        if happening.name == "purchase":
            bought.setdefault(happening.person, happening.time)
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for person, at in bought.items():
        visits = [v for v in shop.human_visits if v.person == person and at - timedelta(days=9) <= v.start <= at]
        if visits:
            visits.sort(key=lambda v: v.start)
            counts[visits[0].channel, visits[0].campaign][0] += 1
            counts[visits[-1].channel, visits[-1].campaign][1] += 1
    rows = ask(reader, "first_last_touch", look_back_days=9)
    assert {(r["channel"], r["campaign"]): [r["first_touches"], r["last_touches"]] for r in rows} == counts
    assert any(first != last for first, last in counts.values())


def test_funnel(reader: StoreClient, shop: Shop) -> None:
    """People who go through the steps in order within the window, on whatever browser."""
    steps = ["/catalogue", "add_to_basket", "purchase"]
    window = timedelta(hours=2)

    def is_step(h: Happening, step: str) -> bool:
        return h.name == "page_view" and h.path == step if step.startswith("/") else h.name == step

    def reach(events: list[Happening]) -> int:
        best = 0
        for number, start in enumerate(events):
            if not is_step(start, steps[0]):
                continue
            level = 1
            for later in events[number + 1 :]:
                if later.time - start.time <= window and level < len(steps) and is_step(later, steps[level]):
                    level += 1
            best = max(best, level)
        return best

    people: dict[str, list[Happening]] = defaultdict(list)
    for happening in sorted(shop.human, key=lambda h: h.time):
        people[happening.person].append(happening)
    levels = [reach(events) for events in people.values()]
    expected = [sum(level >= n for level in levels) for n in (1, 2, 3)]
    rows = ask(reader, "funnel", steps=steps, window_hours=2)
    assert [(r["step"], r["name"], r["people"]) for r in rows] == [
        (n, step, expected[n - 1]) for n, step in enumerate(steps, start=1)
    ]
    assert rows[2]["of_previous"] == pytest.approx(expected[2] / expected[1], abs=1e-4)
    assert expected[0] > expected[1] > expected[2] > 0


def test_retention(reader: StoreClient, shop: Shop) -> None:
    """Who came first in a week, and in which weeks they came again."""
    weeks: dict[str, set[date]] = defaultdict(set)
    for happening in shop.human:
        day = happening.time.date()
        weeks[happening.person].add(day - timedelta(days=day.weekday()))
    counts: dict[tuple[date, int], int] = defaultdict(int)
    for seen in weeks.values():
        for week in seen:
            counts[min(seen), (week - min(seen)).days // 7] += 1
    rows = ask(reader, "retention")
    assert {(r["cohort"], r["week"]): r["people"] for r in rows} == counts
    assert all(r["share"] == round(r["people"] / counts[r["cohort"], 0], 4) for r in rows)


def test_sessions(reader: StoreClient, shop: Shop) -> None:
    """Sessions by day and channel with depth, length and bounces."""
    groups: dict[tuple[date, str], list[Any]] = defaultdict(list)
    for visit in shop.human_visits:
        groups[visit.start.date(), visit.channel].append(visit)
    rows = ask(reader, "sessions")
    assert {(r["day"], r["channel"]) for r in rows} == groups.keys()
    for r in rows:
        visits = groups[r["day"], r["channel"]]
        assert r["sessions"] == len(visits)
        assert r["people"] == len({v.person for v in visits})
        assert r["pages_per_session"] == pytest.approx(sum(v.page_views for v in visits) / len(visits), abs=0.006)
        assert r["median_duration_s"] == pytest.approx(median_low((v.end - v.start).total_seconds() for v in visits))
        assert r["bounce_rate"] == pytest.approx(sum(v.page_views <= 1 for v in visits) / len(visits), abs=1e-4)


@pytest.mark.parametrize("customer", ["4001", "5001", "5002"])
def test_journey_of_one_customer(reader: StoreClient, shop: Shop, customer: str) -> None:
    """All events of all browsers; of a shared tablet only what lies in the customer's own time."""
    expected = sorted((h for h in shop.human if h.customer == customer), key=lambda h: h.time, reverse=True)
    rows = ask_journey(reader, customer)
    assert [str(r["event_id"]) for r in rows] == [h.event_id for h in expected]
    assert expected
    assert {str(r["visitor_id"]) for r in rows} == {make_id(h.visitor, 0xA) for h in expected}


def ask_journey(reader: StoreClient, customer: str) -> list[dict[str, Any]]:
    return run_question(reader, "customer_journey", {"customer": customer}, today=TODAY)


def test_a_journey_of_nobody_is_empty(reader: StoreClient) -> None:
    """An unknown customer has no events, and is no error."""
    assert ask_journey(reader, "no such customer") == []


def test_rejected_by_reason(reader: StoreClient) -> None:
    """What was refused, by reason; the same bytes twice are seen as such."""
    rows = ask(reader, "rejected")
    assert [(r["reason"], r["beacons"], r["refused_events"], r["senders_repeated"]) for r in rows] == [
        ("shape", 2, 3, 1),
        ("consent", 1, 0, 0),
    ]
    assert "e[0].t" in rows[0]["fields"]


def test_another_site_sees_nothing(reader: StoreClient) -> None:
    """Every question about a site keeps to it."""
    for question in list_questions():
        if any(p.name == "site" for p in question.parameters):
            rows = run_question(reader, question.name, {"site": "elsewhere"}, today=TODAY)
            assert not [r for r in rows if r.get("people") or r.get("page_views") or r.get("sessions")], question.name


def test_wrong_parameters_are_named() -> None:
    """Unknown names, missing ones and values of the wrong type: one line that says which."""
    question = find_question("top_pages")
    for params, said in (
        ({}, "wants site: the site"),
        ({"site": "shop", "colour": "red"}, "has no parameter colour: it knows first, last, rows, site, zone"),
        ({"site": "shop", "rows": "-1"}, "rows: '-1' is no UInt32"),
        ({"site": "shop", "rows": 2**32}, "is no UInt32"),
        ({"site": "shop", "first": "tomorrow"}, "'tomorrow' is no Date"),
    ):
        with pytest.raises(QuestionError, match=said):
            question.bind(params, TODAY)
    with pytest.raises(QuestionError, match="there are campaigns, customer_journey"):
        find_question("nope")


def test_defaults_count_from_the_day_that_is_passed_in() -> None:
    """today and N days ago."""
    bound = find_question("top_pages").bind({"site": "shop"}, date(2026, 3, 1))
    assert bound == {
        "site": "shop",
        "first": date(2026, 1, 31),
        "last": date(2026, 3, 1),
        "zone": "UTC",
        "rows": 20,
    }
    assert find_question("funnel").bind({"site": "s", "steps": "/a, buy"}, TODAY)["steps"] == ["/a", "buy"]


def test_values_are_bound_not_spliced(reader: StoreClient) -> None:
    """A value with quotes is a value."""
    assert ask_journey(reader, "4001' OR 1 = 1 --") == []
    assert ask(reader, "top_pages", site="shop') OR (1 = 1") == []
