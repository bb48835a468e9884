"""The named question `offer_uplift` and the report on it, against a truth computed in Python."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from statistics import mean, stdev
from typing import Any

import pytest

from collector.event import LandingRow
from collector.offers.configuration import OfferConfig, Outcome
from collector.offers.report import Report, read_report
from collector.offers.uplift import compare_rates
from collector.store.client import StoreClient, open_client
from tests.offers.exposures import expose, tell, tie
from tests.running_store import NOON_MS, RunningStore

pytestmark = pytest.mark.engine
NOON = datetime.fromtimestamp(NOON_MS / 1000, UTC)
FIRST, LAST = NOON.date(), NOON.date() + timedelta(days=20)
DAY_S = 86_400
OFFER = OfferConfig(name="letter", slot="shelf", content={}, outcome=Outcome(event="purchase", within_days=5))


@pytest.fixture
def reader(store: RunningStore) -> Iterator[StoreClient]:
    with open_client(store.config, store.keyring, "reader") as client:
        yield client


def buy(visitor: int, after_s: float, value: float, order: str = "", **more: Any) -> LandingRow:
    props = {"value": value, "currency": "EUR", **({"transaction_id": order} if order else {})}
    return tell(visitor, "purchase", after_s, props, **more)


def ask(reader: StoreClient, first: date = FIRST, last: date = LAST, offer: OfferConfig = OFFER) -> Report:
    return read_report(reader, offer, first, last)


def test_the_question_against_the_truth(store: RunningStore, reader: StoreClient) -> None:
    """150 people with two devices each, some merged: each person once, in the arm of their first exposure."""
    draw = random.Random(5)
    owners = {visitor: 5_000 + visitor // 2 for visitor in range(300)}
    merged = {customer: customer - 1 for customer in range(5_001, 5_041, 2)}
    rows: list[LandingRow] = []
    exposures: defaultdict[int, list[tuple[float, str]]] = defaultdict(list)
    purchases: defaultdict[int, list[tuple[float, str, float]]] = defaultdict(list)
    for visitor, owner in owners.items():
        person = merged.get(owner, owner)
        for _ in range(draw.randint(0, 3)):
            after_s = draw.uniform(-3, 18) * DAY_S
            action = draw.choices(("shown", "held_out", "clicked"), (6, 3, 1))[0]
            rows.append(expose(visitor, action, after_s))
            if action != "clicked":
                exposures[person].append((after_s, action))
        for number in range(draw.randint(0, 3)):
            after_s, value = draw.uniform(-3, 24) * DAY_S, draw.randint(1, 90) / 2
            order = f"o-{visitor}-{number}" if draw.random() < 0.5 else ""
            rows.append(buy(visitor, after_s, value, order))
            purchases[person].append((after_s, order, value))
            if order:  # the page after the order is looked at again
                rows.append(buy(visitor, after_s + 60, value, order))
        rows.append(expose(visitor, "shown", draw.uniform(0, 18) * DAY_S, is_bot=1))
        rows.append(expose(visitor, "shown", draw.uniform(0, 18) * DAY_S, offer="other"))
        rows.append(buy(visitor, draw.uniform(0, 18) * DAY_S, 999, is_bot=1))
    draw.shuffle(rows)
    store.load(*rows)
    tie(store, owners, people=merged)

    arms: dict[str, list[float]] = {"shown": [], "held_out": []}
    bought: defaultdict[str, int] = defaultdict(int)
    midnight_s = (datetime.combine(FIRST, datetime.min.time(), UTC) - NOON).total_seconds()
    for person, seen in exposures.items():
        since, arm = min(seen)
        if since < midnight_s:
            continue
        mine = [value for at, _, value in purchases[person] if since <= at < since + 5 * DAY_S]
        arms[arm].append(sum(mine))
        bought[arm] += bool(mine)

    report = ask(reader)
    for name, values in arms.items():
        arm = getattr(report, name)
        assert (arm.people, arm.converted) == (len(values), bought[name])
        assert arm.value == pytest.approx(sum(values))
        assert (arm.value_mean, arm.value_deviation) == (pytest.approx(mean(values)), pytest.approx(stdev(values)))
    assert min(report.shown.people, report.held_out.people) > 20
    assert report.currencies == ("EUR",)
    assert report.rate == compare_rates(report.shown, report.held_out)


def test_a_merge_makes_one_of_two(store: RunningStore, reader: StoreClient) -> None:
    """Shown as one, held out as the other: the first exposure decides, from the merge on and until it is undone."""
    store.load(expose(1, "held_out", 10), expose(2, "shown", 20), expose(2, "clicked", 30), buy(2, 40, 7))
    tie(store, {1: 4711, 2: 4712})
    apart = ask(reader)
    assert [(one.people, one.converted, one.clicked) for one in (apart.shown, apart.held_out)] == [(1, 1, 1), (1, 0, 0)]
    tie(store, {1: 4711, 2: 4712}, version=2, people={4712: 4711})
    merged = ask(reader)
    assert (merged.shown.people, merged.held_out.people, merged.held_out.converted) == (0, 1, 1)
    tie(store, {1: 4711, 2: 4712}, version=3)
    assert ask(reader) == apart


def test_days_windows_and_currencies(store: RunningStore, reader: StoreClient) -> None:
    """First seen before these days: not of them. Whose window goes beyond them is still waiting."""
    dollars = tell(3, "purchase", DAY_S + 5, {"value": 3, "currency": "USD"})
    store.load(expose(1, after_s=-2 * DAY_S), expose(1, after_s=10), expose(2, after_s=10), expose(3, after_s=DAY_S))
    store.load(buy(2, 5 * DAY_S + 9, 20), buy(2, 5 * DAY_S + 11, 40), dollars)
    report = ask(reader)
    assert (report.shown.people, report.shown.converted, report.shown.value) == (2, 2, 23)
    assert (report.shown.waiting, report.currencies, report.value) == (0, ("EUR", "USD"), None)
    short = ask(reader, last=FIRST + timedelta(days=5))
    assert (short.shown.people, short.shown.waiting) == (2, 1)
    assert "Nobody was held out" in report.sentence


def test_an_offer_that_nobody_has_seen(store: RunningStore, reader: StoreClient) -> None:
    """Empty arms, and a sentence."""
    report = ask(reader)
    assert (report.shown.people, report.rate, report.value) == (0, None, None)
    assert report.sentence.startswith("Nobody has come by it")
