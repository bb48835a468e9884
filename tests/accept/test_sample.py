"""The sample of a site, and its kill switch: who is kept, and that nobody is kept by halves."""

from __future__ import annotations

import random

import msgspec
import pytest

from collector.accept.pipeline import Accepted, accept
from collector.accept.sample import draw
from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.reasons import Reason
from tests.edge_examples import (
    KEYRING,
    NOW_S,
    SITE,
    make_body,
    make_context,
    make_event,
    make_id,
    refuse,
    take,
)

HALF = make_context(site=msgspec.structs.replace(SITE, sample=0.5))
KEY = KEYRING.digest_key
INSIDE = next(make_id(number) for number in range(1, 99) if draw(KEY, make_id(number)) < 0.5)
OUTSIDE = next(make_id(number) for number in range(1, 99) if draw(KEY, make_id(number)) >= 0.5)


def test_a_visitor_is_kept_whole_or_not_at_all() -> None:
    """Every beacon of one visitor has the same fate; who is out gets no cookie and leaves a count alone."""
    for number in range(100, 110):
        assert len(take(make_body(make_event(number), d=INSIDE), HALF)[1].events) == 1
        answer, row = refuse(make_body(make_event(number), d=OUTSIDE), HALF)
        assert (answer.rejected.reason, answer.rejected.step) == (Reason.OFF, "sample")
        assert (row.events, row.network, answer.set_cookie, answer.cookie_forms) == ([], "", None, ())
        assert (row.rejected[0].reason, row.rejected[0].events) == ("off", 1)


def test_the_cookies_visitor_decides() -> None:
    """A browser that lost what the script wrote proposes another id, and stays in the sample or out of it."""
    for visitor, other in ((INSIDE, OUTSIDE), (OUTSIDE, INSIDE)):
        cookies = {"__Host-ts_shop": write_cookie(KEYRING, "shop", VisitorCookie(visitor, NOW_S - 60))}
        context = make_context(site=msgspec.structs.replace(SITE, sample=0.5), cookies=cookies)
        answer = accept(msgspec.json.encode(make_body(d=other)), context)
        assert isinstance(answer, Accepted) is (visitor == INSIDE)


def test_a_cookieless_visitor_is_drawn_by_the_id_of_the_day() -> None:
    """All of a day's events of one browser have one fate, and browsers differ."""
    site = msgspec.structs.replace(SITE, sample=0.5, consent="cookieless")
    fates = set()
    for address in range(20):
        context = make_context(site=site, day_salt=b"s" * 32, address=f"203.0.113.{address}")
        same = {type(accept(msgspec.json.encode(make_body(make_event(n), d=None, x=None)), context)) for n in range(3)}
        assert len(same) == 1
        fates |= same
    assert len(fates) == 2


def test_an_event_of_nobody_has_the_same_fate_again() -> None:
    """Without a visitor the first event's id decides, so that a retry is not another draw."""
    bodies = [msgspec.json.encode(make_body(make_event(number), d=None)) for number in range(20)]
    once = [type(accept(body, HALF)) for body in bodies]
    assert once == [type(accept(body, HALF)) for body in bodies]
    assert len(set(once)) == 2


def test_the_share_is_what_it_says_and_grows_without_losing_anybody() -> None:
    """Of 20,000 visitors about the share is in; the draw is one number, so whoever is in stays in when it grows."""
    choose = random.Random(7)
    drawn = [draw(KEY, f"{choose.getrandbits(128):032x}") for _ in range(20_000)]
    assert all(0 <= number < 1 for number in drawn)
    for share in (0.01, 0.1, 0.5, 0.9):
        assert sum(number < share for number in drawn) / len(drawn) == pytest.approx(share, abs=0.015)


def test_another_instance_draws_otherwise() -> None:
    """Without the key nobody can choose a visitor id that is in the sample, or out of it."""
    numbers = range(200)
    ours = [draw(KEY, make_id(number)) < 0.5 for number in numbers]
    theirs = [draw("44" * 32, make_id(number)) < 0.5 for number in numbers]
    assert 60 < sum(mine == other for mine, other in zip(ours, theirs, strict=True)) < 140


def test_a_tag_that_is_switched_off() -> None:
    """What still comes is refused and counted, whatever is in it; a foreign page does not learn of it."""
    context = make_context(site=msgspec.structs.replace(SITE, tag=False))
    answer, row = refuse(make_body(d="no-id"), context)
    assert (answer.rejected.reason, answer.rejected.step) == (Reason.OFF, "validate")
    assert (row.site_id, row.events) == ("shop", [])
    answer, _ = refuse(
        make_body(), make_context(site=msgspec.structs.replace(SITE, tag=False), origin="https://evil.example")
    )
    assert answer.rejected.reason is Reason.ORIGIN
