"""Everything that is no beacon: each class is refused with its reason, by the pipeline and by the real endpoint.

An exception would be a 500: the test client lets it through, and the test fails.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from collector.accept.pipeline import Accepted, Refused, accept
from collector.config import Config
from collector.endpoints import beacon
from collector.endpoints.edge import Edge
from collector.event import LandingRow
from collector.reasons import Reason
from tests.edge_examples import KEYRING, NOW_MS, ORIGIN, make_body, make_context, make_event, read_line

GOOD = msgspec.json.encode(make_body())


def _props(text: bytes) -> bytes:
    """Return a good beacon whose event has this as its properties."""
    return GOOD.replace(b'"n":"page_view"', b'"n":"page_view","p":' + text)


def _with(**changes: Any) -> bytes:
    return msgspec.json.encode(make_body(**changes))


def _event(**changes: Any) -> bytes:
    return msgspec.json.encode(make_body(make_event(**changes)))


# name: (body, reason, whether the beacon is refused as a whole)
CLASSES: dict[str, tuple[bytes, Reason, bool]] = {
    "empty": (b"", Reason.SYNTAX, True),
    "space": (b"   ", Reason.SYNTAX, True),
    "null": (b"null", Reason.SHAPE, True),
    "number": (b"17", Reason.SHAPE, True),
    "text": (b'"beacon"', Reason.SHAPE, True),
    "array": (b"[]", Reason.SHAPE, True),
    "array of beacons": (b"[" + GOOD + b"]", Reason.SHAPE, True),
    "empty mapping": (b"{}", Reason.SHAPE, True),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, Reason.SYNTAX, True),
    "UTF-16": (GOOD.decode().encode("utf-16"), Reason.SYNTAX, True),
    "trailing text": (GOOD + b" x", Reason.SYNTAX, True),
    "two bodies": (GOOD + GOOD, Reason.SYNTAX, True),
    "single quotes": (GOOD.replace(b'"', b"'"), Reason.SYNTAX, True),
    "comment": (b"/* */" + GOOD, Reason.SYNTAX, True),
    "form": (b"v=1&s=shop", Reason.SYNTAX, True),
    "HTML": (b"<html></html>", Reason.SYNTAX, True),
    "raw line feed in a string": (GOOD.replace(b"shoes", b"sho\nes"), Reason.SYNTAX, True),
    "invalid byte": (GOOD.replace(b"shoes", b"\xff"), Reason.ENCODING, True),
    "overlong encoding": (GOOD.replace(b"shoes", b"\xc0\xaf"), Reason.ENCODING, True),
    "encoded surrogate": (GOOD.replace(b"shoes", b"\xed\xa0\x80"), Reason.ENCODING, True),
    "NaN": (_props(b'{"a":NaN}'), Reason.SYNTAX, True),
    "infinity": (_props(b'{"a":-Infinity}'), Reason.SYNTAX, True),
    "number too large": (_props(b'{"a":1e999}'), Reason.SHAPE, True),
    "integer of 5,000 digits": (_props(b'{"a":' + b"9" * 5000 + b"}"), Reason.SHAPE, True),
    "integer of 2^63": (_props(b'{"a":9223372036854775808}'), Reason.SHAPE, False),
    "integer of 2^64": (_props(b'{"a":18446744073709551616}'), Reason.SHAPE, False),
    "props are a list": (_props(b"[1]"), Reason.SHAPE, True),
    "props are text": (_props(b'"a"'), Reason.SHAPE, True),
    "depth 17": (_props(b'{"a":' * 13 + b"[]" + b"}" * 13), Reason.DEPTH, False),
    "depth 40": (_props(b'{"a":' * 37 + b"1" + b"}" * 37), Reason.DEPTH, True),
    "depth 255": (_props(b'{"a":' * 252 + b"1" + b"}" * 252), Reason.DEPTH, True),
    "depth 100,000": (b"[" * 100_000, Reason.DEPTH, True),
    "depth hidden behind brackets in strings": (
        _props(b'{"a":"}","b":' * 20 + b"1" + b',"c":"{"}' * 20),
        Reason.DEPTH,
        False,
    ),
    "257 keys": (_event(p={f"k{n}": n for n in range(257)}), Reason.DEPTH, False),
    "keys over all levels": (_event(p={f"k{n}": {"x": 1} for n in range(140)}), Reason.DEPTH, False),
    "50,000 keys": (_event(p={f"k{n}": n for n in range(50_000)}), Reason.DEPTH, False),
    "long key": (_event(p={"k" * 200: 1}), Reason.SIZE, False),
    "long string": (_event(p={"a": "x" * 8193}), Reason.SIZE, False),
    "long string in a list": (_event(p={"a": [{"b": "x" * 8193}]}), Reason.SIZE, False),
    "64 KB event": (_event(p={f"k{n}": "x" * 8000 for n in range(9)}), Reason.SIZE, False),
    "long list": (_event(p={"a": [1] * 70_000}), Reason.SIZE, False),
    "long address": (_with(u="https://shop.example/" + "x" * 8200), Reason.SIZE, True),
    "long title": (_event(h="x" * 8193), Reason.SIZE, False),
    "long event name": (_event(n="x" * 129), Reason.SIZE, False),
    "empty event name": (_event(n=""), Reason.SHAPE, False),
    "blank event name": (_event(n=" \t"), Reason.SHAPE, False),
    "event name is a number": (_event(n=1), Reason.SHAPE, True),
    "no events": (GOOD[: GOOD.index(b'"e":')] + b'"e":[]}', Reason.COUNT, True),
    "events are a mapping": (GOOD[: GOOD.index(b'"e":')] + b'"e":{}}', Reason.SHAPE, True),
    "501 events": (msgspec.json.encode(make_body(*[make_event(n) for n in range(501)])), Reason.COUNT, True),
    "10,000 events": (msgspec.json.encode(make_body(*[make_event(n) for n in range(10_000)])), Reason.COUNT, True),
    "event id missing": (_event(i=None), Reason.SHAPE, True),
    "event id is no UUID": (_event(i="42"), Reason.ID, False),
    "event id is nil": (_event(i="00000000-0000-0000-0000-000000000000"), Reason.ID, False),
    "event id twice": (msgspec.json.encode(make_body(make_event(1), make_event(1))), Reason.ID, False),
    "visitor id is no UUID": (_with(d="../../etc"), Reason.ID, True),
    "visitor id is nil": (_with(d="00000000-0000-0000-0000-000000000000"), Reason.ID, True),
    "reset from no UUID": (_with(rf="x"), Reason.ID, True),
    "session without an id": (_with(x={"n": 1}), Reason.SHAPE, True),
    "session id is no UUID": (_with(x={"i": "1", "n": 1}), Reason.ID, False),
    "session number too large": (_with(x={"i": make_event()["i"], "n": 2**40}), Reason.ID, False),
    "session in the future": (_with(x={"i": make_event()["i"], "n": 1, "t": NOW_MS * 2}), Reason.CLOCK, False),
    "time 1970": (_event(t=0), Reason.CLOCK, False),
    "time 2099": (_event(t=4_070_908_800_000), Reason.CLOCK, False),
    "time in seconds": (_event(t=NOW_MS // 1000), Reason.CLOCK, False),
    "time is text": (_event(t="now"), Reason.SHAPE, True),
    "time is a fraction": (_event(t=1.5), Reason.SHAPE, True),
    "time of 30 digits": (_event(t=10**30), Reason.CLOCK, False),
    "offset too large": (_with(o=10**30), Reason.CLOCK, True),
    "version 0": (_with(v=0), Reason.VERSION, True),
    "version 2": (_with(v=2), Reason.VERSION, True),
    "version is true": (_with(v=True), Reason.SHAPE, True),
    "version of 30 digits": (_with(v=10**30), Reason.VERSION, True),
    "site unknown": (_with(s="elsewhere"), Reason.SITE, True),
    "site empty": (_with(s=""), Reason.SITE, True),
    "site missing": (_with(s=None), Reason.SHAPE, True),
    "prototype as a site": (_with(s="__proto__"), Reason.SITE, True),
    "sequence below zero": (_event(q=-1), Reason.SHAPE, False),
    "nine identifiers": (
        _event(n="identify", k=[{"k": "customer", "v": str(n)} for n in range(9)]),
        Reason.COUNT,
        False,
    ),
    "identify without identifiers": (_event(n="identify"), Reason.SHAPE, False),
    "identifier of unknown kind": (_event(n="identify", k=[{"k": "shoe", "v": "1"}]), Reason.SHAPE, False),
    "identifier of kind visitor": (_event(n="identify", k=[{"k": "visitor", "v": "1"}]), Reason.SHAPE, False),
    "identifier too long": (_event(n="identify", k=[{"k": "customer", "v": "1" * 600}]), Reason.SHAPE, False),
    "identifier huge": (_event(n="identify", k=[{"k": "customer", "v": "1" * 9000}]), Reason.SIZE, False),
    "identifier that names nobody": (_event(n="identify", k=[{"k": "customer", "v": "null"}]), Reason.BLOCKED, False),
    "language is no language": (_with(l="<script>"), Reason.SHAPE, False),
    "time zone is no zone": (_with(z="../../etc/passwd"), Reason.SHAPE, False),
    "viewport is no size": (_with(w="wide"), Reason.SHAPE, False),
    "fingerprint version unknown": (_with(f={"v": 77, "s": {}}), Reason.VERSION, False),
    "fingerprint is text": (_with(f="abc"), Reason.SHAPE, True),
}


class _Spool:
    """A spool in memory."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    async def append(self, line: bytes) -> None:
        self.lines.append(line)


def _post(body: bytes) -> tuple[httpx.Response, list[bytes]]:
    spool = _Spool()
    edge = Edge(Config(), KEYRING, lambda: make_context().sites, spool, lambda: NOW_MS)
    transport = httpx.ASGITransport(Starlette(routes=beacon.routes(edge)))

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            headers = {"Origin": ORIGIN, "Content-Type": "text/plain"}
            response = await client.post("/x/b", content=body, headers=headers)
        await edge.refusals.flush()
        return response

    return asyncio.run(send()), spool.lines


def test_there_are_enough_classes() -> None:
    """The catalogue does not shrink."""
    assert len(CLASSES) >= 80


@pytest.mark.parametrize("name", list(CLASSES))
def test_each_class_has_its_reason(name: str) -> None:
    """The pipeline refuses it, whole or in part, with the right reason, and the row says so."""
    body, reason, is_whole = CLASSES[name]
    answer = accept(body, make_context())
    assert isinstance(answer, Refused if is_whole else Accepted)
    row = msgspec.json.decode(read_line(answer), type=LandingRow)
    assert reason in [rejected.reason for rejected in row.rejected]
    if is_whole:
        assert row.events == []


@pytest.mark.parametrize("name", list(CLASSES))
def test_the_endpoint_answers_each_class(name: str) -> None:
    """Never a 500: a 4xx with the reason in words, or a 204 that names it in a header; the count is spooled."""
    body, reason, is_whole = CLASSES[name]
    response, lines = _post(body)
    assert len(lines) == 1
    assert reason in response.headers["x-tagstitch-rejected"].split(",")
    if is_whole:
        assert 400 <= response.status_code < 500
        text = response.json()
        assert text["error"] == reason
        assert text["retry"] is False
        assert set(text) == {"error", "field", "message", "retry"}
    else:
        assert response.status_code == 204


@pytest.mark.parametrize("cut", range(0, len(GOOD), 3))
def test_a_beacon_cut_off_anywhere_is_refused(cut: int) -> None:
    """No beginning of a beacon is a beacon."""
    answer = accept(GOOD[:cut], make_context())
    assert isinstance(answer, Refused)
    assert answer.rejected.reason is Reason.SYNTAX


def test_what_looks_bad_and_is_not() -> None:
    """Unknown fields, double keys, odd names and NUL in a string are somebody's real data."""
    for body in (
        GOOD.replace(b'"v":1', b'"v":1,"zz":{"new":[1,2]}'),
        GOOD.replace(b'"v":1', b'"v":7,"v":1'),
        _props(b'{"__proto__":1,"constructor":2,"a.b":1,"a":{"b":2},"":3}'),
        _props(b'{"a":"\\u0000"}'),
        _props(b'{"a":' * 12 + b"{}" + b"}" * 12),
        _event(p={"text": "[[[[{{{{" * 100}),
        _event(p={f"k{n}": n for n in range(256)}),
    ):
        answer = accept(body, make_context())
        assert isinstance(answer, Accepted), body[:200]
        assert answer.reasons == ()
