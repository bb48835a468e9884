"""Rules judged on a real engine, beside a model of a few lines that reads the same people out of plain lists."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from collector.audiences.compile import judge, judge_all
from collector.audiences.configuration import read_audiences
from collector.audiences.rules import SEEN
from collector.audiences.statement import MAX_KEYS, MAX_WORDS, make_plan, make_statement
from collector.event import LandingRow
from tests.audiences.audience_world import customer, visitor
from tests.audiences.judged_people import NOW_MS, Happened, happen, judge_one, read, rules, tie
from tests.running_store import RunningStore

pytestmark = pytest.mark.engine
KNOWN = 12
"""Customers: visitor n and visitor n + 100 are customer n."""
STRANGERS = 12
NAMES = ("page_view", "view_item", "purchase")


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


Crowd = list[tuple[bool, list[Happened], list[Happened]]]
DAYS = (0.5, 1, 6.9, 7, 7.1, 29, 30, 31, 80, 400)
"""On the bounds of the rules below and beside them."""
happenings = st.builds(
    lambda name, days, path, category, session, value: Happened(
        name, days, path, category, session, value if name == "purchase" else 0
    ),
    st.sampled_from(NAMES),
    st.sampled_from(DAYS),
    st.sampled_from(("/shoes/1", "/shoes", "/lamps/1")),
    st.sampled_from(("shoes", "lamps")),
    st.integers(0, 2),
    st.sampled_from((19.9, 60.0, 300.0)),
)
stories = st.lists(happenings, max_size=5)
crowds = st.lists(st.tuples(st.booleans(), stories, stories), min_size=4, max_size=8)
"""Of each: whether it is a customer, and what was done at one browser and at another one."""


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Return a rule about what somebody did, as TOML has it."""
    subject = draw(st.sampled_from(("where", "orders", "order_value", "sessions", "seen")))
    if subject == "seen":
        return {draw(st.sampled_from(SEEN)): draw(st.sampled_from((1, 7, 30)))}
    if subject == "where":
        wheres = {"event": NAMES, "path_prefix": ("/shoes/", "/shoes", "/"), "category": ("shoes", "lamps")}
        chosen = draw(st.lists(st.sampled_from(sorted(wheres)), min_size=1, unique=True))
        table: dict[str, Any] = {word: draw(st.sampled_from(wheres[word])) for word in chosen}
    else:
        table = {subject: True}
    bounds = sorted(draw(st.lists(st.sampled_from((1, 2, 3, 60, 79.9)), min_size=2, max_size=2)))
    if subject != "order_value":
        bounds = [int(bound) for bound in bounds]
    words = draw(st.sets(st.sampled_from(("at_least", "at_most"))))
    table |= {word: bound for word, bound in zip(("at_least", "at_most"), bounds, strict=True) if word in words}
    return table | draw(st.sampled_from(({}, {"within_days": 7}, {"within_days": 30})))


def holds(table: dict[str, Any], story: list[tuple[int, Happened]]) -> bool:
    """The model: whether such a rule holds for whoever did this."""
    if word := next((word for word in SEEN if word in table), ""):
        days, when = table[word], [one.days for _, one in story]
        tests = {SEEN[0]: min(when, default=0) <= days, SEEN[1]: min(when, default=0) > days}
        return bool(when) and tests.get(word, max(when, default=0) <= days)
    lately = [(who, one) for who, one in story if one.days <= table.get("within_days", 1e9)]
    if "sessions" in table:
        found: float = len({(who, one.session) for who, one in lately})
    elif "orders" in table or "order_value" in table:
        paid = [one.value for _, one in lately if one.name == "purchase"]
        found = len(paid) if "orders" in table else round(sum(paid), 2)
    else:
        found = sum(
            one.name == table.get("event", one.name)
            and one.category == table.get("category", one.category)
            and one.path.startswith(table.get("path_prefix", ""))
            for _, one in lately
        )
    lowest = 0 if "at_most" in table else 1
    return bool(table.get("at_least", lowest) <= found <= table.get("at_most", 1e9))


# No shrinking: each step would ask the store, and minutes would go by.
@pytest.mark.long
@settings(max_examples=8, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(crowds, st.lists(tables(), min_size=10, max_size=20))
def test_any_rules_for_anybody(shared: RunningStore, crowd: Crowd, chosen: list[dict[str, Any]]) -> None:
    """Whatever people did, and whatever is asked: all, any and none of the same rules, as the model says."""
    shared.clear()
    people: dict[str, list[tuple[int, Happened]]] = {}
    rows: list[LandingRow] = []
    for number, (is_customer, *browsers) in enumerate(crowd, 1):
        numbers = (number, number + 100)
        for one, story in zip(numbers, browsers, strict=True):
            rows += happen(one, *story)
            people.setdefault(customer(number) if is_customer else visitor(one), []).extend(
                (one, event) for event in story
            )
        if is_customer:
            tie(shared, number, *map(visitor, numbers))
    if rows:
        shared.load(*rows)
    sections: dict[str, Any] = {f"a{n}": {"purpose": "", "all": [table]} for n, table in enumerate(chosen)}
    first, second, third = chosen[:3]
    sections["lists"] = {"purpose": "", "any": [first, second], "none": [third]}
    audiences = read_audiences(sections, Path("use.toml"), {})
    judged = judge(shared.writer, audiences, "main", list(people), now_ms=NOW_MS)
    for person, told in people.items():
        if not told and person not in map(customer, range(1, 9)):
            assert judged[person] == set(), "nobody of whom nothing is known"
            continue
        expected = {f"a{n}" for n, table in enumerate(chosen) if holds(table, told)}
        if (holds(first, told) or holds(second, told)) and not holds(third, told):
            expected.add("lists")
        assert judged[person] == expected


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
    counts = [f'{{ event = "purchase", path_prefix = "/", within_days = {days} }}' for days in range(1, 400)]
    assert len(counts) * 3 > MAX_WORDS
    audiences = rules(*counts, '{ event = "view_item" }')
    assert len(judge_one(store, audiences, visitor(1))) == len(counts)
    with pytest.raises(ValueError, match="at most 2,000"):
        judge(store.writer, audiences, "main", [visitor(number) for number in range(2_001)], now_ms=NOW_MS)


def test_no_parameter_is_longer_than_a_server_takes() -> None:
    """However many words there are, and however often browsers change hands; and no statement."""
    wheres = [
        ", ".join(f'{word} = "{"ü" * 990}{number}"' for word in ("category", "campaign", "path_prefix", "host"))
        for number in range(200)
    ]
    cuts = {visitor(number): list(range(NOW_MS, NOW_MS + turns)) for number, turns in enumerate((9, 20_000, 3))}
    keys = [visitor(number) for number in range(MAX_KEYS)]
    plan = make_plan(rules(*(f"{{ {where}, within_days = 7 }}" for where in wheres)).values())
    sql, params = make_statement(plan, "main", keys, cuts, now_ms=NOW_MS)
    assert len(sql.encode()) < 200_000
    assert all(len(str(value).encode()) < 128 * 1024 for value in params.values())
    told = [value for name, value in params.items() if name.startswith("cuts")]
    assert sorted(moment for part in told for cut in part for moment in cut) == sorted(
        moment for moments in cuts.values() for moment in moments
    )
    assert {text for name, texts in params.items() if name.startswith("words") for text in texts} == {
        text for rule in plan.events for _, text in rule.where
    }
