"""`POST /v1/links` as a backend sees it: keys, links, refusals in their place, wrong bodies, a disk that says no."""

from __future__ import annotations

import asyncio
import gzip
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from collector.config import Config
from collector.endpoints import mint
from collector.endpoints.edge import Edge
from collector.endpoints.mint import MAX_BYTES, PATH
from collector.endpoints.mint_links import MAX_RECIPIENTS
from collector.endpoints.mint_records import RecordSender
from collector.errors import LinkRefusal
from collector.links.record import FOLDER, Minting
from collector.links.token import LinkKind, LinkProblem, LinkToken, read_link
from collector.sites.book import ApiKey, Site, SiteBook
from collector.sites.keys import hash_key
from tests.edge_examples import KEYRING, NOW_MS
from tests.endpoints.test_beacon import MemorySpool

URL = "https://shop.example/spring"


def make_key(name: str, *scopes: str, **changes: Any) -> tuple[str, ApiKey]:
    """Return a key and its text."""
    text = f"ts_{name}_secret"
    return text, ApiKey(key_id=name, hash=hash_key(KEYRING, text), scopes=scopes, **changes)


LINKS, _links = make_key("aa", "links")
READER, _reader = make_key("bb", "read", "write", "track", "repair")
OF_A_SITE, _of_a_site = make_key("cc", "links", site_id="club")
REVOKED, _revoked = make_key("dd", "links", revoked_at_ms=NOW_MS - 1)
NORTH, _north = make_key("ee", "links", space_id="north")
SITES = (
    Site("shop", origins=("https://shop.example",), link_hosts=("app.example",)),
    Site("club", origins=("https://club.example",)),
    Site("north", space_id="north", origins=("https://north.example",)),
)
BOOK = SiteBook(
    sites={site.site_id: site for site in SITES},
    keys={key.key_id: key for key in (_links, _reader, _of_a_site, _revoked, _north)},
    read_at_ms=NOW_MS,
)


class Desk:
    """The application with the endpoint. The store is away all the time."""

    def __init__(self, folder: Path, book: SiteBook = BOOK, **config: Any) -> None:
        self.folder = folder
        self.used: list[str] = []
        self.book = book
        settings = {"data": str(folder), "engine_port": 9, **config}
        edge = Edge(Config(**settings), KEYRING, lambda: self.book, MemorySpool(), lambda: NOW_MS)
        records = RecordSender(edge.config, KEYRING)
        self.app = Starlette(
            routes=mint.routes(edge, lambda key_id, now_ms: self.used.append(key_id), records, lambda: 0.0)
        )

    def ask(self, body: Any, key: str = LINKS, times: int = 1, **headers: str) -> httpx.Response:
        """Ask, and return the last answer."""
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **headers}

        async def talk() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="https://c.example") as session:
                raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
                for _ in range(times):
                    answer = await session.post(PATH, headers=sent, content=raw)
            return answer

        return asyncio.run(talk())

    def records(self) -> list[Minting]:
        """What waits for the store."""
        return [msgspec.json.decode(path.read_bytes(), type=Minting) for path in (self.folder / FOLDER).glob("*.json")]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """The application."""
    return Desk(tmp_path)


def read(link: dict[str, str]) -> LinkToken:
    """Return what a link's token says."""
    token = read_link(KEYRING, link["token"], NOW_MS // 1000)
    assert isinstance(token, LinkToken)
    return token


def test_one_link(desk: Desk) -> None:
    """With all that can be said; one record, which names no recipient."""
    body = {"reference": "4711", "url": f"{URL}#top", "campaign": "spring", "message": "a", "link": "top", "days": 9}
    answer = desk.ask({**body, "consent": "im"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    (link,) = answer.json()["links"]
    token = read(link)
    assert (token.reference, token.campaign, token.message, token.link) == ("4711", "spring", "a", "top")
    assert (token.consent, token.expires_s - token.issued_s, token.target) == ("im", 9 * 86_400, "")
    assert link["url"] == f"{URL}?lt={link['token']}#top"
    (record,) = desk.records()
    assert (record.minting_id, record.made, record.recipients) == (answer.json()["minting"], 1, 1)
    assert (record.actor, record.via, record.links) == ("key:aa", "api", ("top",))
    assert "4711" not in msgspec.json.encode(record).decode()
    assert desk.used == ["aa"]


def test_a_batch(desk: Desk) -> None:
    """In order; what cannot be used is refused in its place; one record."""
    recipients: list[dict[str, Any]] = [
        {"reference": "4711"},
        {"reference": "guest"},
        {"reference": "anna@mail.example"},
        {"reference": "4712", "consent": "m", "link": "b", "url": "https://app.example/x"},
        {"reference": "4713", "url": "https://evil.example/"},
        {"reference": ""},
        {"reference": "4714", "link": "x@y"},
        {"reference": "4715", "url": "https://north.example/"},
    ]
    bad_label = desk.ask({"recipients": recipients, "url": URL})
    assert bad_label.status_code == 400  # the form says no @
    recipients[6]["link"] = "x\u0000"
    answer = desk.ask({"recipients": recipients, "url": URL, "campaign": "spring"})
    assert answer.status_code == 200
    links = answer.json()["links"]
    found = [(link["error"], link["field"]) if "error" in link else "made" for link in links]
    fields = {"nobody": "reference", "email": "reference", "empty": "reference", "target": "url", "label": "link"}
    words = ("nobody", "email", "made", "target", "empty", "label", "target")
    assert found == ["made", *((word, fields[word]) if word in fields else word for word in words)]
    assert (read(links[3]).link, read(links[3]).consent) == ("b", "m")
    assert links[3]["url"].startswith("https://app.example/x?lt=")
    assert answer.json()["made"] == 2
    (record,) = desk.records()
    assert (record.made, record.recipients, record.refused) == (2, 2, 6)


def test_kinds_of_links(desk: Desk) -> None:
    """Recipients' tokens, unsubscribing, redirects, sealed ones, pseudonyms, test mails."""

    def make(**body: Any) -> tuple[dict[str, str], LinkToken]:
        answer = desk.ask({"reference": "4711", **body})
        assert answer.status_code == 200, answer.text
        return answer.json()["links"][0], read(answer.json()["links"][0])

    link, token = make(type="recipient")
    assert (token.kind, link["url"]) == (LinkKind.RECIPIENT, "")
    link, token = make(type="unsubscribe")
    assert link["url"] == f"https://c.example/l/{link['token']}"
    link, token = make(url=URL, redirect=True, campaign="c")
    assert (token.target, link["url"]) == (URL, f"https://c.example/l/{link['token']}")
    link, token = make(url=URL, sealed=True)
    assert "4711" not in link["token"]
    link, token = make(reference="Anna@Mail.example", kind="email", url=URL)
    assert token.is_pseudonym
    assert "nna" not in link["url"]
    assert make(test=True)[1].is_test
    sent_at = datetime.fromtimestamp(NOW_MS / 1000 + 86_400, UTC).isoformat()
    answer = desk.ask({"reference": "4711", "url": URL, "sent_at": sent_at})
    early = read_link(KEYRING, answer.json()["links"][0]["token"], NOW_MS // 1000)
    assert isinstance(early, LinkProblem)
    assert early.reason == "early"
    answer = Desk(desk.folder, public_url="https://go.example").ask({"reference": "1x", "type": "preferences"})
    assert answer.json()["links"][0]["url"].startswith("https://go.example/l/p")


@pytest.mark.parametrize(
    ("key", "status"), [("", 401), ("ts_zz_secret", 401), (REVOKED, 401), (READER, 403), (LINKS, 200)]
)
def test_keys(desk: Desk, key: str, status: int) -> None:
    """Only the scope links will do, in force."""
    answer = desk.ask({"reference": "4711", "url": URL}, key)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert len(desk.records()) == (status == 200)


def test_a_key_makes_links_to_its_own(desk: Desk) -> None:
    """A site's key to that site, a space's to its sites."""
    for key, url, status in (
        (OF_A_SITE, "https://club.example/", 200),
        (OF_A_SITE, URL, 400),
        (NORTH, "https://north.example/", 200),
        (NORTH, URL, 400),
    ):
        answer = desk.ask({"reference": "4711", "url": url}, key)
        assert answer.status_code == status
        if status == 400:
            assert (answer.json()["error"], answer.json()["field"]) == ("target", "url")
    assert {record.space_id for record in desk.records()} == {"main", "north"}


@pytest.mark.parametrize(
    ("body", "error", "field"),
    [
        (b"{", "argument", ""),
        (b"[]", "argument", ""),
        (b'"\xff"', "argument", ""),
        ({}, "argument", "reference"),
        ({"reference": "1x", "recipients": [{"reference": "2x"}]}, "argument", "reference"),
        ({"reference": "1x", "campain": "c"}, "argument", ""),
        ({"reference": "1x", "kind": "passport"}, "argument", "kind"),
        ({"reference": "1x", "days": 0}, "argument", ""),
        ({"reference": "1x", "days": 5000}, "argument", ""),
        ({"reference": "1x", "campaign": "a\nb"}, "label", "campaign"),
        ({"reference": "1x", "message": "\u202e"}, "label", "message"),
        ({"reference": "1x", "type": "recipient", "campaign": "c"}, "value", "reference"),
        ({"reference": "1x", "type": "unsubscribe", "url": URL}, "target", "url"),
        ({"reference": "1x", "redirect": True}, "target", "url"),
        ({"reference": "1x", "url": "https://shop.example@evil.example/"}, "target", "url"),
        ({"reference": "1x", "sent_at": "2026-03-01T09:00:00"}, "argument", ""),
        ({"reference": "1x", "sent_at": "1960-03-01T09:00:00Z"}, "value", "reference"),
        ({"reference": "1x", "sent_at": "9990-03-01T09:00:00Z"}, "value", "reference"),
        ({"recipients": [{"reference": str(n)} for n in range(MAX_RECIPIENTS + 1)]}, "argument", ""),
    ],
)
def test_requests_that_are_wrong_as_a_whole(desk: Desk, body: Any, error: str, field: str) -> None:
    """400 with the word and the field; nothing is made."""
    answer = desk.ask(body)
    assert answer.status_code == 400
    assert (answer.json()["error"], answer.json()["field"], answer.json()["retry"]) == (error, field, False)
    assert desk.records() == []


def test_bodies_that_are_not_read(desk: Desk) -> None:
    """Too large, packed or not; of an unknown encoding."""
    large = msgspec.json.encode({"reference": "4711", "campaign": "x" * MAX_BYTES})
    assert desk.ask(large).status_code == 413
    assert desk.ask(gzip.compress(large), **{"Content-Encoding": "gzip"}).status_code == 413
    assert desk.ask(b"{}", **{"Content-Encoding": "br"}).status_code == 415


def test_no_link_without_a_record(tmp_path: Path) -> None:
    """Where the disk takes no record, there are no links; a start without sites makes none either."""
    (tmp_path / "links").write_text("in the way")
    answer = Desk(tmp_path).ask({"reference": "4711", "url": URL})
    assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
    assert "links" not in answer.json()
    assert Desk(tmp_path, SiteBook()).ask({"reference": "4711"}).headers["retry-after"] == "5"


def test_rates(desk: Desk) -> None:
    """A key that asks too much waits; another one does not."""
    answer = desk.ask({"recipients": [{"reference": "guest"}] * MAX_RECIPIENTS}, times=9)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert desk.ask({"reference": "4711"}, OF_A_SITE).status_code == 200


def test_nothing_of_a_body_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Nor answered by a refusal."""
    caplog.set_level(logging.DEBUG)
    for body in (
        {"reference": "canary@mail.example", "url": URL},
        {"reference": ["canary"]},
        {"reference": "canary", "kind": "canary"},
        {"reference": "canary", "url": "https://canary.example/"},
    ):
        assert "canary" not in desk.ask(body).text
    assert "canary" not in caplog.text


FIELDS = st.sampled_from([*msgspec.structs.fields(mint.MintRequest)]).map(lambda field: field.encode_name)
JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | st.sampled_from(list(LinkKind)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9) | FIELDS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(FIELDS, JUNK, max_size=5), st.booleans())
def test_wrong_bodies(tmp_path_factory: pytest.TempPathFactory, body: dict[str, Any], has_reference: bool) -> None:
    """Whatever comes: 200 or 400, with words that are known."""
    if has_reference:
        body["reference"] = "4711"
    desk = Desk(tmp_path_factory.mktemp("wrong"))
    answer = desk.ask(body)
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert answer.json()["error"] in {"argument", *map(str, LinkRefusal)}
