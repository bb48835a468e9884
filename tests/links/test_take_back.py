"""Which evidence goes with links that are taken back: what links made, by what they say, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from collector.errors import RepairError
from collector.event import LandingRow
from collector.identity.selection import read_selected
from collector.links.revocations import Revocation
from collector.links.revoking import make_selector
from tests.running_store import RunningStore, make_event, make_evidence, make_id, make_row, running_store

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine, with evidence of four links, of a sign-in that names a campaign, and of another space."""
    with running_store(tmp_path_factory.mktemp("take_back")) as store:
        store.load(
            make_link(1, "spring", "launch"),
            make_link(2, "spring", "reminder"),
            make_link(3, "autumn", "launch"),
            make_link(4, "spring", "launch", customer="4712"),
            make_row(5, evidence=[make_evidence(5, 5, campaign="spring")], events=[make_event(5)]),
            make_link(6, "spring", "launch", space_id="other"),
        )
        yield store


def make_link(number: int, campaign: str, message: str, customer: str = "4711", **more: Any) -> LandingRow:
    """Return the beacon of a confirmed link."""
    event = make_event(number, name="link_confirm")
    evidence = make_evidence(
        *(number, number, customer),
        kind="link",
        source="link",
        level=2,
        token_id=f"token-{number}",
        campaign=campaign,
        event_id=event.event_id,
    )
    facts = {"link_status": "confirmed", "link_campaign": campaign, "link_message": message}
    return make_row(number, evidence=[evidence], events=[event], **(facts | more))


@pytest.mark.parametrize(
    ("named", "numbers"),
    [
        ([{"campaign": "spring"}], [1, 2, 4]),
        ([{"message": "launch"}], [1, 3, 4]),
        ([{"campaign": "spring", "message": "launch"}], [1, 4]),
        ([{"token_id": "token-2"}], [2]),
        ([{"customer_key": make_id(4712, 0xC)}], [4]),
        ([{"customer_key": make_id(4712, 0xC)}, {"customer_key": make_id(4711, 0xC)}], [1, 2, 3, 4]),
        ([{"campaign": "spring", "customer_key": make_id(4711, 0xC)}], [1, 2]),
        ([{"campaign": "winter"}], []),
    ],
)
def test_what_such_links_made_is_chosen(store: RunningStore, named: list[dict[str, Any]], numbers: list[int]) -> None:
    """By everything that is named; a sign-in of a visitor who came by a campaign's address is none of it."""
    selector = make_selector([Revocation("r", "main", **fields) for fields in named])
    found = read_selected(store.writer, "main", selector, 100)
    assert [each.row.evidence_id for each in found] == [f"evidence-{number}" for number in numbers]


@pytest.mark.parametrize("named", [{"key_id": "a1b2"}, {"issued_from_s": 1}, {"issued_to_s": 5, "campaign": "spring"}])
def test_what_evidence_does_not_say_cannot_choose_it(named: dict[str, Any]) -> None:
    """Which key signed, and when the link was issued: better none than the wrong ones."""
    with pytest.raises(RepairError, match="does not say"):
        make_selector([Revocation("r", "main", **named)])
