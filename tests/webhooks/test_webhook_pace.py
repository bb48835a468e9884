"""When a delivery is tried again, and how long a receiver is left alone."""

from __future__ import annotations

import random

from collector.webhooks.pace import DELAYS_S, FAILURES, JITTER, LONGEST_PAUSE_S, Breath, find_delay_s

CHANCE = random.Random(7)


def test_the_schedule() -> None:
    """Five seconds, half a minute, … about a day in all; then it is given up."""
    delays = [find_delay_s(attempts, 0, CHANCE) for attempts in range(1, len(DELAYS_S) + 2)]
    assert delays[-1] is None
    for delay, least in zip(delays, DELAYS_S, strict=False):
        assert delay is not None
        assert least <= delay <= least * (1 + JITTER)
    assert 23 * 3_600 <= sum(DELAYS_S) <= 25 * 3_600
    assert len({find_delay_s(1, 0, CHANCE) for _ in range(20)}) > 10


def test_what_the_receiver_asks_for() -> None:
    """It makes a delay longer, never shorter."""
    assert (find_delay_s(1, 90, CHANCE) or 0) >= 90
    assert (find_delay_s(3, 1, CHANCE) or 0) >= DELAYS_S[2]


def test_a_receiver_that_fails_is_left_alone() -> None:
    """After some failures in a row with a pause that grows to a bound; one success, and it is as before."""
    breath = Breath(CHANCE)
    for _ in range(FAILURES - 1):
        breath.note_failed(0)
    assert not breath.is_away
    assert breath.find_wait_s(0) == 0
    pauses = []
    now_s = 0.0
    for _ in range(12):
        breath.note_failed(now_s)
        pauses.append(breath.find_wait_s(now_s))
        now_s += pauses[-1]
    assert breath.is_away
    assert pauses[0] < pauses[3] < pauses[5]
    assert max(pauses) <= LONGEST_PAUSE_S * (1 + JITTER)
    breath.note_taken()
    assert not breath.is_away


def test_too_many_requests() -> None:
    """Where it says for how long, nothing is sent for so long."""
    breath = Breath(CHANCE)
    breath.note_failed(100, retry_after_s=30)
    assert breath.find_wait_s(100) == 30
    assert not breath.is_away
    breath.note_taken()
    assert breath.find_wait_s(110) == 20
