"""`POST /v1/track` and its like as a server sees them: keys, answers, bodies, and a spool that says no."""

from __future__ import annotations

import asyncio
import base64
import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from collector.accept.server_events_call import Call, CallContext
from collector.config import Config
from collector.endpoints import server_events
from collector.endpoints.edge import Edge
from collector.endpoints.server_events import STATUS, read_key
from collector.endpoints.server_events_texts import MESSAGES, describe_server_events, find_message
from collector.errors import SpoolError, SpoolFull
from collector.event import LandingRow
from collector.reasons import Reason
from collector.sites.book import ApiKey, Site, SiteBook
from collector.sites.keys import hash_key
from collector.spool.frames import encode_frame
from collector.spool.writer import SpoolWriter
from tests.edge_examples import KEYRING, NOW_MS, SITE, VISITOR
from tests.endpoints.test_beacon import MemorySpool

AT = "2026-11-18T11:00:00Z"
PATHS = ("track", "identify", "page", "screen", "group", "alias", "batch")


def make_key(name: str, *scopes: str, site_id: str = "shop", **changes: Any) -> tuple[str, ApiKey]:
    """Return a key and its text."""
    text = f"ts_{name}_secret"
    return text, ApiKey(key_id=name, hash=hash_key(KEYRING, text), site_id=site_id, scopes=scopes, **changes)


SERVER, _server = make_key("aa", "identify-server", "merge", "track")
CALL_CENTRE, _call_centre = make_key("11", "identify-server", "track")
TRACKER, _tracker = make_key("bb", "track")
READER, _reader = make_key("cc", "read")
SPACE, _space = make_key("dd", "track", "identify-server", site_id="")
REVOKED, _revoked = make_key("ee", "track", revoked_at_ms=NOW_MS - 1)
EXPIRED, _expired = make_key("ff", "track", expires_at_ms=NOW_MS)
KEYS = {key.key_id: key for key in (_server, _call_centre, _tracker, _reader, _space, _revoked, _expired)}
SITES = {"shop": SITE, "blog": Site(site_id="blog"), "elsewhere": Site(site_id="elsewhere", space_id="other")}
BOOK = SiteBook(sites=SITES, keys=KEYS, read_at_ms=NOW_MS)

CALL = {"event": "Order", "userId": "4711", "messageId": "m-1", "timestamp": AT}


class Sent:
    """An answer and what it left behind."""

    def __init__(self, response: httpx.Response, spool: MemorySpool, used: list[str]) -> None:
        self.response = response
        self.status = response.status_code
        self.text: dict[str, Any] = response.json()
        self.used = used
        rows = [msgspec.json.decode(line, type=LandingRow) for line in spool.lines]
        self.rows = [row for row in rows if row.events]
        self.refused = [refused for row in rows for refused in row.rejected]


def send(
    body: Any = CALL,
    path: str = "track",
    *,
    key: str | None = SERVER,
    headers: dict[str, str] | None = None,
    spool: MemorySpool | None = None,
    book: SiteBook = BOOK,
    method: str = "POST",
    **settings: Any,
) -> Sent:
    """Send one request to the real endpoint."""
    spool = spool or MemorySpool()
    used: list[str] = []
    edge = Edge(Config(**settings), KEYRING, lambda: book, spool, lambda: NOW_MS)
    app = Starlette(routes=server_events.routes(edge, lambda key_id, now_ms: used.append(key_id)))
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    sent = {**({} if key is None else {"Authorization": f"Bearer {key}"}), **(headers or {})}

    async def talk() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://c.example") as session:
            answer = await session.request(method, f"/v1/{path}", content=raw, headers=sent)
        await edge.refusals.flush()
        return answer

    return Sent(asyncio.run(talk()), spool, used)


# --- answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS[:-1])
def test_a_call_is_kept(path: str) -> None:
    """200 with Segment's word for it, never cached, once the line is spooled."""
    sent = send({**CALL, "previousId": "1", "groupId": "2"}, path)
    assert (sent.status, sent.text) == (200, {"success": True})
    assert sent.response.headers["cache-control"] == "no-store"
    assert sent.response.headers["content-type"] == "application/json"
    assert "access-control-allow-origin" not in sent.response.headers
    assert len(sent.rows) == 1
    assert sent.used == ["aa"]


def test_a_batch_names_what_is_not_kept() -> None:
    """Each with its place, reason and field; the rest is on disk; the record has them without their values."""
    calls = [
        {"type": "track", **CALL},
        {"type": "track", **CALL, "messageId": "m-2", "userId": "guest"},
        {"type": "page", "anonymousId": VISITOR, "context": {"ip": "?"}},
        {"type": "track", **CALL, "messageId": "m-3", "context": {"consent": ""}},
    ]
    sent = send({"batch": calls}, "batch")
    assert sent.status == 200
    assert sent.text["success"] is True
    assert [(entry["index"], entry["reason"], entry["field"]) for entry in sent.text["rejected"]] == [
        (1, "blocked", "userId"),
        (3, "consent", "context.consent"),
    ]
    assert [(entry["index"], entry["reason"], entry["field"]) for entry in sent.text["left_out"]] == [
        (2, "shape", "context.ip")
    ]
    assert [entry["index"] for entry in sent.text["made"]] == [2]
    assert re.fullmatch(r"[0-9a-f-]{14}7[0-9a-f-]{21}", sent.text["made"][0]["messageId"])
    assert all(len(entry["message"]) > 20 for entry in sent.text["rejected"] + sent.text["left_out"])
    assert sorted((row.reason, row.field, row.events) for row in sent.refused) == [
        ("blocked", "userId", 1),
        ("consent", "context.consent", 1),
        ("shape", "context.ip", 0),
    ]
    assert len(sent.rows) == 2


def test_a_batch_of_which_nothing_is_kept_is_an_error() -> None:
    """A developer whose every event is wrong sees a status, not a success."""
    sent = send({"batch": [{"type": "track", "userId": "1"}, {"type": "nope"}]}, "batch")
    assert (sent.status, sent.text["error"], sent.text["field"]) == (400, "shape", "batch[0].event")
    assert [entry["index"] for entry in sent.text["rejected"]] == [0, 1]
    assert sent.rows == []


def test_a_refusal_that_nobody_can_mend_is_no_error() -> None:
    """Consent that was not given: 200, named, and nothing to retry."""
    sent = send({**CALL, "context": {"consent": "m"}})
    assert sent.status == 200
    assert [entry["reason"] for entry in sent.text["rejected"]] == ["consent"]
    assert sent.rows == []


def test_an_id_that_was_made_is_told() -> None:
    """So that whoever wants to send the call again can."""
    sent = send({"event": "Order", "userId": "4711"})
    assert sent.text == {"success": True, "messageId": sent.rows[0].events[0].event_id}


def test_an_idempotency_key_stands_for_a_message_id() -> None:
    """Of a call that has none; each call of a batch gets its own."""
    call = {"event": "Order", "userId": "4711", "timestamp": AT}
    header = {"Idempotency-Key": "order-17"}
    by_header, by_field = send(call, headers=header), send({**call, "messageId": "order-17"})
    assert by_header.text == {"success": True}
    assert by_header.rows[0].events == by_field.rows[0].events
    assert send(CALL, headers=header).rows[0].events != by_header.rows[0].events
    batch = {"batch": [{"type": "track", **call}] * 2}
    first, again = send(batch, "batch", headers=header), send(batch, "batch", headers=header)
    assert first.rows[0].events == again.rows[0].events
    assert len(first.rows[0].events) == 2


def test_an_idempotency_key_needs_a_time() -> None:
    """Or every retry would be another row."""
    sent = send({"event": "Order", "userId": "4711"}, headers={"Idempotency-Key": "order-17"})
    assert (sent.status, sent.text["field"]) == (400, "timestamp")
    assert "same in every retry" in sent.text["message"]


@pytest.mark.parametrize("value", ["x" * 201, "a\x07b"])
def test_an_idempotency_key_has_bounds(value: str) -> None:
    """One printable text of at most 200 characters."""
    sent = send(headers={"Idempotency-Key": value})
    assert (sent.status, sent.text["error"], sent.text["field"]) == (400, "id", "Idempotency-Key")


@pytest.mark.parametrize(
    ("changes", "status", "error", "field"),
    [
        ({"event": None}, 400, "shape", "event"),
        ({"timestamp": None}, 400, "shape", "timestamp"),
        ({"timestamp": "2020-01-01T00:00:00Z"}, 400, "clock", "timestamp"),
        ({"event": "x" * 129}, 413, "size", "event"),
        ({"type": "page"}, 400, "shape", "type"),
        ({"context": {"siteId": "blog"}}, 404, "site", "context.siteId"),
        ({"userId": "null"}, 400, "blocked", "userId"),
    ],
)
def test_a_wrong_call_is_refused(changes: dict[str, Any], status: int, error: str, field: str) -> None:
    """With a status, the reason, the field and a sentence; and that it must not be sent again."""
    sent = send({**CALL, **changes})
    assert (sent.status, sent.text["error"], sent.text["field"], sent.text["retry"]) == (status, error, field, False)
    assert sent.text["message"] == find_message(error, field)
    assert sent.rows == []
    assert [(row.reason, row.field) for row in sent.refused] == [(error, field)]


@pytest.mark.parametrize(
    ("body", "path", "status", "error"),
    [
        (b"", "track", 400, "syntax"),
        (b"{]", "batch", 400, "syntax"),
        (b"[]", "batch", 400, "shape"),
        (b'{"batch":[]}', "batch", 400, "count"),
        (b'{"event":"\xff"}', "track", 415, "encoding"),
        (b'{"properties":' + b"[" * 99_999, "track", 400, "depth"),
        (b" " * 1_048_577, "track", 413, "size"),
    ],
)
def test_a_body_that_is_none_is_refused(body: bytes, path: str, status: int, error: str) -> None:
    """Never a 500, and the record has its size."""
    sent = send(body, path)
    assert (sent.status, sent.text["error"]) == (status, error)
    assert [row.reason for row in sent.refused] == [error]
    assert sent.refused[0].body_bytes == len(body)


def test_bodies_may_be_compressed() -> None:
    """One gzip member, bounded after it is opened."""
    packed = gzip.compress(msgspec.json.encode(CALL))
    assert send(packed, headers={"Content-Encoding": "gzip"}).status == 200
    assert send(packed[:-3], headers={"Content-Encoding": "gzip"}).status == 415
    assert send(gzip.compress(b" " * 2_000_000), headers={"Content-Encoding": "gzip"}).status == 413
    assert send(headers={"Content-Encoding": "br"}).status == 415


def test_a_big_batch_is_one_request() -> None:
    """It is judged a few calls at a time, and the places and ids in its answer are those of the whole."""
    calls = [{"type": "track", **CALL, "messageId": str(n), "userId": str(n % 3 + 1)} for n in range(120)]
    calls[70] = {**calls[70], "userId": "null"}
    calls[110] = {**calls[3], "timestamp": "2026-11-18T11:00:01Z"}
    calls[115] = calls[3]
    calls[119] = {"type": "track", "event": "Order", "userId": "1"}
    sent = send({"batch": calls}, "batch")
    assert [(entry["index"], entry["reason"]) for entry in sent.text["rejected"]] == [(70, "blocked"), (110, "id")]
    assert [entry["index"] for entry in sent.text["made"]] == [119]
    assert sum(len(row.events) for row in sent.rows) == 117


def test_a_customer_is_named_once_it_is_on_disk_no_more() -> None:
    """A request that was not stored has named nobody; after one that was, the next need not."""
    spool = MemorySpool(SpoolError("disk"))
    edge = Edge(Config(), KEYRING, lambda: BOOK, spool, lambda: NOW_MS)
    app = Starlette(routes=server_events.routes(edge, lambda key_id, now_ms: None))

    async def talk() -> list[int]:
        header = {"Authorization": f"Bearer {SERVER}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://c.example") as session:
            statuses = []
            for number in range(3):
                call = {**CALL, "messageId": str(number)}
                statuses.append((await session.post("/v1/track", json=call, headers=header)).status_code)
                spool.error = None
        return statuses

    assert asyncio.run(talk()) == [503, 200, 200]
    rows = [msgspec.json.decode(line, type=LandingRow) for line in spool.lines]
    assert [len(row.evidence) for row in rows] == [1, 0]


# --- rates ---------------------------------------------------------------------------------------------------


def send_all(requests: list[tuple[dict[str, str], Any]], **settings: Any) -> list[httpx.Response]:
    """Send batches one after the other to one process. Each with its headers."""
    edge = Edge(Config(**settings), KEYRING, lambda: RATED, MemorySpool(), lambda: NOW_MS)
    app = Starlette(routes=server_events.routes(edge, lambda key_id, now_ms: None))

    async def talk() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, client=("203.0.113.77", 5000))
        async with httpx.AsyncClient(transport=transport, base_url="https://c.example") as session:
            answers = [await session.post("/v1/batch", json=body, headers=headers) for headers, body in requests]
        await edge.refusals.flush()
        return answers

    return asyncio.run(talk())


RATED = SiteBook(
    sites={"shop": Site(site_id="shop", rate=1.0), "blog": Site(site_id="blog")}, keys=KEYS, read_at_ms=NOW_MS
)


def make_batch(number: int, site_id: str = "") -> dict[str, Any]:
    """Return a batch of twenty calls."""
    context = {"siteId": site_id} if site_id else {}
    return {
        "context": context,
        "batch": [{"type": "track", **CALL, "messageId": f"{number}-{n}"} for n in range(20)],
    }


@pytest.mark.parametrize(("key", "site_id"), [(SERVER, ""), (SPACE, "shop")])
def test_a_sites_rate_holds_for_servers(key: str, site_id: str) -> None:
    """Whichever way the site is named; the answer says when to come again, and another site has its own."""
    header = {"Authorization": f"Bearer {key}"}
    answers = send_all([(header, make_batch(n, site_id)) for n in range(3)])
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert answers[1].json()["error"] == "rate"
    assert answers[1].json()["retry"] is True
    assert 5 <= int(answers[1].headers["retry-after"]) <= 11
    if not site_id:
        return
    answers = send_all([(header, make_batch(n, name)) for n, name in enumerate(["shop", "blog", "blog", "shop"])])
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


def test_strangers_are_slowed_down_and_servers_are_not() -> None:
    """Whoever has no key is counted by address; whoever has one comes as often as the sites' rates allow."""
    settings = {"address_rate": 1, "address_burst": 3}
    answers = send_all([({"Authorization": "Bearer ts_aa_guess"}, {})] * 5, **settings)
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert int(answers[4].headers["retry-after"]) >= 1
    header = {"Authorization": f"Bearer {SPACE}"}
    answers = send_all([(header, make_batch(n, "blog")) for n in range(5)], **settings)
    assert [answer.status_code for answer in answers] == [200] * 5


# --- keys ----------------------------------------------------------------------------------------------------


def test_a_key_may_come_as_segments_libraries_send_it() -> None:
    """As the user name of Basic, with an empty password or any."""
    for text in (f"{SERVER}:", f"{SERVER}:x", SERVER):
        basic = base64.b64encode(text.encode()).decode()
        assert send(key=None, headers={"Authorization": f"Basic {basic}"}).status == 200


@pytest.mark.parametrize(
    "value",
    [
        None,
        "Bearer",
        "Bearer ts_aa_other",
        f"Bearer {REVOKED}",
        f"Bearer {EXPIRED}",
        f"Bearer {SERVER} x",
        f"Token {SERVER}",
        "Basic ???",
        "Basic /w==",
        "Bearer " + "x" * 2_000,
    ],
)
def test_without_a_key_in_force_nothing_is_read(value: str | None) -> None:
    """401 with the challenge; nothing is recorded for a site that nobody has proved to be theirs."""
    sent = send(b"x" * 2_000_000, key=None, headers={} if value is None else {"Authorization": value})
    assert (sent.status, sent.text["error"], sent.text["retry"]) == (401, "unauthorized", False)
    assert sent.response.headers["www-authenticate"].startswith("Bearer")
    assert sent.response.headers["connection"] == "close"
    assert (sent.rows, sent.refused, sent.used) == ([], [], [])


def test_of_several_keys_none_counts() -> None:
    """Two parsers could see two senders."""
    value = f"Bearer {SERVER}".encode()
    assert read_key({"headers": [(b"authorization", value)]}) == SERVER
    assert read_key({"headers": [(b"authorization", value), (b"authorization", value)]}) == ""


@pytest.mark.parametrize("path", PATHS)
def test_a_key_for_something_else_is_refused(path: str) -> None:
    """403, before the body is read, and recorded for its site."""
    sent = send(b"x" * 2_000_000, path, key=READER)
    assert (sent.status, sent.text["error"]) == (403, "scope")
    assert [row.reason for row in sent.refused] == ["scope"]


def test_a_key_that_may_track_names_no_customers() -> None:
    """An identify is refused; an event with a visitor stays, with its claim."""
    assert send({**CALL, "anonymousId": VISITOR}, "identify", key=TRACKER).status == 403
    assert send(key=TRACKER).status == 403
    sent = send({**CALL, "anonymousId": VISITOR}, key=TRACKER)
    assert (sent.status, sent.rows[0].evidence[0].level) == (200, 1)


def test_a_key_of_a_space_names_its_sites() -> None:
    """No site and a site of somebody else are the same to it."""
    assert send({**CALL, "context": {"siteId": "blog"}}, key=SPACE).rows[0].site_id == "blog"
    unknown = [send({**CALL, "context": {"siteId": name}}, key=SPACE) for name in ("nowhere", "elsewhere", "")]
    assert [(sent.status, sent.text) for sent in unknown] == [(404, unknown[0].text)] * 3


# --- when it cannot be stored --------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "after"), [(SpoolFull("full", 7), "7"), (SpoolError("disk"), "5")])
def test_what_is_not_stored_is_not_acknowledged(error: Exception, after: str) -> None:
    """503 with Retry-After: the same body is welcome later."""
    sent = send(spool=MemorySpool(error))
    assert (sent.status, sent.text["error"], sent.text["retry"]) == (503, "unavailable", True)
    assert sent.response.headers["retry-after"] == after


class DiskSpool(MemorySpool):
    """A spool on disk that takes so many bytes and no more."""

    def __init__(self, folder: Path, max_spool_bytes: int) -> None:
        super().__init__()
        self._folder = folder
        self._max_spool_bytes = max_spool_bytes

    async def append_all(self, lines: Sequence[bytes]) -> None:
        self.sizes = [len(encode_frame(line)) for line in lines]
        writer = SpoolWriter(self._folder, max_spool_bytes=self._max_spool_bytes)
        try:
            await writer.append_all(lines)
        finally:
            writer.close()

    def count_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._folder.iterdir())


def test_a_batch_is_stored_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    """Calls without a message id would be doubled by the retry, if some of them were stored before the 503."""
    calls = [{"type": "track", "event": "sold", "userId": str(n + 1)} for n in range(5)]
    whole = DiskSpool(tmp_path / "whole" / "web-0", 1_000_000)
    assert send({"batch": calls}, "batch", spool=whole).status == 200
    assert len(whole.sizes) == 5
    assert whole.count_bytes() == sum(whole.sizes)
    tight = DiskSpool(tmp_path / "tight" / "web-0", sum(whole.sizes) - 50)
    assert send({"batch": calls}, "batch", spool=tight).status == 503
    assert tight.count_bytes() == 0


def test_before_the_keys_are_known_nobody_is_refused() -> None:
    """A process that has not heard of any key yet says: later."""
    sent = send(book=SiteBook())
    assert (sent.status, sent.text["retry"]) == (503, True)


def test_only_posts_are_taken() -> None:
    """Everything else is 405."""
    edge = Edge(Config(), KEYRING, lambda: BOOK, MemorySpool(), lambda: NOW_MS)
    app = Starlette(routes=server_events.routes(edge, lambda key_id, now_ms: None))

    async def ask(method: str) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://c.example") as session:
            return (await session.request(method, "/v1/track")).status_code

    assert [asyncio.run(ask(method)) for method in ("GET", "PUT", "OPTIONS", "DELETE")] == [405] * 4


# --- what is said about it -----------------------------------------------------------------------------------


def test_every_refusal_has_a_sentence_and_a_status() -> None:
    """Sentences are for reasons that exist; what no server can meet has none."""
    browser_only = {"version", "origin", "signature", "expired", "keys", "opted_out", "handover", "link"}
    assert {reason for reason, _ in MESSAGES} == {*Reason, "unauthorized", "unavailable"} - browser_only
    assert STATUS[Reason.SCOPE] == 403


def test_the_description_names_every_path_and_field() -> None:
    """The seven paths, and the fields as they are on the wire."""
    paths, schemas = describe_server_events({})
    assert {f"/v1/{path}" for path in PATHS} == paths.keys()
    for form in (Call, CallContext):
        names = {info.encode_name for info in msgspec.structs.fields(form)}
        assert schemas[form.__name__]["properties"].keys() == names
