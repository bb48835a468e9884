"""An identify with a token: who is signed in by it, and what the page may say besides."""

from __future__ import annotations

from typing import Any

import jwt
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.accept.pipeline import Accepted, Refused, accept
from collector.accept.visitor_cookie import read_cookie, write_cookie
from collector.event import NIL_ID, LandingRow
from collector.id_tokens.key_sets import read_key_set
from collector.id_tokens.keys import KeyBook, Source
from collector.identity.identifiers import make_pseudonym, own_person_id
from collector.sites.book import Issuer, Site
from tests.edge_examples import KEYRING, NOW_MS, NOW_S, SITE, make_body, make_context, make_event, take
from tests.id_tokens.token_makers import AUDIENCE, DOCUMENT, ISSUER, make_claims, make_token

CUSTOMER = own_person_id(KEYRING.pseudonym_key, "main", "customer", "4711")
WITH_ISSUER = msgspec.structs.replace(SITE, issuers=(Issuer(ISSUER, AUDIENCE),), identify="signed")
ANY = msgspec.structs.replace(WITH_ISSUER, identify="any")
KEYS = KeyBook({Source(ISSUER): read_key_set(DOCUMENT, NOW_MS)})


def identify(token: str, *, value: str = "", kind: str = "customer", keys: KeyBook | None = KEYS) -> LandingRow:
    """Send an identify with a token, and a page view behind it."""
    event = make_event(1, n="identify", k=[{"k": kind, "v": value, "j": token}])
    answer, row = take(make_body(event, make_event(2)), make_context(site=WITH_ISSUER, issuer_keys=keys))
    assert token.encode() not in answer.line
    assert token.rpartition(".")[2].encode() not in answer.line
    return row


def site_token(**changes: Any) -> str:
    """Return a token of the site's own."""
    claims = {"iss": "shop", "sub": "4711", "exp": NOW_S + 3600, **changes}
    return jwt.encode(claims, KEYRING.derive_identify_secret("shop", 2), "HS256")


def test_an_id_token_signs_in() -> None:
    """Level 3 from that moment on, on a site that takes nothing unsigned; the evidence says who vouched."""
    row = identify(make_token())
    [evidence] = row.evidence
    assert (evidence.kind, evidence.level, evidence.b_kind, evidence.b_value) == ("identify", 3, "customer", "4711")
    assert (evidence.source, evidence.actor) == ("tag", ISSUER)
    assert [(e.name, e.assurance, e.customer_key) for e in row.events] == [
        ("identify", 3, CUSTOMER),
        ("page_view", 3, CUSTOMER),
    ]


def test_a_token_of_the_sites_own_signs_in() -> None:
    """The same, vouched for by the site; a personal kind is stored as a pseudonym."""
    [evidence] = identify(site_token()).evidence
    assert (evidence.level, evidence.b_value, evidence.actor) == (3, "4711", "")
    [evidence] = identify(site_token(sub="Joe@Shop.Example", kind="email"), kind="email").evidence
    assert evidence.b_value == make_pseudonym(KEYRING.personal_keys[0], "main", "email", "joe@shop.example")


@pytest.mark.parametrize(("value", "stands"), [("", True), ("4711", True), (" 4711 ", True), ("4712", False)])
def test_the_page_may_say_the_same_value_only(value: str, stands: bool) -> None:
    """A value beside the token must be the token's."""
    row = identify(make_token(), value=value)
    assert [r.reason for r in row.rejected] == ([] if stands else ["signature"])
    assert [e.b_value for e in row.evidence] == (["4711"] if stands else [])


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (make_token(make_claims(exp=NOW_S - 100)), "expired"),
        (make_token(make_claims(aud="x")), "signature"),
        (make_token(make_claims(sub="guest")), "blocked"),
        (make_token(make_claims(sub="x" * 600)), "shape"),
        ("x.y.z", "signature"),
        ("x" * 9000, "size"),
    ],
)
def test_a_token_that_does_not_count_costs_the_identify(token: str, reason: str) -> None:
    """Refused with its reason; the page view stays, of nobody."""
    row = identify(token)
    assert [(r.reason, r.field) for r in row.rejected] == [(reason, "e[0].k[0]")]
    assert [(e.name, e.customer_key) for e in row.events] == [("page_view", NIL_ID)]
    assert row.evidence == []


def send(
    keys: KeyBook | None, site: Site, *, value: str = "", now_ms: int = NOW_MS, is_heard: bool = True
) -> Accepted | Refused:
    """Send an identify with a good token by an issuer whose keys are as said, and a page view behind it."""
    event = make_event(1, n="identify", k=[{"k": "customer", "v": value, "j": make_token()}])
    context = make_context(site=site, issuer_keys=keys)
    context = msgspec.structs.replace(context, received_at_ms=now_ms, is_heard=is_heard)
    return accept(msgspec.json.encode(make_body(event, make_event(2))), context)


def test_while_the_issuer_is_asked_the_beacon_shall_come_again() -> None:
    """Once, as a whole: 503 with the seconds, so that the sign-in is not lost. Nothing of it is kept."""
    keys = KeyBook()
    refused = send(keys, WITH_ISSUER)
    assert isinstance(refused, Refused)
    assert (refused.rejected.reason, refused.rejected.field, refused.rejected.retry_after_s) == ("keys", "e[0].k[0]", 3)
    keys.sets = KEYS.sets
    answer = send(keys, WITH_ISSUER, now_ms=NOW_MS + 3000)
    assert isinstance(answer, Accepted)
    assert (answer.reasons, msgspec.json.decode(answer.line, type=LandingRow).evidence[0].level) == ((), 3)


@pytest.mark.parametrize("value", ["", "4711", "4712"])
def test_a_token_that_cannot_be_verified_counts_as_unsigned(value: str) -> None:
    """Where the issuer does not answer in time, or nobody asks it: a claim (level 1) with a note. The token's word for
    who it is counts no more than the page's, so they must agree."""
    keys = KeyBook()
    assert isinstance(send(keys, ANY, value=value), Refused)
    for answer in (send(keys, ANY, value=value, now_ms=NOW_MS + 3000), send(None, ANY, value=value)):
        assert isinstance(answer, Accepted)
        row = msgspec.json.decode(answer.line, type=LandingRow)
        if value == "4712":
            assert [(r.reason, r.field) for r in row.rejected] == [("signature", "e[0].k[0]")]
            assert row.evidence == []
            continue
        assert [(r.reason, r.field, r.events) for r in row.rejected] == [("unverified", "e[0].k[0].j", 0)]
        [evidence] = row.evidence
        assert (evidence.level, evidence.b_value, evidence.actor, evidence.token_id) == (1, "4711", "", "")
        assert [(event.name, event.assurance) for event in row.events] == [("identify", 0), ("page_view", 0)]


def test_who_does_not_hear_the_answer_is_not_asked_to_come_again() -> None:
    """What a browser sends as a page is left would be lost: it counts as unsigned at once, and the issuer is asked."""
    keys = KeyBook()
    answer = send(keys, ANY, is_heard=False)
    assert isinstance(answer, Accepted)
    assert (answer.events, answer.reasons) == (2, ("unverified",))
    assert keys.take_wanted() == {Source(ISSUER)}


def test_where_claims_are_refused_so_is_a_token_that_cannot_be_verified() -> None:
    """A site that wants signed identifies gets none."""
    answer = send(None, WITH_ISSUER)
    assert isinstance(answer, Accepted)
    row = msgspec.json.decode(answer.line, type=LandingRow)
    assert [(r.reason, r.field, r.events) for r in row.rejected] == [("unverified", "e[0].k[0]", 1)]
    assert (row.evidence, [event.name for event in row.events]) == ([], ["page_view"])


def test_a_token_that_would_not_count_anyway_asks_nobody() -> None:
    """Expired, or for somebody else: its reason at once, and no question to the issuer."""
    keys = KeyBook()
    for claims, reason in (({"exp": NOW_S - 100}, "expired"), ({"aud": "x"}, "signature"), ({"sub": ""}, "signature")):
        row = identify(make_token(make_claims(**claims)), keys=keys)
        assert [r.reason for r in row.rejected] == [reason]
    assert keys.take_wanted() == set()


def test_several_factors_hold_as_long_as_the_sign_in() -> None:
    """From the token to its event, to those after it, into the cookie and out of it; the next sign-in decides anew."""
    event = make_event(
        1, n="identify", k=[{"k": "customer", "v": "", "j": make_token(make_claims(amr=["pwd", "otp"]))}]
    )
    answer, row = take(make_body(make_event(3), event, make_event(2)), make_context(site=WITH_ISSUER, issuer_keys=KEYS))
    assert [(e.name, e.assurance, e.mfa) for e in row.events] == [
        ("page_view", 0, 0),
        ("identify", 3, 1),
        ("page_view", 3, 1),
    ]
    assert [e.verification for e in row.evidence] == ["otp pwd"]
    assert answer.set_cookie
    cookie = read_cookie(KEYRING, "shop", answer.set_cookie, NOW_S)
    assert cookie is not None
    assert (cookie.level, cookie.mfa) == (3, True)
    assert write_cookie(KEYRING, "shop", cookie) == answer.set_cookie
    cookies = {"__Host-ts_shop": answer.set_cookie}
    _, row = take(make_body(make_event(4)), make_context(site=WITH_ISSUER, cookies=cookies, secure=True))
    assert [(e.assurance, e.mfa) for e in row.events] == [(3, 1)]
    plain = make_event(5, n="identify", k=[{"k": "customer", "v": "", "j": site_token()}])
    context = make_context(site=WITH_ISSUER, cookies=cookies, secure=True)
    assert [e.mfa for e in take(make_body(plain), context)[1].events] == [0]


def test_a_kind_that_the_site_does_not_know_is_refused() -> None:
    """An issuer for a kind that was never declared ties nobody."""
    site = msgspec.structs.replace(SITE, issuers=(Issuer(ISSUER, AUDIENCE, kind="loyalty"),))
    event = make_event(1, n="identify", k=[{"k": "customer", "v": "", "j": make_token()}])
    _, row = take(make_body(event), make_context(site=site, issuer_keys=KEYS))
    assert [r.reason for r in row.rejected] == ["shape"]


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries(
        {"k": st.text(max_size=20), "v": st.text(max_size=40)},
        optional={
            "j": st.text(max_size=300) | st.sampled_from([make_token(), site_token()]),
            "g": st.text(max_size=200),
            "o": st.text(max_size=10) | st.sampled_from(["param", "js"]),
        },
    ),
    st.sampled_from(["identify", "alias", "page_view", "group"]),
    st.text(max_size=120),
    st.text(max_size=60),
)
def test_whatever_comes_gets_an_answer(name: dict[str, str], event: str, handover: str, referrer: str) -> None:
    """Identifiers, tokens and hand-overs of any kind: the beacon is kept."""
    body = make_body(make_event(1, n=event, k=[name]), make_event(2), ho=handover, r=referrer, xl=1)
    answer = accept(msgspec.json.encode(body), make_context(site=WITH_ISSUER, issuer_keys=KEYS))
    assert isinstance(answer, Accepted)
