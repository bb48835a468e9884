"""The visitor: which one it is, what proves it, and what the cookie says afterwards."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collector.accept.visitor_cookie import (
    MAX_AGE_S,
    RENEW_AFTER_S,
    VisitorCookie,
    may_sign,
    read_cookie,
    write_cookie,
)
from collector.event import NIL_ID
from collector.keyring import Key
from collector.sites.book import SiteBook
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
    take,
)

DAY_MS = 86_400_000
OLD_VISITOR = make_id(9, NOW_MS - 40 * DAY_MS)


def _cookie(visitor_id: str = VISITOR, *, age_s: int = 3600, site_id: str = "shop", **changes: Any) -> dict[str, str]:
    cookie = VisitorCookie(visitor_id, NOW_S - age_s)._replace(**changes)
    return {"__Host-ts_shop": write_cookie(KEYRING, site_id, cookie)}


def _read(value: str | None) -> VisitorCookie | None:
    assert value is not None
    return read_cookie(KEYRING, "shop", value, NOW_S)


def test_the_first_beacon_signs_the_proposed_id() -> None:
    """Without a cookie the tag's id is taken as a claim, and signed into a cookie for the next time."""
    answer, row = take(make_body())
    assert (row.visitor_id, row.visitor_proof) == (VISITOR, "script")
    assert answer.visitor_reply is None
    assert _read(answer.set_cookie) == VisitorCookie(VISITOR, NOW_S)


def test_the_cookie_proves_the_visitor() -> None:
    """The same id in cookie and script: proved, and nothing to set again."""
    answer, row = take(make_body(), make_context(cookies=_cookie()))
    assert (row.visitor_id, row.visitor_proof) == (VISITOR, "cookie")
    assert (answer.set_cookie, answer.visitor_reply) == (None, None)


def test_the_cookie_wins_over_another_id() -> None:
    """A browser that has lost what the script wrote keeps its visitor; the tag is told."""
    answer, row = take(make_body(d=OTHER_VISITOR), make_context(cookies=_cookie()))
    assert (row.visitor_id, row.visitor_proof) == (VISITOR, "cookie")
    assert answer.visitor_reply == VISITOR
    assert answer.set_cookie is None


def test_the_cookie_stands_in_for_no_id() -> None:
    """A beacon without an id is of the cookie's visitor; without a cookie, of none."""
    answer, row = take(make_body(d=None), make_context(cookies=_cookie()))
    assert (row.visitor_id, row.visitor_proof, answer.visitor_reply) == (VISITOR, "cookie", VISITOR)
    answer, row = take(make_body(d=None))
    assert (row.visitor_id, row.visitor_proof, answer.set_cookie) == (NIL_ID, "none", None)


def test_a_reset_replaces_the_cookie() -> None:
    """After a sign-out the new id is in force at once, and the cookie becomes its own."""
    answer, row = take(make_body(d=OTHER_VISITOR, rf=VISITOR), make_context(cookies=_cookie()))
    assert (row.visitor_id, row.visitor_proof, row.reset_from) == (OTHER_VISITOR, "script", VISITOR)
    assert answer.visitor_reply is None
    assert _read(answer.set_cookie) == VisitorCookie(OTHER_VISITOR, NOW_S)


def test_a_reset_from_somebody_else_replaces_nothing() -> None:
    """`rf` counts only if the cookie proves that visitor."""
    answer, row = take(make_body(d=OTHER_VISITOR, rf=make_id(3)), make_context(cookies=_cookie()))
    assert (row.visitor_id, answer.visitor_reply, answer.set_cookie) == (VISITOR, VISITOR, None)


def test_late_events_stay_with_their_visitor() -> None:
    """Events from before the cookie was made are not given to the visitor that the browser became later."""
    late = make_event(t=NOW_MS - 3_600_000)
    answer, row = take(make_body(late, d=OTHER_VISITOR), make_context(cookies=_cookie(age_s=60)))
    assert (row.visitor_id, row.visitor_proof) == (OTHER_VISITOR, "script")
    assert (answer.set_cookie, answer.visitor_reply) == (None, None)


def test_an_old_id_gets_no_cookie() -> None:
    """Who knows somebody's visitor id cannot have it signed, and so cannot inherit the history behind it."""
    answer, row = take(make_body(d=OLD_VISITOR))
    assert (row.visitor_id, row.visitor_proof, answer.set_cookie) == (OLD_VISITOR, "script", None)
    answer, _ = take(make_body(d="4f6d2c1e-8a3b-4c5d-9e7f-0a1b2c3d4e5f"))
    assert answer.set_cookie is None, "an id that does not tell its age"
    answer, _ = take(make_body(d=OLD_VISITOR, rf=VISITOR), make_context(cookies=_cookie()))
    assert answer.set_cookie == "", "nor by way of a reset; the cookie of the visitor before goes"


@pytest.mark.parametrize(
    ("visitor_id", "is_fresh"),
    [
        (make_id(1, NOW_MS - DAY_MS), True),
        (make_id(1, NOW_MS - DAY_MS - 1), False),
        (make_id(1, NOW_MS + DAY_MS), True),
        (make_id(1, NOW_MS + DAY_MS + 1), False),
        ("00000000-0000-4000-8000-000000000001", False),
    ],
)
def test_a_fresh_id(visitor_id: str, is_fresh: bool) -> None:
    """Fresh is a UUIDv7 made within a day, clocks that go wrong included."""
    assert may_sign(visitor_id, NOW_MS) is is_fresh


def _flip(text: str) -> str:
    return text[:20] + ("0" if text[20] != "0" else "1") + text[21:]


FOREIGN_KEYS = msgspec.structs.replace(KEYRING, cookie_keys=[Key("x", "foreign" * 8)])
BAD_COOKIES = {
    "forged": {"__Host-ts_shop": f"{VISITOR}.{NOW_S}.3.{NOW_S + 900}.{VISITOR}.c2lnbmF0dXJl"},
    "changed": {name: _flip(value) for name, value in _cookie().items()},
    "unsigned": {"__Host-ts_shop": VISITOR},
    "another key": {"__Host-ts_shop": write_cookie(FOREIGN_KEYS, "shop", VisitorCookie(VISITOR, NOW_S))},
    "another site": _cookie(site_id="other"),
    "expired": _cookie(age_s=MAX_AGE_S + 1),
    "oversize": {"__Host-ts_shop": "a" * 5000},
    "not ASCII": {"__Host-ts_shop": "é" * 40},
    "empty": {"__Host-ts_shop": ""},
    "name of another site": {"__Host-ts_other": _cookie()["__Host-ts_shop"]},
    "name without the prefix": {"ts_shop": _cookie()["__Host-ts_shop"]},
    "signed rubbish": {"__Host-ts_shop": write_cookie(KEYRING, "shop", VisitorCookie("not-an-id", NOW_S))},
    "too many parts": {"__Host-ts_shop": write_cookie(KEYRING, "shop", VisitorCookie(VISITOR + ".1", NOW_S))},
}


@pytest.mark.parametrize("name", list(BAD_COOKIES))
def test_a_bad_cookie_is_no_cookie(name: str) -> None:
    """What we did not sign for this site, or too long ago, proves nothing and wins over nothing; it is replaced."""
    answer, row = take(make_body(d=OTHER_VISITOR), make_context(cookies=BAD_COOKIES[name]))
    assert (row.visitor_id, row.visitor_proof) == (OTHER_VISITOR, "script")
    assert answer.visitor_reply is None
    assert _read(answer.set_cookie) == VisitorCookie(OTHER_VISITOR, NOW_S)


def test_a_cookie_of_the_earlier_key_counts() -> None:
    """After a rotation cookies signed with the key before are still read."""
    earlier = msgspec.structs.replace(KEYRING, cookie_keys=KEYRING.cookie_keys[1:])
    value = write_cookie(earlier, "shop", VisitorCookie(VISITOR, NOW_S))
    _, row = take(make_body(), make_context(cookies={"__Host-ts_shop": value}))
    assert row.visitor_proof == "cookie"
    assert read_cookie(earlier, "shop", write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S)), NOW_S) is None


def test_the_cookie_is_renewed_before_it_ends() -> None:
    """A cookie older than a month is signed anew, so that a visitor who comes back keeps the id."""
    answer, _ = take(make_body(), make_context(cookies=_cookie(age_s=RENEW_AFTER_S + 1)))
    assert _read(answer.set_cookie) == VisitorCookie(VISITOR, NOW_S)


def test_without_an_origin_cookies_are_neither_read_nor_set() -> None:
    """A program may claim a visitor; it can neither prove nor obtain one."""
    answer, row = take(make_body(d=OTHER_VISITOR), make_context(origin="", cookies=_cookie()))
    assert (row.visitor_id, row.visitor_proof) == (OTHER_VISITOR, "script")
    assert (answer.set_cookie, answer.visitor_reply) == (None, None)


def test_over_plain_http_the_name_has_no_prefix() -> None:
    """`__Host-` needs HTTPS; on a developer's machine the plain name is used, and only there."""
    site = msgspec.structs.replace(SITE, origins=("http://localhost",))
    plain = {"ts_shop": _cookie()["__Host-ts_shop"]}
    facts: dict[str, Any] = {"site": site, "origin": "http://localhost"}
    assert take(make_body(), make_context(secure=False, cookies=plain, **facts))[1].visitor_proof == "cookie"
    assert take(make_body(), make_context(secure=True, cookies=plain, **facts))[1].visitor_proof == "script"
    assert take(make_body(), make_context(secure=False, cookies=_cookie(), **facts))[1].visitor_proof == "script"


def test_sites_do_not_share_visitors() -> None:
    """The same browser on two sites has two cookies, and the one says nothing on the other."""
    other = msgspec.structs.replace(SITE, site_id="blog")
    context = make_context(sites=SiteBook(sites={"shop": SITE, "blog": other}), cookies=_cookie())
    _, row = take(make_body(s="blog"), context)
    assert row.visitor_proof == "script"


def test_a_beacon_without_kept_events_sets_no_cookie() -> None:
    """Where every event was refused, nothing is put on the device."""
    answer, row = take(make_body(make_event(t=1)))
    assert row.events == []
    assert answer.set_cookie is None
