"""What a glance reads for offers: audiences by person, exposures and consent by all their identifiers."""

from __future__ import annotations

from typing import Any

import pytest

from collector.event import ConsentRow
from collector.offers.standing import UNKNOWN, Wanted
from collector.profiles.definitions import Definitions
from collector.profiles.glance import Glance, read_glances
from tests.offers.exposures import at_ms, customer_key, expose, tell, tie, visitor_key
from tests.running_store import RunningStore

pytestmark = pytest.mark.engine
ANNA, BEN = customer_key(4711), customer_key(4712)
DAY_S = 86_400
WANTED = Wanted(("lamp_lovers", "regulars"), {"letter": 7 * DAY_S * 1000, "short": 3_600_000}, with_consent=True)


def look(store: RunningStore, *keys: str, after_s: float = DAY_S, wanted: Wanted = WANTED) -> dict[str, Glance]:
    definitions = Definitions({}, "main")
    return read_glances(store.writer, store.keyring, definitions, keys, now_ms=at_ms(after_s), wanted=wanted)


def judge(store: RunningStore, person_id: str, audience: str, *, version: int = 1, is_member: int = 1) -> None:
    row = {"space_id": "main", "person_id": person_id, "audience": audience, "version": version}
    store.put("audience_members", {**row, "is_member": is_member, "since": at_ms(version) / 1000})


def test_nothing_wanted_is_nothing_read(store: RunningStore) -> None:
    """Of whoever asks for traits alone nothing else is known."""
    tie(store, {1: 4711})
    store.load(expose(1))
    judge(store, ANNA, "regulars")
    assert look(store, ANNA, wanted=Wanted())[ANNA].known == UNKNOWN


def test_audiences_are_the_persons(store: RunningStore) -> None:
    """The last word on each; of none but those that are wanted, and of nobody else's."""
    tie(store, {1: 4711, 2: 4712})
    judge(store, ANNA, "lamp_lovers", version=5)
    judge(store, ANNA, "regulars", version=1)
    judge(store, ANNA, "regulars", version=2, is_member=0)
    judge(store, ANNA, "secret")
    judge(store, BEN, "regulars", version=9)
    seen = look(store, visitor_key(1), ANNA, BEN, customer_key(1))
    assert seen[ANNA].known.audiences == {"lamp_lovers": at_ms(5)}
    assert seen[visitor_key(1)].known == seen[ANNA].known
    assert seen[BEN].known.audiences == {"regulars": at_ms(9)}
    assert seen[customer_key(1)].known == UNKNOWN


def test_exposures_are_counted_over_all_devices(store: RunningStore) -> None:
    """Shown and held out, each event once, within the days of each offer's cap; no clicks, no robots, no others'."""
    tie(store, {1: 4711, 2: 4711, 3: 4712})
    again = expose(1, after_s=10)
    store.load(again, expose(2, "held_out", 20), expose(1, "clicked", 30), expose(1, after_s=40, is_bot=1))
    store.load(again, expose(1, offer="short", after_s=50), expose(1, offer="other", after_s=60), expose(3))
    store.load(expose(1, offer="short", after_s=DAY_S - 60))
    assert look(store, ANNA)[ANNA].known.seen == {"letter": 2, "short": 1}
    assert look(store, ANNA, after_s=7 * DAY_S + 15)[ANNA].known.seen == {"letter": 1}
    assert look(store, BEN)[BEN].known.seen == {"letter": 1}


def test_a_merge_adds_up_and_its_undoing_takes_apart(store: RunningStore) -> None:
    """By who is who now: nothing is rewritten."""
    store.load(expose(1), expose(2, after_s=1), expose(2, after_s=2))
    tie(store, {1: 4711, 2: 4712})
    assert [look(store, key)[key].known.seen["letter"] for key in (ANNA, BEN)] == [1, 2]
    tie(store, {1: 4711, 2: 4712}, version=2, people={4712: 4711})
    assert [look(store, key)[key].known.seen["letter"] for key in (ANNA, BEN)] == [3, 3]
    tie(store, {1: 4711, 2: 4712}, version=3)
    assert [look(store, key)[key].known.seen["letter"] for key in (ANNA, BEN)] == [1, 2]


def test_of_a_shared_browser_each_has_their_turns(store: RunningStore) -> None:
    """What was shown while somebody else was signed in was not shown to her."""
    tie(store, {1: 4711, 2: 4712})
    row: dict[str, Any] = {"space_id": "main", "key": visitor_key(9), "version": 1}
    store.put("identity_map", {**row, "key_kind": "visitor", "person_id": ANNA, "customer_id": "4711", "several": 1})
    turns = [
        {**row, "person_id": person, "proved": 1, "valid_from": at_ms(begin) / 1000, "valid_to": at_ms(end) / 1000}
        for person, begin, end in ((ANNA, 0, 100), (BEN, 100, 200))
    ]
    store.put("identity_intervals", *turns)
    store.load(expose(9, after_s=50), expose(9, after_s=150), expose(9, after_s=160), expose(9, after_s=250))
    assert [look(store, key)[key].known.seen["letter"] for key in (ANNA, BEN)] == [1, 2]


def say(store: RunningStore, key: str, state: str, after_s: float, source: str = "unsubscribe") -> None:
    word = ConsentRow(f"{key}{state}{after_s}{source}", key, "marketing", state, source, at_ms(after_s))
    store.load(tell(99, "page_view", consents=[word]))


def test_what_the_person_has_refused(store: RunningStore) -> None:
    """By any identifier, until it is taken back; what one browser was told is no word of the person."""
    tie(store, {1: 4711, 2: 4711})
    say(store, visitor_key(1), "withdrawn", 30, source="tcf")
    assert look(store, ANNA)[ANNA].known.refused == set()
    say(store, visitor_key(2), "withdrawn", 40)
    assert look(store, ANNA)[ANNA].known.refused == {"marketing"}
    say(store, ANNA, "granted", 50, source="list")
    assert look(store, ANNA)[ANNA].known.refused == {"marketing"}
    say(store, ANNA, "granted", 60)
    assert look(store, ANNA)[ANNA].known.refused == set()
