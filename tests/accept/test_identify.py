"""Who the visitor says it is: signatures, links, evidence, and the assurance on every event."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collector.accept.assurance import LINK_S
from collector.accept.evidence import UNPROVED_LATE_MS
from collector.accept.visitor_cookie import VisitorCookie, read_cookie, write_cookie
from collector.event import NIL_ID, LandingRow
from collector.identity.identifiers import make_pseudonym, own_person_id
from collector.links.minting import mint_link
from collector.sites.book import DEFAULT_KINDS, IdentifierKind
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
    sign,
    take,
)

CUSTOMER = own_person_id(KEYRING.pseudonym_key, "main", "customer", "4711")
OTHER_CUSTOMER = own_person_id(KEYRING.pseudonym_key, "main", "customer", "4712")
HOURS_12 = 12 * 3600


def _identify(number: int = 10, value: str = "4711", kind: str = "customer", **changes: Any) -> dict[str, Any]:
    return make_event(number, n="identify", k=[{"k": kind, "v": value, **changes}])


def _states(row: LandingRow) -> list[tuple[str, int, str]]:
    return [(event.name, event.assurance, event.customer_key) for event in row.events]


def _cookie(level: int = 3, *, until_s: int = NOW_S + 3600, customer: str = CUSTOMER) -> dict[str, str]:
    cookie = VisitorCookie(VISITOR, NOW_S - 7200, level, until_s, customer)
    return {"__Host-ts_shop": write_cookie(KEYRING, "shop", cookie)}


# --- identify ------------------------------------------------------------------------------------------------


def test_an_unsigned_identify_is_a_claim() -> None:
    """Without signature the evidence has level 1, and no event is given to the customer."""
    answer, row = take(make_body(_identify(), make_event(11)))
    [evidence] = row.evidence
    assert (evidence.kind, evidence.level, evidence.source, evidence.proof) == ("identify", 1, "tag", "fresh")
    assert (evidence.a_kind, evidence.a_value, evidence.a_key) == ("visitor", VISITOR, row.own_person_id)
    assert (evidence.b_kind, evidence.b_value, evidence.b_key, evidence.b_unique) == ("customer", "4711", CUSTOMER, 1)
    assert _states(row) == [("identify", 0, NIL_ID), ("page_view", 0, NIL_ID)]
    assert answer.set_cookie is not None
    assert ".0.0.." in answer.set_cookie


def test_a_signed_identify_is_in_force_from_its_own_moment() -> None:
    """Events before it in the beacon keep the earlier state; it and those after it have level 3 and the customer."""
    answer, row = take(make_body(make_event(9), _identify(g=sign("4711")), make_event(11)))
    assert row.evidence[0].level == 3
    assert _states(row) == [("page_view", 0, NIL_ID), ("identify", 3, CUSTOMER), ("page_view", 3, CUSTOMER)]
    assert read_cookie(KEYRING, "shop", answer.set_cookie or "", NOW_S) == VisitorCookie(
        VISITOR, NOW_S, 3, NOW_S + HOURS_12, CUSTOMER
    )


def test_the_cookie_carries_the_sign_in_on() -> None:
    """Later beacons have the level that the cookie says, until its time is over."""
    _, row = take(make_body(), make_context(cookies=_cookie()))
    assert _states(row) == [("page_view", 3, CUSTOMER)]
    answer, row = take(make_body(), make_context(cookies=_cookie(until_s=NOW_S - 1)))
    assert _states(row) == [("page_view", 0, NIL_ID)]
    assert read_cookie(KEYRING, "shop", answer.set_cookie or "", NOW_S) == VisitorCookie(VISITOR, NOW_S - 7200)


def test_late_events_from_before_the_sign_in_are_not_the_customers() -> None:
    """An event that happened before the sign-in that the cookie tells of gets no part of it."""
    signed_in_s = NOW_S - 600
    cookies = _cookie(until_s=signed_in_s + HOURS_12)
    _, row = take(make_body(make_event(1, t=NOW_MS - 900_000), make_event(2)), make_context(cookies=cookies))
    assert _states(row) == [("page_view", 0, NIL_ID), ("page_view", 3, CUSTOMER)]


def test_a_sign_in_in_the_first_beacon_of_a_visitor_is_as_good_as_its_cookie() -> None:
    """The answer sets it, as it would for anybody who named that id today. For an older id, or where nothing is set,
    the script's word stays the script's; what is said again with the cookie is evidence of its own."""
    body = make_body(_identify(g=sign("4711")))
    old = make_body(_identify(g=sign("4711")), d=make_id(1, NOW_MS - 2 * 86_400_000))
    rows = [
        take(body)[1],
        take(old)[1],
        take(body, make_context(may_set_visitor=False))[1],
        take(body, make_context(cookies=_cookie(0)))[1],
    ]
    assert [row.evidence[0].proof for row in rows] == ["fresh", "script", "script", "cookie"]
    ids = [row.evidence[0].evidence_id for row in rows]
    assert ids[0] == ids[2] != ids[3]


def test_who_only_knows_a_visitor_id_cannot_sign_in_in_the_past() -> None:
    """A sign-in without the visitor's cookie begins when it arrives; the week before it stays where it was."""
    event = {**_identify(g=sign("4711")), "t": NOW_MS - 6 * 86_400_000}
    _, row = take(make_body(event))
    assert (row.evidence[0].proof, row.evidence[0].time_ms) == ("fresh", NOW_MS - UNPROVED_LATE_MS)
    _, row = take(make_body(event), make_context(cookies=_cookie(0)))
    assert (row.evidence[0].proof, row.evidence[0].time_ms) == ("cookie", event["t"])
    _, row = take(make_body({**event, "t": NOW_MS - 1000}))
    assert row.evidence[0].time_ms == NOW_MS - 1000, "an honest one keeps its own moment"


def test_an_identify_that_was_queued_for_long_ends_in_its_own_time() -> None:
    """Twelve hours count from the sign-in, not from its arrival."""
    event = {**_identify(g=sign("4711")), "t": NOW_MS - 13 * 3_600_000}
    answer, row = take(make_body(event, make_event(11)))
    assert [(name, level) for name, level, _ in _states(row)] == [("identify", 3), ("page_view", 0)]
    assert ".0.0.." in (answer.set_cookie or "")


def test_another_customer_switches() -> None:
    """A second signed identify replaces the first from there on."""
    _, row = take(
        make_body(
            _identify(10, "4711", g=sign("4711")), make_event(11), _identify(12, "4712", g=sign("4712")), make_event(13)
        )
    )
    assert [key for _, _, key in _states(row)] == [CUSTOMER, CUSTOMER, OTHER_CUSTOMER, OTHER_CUSTOMER]


@pytest.mark.parametrize(
    ("signature", "value", "reason"),
    [
        (sign("4712"), "4711", "signature"),
        (sign("4711", "email"), "4711", "signature"),
        (sign("4711")[:-1] + "x", "4711", "signature"),
        (sign("4711").upper(), "4711", "signature"),
        ("2.1795003600", "4711", "signature"),
        ("", "4711", ""),
        ("x" * 256, "4711", "signature"),
        (sign("4711", version=3), "4711", "signature"),
        (sign("4711", expires_s=NOW_S - 61), "4711", "expired"),
        (sign("4711", expires_s=NOW_S - 59), "4711", ""),
        (sign("4711", version=1), "4711", ""),
        (sign(" 4711"), "4711", "signature"),
        (sign(" 4711 "), " 4711 ", ""),
    ],
)
def test_signatures(signature: str, value: str, reason: str) -> None:
    """A bad signature is worse than none: the event is refused. The value is signed as the page sends it."""
    answer, row = take(make_body(_identify(value=value, g=signature), make_event(11)))
    if reason:
        assert [r.reason for r in row.rejected] == [reason]
        assert row.evidence == []
        assert [event.name for event in row.events] == ["page_view"]
        assert answer.reasons == (reason,)
    else:
        assert row.rejected == []
        assert row.evidence[0].b_value == "4711"


def test_a_site_may_want_signatures_only() -> None:
    """Where the site says so an unsigned identify is refused."""
    site = msgspec.structs.replace(SITE, identify="signed")
    _, row = take(make_body(_identify(), make_event(11)), make_context(site=site))
    assert [(r.reason, r.field) for r in row.rejected] == [("unsigned", "e[0].k[0]")]
    _, row = take(make_body(_identify(g=sign("4711"))), make_context(site=site))
    assert row.rejected == []


def test_personal_values_are_stored_as_pseudonyms() -> None:
    """An e-mail address is never in the line, in no spelling; equal ones have the same pseudonym."""
    answer, row = take(make_body(_identify(value=" Joe.Doe@Shop.Example ", kind="email")))
    [evidence] = row.evidence
    assert evidence.b_value == make_pseudonym(KEYRING.personal_keys[0], "main", "email", "joe.doe@shop.example")
    assert evidence.b_key == own_person_id(KEYRING.pseudonym_key, "main", "email", evidence.b_value)
    assert b"joe" not in answer.line.lower()


def test_one_bad_identifier_does_not_cost_the_others() -> None:
    """Of several identifiers each is judged alone; the event stays while one of them stands."""
    event = make_event(
        10, n="identify", k=[{"k": "customer", "v": "4711", "g": sign("4711")}, {"k": "email", "v": "null"}]
    )
    _, row = take(make_body(event))
    assert [(r.reason, r.field, r.events) for r in row.rejected] == [("blocked", "e[0].k[1]", 1)]
    assert [e.b_kind for e in row.evidence] == ["customer"]
    assert [e.name for e in row.events] == ["identify"]


def test_the_strongest_signed_key_names_the_customer() -> None:
    """Of several signed identifiers the unique one of the highest priority stands on the events."""
    kinds = (*DEFAULT_KINDS, IdentifierKind("login", unique=True, priority=5))
    site = msgspec.structs.replace(SITE, kinds=kinds)
    event = make_event(
        10,
        n="identify",
        k=[
            {"k": "email", "v": "joe@shop.example", "g": sign("joe@shop.example", "email")},
            {"k": "login", "v": "joe", "g": sign("joe", "login")},
            {"k": "customer", "v": "4711", "g": sign("4711")},
        ],
    )
    _, row = take(make_body(event), make_context(site=site))
    assert _states(row) == [("identify", 3, CUSTOMER)]
    assert [e.level for e in row.evidence] == [3, 3, 3]
    assert len({e.evidence_id for e in row.evidence}) == 3


def test_without_a_visitor_identifiers_are_tied_to_each_other() -> None:
    """A beacon without visitor ties the first identifier to the others, at the lower of both levels."""
    event = make_event(
        10, n="identify", k=[{"k": "customer", "v": "4711", "g": sign("4711")}, {"k": "email", "v": "j@x.example"}]
    )
    _, row = take(make_body(event, d=None))
    [evidence] = row.evidence
    assert (evidence.a_kind, evidence.a_key, evidence.b_kind, evidence.level) == ("customer", CUSTOMER, "email", 1)
    assert row.own_person_id == CUSTOMER


def test_evidence_says_where_it_comes_from() -> None:
    """Session, consent, event and proof stand on the evidence, so that it explains itself later."""
    _, row = take(make_body(_identify(), x={"i": OTHER_VISITOR, "n": 3, "t": NOW_MS - 60_000}, o=1000))
    [evidence] = row.evidence
    assert evidence.event_id == row.events[0].event_id
    assert (evidence.time_ms, evidence.session_id) == (NOW_MS + 1000, OTHER_VISITOR)
    assert evidence.session_started_ms == NOW_MS - 59_000
    assert evidence.consent == "analytics,fingerprint,identity,marketing,personalisation"


def test_other_words_under_the_same_event_id_are_other_evidence() -> None:
    """Nobody can put another claim under the id of evidence that stands."""
    _, first = take(make_body(_identify()))
    _, second = take(make_body(_identify(value="4712")))
    _, signed = take(make_body(_identify(g=sign("4711"))))
    _, other = take(make_body(_identify(), d=OTHER_VISITOR))
    assert len({row.evidence[0].evidence_id for row in (first, second, signed, other)}) == 4


# --- reset ---------------------------------------------------------------------------------------------------


def test_a_reset_ends_the_sign_in_and_is_evidence() -> None:
    """From the sign-out on nobody is known, and the boundary names the visitor before, proved by its cookie."""
    answer, row = take(
        make_body(make_event(10, n="reset"), make_event(11), d=OTHER_VISITOR, rf=VISITOR),
        make_context(cookies=_cookie()),
    )
    assert _states(row) == [("reset", 0, NIL_ID), ("page_view", 0, NIL_ID)]
    [evidence] = row.evidence
    before = own_person_id(KEYRING.pseudonym_key, "main", "visitor", VISITOR)
    assert (evidence.kind, evidence.a_value, evidence.b_value) == ("reset", OTHER_VISITOR, VISITOR)
    assert (evidence.a_key, evidence.b_key, evidence.proof) == (row.own_person_id, before, "cookie")
    assert read_cookie(KEYRING, "shop", answer.set_cookie or "", NOW_S) == VisitorCookie(OTHER_VISITOR, NOW_S)


def test_a_reset_without_proof_says_so() -> None:
    """Whoever names somebody else's visitor in `rf` has proved nothing."""
    _, row = take(make_body(make_event(10, n="reset"), d=OTHER_VISITOR, rf=VISITOR))
    assert row.evidence[0].proof == "script"


def test_a_reset_that_keeps_the_id_is_a_boundary_on_itself() -> None:
    """Without `rf` the visitor's own history is cut."""
    answer, row = take(make_body(make_event(10, n="reset"), make_event(11)), make_context(cookies=_cookie()))
    [evidence] = row.evidence
    assert evidence.a_key == evidence.b_key == row.own_person_id
    assert (evidence.proof, _states(row)[-1]) == ("cookie", ("page_view", 0, NIL_ID))
    assert ".0.0.." in (answer.set_cookie or "")


# --- links ---------------------------------------------------------------------------------------------------


def _token(value: str = "4711", **changes: Any) -> str:
    return mint_link(KEYRING, value, **{"now_s": NOW_S - 60, "campaign": "spring", "message": "m1", **changes})


def _confirm(number: int = 20) -> dict[str, Any]:
    return make_event(number, n="link_confirm")


def test_a_link_alone_attaches_nothing() -> None:
    """The landing page view says which link it came from; without a human signal there is no evidence."""
    _, row = take(make_body(lt=_token()))
    assert (row.link_status, row.link_campaign, row.link_message) == ("unconfirmed", "spring", "m1")
    assert row.link_token_id
    assert (row.evidence, _states(row)) == ([], [("page_view", 0, NIL_ID)])


@pytest.mark.parametrize("human", ["pointer", "key", "touch", "dwell"])
def test_a_human_signal_confirms_the_link(human: str) -> None:
    """The confirmation is evidence of level 2 and in force for half an hour."""
    answer, row = take(make_body(_confirm(), make_event(21), lt=_token(), hs=human))
    [evidence] = row.evidence
    assert (evidence.kind, evidence.level, evidence.source, evidence.human) == ("link", 2, "link", human)
    assert (evidence.token_id, evidence.campaign, evidence.b_key) == (row.link_token_id, "spring", CUSTOMER)
    assert row.link_status == "confirmed"
    assert _states(row) == [("link_confirm", 2, CUSTOMER), ("page_view", 2, CUSTOMER)]
    assert read_cookie(KEYRING, "shop", answer.set_cookie or "", NOW_S) == VisitorCookie(
        VISITOR, NOW_S, 2, NOW_S + LINK_S, CUSTOMER
    )


@pytest.mark.parametrize("human", ["", "scroll", "POINTER"])
def test_no_human_signal_no_confirmation(human: str) -> None:
    """Only the listed signals count as human."""
    _, row = take(make_body(_confirm(), lt=_token(), hs=human))
    assert (row.link_status, row.evidence) == ("unconfirmed", [])


def test_automation_never_counts() -> None:
    """An automated browser's signals confirm nothing, unless the site counts automation."""
    body = make_body(_confirm(), lt=_token(), hs="pointer", b=1)
    _, row = take(body)
    assert (row.link_status, row.evidence, row.is_bot) == ("bot", [], 1)
    _, row = take(body, make_context(site=msgspec.structs.replace(SITE, count_automated=True)))
    assert (row.link_status, len(row.evidence)) == ("confirmed", 1)


def test_a_link_does_not_weaken_a_sign_in() -> None:
    """While somebody is signed in a link is evidence, and changes no event and no cookie."""
    answer, row = take(make_body(_confirm(), lt=_token("4712"), hs="key"), make_context(cookies=_cookie()))
    assert row.evidence[0].b_key == OTHER_CUSTOMER
    assert _states(row) == [("link_confirm", 3, CUSTOMER)]
    assert answer.set_cookie is None


def test_a_link_in_force_ends_after_half_an_hour() -> None:
    """Level 2 in the cookie holds for half an hour from the confirmation."""
    cookies = _cookie(2, until_s=NOW_S + 60)
    _, row = take(make_body(make_event(1), make_event(2, t=NOW_MS + 120_000)), make_context(cookies=cookies))
    assert [level for _, level, _ in _states(row)] == [2, 0]


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (_token(now_s=NOW_S - 100 * 86_400), "expired"),
        (_token()[:-6] + "AAAAAA", "forged"),
        (_token(now_s=NOW_S + 3600), "early"),
        ("b2c4.abc.def", "forged"),
        ("x" * 5000, "forged"),
        (_token(space_id="elsewhere"), "forged"),
        (_token(identifier_kind=IdentifierKind("loyalty")), "forged"),
    ],
)
def test_links_that_do_not_count(token: str, status: str) -> None:
    """An expired, changed or foreign token is marked and attaches nobody."""
    _, row = take(make_body(_confirm(), lt=token, hs="pointer"))
    assert (row.link_status, row.evidence) == (status, [])
    assert _states(row) == [("link_confirm", 0, NIL_ID)]


def test_the_token_is_not_in_the_line() -> None:
    """A bearer token is never written; its id is."""
    token = _token()
    answer, _ = take(make_body(_confirm(), lt=token, hs="pointer", u=f"https://shop.example/?lt={token}"))
    assert token.encode() not in answer.line
    assert token.rpartition(".")[2].encode() not in answer.line


# --- fingerprint ---------------------------------------------------------------------------------------------


def test_signals_become_a_fingerprint_and_are_not_kept() -> None:
    """The row has the versioned fingerprint; no raw signal is written."""
    signals = {"canvas": "9f3a", "audio": 124.043, "fonts": ["Arial Black"], "platform": "Linux x86_64", "math": "ab"}
    answer, row = take(make_body(make_event(1, n="fingerprint"), f={"v": 1, "s": signals}))
    assert (row.fingerprint[:3], row.fingerprint_version) == ("v1.", 1)
    assert b"Arial Black" not in answer.line
    _, row = take(make_body(f={"v": 1, "s": {"canvas": {"error": "noise"}}}))
    assert (row.fingerprint, row.fingerprint_version) == ("", 0)
