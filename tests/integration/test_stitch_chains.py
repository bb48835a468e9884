"""Stitch against a real engine: long chains of visitors that nobody knows cost few questions, and are still judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from collector.identity import component
from collector.identity.bulk.columns import to_bytes
from collector.identity.component import ROUNDS_ALONE, read_component
from collector.identity.evidence import Evidence
from collector.identity.stitching.component_columns import read_around, to_key_text
from collector.store.client import StoreClient
from tests.identity.repair_desk import Desk
from tests.identity.story import POLICY, hand_over, hours, key, minutes, sign_in, take_back
from tests.running_store import RunningStore, running_store

pytestmark = pytest.mark.engine

LINKS = 60
QUESTIONS_A_ROUND = 2
QUESTIONS_BESIDE = 20  # of one step, whatever it walks


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("chains")) as store:
        yield store


@pytest.fixture
def desk(shared_store: RunningStore) -> Desk:
    """An empty store."""
    return Desk(shared_store)


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked for rows."""
    asked: list[str] = []

    def note_down(ask: Callable[..., Any]) -> Callable[..., Any]:
        def ask_too(client: StoreClient, sql: str, *args: Any, **more: Any) -> Any:
            asked.append(sql)
            return ask(client, sql, *args, **more)

        return ask_too

    for name in ("read_columns", "query_rows"):
        monkeypatch.setattr(StoreClient, name, note_down(getattr(StoreClient, name)))
    return asked


def make_chain(links: int) -> list[Evidence]:
    """Visitors that come from each other in turn: c0 from nowhere, the last one from all before."""
    return [row for number in range(links) for row in hand_over(f"c{number + 1}", f"c{number}", minutes(number))]


def test_a_long_chain_is_stitched_with_few_questions(desk: Desk, questions: list[str]) -> None:
    """Sixty visitors in a chain, of which a step touches the last: it does not ask for each link."""
    desk.load(*make_chain(LINKS)[:-1])
    questions.clear()
    desk.load(*make_chain(LINKS)[-1:])
    assert len(questions) <= QUESTIONS_A_ROUND * (ROUNDS_ALONE + 4) + QUESTIONS_BESIDE
    assert questions.count(component.TIES_OF_VISITORS) == 1
    people = desk.people()
    assert {people[key(f"c{number}")] for number in range(1, LINKS + 1)} == {key("c0")}
    assert desk.differs() == 0


def test_a_chain_is_known_from_its_other_end(desk: Desk) -> None:
    """Somebody signs in on the first of the chain, then a link in the middle is taken back."""
    chain = make_chain(30)
    desk.load(*chain)
    desk.load(*sign_in("c0", "K1", at=minutes(-1)))
    assert desk.people()[key("c30")] == key("K1")
    desk.load(*take_back(chain[15:16]))
    assert desk.people()[key("c30")] == min(key("c16"), key("c17"))  # first seen in one link
    assert desk.differs() == 0
    desk.load(*sign_in("c30", "K2", at=hours(2)))
    assert desk.differs() == 0


@pytest.mark.long
def test_what_hangs_on_a_shared_visitor_is_not_read(desk: Desk) -> None:
    """More visitors than a kind allows come from one at a chain's end: the chain is walked, they are left."""
    most = POLICY.count_visitors_allowed("visitor")
    crowd = [row for number in range(most + 1) for row in hand_over(f"w{number}", "c20", hours(number))]
    desk.load(*make_chain(20), *crowd)
    client, touched = desk.store.writer, {key("c0")}
    columns = read_around(client, "main", map(to_bytes, touched), POLICY)
    assert {to_key_text(each) for each in columns.keys} == {key(f"c{n}") for n in range(21)}
    assert read_component(client, "main", touched, POLICY).keys == {key(f"c{n}") for n in range(21)}
    desk.load(*sign_in("c0", "K1", at=minutes(1)))
    assert desk.differs() == 0


def test_who_explains_a_chain_asks_few_questions_too(desk: Desk, questions: list[str]) -> None:
    """The walk for one person, as the one for many."""
    desk.load(*make_chain(LINKS))
    questions.clear()
    found = read_component(desk.store.writer, "main", {key("c0")}, POLICY)
    assert found.keys == {key(f"c{number}") for number in range(LINKS + 1)}
    assert len(questions) <= 4 * (ROUNDS_ALONE + 4)


@pytest.mark.long
def test_a_chain_by_way_of_customers_is_walked_as_ever(desk: Desk) -> None:
    """Each visitor signs in as two e-mail addresses, the second of which the next one has: no visitors are tied."""
    links = 2 * ROUNDS_ALONE
    desk.load(*(row for n in range(links) for row in sign_in(f"c{n}", f"E{n}", f"E{n + 1}", at=minutes(n))))
    touched = {key("c0")}
    found = read_around(desk.store.writer, "main", map(to_bytes, touched), POLICY)
    assert {to_key_text(each) for each in found.keys} >= {key(f"c{n}") for n in range(links)}
    assert read_component(desk.store.writer, "main", touched, POLICY).keys >= {key(f"c{n}") for n in range(links)}
    assert desk.differs() == 0
