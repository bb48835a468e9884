"""Tagged links on a page: what is kept of them by purpose, who counts as a human, and what stands in the address."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec
import pytest

from collector.accept.pipeline import Accepted, accept
from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.endpoints.pixel import build_body
from collector.event import Context, LandingRow
from collector.identity.identifiers import make_pseudonym, own_person_id
from collector.links.minting import mint_link
from collector.links.recipients import RecipientWindow
from collector.links.revocations import Revocation
from collector.links.rules import LinkRules
from collector.links.token import LinkKind
from collector.links.watch import LinkWatch
from collector.sites.book import DEFAULT_KINDS, IdentifierKind, SiteBook
from tests.edge_examples import (
    ADDRESS,
    CHROME,
    KEYRING,
    NOW_MS,
    NOW_S,
    ORIGIN,
    SITE,
    VISITOR,
    make_body,
    make_context,
    make_event,
    refuse,
    take,
)

CUSTOMER = own_person_id(KEYRING.pseudonym_key, "main", "customer", "4711")
EMAIL = DEFAULT_KINDS[1]


def mint(reference: str = "4711", **changes: Any) -> str:
    """Return a token made long enough ago."""
    facts = {"now_s": NOW_S - 3600, "campaign": "spring", "message": "m1", "link": "top", **changes}
    return mint_link(KEYRING, reference, **facts)


def mint_recipient(reference: str = "4711", **changes: Any) -> str:
    """Return a recipient's token."""
    return mint_link(KEYRING, reference, now_s=NOW_S - 3600, kind=LinkKind.RECIPIENT, **changes)


def land(token: str, *, human: str = "pointer", context: Context | None = None, **changes: Any) -> LandingRow:
    """Send the beacon of a landing page with the token and, if wanted, a human signal."""
    events = [make_event(1, q=1), *([make_event(2, n="link_confirm", q=2)] if human else [])]
    return take(make_body(*events, lt=token, hs=human or None, **changes), context)[1]


def watch(*, data_centre: bool = False, soon_s: int = 20, many: int = 8) -> LinkWatch:
    """Return what is known of addresses."""
    return LinkWatch(lambda address: data_centre, RecipientWindow(many), soon_s, str)


# --- consent -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letters", "status", "keeps_id", "ties"),
    [
        ("aifm", "confirmed", True, True),
        ("aim", "confirmed", True, True),
        ("ai", "confirmed", False, True),
        ("am", "unconfirmed", False, False),
        ("a", "unconfirmed", False, False),
    ],
)
def test_what_is_kept_by_purpose(letters: str, status: str, keeps_id: bool, ties: bool) -> None:
    """Storage: campaign and class. Identity: the tie. Marketing besides: the token's id on the row."""
    row = land(mint(), c=letters)
    assert (row.link_status, bool(row.link_token_id), bool(row.evidence)) == (status, keeps_id, ties)
    assert (row.link_kind, row.link_campaign, row.link_message, row.link_name) == ("message", "spring", "m1", "top")
    assert (row.link_class, row.link_reasons, row.link_way) == ("human", "", "page")
    assert {event.customer_key == CUSTOMER for event in row.events if event.name == "link_confirm"} == {ties}
    if ties:
        assert row.evidence[0].token_id, "a replay is known by it"
        assert (row.evidence[0].campaign, row.evidence[0].b_key) == ("spring", CUSTOMER)


def test_without_storage_nothing_is_kept() -> None:
    """Neither the link nor its campaign."""
    _, row = refuse(make_body(lt=mint(), c="i"))
    assert (row.events, row.link_status, row.link_campaign) == ([], "", "")


def test_on_a_cookieless_site_a_link_is_not_read() -> None:
    """Without storage such a site keeps the event of a visitor of the day, and nothing of the link."""
    site = msgspec.structs.replace(SITE, consent="cookieless")
    body = make_body(d=None, x=None, lt=mint(), u=f"{ORIGIN}/?lt={mint()}")
    _, row = take(body, make_context(site=site, day_salt=b"x" * 32))
    assert (row.link_status, row.link_campaign, row.link_class, len(row.events)) == ("", "", "", 1)


def test_global_privacy_control_takes_the_tokens_id() -> None:
    """Under it there is no marketing: the customer is tied, as identity is granted, and the row says no token."""
    row = land(mint(), context=make_context(gpc=True), c="aifm")
    assert (row.link_status, row.link_token_id, len(row.evidence)) == ("confirmed", "", 1)


def _context(*rows: Revocation, withdrawn: bytes = b"") -> Context:
    return make_context(sites=SiteBook(sites={"shop": SITE}, read_at_ms=NOW_MS, links=LinkRules(rows, withdrawn)))


def test_whoever_withdrew_from_marketing_leaves_no_token_on_the_row() -> None:
    """Whatever the page's banner was told; the customer is tied, as identity is granted."""
    row = land(mint(), context=_context(withdrawn=UUID(CUSTOMER).bytes), c="aim")
    assert (row.link_status, row.link_token_id, len(row.evidence)) == ("confirmed", "", 1)


@pytest.mark.parametrize("revoked", [{"campaign": "spring"}, {"key_id": "b2c4"}, {"customer_key": CUSTOMER}])
def test_a_revoked_link_ties_nobody(revoked: dict[str, str]) -> None:
    """It is counted, the token's id with it, and there is no evidence and no assurance."""
    row = land(mint(), context=_context(Revocation("r1", "main", **revoked)))
    assert (row.link_status, row.link_campaign, row.evidence) == ("revoked", "spring", [])
    assert {event.assurance for event in row.events} == {0}
    assert row.link_token_id


# --- who counts as a human -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "human", "issued_s", "link_class", "reasons", "status"),
    [
        ({}, "pointer", 3600, "human", "", "confirmed"),
        ({}, "dwell", 3600, "human", "dwell", "confirmed"),
        ({}, "pointer", 0, "human", "soon", "confirmed"),
        ({}, "dwell", 0, "scanner", "soon,dwell", "unconfirmed"),
        ({"many": 1}, "touch", 3600, "human", "many", "confirmed"),
        ({"many": 1}, "dwell", 3600, "scanner", "many,dwell", "unconfirmed"),
        ({"many": 1}, "key", 0, "scanner", "soon,many", "unconfirmed"),
        ({"data_centre": True}, "pointer", 3600, "scanner", "data_centre", "unconfirmed"),
        ({"soon_s": 0}, "dwell", 0, "human", "dwell", "confirmed"),
    ],
)
def test_the_scanners_rules_have_a_say(
    facts: dict[str, Any], human: str, issued_s: int, link_class: str, reasons: str, status: str
) -> None:
    """A gesture is believed, unless the address is a data centre's or two hints speak against it."""
    row = land(mint(now_s=NOW_S - issued_s), human=human, context=make_context(link_watch=watch(**facts)))
    assert (row.link_class, row.link_reasons, row.link_status) == (link_class, reasons, status)
    assert bool(row.evidence) == (status == "confirmed")


@pytest.mark.parametrize(
    ("facts", "changes", "link_class", "reasons", "status"),
    [
        ({"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}, {}, "bot", "crawler", "bot"),
        ({}, {"b": 1}, "bot", "automation", "bot"),
        ({"prefetch": True}, {}, "prefetch", "prefetch_header", "unconfirmed"),
        ({"user_agent": f"{CHROME} Barracuda Sentinel"}, {}, "scanner", "agent", "unconfirmed"),
        ({"user_agent": f"{CHROME} facebookexternalhit/1.1"}, {}, "preview", "preview_agent,crawler", "unconfirmed"),
    ],
)
def test_programs_that_run_the_script_tie_nobody(
    facts: dict[str, Any], changes: dict[str, Any], link_class: str, reasons: str, status: str
) -> None:
    """Whatever signal they report."""
    row = land(mint(), context=make_context(**facts), **changes)
    assert (row.link_class, row.link_reasons, row.link_status, row.evidence) == (link_class, reasons, status, [])


def test_a_recipients_token_is_never_soon() -> None:
    """It was made when the customer was, not when the mail was sent."""
    token = mint_link(KEYRING, "4711", now_s=NOW_S, kind=LinkKind.RECIPIENT)
    row = land(token, human="dwell", context=make_context(link_watch=watch()))
    assert (row.link_reasons, row.link_status) == ("dwell", "confirmed")


@pytest.mark.parametrize(
    ("proof", "sent_ms"), [("script", NOW_MS - 300_000), ("cookie", NOW_MS - 6 * 86_400_000)], ids=["script", "cookie"]
)
def test_who_only_knows_a_visitor_does_not_choose_when_a_link_was_followed(proof: str, sent_ms: int) -> None:
    """Else a link of one's own, followed in a stranger's name last week, would give the week since."""
    then_ms = NOW_MS - 6 * 86_400_000
    cookie = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 7 * 86_400))
    context = make_context(cookies={"__Host-ts_shop": cookie}) if proof == "cookie" else make_context(origin="")
    events = [make_event(1, t=then_ms, q=1), make_event(2, n="link_confirm", t=then_ms, q=2)]
    row = take(make_body(*events, lt=mint(now_s=NOW_S - 8 * 86_400), hs="pointer"), context)[1]
    [evidence] = row.evidence
    assert (evidence.proof, evidence.time_ms) == (proof, sent_ms)


# --- kinds of token ------------------------------------------------------------------------------------------


def test_a_recipients_campaign_stands_in_the_address() -> None:
    """From utm_campaign, the message from utm_id; the token says the customer alone."""
    row = land(mint_recipient(), u=f"{ORIGIN}/a?utm_campaign=summer+sale&utm_id=m7&utm_content=x")
    assert (row.link_kind, row.link_campaign, row.link_message) == ("recipient", "summer sale", "m7")
    assert row.evidence[0].campaign == "summer sale"
    assert land(mint_recipient()).link_campaign == ""


def test_a_campaign_in_the_address_is_no_place_for_an_address() -> None:
    """It is cut, and what looks like an e-mail address in it is removed."""
    row = land(mint_recipient(), u=f"{ORIGIN}/?utm_campaign=anna%40mail.example-{'x' * 200}")
    assert row.link_campaign.startswith("[removed]")
    assert len(row.link_campaign) <= 64


def test_a_campaign_in_the_address_is_no_place_for_a_token() -> None:
    """A merge tag behind the wrong name: what says whose link it is must not become a label."""
    for text in (mint(), mint("anna-4711"), mint(sealed=True)):
        row = land(mint_recipient(), u=f"{ORIGIN}/?utm_campaign={text}&utm_id=m7")
        assert (row.link_campaign, row.link_message) == ("[removed]", "m7")
    row = land(mint_recipient(), u=f"{ORIGIN}/?utm_campaign=promo.spring-sale.v1.of-2026")
    assert row.link_campaign == "promo.spring-sale.v1.of-2026"


def test_a_pseudonym_is_the_stored_form() -> None:
    """A list that has e-mails alone: the token carries their pseudonym, which ties as the e-mail itself would."""
    row = land(mint_recipient("Anna@Mail.example", identifier_kind=EMAIL))
    stored = make_pseudonym(KEYRING.personal_keys[0], "main", "email", "anna@mail.example")
    [evidence] = row.evidence
    assert (evidence.b_kind, evidence.b_value, evidence.b_unique, evidence.level) == ("email", stored, 0, 2)
    assert evidence.b_key == own_person_id(KEYRING.pseudonym_key, "main", "email", stored)


def test_a_pseudonym_needs_a_personal_kind_of_the_site() -> None:
    """A site that does not know the kind, or knows it as not personal, takes nobody from the token."""
    token = mint_recipient("anna@mail.example", identifier_kind=EMAIL)
    for kinds in ((DEFAULT_KINDS[0],), (DEFAULT_KINDS[0], IdentifierKind("email", normaliser="email"))):
        row = land(token, context=make_context(site=msgspec.structs.replace(SITE, kinds=kinds)))
        assert (row.link_status, row.evidence) == ("forged", [])


@pytest.mark.parametrize("kind", [LinkKind.UNSUBSCRIBE, LinkKind.PREFERENCES])
def test_what_unsubscribes_ties_nobody(kind: LinkKind) -> None:
    """A token that works for ever must not recognise anybody for ever."""
    row = land(mint(kind=kind))
    assert (row.link_status, row.link_kind, row.evidence) == ("unconfirmed", kind, [])


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (mint(now_s=NOW_S - 100 * 86_400), "expired"),
        (mint(sent_at_s=NOW_S + 3600), "early"),
        (mint(is_test=True), "test"),
    ],
)
def test_what_is_over_is_counted_and_ties_nobody(token: str, status: str) -> None:
    """The campaign is known, because the token is true."""
    row = land(token)
    assert (row.link_status, row.link_campaign, row.evidence) == (status, "spring", [])


def test_the_way_by_the_redirect() -> None:
    """A token with a target came by /l/, where its click was counted."""
    assert land(mint(target=f"{ORIGIN}/a")).link_way == "redirect"
    assert land("x" * 30).link_way == "page"


# --- what stands in the address ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["*|LT|*", "{{ lt }}", "", "undefined", "%%LT%%", "[LT]"])
def test_a_merge_tag_that_nobody_filled(text: str) -> None:
    """It stays in the address, which says the campaign; it is counted once a page, and not kept."""
    url = f"{ORIGIN}/a?utm_campaign=spring&lt={quote(text)}"
    answer, row = take(make_body(make_event(1, q=1), u=url))
    assert (row.link_status, row.link_campaign, row.link_way) == ("unfilled", "spring", "page")
    assert row.events[0].url == f"{ORIGIN}/a?utm_campaign=spring"
    _, row = take(make_body(make_event(1, q=2), u=url))
    assert row.link_status == "", "what comes later on the page says nothing of how it was opened"
    assert quote(text) == "" or quote(text).encode() not in answer.line


def test_a_cut_token_in_the_address_is_forged() -> None:
    """The tag takes only what looks like a token; what is left is none."""
    _, row = take(make_body(make_event(1, q=1), u=f"{ORIGIN}/?lt=mb2c4.abc&a=1"))
    assert (row.link_status, row.link_campaign) == ("forged", "")


def test_other_parameters_are_no_link() -> None:
    """Names that only end like it, or values in a referrer."""
    _, row = take(make_body(make_event(1, q=1), u=f"{ORIGIN}/?default=1&alt=2", r=f"{ORIGIN}/?lt={mint()}"))
    assert row.link_status == ""


def _percent(text: str) -> str:
    return "".join(f"%{ord(sign):02X}" for sign in text)


TOKEN = mint()


@pytest.mark.parametrize(
    "query",
    [
        f"lt={TOKEN}&lt={TOKEN}",
        f"a=1;lt={TOKEN}",
        f"LT={TOKEN}",
        f"%6Ct={TOKEN}",
        f"lt={_percent(TOKEN)}",
        f"lt%5B%5D={TOKEN}",
        f"a=b#lt={TOKEN}",
        f"#/?lt={TOKEN}",
        f"lt={TOKEN}#lt={TOKEN}",
        "&".join(f"p{number}=1" for number in range(80)) + f"&lt={TOKEN}",
    ],
)
def test_a_token_in_an_address_is_not_written(query: str) -> None:
    """Twice, encoded, in the fragment, under a name in capitals or behind many others; of the page before as well."""
    body = make_body(make_event(1, q=1), u=f"{ORIGIN}/a?{query}", r=f"{ORIGIN}/b?{query}", c="aim")
    answer, row = take(body, make_context(site=msgspec.structs.replace(SITE, url_parameters=("lt", "a"))))
    assert (row.link_status in ("", "forged", "unconfirmed"), row.evidence) == (True, [])
    assert TOKEN.rpartition(".")[2].encode() not in answer.line
    assert b"4711" not in answer.line


def test_a_page_without_script() -> None:
    """The picture's address has the token: counted, never confirmed, and not written."""
    token = mint()
    given = {"s": "shop", "u": f"{ORIGIN}/a?lt={token}", "c": "aim"}
    answer = accept(build_body(given, NOW_MS), make_context(pixel=True))
    assert isinstance(answer, Accepted)
    row = msgspec.json.decode(answer.line, type=LandingRow)
    assert (row.link_status, row.link_class, row.link_reasons) == ("unconfirmed", "human", "no_script")
    assert (row.link_campaign, row.evidence, row.events[0].url) == ("spring", [], f"{ORIGIN}/a")
    assert token.encode() not in answer.line
    assert token.rpartition(".")[2].encode() not in answer.line


def test_a_signal_does_not_confirm_a_token_from_the_address() -> None:
    """A picture of a stranger's could say anything."""
    body = make_body(make_event(1, n="link_confirm", q=1), hs="pointer", u=f"{ORIGIN}/?lt={mint()}")
    _, row = take(body, make_context(address=ADDRESS))
    assert (row.link_status, row.evidence) == ("unconfirmed", [])


# --- not me --------------------------------------------------------------------------------------------------


def come_back(*events: dict[str, Any], level: int = 2, until_s: int = NOW_S + 600) -> LandingRow:
    """Return the row of a later page of a browser whose cookie says who was known last."""
    known = VisitorCookie(VISITOR, NOW_S - 7200, level, until_s, CUSTOMER)
    context = make_context(cookies={"__Host-ts_shop": write_cookie(KEYRING, "shop", known)})
    return take(make_body(*events), context)[1]


@pytest.mark.parametrize("until_s", [NOW_S + 600, NOW_S - 3600], ids=["in force", "over"])
def test_not_me_lets_the_customer_of_the_link_go(until_s: int) -> None:
    """Whom the link has named stands in the visitor's own cookie: the evidence names them, and nobody is known."""
    row = come_back(make_event(3, n="not_me"), make_event(4), until_s=until_s)
    [said] = row.evidence
    assert (said.kind, said.level, said.proof, said.token_id) == ("disown", 1, "cookie", CUSTOMER)
    assert (said.a_key, said.b_key) == (row.own_person_id, row.own_person_id)
    assert [(event.name, event.assurance) for event in row.events] == [("not_me", 0), ("page_view", 0)]


def test_not_me_that_comes_late_reaches_the_link() -> None:
    """Both waited for the network. A link that nothing proves counts from its arrival, and so does "not me"."""
    late_ms = NOW_MS - 3_600_000
    events = [make_event(1, t=late_ms, q=1), make_event(2, n="link_confirm", t=late_ms, q=2)]
    [tied] = take(make_body(*events, lt=mint(), hs="key"))[1].evidence
    [said] = come_back(make_event(3, n="not_me", t=late_ms + 1000)).evidence
    assert tied.time_ms <= said.time_ms <= NOW_MS


def test_not_me_of_who_has_signed_in_is_an_event_like_others() -> None:
    """A sign-out is `reset`."""
    row = come_back(make_event(3, n="not_me"), level=3)
    assert (row.evidence, row.events[0].assurance) == ([], 3)


def test_not_me_without_the_cookie_says_nothing() -> None:
    """Who only knows a visitor's id takes nothing from it."""
    row = take(make_body(make_event(1, n="link_confirm"), make_event(2, n="not_me"), lt=mint(), hs="key"))[1]
    assert [evidence.kind for evidence in row.evidence] == ["link"]


def test_a_recipients_token_counts_anew_each_month() -> None:
    """It is in every mail of a year; a message's token is one for ever."""
    recipient, message = land(mint_recipient()), land(mint())
    assert recipient.evidence[0].token_id == f"{recipient.link_token_id}:2026-11"
    assert message.evidence[0].token_id == message.link_token_id


def test_a_picture_cannot_say_not_me() -> None:
    """It may stand in what a stranger has written: whoever looks at that says nothing about who they are."""
    known = VisitorCookie(VISITOR, NOW_S - 7200, 2, NOW_S + 600, CUSTOMER)
    cookies = {"__Host-ts_shop": write_cookie(KEYRING, "shop", known)}
    for name in ("not_me", "reset"):
        body = build_body({"s": "shop", "n": name, "c": "aim", "u": f"{ORIGIN}/comments"}, NOW_MS)
        _, row = take(body, make_context(cookies=cookies, pixel=True, may_set_visitor=True))
        assert (row.visitor_proof, row.evidence) == ("cookie", [])
        assert [(event.name, event.assurance) for event in row.events] == [(name, 2)]
