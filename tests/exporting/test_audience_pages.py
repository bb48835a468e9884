"""`GET /v1/audiences` and its members, over a real store: pages, keys, what is written down."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from collector.audiences.configuration import AudienceConfig
from collector.config import Config
from collector.endpoints import exports
from collector.endpoints.edge import Edge
from collector.sites.book import ApiKey, SiteBook
from collector.sites.keys import hash_key
from collector.store.client import StoreClient, open_client
from collector.store.threads import StoreThreads
from tests.audiences.audience_world import customer
from tests.edge_examples import KEYRING
from tests.endpoints.test_beacon import MemorySpool
from tests.exporting.shop import TRAITS, fill
from tests.running_store import NOON_MS, RunningStore, running_store

pytestmark = pytest.mark.engine
SCOPES = {"aa": ("export",), "bb": ("audience:read",), "cc": ("profile:read",)}
MEMBERS = "/v1/audiences/buyers/members"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as running:
        fill(running)
        yield running


class Caller:
    """A client of the application."""

    def __init__(self, store: RunningStore) -> None:
        keys = {
            name: ApiKey(key_id=name, hash=hash_key(KEYRING, f"ts_{name}_secret"), scopes=scopes)
            for name, scopes in SCOPES.items()
        }
        north = ApiKey(key_id="dd", hash=hash_key(KEYRING, "ts_dd_secret"), scopes=("export",), space_id="north")
        of_a_site = ApiKey(key_id="ee", hash=hash_key(KEYRING, "ts_ee_secret"), scopes=("export",), site_id="shop")
        book = SiteBook(keys={**keys, "dd": north, "ee": of_a_site}, read_at_ms=NOON_MS)
        self.threads = StoreThreads(lambda: open_client(store.config, store.keyring, "writer"), 1)
        edge = Edge(Config(), KEYRING, lambda: book, MemorySpool(), lambda: NOON_MS)
        audiences = {"buyers": AudienceConfig(name="buyers", sentence="Whoever has bought", purpose="")}
        self.used: list[str] = []
        routes = exports.routes(
            edge, store.keyring, self.threads, lambda key, _: self.used.append(key), audiences, TRAITS
        )
        self.app = Starlette(routes=routes)

    def get(self, path: str, key: str = "aa") -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://collect.example") as client:
                return await client.get(path, headers={"Authorization": f"Bearer ts_{key}_secret"} if key else {})

        return asyncio.run(ask())


@pytest.fixture
def caller(store: RunningStore) -> Iterator[Caller]:
    one = Caller(store)
    yield one
    one.threads.close()


def read_log(store: RunningStore) -> list[dict[str, Any]]:
    rows = store.query("SELECT actor, via, arguments FROM audit_log FINAL WHERE action = 'export' ORDER BY at")
    return [{**row, **json.loads(row["arguments"])} for row in rows]


def test_the_list_is_for_two_scopes(caller: Caller) -> None:
    """With counts; of the key's space alone."""
    said = {"name": "buyers", "sentence": "Whoever has bought", "purpose": "", "members": 4}
    assert caller.get("/v1/audiences").json() == {"audiences": [said]}
    assert caller.get("/v1/audiences", "bb").json() == {"audiences": [said]}
    assert caller.get("/v1/audiences", "dd").json() == {"audiences": []}
    assert [caller.get("/v1/audiences", key).status_code for key in ("cc", "ee", "zz", "")] == [403, 403, 401, 401]
    assert caller.used == ["aa", "bb", "dd"]


def test_members_come_page_by_page(caller: Caller, store: RunningStore) -> None:
    """Everybody once, nobody who is restricted, and each page is written down."""
    before = read_log(store)
    rows, path, pages = [], f"{MEMBERS}?limit=2", 0
    while True:
        answer = caller.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/jsonl"
        assert answer.headers["cache-control"] == "no-store"
        pages += 1
        rows += [json.loads(line) for line in answer.text.splitlines()]
        if "next-cursor" not in answer.headers:
            break
        path = f"{MEMBERS}?limit=2&cursor={answer.headers['next-cursor']}"
    assert [row["person_id"] for row in rows] == [customer(1), customer(2), customer(4)]
    assert rows[1]["customer_id"] == "=2+5"
    assert rows[0]["since"].endswith("Z")
    entries = read_log(store)
    assert len(entries) - len(before) == pages
    assert {(entry["actor"], entry["via"], entry["audience"]) for entry in entries} == {("key:aa", "api", "buyers")}
    assert sum(entry["rows"] for entry in entries) - sum(entry["rows"] for entry in before) == 3


def test_members_as_csv(caller: Caller) -> None:
    """The same columns, safe in a spreadsheet."""
    answer = caller.get(f"{MEMBERS}?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["customer_id"] for row in rows] == ["C-1", "'=2+5", "C-4"]


@pytest.mark.parametrize(
    ("path", "key", "status", "error"),
    [
        (MEMBERS, "bb", 403, "scope"),
        (MEMBERS, "ee", 403, "scope"),
        (MEMBERS, "", 401, "unauthorized"),
        (MEMBERS, "dd", 404, "unknown"),
        ("/v1/audiences/nobody/members", "aa", 404, "unknown"),
        (f"{MEMBERS}?limit=0", "aa", 400, "argument"),
        (f"{MEMBERS}?limit=10001", "aa", 400, "argument"),
        (f"{MEMBERS}?limit=1&limit=2", "aa", 400, "argument"),
        (f"{MEMBERS}?form=csv", "aa", 400, "argument"),
        (f"{MEMBERS}?format=xml", "aa", 400, "argument"),
        (f"{MEMBERS}?cursor=x", "aa", 400, "argument"),
    ],
)
def test_refusals(caller: Caller, store: RunningStore, path: str, key: str, status: int, error: str) -> None:
    """Each with a message, and nothing is written down."""
    before = len(read_log(store))
    answer = caller.get(path, key)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["message"]
    assert len(read_log(store)) == before


def test_without_the_log_nothing_is_told(caller: Caller, store: RunningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not take the entry is 503."""
    with monkeypatch.context() as patch:
        patch.setattr(StoreClient, "insert_lines", lambda self, *_, **__: self.command("SELECT throwIf(1)"))
        answer = caller.get(MEMBERS)
    assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
    assert customer(1) not in answer.text
