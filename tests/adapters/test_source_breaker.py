"""The circuit breaker and the pace of a source, by property: no order of events lets more through than was said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collector.adapters.breaker import Breaker, Ticket
from collector.adapters.pace import MAX_REST_S, Pace

LIMIT, OPEN_S, MOST_OPEN_S = 3, 5.0, 20.0


def open_breaker(breaker: Breaker, now_s: float) -> None:
    for _ in range(LIMIT):
        ticket = breaker.admit(now_s)
        assert ticket is not None
        breaker.fail(ticket, now_s)


def test_failures_in_a_row_open_it() -> None:
    """One success between them, and the counting begins anew."""
    breaker = Breaker(LIMIT, OPEN_S, MOST_OPEN_S)
    for outcome in ("fail", "fail", "succeed", "fail", "fail"):
        ticket = breaker.admit(0.0)
        assert ticket is not None
        breaker.succeed(ticket) if outcome == "succeed" else breaker.fail(ticket, 0.0)
    assert breaker.is_closed
    ticket = breaker.admit(0.0)
    assert ticket is not None
    breaker.fail(ticket, 0.0)
    assert not breaker.is_closed


def test_one_probe_decides() -> None:
    """Half open, one goes through; its failure opens it for twice as long, its success closes it for good."""
    breaker = Breaker(LIMIT, OPEN_S, MOST_OPEN_S)
    open_breaker(breaker, 0.0)
    now_s = 0.0
    for wait_s in (5.0, 10.0, 20.0, 20.0):  # most_open_s bounds it
        assert breaker.admit(now_s + wait_s - 0.001) is None
        now_s += wait_s
        probe = breaker.admit(now_s)
        assert probe is not None
        assert probe.is_probe
        assert breaker.admit(now_s) is None
        breaker.fail(probe, now_s)
    probe = breaker.admit(now_s + 20.0)
    assert probe is not None
    breaker.succeed(probe)
    assert breaker.is_closed
    open_breaker(breaker, 100.0)
    assert breaker.admit(100.0 + OPEN_S) is not None  # and it begins with the short time again


def test_what_began_before_it_opened_does_not_count() -> None:
    """Neither closes a late success the open breaker, nor makes a late failure its time longer."""
    breaker = Breaker(LIMIT, OPEN_S, MOST_OPEN_S)
    early = [breaker.admit(0.0) for _ in range(4)]
    open_breaker(breaker, 1.0)
    assert early[0] and early[1] and early[2] and early[3]
    breaker.succeed(early[0])
    for ticket in early[1:]:
        assert ticket is not None
        breaker.fail(ticket, 5.5)
    assert not breaker.is_closed
    assert breaker.admit(1.0 + OPEN_S) is not None


def test_an_abandoned_probe_makes_room_for_another() -> None:
    """It said nothing, so the source is tried again at once."""
    breaker = Breaker(LIMIT, OPEN_S, MOST_OPEN_S)
    open_breaker(breaker, 0.0)
    probe = breaker.admit(OPEN_S)
    assert probe is not None
    breaker.abandon(probe)
    breaker.succeed(probe)  # a second ending does nothing
    assert not breaker.is_closed
    assert breaker.admit(OPEN_S) is not None


class BreakerStory(RuleBasedStateMachine):
    """Any order of requests, endings and time."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(LIMIT, OPEN_S, MOST_OPEN_S)
        self.now_s = 0.0
        self.opened_s = 0.0
        self.running: list[Ticket] = []
        self.ended: list[Ticket] = []

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def ask(self) -> None:
        was_closed = self.breaker.is_closed
        ticket = self.breaker.admit(self.now_s)
        if was_closed:
            assert ticket is not None
            assert not ticket.is_probe
        elif ticket is not None:
            assert ticket.is_probe
            assert self.now_s >= self.opened_s + OPEN_S
        elif not any(one.is_probe for one in self.running):
            assert self.now_s < self.opened_s + MOST_OPEN_S
        if ticket is not None:
            self.running.append(ticket)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), ending=st.sampled_from(("succeed", "fail", "abandon")))
    def end(self, data: st.DataObject, ending: str) -> None:
        ticket = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        was_closed = self.breaker.is_closed
        if ending == "succeed":
            self.breaker.succeed(ticket)
        elif ending == "fail":
            self.breaker.fail(ticket, self.now_s)
        else:
            self.breaker.abandon(ticket)
        if not self.breaker.is_closed and (was_closed or (ticket.is_probe and ending == "fail")):
            self.opened_s = self.now_s
        if self.breaker.is_closed and not was_closed:
            assert ticket.is_probe
            assert ending == "succeed"
        self.ended.append(ticket)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def end_again(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.ended))
        before = self.breaker.is_closed
        self.breaker.fail(ticket, self.now_s)
        self.breaker.succeed(ticket)
        assert self.breaker.is_closed == before

    @invariant()
    def one_probe(self) -> None:
        assert sum(ticket.is_probe for ticket in self.running) <= 1


TestBreakerStory = BreakerStory.TestCase


@given(
    rate=st.floats(0.5, 50),
    steps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_no_second_has_more_than_the_rate(rate: float, steps: list[float]) -> None:
    """However the questions come: of any stretch of time, no more than its share and one second's worth."""
    pace, now_s, taken = Pace(rate), 0.0, []
    for step in steps:
        now_s += step
        while pace.take(now_s):
            taken.append(now_s)
    for first, began_s in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= max(1.0, rate) + (taken[last] - began_s) * rate + 1e-6


def test_a_rest_holds_for_all_and_never_too_long() -> None:
    """A source that asks for a rest gets one, of a minute at most, and a shorter one does not end it early."""
    pace = Pace(0.0)
    assert pace.take(0.0)
    pace.rest(0.0, 10.0)
    pace.rest(0.0, 1.0)
    assert not pace.take(9.9)
    assert pace.take(10.0)
    pace.rest(10.0, 86_400.0)
    assert not pace.take(10.0 + MAX_REST_S - 0.1)
    assert pace.take(10.0 + MAX_REST_S)
    pace.rest(200.0, -5.0)
    assert pace.take(200.0)


@pytest.mark.parametrize("rate", [0.2, 1.0, 2.0])
def test_the_rate_is_reached(rate: float) -> None:
    """It is no bound that is never met: who asks all the time gets what was said."""
    pace = Pace(rate)
    taken = sum(pace.take(step / 16) for step in range(16 * 100))
    assert 100 * rate <= taken <= 100 * rate + max(1.0, rate)
