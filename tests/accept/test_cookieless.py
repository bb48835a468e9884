"""The preset `cookieless`: what is kept of somebody who has granted nothing, and what ties it together for a day."""

from __future__ import annotations

import json
import uuid
from typing import Any

import msgspec
import pytest

from collector.accept.day_visitor import find_day_visitor
from collector.accept.pipeline import accept
from collector.accept.visitor_cookie import VisitorCookie, may_sign, read_cookie, write_cookie
from collector.event import NIL_ID, Context, LandingRow
from collector.reasons import Reason
from tests.accept.test_malformed import CLASSES
from tests.edge_examples import (
    KEYRING,
    NOW_MS,
    NOW_S,
    OTHER_VISITOR,
    SITE,
    VISITOR,
    make_body,
    make_context,
    make_event,
    make_id,
    read_line,
    refuse,
    sign,
    take,
)

SALT = b"s" * 32
COOKIELESS = msgspec.structs.replace(SITE, consent="cookieless")
COOKIES = {"__Host-ts_shop": write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60))}


def make_visit(**facts: Any) -> Context:
    """Return the facts of a browser's request on the page of a cookieless site."""
    return make_context(**{"site": COOKIELESS, "day_salt": SALT, **facts})


def find_visitor(**facts: Any) -> str:
    """Return the visitor id that a page view of such a browser gets."""
    return take(make_body(d=None, x=None), make_visit(**facts))[1].visitor_id


@pytest.mark.parametrize("letters", [None, "", "i", "ifm"])
def test_a_page_view_is_kept_of_a_visitor_of_the_day(letters: str | None) -> None:
    """Without storage the event is kept, with what every request says, nothing consented to, and no cookie."""
    answer, row = take(make_body(d=None, x=None, c=letters), make_visit())
    assert [event.name for event in row.events] == ["page_view"]
    assert (row.visitor_proof, row.consent, row.session_id) == ("cookieless", "", NIL_ID)
    assert uuid.UUID(row.visitor_id).version == 8
    assert (row.network, row.browser) == ("203.0.113.0/24", "Chrome")
    assert (answer.set_cookie, answer.visitor_reply, answer.reasons) == (None, None, ())


def test_the_same_browser_is_the_same_visitor_all_day_and_nobody_else() -> None:
    """Site, address, user agent and the day's salt make the visitor; each of them alone makes another."""
    first = find_visitor()
    assert find_visitor(received_at_ms=NOW_MS + 3_600_000) == first
    others = [
        find_visitor(day_salt=b"t" * 32),
        find_visitor(address="203.0.113.78"),
        find_visitor(user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        find_day_visitor("blog", make_visit()),
    ]
    assert len({first, *others}) == 5
    assert not may_sign(first, NOW_MS)


def test_without_a_salt_there_is_no_visitor() -> None:
    """Where the disk refuses a salt, the event is kept of nobody, rather than under a key that stays."""
    _, row = take(make_body(d=None, x=None), make_visit(day_salt=b""))
    assert (row.visitor_id, row.visitor_proof, row.own_person_id, len(row.events)) == (NIL_ID, "none", NIL_ID, 1)


def test_what_only_the_device_can_have_said_goes() -> None:
    """A tag that sends ids, session, facts of the browser, identifiers or signals all the same is not listened to."""
    answer, row = take(
        make_body(
            make_event(101, n="identify", k=[{"k": "customer", "v": "4711", "g": sign("4711")}]),
            make_event(102, n="purchase", k=[{"k": "customer", "v": "4711"}], p={"price": 9}),
            make_event(103, n="reset"),
            make_event(104, n="link_confirm"),
            make_event(105, n="fingerprint"),
            d=VISITOR,
            rf=OTHER_VISITOR,
            f={"v": 1, "s": {"canvas": "ab12", "audio": 124.04, "math": "ff", "platform": "Linux x86_64"}},
            lt="b2c4.abc.def",
            hs="pointer",
            ho="token",
            xl=1,
            l="de-DE",
            z="Europe/Berlin",
            w="1280x720",
        ),
        make_visit(cookies=COOKIES),
    )
    assert [event.name for event in row.events] == ["purchase"]
    assert (row.language, row.time_zone, row.viewport, row.fingerprint, row.link_status) == ("", "", "", "", "")
    assert (row.session_id, row.session_number, row.session_started_ms, row.reset_from) == (NIL_ID, 0, 0, NIL_ID)
    assert (row.evidence, row.events[0].assurance, row.events[0].customer_key) == ([], 0, NIL_ID)
    assert row.visitor_id not in (VISITOR, OTHER_VISITOR)
    assert answer.reasons == (Reason.CONSENT,)
    for secret in (VISITOR, OTHER_VISITOR, make_id(50), "4711", "de-DE"):
        assert secret not in answer.line.decode()


def test_a_cookie_is_neither_read_nor_set() -> None:
    """A visitor cookie of an earlier grant names nobody while nothing is granted, and stays until somebody says no."""
    answer, row = take(make_body(d=None, x=None), make_visit(cookies=COOKIES))
    assert (row.visitor_proof, row.visitor_id) == ("cookieless", find_visitor())
    assert answer.set_cookie is None
    refused, row = refuse(make_body(d=None, x=None, c=""), make_visit(cookies=COOKIES))
    assert (refused.rejected.reason, refused.set_cookie, row.events) == (Reason.CONSENT, "", [])
    assert [form.name for form in refused.cookie_forms] == ["__Host-ts_shop"]


def test_a_grant_makes_a_new_visitor() -> None:
    """With storage granted it is a visitor as on any site, and nothing ties the day's visitor to it."""
    before = find_visitor()
    answer, row = take(make_body(c="ai", rf=before), make_visit())
    assert (row.visitor_id, row.visitor_proof) == (VISITOR, "script")
    assert row.evidence == []
    cookie = read_cookie(KEYRING, "shop", answer.set_cookie or "", NOW_S)
    assert cookie is not None
    assert cookie.visitor_id == VISITOR


@pytest.mark.parametrize("letters", [None, "", "ai"])
def test_bad_input_is_refused_here_as_anywhere(letters: str | None) -> None:
    """Every malformed beacon of the catalogue, and every wrong type in a right one, is an answer and never an error."""
    bodies = [body for body, _, _ in CLASSES.values()]
    fields = ("d", "rf", "x", "l", "z", "w", "f", "lt", "hs", "ho", "xl", "c", "b", "u")
    values = (None, 7, -1, "", "x" * 9000, [], {}, {"i": 1}, True, 1e400)
    right = make_body(c=letters)
    bodies += [json.dumps(right | {field: value}).encode() for field in fields for value in values]
    facts = {"sample": 0.5, "cookie": "sid", "cookie_domain": "shop.example"}
    site = msgspec.structs.replace(COOKIELESS, **facts)
    context = make_visit(site=site, cookies={"sid": "\xe9" * 9}, cookie_twins={"sid": ("", "x.y.z")})
    for body in bodies:
        line = read_line(accept(body, context))
        assert msgspec.json.decode(line, type=LandingRow).received_at_ms == NOW_MS
