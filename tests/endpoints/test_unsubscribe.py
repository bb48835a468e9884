"""Links that take the consent to marketing back: whatever else has happened, and never by a GET."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from typing import Any

import msgspec
import pytest

from collector.endpoints.link_pages import TEXTS, show_page
from collector.errors import SpoolError
from collector.event import NIL_ID
from collector.identity.identifiers import make_pseudonym, own_person_id
from collector.links.token import LinkKind
from collector.sites.book import DEFAULT_KINDS, Site, SiteBook
from tests.edge_examples import CHROME, KEYRING, NOW_MS, NOW_S, ORIGIN, SITE
from tests.link_requests import LinkRequests, mint

CUSTOMER = own_person_id(KEYRING.pseudonym_key, "main", "customer", "4711")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ONE_CLICK = "List-Unsubscribe=One-Click"
MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
    {"Content-Type": "multipart/form-data; boundary=b"},
)


def lasting(kind: LinkKind = LinkKind.UNSUBSCRIBE, **changes: Any) -> str:
    """Return a link that works for ever."""
    return mint(**{"kind": kind, "target": "", "link": "", **changes})


def post(requests: LinkRequests, token: str, body: str | bytes = ONE_CLICK, **asked: Any) -> Any:
    """Send a form to a link."""
    return requests.ask(token, method="POST", body=body, **{"headers": FORM, **asked})


@pytest.mark.parametrize("kind", [LinkKind.UNSUBSCRIBE, LinkKind.PREFERENCES])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_get_changes_nothing(kind: LinkKind, method: str) -> None:
    """A scanner that follows every link gets the page; what is written is a click, and no consent."""
    requests = LinkRequests()
    response = requests.ask(lasting(kind), method=method, headers={"User-Agent": "Barracuda Sentinel"})
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert "set-cookie" not in response.headers
    [row] = requests.rows
    assert (row.consents, row.events[0].name, row.link_kind, row.link_class) == ([], "link_click", kind, "scanner")
    if method == "GET":
        assert "Nothing has been changed yet" in response.text
        assert response.text.count("<button") == (2 if kind is LinkKind.PREFERENCES else 1)
        assert "<script" not in response.text


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ONE_CLICK, FORM),
        MULTIPART,
        ("answer=withdraw", FORM),
        ("answer=withdraw", {**FORM, "Origin": "null"}),
    ],
)
def test_a_post_takes_consent_back(body: str | bytes, headers: dict[str, str]) -> None:
    """By the page's form, and by a mail program's one click: no redirect, no cookie, and the ledger has its entry."""
    requests, token = LinkRequests(), lasting()
    response = post(requests, token, body, headers={**headers, "Accept-Language": "de"})
    assert (response.status_code, "vermerkt" in response.text) == (200, True)
    [row] = requests.rows
    [consent] = row.consents
    assert (consent.key, consent.purpose, consent.state) == (CUSTOMER, "marketing", "withdrawn")
    assert (consent.source, consent.proof, consent.time_ms) == ("unsubscribe", token.split(".")[1], NOW_MS)
    assert (row.site_id, row.space_id, row.visitor_id, row.link_token_id) == ("shop", "main", NIL_ID, "")
    assert [(event.name, event.customer_key) for event in row.events] == [("unsubscribe", NIL_ID)]
    assert (row.link_campaign, row.link_kind, row.is_bot, row.network) == ("spring", "unsubscribe", 0, "")
    assert b"4711" not in requests.lines[0]
    assert token.encode() not in requests.lines[0]


def test_preferences_do_both() -> None:
    """They give consent as well; the entries differ, so that the later one holds."""
    requests, token = LinkRequests(), lasting(LinkKind.PREFERENCES)
    assert "welcome" in post(requests, token, "answer=grant").text
    post(requests, token, "answer=withdraw")
    given, taken = requests.rows
    assert (given.consents[0].state, given.events[0].name) == ("granted", "resubscribe")
    assert (taken.consents[0].state, taken.events[0].name) == ("withdrawn", "unsubscribe")
    assert given.consents[0].source == taken.consents[0].source == "preferences"
    assert given.consents[0].consent_id != taken.consents[0].consent_id


def test_a_test_mail_gives_nothing() -> None:
    """Who tries a mailing out is not the customer in whose name it was made; what it takes back is taken back."""
    requests, token = LinkRequests(), lasting(LinkKind.PREFERENCES, is_test=True)
    assert requests.ask(token).text.count("<button") == 1
    assert post(requests, token, "answer=grant").status_code == 400
    assert [row.consents for row in requests.rows] == [[]]
    assert post(requests, token, "answer=withdraw").status_code == 200
    assert [consent.state for consent in requests.rows[1].consents] == ["withdrawn"]


def test_the_same_again_is_one_entry() -> None:
    """Mail programs ask twice: the ledger's entry and the event have the same ids, and another link has others."""
    requests, token = LinkRequests(), lasting()
    post(requests, token)
    post(requests, token, "answer=withdraw")
    post(requests, lasting())
    assert [len({row.consents[0].consent_id for row in requests.rows[:count]}) for count in (2, 3)] == [1, 2]
    assert [len({row.events[0].event_id for row in requests.rows[:count]}) for count in (2, 3)] == [1, 2]


def test_an_unsubscribe_link_gives_nothing() -> None:
    """Whoever has the mail may be somebody else: consent is not given by it."""
    requests = LinkRequests()
    assert post(requests, lasting(), "answer=grant").status_code == 400
    assert requests.rows == []


@pytest.mark.parametrize("body", ["", "answer=", "answer=other", "x" * 5000, b"\xff\xfe", "List-Unsubscribe=No"])
def test_a_form_of_something_else(body: str | bytes) -> None:
    """Nothing is changed by what does not say so."""
    requests = LinkRequests()
    response = post(requests, lasting(), body)
    assert (response.status_code, requests.rows) == (400, [])
    assert "Nothing was changed" in response.text


def test_it_works_for_ever() -> None:
    """Twenty years old, signed by a key whose end is over, of a site that is switched off, for whoever objected."""
    old = msgspec.structs.replace(KEYRING.link_keys[0], until_ms=1)
    off = msgspec.structs.replace(SITE, tag=False, excluded_networks=("203.0.113.0/24",), rate=0.0001)
    requests = LinkRequests(off, keyring=msgspec.structs.replace(KEYRING, link_keys=[old]))
    token = lasting(now_s=NOW_S - 20 * 366 * 86_400, is_test=False)
    for _ in range(3):
        assert post(requests, token, headers={**FORM, "Cookie": "_ts_out=1"}).status_code == 200
    assert len(requests.rows) == 3


def test_it_works_while_no_site_is_known() -> None:
    """The entry names the space alone, and there is no event to count."""
    requests = LinkRequests(book=SiteBook())
    assert post(requests, lasting()).status_code == 200
    [row] = requests.rows
    assert (row.site_id, row.space_id, row.events, row.consents[0].key) == ("", "main", [], CUSTOMER)


def test_a_forged_one_does_nothing() -> None:
    """Changed in its kind, or anywhere: nobody is unsubscribed by guessing."""
    token = lasting()
    requests = LinkRequests()
    for forged in (token[:-2] + "AA", "p" + token[1:], "m" + token[1:], mint()[:1].replace("m", "u") + mint()[1:]):
        assert post(requests, forged).status_code in (404, 405)
    assert requests.rows == []


def test_the_disk_says_no() -> None:
    """Nothing is said to be done that is not: 503, and to come again."""
    requests = LinkRequests()
    requests.error = SpoolError("no room")
    response = post(requests, lasting())
    assert (response.status_code, response.headers["retry-after"]) == (503, "60")
    assert "Nothing was changed" in response.text
    requests.error = None
    assert post(requests, lasting()).status_code == 200


def test_a_flood_is_told_to_come_again() -> None:
    """One that holds a link must not fill the store with it."""
    requests = LinkRequests(address_rate=1, address_burst=2)
    assert [post(requests, lasting()).status_code for _ in range(3)] == [200, 200, 503]
    assert requests.refused == [("link", "rate", "")]


def test_a_list_of_mails_unsubscribes_the_pseudonym() -> None:
    """The entry is about the own person id of what stands in the token."""
    requests = LinkRequests()
    post(requests, lasting(reference="anna@mail.example", identifier_kind=DEFAULT_KINDS[1]))
    stored = make_pseudonym(KEYRING.personal_keys[0], "main", "email", "anna@mail.example")
    assert requests.rows[0].consents[0].key == own_person_id(KEYRING.pseudonym_key, "main", "email", stored)


def test_the_site_is_that_of_the_host() -> None:
    """Of the link's own space: the one whose origin or list has the host, else the first."""
    blog = Site(site_id="blog", origins=("https://blog.example",), link_hosts=("news.example",))
    foreign = Site(site_id="a-foreign", space_id="elsewhere", origins=("https://foreign.example",))
    hosts = {ORIGIN: "shop", "https://blog.example": "blog", "https://news.example": "blog"}
    for base, site_id in {**hosts, "https://foreign.example": "blog"}.items():
        requests = LinkRequests(SITE, blog, foreign)
        post(requests, lasting(), base=base)
        assert requests.rows[0].site_id == site_id
    requests = LinkRequests(SITE, blog, public_url="https://blog.example")
    post(requests, lasting())
    assert requests.rows[0].site_id == "blog"


# --- opens ---------------------------------------------------------------------------------------------------


def test_opens_are_off_by_default() -> None:
    """The picture is not there, and nothing is written."""
    requests = LinkRequests()
    assert requests.ask(mint(), tail="/o.gif").status_code == 404
    assert requests.lines == []


@pytest.mark.parametrize(
    ("agent", "link_class", "reasons"),
    [
        (CHROME, "human", ""),
        ("Mozilla/5.0", "preview", "apple_privacy"),
        ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", "preview", None),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", "preview", None),
        ("Barracuda Sentinel (EE)", "scanner", "agent"),
    ],
)
@pytest.mark.parametrize("target", ["", f"{ORIGIN}/offer"])
def test_an_open_is_counted_with_its_honesty(agent: str, link_class: str, reasons: str | None, target: str) -> None:
    """Apple's privacy protection and image proxies are no reader; nothing says whose mail it was."""
    requests = LinkRequests(link_opens=True)
    response = requests.ask(mint(target=target), tail="/o.gif", headers={"User-Agent": agent})
    assert (response.status_code, response.headers["content-type"]) == (200, "image/gif")
    assert response.headers["cache-control"] == "no-store"
    [row] = requests.rows
    assert [(event.name, event.url) for event in row.events] == [("mail_open", "")]
    assert (row.link_class, row.link_campaign, row.link_token_id, row.network) == (link_class, "spring", "", "")
    assert row.link_reasons.startswith("image_proxy") if reasons is None else row.link_reasons == reasons
    assert (row.visitor_id, row.evidence, row.site_id) == (NIL_ID, [], "shop")


@pytest.mark.parametrize(("token", "rows"), [("nonsense", 0), ("*|LT|*", 1), (mint(now_s=1_700_000_000), 1)])
def test_the_picture_is_there_whatever_happens(token: str, rows: int) -> None:
    """No mail shows a broken one: forged is counted, unfilled and expired are written, a full disk is no matter."""
    requests = LinkRequests(link_opens=True)
    assert requests.ask(token, tail="/o.gif").content[:3] == b"GIF"
    assert (len(requests.rows), len(requests.refused)) == (rows, 1 - rows)
    requests.error = SpoolError("no room")
    assert requests.ask(mint(), tail="/o.gif").status_code == 200


def test_an_open_keeps_the_tokens_id_as_a_click_does() -> None:
    """Where marketing is known to be consented to."""
    requests = LinkRequests(link_opens=True)
    requests.ask(mint(consent="m"), tail="/o.gif")
    assert requests.rows[0].link_token_id


def test_pictures_do_not_make_many_of_those_who_click() -> None:
    """An office whose mail programs load pictures: who then follows a link is no scanner for it. Pictures count among
    themselves."""
    requests = LinkRequests(link_opens=True)
    for number in range(8):
        requests.ask(mint(f"47{number:02}"), tail="/o.gif")
    requests.ask(mint("4709"))
    assert [row.link_reasons for row in requests.rows] == [*[""] * 7, "many", ""]


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_page_is_whole(language: str) -> None:
    """Each has its words in each language, its style is the one that its policy names, and no script."""
    assert TEXTS[language].keys() == TEXTS["en"].keys()
    for name in TEXTS[language]:
        status, headers, body = show_page(name, language.encode())
        text, named = body.decode(), dict(headers)
        page = TEXTS[language][name]
        assert status == page.status == TEXTS["en"][name].status
        assert text.count(escape(page.title)) == 2
        assert escape(page.text) in text
        style = text.partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest())
        assert b"'sha256-" + digest + b"'" in named[b"content-security-policy"]
        assert "<script" not in text
        assert [value for value, _ in page.buttons] == re.findall(r'value="(\w+)"', text)
