"""The dry run over HTTP: what it answers, to whom, what it remembers, and that it stores nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from collector.accept.dry_run import try_out
from collector.config import Config
from collector.console.inspect import MAX_WATCHERS, inspect_routes, watch
from collector.console.inspect_log import InspectLog, list_good
from collector.endpoints.edge import Edge
from collector.sites.book import SiteBook
from collector.workers import count_workers
from tests.bad_input.web_process import running_web
from tests.edge_examples import KEYRING, NOW_MS, ORIGIN, SITE, make_body, make_context, make_event, make_id

HERE = "http://localhost"
ELSEWHERE = "http://collector.example"
POST = {"Origin": ORIGIN, "Content-Type": "text/plain"}
GOOD = msgspec.json.encode(make_body(make_event(1, n="purchase", p={"price": 49.9, "mail": "a@b.example"})))


class _NoSpool:
    """A spool that nobody may write to."""

    async def append(self, line: bytes) -> None:
        raise AssertionError("the dry run has stored something")


class Inspected:
    """The routes in an application, asked as from a browser or program at a chosen address."""

    def __init__(self, book: SiteBook | None = None, **settings: Any) -> None:
        book = make_context().sites if book is None else book
        edge = Edge(Config(inspect=True, **settings), KEYRING, lambda: book, _NoSpool(), lambda: NOW_MS)
        self.app = Starlette(routes=inspect_routes(edge))

    def ask(
        self, method: str, path: str, body: bytes = b"", *, base: str = HERE, address: str = "127.0.0.1", **headers: str
    ) -> httpx.Response:
        """Ask once. Header names are written with underscores."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(address, 50_000))
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                named = {name.replace("_", "-"): text for name, text in headers.items()}
                return await client.request(method, path, content=body, headers=named)

        return asyncio.run(send())

    def post(self, body: bytes = GOOD, **more: Any) -> httpx.Response:
        """Post a beacon as the site's page does."""
        return self.ask("POST", "/x/inspect", body, **{"origin": ORIGIN, **more})

    def read(self, path: str, **more: Any) -> Any:
        """Ask the API."""
        answer = self.ask("GET", f"/v1/inspect/{path}", **more)
        assert answer.status_code == 200, answer.text
        return answer.json()


def test_a_good_beacon() -> None:
    """The answer tells the row, what was taken out, and what the beacon path would have said; no cookie is set."""
    answer = Inspected().post()
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    told = answer.json()
    assert (told["accepted"], told["status"], told["rejected"], told["site_id"]) == (True, 204, [], "shop")
    assert told["row"]["events"][0]["props"] == {"price": 49.9, "mail": "[removed]"}
    assert told["removed"][0]["field"] == "e[0].p.mail"
    assert told["row"]["network"] == "127.0.0.0/24"
    assert told["evidence"] == []


@pytest.mark.parametrize(
    ("body", "reason", "status"),
    [
        (b"no json", "syntax", 400),
        (b" " * 1_100_000, "size", 413),
        (GOOD.replace(b'"s":"shop"', b'"s":"shoe"'), "site", 404),
        (GOOD.replace(b'"d":"0', b'"d":"x'), "id", 400),
    ],
)
def test_a_bad_beacon(body: bytes, reason: str, status: int) -> None:
    """It is answered 200, for it was judged, with the reason, the advice, and the status of the beacon path."""
    web = Inspected()
    answer = web.post(body)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["accepted"], told["status"], told["row"]) == (False, status, None)
    assert told["rejected"][0]["reason"] == reason
    assert told["rejected"][0]["fix"]
    assert web.read("bad")["bad"][0]["whole"] is True


def test_a_page_that_is_on_no_list_learns_just_that() -> None:
    """The answer may be read, or the page would see a network error and send for ever."""
    answer = Inspected().post(origin="https://evil.example")
    assert answer.headers["access-control-allow-origin"] == "https://evil.example"
    told = answer.json()
    assert told["rejected"][0]["reason"] == "origin"
    assert told["row"] is None


def test_the_operator_judges_as_if_from_another_page() -> None:
    """By a header that no other page can send; from elsewhere it counts for nothing."""
    web = Inspected()
    assert web.post(origin="http://localhost").json()["rejected"][0]["reason"] == "origin"
    assert web.post(origin="http://localhost", x_tagstitch_as_origin=ORIGIN).json()["accepted"] is True
    there = {"base": ELSEWHERE, "address": "203.0.113.9", "origin": "http://localhost"}
    assert web.post(**there, x_tagstitch_as_origin=ORIGIN).json()["accepted"] is False
    preflight = web.ask("OPTIONS", "/x/inspect", origin="http://localhost")
    assert "as-origin" not in preflight.headers["access-control-allow-headers"].lower()


def test_others_are_not_told_what_would_be_stored() -> None:
    """From another machine reasons and removals are told, and neither row nor evidence: pseudonyms are no answer."""
    web = Inspected()
    body = msgspec.json.encode(make_body(make_event(1, n="identify", k=[{"k": "email", "v": "a@b.example"}])))
    told = web.post(body, base=ELSEWHERE, address="203.0.113.9").json()
    assert told["accepted"] is True
    assert not {"row", "evidence", "visitor_reply"} & set(told)
    with_key = web.post(body, base=ELSEWHERE, address="203.0.113.9", x_tagstitch_key=KEYRING.operator_key).json()
    assert len(with_key["evidence"]) == 1


@pytest.mark.parametrize(
    "path", ["/v1/inspect/all", "/v1/inspect/good", "/v1/inspect/bad", "/inspect", "/inspect/stream"]
)
def test_the_operator_alone_reads(path: str) -> None:
    """What was judged is for this machine, or for the key."""
    web = Inspected()
    assert web.ask("GET", path, base=ELSEWHERE, address="203.0.113.9").status_code == 403
    assert web.ask("POST", "/v1/inspect/reset", base=ELSEWHERE, address="203.0.113.9").status_code == 403
    if path != "/inspect/stream":
        key = {"x_tagstitch_key": KEYRING.operator_key}
        assert web.ask("GET", path, base=ELSEWHERE, address="203.0.113.9", **key).status_code == 200


def test_a_site_asserts_on_it() -> None:
    """Counts, events, refusals, filters and a reset: what a test of a site asks for."""
    web = Inspected()
    web.post()
    web.post(msgspec.json.encode(make_body(make_event(2), make_event(3, n="purchase", t=0))))
    web.post(b"no json")
    assert web.read("all") == {"beacons": 3, "good": 2, "bad": 2, "total": 4, "forgotten": 0}
    good = web.read("good")
    assert good["count"] == 2
    assert [event["name"] for event in good["good"]] == ["purchase", "page_view"]
    assert good["good"][0]["event_id"] == make_id(1)
    assert good["good"][0]["props"]["price"] == 49.9
    assert [bad["reason"] for bad in web.read("bad")["bad"]] == ["clock", "syntax"]
    assert web.read("good?name=purchase&site=shop")["count"] == 1
    assert web.read("good?name=purchase&site=other")["count"] == 0
    assert web.read("good?after=1")["good"][0]["name"] == "page_view"
    assert web.read("bad?reason=clock")["bad"][0]["event"] == "purchase"
    assert web.ask("POST", "/v1/inspect/reset").json()["total"] == 0
    assert web.read("all")["beacons"] == 0
    assert web.read("good") == {"count": 0, "good": []}
    web.post()
    assert web.read("good?after=3")["good"][0]["beacon"] == 4, "numbers go on"


@pytest.mark.parametrize("query", ["?nmae=purchase", "?after=x", "?after=-1", "?after=" + "9" * 40, "?reason=clock"])
def test_a_misspelt_filter_is_refused(query: str) -> None:
    """Or a test would pass that asks for nothing."""
    answer = Inspected().ask("GET", f"/v1/inspect/good{query}")
    assert answer.status_code == 400
    assert answer.json()["error"] == "shape"


def test_another_sites_page_cannot_reset() -> None:
    """A form elsewhere is refused, by what the browser says of it."""
    web = Inspected()
    web.post()
    assert web.ask("POST", "/v1/inspect/reset", sec_fetch_site="cross-site").status_code == 403
    assert web.read("all")["beacons"] == 1
    assert web.ask("POST", "/v1/inspect/reset", sec_fetch_site="same-origin").status_code == 200


def test_a_preflight_is_granted() -> None:
    """A page that sends with another type may."""
    answer = Inspected().ask("OPTIONS", "/x/inspect", origin="http://localhost:3000")
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_before_the_sites_are_known() -> None:
    """Nothing can be judged: 503, as on the beacon path."""
    answer = Inspected(SiteBook()).post()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


def test_the_page_has_a_strict_policy() -> None:
    """One script with a nonce, no inline handler or style, the sites to choose from and every reason explained."""
    answer = Inspected().ask("GET", "/inspect")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "<option>shop</option>" in answer.text
    assert "http://localhost/x/inspect" in answer.text
    assert answer.text.count("<script") == 1
    assert " style=" not in answer.text
    assert " onclick=" not in answer.text


def test_the_memory_is_bounded() -> None:
    """By number and by size; the oldest go, and are counted as forgotten."""
    log = InspectLog(max_records=3)
    context = make_context()
    for number in range(1, 8):
        log.add(try_out(msgspec.json.encode(make_body(make_event(number))), context), 204, context)
    assert [record.number for record in log.read()] == [5, 6, 7]
    assert (log.counts.good, log.counts.forgotten) == (7, 4)
    small = InspectLog(max_bytes=1)
    for number in range(1, 4):
        small.add(try_out(msgspec.json.encode(make_body(make_event(number))), context), 204, context)
    assert [record.number for record in small.read()] == [3]


@pytest.mark.long
def test_the_memory_is_what_the_bound_says() -> None:
    """Not a multiple of it: an event with many properties takes ten times the memory as a mapping."""
    context = make_context()
    events = [make_event(number, p={f"key_{n}": 0 for n in range(60)}) for number in range(1, 101)]
    raw = msgspec.json.encode(make_body(*events))
    log = InspectLog(max_bytes=1_000_000)
    log.add(try_out(raw, context), 204, context)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(30):
            log.add(try_out(raw, context), 204, context)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert log.counts.forgotten > 10, "the bound was reached"
    assert held < 2_000_000
    assert len(list(list_good(log.read()))) == 100 * len(log.read())


def test_an_address_over_its_rate_is_not_judged() -> None:
    """The same rate as for beacons: the dry run costs more than they do. The page may read when to come again."""
    web = Inspected(address_rate=1, address_burst=2)
    there = {"base": ELSEWHERE, "address": "203.0.113.9"}
    answers = [web.post(**there) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[-1]
    assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    assert (refused.json()["error"], refused.json()["retry"]) == ("rate", True)
    assert web.read("all")["beacons"] == 2
    assert web.ask("OPTIONS", "/x/inspect", origin=ORIGIN, **there).status_code == 204


def test_the_stream_tells_who_it_was_and_ends() -> None:
    """First what is there, then what comes; `mine` for the own browser alone; it ends with the server."""

    async def story() -> list[dict[str, Any]]:
        log, context, watchers, is_over = InspectLog(), make_context(), set[int](), [False]
        other = make_context(address="198.51.100.1")
        log.add(try_out(GOOD, context), 204, context)
        stream = watch(log, log.name_browser(context), watchers, lambda: is_over[0])
        assert await anext(stream) == b"retry: 1500\n\n"
        told = [await anext(stream)]
        log.add(try_out(GOOD, other), 204, other)
        told.append(await anext(stream))
        log.reset()
        told.append(await anext(stream))
        assert len(watchers) == 1
        is_over[0] = True
        assert [part async for part in stream] == []
        assert not watchers
        return [json.loads(part.removeprefix(b"data: ")) for part in told]

    first, second, third = asyncio.run(story())
    assert (first["reset"], [record["mine"] for record in first["records"]]) == (True, [True])
    assert (second["reset"], [record["mine"] for record in second["records"]]) == (False, [False])
    assert (third["reset"], third["records"], third["counts"]["beacons"]) == (True, [], 0)
    assert MAX_WATCHERS > 1


@pytest.mark.parametrize("is_on", [False, True])
def test_it_is_off_unless_it_is_switched_on(tmp_path: Path, is_on: bool) -> None:
    """In a real web process: without the setting none of its paths is there, and with it nothing reaches the spool."""
    with running_web(tmp_path, [SITE], *(["inspect=true"] if is_on else [])) as web:
        head = b"Host: localhost\r\nOrigin: %b\r\nConnection: close\r\n" % ORIGIN.encode()
        answer = web.ask(b"POST /x/inspect HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (head, len(GOOD), GOOD))
        assert answer.status == (200 if is_on else 404)
        for path in (b"/inspect", b"/v1/inspect/all", b"/demo/static/inspect.css"):
            asked = web.ask(b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path)
            assert asked.status == (200 if is_on else 404)
    assert web.read_rows() == []
    assert ("the dry run is on" in web.log) is is_on


def test_it_wants_one_process() -> None:
    """What one process remembers another would not know."""
    assert count_workers(Config(inspect=True, web_workers=4)) == 1
