"""Calls of servers become lines of the spool: who, what and when; and what is refused says where."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.accept.server_events import AcceptedCalls, Judged, accept_calls
from collector.accept.server_events_call import Call, read_batch, read_call
from collector.accept.server_events_ids import make_event_id, make_visitor_id
from collector.accept.server_events_known import FORGET_S, MOST_CUSTOMERS, KnownCustomers
from collector.accept.server_events_statement import Caller
from collector.event import NIL_ID, EvidenceRow, LandingRow, Rejected
from collector.identity.identifiers import make_pseudonym, own_person_id
from collector.reasons import Reason
from collector.sites.book import DEFAULT_KINDS, IdentifierKind, Site, SiteBook
from tests.edge_examples import ADDRESS, CHROME, KEYRING, NOW_MS, ORIGIN, OTHER_VISITOR, SITE, VISITOR, make_id

AT = "2026-11-18T11:00:00.250Z"
AT_MS = NOW_MS - 399_750
OTHER_SPACE = Site(site_id="elsewhere", space_id="other")
BLOG = Site(site_id="blog", consent="required", identify="signed")
BOOK = SiteBook(sites={"shop": SITE, "blog": BLOG, "elsewhere": OTHER_SPACE}, read_at_ms=NOW_MS)
CALLER = Caller(NOW_MS, BOOK, KEYRING, "main", "shop", make_id=lambda: make_id(700))
TRACKER = replace(CALLER, may_identify=False, may_merge=False)
CALL_CENTRE = replace(CALLER, may_merge=False, actor="key:1a2b")


def make_call(**changes: Any) -> dict[str, Any]:
    """Return a call that is right, as JSON has it. A change to None takes the field away."""
    call = {"type": "track", "event": "Order", "userId": "4711", "messageId": "m-1", "timestamp": AT, **changes}
    return {name: value for name, value in call.items() if value is not None}


def send(*calls: dict[str, Any], caller: Caller = CALLER) -> tuple[AcceptedCalls, list[LandingRow]]:
    """Send calls in one batch."""
    read = read_batch(msgspec.json.encode({"batch": calls}))
    assert not isinstance(read, Rejected)
    outcome = accept_calls(read, caller)
    return outcome, [msgspec.json.decode(line, type=LandingRow) for line in outcome.lines]


def keep(call: dict[str, Any], caller: Caller = CALLER) -> LandingRow:
    """Send a call that must be kept whole, and return its row."""
    outcome, rows = send(call, caller=caller)
    assert (outcome.rejected, outcome.left_out, outcome.refusals, outcome.events) == ([], [], [], 1)
    return rows[0]


def refuse(call: dict[str, Any], caller: Caller = CALLER) -> tuple[Reason, str]:
    """Send a call that must be refused, and return why. The record says the same."""
    outcome, rows = send(call, caller=caller)
    assert rows == []
    (judged,) = outcome.rejected
    (refusal,) = outcome.refusals
    assert (refusal.row.reason, refusal.row.field, refusal.row.events) == (judged.reason, judged.field, 1)
    assert refusal.row.step
    return judged.reason, judged.field


def name_key(value: str, kind: str = "customer") -> str:
    """Return the own person id of an identifier."""
    return own_person_id(KEYRING.pseudonym_key, "main", kind, value)


def summarise(evidence: EvidenceRow) -> tuple[str, int, str, str]:
    """Return what evidence says."""
    return evidence.kind, evidence.level, evidence.a_value, evidence.b_value


# --- what ----------------------------------------------------------------------------------------------------


def test_a_track_call_is_an_event_of_its_customer() -> None:
    """Name, properties, time; level 4; and the evidence that this customer exists."""
    row = keep(make_call(properties={"price": 49.9, "items": [{"sku": "A-1"}]}))
    (event,) = row.events
    assert (event.name, event.time_ms, event.assurance) == ("Order", AT_MS, 4)
    assert msgspec.json.decode(event.props) == {"price": 49.9, "items": [{"sku": "A-1"}]}
    assert (row.visitor_id, row.visitor_proof, row.own_person_id) == (NIL_ID, "server", name_key("4711"))
    assert event.customer_key == name_key("4711")
    (evidence,) = row.evidence
    assert summarise(evidence) == ("server", 4, "4711", "4711")
    assert (evidence.source, evidence.proof, evidence.time_ms) == ("server", "server", AT_MS)
    assert (row.is_bot, row.bot_reason, row.browser, row.network) == (0, "", "", "")


def test_a_page_call_is_a_page_view() -> None:
    """Its address, referrer and title stand where the tag's do; name and category stay properties."""
    call = make_call(
        type="page",
        event=None,
        name="Shoes",
        category="Shop",
        properties={"url": f"{ORIGIN}/shoes?utm_source=x&sid=1#top", "title": "Shoes", "colour": "red"},
        context={"page": {"url": f"{ORIGIN}/other", "referrer": "https://search.example/?q=x"}},
    )
    (event,) = keep(call).events
    assert (event.name, event.url, event.title) == ("page_view", f"{ORIGIN}/shoes?utm_source=x", "Shoes")
    assert event.referrer == "https://search.example/"
    assert msgspec.json.decode(event.props) == {"name": "Shoes", "category": "Shop", "colour": "red"}


@pytest.mark.parametrize(
    ("call", "name", "props"),
    [
        (make_call(type="screen", event=None, name="Home"), "screen_view", {"name": "Home"}),
        (make_call(type="identify", event=None, traits={"plan": "gold"}), "identify", {"plan": "gold"}),
        (make_call(type="alias", event=None, previousId="99"), "alias", {}),
        (
            make_call(type="group", event=None, groupId=7, traits={"size": 3}),
            "group",
            {"group_kind": "company", "group_id": "7", "traits": {"size": 3}},
        ),
    ],
)
def test_other_calls_have_the_tags_names(call: dict[str, Any], name: str, props: dict[str, Any]) -> None:
    """What a tag calls it, a server calls it too, so that reports need not know which it was."""
    (event,) = keep(call).events
    assert (event.name, msgspec.json.decode(event.props)) == (name, props)


def test_texts_are_minimised() -> None:
    """E-mail addresses go from properties, and so does the client's own address."""
    call = make_call(properties={"to": "ann@shop.example", "from": ADDRESS}, context={"ip": ADDRESS})
    row = keep(call)
    assert msgspec.json.decode(row.events[0].props) == {"to": "[removed]", "from": "[removed]"}
    assert b"203.0.113.77" not in msgspec.json.encode(row)


CANARIES = (
    "canary.person@mail.example",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnk",
    "Zk3Jf9Qz1Lm8Tx2Vb7Rc4Wd6Ys5Ng0Hp3",
)


@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize("kind", ["track", "page", "screen", "identify", "group", "alias"])
def test_no_canary_is_kept(kind: str, canary: str) -> None:
    """Not from any field but the customer's own number: neither in lines nor in the record of refusals."""
    url = f"https://{canary}@shop.example/{canary}?utm_source={canary}&q=unlisted#fragment{canary}"
    values: dict[str, Any] = {"plain": f"a {canary} b", canary: canary, "deep": [{canary: [canary]}], "title": canary}
    if kind == "page":
        values["url"] = values["referrer"] = url
    where = {
        "ip": ADDRESS,
        "userAgent": f"{CHROME} {canary}",
        "locale": canary,
        "timezone": canary,
        "page": {"url": url, "referrer": url, "title": canary, "zz": canary},
        "campaign": dict.fromkeys(("name", "source", "medium", "term", "content", "id"), canary),
        "externalIds": [{"type": "email", "id": "canary.person@mail.example"}, {"type": canary[:64], "id": canary}],
        "zz": {"unknown": canary},
    }
    texts = dict.fromkeys(("event", "name", "category", "messageId", "anonymousId", "groupId", "zz"), canary)
    call = make_call(**texts, type=kind, previousId="99", properties=values, traits=values, context=where)
    refused = {**call, "messageId": "other", "timestamp": "2020-01-01T00:00:00Z"}
    unconsented = {**call, "messageId": "more", "context": {**where, "consent": "m"}}
    outcome, rows = send(call, refused, unconsented)
    assert (outcome.events, len(rows), len(outcome.rejected)) == (1, 1, 2)
    kept = b"".join(outcome.lines) + repr((outcome.refusals, outcome.rejected, outcome.left_out)).encode()
    for trace in (canary[:14], canary[-14:], "canary.person", ADDRESS, "unlisted", "fragment"):
        assert trace.encode() not in kept
    assert b"4711" in kept


def test_the_circumstances_are_kept_as_a_tags() -> None:
    """Browser and country by what the call says, the address cut."""
    where = {"ip": ADDRESS, "userAgent": CHROME, "locale": "de_AT", "timezone": "Europe/Vienna", "unknown": {"a": 1}}
    row = keep(make_call(context=where), replace(CALLER, find_country=lambda address: "AT"))
    assert (row.browser, row.os, row.device, row.country, row.network) == (
        "Chrome",
        "Windows",
        "desktop",
        "AT",
        "203.0.113.0/24",
    )
    assert (row.language, row.time_zone) == ("de-AT", "Europe/Vienna")
    assert row.consent == "analytics,identity"


def test_a_robot_is_marked() -> None:
    """What the call says of the browser counts as a browser's own word does."""
    row = keep(make_call(context={"userAgent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}))
    assert (row.is_bot, row.bot_reason) == (1, "spider")


def test_circumstances_that_make_no_sense_are_left_out() -> None:
    """They are named and recorded; the event stays."""
    outcome, [row] = send(make_call(context={"ip": "here", "locale": "?", "timezone": "Mars/"}))
    assert [(judged.reason, judged.field) for judged in outcome.left_out] == [
        (Reason.SHAPE, "context.ip"),
        (Reason.SHAPE, "context.locale"),
        (Reason.SHAPE, "context.timezone"),
    ]
    assert [refusal.row.events for refusal in outcome.refusals] == [0, 0, 0]
    assert (row.network, row.language, row.time_zone, len(row.events)) == ("", "", "", 1)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"{ORIGIN}/a", f"{ORIGIN}/a?utm_campaign=Sale%201&utm_source=mail"),
        (f"{ORIGIN}/a?x=1#b", f"{ORIGIN}/a?utm_campaign=Sale%201&utm_source=mail"),
        (f"{ORIGIN}/a?utm_source=own", f"{ORIGIN}/a?utm_source=own&utm_campaign=Sale%201"),
    ],
)
def test_a_campaign_stands_where_reports_look(url: str, expected: str) -> None:
    """In the address, as utm parameters; what the address says itself stays."""
    where = {"page": {"url": url}, "campaign": {"name": "Sale 1", "source": "mail"}}
    assert keep(make_call(context=where)).events[0].url == expected


def test_a_campaign_without_a_page_is_a_property() -> None:
    """Nothing of it is lost."""
    (event,) = keep(make_call(context={"campaign": {"name": "Sale"}})).events
    assert msgspec.json.decode(event.props) == {"campaign": {"name": "Sale"}}


# --- when, and which -----------------------------------------------------------------------------------------


def test_the_same_call_gives_the_same_row_whenever_it_arrives() -> None:
    """Id, visitor and time are functions of the call, so a retry an hour later has the same key."""
    call = make_call(anonymousId="browser-1")
    later = replace(CALLER, received_at_ms=NOW_MS + 3_600_000)
    first, again = keep(call), keep(call, later)
    assert (first.visitor_id, first.events, first.evidence) == (again.visitor_id, again.events, again.evidence)


@pytest.mark.parametrize(
    ("timestamp", "expected_ms"),
    [
        ("2026-11-18T11:00:00Z", AT_MS - 250),
        ("2026-11-18T12:00:00.250+01:00", AT_MS),
        ("2026-11-18T11:00:00.250999Z", AT_MS),
        ("2026-11-18T11:00:00.250", AT_MS),
    ],
)
def test_times_are_read_to_the_millisecond(timestamp: str, expected_ms: int) -> None:
    """With any offset; without one it is UTC. Parts of a millisecond are cut, the same in every retry."""
    assert keep(make_call(timestamp=timestamp)).events[0].time_ms == expected_ms


def test_sent_at_corrects_nothing() -> None:
    """It changes with every retry, and would make two rows of one event."""
    assert keep(make_call(sentAt="2026-11-18T10:00:00Z")).events[0].time_ms == AT_MS


def test_a_message_id_needs_a_time_of_its_own() -> None:
    """Without one each retry would be another event; a UUIDv7 tells it by itself."""
    assert refuse(make_call(timestamp=None)) == (Reason.SHAPE, "timestamp")
    assert refuse(make_call(timestamp=None, messageId=str(OTHER_SPACE.site_id))) == (Reason.SHAPE, "timestamp")
    row = keep(make_call(timestamp=None, messageId=make_id(5, AT_MS).upper()))
    assert (row.events[0].event_id, row.events[0].time_ms) == (make_id(5, AT_MS), AT_MS)


def test_without_a_message_id_one_is_made_and_told() -> None:
    """The time is then that of the call, or of its arrival."""
    outcome, rows = send(make_call(messageId=None), make_call(messageId="", timestamp=None, userId="8"))
    assert outcome.made_ids == {0: make_id(700)}  # both calls got one id from this clock: the second is refused
    assert outcome.rejected == [Judged(1, Reason.ID, "messageId")]
    assert rows[0].events[0].time_ms == AT_MS
    assert keep_made(make_call(messageId=None, timestamp=None)) == NOW_MS
    assert refuse(make_call(messageId=None), replace(CALLER, make_id=None)) == (Reason.ID, "messageId")


def keep_made(call: dict[str, Any]) -> int:
    """Return the time of an event whose id was made here."""
    outcome, [row] = send(call)
    assert outcome.made_ids == {0: row.events[0].event_id}
    return row.events[0].time_ms


def test_ids_follow_from_texts() -> None:
    """UUIDs are taken; other texts become UUIDs by site and space, which nobody can guess without the key."""
    secret = KEYRING.pseudonym_key
    assert make_event_id(secret, "main", "shop", VISITOR.upper()) == VISITOR
    assert make_event_id(secret, "main", "shop", "m-1") == make_event_id(secret, "main", "shop", "m-1")
    ids = {make_event_id(s, p, i, "m-1") for s, p, i in [(secret, "main", "shop"), (secret, "main", "blog")]}
    ids |= {make_event_id(secret, "other", "shop", "m-1"), make_event_id("x", "main", "shop", "m-1")}
    ids |= {make_visitor_id(secret, "main", "m-1")}
    assert len(ids) == 5
    assert all(text is not None and text[14] == "8" and text[19] in "89ab" for text in ids)
    assert make_event_id(secret, "main", "shop", NIL_ID) is None


def test_ids_never_change() -> None:
    """Rows in the store are found by them."""
    assert make_event_id("secret", "main", "shop", "m-1") == "4713e083-a0b6-81ec-8b6c-7eb38e289591"
    assert make_visitor_id("secret", "main", "m-1") == "98dadda2-c109-8f42-98b6-58b2d520ecb9"


@pytest.mark.parametrize("days", [-7.01, 0.01, 400])
def test_times_out_of_bounds_are_refused(days: float) -> None:
    """A week back, five minutes ahead; an import has bounds of its own."""
    call = make_call(messageId=make_id(5, NOW_MS + int(days * 86_400_000)), timestamp=None)
    assert refuse(call) == (Reason.CLOCK, "timestamp")
    if days < 0:
        assert keep(call, replace(CALLER, oldest_ms=NOW_MS)).events


@pytest.mark.parametrize(
    "timestamp", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00Z"]
)
def test_no_time_is_too_odd(timestamp: str) -> None:
    """The ends of the calendar are refused, not stumbled over."""
    assert refuse(make_call(timestamp=timestamp)) == (Reason.CLOCK, "timestamp")


def test_the_same_call_twice_is_kept_once() -> None:
    """Two different ones under one id are not both kept, and the second is named."""
    outcome, [row] = send(make_call(), make_call(), make_call(timestamp="2026-11-18T11:00:00Z"))
    assert (outcome.events, len(row.events)) == (1, 1)
    assert outcome.rejected == [Judged(2, Reason.ID, "messageId")]


# --- who -----------------------------------------------------------------------------------------------------


def test_an_identify_ties_visitor_and_customers_at_level_4() -> None:
    """A browser's visitor by its UUID; further identifiers by declared kinds, personal ones as pseudonyms."""
    call = make_call(
        type="identify",
        event=None,
        anonymousId=VISITOR,
        context={"externalIds": [{"id": "ann@shop.example", "type": "email"}]},
    )
    row = keep(call)
    assert (row.visitor_id, row.own_person_id) == (VISITOR, name_key(VISITOR, "visitor"))
    e_mail = make_pseudonym(KEYRING.personal_keys[0], "main", "email", "ann@shop.example")
    assert [summarise(evidence) for evidence in row.evidence] == [
        ("identify", 4, VISITOR, "4711"),
        ("identify", 4, VISITOR, e_mail),
    ]
    assert {(evidence.source, evidence.proof) for evidence in row.evidence} == {("server", "server")}
    assert b"ann@" not in msgspec.json.encode(row)


def test_a_servers_word_keeps_its_own_time() -> None:
    """It is not held to its arrival, as a script's word is: else a retry or an import would say something else."""
    old = replace(CALLER, oldest_ms=NOW_MS, source="import")
    call = make_call(anonymousId=VISITOR, timestamp="2019-05-01T00:00:00Z")
    (evidence,) = keep(call, old).evidence
    assert (evidence.time_ms, evidence.source) == (1_556_668_800_000, "import")


def test_customers_without_a_visitor_are_tied_to_the_first() -> None:
    """The event belongs to the customer; the e-mail is the customer's."""
    row = keep(make_call(context={"externalIds": [{"id": "ann@shop.example", "type": "email"}]}))
    assert row.own_person_id == name_key("4711")
    (evidence,) = row.evidence
    assert (evidence.kind, evidence.a_key, evidence.b_key) == (
        "identify",
        name_key("4711"),
        name_key(make_pseudonym(KEYRING.personal_keys[0], "main", "email", "ann@shop.example"), "email"),
    )


def test_a_known_customer_is_not_named_anew() -> None:
    """What is on disk is not said with every event; an earlier time is, and so is whose a visitor is."""
    now_s = [100.0]
    customers = KnownCustomers(lambda: now_s[0])
    caller = replace(CALLER, is_known=customers.has)
    outcome, [row] = send(make_call(), caller=caller)
    assert (len(row.evidence), outcome.lone) == (1, [(name_key("4711"), AT_MS)])
    assert len(keep(make_call(), caller).evidence) == 1  # it was never said to be on disk
    customers.note(outcome.lone)
    again = keep(make_call(messageId="2", timestamp="2026-11-18T11:00:09Z"), caller)
    assert (again.evidence, again.own_person_id) == ([], name_key("4711"))
    assert (again.events[0].customer_key, again.events[0].assurance) == (name_key("4711"), 4)
    assert len(keep(make_call(timestamp="2026-11-18T10:59:00Z"), caller).evidence) == 1
    assert len(keep(make_call(anonymousId=VISITOR), caller).evidence) == 1
    assert len(keep(make_call(type="alias", event=None, previousId="9"), caller).evidence) == 1
    now_s[0] += FORGET_S
    assert len(keep(make_call(), caller).evidence) == 1


def test_known_customers_are_bounded() -> None:
    """The one that was named longest ago is forgotten first; the earliest time counts."""
    customers = KnownCustomers(lambda: 0.0)
    customers.note([("a", 50), ("b", 50), ("a", 90)])
    customers.note((f"c{number}", 1) for number in range(MOST_CUSTOMERS - 1))
    assert [customers.has("a", 50), customers.has("a", 49), customers.has("b", 50)] == [True, False, False]


def test_an_alias_ties_two_customers() -> None:
    """Level 4 and kind alias: the statement that may merge two people."""
    (evidence,) = keep(make_call(type="alias", event=None, previousId=99)).evidence
    assert summarise(evidence) == ("alias", 4, "4711", "99")


def test_what_was_just_said_is_not_said_again() -> None:
    """One piece of evidence for a run of events, and another after a change."""
    calls = [
        make_call(messageId=str(n), userId=user, anonymousId=VISITOR, timestamp=f"2026-11-18T11:00:0{n}Z")
        for n, user in enumerate(["1", "1", "2", "2", "1"])
    ]
    outcome, [row] = send(*reversed(calls))
    assert outcome.events == 5
    assert [event.time_ms for event in row.events] == sorted(event.time_ms for event in row.events)
    assert [evidence.b_value for evidence in row.evidence] == ["1", "2", "1"]
    assert [event.customer_key for event in row.events] == [name_key(user) for user in "11221"]


def test_a_line_is_one_visitor() -> None:
    """Several visitors, customers or circumstances in a batch are several lines."""
    outcome, rows = send(
        make_call(messageId="1", anonymousId=VISITOR),
        make_call(messageId="2", anonymousId=OTHER_VISITOR),
        make_call(messageId="3"),
        make_call(messageId="4", userId="8"),
        make_call(messageId="5", anonymousId=VISITOR, context={"ip": ADDRESS}),
        make_call(messageId="6", anonymousId=VISITOR),
    )
    assert outcome.events == 6
    assert sorted(len(row.events) for row in rows) == [1, 1, 1, 1, 2]
    assert all(row.events for row in rows)


def test_a_key_without_identify_makes_claims() -> None:
    """Level 1 on the visitor, and the event says that nobody is known."""
    row = keep(make_call(anonymousId=VISITOR), TRACKER)
    (evidence,) = row.evidence
    assert summarise(evidence) == ("identify", 1, VISITOR, "4711")
    assert (row.events[0].assurance, row.events[0].customer_key) == (0, NIL_ID)


def test_a_claim_without_a_visitor_is_refused() -> None:
    """The event would be nobody's, and its sender would wonder where it went."""
    assert refuse(make_call(), TRACKER) == (Reason.SCOPE, "userId")


@pytest.mark.parametrize(("kind", "field"), [("identify", "type"), ("alias", "previousId")])
def test_naming_customers_needs_its_scope(kind: str, field: str) -> None:
    """A key that may only send events names nobody."""
    call = make_call(type=kind, event=None, anonymousId=VISITOR, previousId="9")
    assert refuse(call, TRACKER) == (Reason.SCOPE, field)
    assert keep(call, replace(CALLER, may_track=False)).events


def test_only_a_key_that_may_merge_joins_two_customers() -> None:
    """A call centre's names customers and attaches visitors; an alias of two customers is refused. A key that may do
    nothing else may do that."""
    alias = make_call(type="alias", event=None, previousId="9")
    assert refuse(alias, CALL_CENTRE) == (Reason.SCOPE, "previousId")
    assert keep(make_call(type="identify", event=None, anonymousId=VISITOR), CALL_CENTRE).evidence[0].level == 4
    merger = replace(CALLER, may_track=False, may_identify=False)
    [evidence] = keep(alias, merger).evidence
    assert (evidence.kind, evidence.level) == ("alias", 4)
    assert refuse(make_call(type="identify", event=None), merger) == (Reason.SCOPE, "type")


@pytest.mark.parametrize("visitor", [VISITOR, None])
def test_without_merge_a_call_is_about_one_customer(visitor: str | None) -> None:
    """A further identifier of another unique kind stands at level 3, which ties it where it is nobody else's and never
    merges; a second value of one unique kind is left out. What is not unique merges nobody anyway."""
    kinds = (*DEFAULT_KINDS, IdentifierKind("login", priority=1))
    sites = SiteBook(sites={"shop": Site(site_id="shop", kinds=kinds)})
    ids = [
        {"type": kind, "id": value} for kind, value in (("login", "joe"), ("customer", "9"), ("email", "a@b.example"))
    ]
    call = make_call(type="identify", event=None, anonymousId=visitor, context={"externalIds": ids})

    def levels(caller: Caller) -> tuple[list[tuple[str, int]], list[tuple[str, str]]]:
        outcome, [row] = send(call, caller=replace(caller, sites=sites))
        left_out = [(judged.reason.value, judged.field) for judged in outcome.left_out]
        return [(evidence.b_kind, evidence.level) for evidence in row.evidence], left_out

    first = [] if visitor is None else [("customer", 4)]
    rest = [("login", 3), ("email", 4)]
    assert levels(CALL_CENTRE) == ([*first, *rest], [("scope", "context.externalIds[1]")])
    assert levels(CALLER) == ([*first, ("login", 4), ("customer", 4), ("email", 4)], [])


def test_the_evidence_says_which_agent_and_how_the_caller_was_verified() -> None:
    """And which key, so that what a leaked one said can be found. Of the agent a code is kept and no name."""
    where = {"actor": "agent-17", "verification": "knowledge"}
    row = keep(make_call(anonymousId=VISITOR, context=where), CALL_CENTRE)
    [evidence] = row.evidence
    assert (evidence.actor, evidence.verification) == ("key:1a2b/agent-17", "knowledge")
    assert (evidence.level, row.events[0].assurance) == (4, 4)
    [lone] = keep(make_call(context=where), CALL_CENTRE).evidence
    assert (lone.kind, lone.actor, lone.verification) == ("server", "key:1a2b/agent-17", "knowledge")
    assert keep(make_call(context=where)).evidence[0].actor == "agent-17"
    assert keep(make_call(), CALL_CENTRE).evidence[0].actor == "key:1a2b"


@pytest.mark.parametrize("actor", ["Joe Smith", "joe@shop.example", "x" * 65, "-x", "jö"])
def test_a_name_is_no_code_of_an_agent(actor: str) -> None:
    """Left out, and said; the call stands."""
    outcome, [row] = send(make_call(context={"actor": actor, "verification": "guessed"}), caller=CALL_CENTRE)
    fields = ["context.actor", "context.verification"]
    assert [(judged.reason, judged.field) for judged in outcome.left_out] == [(Reason.SHAPE, name) for name in fields]
    assert (row.evidence[0].actor, row.evidence[0].verification, row.evidence[0].level) == ("key:1a2b", "", 4)


def test_whom_nobody_has_verified_is_a_claim() -> None:
    """Level 1 on a visitor, whatever the key may do; without a visitor, or to join two customers, it says nothing."""
    where = {"verification": "none"}
    for caller in (CALLER, CALL_CENTRE):
        row = keep(make_call(anonymousId=VISITOR, context=where), caller)
        assert [(e.level, e.verification) for e in row.evidence] == [(1, "none")]
        assert row.events[0].assurance == 0
        assert refuse(make_call(context=where), caller) == (Reason.UNVERIFIED, "context.verification")
    alias = make_call(type="alias", event=None, previousId="9", context=where)
    assert refuse(alias) == (Reason.UNVERIFIED, "context.verification")
    assert refuse({**alias, "anonymousId": VISITOR}) == (Reason.UNVERIFIED, "context.verification")


@pytest.mark.parametrize("previous", [None, "", VISITOR])
def test_an_alias_of_a_visitor_is_an_identify(previous: str | None) -> None:
    """As Segment's libraries say it, with the anonymous id for the previous one: it ties the visitor, and needs no
    right to merge."""
    call = make_call(type="alias", event=None, anonymousId=VISITOR, previousId=previous)
    row = keep(call, CALL_CENTRE)
    assert [summarise(evidence) for evidence in row.evidence] == [("identify", 4, VISITOR, "4711")]
    assert [event.name for event in row.events] == ["alias"]
    assert refuse(call, TRACKER) == (Reason.SCOPE, "type")


def test_a_group_is_a_relation() -> None:
    """Of the visitor, else of the customer, at level 1 whoever says it: nobody is joined by a company."""
    for anonymous, a_kind in ((VISITOR, "visitor"), (None, "customer")):
        row = keep(make_call(type="group", event=None, groupId=12, anonymousId=anonymous), CALL_CENTRE)
        [evidence] = [evidence for evidence in row.evidence if evidence.kind == "group"]
        assert (evidence.a_kind, evidence.level) == (a_kind, 1)
        assert (evidence.b_kind, evidence.b_value) == ("group", "company:12")
        assert (evidence.source, evidence.actor) == ("server", "key:1a2b")
    assert refuse(make_call(type="group", event=None, groupId="undefined")) == (Reason.BLOCKED, "groupId")


@pytest.mark.parametrize("kind", ["track", "page", "screen", "group"])
def test_sending_events_needs_its_scope(kind: str) -> None:
    """A key that may only name customers sends no events."""
    assert refuse(make_call(type=kind, groupId="1"), replace(CALLER, may_track=False)) == (Reason.SCOPE, "type")


def test_a_site_that_takes_signed_ones_only_takes_no_claims() -> None:
    """A server that may identify needs no signature: its key is one."""
    blog = replace(TRACKER, site_id="blog")
    outcome, [row] = send(make_call(anonymousId=VISITOR), caller=blog)
    assert [(judged.reason, judged.field) for judged in outcome.left_out] == [(Reason.UNSIGNED, "userId")]
    assert row.evidence == []
    assert keep(make_call(anonymousId=VISITOR), replace(blog, may_identify=True)).evidence[0].level == 4


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"userId": "guest"}, Reason.BLOCKED, "userId"),
        ({"userId": "  "}, Reason.BLOCKED, "userId"),
        ({"userId": "a\tb"}, Reason.SHAPE, "userId"),
        ({"userId": None}, Reason.SHAPE, "userId"),
        ({"userId": "", "anonymousId": ""}, Reason.SHAPE, "userId"),
        ({"userId": "x" * 8_193}, Reason.SIZE, "userId"),
        ({"anonymousId": "null"}, Reason.BLOCKED, "anonymousId"),
        ({"anonymousId": NIL_ID}, Reason.BLOCKED, "anonymousId"),
        ({"anonymousId": "x" * 513}, Reason.SIZE, "anonymousId"),
        ({"type": "alias"}, Reason.SHAPE, "previousId"),
        ({"type": "alias", "previousId": "4711"}, Reason.SHAPE, "previousId"),
        ({"type": "alias", "previousId": "4711", "userId": None}, Reason.SHAPE, "userId"),
        ({"type": "alias", "previousId": "undefined"}, Reason.BLOCKED, "previousId"),
        ({"type": "identify", "userId": None, "anonymousId": VISITOR}, Reason.SHAPE, "userId"),
        ({"type": "group", "groupId": ""}, Reason.SHAPE, "groupId"),
        ({"type": "delete"}, Reason.SHAPE, "type"),
        ({"type": None}, Reason.SHAPE, "type"),
        ({"event": None}, Reason.SHAPE, "event"),
        ({"event": " "}, Reason.SHAPE, "event"),
        ({"event": "x" * 129}, Reason.SIZE, "event"),
        ({"messageId": NIL_ID}, Reason.ID, "messageId"),
        ({"messageId": "x" * 257}, Reason.SIZE, "messageId"),
        ({"context": {"externalIds": [{"id": "1", "type": "email"}] * 8}}, Reason.COUNT, "context.externalIds"),
        (
            {"context": {"externalIds": [{"id": "1", "type": "k" * 65}]}},
            Reason.SIZE,
            "context.externalIds[0]",
        ),
        ({"context": {"page": {"url": "x" * 8_193}}}, Reason.SIZE, "context.page.url"),
        ({"properties": {"a": {"b": "x" * 8_193}}}, Reason.SIZE, "properties.a.b"),
        ({"properties": {"": 2**63}}, Reason.SHAPE, "properties[…]"),
        ({"properties": {"": {"b": 2**63}}}, Reason.SHAPE, "properties[…].b"),
        ({"properties": {f"k{n}": 1 for n in range(257)}}, Reason.DEPTH, "properties"),
        ({"type": "identify", "traits": {"a": 2**64}}, Reason.SHAPE, "traits.a"),
        ({"type": "group", "groupId": "1", "traits": {"a": "x" * 8_193}}, Reason.SIZE, "traits.a"),
        ({"context": {"siteId": "nowhere"}}, Reason.SITE, "context.siteId"),
        ({"context": {"siteId": "blog"}}, Reason.SITE, "context.siteId"),
        ({"context": {"consent": ""}}, Reason.CONSENT, "context.consent"),
        ({"context": {"consent": {"categoryPreferences": {"C0002": True}}}}, Reason.CONSENT, "context.consent"),
        ({"context": {"consent": {}}}, Reason.SHAPE, "context.consent"),
        ({"timestamp": "yesterday"}, Reason.SHAPE, "timestamp"),
        ({"timestamp": 1_795_000_000}, Reason.SHAPE, "timestamp"),
        ({"userId": True}, Reason.SHAPE, "userId"),
        ({"userId": 1.5}, Reason.SHAPE, "userId"),
        ({"properties": [1]}, Reason.SHAPE, "properties"),
        ({"context": {"page": "x"}}, Reason.SHAPE, "context.page"),
        ({"context": {"externalIds": [{"id": "1"}]}}, Reason.SHAPE, "context.externalIds[0]"),
    ],
)
def test_a_wrong_call_is_refused_with_its_field(changes: dict[str, Any], reason: Reason, field: str) -> None:
    """Alone, by the sender's own names, and never with what was in it."""
    assert refuse(make_call(**changes)) == (reason, field)


def test_an_identifier_of_an_unknown_kind_is_left_out() -> None:
    """The others stay, and so does the event."""
    where = {"externalIds": [{"id": "1", "type": "loyalty"}, {"id": "ann@shop.example", "type": "email"}]}
    outcome, [row] = send(make_call(context=where))
    assert outcome.left_out == [Judged(0, Reason.SHAPE, "context.externalIds[0]")]
    assert [evidence.b_kind for evidence in row.evidence] == ["email"]


def test_a_declared_kind_ties() -> None:
    """A customer may be named by another kind alone."""
    site = Site(site_id="shop", kinds=(IdentifierKind("loyalty"),))
    caller = replace(CALLER, sites=SiteBook(sites={"shop": site}))
    call = make_call(userId=None, context={"externalIds": [{"id": 12, "type": "loyalty"}]})
    assert keep(call, caller).own_person_id == name_key("12", "loyalty")


# --- what is allowed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (None, "analytics,identity"),
        ("ai", "analytics,identity"),
        ("aim", "analytics,identity,marketing"),
        (
            {"categoryPreferences": {"Analytics": True, "Personalization": True, "Advertising": False}},
            "analytics,identity,personalisation",
        ),
        ({"categoryPreferences": {"analytics": True, "identity": True, "Functional": True}}, "analytics,identity"),
    ],
)
def test_consent_is_what_the_server_says(said: Any, kept: str) -> None:
    """Nothing said: the organisation vouches for analytics and identity. An answer is complete."""
    context = {} if said is None else {"consent": said}
    assert keep(make_call(context=context)).consent == kept


def test_without_identity_nobody_is_named() -> None:
    """The event stays, as that of its visitor or of nobody; calls that only name somebody go."""
    where = {"consent": {"categoryPreferences": {"Analytics": True}}}
    outcome, [row] = send(make_call(anonymousId=VISITOR, context=where))
    assert outcome.left_out == [Judged(0, Reason.CONSENT, "userId")]
    assert (row.evidence, row.consent, row.visitor_id) == ([], "analytics", VISITOR)
    assert b"4711" not in msgspec.json.encode(row)
    outcome, [row] = send(make_call(context=where))
    assert (row.own_person_id, row.evidence) == (NIL_ID, [])
    for kind in ("identify", "alias", "group"):
        assert refuse(make_call(type=kind, groupId="1", context=where)) == (Reason.CONSENT, "context.consent")


def test_a_key_of_a_space_names_the_site() -> None:
    """In each call, or once for the batch."""
    space = replace(CALLER, site_id="")
    assert keep(make_call(context={"siteId": "blog"}), space).site_id == "blog"
    assert refuse(make_call(), space) == (Reason.SITE, "context.siteId")
    assert refuse(make_call(context={"siteId": "elsewhere"}), space) == (Reason.SITE, "context.siteId")


def test_an_excluded_network_is_refused() -> None:
    """By the address that the call gives."""
    site = Site(site_id="shop", excluded_networks=("203.0.113.0/24",))
    caller = replace(CALLER, sites=SiteBook(sites={"shop": site}))
    assert refuse(make_call(context={"ip": ADDRESS}), caller) == (Reason.EXCLUDED, "context.ip")
    assert keep(make_call(context={"ip": "0.0.0.0"}), caller).network == ""


def test_visitors_out_of_the_sample_are_refused() -> None:
    """As in the browser, so that a visitor is kept whole or not at all; customers without a visitor are all kept."""
    caller = replace(CALLER, sites=SiteBook(sites={"shop": Site(site_id="shop", sample=0.0)}))
    assert refuse(make_call(anonymousId=VISITOR), caller) == (Reason.OFF, "anonymousId")
    assert keep(make_call(), caller).events


def test_a_switched_off_tag_silences_no_server() -> None:
    """The switch is the tag's."""
    caller = replace(CALLER, sites=SiteBook(sites={"shop": Site(site_id="shop", tag=False, keep_days=9)}))
    assert keep(make_call(), caller).keep_days == 9


# --- bodies --------------------------------------------------------------------------------------------------


def test_a_batchs_context_stands_in() -> None:
    """For what a call's own context does not say."""
    body = {
        "context": {"locale": "de", "page": {"url": f"{ORIGIN}/batch"}},
        "batch": [make_call(messageId="1"), make_call(messageId="2", context={"locale": "fr"})],
        "sentAt": "2026-11-18T11:00:00Z",
        "integrations": {"All": True},
    }
    calls = read_batch(msgspec.json.encode(body))
    assert isinstance(calls, list)
    rows = [msgspec.json.decode(line, type=LandingRow) for line in accept_calls(calls, CALLER).lines]
    assert {row.language: row.events[0].url for row in rows} == {"de": f"{ORIGIN}/batch", "fr": f"{ORIGIN}/batch"}


def test_a_wrong_call_is_refused_alone() -> None:
    """The others of its batch are kept."""
    body = b'{"batch":[17,{"type":"track","event":3},{"type":"\xff"},' + msgspec.json.encode(make_call()) + b"]}"
    calls = read_batch(body)
    assert isinstance(calls, list)
    outcome = accept_calls(calls, CALLER)
    assert outcome.rejected == [
        Judged(0, Reason.SHAPE, ""),
        Judged(1, Reason.SHAPE, "event"),
        Judged(2, Reason.ENCODING, ""),
    ]
    assert outcome.events == 1


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        (b"", Reason.SYNTAX, ""),
        (b"{", Reason.SYNTAX, ""),
        (b"[]", Reason.SHAPE, ""),
        (b"{}", Reason.SHAPE, ""),
        (b'{"batch":{}}', Reason.SHAPE, "batch"),
        (b'{"batch":[]}', Reason.COUNT, "batch"),
        (b'{"batch":[' + b",".join([b"{}"] * 501) + b"]}", Reason.COUNT, "batch"),
        (b'{"batch":[{}],"context":{"ip":1}}', Reason.SHAPE, "context.ip"),
        (b'{"batch":' + b"[" * 20 + b"]" * 20 + b"}", Reason.DEPTH, ""),
    ],
)
def test_a_body_that_is_no_batch_is_refused(body: bytes, reason: Reason, field: str) -> None:
    """As a whole, with the reason."""
    answer = read_batch(body)
    assert isinstance(answer, Rejected)
    assert (answer.reason, answer.field, answer.step) == (reason, field, "decode")


@pytest.mark.parametrize("name", ["segment_node", "segment_python"])
def test_what_segments_libraries_send_is_kept(name: str) -> None:
    """Bodies as version 3.1.0 for Node and 2.4.0 for Python wrote them: every call, whole."""
    body = (Path(__file__).parents[1] / "data" / "server_calls" / f"{name}.json").read_bytes()
    calls = read_batch(body)
    assert isinstance(calls, list)
    sent_ms = int(datetime(2026, 11, 22, 11, 48, 30, tzinfo=UTC).timestamp() * 1000)
    outcome = accept_calls(calls, replace(CALLER, received_at_ms=sent_ms))
    assert (outcome.rejected, outcome.left_out, outcome.made_ids) == ([], [], {})
    rows = [msgspec.json.decode(line, type=LandingRow) for line in outcome.lines]
    names = [event.name for row in rows for event in row.events]
    assert sorted(names) == ["Order completed", "alias", "group", "identify", "page_view", "screen_view"]
    assert {event.customer_key for row in rows for event in row.events} == {name_key("4711")}


def test_a_call_has_the_type_of_its_address() -> None:
    """Or none of its own."""
    call = read_call(msgspec.json.encode(make_call(type=None)), "track")
    assert isinstance(call, Call)
    assert call.type == "track"
    assert read_call(b'{"type":"page"}', "track") == Rejected(Reason.SHAPE, step="decode", field="type")


def test_a_mapping_is_read_as_json_is() -> None:
    """An import's lines need no second encoding."""
    assert read_call(make_call()) == read_call(msgspec.json.encode(make_call()))
    assert read_call({"userId": 1.5}) == Rejected(Reason.SHAPE, step="decode", field="userId")


def test_half_a_surrogate_pair_costs_nothing() -> None:
    """A cut text is mended as a tag's is."""
    call = read_call(b'{"type":"track","event":"cut \\ud83d","userId":"1"}')
    assert isinstance(call, Call)
    assert call.event == "cut \ufffd"


def test_no_line_is_too_long() -> None:
    """A context that is said once stands on each event: lines are cut before they outgrow a batch."""
    page = {"url": f"{ORIGIN}/{'ü' * 8_000}", "title": "ü" * 8_192}
    body = {"context": {"page": page}, "batch": [make_call(messageId=str(n), anonymousId=VISITOR) for n in range(500)]}
    calls = read_batch(msgspec.json.encode(body))
    assert isinstance(calls, list)
    outcome = accept_calls(calls, CALLER)
    assert len(outcome.lines) > 1
    assert max(map(len, outcome.lines)) <= 4_194_304
    rows = [msgspec.json.decode(line, type=LandingRow) for line in outcome.lines]
    assert len({event.event_id for row in rows for event in row.events}) == outcome.events == 500
    assert sum(len(row.evidence) for row in rows) == 1


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20) | st.just(AT),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=8), values, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from(["ip", "userAgent", "locale", "page", "campaign", "externalIds", "consent", "siteId", "url"])


@given(
    st.dictionaries(
        st.sampled_from(
            list(make_call(context={}, properties={}, traits={}, anonymousId="", previousId="", groupId=""))
        ),
        _VALUES | st.dictionaries(_FIELDS, _VALUES, max_size=3),
        max_size=4,
    ),
    st.sampled_from(["track", "identify", "page", "alias", "group"]),
)
def test_nothing_raises(changes: dict[str, Any], kind: str) -> None:
    """Whatever a server sends is kept or refused with a reason, and what is kept can be read back."""
    call = read_call({**make_call(type=kind, previousId="1", groupId="2"), **changes})
    outcome = accept_calls([call], CALLER)
    assert len(outcome.rejected) + outcome.events == 1
    for line in outcome.lines:
        msgspec.json.decode(line, type=LandingRow)
