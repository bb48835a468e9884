"""`/v1/identity/…` as a program sees it: keys, answers and bodies, a store that is away and a spool that says no."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from collector.config import Config
from collector.endpoints import identity
from collector.endpoints.edge import Edge
from collector.endpoints.identity import MAX_ASKED, MAX_BYTES, PATH, STATUS
from collector.endpoints.identity_description import describe_identity
from collector.errors import RepairError, RepairReason, SpoolFull, StoreUnavailable
from collector.identity.audit import AuditEntry
from collector.identity.difference import Difference
from collector.identity.requests import REQUESTS, Blocks, Carried, Changed, Entries, Merge, Request
from collector.sites.book import ApiKey, SiteBook
from collector.sites.keys import hash_key
from tests.edge_examples import KEYRING, NOW_MS
from tests.endpoints.test_beacon import MemorySpool

ENTRY = AuditEntry("0199f3c2-5a11-7c3e-9d41-2f6f0a7be913", NOW_MS, "merge", "key:aa", "api")
CHANGED = Changed("merge", ENTRY.audit_id, 1, 0, Difference())
MERGE = {"a": "customer=4711", "b": "customer=0815"}


def make_key(name: str, *scopes: str, **changes: Any) -> tuple[str, ApiKey]:
    """Return a key and its text."""
    text = f"ts_{name}_secret"
    return text, ApiKey(key_id=name, hash=hash_key(KEYRING, text), scopes=scopes, **changes)


REPAIRER, _repairer = make_key("aa", "repair", space_id="north")
READER, _reader = make_key("bb", "read", "write", "track", "identify-server", "merge", "pages")
OF_A_SITE, _of_a_site = make_key("cc", "repair", site_id="shop")
REVOKED, _revoked = make_key("dd", "repair", revoked_at_ms=NOW_MS - 1)
BOOK = SiteBook(keys={key.key_id: key for key in (_repairer, _reader, _of_a_site, _revoked)}, read_at_ms=NOW_MS)


class Office:
    """The application with one endpoint for each request, and what it carried out. `act`: what becomes of a request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[Request], Carried] | None = None) -> None:
        self.carried: list[tuple[str, str, Request]] = []
        self.failed: list[AuditEntry] = []
        self.used: list[str] = []
        self.spool = MemorySpool()
        self.book = BOOK

        def carry_out(config: Config, keyring: Any, space_id: str, actor: str, request: Request) -> Carried:
            self.carried.append((space_id, actor, request))
            return act(request) if act else Carried(CHANGED, (b"{}",), ENTRY)

        def note_failure(config: Config, keyring: Any, space_id: str, actor: str, entry: AuditEntry) -> None:
            self.failed.append(entry)

        monkeypatch.setattr(identity, "carry_out", carry_out)
        monkeypatch.setattr(identity, "note_failure", note_failure)
        edge = Edge(Config(), KEYRING, lambda: self.book, self.spool, lambda: NOW_MS)
        self.app = Starlette(routes=identity.routes(edge, lambda key_id, now_ms: self.used.append(key_id)))

    def ask(self, path: str, body: Any = None, key: str = REPAIRER, **headers: str) -> httpx.Response:
        """Ask once."""
        return self.ask_all([(path, body)], key, **headers)[0]

    def ask_all(self, asked: list[tuple[str, Any]], key: str = REPAIRER, **headers: str) -> list[httpx.Response]:
        """Ask all at the same time."""
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **headers}

        async def talk() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="https://c.example") as session:

                async def one(path: str, body: Any) -> httpx.Response:
                    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
                    method = "GET" if body is None else "POST"
                    content = {} if body is None else {"content": raw}
                    return await session.request(method, f"{PATH}/{path}", headers=sent, **content)

                return await asyncio.gather(*(one(path, body) for path, body in asked))

        return asyncio.run(talk())


def test_a_change_is_answered_when_it_is_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """202 with what will change; the key's space and name go with it; nothing is cached."""
    office = Office(monkeypatch)
    answer = office.ask("merge", {**MERGE, "note": "ticket 88"})
    assert answer.status_code == 202
    assert answer.json()["audit_id"] == ENTRY.audit_id
    assert answer.headers["cache-control"] == "no-store"
    assert office.carried == [("north", "key:aa", Merge(**MERGE, note="ticket 88"))]
    assert office.spool.lines == [b"{}"]
    assert office.used == ["aa"]


def test_what_only_looks_is_200_and_spools_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run, the log and the blocks."""
    for path, body, said in (
        ("merge", {**MERGE, "dry_run": True}, CHANGED),
        ("log?limit=3", None, Entries([ENTRY])),
        ("blocks", None, Blocks([])),
    ):
        office = Office(monkeypatch, lambda request, said=said: Carried(said))
        assert office.ask(path, body).status_code == 200
        assert office.spool.lines == []


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
def test_who_may_not_is_refused_unread(monkeypatch: pytest.MonkeyPatch, key: str, status: int, error: str) -> None:
    """Before the body is looked at; and no answer tells whether a key of that id exists."""
    office = Office(monkeypatch)
    answer = office.ask("merge", b"{", key=key)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert office.carried == office.used == []
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_may_come_as_basic(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for server events."""
    basic = base64.b64encode(f"{REPAIRER}:".encode()).decode()
    assert Office(monkeypatch).ask("merge", MERGE, key="", Authorization=f"Basic {basic}").status_code == 202


def test_before_any_key_is_known_nobody_is_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not heard of the store yet asks to come again."""
    office = Office(monkeypatch)
    office.book = SiteBook()
    assert office.ask("merge", MERGE).status_code == 503


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("merge", b"{"),
        ("merge", {"a": "customer=1"}),
        ("merge", {**MERGE, "dryrun": True}),
        ("merge", {**MERGE, "note": "x" * 501}),
        ("split", {"identifiers": []}),
        ("split", {"identifiers": ["x"] * 51}),
        ("retract", {"from": "yesterday"}),
        ("retract", {"from": "2026-11-20T10:00:00"}),
        ("retract", {"yes_all": 50_001}),
        ("restore", {"ids": "all"}),
        ("explain", {"of": "x" * 601}),
        ("log?limit=many", None),
        ("log?limit=1001", None),
        ("log?size=3", None),
    ],
)
def test_a_wrong_body_is_refused_with_its_place(monkeypatch: pytest.MonkeyPatch, path: str, body: Any) -> None:
    """400, one line, nothing done."""
    office = Office(monkeypatch)
    answer = office.ask(path, body)
    assert (answer.status_code, answer.json()["error"], answer.json()["retry"]) == (400, "argument", False)
    assert "\n" not in answer.json()["message"]
    assert office.carried == []


def test_a_large_body_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """413."""
    assert Office(monkeypatch).ask("merge", b" " * (MAX_BYTES + 1)).status_code == 413


def test_a_text_that_is_no_utf_8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """415, in a value and in a name."""
    for body in (b'{"a":"customer=\xff","b":"customer=1"}', b'{"\xff":"customer=1"}'):
        office = Office(monkeypatch)
        answer = office.ask("merge", body)
        assert (answer.status_code, answer.json()["error"]) == (415, "encoding")
        assert office.carried == []


@pytest.mark.parametrize("reason", list(RepairReason))
def test_every_reason_has_its_status(monkeypatch: pytest.MonkeyPatch, reason: RepairReason) -> None:
    """And its line goes to who asked."""

    def refuse(request: Request) -> Carried:
        raise RepairError(reason, "this is why")

    answer = Office(monkeypatch, refuse).ask("merge", MERGE)
    assert answer.status_code == STATUS[reason]
    assert answer.json() == {"error": reason, "message": "this is why", "retry": False}


def test_a_store_that_is_away_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After; where it is does not go out."""

    def fail(request: Request) -> Carried:
        raise StoreUnavailable("ClickHouse at 10.1.2.3:8123 does not answer")

    answer = Office(monkeypatch, fail).ask("explain", {"of": "customer=4711"})
    assert (answer.status_code, answer.json()["retry"]) == (503, True)
    assert int(answer.headers["retry-after"]) > 0
    assert "10.1.2.3" not in answer.text


def test_a_full_spool_is_noted_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and the audit log hears that the change did not happen."""
    office = Office(monkeypatch)
    office.spool.error = SpoolFull("full")
    assert office.ask("merge", MERGE).status_code == 503
    assert office.failed == [ENTRY]


def test_what_was_begun_is_spooled_though_whoever_asked_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry in the audit log announces it: a connection that breaks in between must not make that untrue."""
    begun, may_go_on = threading.Event(), threading.Event()

    def act(request: Request) -> Carried:
        begun.set()
        assert may_go_on.wait(30)
        return Carried(CHANGED, (b"{}",), ENTRY)

    office = Office(monkeypatch, act)

    async def leave() -> None:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(office.app), base_url="https://c.example"
        ) as session:
            asked = asyncio.create_task(
                session.post(f"{PATH}/merge", json=MERGE, headers={"Authorization": f"Bearer {REPAIRER}"})
            )
            await asyncio.to_thread(begun.wait, 30)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert office.spool.lines == []
            may_go_on.set()
            # What goes on by itself, whoever it belongs to.
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait_for(asyncio.gather(*rest), 30)

    asyncio.run(leave())
    assert office.spool.lines == [b"{}"]
    assert office.failed == []


def test_a_key_that_asks_too_often_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """429 after a burst; whoever has no key does not use it up."""
    office = Office(monkeypatch)
    for _ in range(5):
        assert office.ask("blocks", key="ts_aa_wrong").status_code == 401
    answers = office.ask_all([("blocks", None)] * 24)
    codes = [answer.status_code for answer in answers]
    assert codes.count(429) >= 2
    assert 18 <= len(codes) - codes.count(429) <= 22
    assert int(answers[codes.index(429)].headers["retry-after"]) >= 1


def test_only_so_many_are_carried_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait; those beyond a bound are asked to come again."""
    office = Office(monkeypatch)
    answers = office.ask_all([("merge", MERGE)] * (MAX_ASKED + 3))
    codes = [answer.status_code for answer in answers]
    assert codes.count(202) == MAX_ASKED
    assert codes.count(503) == 3


def test_the_description_knows_every_request_and_reason() -> None:
    """Each path with its body, and every word that a refusal may have."""
    paths, schemas = describe_identity()
    assert {f"{PATH}/{name}" for name in REQUESTS} | {f"{PATH}/log", f"{PATH}/blocks"} == set(paths)
    words = schemas["IdentityRefusal"]["properties"]["error"]["enum"]
    assert {*RepairReason, "unauthorized", "scope", "rate", "unavailable", "size", "encoding"} <= set(words)


def test_every_path_and_word_is_on_the_page() -> None:
    """docs/identity-api.md names each request and each error that a sender may get."""
    page = (Path(__file__).parents[2] / "docs" / "identity-api.md").read_text(encoding="utf-8")
    assert [name for name in REQUESTS if f"`POST {name}`" not in page] == []
    words = {*RepairReason, *identity.MESSAGES} - {RepairReason.PENDING}
    assert [word for word in sorted(words) if f"`{word}`" not in page] == []
