"""`GET /l/<token>`: to the target in the token, nowhere else, setting nothing, and written down as a click."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.errors import SpoolError, SpoolFull
from collector.event import NIL_ID, LandingRow
from collector.identity.identifiers import own_person_id
from collector.links.minting import mint_link
from collector.links.revocations import Revocation
from collector.links.rules import LinkRules
from collector.links.targets import is_safe_target
from collector.links.token import LinkKind, LinkToken, sign_fields, write_facts, write_fields
from collector.metrics import read_totals
from collector.sites.book import Site, SiteBook
from tests.edge_examples import ADDRESS, CHROME, KEYRING, NOW_S, ORIGIN, SITE
from tests.link_requests import TARGET, LinkRequests, mint
from tests.links.test_targets import TRICKS

CUSTOMER = own_person_id(KEYRING.pseudonym_key, "main", "customer", "4711")
OTHER_CUSTOMER = own_person_id(KEYRING.pseudonym_key, "main", "customer", "4712")
LANDING = f"{ORIGIN}/offer?a=1&utm_campaign=in-target&lt={{}}#top"
NOTHING_SET = ("set-cookie", "etag", "last-modified", "clear-site-data")


def follow(token: str, *, book: SiteBook | None = None, **asked: Any) -> tuple[Any, list[LandingRow], LinkRequests]:
    """Ask for one link. Return the answer, the rows, and whom was asked."""
    requests = LinkRequests(book=book)
    return requests.ask(token, **asked), requests.rows, requests


# --- where it leads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_to_the_target_with_the_token(method: str) -> None:
    """302 to the signed target with the token for the landing page's tag: no cookie, no cache, no referrer."""
    token = mint()
    response, rows, _ = follow(token, method=method)
    assert response.status_code == 302
    assert response.headers["location"] == LANDING.format(token)
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-robots-tag"] == "noindex, nofollow"
    assert not [name for name in NOTHING_SET if name in response.headers]
    assert len(rows) == 1


@pytest.mark.parametrize("changes", [{"sealed": True}, {"kind": LinkKind.RECIPIENT}])
def test_other_tokens_that_lead_there(changes: dict[str, Any]) -> None:
    """A sealed one, and a recipient's: both go on to the page."""
    shared = {"campaign": "", "message": "", "link": ""} if "kind" in changes else {}
    token = mint(**shared, **changes)
    response, [row], _ = follow(token)
    assert response.headers["location"] == LANDING.format(token)
    assert row.link_campaign == ("in-target" if shared else "spring")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"now_s": NOW_S - 86_400 * 100}, "expired"),
        ({"sent_at_s": NOW_S + 3600}, "early"),
        ({"is_test": True}, "test"),
    ],
)
def test_a_link_that_is_over_leads_there_without_its_token(changes: dict[str, Any], status: str) -> None:
    """The reader of an old mail gets the page; nobody is recognised by it, and the click is counted."""
    response, [row], _ = follow(mint(**changes))
    assert (response.status_code, response.headers["location"]) == (302, TARGET)
    assert (row.link_status, row.link_campaign, row.events[0].name) == (status, "spring", "link_click")


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (mint()[:-8] + "AAAAAAAA", 404),
        ("nothing", 404),
        ("b2c4..", 404),
        ("https:evil.example", 404),
        ("%0d%0aset-cookie:a=b", 404),
        *(
            (mint() + tail, 404)
            for tail in ("=%0d%0aset-cookie:a=evil", "%0a", "=&evil=1", "=%23evil", "%c3%a9", "%20")
        ),
        ("x" * 3000, 404),
        (mint(target=""), 404),
        (mint(target="", now_s=NOW_S - 86_400 * 100), 410),
        (mint(target="https://evil.example/"), 404),
        (mint(target="https://evil.example/", now_s=NOW_S - 86_400 * 100), 410),
        (mint(space_id="elsewhere"), 404),
    ],
)
def test_a_bad_link_gets_a_plain_page(token: str, status: int) -> None:
    """A token that does not verify, or leads nowhere: a page that repeats nothing of what was sent, and no row."""
    response, rows, requests = follow(token)
    assert (response.status_code, rows) == (status, [])
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("default-src 'none';")
    assert response.headers["referrer-policy"] == "no-referrer"
    assert "location" not in response.headers
    assert "evil" not in response.text
    assert [refused[:2] for refused in requests.refused] == [("link", "link")]


@pytest.mark.parametrize("token", ["https://evil.example", "https:%2F%2Fevil.example", "a/b", "..%2f..%2fetc"])
def test_a_path_that_is_no_token_is_not_found(token: str) -> None:
    """What has more than one part is no link at all."""
    response, rows, _ = follow(token)
    assert (response.status_code, rows) == (404, [])
    assert "location" not in response.headers


def _forge(target: str) -> str:
    """Sign a target that minting would refuse, as if a program of ours had a fault, or a key were known."""
    facts = write_facts(LinkToken(LinkKind.MESSAGE, "", "", "", NOW_S - 60, NOW_S + 3600, "spring", target="https://x"))
    key = KEYRING.link_keys[0]
    escaped = "".join(sign if sign.isalnum() else "".join(f"_{byte:02X}" for byte in sign.encode()) for sign in target)
    return sign_fields(key, f"m{key.id}", write_fields("AAAAAAAAAAA", "4711", *facts[:-1], escaped))


def test_a_signed_target_leads_on() -> None:
    """What the next test signs is a link, but for its target."""
    assert follow(_forge("shop.example/a"))[0].headers["location"].startswith(f"{ORIGIN}/a?lt=m")


@pytest.mark.parametrize("target", [trick for trick in TRICKS if trick])
def test_no_open_redirect_even_with_a_key(target: str) -> None:
    """What is written in any but the plain way, or to a host that no site names, is a page and never a redirect."""
    for text in (_forge(target), _forge(target.removeprefix("https://"))):
        response, rows, _ = follow(text)
        location = response.headers.get("location", "")
        assert not location or location.startswith((f"{ORIGIN}/", f"{ORIGIN}?", f"{ORIGIN}#"))
        assert is_safe_target(location) or (response.status_code in (404, 410) and not rows)


def test_the_allow_list_holds_when_the_link_is_followed() -> None:
    """A host that was taken off the list since is no target any more; one that was added is."""
    token = mint(target="https://landing.example/a")
    assert follow(token)[0].status_code == 404
    listed = msgspec.structs.replace(SITE, link_hosts=("landing.example",))
    assert LinkRequests(listed).ask(token).headers["location"] == f"https://landing.example/a?lt={token}"


def test_while_no_site_is_known_yet() -> None:
    """The reader is asked to come again: to say that there is no such link would be wrong."""
    response, rows, _ = follow(mint(), book=SiteBook())
    assert (response.status_code, rows) == (503, [])
    assert response.headers["retry-after"] == "60"


def test_the_parameter_and_the_path_are_settings() -> None:
    """The token travels under the name that the settings give."""
    response = LinkRequests(link_parameter="k", link_path="/go").ask(mint())
    assert "&k=" in response.headers["location"]


def test_a_form_cannot_be_sent_to_a_link() -> None:
    """POST is for what unsubscribes."""
    response, rows, _ = follow(mint(), method="POST")
    assert (response.status_code, rows) == (405, [])


# --- what is written down ------------------------------------------------------------------------------------


def test_a_click_is_no_person() -> None:
    """No visitor, no session, no customer, nobody's page view; without known consent nothing of whose it was."""
    token = mint()
    _, [row], requests = follow(token)
    [event] = row.events
    assert (event.name, event.url, event.sequence) == ("link_click", f"{ORIGIN}/offer?utm_campaign=in-target", 0)
    assert (event.customer_key, event.assurance, row.evidence) == (NIL_ID, 0, [])
    assert (row.visitor_id, row.own_person_id, row.session_id, row.visitor_proof) == (NIL_ID, NIL_ID, NIL_ID, "none")
    assert (row.link_status, row.link_kind, row.link_way) == ("unconfirmed", "message", "redirect")
    assert (row.link_campaign, row.link_message, row.link_name) == ("spring", "m1", "top")
    assert (row.link_class, row.link_reasons, row.is_bot, row.bot_reason) == ("human", "", 0, "")
    assert (row.browser, row.os, row.device) == ("Chrome", "Windows", "desktop")
    assert (row.link_token_id, row.network, row.country, row.consent) == ("", "", "", "")
    for secret in (token, token.rpartition(".")[2], token.split(".")[1], "4711", ADDRESS, "203.0.113"):
        assert secret.encode() not in requests.lines[0]


@pytest.mark.parametrize(
    ("consent", "headers", "keeps"),
    [
        ("", {}, False),
        ("ai", {}, False),
        ("m", {}, True),
        ("am", {}, True),
        ("m", {"Sec-GPC": "1"}, False),
        ("m", {"DNT": "1"}, False),
    ],
)
def test_the_tokens_id_needs_known_consent(consent: str, headers: dict[str, str], keeps: bool) -> None:
    """As the list said it when the link was minted, and not against Global Privacy Control. Never a customer."""
    token = mint(consent=consent)
    _, [row], requests = follow(token, headers=headers)
    assert (row.link_token_id == token.split(".")[1]) is keeps
    assert (row.network, row.consent) == (("203.0.113.0/24", "marketing") if keeps else ("", ""))
    assert row.events[0].customer_key == NIL_ID
    assert b"4711" not in requests.lines[0]


@pytest.mark.parametrize(
    ("asked", "link_class", "reasons"),
    [
        ({"method": "HEAD"}, "scanner", "head"),
        ({"headers": {"Sec-Purpose": "prefetch"}}, "prefetch", "prefetch_header"),
        ({"headers": {"Sec-Purpose": "prefetch;prerender"}}, "prefetch", "prefetch_header"),
        ({"headers": {"Purpose": "prefetch"}}, "prefetch", "prefetch_header"),
        ({"headers": {"X-Purpose": "preview"}}, "prefetch", "prefetch_header"),
        ({"headers": {"X-Moz": "prefetch"}}, "prefetch", "prefetch_header"),
        ({"headers": {"User-Agent": "WhatsApp/2.23.20.0 A"}}, "preview", "preview_agent,crawler"),
        ({"headers": {"User-Agent": f"{CHROME} Barracuda Sentinel (EE)"}}, "scanner", "agent"),
        ({"headers": {"User-Agent": ""}}, "scanner", "agent,crawler"),
        ({"headers": {"User-Agent": "python-requests/2.32"}}, "bot", "crawler"),
    ],
)
def test_programs_that_follow_links(asked: dict[str, Any], link_class: str, reasons: str) -> None:
    """Each is led on, counted in its class, and marked as a bot."""
    response, [row], _ = follow(mint(), **asked)
    assert response.status_code == 302
    assert (row.link_class, row.link_reasons, row.is_bot) == (link_class, reasons, 1)
    assert row.link_status == ("bot" if link_class == "bot" else "unconfirmed")
    assert row.bot_reason


def test_seconds_after_sending_for_many_people() -> None:
    """One address that follows the links of eight recipients within the minute is a scanner; each alone is a hint."""
    requests = LinkRequests()
    for number in range(8):
        requests.ask(mint(f"47{number:02}", now_s=NOW_S))
    assert [row.link_reasons for row in requests.rows] == ["soon"] * 7 + ["soon,many"]
    assert [row.link_class for row in requests.rows] == ["human"] * 7 + ["scanner"]
    requests.ask(mint("4799", now_s=NOW_S), address="203.0.113.78")
    assert requests.rows[-1].link_reasons == "soon", "another address"


def test_one_recipient_with_many_links_is_not_many() -> None:
    """Who opens all links of one mail is one recipient."""
    requests = LinkRequests()
    requests.ask(*(mint(link=str(number)) for number in range(20)))
    assert {row.link_reasons for row in requests.rows} == {""}


def test_an_address_of_a_data_centre() -> None:
    """Where a list of them is given."""
    requests = LinkRequests(is_data_centre=True)
    requests.ask(mint())
    assert (requests.rows[0].link_class, requests.rows[0].link_reasons) == ("scanner", "data_centre")


@pytest.mark.parametrize("error", [SpoolFull("is full", 5), SpoolError("the disk failed")])
def test_a_customer_arrives_though_the_disk_does_not_take_it(error: SpoolError) -> None:
    """The redirect is given all the same, and the loss is counted."""
    before = read_totals().counters.get("edge_requests", {}).get("link unrecorded", 0)
    requests = LinkRequests()
    requests.error = error
    assert requests.ask(mint()).status_code == 302
    assert read_totals().counters["edge_requests"]["link unrecorded"] == before + 1
    assert requests.lines == []


@pytest.mark.parametrize(
    ("site", "headers", "reason"),
    [
        (SITE, {"Cookie": "_ts_out=1"}, "opted_out"),
        (msgspec.structs.replace(SITE, tag=False), {}, "off"),
        (msgspec.structs.replace(SITE, excluded_networks=("203.0.113.0/24",)), {}, "excluded"),
        (msgspec.structs.replace(SITE, rate=0.001), {}, "rate"),
    ],
)
def test_what_is_not_recorded_arrives(site: Site, headers: dict[str, str], reason: str) -> None:
    """Whoever objected, an office, a tag that is off, a site over its rate: counted as a refusal, and led on."""
    requests = LinkRequests(site)
    for _ in range(2 if reason == "rate" else 1):
        response = requests.ask(mint(), headers=headers)
    assert response.status_code == 302
    assert ("lt=" in response.headers["location"]) == (reason != "opted_out")
    assert requests.refused == [("link", reason, "")]
    assert len(requests.rows) == (1 if reason == "rate" else 0)


def test_an_address_over_its_rate_arrives() -> None:
    """A flood of true links leads on as well, and is not written down."""
    requests = LinkRequests(address_rate=1, address_burst=3)
    responses = [requests.ask(mint()) for _ in range(6)]
    assert {response.status_code for response in responses} == {302}
    assert len(requests.rows) == 3
    assert set(requests.refused) == {("link", "rate", "")}


# --- what was taken back -------------------------------------------------------------------------------------


def _rule(*, withdrawn: bytes = b"", **revoked: Any) -> SiteBook:
    rows = (Revocation("r1", "main", **revoked),) if revoked else ()
    return SiteBook(sites={"shop": SITE}, read_at_ms=NOW_S * 1000, links=LinkRules(rows, withdrawn))


@pytest.mark.parametrize(
    "revoked",
    [
        {"campaign": "spring"},
        {"campaign": "spring", "message": "m1"},
        {"token_id": "the token's"},
        {"key_id": "b2c4"},
        {"customer_key": CUSTOMER},
        {"issued_from_s": NOW_S - 7200, "issued_to_s": NOW_S},
    ],
)
def test_a_revoked_link_leads_there_without_its_token(revoked: dict[str, Any]) -> None:
    """The reader gets the page, the click is counted as revoked, and nobody is recognised by it."""
    token = mint()
    if "token_id" in revoked:
        revoked = {"token_id": token.split(".")[1]}
    response, [row], _ = follow(token, book=_rule(**revoked))
    assert (response.status_code, response.headers["location"]) == (302, TARGET)
    assert (row.link_status, row.link_campaign) == ("revoked", "spring")
    _, [row], _ = follow(token, book=_rule(campaign="summer", **{k: v for k, v in revoked.items() if k != "campaign"}))
    assert row.link_status == "unconfirmed", "what a revocation names has to hold altogether"


def test_whoever_withdrew_leaves_no_token() -> None:
    """The list said yes when it was minted, and the customer has said no since."""
    token = mint(consent="m")
    assert follow(token, book=_rule(withdrawn=UUID(OTHER_CUSTOMER).bytes))[1][0].link_token_id
    _, [row], _ = follow(token, book=_rule(withdrawn=UUID(CUSTOMER).bytes))
    assert (row.link_token_id, row.network, row.consent, row.link_campaign) == ("", "", "", "spring")


# --- what nobody can bring about -----------------------------------------------------------------------------

TOKEN = mint()


@settings(max_examples=60)
@given(st.data())
def test_no_changed_token_leads_anywhere(data: st.DataObject) -> None:
    """Cut, extended or changed in one character: a page, a count, and no row."""
    place = data.draw(st.integers(0, len(TOKEN) - 1))
    sign = data.draw(st.sampled_from("AZaz09_-."))
    changed = data.draw(
        st.sampled_from([TOKEN[:place] or "x", TOKEN + sign, TOKEN[:place] + sign + TOKEN[place + 1 :]])
    )
    if changed in (TOKEN, ".", ".."):
        return
    response, rows, _ = follow(changed)
    assert (response.status_code, rows) == (404, [])


def test_a_token_in_two_forms_is_refused() -> None:
    """Base64 has several texts for the same bytes: only the one that was minted counts, in clear and encoded."""
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [TOKEN[:-1] + sign for sign in last if sign != TOKEN[-1]]
    requests = LinkRequests()
    requests.ask(*others)
    assert requests.rows == []
    encoded = "".join(f"%{ord(sign):02x}" for sign in TOKEN)
    assert requests.ask(encoded).headers["location"] == LANDING.format(TOKEN), "the path is decoded: it is the same"


def test_a_retired_key_leads_on_and_ties_nobody() -> None:
    """Past its end a key's links give the page."""
    old = msgspec.structs.replace(KEYRING.link_keys[0], until_ms=NOW_S * 1000 - 1)
    requests = LinkRequests(keyring=msgspec.structs.replace(KEYRING, link_keys=[old]))
    assert requests.ask(mint()).headers["location"] == TARGET
    assert requests.rows[0].link_status == "expired"


def test_the_same_link_again() -> None:
    """A replay is a click like the first: it ties nobody, and each is counted."""
    requests = LinkRequests()
    requests.ask(TOKEN, TOKEN, mint_link(KEYRING, "4711", now_s=NOW_S - 60, target=TARGET))
    assert [row.link_status for row in requests.rows] == ["unconfirmed"] * 3
    assert len({row.events[0].event_id for row in requests.rows}) == 3
