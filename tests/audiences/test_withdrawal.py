"""Why somebody leaves: who has withdrawn leaves for that, whatever it was that had them judged anew."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from collector.audiences.changes import Reason
from collector.audiences.compile import make_judge
from collector.audiences.configuration import read_audiences
from collector.audiences.judging import Judging
from collector.event import ConsentRow
from collector.profiles.states import State, set_state
from tests.running_store import NOON_MS, RunningStore, make_event, make_id, make_row

pytestmark = pytest.mark.engine
ANNA = make_id(1, 0xB)
AUDIENCES = read_audiences(
    tomllib.loads("""
    [agreed]
    all = [{ event = "purchase" }]
    none = [{ event = "complaint" }]

    [listed]
    sql = "SELECT person_id FROM v_timeline"
    """),
    Path("use.toml"),
    {},
)


def load(store: RunningStore, number: int, name: str, consent: str) -> None:
    store.load(make_row(1, consent=consent, events=[make_event(number, name=name, after_s=number)]))


def make_judging(store: RunningStore) -> Judging:
    return Judging(store.writer, AUDIENCES, make_judge(store.keyring, {}), now_ms=lambda: NOON_MS + 60_000)


def list_changes(store: RunningStore) -> list[tuple[str, str]]:
    """Return what was written, in order."""
    rows = store.query("SELECT change, reason FROM audience_changes FINAL ORDER BY audience, version")
    return [(row["change"], row["reason"]) for row in rows]


@pytest.mark.parametrize("touched", [Reason.EVENT, Reason.TIME, Reason.IDENTITY])
def test_by_the_banner(store: RunningStore, touched: Reason) -> None:
    """The banner tells it with an event; the sweep or a merge may have come first."""
    judging = make_judging(store)
    load(store, 1, "purchase", "analytics,marketing")
    judging.judge_people("main", {ANNA: Reason.EVENT})
    load(store, 2, "page_view", "analytics")
    judging.judge_people("main", {ANNA: touched})
    assert list_changes(store) == [("enter", "event"), ("leave", "consent")]


def test_whoever_leaves_for_another_cause(store: RunningStore) -> None:
    """Has not withdrawn."""
    judging = make_judging(store)
    load(store, 1, "purchase", "analytics,marketing")
    judging.judge_people("main", {ANNA: Reason.EVENT})
    load(store, 2, "complaint", "analytics,marketing")
    judging.judge_people("main", {ANNA: Reason.EVENT})
    assert list_changes(store) == [("enter", "event"), ("leave", "event")]


def tell(store: RunningStore, state: str, after_s: int, source: str = "tag") -> None:
    """What the ledger says of marketing, without an event."""
    time_ms = NOON_MS + after_s * 1000
    store.load(make_row(1, consents=[ConsentRow(f"{state}{after_s}", ANNA, "marketing", state, source, time_ms)]))


def test_by_a_browser_that_takes_everything_back(store: RunningStore) -> None:
    """It sends no event any more; the ledger alone has it."""
    judging = make_judging(store)
    load(store, 1, "purchase", "analytics,marketing")
    judging.judge_people("main", {ANNA: Reason.EVENT})
    tell(store, "withdrawn", 5)
    judging.judge_people("main", {ANNA: Reason.CONSENT})
    load(store, 9, "page_view", "analytics,marketing")
    judging.judge_people("main", {ANNA: Reason.EVENT})
    assert list_changes(store) == [("enter", "event"), ("leave", "consent"), ("enter", "event")]


def test_a_banner_takes_no_unsubscribing_back(store: RunningStore) -> None:
    """What the person said holds, whatever a browser of theirs is told later."""
    judging = make_judging(store)
    tell(store, "withdrawn", 0, "unsubscribe")
    tell(store, "granted", 5, "tcf")
    load(store, 9, "purchase", "analytics,marketing")
    judging.judge_people("main", {ANNA: Reason.EVENT})
    assert list_changes(store) == []


def test_whoever_is_erased_while_something_happens(store: RunningStore) -> None:
    """Leaves for that."""
    judging = make_judging(store)
    load(store, 1, "purchase", "analytics,marketing")
    judging.judge_people("main", {ANNA: Reason.EVENT})
    set_state(store.writer, "main", [ANNA], State.ERASED, now_ms=1)
    judging.judge_people("main", {ANNA: Reason.EVENT})
    assert list_changes(store) == [("enter", "event"), ("leave", "consent")]


def test_of_an_audience_by_a_statement(store: RunningStore) -> None:
    """Its statement says no more than that somebody is not in it."""
    judging = make_judging(store)
    load(store, 1, "purchase", "analytics,marketing")
    judging.place_people("main", "listed", {ANNA: True}, Reason.DEFINITION)
    load(store, 2, "page_view", "analytics")
    judging.place_people("main", "listed", {ANNA: False}, Reason.TIME)
    assert list_changes(store) == [("enter", "definition"), ("leave", "consent")]


def test_an_audience_by_a_statement_is_left_at_once(store: RunningStore) -> None:
    """Its statement is asked seldom; who withdraws, or is erased, does not wait for that."""
    judging = make_judging(store)
    load(store, 1, "purchase", "analytics,marketing")
    judging.place_people("main", "listed", {ANNA: True}, Reason.DEFINITION)
    judging.judge_people("main", {ANNA: Reason.EVENT})
    assert list_changes(store)[1:] == [("enter", "definition")], "whoever may be in it stays"
    load(store, 2, "page_view", "analytics")
    judging.judge_people("main", {ANNA: Reason.EVENT})
    assert list_changes(store)[2:] == [("enter", "definition"), ("leave", "consent")]


def test_an_old_list_lets_nobody_in_who_has_withdrawn_since(store: RunningStore) -> None:
    """What a statement gave a minute ago may be placed only now."""
    judging = make_judging(store)
    load(store, 1, "purchase", "analytics")
    judging.place_people("main", "listed", {ANNA: True}, Reason.TIME)
    assert list_changes(store) == []
