"""From one domain to another: who gets a token, who may arrive with it, and what is written then."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collector.accept.evidence import UNPROVED_LATE_MS
from collector.accept.pipeline import Accepted
from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.event import NIL_ID, Context, LandingRow
from collector.handover import mint_handover, read_handover
from collector.identity.identifiers import own_person_id
from collector.sites.book import Site, SiteBook
from tests.edge_examples import (
    ADDRESS,
    CHROME,
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
    take,
)

OTHER_ORIGIN = "https://outlet.example"
OUTLET = Site("outlet", origins=(OTHER_ORIGIN,), consent="off", identify_versions=(1,))
FOREIGN = Site("foreign", space_id="elsewhere", origins=("https://foreign.example",), consent="off")
GONE = Site("gone", origins=("https://gone.example",), deleted=True)
BOOK = SiteBook(sites={site.site_id: site for site in (SITE, OUTLET, FOREIGN, GONE)}, read_at_ms=NOW_MS)
LEFT_KEY = own_person_id(KEYRING.pseudonym_key, "main", "visitor", VISITOR)
OLD_VISITOR = make_id(7, NOW_MS - 40 * 86_400_000)


def facts(**changes: Any) -> Context:
    """Return the facts of a request on the outlet's page."""
    return make_context(**{"sites": BOOK, "origin": OTHER_ORIGIN, **changes})


def cookie_of(visitor: str, site: str) -> dict[str, str]:
    """Return the visitor cookie as a browser sends it."""
    return {f"__Host-ts_{site}": write_cookie(KEYRING, site, VisitorCookie(visitor, NOW_S - 60))}


def mint(now_s: int = NOW_S - 20, visitor: str = VISITOR, space: str = "main", **changes: Any) -> str:
    """Return a token for a visitor of the shop."""
    bound = {"address": ADDRESS, "user_agent": CHROME, **changes}
    return mint_handover(KEYRING, space, visitor, now_s=now_s, session_started_s=NOW_S - 600, **bound) or ""


def arrive(context: Context | None = None, **changes: Any) -> tuple[Accepted, LandingRow]:
    """Send the first beacon of a visitor that came to the outlet from the shop."""
    body = {"s": "outlet", "d": OTHER_VISITOR, "u": f"{OTHER_ORIGIN}/", "r": f"{ORIGIN}/", "ho": mint(), **changes}
    return take(make_body(**body), context or facts())


def reasons(row: LandingRow) -> list[tuple[str, str]]:
    """Return what was refused."""
    return [(rejected.reason, rejected.field) for rejected in row.rejected]


# --- leaving -------------------------------------------------------------------------------------------------


def test_a_fresh_visitor_gets_a_token() -> None:
    """Asked for on the first page already: the cookie is set by this very answer."""
    answer, row = take(make_body(xl=1))
    assert answer.set_cookie
    found = read_handover(KEYRING, "main", answer.handover or "", ADDRESS, CHROME, NOW_S)
    assert found is not None
    assert found[1:] == (VISITOR, NOW_S, row.session_started_ms // 1000)
    assert (answer.handover or "x").encode() not in answer.line


def test_a_visitor_with_its_cookie_gets_a_token() -> None:
    """Of the cookie's visitor, whatever the tag proposes."""
    answer, _ = take(make_body(xl=1, d=OTHER_VISITOR), make_context(cookies=cookie_of(VISITOR, "shop")))
    found = read_handover(KEYRING, "main", answer.handover or "", ADDRESS, CHROME, NOW_S)
    assert found is not None
    assert found.visitor_id == VISITOR == answer.visitor_reply


@pytest.mark.parametrize(
    ("body", "context"),
    [
        ({"xl": None}, {}),
        ({"xl": 0}, {}),
        ({"c": "a"}, {}),
        ({"d": None}, {}),
        ({"d": OLD_VISITOR}, {}),
        ({"b": 1}, {}),
        ({}, {"origin": ""}),
        ({}, {"address": ""}),
        ({}, {"user_agent": ""}),
        ({}, {"user_agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}),
        ({}, {"prefetch": True}),
    ],
)
def test_who_gets_no_token(body: dict[str, Any], context: dict[str, Any]) -> None:
    """Not asked, without consent to identity, without a visitor or its proof, a robot, a program."""
    answer, _ = take(make_body(**{"xl": 1, **body}), make_context(**context))
    assert answer.handover is None


# --- arriving ------------------------------------------------------------------------------------------------


def test_an_arrival_is_evidence_between_two_visitors() -> None:
    """Level 2, from the one that arrived to the one that left; nobody's id changes."""
    answer, row = arrive()
    [evidence] = row.evidence
    assert (evidence.kind, evidence.level, evidence.source, evidence.proof) == ("handover", 2, "link", "fresh")
    assert (evidence.a_kind, evidence.a_value, evidence.a_key) == ("visitor", OTHER_VISITOR, row.own_person_id)
    assert (evidence.b_kind, evidence.b_value, evidence.b_key, evidence.b_unique) == ("visitor", VISITOR, LEFT_KEY, 0)
    assert (evidence.session_id, evidence.session_started_ms) == (NIL_ID, NOW_MS - 600_000)
    assert len(evidence.token_id) == 24
    assert evidence.event_id == row.events[0].event_id
    assert (row.visitor_id, answer.visitor_reply, row.rejected) == (OTHER_VISITOR, None, [])
    assert [event.assurance for event in row.events] == [0]


def test_a_retry_is_the_same_evidence() -> None:
    """The same beacon twice gives the same id; the token's id is that of the token."""
    token = mint()
    first, second = (arrive(ho=token)[1].evidence[0] for _ in range(2))
    assert first == second
    assert arrive(ho=mint())[1].evidence[0].token_id != first.token_id


def test_one_row_for_a_beacon() -> None:
    """However many events it has."""
    body = make_body(
        *(make_event(n) for n in range(1, 5)), s="outlet", d=OTHER_VISITOR, r=f"{ORIGIN}/", ho=mint(), u=OTHER_ORIGIN
    )
    _, row = take(body, facts())
    assert len(row.evidence) == 1
    assert row.evidence[0].event_id == make_id(1)


def test_the_arriving_visitor_may_be_an_old_acquaintance() -> None:
    """Its cookie proves it."""
    cookies = cookie_of(OLD_VISITOR, "outlet")
    _, row = arrive(facts(cookies=cookies), d=OLD_VISITOR)
    assert (row.evidence[0].a_value, row.evidence[0].proof) == (OLD_VISITOR, "cookie")


def test_whoever_has_no_proof_cannot_date_the_arrival_back() -> None:
    """As with a sign-in."""
    _, row = arrive(e=[make_event(1, t=NOW_MS - 3_600_000)])
    assert row.evidence[0].time_ms == NOW_MS - UNPROVED_LATE_MS


@pytest.mark.parametrize(
    ("body", "context"),
    [
        ({"ho": mint(NOW_S - 301)}, {}),
        ({"ho": mint(NOW_S + 61)}, {}),
        ({"ho": mint(visitor=OTHER_VISITOR)}, {}),
        ({"ho": mint(space="elsewhere")}, {}),
        ({"ho": mint()[:-1] + "*"}, {}),
        ({"ho": "x"}, {}),
        ({"ho": "x" * 100_000}, {}),
        ({"ho": VISITOR}, {}),
        ({"r": None}, {}),
        ({"r": "https://mail.example/inbox"}, {}),
        ({"r": "https://foreign.example/"}, {}),
        ({"r": "https://gone.example/"}, {}),
        ({"r": "https://shop.example.evil.example/"}, {}),
        ({"r": "http://shop.example/"}, {}),
        ({"r": "https://["}, {}),
        ({"d": OLD_VISITOR}, {}),
        ({"d": None}, {}),
        ({"b": 1}, {}),
        ({}, {"origin": ""}),
        ({}, {"user_agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}),
    ],
)
def test_arrivals_that_do_not_count(body: dict[str, Any], context: dict[str, Any]) -> None:
    """Too late, of the visitor itself, of another space, forged, without a referrer of ours, an unproved visitor, a
    robot, a program: the token is refused and counted, and the beacon goes on."""
    answer, row = arrive(facts(**context), **body)
    assert row.evidence == []
    assert reasons(row) == [("handover", "ho")]
    assert answer.reasons == ("handover",)
    assert len(row.events) == 1


def test_a_planted_token_does_nothing() -> None:
    """An attacker hands his own visitor over, and sends the link to somebody: another address, or another browser, and
    the token is worth nothing. Even on a page of ours, with a referrer of ours."""
    planted = mint(address="198.51.100.9")
    assert reasons(arrive(ho=planted)[1]) == [("handover", "ho")]
    planted = mint(user_agent=CHROME.replace("Windows NT 10.0", "X11; Linux x86_64"))
    answer, row = arrive(ho=planted)
    assert (reasons(row), row.evidence) == ([("handover", "ho")], [])
    assert (row.visitor_id, answer.visitor_reply) == (OTHER_VISITOR, None)


def test_without_consent_nothing_crosses() -> None:
    """No consent to identity: the token is not read, and not asked for."""
    answer, row = arrive(c="a", xl=1)
    assert (row.evidence, answer.handover) == ([], None)
    assert reasons(row) == [("consent", "ho")]


def test_a_site_of_another_space_is_another_world() -> None:
    """Neither its referrer nor its tokens count, in either direction."""
    token = mint_handover(KEYRING, "elsewhere", VISITOR, ADDRESS, CHROME, NOW_S)
    body = make_body(s="foreign", d=OTHER_VISITOR, u="https://foreign.example/", r=f"{ORIGIN}/", ho=token)
    _, row = take(body, facts(origin="https://foreign.example"))
    assert reasons(row) == [("handover", "ho")]


def test_one_can_go_on_at_once() -> None:
    """Who arrives may ask for a token of its own in the same beacon."""
    answer, row = arrive(xl=1)
    found = read_handover(KEYRING, "main", answer.handover or "", ADDRESS, CHROME, NOW_S)
    assert found is not None
    assert found.visitor_id == OTHER_VISITOR == row.evidence[0].a_value


def test_the_token_is_never_written() -> None:
    """Neither from its field nor from an address."""
    token = mint()
    answer, _ = arrive(ho=token, u=f"{OTHER_ORIGIN}/?_tsh={token}", r=f"{ORIGIN}/?_tsh={token}")
    assert token.encode() not in answer.line
    assert msgspec.json.decode(answer.line)["evidence"]
