"""What was found rather than said: identifiers that the tag captured, cookies that the collector reads; and aliases."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from collector.accept.captured_cookies import MAX_CHARS
from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.event import NIL_ID, LandingRow
from collector.identity.identifiers import make_pseudonym, own_person_id
from collector.sites.book import CookieCapture
from tests.edge_examples import (
    KEYRING,
    NOW_MS,
    NOW_S,
    SITE,
    VISITOR,
    make_body,
    make_context,
    make_event,
    make_id,
    sign,
    take,
)

CUSTOMER = own_person_id(KEYRING.pseudonym_key, "main", "customer", "4711")
OTHER_CUSTOMER = own_person_id(KEYRING.pseudonym_key, "main", "customer", "4712")
CAPTURING = msgspec.structs.replace(
    SITE,
    capture_cookies=(CookieCapture("shop_login"), CookieCapture("member", "email"), CookieCapture("sid", signed=True)),
)


def found(number: int, value: str = "4711", origin: str = "meta", **changes: Any) -> dict[str, Any]:
    """Return a page view on which the tag has found a customer number."""
    return make_event(number, k=[{"k": "customer", "v": value, "o": origin, **changes}])


def said(row: LandingRow) -> list[tuple[str, str, int, str]]:
    """Return kind, value, level and source of the evidence."""
    return [(e.kind, e.b_value, e.level, e.source) for e in row.evidence]


def signed_in(customer: str = CUSTOMER) -> dict[str, str]:
    """Return the cookie of a visitor who is signed in."""
    return {
        "__Host-ts_shop": write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 60, 3, NOW_S + 60, customer))
    }


# --- by the tag ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["param", "cookie", "meta", "data", "js"])
def test_a_captured_identifier_is_a_claim(origin: str) -> None:
    """Level 1, source `capture`, and the page view stays a page view."""
    _, row = take(make_body(found(1, origin=origin)))
    assert said(row) == [("identify", "4711", 1, "capture")]
    assert [(event.name, event.assurance, event.customer_key) for event in row.events] == [("page_view", 0, NIL_ID)]


@pytest.mark.parametrize("origin", ["", "server", "Param", "x" * 5000])
def test_an_unknown_origin_is_none(origin: str) -> None:
    """Then the page has said it."""
    _, row = take(make_body(found(1, origin=origin)))
    assert said(row) == [("identify", "4711", 1, "tag")]


def test_a_signed_one_signs_in() -> None:
    """A signature makes it level 3, wherever it was found; a wrong one costs the identifier, not the page view."""
    _, row = take(make_body(found(1, g=sign("4711"))))
    assert said(row) == [("identify", "4711", 3, "capture")]
    assert row.events[0].customer_key == CUSTOMER
    _, row = take(make_body(found(1, g=sign("4712"))))
    assert (said(row), [r.reason for r in row.rejected], len(row.events)) == ([], ["signature"], 1)


def test_a_beacon_says_it_once() -> None:
    """Twenty page views with one captured number are one row; a number that changes is another."""
    _, row = take(make_body(*(found(n) for n in range(1, 21)), found(30, "4712"), found(31)))
    assert said(row) == [("identify", "4711", 1, "capture"), ("identify", "4712", 1, "capture")]
    assert row.evidence[0].event_id == row.events[0].event_id


def test_what_is_in_force_is_not_said_again() -> None:
    """While the customer is signed in, finding the same one on every page is no news; another one is."""
    context = make_context(cookies=signed_in())
    _, row = take(make_body(found(1, g=sign("4711")), found(2)), context)
    assert said(row) == []
    _, row = take(make_body(found(1, "4712", g=sign("4712"))), context)
    assert said(row) == [("identify", "4712", 3, "capture")]
    _, row = take(make_body(found(1, g=sign("4711"))), make_context(cookies=signed_in(OTHER_CUSTOMER)))
    assert said(row) == [("identify", "4711", 3, "capture")]


def test_what_a_page_says_is_always_written() -> None:
    """An identify is evidence each time, also of who is signed in already."""
    event = make_event(1, n="identify", k=[{"k": "customer", "v": "4711", "g": sign("4711")}])
    _, row = take(make_body(event), make_context(cookies=signed_in()))
    assert said(row) == [("identify", "4711", 3, "tag")]


def test_after_a_sign_out_it_is_news_again() -> None:
    """A reset in the beacon begins anew."""
    _, row = take(make_body(found(1), make_event(2, n="reset"), found(3)))
    assert [kind for kind, *_ in said(row)] == ["identify", "reset", "identify"]


def test_of_one_identifier_the_surer_word_counts() -> None:
    """Captured and signed in one event: one row, level 3."""
    event = make_event(
        1, k=[{"k": "customer", "v": "4711", "o": "meta"}, {"k": "customer", "v": " 4711", "g": sign(" 4711")}]
    )
    _, row = take(make_body(event))
    assert said(row) == [("identify", "4711", 3, "tag")]


# --- by the collector ----------------------------------------------------------------------------------------


def test_a_cookie_on_the_list_is_a_claim() -> None:
    """Read with a page view, percent signs resolved, personal kinds as pseudonyms."""
    cookies = {"shop_login": quote("4711"), "member": quote("joe@shop.example"), "other": "4712"}
    answer, row = take(make_body(), make_context(site=CAPTURING, cookies=cookies))
    address = make_pseudonym(KEYRING.personal_keys[0], "main", "email", "joe@shop.example")
    assert said(row) == [("identify", "4711", 1, "capture"), ("identify", address, 1, "capture")]
    assert row.rejected == []
    assert b"joe" not in answer.line


def test_cookies_of_another_site_are_not_read() -> None:
    """The list is the site's own, whatever else the endpoint has picked out."""
    _, row = take(make_body(), make_context(cookies={"shop_login": "4711"}))
    assert row.evidence == []


def test_a_signed_cookie_signs_in() -> None:
    """`<value>|<signature>`, as with identify; everything else in that cookie is refused, and the page view stays."""
    text = quote(f"4711|{sign('4711')}")
    _, row = take(make_body(make_event(1), make_event(2)), make_context(site=CAPTURING, cookies={"sid": text}))
    assert said(row) == [("identify", "4711", 3, "capture")]
    assert [event.customer_key for event in row.events] == [CUSTOMER, CUSTOMER]
    for wrong, reason in (
        (f"4712|{sign('4711')}", "signature"),
        (f"4711|{sign('4711', expires_s=NOW_S - 100)}", "expired"),
        ("4711", "signature"),
        ("4711|", "signature"),
        (f"|{sign('')}", "signature"),
    ):
        _, row = take(make_body(), make_context(site=CAPTURING, cookies={"sid": wrong}))
        assert (said(row), [(r.reason, r.field) for r in row.rejected]) == ([], [(reason, "cookie")]), wrong
        assert len(row.events) == 1


def test_a_value_may_hold_the_separator() -> None:
    """The last one parts value and signature."""
    text = f"a|b|{sign('a|b')}"
    _, row = take(make_body(), make_context(site=CAPTURING, cookies={"sid": text}))
    assert said(row) == [("identify", "a|b", 3, "capture")]


@pytest.mark.parametrize(
    ("body", "context"),
    [
        ({"e": [make_event(1, n="purchase")]}, {}),
        ({"c": "a"}, {}),
        ({}, {"origin": ""}),
    ],
)
def test_when_no_cookie_is_read(body: dict[str, Any], context: dict[str, Any]) -> None:
    """Without a page view, without consent to identity, for a program."""
    facts = make_context(site=CAPTURING, cookies={"shop_login": "4711"}, **context)
    _, row = take(make_body(**body), facts)
    assert (row.evidence, row.rejected) == ([], [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x" * (MAX_CHARS + 1), "size"),
        ("%41" * (MAX_CHARS + 1), "size"),
        ("x" * 600, "shape"),
        ("%ff%fe", "shape"),
        ("a%00b", "shape"),
        ("guest", "blocked"),
        ("0", "blocked"),
    ],
)
def test_cookies_that_cannot_be_used(text: str, reason: str) -> None:
    """Too long, no text, nobody: refused as a field, counted, and the page view stays."""
    answer, row = take(make_body(), make_context(site=CAPTURING, cookies={"shop_login": text}))
    assert [(r.reason, r.field, r.events) for r in row.rejected] == [(reason, "cookie", 0)]
    assert answer.reasons == (reason,)
    assert len(row.events) == 1


def test_one_page_view_of_a_beacon_carries_the_cookies() -> None:
    """One row at most for each beacon, on its first page view."""
    body = make_body(make_event(1, n="purchase"), make_event(2), make_event(3))
    _, row = take(body, make_context(site=CAPTURING, cookies={"shop_login": "4711"}))
    assert said(row) == [("identify", "4711", 1, "capture")]
    assert row.evidence[0].event_id == row.events[1].event_id


def test_a_site_for_signed_ones_only_takes_no_bare_cookie() -> None:
    """`identify = signed` holds for what is captured too."""
    site = msgspec.structs.replace(CAPTURING, identify="signed")
    _, row = take(make_body(found(1)), make_context(site=site, cookies={"shop_login": "4711"}))
    assert (said(row), [r.reason for r in row.rejected]) == ([], ["unsigned"])


# --- alias, group --------------------------------------------------------------------------------------------


def test_an_alias_ties_both_to_the_visitor() -> None:
    """Signed, both are sign-ins of one request; the event says `alias`."""
    names = [
        {"k": "customer", "v": "4711", "g": sign("4711")},
        {"k": "email", "v": "joe@shop.example", "g": sign("joe@shop.example", "email")},
    ]
    _, row = take(make_body(make_event(1, n="alias", k=names)))
    assert [(e.kind, e.level, e.a_kind, e.b_kind) for e in row.evidence] == [
        ("alias", 3, "visitor", "customer"),
        ("alias", 3, "visitor", "email"),
    ]
    assert [(event.name, event.customer_key) for event in row.events] == [("alias", CUSTOMER)]


def test_an_unsigned_alias_is_a_hint() -> None:
    """Two level 1 claims: nobody is merged by what a browser says."""
    names = [{"k": "customer", "v": "4711"}, {"k": "email", "v": "joe@shop.example"}]
    _, row = take(make_body(make_event(1, n="alias", k=names)))
    assert [(e.kind, e.level) for e in row.evidence] == [("alias", 1), ("alias", 1)]
    assert row.events[0].customer_key == NIL_ID


@pytest.mark.parametrize(
    ("names", "reason", "field"),
    [
        ([], "shape", "e[0].k"),
        ([{"k": "customer", "v": "guest"}], "blocked", "e[0].k[0]"),
        ([{"k": "loyalty", "v": "1"}, {"k": "visitor", "v": VISITOR}], "shape", "e[0].k[0]"),
    ],
)
def test_an_alias_of_nobody_goes(names: list[dict[str, str]], reason: str, field: str) -> None:
    """As an identify does; the other events stay."""
    _, row = take(make_body(make_event(1, n="alias", k=names), make_event(2)))
    assert [(r.reason, r.field) for r in row.rejected] == [(reason, field)]
    assert [event.name for event in row.events] == ["page_view"]


def test_a_claim_without_a_visitor_names_no_person() -> None:
    """Whoever sends a beacon without a visitor cannot put events on a customer's account by naming it; a signature
    can."""
    claim = make_event(1, n="identify", k=[{"k": "customer", "v": "4711"}])
    _, row = take(make_body(claim, d=None))
    assert (row.own_person_id, row.evidence) == (NIL_ID, [])
    _, row = take(make_body({**claim, "k": [{"k": "customer", "v": "4711", "g": sign("4711")}]}, d=None))
    assert row.own_person_id == CUSTOMER


def test_a_group_is_an_event_with_properties() -> None:
    """Kind, id and traits are kept as they were sent; that the visitor is of it is a relation, and ties nobody."""
    props = {"group_kind": "company", "group_id": "acme", "traits": {"seats": 12}}
    answer, row = take(make_body(make_event(1, n="group", p=props)))
    assert msgspec.json.decode(row.events[0].props) == props
    assert (row.events[0].name, answer.reasons) == ("group", ())
    [evidence] = row.evidence
    assert (evidence.kind, evidence.level, evidence.a_kind, evidence.a_value) == ("group", 1, "visitor", row.visitor_id)
    assert (evidence.b_kind, evidence.b_value, evidence.source) == ("group", "company:acme", "tag")


@pytest.mark.parametrize("group_id", [None, 7, "", "null", "undefined", "joe@shop.example", "x" * 600])
def test_a_group_that_names_none_is_no_relation(group_id: object) -> None:
    """The event is kept; what is no group's id, or somebody's address, ties not even as a relation."""
    _, row = take(make_body(make_event(1, n="group", p={"group_kind": "company", "group_id": group_id})))
    assert ([event.name for event in row.events], row.evidence) == (["group"], [])


def test_a_group_needs_consent_to_identity() -> None:
    """Without it nobody is related to anything."""
    _, row = take(make_body(make_event(1, n="group", p={"group_kind": "company", "group_id": "acme"}), c="a"))
    assert row.evidence == []


def test_a_late_page_view_is_not_given_somebody_elses_login() -> None:
    """What was kept while the network was away comes after a sign-out, with the cookies of whoever signed in since."""
    earlier, later = make_id(1, NOW_MS - 3_600_000), make_id(2, NOW_MS - 60_000)
    cookies = {
        "__Host-ts_shop": write_cookie(KEYRING, "shop", VisitorCookie(later, NOW_S - 50)),
        "sid": f"4712|{sign('4712')}",
    }
    body = make_body(make_event(t=NOW_MS - 1_800_000), d=earlier)
    _, row = take(body, make_context(site=CAPTURING, cookies=cookies))
    assert (row.visitor_id, said(row)) == (earlier, [])
