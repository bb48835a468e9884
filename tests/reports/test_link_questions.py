"""The questions about mailings, asked as the reader, against numbers computed in Python from the same happenings."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from collector.event import NIL_ID
from collector.reports.questions import run_question
from collector.store.client import StoreClient, open_client
from tests.reports.simulated_mailing import CAMPAIGNS, DAY_S, LINKS, SITE, Followed, Post, simulate_post, tell
from tests.running_store import NOON_MS, RunningStore, make_id

pytestmark = pytest.mark.engine
FIRST = datetime.fromtimestamp(NOON_MS / 1000, UTC).date()
TODAY = FIRST + timedelta(days=25)
WINDOW_DAYS = 3
Key = tuple[str, str, str]


@pytest.fixture(scope="module")
def post(store: RunningStore) -> Post:
    """Two campaigns whose happenings are in the store, with what the guards noted and what was minted."""
    post = simulate_post(seed=11)
    store.load(*post.landing)
    store.put("guard_log", *post.guards)
    store.put("sites", {"id": SITE, "row": json.dumps({"site_id": SITE, "space_id": "main"}), "version": 1})
    store.put("link_mintings", *_mint())
    return post


@pytest.fixture
def reader(store: RunningStore, post: Post) -> Iterator[StoreClient]:
    with open_client(store.config, store.keyring, "reader") as client:
        yield client


def _mint() -> list[dict[str, Any]]:
    def row(number: int, campaign: str, message: str, **more: Any) -> dict[str, Any]:
        shared = {"minting_id": make_id(number, 0x1), "space_id": "main", "kind": "message", "version": 1}
        return shared | {"campaign": campaign, "message": message, "minted_at": f"{FIRST} 06:00:00.000"} | more

    return [
        row(1, "spring", "m-1", links=["top", "foot"], made=2000, recipients=1000),
        row(2, "spring", "m-1", recipients=70, made=70, is_test=1),
        row(3, "spring", "m-2", recipients=500, made=500),
        row(3, "spring", "m-2", recipients=500, made=500, sent=480, version=2),
        row(4, "autumn", "m-3", recipients=10, made=10, minted_at=f"{FIRST - timedelta(days=99)} 06:00:00.000"),
        row(5, "autumn", "", kind="unsubscribe", recipients=10, made=10),
        row(6, "winter", "m-9", recipients=40, made=40, sent_at=f"{FIRST} 07:00:00.000"),
        row(7, "summer", "m-0", recipients=40, made=40, minted_at=f"{FIRST - timedelta(days=9)} 06:00:00.000"),
        row(9, "winter", "m-9", recipients=700, made=700, sent=0),
        row(8, "elsewhere", "m-0", recipients=40, made=40, space_id="other"),
    ]


def ask(reader: StoreClient, name: str, **params: Any) -> list[dict[str, Any]]:
    return run_question(reader, name, {"site": SITE, "first": FIRST, "last": TODAY, **params}, today=TODAY)


def cut(key: Key, level: str) -> Key:
    return (key[0], "" if level == "campaign" else key[1], key[2] if level == "link" else "")


def name_followed(one: Followed) -> Key:
    """What stands in the store of it: a link that was not filled says nothing but the address's utm_campaign."""
    if one.status == "forged":
        return ("", "", "")
    return (one.campaign, "", "") if one.status == "unfilled" else (one.campaign, one.message, one.link)


def count_links(post: Post, level: str, days: int = 99) -> dict[Key, Counter[str]]:
    """Count what happened by campaign, message or link, in the first so many days."""
    found: dict[Key, Counter[str]] = defaultdict(Counter)
    different: dict[tuple[Key, str], set[Any]] = defaultdict(set)
    hits: dict[Key, set[int]] = defaultdict(set)
    values: dict[Key, dict[int, float]] = defaultdict(dict)
    for one in post.followed:
        if one.after_s >= seconds_until(days):
            continue
        key, row = cut(name_followed(one), level), found[cut(name_followed(one), level)]
        if one.is_counted:
            row[{"human": "clicks", "prefetch": "prefetches"}.get(one.class_, f"{one.class_}s")] += 1
            if one.class_ == "human":
                row[one.status] += 1
                if one.token:
                    different[key, "recipients"].add(one.token)
        else:
            row[one.status] += 1
        if one.is_confirmed:
            different[key, "confirmed"].add(one.visitor)
            names = {"forwarded": "forwarded", "other_customer": "forwarded", "second_device": "second_devices"}
            for note in one.notes:
                different[key, names.get(note, note)].add(one.visitor)
            at = one.after_s + 5
            for number, sold in enumerate(post.bought):
                if sold.visitor == one.visitor and at <= sold.after_s < at + WINDOW_DAYS * DAY_S:
                    hits[key].add(one.visitor)
                    values[key][number] = sold.value
    for campaign, message, class_ in post.opens:
        found[cut((campaign, message, ""), level)]["opens" if class_ == "human" else "private_opens"] += 1
    for campaign, message in post.unsubscribed:
        found[cut((campaign, message, ""), level)]["unsubscribed"] += 1
    for (key, name), things in different.items():
        found[key][name] = len(things)
    for key, row in found.items():
        row["people"] = row["confirmed"]  # each visitor is a person of its own here
        row["converted"] = len(hits[key])
        row["value"] = round(sum(values[key].values()), 2)
        row.pop("unconfirmed", None)
        row.pop("bot", None)
    return found


def seconds_until(days: int) -> float:
    """Seconds from NOON_MS until midnight, so many days on."""
    end = datetime.combine(FIRST + timedelta(days=days), datetime.min.time(), UTC)
    return end.timestamp() - NOON_MS / 1000


def read_counts(rows: list[dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    """The rows of `links` by their key, without what was sent and without zeros."""
    return {
        (row["campaign"], row["message"], row["link"]): {
            name: value
            for name, value in row.items()
            if value and name not in ("campaign", "message", "link", "sent", "sent_is_told")
        }
        for row in rows
    }


@pytest.mark.parametrize("level", ["campaign", "message", "link"])
def test_what_came_of_a_mailing(reader: StoreClient, post: Post, level: str) -> None:
    """Every way in is one click of its class, whichever of the two it was; what came of it, by person."""
    rows = ask(reader, "links", level=level, window_days=WINDOW_DAYS)
    expected = {key: {name: n for name, n in row.items() if n} for key, row in count_links(post, level).items()}
    found = read_counts(rows)
    assert {key: row for key, row in found.items() if row} == expected
    for name in ("clicks", "recipients", "scanners", "prefetches", "previews", "bots", "converted", "forwarded"):
        assert any(name in row for row in expected.values()), name
    assert len(expected) >= {"campaign": 3, "message": 6, "link": len(CAMPAIGNS) * len(LINKS)}[level]


def test_the_goal_may_be_reached_after_the_last_day(reader: StoreClient, post: Post) -> None:
    """What is bought within the window counts for a click of these days, even later than the last of them."""
    rows = ask(reader, "links", level="campaign", window_days=WINDOW_DAYS, last=FIRST + timedelta(days=4))
    expected = count_links(post, "campaign", days=5)
    found = read_counts(rows)
    bought = {key: (row.get("converted", 0), row.get("value", 0)) for key, row in found.items() if key[0] != "winter"}
    assert bought == {key: (row["converted"], row["value"]) for key, row in expected.items() if key in bought}
    assert sum(converted for converted, _ in bought.values()) > 0


def test_what_was_sent_is_what_somebody_told_else_what_was_minted(reader: StoreClient) -> None:
    """Test mails, other kinds and other spaces are left out; a mailing of which nothing has come yet has a row."""

    def sent(level: str) -> dict[Key, tuple[int, int]]:
        rows = ask(reader, "links", level=level)
        return {
            (row["campaign"], row["message"], row["link"]): (row["sent"], row["sent_is_told"])
            for row in rows
            if row["sent"]
        }

    assert sent("message") == {
        ("spring", "m-1", ""): (1000, 0),
        ("spring", "m-2", ""): (480, 1),
        ("autumn", "m-3", ""): (10, 0),
        ("winter", "m-9", ""): (40, 0),  # another list for it never went out, as somebody has told
    }
    assert sent("campaign")["spring", "", ""] == (1480, 0)
    by_link = sent("link")
    assert (by_link["spring", "m-1", "top"], by_link["spring", "m-1", "foot"]) == ((1000, 0), (1000, 0))
    assert ("spring", "m-1", "") not in by_link


def test_links_by_day(reader: StoreClient, post: Post) -> None:
    """The same clicks by the day on which they were made; one campaign or all."""
    expected: Counter[tuple[date, str]] = Counter()
    for one in post.followed:
        if one.is_counted and one.class_ == "human":
            at = datetime.fromtimestamp(NOON_MS / 1000 + one.after_s, UTC)
            expected[at.date(), one.campaign] += 1
    rows = ask(reader, "link_days")
    assert {(row["day"], row["campaign"]): row["clicks"] for row in rows if row["clicks"]} == expected
    assert {row["campaign"] for row in ask(reader, "link_days", campaign="autumn")} == {"autumn"}


def test_what_told_machines_from_people(reader: StoreClient, post: Post) -> None:
    """Clicks by class and reasons, without links that are none; opens apart."""
    expected = Counter(("click", one.class_, one.reasons) for one in post.followed if one.is_counted)
    expected.update(("open", class_, "image_proxy") for _, _, class_ in post.opens)
    rows = ask(reader, "link_clicks")
    assert {(row["what"], row["class"], row["reasons"]): row["times"] for row in rows} == expected
    assert sum(row["share"] for row in rows if row["what"] == "click") == pytest.approx(1, abs=1e-3)


def test_unfilled_merge_tags_come_with_what_to_do(reader: StoreClient, post: Post) -> None:
    """By utm_campaign, beside the links that were filled."""
    people = [one for one in post.followed if one.class_ == "human" and one.status not in ("forged", "test")]
    unfilled = Counter(one.campaign for one in people if one.status == "unfilled")
    filled = Counter(one.campaign for one in people if one.status != "unfilled")
    rows = ask(reader, "link_unfilled")
    assert {row["campaign"]: (row["unfilled"], row["filled"]) for row in rows} == {
        campaign: (count, filled[campaign]) for campaign, count in unfilled.items()
    }
    assert all(row["to_do"].startswith("Some recipients had no token") for row in rows)
    assert len(rows) == 2


def test_a_click_is_nobodys_visit(store: RunningStore, reader: StoreClient) -> None:
    """What the collector itself notes of links makes no visitor, person, session or page view in any question."""
    quiet = Post()
    for number, name in enumerate(("link_click", "mail_open", "unsubscribe", "resubscribe"), start=80_000):
        tell(quiet, number, name, "spring", "m-1", link_class="human", link_kind="unsubscribe", site_id="quiet")
    store.load(*quiet.landing)
    span = {"site": "quiet", "first": FIRST, "last": TODAY}
    for name, more in (
        ("daily_visitors", {}),
        ("top_pages", {}),
        ("sessions", {}),
        ("retention", {}),
        ("campaigns", {"goal": "link_click"}),
        ("first_last_touch", {"goal": "unsubscribe"}),
    ):
        assert run_question(reader, name, {**span, **more}, today=TODAY) == [], name
    steps = run_question(reader, "funnel", {**span, "steps": ["link_click", "unsubscribe"]}, today=TODAY)
    assert [row["people"] for row in steps] == [0, 0]
    assert reader.query_rows("SELECT count() AS n FROM v_sessions WHERE site_id = 'quiet'") == [{"n": 0}]
    rows = reader.query_rows("SELECT what, visitor_id, person_id FROM v_link_clicks WHERE site_id = 'quiet'")
    assert sorted(row["what"] for row in rows) == ["click", "open", "resubscribe", "unsubscribe"]
    assert {str(row[name]) for row in rows for name in ("visitor_id", "person_id")} == {NIL_ID}
