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
from collector.reasons import Reason
from collector.sites.book import Site, SiteBook
from collector.sites.cookies import CookieForm
from tests.edge_examples import (
    KEYRING,
    NOW_MS,
    NOW_S,
    ORIGIN,
    OTHER_VISITOR,
    SITE,
    VISITOR,
    make_body,
    make_context,
    make_event,
    make_id,
    refuse,
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


# --- a name and a domain of the site's own --------------------------------------------------------------------

NAMED = msgspec.structs.replace(SITE, cookie="sid")
SHARED = msgspec.structs.replace(SITE, cookie_domain="shop.example")
DEFAULT = "__Host-ts_shop"
VALUE = _cookie()[DEFAULT]
OTHER_VALUE = _cookie(OTHER_VISITOR)[DEFAULT]


@pytest.mark.parametrize(
    ("settings", "secure", "form"),
    [
        ({}, True, CookieForm("__Host-ts_shop")),
        ({}, False, CookieForm("ts_shop")),
        ({"cookie": "sid"}, True, CookieForm("__Host-sid")),
        ({"cookie": "sid"}, False, CookieForm("sid")),
        ({"cookie_domain": "shop.example"}, True, CookieForm("ts_shop", "shop.example")),
        ({"cookie_domain": "shop.example"}, False, CookieForm("ts_shop", "shop.example")),
        ({"cookie": "sid", "cookie_domain": "shop.example"}, True, CookieForm("sid", "shop.example")),
    ],
)
def test_the_site_chooses_name_and_domain(settings: dict[str, str], secure: bool, form: CookieForm) -> None:
    """The prefix stands there exactly where browsers take it: over HTTPS, without a domain."""
    origin = ORIGIN if secure else "http://shop.example"
    site = msgspec.structs.replace(SITE, origins=(origin,), **settings)
    answer, _ = take(make_body(), make_context(site=site, secure=secure, origin=origin))
    assert answer.cookie_forms == (form,)
    assert _read(answer.set_cookie) == VisitorCookie(VISITOR, NOW_S)
    context = make_context(site=site, secure=secure, origin=origin, cookies={form.name: VALUE})
    answer, row = take(make_body(), context)
    assert (row.visitor_proof, answer.set_cookie) == ("cookie", None)


@pytest.mark.parametrize(
    ("site", "current"), [(NAMED, CookieForm("__Host-sid")), (SHARED, CookieForm("ts_shop", "shop.example"))]
)
def test_a_change_of_name_or_domain_keeps_the_visitor(site: Site, current: CookieForm) -> None:
    """The default cookie is still read; the new one is set with what it says, and the old one goes."""
    answer, row = take(make_body(d=OTHER_VISITOR), make_context(site=site, cookies={DEFAULT: VALUE}))
    assert (row.visitor_id, row.visitor_proof, answer.visitor_reply) == (VISITOR, "cookie", VISITOR)
    assert answer.set_cookie == VALUE, "the same visitor, signed when it was"
    assert answer.cookie_forms == (current, CookieForm(DEFAULT))


def test_the_form_in_force_is_stronger_and_the_other_goes() -> None:
    """Where both come along, the site's present form says who it is."""
    cookies = {DEFAULT: OTHER_VALUE, "__Host-sid": VALUE}
    answer, row = take(make_body(), make_context(site=NAMED, cookies=cookies))
    assert (row.visitor_id, row.visitor_proof) == (VISITOR, "cookie")
    assert (answer.set_cookie, answer.cookie_forms) == (VALUE, (CookieForm("__Host-sid"), CookieForm(DEFAULT)))


def test_the_way_back_from_a_domain_believes_nothing_that_a_subdomain_can_set() -> None:
    """A site that wants cookies of one host does not read those with a domain, signed or not."""
    _, row = take(make_body(d=OTHER_VISITOR), make_context(cookies={"ts_shop": VALUE, "sid": VALUE}))
    assert (row.visitor_id, row.visitor_proof) == (OTHER_VISITOR, "script")


@pytest.mark.parametrize(
    ("first", "twins", "proposed", "visitor"),
    [
        ("planted", (VALUE,), VISITOR, VISITOR),
        (VALUE, ("planted",), VISITOR, VISITOR),
        (OTHER_VALUE, (VALUE,), VISITOR, VISITOR),
        (OTHER_VALUE, (VALUE,), make_id(3), OTHER_VISITOR),
        ("", ("", "x", VALUE), None, VISITOR),
    ],
)
def test_of_two_values_the_signed_one_counts_and_then_the_proposed(
    first: str, twins: tuple[str, ...], proposed: str | None, visitor: str
) -> None:
    """A value that a subdomain planted hides nothing; between valid ones the tag's own id decides, then the order."""
    context = make_context(site=SHARED, cookies={"ts_shop": first}, cookie_twins={"ts_shop": twins})
    answer, row = take(make_body(d=proposed), context)
    assert (row.visitor_id, row.visitor_proof) == (visitor, "cookie")
    assert answer.cookie_forms == (CookieForm("ts_shop", "shop.example"), CookieForm("ts_shop")), "one of them goes"


def test_two_values_without_a_valid_one_prove_nothing() -> None:
    """Rubbish stays rubbish, however often it comes."""
    context = make_context(site=SHARED, cookies={"ts_shop": "x"}, cookie_twins={"ts_shop": ("y", "")})
    answer, row = take(make_body(), context)
    assert row.visitor_proof == "script"
    assert _read(answer.set_cookie) == VisitorCookie(VISITOR, NOW_S)


def test_a_withdrawal_takes_every_form_away() -> None:
    """Who says no is rid of the old cookie and of the new one, whatever they hold."""
    cookies = {DEFAULT: "x", "ts_shop": "y"}
    context = make_context(site=SHARED, cookies=cookies, cookie_twins={"ts_shop": ("z",)})
    answer, _ = refuse(make_body(c="", d=None), context)
    assert answer.set_cookie == ""
    assert set(answer.cookie_forms) == {
        CookieForm("ts_shop", "shop.example"),
        CookieForm("ts_shop"),
        CookieForm(DEFAULT),
    }


# --- objection -----------------------------------------------------------------------------------------------


def test_who_has_objected_is_not_kept() -> None:
    """With the opt-out cookie nothing of the beacon is kept but the count, and our cookie goes."""
    answer, row = refuse(make_body(c="aifm"), make_context(cookies={**_cookie(), "_ts_out": "1"}))
    assert answer.rejected.reason is Reason.OPTED_OUT
    assert (row.events, row.network, row.visitor_id) == ([], "", NIL_ID)
    assert (answer.set_cookie, answer.cookie_forms) == ("", (CookieForm(DEFAULT),))
    answer, _ = refuse(make_body(), make_context(cookies={"_ts_out": "1"}, origin=""))
    assert (answer.rejected.reason, answer.set_cookie) == (Reason.OPTED_OUT, None)


@pytest.mark.parametrize("value", ["", "0", "true", "11"])
def test_only_the_word_itself_is_an_objection(value: str) -> None:
    """Another value under that name is somebody else's cookie."""
    assert len(take(make_body(), make_context(cookies={"_ts_out": value}))[1].events) == 1
