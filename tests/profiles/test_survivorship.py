"""Which of several values of a trait is believed, and why the others lost."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from collector.profiles.definitions import Policy, TraitConfig
from collector.profiles.survivorship import CORRECTION, Lost, Reason, Said, survive

RECENT = TraitConfig()
BY_SOURCE = TraitConfig(policy=Policy.SOURCES, sources=("adapter:crm", "server", "identify"))


def say(value: Any, source: str = "server", level: int = 4, time_ms: int = 1, **more: Any) -> Said:
    return Said(value, source, level, time_ms, key="k", **more)


@pytest.mark.parametrize(
    ("trait", "winner", "loser", "reason"),
    [
        (RECENT, say("a", CORRECTION, 4, 1), say("b", "adapter:crm", 4, 99), Reason.CORRECTION),
        (BY_SOURCE, say("a", CORRECTION, 4, 1), say("b", "adapter:crm", 4, 99), Reason.CORRECTION),
        (RECENT, say("a", CORRECTION, 4, 2), say("b", CORRECTION, 4, 1), Reason.OLDER),
        (RECENT, say("a", "server", 4, 1), say("b", "identify", 3, 99), Reason.LEVEL),
        (BY_SOURCE, say("a", "identify", 4, 1), say("b", "adapter:crm", 3, 99), Reason.LEVEL),
        (BY_SOURCE, say("a", "adapter:crm", 4, 1), say("b", "server", 4, 99), Reason.SOURCE),
        (BY_SOURCE, say("a", "identify", 4, 1), say("b", "adapter:other", 4, 99), Reason.SOURCE),
        (BY_SOURCE, say("a", "server", 4, 2), say("b", "server", 4, 1), Reason.OLDER),
        (RECENT, say("a", "identify", 3, 2), say("b", "adapter:crm", 3, 1), Reason.OLDER),
        (RECENT, say("a", "adapter:crm", 3, 1), say("b", "server", 3, 1), Reason.EQUAL),
        (RECENT, say("a", "identify", 1, 1), say(None, CORRECTION, 4, 9, is_closed=True), Reason.CLOSED),
    ],
)
def test_who_wins_and_why(trait: TraitConfig, winner: Said, loser: Said, reason: Reason) -> None:
    """One rule after the other, and the order in which values come decides nothing."""
    for values in ([winner, loser], [loser, winner]):
        survivor = survive(values, trait)
        assert survivor is not None
        assert survivor.said == winner
        assert survivor.lost == (Lost(loser, reason, agrees=False),)


def test_a_conflict_is_seen_among_equals_only() -> None:
    """Who is as sure and says otherwise contests it; who agrees, or is less sure, does not."""
    for other, expected in ((say("b"), True), (say("a"), False), (say("b", level=3), False)):
        survivor = survive([say("a", time_ms=9), other], RECENT)
        assert survivor is not None
        assert survivor.is_contested is expected
    corrected = survive([say("a", CORRECTION), say("b")], RECENT)
    assert corrected is not None
    assert corrected.is_contested


def test_the_order_of_values_decides_nothing() -> None:
    """All permutations of what differs in each rule end the same, the losers in one order."""
    values = [
        Said(f"{source}-{level}", source, level, time_ms, key)
        for source, level, time_ms, key in (
            *(("server", 4, 1, "a"), ("server", 4, 1, "b"), ("adapter:crm", 4, 1, "a")),
            *(("identify", 3, 9, "a"), (CORRECTION, 4, 1, "a"), (CORRECTION, 4, 2, "b")),
        )
    ]
    chance = random.Random(1)
    for trait in (RECENT, BY_SOURCE):
        orders = list(itertools.permutations(values))
        assert len({survive(order, trait) for order in chance.sample(orders, 60)}) == 1


def test_of_no_values_nobody_survives() -> None:
    """There is nothing to believe."""
    assert survive([], RECENT) is None
