"""`/v1/links/revocations` as a program sees it, on a real store: keys, answers, what is wrong, a store that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from collector.endpoints import link_revocations
from collector.endpoints.edge import Edge
from collector.endpoints.link_revocations import MAX_BYTES, PATH, RevokeLinks, make_wanted
from collector.identity.audit import list_entries
from collector.links.minting import mint_link
from collector.links.revocations import Revocation
from collector.links.rows import read_revocations, write_revocation
from collector.sites.book import ApiKey, SiteBook
from collector.sites.keys import hash_key
from tests.endpoints.test_beacon import MemorySpool
from tests.running_store import NOON_MS, RunningStore, running_store

pytestmark = pytest.mark.engine
LINKER, READER, OF_A_SITE, REVOKED = (f"ts_{name}_secret" for name in ("aa", "bb", "cc", "dd"))


class Office:
    """The application on a store, and what keys it noted."""

    def __init__(self, store: RunningStore, **settings: Any) -> None:
        facts: dict[str, dict[str, Any]] = {
            LINKER: {"scopes": ("links",), "space_id": "north"},
            READER: {"scopes": ("read", "repair", "track")},
            OF_A_SITE: {"scopes": ("links",), "site_id": "shop"},
            REVOKED: {"scopes": ("links",), "revoked_at_ms": NOON_MS - 1},
        }
        keys = [
            ApiKey(key_id=text.split("_")[1], hash=hash_key(store.keyring, text), **changes)
            for text, changes in facts.items()
        ]
        self.used: list[str] = []
        self.book = SiteBook(keys={key.key_id: key for key in keys}, read_at_ms=NOON_MS)
        config = msgspec.structs.replace(store.config, **settings)
        edge = Edge(config, store.keyring, lambda: self.book, MemorySpool(), lambda: NOON_MS)
        self.app = Starlette(routes=link_revocations.routes(edge, lambda key_id, now_ms: self.used.append(key_id)))

    def ask(self, method: str = "GET", path: str = "", body: Any = None, key: str = LINKER) -> httpx.Response:
        """Ask once."""
        return self.ask_all([(method, path, body)], key)[0]

    def ask_all(self, asked: list[tuple[str, str, Any]], key: str = LINKER) -> list[httpx.Response]:
        """Ask all at the same time."""
        sent = {"Authorization": f"Bearer {key}"} if key else {}

        async def talk() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="https://c.example") as session:

                async def one(method: str, path: str, body: Any) -> httpx.Response:
                    raw = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
                    return await session.request(method, f"{PATH}{path}", headers=sent, content=raw)

                return await asyncio.gather(*(one(*each) for each in asked))

        return asyncio.run(talk())


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("revocations_api")) as store:
        yield store


@pytest.fixture
def store(shared_store: RunningStore) -> RunningStore:
    """The engine with empty tables, and a site of space north."""
    shared_store.clear()
    shared_store.put("sites", {"id": "shop", "row": '{"site_id": "shop", "space_id": "north"}', "version": 1})
    return shared_store


def test_links_are_taken_back_listed_and_given_back(store: RunningStore) -> None:
    """In the key's space and by its name, each with an entry of the audit log; lifted ones where they are asked for."""
    office = Office(store)
    made = office.ask("POST", "", {"campaign": "spring", "reason": "wrong list"})
    assert made.status_code == 200
    assert made.headers["cache-control"] == "no-store"
    [row] = made.json()["revocations"]
    assert {name: row[name] for name in ("space_id", "campaign", "actor", "reason", "version")} == {
        "space_id": "north",
        "campaign": "spring",
        "actor": "key:aa",
        "reason": "wrong list",
        "version": 1,
    }
    write_revocation(store.writer, Revocation("elsewhere", "main", campaign="spring"))
    assert office.ask().json()["revocations"] == [row]
    name = f"/{row['revocation_id']}"
    assert office.ask("DELETE", name).json()["revocations"][0]["lifted"] is True
    assert office.ask("DELETE", name).json()["error"] == "nothing"
    assert office.ask("DELETE", "/elsewhere").status_code == 404
    assert office.ask().json()["revocations"] == []
    assert len(office.ask("GET", "?lifted=1&limit=5").json()["revocations"]) == 1
    entries = list_entries(store.writer, "north", 10)
    assert {(entry.action, entry.actor, entry.via) for entry in entries} == {
        ("lift-revocation", "key:aa", "api"),
        ("revoke-links", "key:aa", "api"),
    }
    assert set(office.used) == {"aa"}


def test_a_link_and_a_customer_are_never_answered(store: RunningStore) -> None:
    """A whole link names its token's id, a reference its own person id; neither comes back, nor stands in the store."""
    text = mint_link(store.keyring, "canary-4711", now_s=int(time.time()), space_id="north")
    office = Office(store)
    answers = office.ask_all(
        [("POST", "", {"token": f"https://shop.example/?lt={text}"}), ("POST", "", {"customer": "canary-4711"})]
    )
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["revocations"][0]["token_id"] == text.split(".")[1]
    said = "".join(answer.text for answer in answers) + str(store.query("SELECT * FROM link_revocations"))
    said += str(store.query("SELECT * FROM audit_log"))
    assert "canary" not in said
    assert text not in said


def test_times_are_moments(store: RunningStore) -> None:
    """ISO 8601 with an offset; what stands in the row are seconds."""
    body = {"issued_from": "2026-03-01T00:00:00+01:00", "issued_to": "2026-03-02T00:00:00Z"}
    [row] = Office(store).ask("POST", "", body).json()["revocations"]
    assert (row["issued_from_s"], row["issued_to_s"]) == (1_772_319_600, 1_772_409_600)
    assert make_wanted(RevokeLinks()).issued_to_s == 0


@pytest.mark.parametrize(
    ("key", "status", "error"),
    [
        ("", 401, "unauthorized"),
        ("ts_aa_wrong", 401, "unauthorized"),
        (REVOKED, 401, "unauthorized"),
        (READER, 403, "scope"),
        (OF_A_SITE, 403, "scope"),
    ],
)
def test_who_may_not_is_refused_unread(store: RunningStore, key: str, status: int, error: str) -> None:
    """Whatever is asked; nothing is written."""
    office = Office(store)
    for method, path in (("POST", ""), ("GET", ""), ("DELETE", "/r1")):
        answer = office.ask(method, path, b"{" if method == "POST" else None, key=key)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert office.used == []
    assert read_revocations(store.writer) == []


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"{", 400, "argument"),
        (b"\xff", 400, "argument"),
        ({}, 400, "argument"),
        ({"reason": "because"}, 400, "argument"),
        ({"campain": "spring"}, 400, "argument"),
        ({"campaign": "spring", "customer": ""}, 400, "argument"),
        ({"campaign": "spring", "token": ""}, 400, "argument"),
        ({"campaign": "x" * 201}, 400, "argument"),
        ({"campaign": "a\u0000b"}, 400, "argument"),
        ({"issued_from": "2026-03-01"}, 400, "argument"),
        ({"issued_from": "2026-03-01T00:00:00"}, 400, "argument"),
        ({"issued_from": "1960-03-01T00:00:00Z"}, 400, "argument"),
        ({"token": "https://shop.example/?lt=m1a2b.forged.1"}, 400, "argument"),
        ({"customer": "1", "kind": "shoe"}, 400, "argument"),
        ({"key": "none"}, 404, "unknown"),
        (b" " * (MAX_BYTES + 1), 413, "size"),
    ],
)
def test_what_is_wrong_says_where(store: RunningStore, body: Any, status: int, error: str) -> None:
    """One line, nothing written."""
    answer = Office(store).ask("POST", "", body)
    assert (answer.status_code, answer.json()["error"], answer.json()["retry"]) == (status, error, False)
    assert "\n" not in answer.json()["message"]
    assert read_revocations(store.writer) == []
    assert list_entries(store.writer, "north", 10) == []


@pytest.mark.parametrize("query", ["?limit=0", "?limit=10001", "?limit=many", "?lifted=2", "?size=3"])
def test_a_wrong_query_is_refused(store: RunningStore, query: str) -> None:
    """400."""
    assert Office(store).ask("GET", query).status_code == 400


def test_a_store_that_is_away_asks_to_come_again(store: RunningStore) -> None:
    """503 with Retry-After; where the store is does not go out. So does a process that knows no keys yet."""
    away = Office(store, engine_port=1).ask("POST", "", {"campaign": "spring"})
    assert (away.status_code, away.json()["error"], away.json()["retry"]) == (503, "unavailable", True)
    assert away.headers["retry-after"]
    assert "127.0.0.1" not in away.text
    fresh = Office(store)
    fresh.book = SiteBook()
    assert fresh.ask().status_code == 503


def test_a_key_may_ask_so_often(store: RunningStore) -> None:
    """What comes at once beyond that is told when to come again."""
    answers = Office(store).ask_all([("DELETE", "/none", None)] * 40)
    assert {answer.status_code for answer in answers} <= {404, 429, 503}
    assert any(answer.status_code == 429 for answer in answers)
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
