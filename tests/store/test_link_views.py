"""What the views for readers say of tagged links, of mintings and of consent, read as a reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from collector.commands.watch import NEW_EVENTS, describe
from collector.event import NIL_ID, ConsentRow
from collector.store.client import StoreClient, open_client
from collector.store.grants import list_reader_views
from collector.store.rendering import Target
from tests.running_store import NOON_MS, RunningStore, make_event, make_evidence, make_id, make_row

pytestmark = pytest.mark.engine
LINK: dict[str, Any] = {
    "link_status": "unconfirmed",
    "link_kind": "message",
    "link_campaign": "spring",
    "link_message": "m-1",
    "link_name": "top",
    "link_class": "human",
    "link_way": "page",
    "link_token_id": "token-1",
}
NOBODY: dict[str, Any] = {
    "visitor_id": NIL_ID,
    "own_person_id": NIL_ID,
    "session_id": NIL_ID,
    "visitor_proof": "none",
    "link_way": "redirect",
}


@pytest.fixture
def reader(store: RunningStore) -> Iterator[StoreClient]:
    with open_client(store.config, store.keyring, "reader") as client:
        yield client


def follow(store: RunningStore, number: int, after_s: float, **said: Any) -> None:
    """A page is opened by a link."""
    store.load(make_row(number, events=[make_event(number * 10, after_s=after_s, sequence=1)], **LINK | said))


def confirm(store: RunningStore, number: int, after_s: float, **said: Any) -> None:
    """A human signal comes on that page."""
    event = make_event(number * 10 + 1, after_s=after_s, sequence=2, name="link_confirm")
    row = {**LINK, "link_status": "confirmed"} | said
    evidence = make_evidence(number, visitor=number, kind="link", level=2, campaign="spring", event_id=event.event_id)
    store.load(make_row(number, events=[event], evidence=[evidence], **row))


def test_one_row_for_each_link_that_may_be_named(store: RunningStore, reader: StoreClient) -> None:
    """Clicks of people and machines apart, the first confirm and its person, the states in which it was met."""
    scan = make_event(1, after_s=0, name="link_click")
    store.load(make_row(events=[scan], is_bot=1, **LINK | NOBODY | {"link_class": "scanner", "link_reasons": "agent"}))
    follow(store, 2, 60)
    confirm(store, 2, 65)
    follow(store, 3, 600)
    confirm(store, 3, 605)
    follow(store, 4, 900, link_status="expired")
    follow(store, 5, 950, link_token_id="")
    rows = reader.query_rows(
        "SELECT token_id, campaign, message, link, kind, clicks, machine_clicks, has_script, visitors, statuses,"
        " toUnixTimestamp64Milli(first_click_at) AS first, toUnixTimestamp64Milli(last_click_at) AS last,"
        " toUnixTimestamp64Milli(first_machine_at) AS machine, toUnixTimestamp64Milli(confirmed_at) AS confirmed,"
        " toString(person_id) AS person_id FROM v_links"
    )
    assert rows == [
        {
            "token_id": "token-1",
            "campaign": "spring",
            "message": "m-1",
            "link": "top",
            "kind": "message",
            "clicks": 3,
            "machine_clicks": 1,
            "has_script": 1,
            "visitors": 2,
            "statuses": ["confirmed", "expired", "unconfirmed"],
            "first": NOON_MS + 60_000,
            "last": NOON_MS + 900_000,
            "machine": NOON_MS,
            "confirmed": NOON_MS + 65_000,
            "person_id": make_id(2, 0xB),
        }
    ]


def test_a_way_in_is_one_click(store: RunningStore, reader: StoreClient) -> None:
    """By way of /l/ the request is the click, else what came first on the page: not a later page, event or confirm."""
    click = make_event(1, name="link_click")
    store.load(make_row(events=[click], **LINK | NOBODY))
    follow(store, 2, 1, link_way="redirect")
    confirm(store, 2, 5, link_way="redirect")
    first, later = make_event(31, after_s=9, sequence=1, name="search"), make_event(32, after_s=10, sequence=2)
    store.load(make_row(3, events=[first, later], **LINK))
    without_script = make_event(41, after_s=20)
    store.load(make_row(4, events=[without_script], **LINK | {"link_reasons": "no_script"}))
    rows = reader.query_rows("SELECT what, way, toString(event_id) AS id FROM v_link_clicks ORDER BY time")
    assert [(row["what"], row["way"], row["id"]) for row in rows] == [
        ("click", "redirect", click.event_id),
        ("confirm", "redirect", make_id(21, 0xE)),
        ("click", "page", first.event_id),
        ("click", "page", without_script.event_id),
    ]


def test_a_site_cannot_make_clicks_of_its_own(store: RunningStore, reader: StoreClient) -> None:
    """Events of a page under the collector's own names are the page's: they have a visitor, or no link."""
    names = ("link_click", "mail_open", "unsubscribe")
    own = [make_event(number, name=name, sequence=number) for number, name in enumerate(names, start=2)]
    store.load(make_row(events=own, **LINK))
    store.load(make_row(events=[make_event(9, name="unsubscribe")], **NOBODY | {"link_way": ""}))
    assert reader.query_rows("SELECT what FROM v_link_clicks") == []


@pytest.mark.parametrize(
    ("status", "channel", "campaign"),
    [
        ("unconfirmed", "link", "spring"),
        ("expired", "link", "spring"),
        ("revoked", "link", "spring"),
        ("test", "link", ""),
        ("unfilled", "direct", ""),
        ("forged", "direct", ""),
    ],
)
def test_only_a_true_link_is_a_channel(
    store: RunningStore, reader: StoreClient, status: str, channel: str, campaign: str
) -> None:
    """A link that was not filled, or forged, brought nobody; neither that nor a test mail counts for a campaign."""
    follow(store, 1, 0, link_status=status)
    assert reader.query_rows("SELECT channel, link_campaign FROM v_sessions") == [
        {"channel": channel, "link_campaign": campaign}
    ]
    assert reader.query_rows("SELECT channel FROM v_events") == [{"channel": channel}]


def test_an_e_mail_campaign_stays_e_mail(store: RunningStore, reader: StoreClient) -> None:
    """utm_medium says more than the link."""
    url = "https://shop.example/?utm_medium=email&utm_campaign=spring"
    store.load(make_row(events=[make_event(1, url=url, sequence=1)], **LINK | {"link_campaign": ""}))
    assert reader.query_rows("SELECT channel FROM v_sessions") == [{"channel": "email"}]
    assert reader.query_rows("SELECT campaign FROM v_link_clicks") == [{"campaign": "spring"}]


def test_what_guards_noted_about_links(store: RunningStore, reader: StoreClient) -> None:
    """With campaign and event of the link; not of other evidence, and not of what was taken back."""
    for number in (1, 2, 3):
        confirm(store, number, number)
    back = make_evidence(3, visitor=3, kind="link", level=2, campaign="spring", op=-1)
    store.load(make_row(3, evidence=[make_evidence(4, visitor=3), back]))
    noted = {"space_id": "main", "at": NOON_MS / 1000, "version": 1}
    for number, reason in ((1, "forwarded"), (1, "second_device"), (2, "replayed"), (3, "disowned"), (4, "two_people")):
        evidence = make_evidence(number, visitor=min(number, 3))
        names = {"evidence_id": evidence.evidence_id, "a_key": evidence.a_key, "b_key": evidence.b_key}
        store.put("guard_log", noted | names | {"reason": reason}, noted | names | {"reason": reason, "version": 2})
    rows = reader.query_rows(
        "SELECT reason, is_forwarded, campaign, site_id, toString(event_id) AS event_id FROM v_link_guards"
        " ORDER BY event_id, reason"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("forwarded", 1, "spring", "shop", make_id(11, 0xE)),
        ("second_device", 0, "spring", "shop", make_id(11, 0xE)),
        ("replayed", 0, "spring", "shop", make_id(21, 0xE)),
    ]


def test_mintings_name_the_sites_of_their_space(store: RunningStore, reader: StoreClient) -> None:
    """The latest version of each; a site that was taken away is none."""
    for site, more in (("shop", {}), ("blog", {}), ("gone", {"deleted": True}), ("far", {"space_id": "other"})):
        row = {"site_id": site, "space_id": "main", "deleted": False} | more
        store.put("sites", {"id": site, "row": json.dumps(row), "version": 1})
    minting = {"minting_id": make_id(1), "space_id": "main", "campaign": "spring", "recipients": 9, "version": 1}
    store.put("link_mintings", minting, minting | {"sent": 8, "version": 2})
    rows = reader.query_rows("SELECT campaign, recipients, sent, site_ids FROM v_link_mintings")
    assert rows == [{"campaign": "spring", "recipients": 9, "sent": 8, "site_ids": ["blog", "shop"]}]


def test_the_latest_word_on_consent_holds(store: RunningStore, reader: StoreClient) -> None:
    """By when it was said, in whatever order it came, for each purpose by itself; all of it stays in the history."""
    key = make_id(4711, 0xC)

    def say(after_s: int, state: str, purpose: str = "marketing", source: str = "list") -> ConsentRow:
        return ConsentRow(f"{purpose}-{after_s}", key, purpose, state, source, NOON_MS + after_s * 1000, proof="proof")

    store.load(
        make_row(events=[], consents=[say(50, "withdrawn", source="unsubscribe"), say(1, "granted", "identity")])
    )
    store.load(
        make_row(after_s=60, events=[], consents=[say(10, "granted"), say(50, "withdrawn", source="unsubscribe")])
    )
    rows = reader.query_rows(
        "SELECT toString(own_person_id) AS key, purpose, state, source, entries FROM v_consents ORDER BY purpose"
    )
    assert [tuple(row.values()) for row in rows] == [
        (key, "identity", "granted", "list", 1),
        (key, "marketing", "withdrawn", "unsubscribe", 2),
    ]
    assert reader.query_rows("SELECT count() AS n FROM v_consent_history") == [{"n": 3}]
    tie = {"space_id": "main", "key": key, "key_kind": "customer", "person_id": make_id(1, 0xB), "version": 1}
    store.put("identity_map", tie | {"key_customer_id": "4711", "customer_id": "4711"})
    rows = reader.query_rows("SELECT toString(person_id) AS person FROM v_consents")
    assert {row["person"] for row in rows} == {make_id(1, 0xB)}


def test_readers_see_the_views_of_links_and_no_table_behind_them() -> None:
    """They are among the views that roles of a server are given."""
    views = set(list_reader_views(Target("single")))
    assert {
        "v_links",
        "v_link_clicks",
        "v_link_guards",
        "v_link_mintings",
        "v_consents",
        "v_consent_history",
    } <= views


def test_tail_shows_a_click_as_nobodys(store: RunningStore, reader: StoreClient) -> None:
    """With class, campaign, link, state and reasons, and without a person."""
    click = make_event(1, name="link_click", url="https://shop.example/lamp")
    said = {"link_class": "scanner", "link_reasons": "head,agent"}
    store.load(make_row(after_s=1, events=[click], is_bot=1, **LINK | NOBODY | said))
    since = datetime.fromtimestamp(NOON_MS / 1000, UTC)
    rows = reader.query_rows(NEW_EVENTS, {"site": "shop", "since": since})
    text = describe(rows[0]).plain
    words = text.split("  ", 1)[1].split()
    assert " ".join(words) == "link_click /lamp scanner (spring, top, unconfirmed, head,agent)"
    assert "anonymous" not in text
