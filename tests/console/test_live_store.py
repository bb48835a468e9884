"""The live page's questions against the real engine, asked as a reader through its admission."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector.console.live_source import StoreSource
from collector.event import NIL_ID
from collector.store.client import open_client
from tests.running_store import NOON_MS, RunningStore, make_event, make_id, make_row, running_store

pytestmark = pytest.mark.engine

ADA = make_id(4711, 0xC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """A migrated store of this file's tests."""
    with running_store(tmp_path_factory.mktemp("live")) as running:
        yield running


@pytest.fixture
def source(store: RunningStore) -> Iterator[StoreSource]:
    """The source as the page uses it: as a reader, a minute after noon."""
    store.clear()
    source = StoreSource(lambda: open_client(store.config, store.keyring, "reader"), lambda: NOON_MS + 60_000)
    yield source
    source.close()


def test_an_empty_store_is_an_empty_page(source: StoreSource) -> None:
    """Before the first event there are no rows, no counts and no lag."""
    snapshot = source.read()
    assert snapshot.rows == ()
    assert (snapshot.counts.events, snapshot.counts.customers, snapshot.lag_ms) == (0, 0, -1)


def test_rows_come_newest_first_and_of_the_demo_only(store: RunningStore, source: StoreSource) -> None:
    """Events of one beacon in the tag's order, later beacons above, other sites and other days not at all."""
    store.load(
        make_row(
            site_id="demo",
            after_s=2,
            events=[
                make_event(1, after_s=1, sequence=1, url="http://localhost/demo?utm_campaign=autumn", title="Shop"),
                make_event(2, after_s=1, sequence=2, name="view_item", props='{"sku":"LMP-01","value":129.0}'),
            ],
        ),
        make_row(2, site_id="demo", after_s=3, events=[make_event(3, after_s=3)]),
        make_row(3, site_id="shop", after_s=4, events=[make_event(4, after_s=4)]),
        make_row(4, site_id="demo", after_s=-90_000, events=[make_event(5, after_s=-90_000)]),
    )
    snapshot = source.read()
    assert [row.event_id for row in snapshot.rows] == [make_id(number, 0xE) for number in (3, 2, 1)]
    first = snapshot.rows[2]
    assert (first.path, first.title, first.campaign, first.visitor_proof) == ("/demo", "Shop", "autumn", "cookie")
    assert (first.time_ms, first.received_at_ms) == (NOON_MS + 1000, NOON_MS + 2000)
    assert '"sku":"LMP-01"' in snapshot.rows[1].props
    counts = snapshot.counts
    assert (counts.events, counts.visitors, counts.persons, counts.customers) == (3, 2, 2, 0)


def test_rows_change_hands_when_the_map_does(store: RunningStore, source: StoreSource) -> None:
    """A row of the identity map gives the rows of its visitor to the customer, by name, and nobody else's."""
    store.load(
        make_row(site_id="demo", events=[make_event(1)]),
        make_row(2, site_id="demo", after_s=1, events=[make_event(2, after_s=1)]),
    )
    assert {row.customer_id for row in source.read().rows} == {""}
    tie = {"space_id": "main", "person_id": ADA, "customer_id": "4711", "customer_key": ADA, "level": 3, "version": 1}
    known = {**tie, "key": ADA, "key_kind": "customer", "key_customer_id": "4711"}
    store.put("identity_map", {**tie, "key": make_id(1, 0xB), "key_kind": "visitor"}, known)
    other, mine = source.read().rows
    assert (mine.customer_id, mine.customer_name, mine.person_id, mine.customer_id_then) == (
        "4711",
        "Ada Kowalski",
        ADA,
        "",
    )
    assert (other.customer_id, other.person_id) == ("", make_id(2, 0xB))
    assert source.read().counts.customers == 1


def test_a_click_alone_is_a_row_and_nobody(store: RunningStore, source: StoreSource) -> None:
    """What the collector notes of a tagged link is shown with its class, and counts as no visitor and no person."""
    store.load(
        make_row(
            site_id="demo",
            events=[make_event(1, name="link_click", url="https://shop.example/lamp")],
            visitor_id=NIL_ID,
            own_person_id=NIL_ID,
            session_id=NIL_ID,
            visitor_proof="none",
            is_bot=1,
            link_status="unconfirmed",
            link_campaign="autumn",
            link_name="top",
            link_class="scanner",
        )
    )
    snapshot = source.read()
    row = snapshot.rows[0]
    assert (row.event_name, row.path, row.campaign, row.link_name) == ("link_click", "/lamp", "autumn", "top")
    assert (row.link_class, row.link_status, row.person_id) == ("scanner", "unconfirmed", NIL_ID)
    counts = snapshot.counts
    assert (counts.events, counts.visitors, counts.persons, counts.customers) == (1, 0, 0, 0)


def test_a_customer_comes_with_what_decides_about_their_pages(store: RunningStore, source: StoreSource) -> None:
    """Audiences that they are in, traits as they are believed, offers as they were last seen; nobody else's."""
    row = {"space_id": "main", "customer_id": "4711", "customer_key": ADA, "person_id": ADA, "level": 3, "version": 1}
    store.put(
        "identity_map",
        {**row, "key": ADA, "key_kind": "customer", "key_customer_id": "4711"},
        {**row, "key": make_id(1, 0xB), "key_kind": "visitor"},
    )
    store.put("trait_definitions", {"space_id": "main", "name": "first_name", "type": "text", "version": 1})
    said = {"space_id": "main", "key": ADA, "name": "first_name", "value": '"Ada"', "version": 1}
    store.put(
        "traits", {**said, "source": "identify", "level": 3}, {**said, "name": "mail", "source": "server", "level": 4}
    )
    member = {"space_id": "main", "person_id": ADA, "since": NOON_MS / 1000, "version": 1}
    store.put(
        "audience_members",
        {**member, "audience": "lamp_lovers", "is_member": 1},
        {**member, "audience": "was_in", "is_member": 0},
        {**member, "audience": "lamp_lovers", "is_member": 1, "person_id": make_id(2, 0xB)},
    )
    props = '{"offer":"reading_lamp","slot":"strip"}'
    events = [
        make_event(11, after_s=1, name="offer_shown", props=props),
        make_event(12, after_s=2, name="offer_shown", props=props),
        make_event(13, after_s=3, name="offer_clicked", props=props),
    ]
    store.load(make_row(site_id="demo", events=events), make_row(2, site_id="demo", events=[make_event(14)]))
    [person] = source.read().people
    assert (person.person_id, person.customer_id, person.customer_name) == (ADA, "4711", "Ada Kowalski")
    audience, offer, trait = person.facts
    assert (audience.part, audience.name, audience.since_ms) == ("audience", "lamp_lovers", NOON_MS)
    assert (offer.name, offer.value, offer.source, offer.times) == ("reading_lamp", "clicked", "strip", 2)
    assert (trait.name, trait.value, trait.source, trait.level) == ("first_name", "Ada", "identify", 3)
