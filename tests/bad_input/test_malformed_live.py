"""Bodies, heads and encodings that are wrong, sent to a real web process: each has its answer, and none leaves a mark.

One process takes all of them. After each it is alive, has written no traceback, and has used little of the processor;
at the end its spool holds a count for every refusal, and nothing of what was refused.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import time
import zlib
from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest

from collector.reasons import Reason
from tests.accept.test_malformed import CLASSES
from tests.bad_input.web_process import KEY, Answer, WebProcess, read_answer, running_web
from tests.chaos.outcome import chaos_case
from tests.edge_examples import NOW_MS, ORIGIN, SITE, make_body, make_event

pytestmark = pytest.mark.slow

MOST_CPU_S = 0.5
"""Most processor time for one request. A tenth of it is what may be felt; the rest is for slow machines."""

MARK = b"canary-of-a-refused-body"
STARTED_MS = time.time_ns() // 1_000_000
HOST = b"Host: shop.example\r\n"
FROM = b"Origin: " + ORIGIN.encode() + b"\r\n"
GOOD = msgspec.json.encode(
    make_body(make_event(t=STARTED_MS), make_event(101, t=STARTED_MS), st=STARTED_MS, x=None, zz=MARK.decode())
)
BOMB = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
BIG_GZIP = b"".join(BOMB.compress(b" " * 1_048_576) for _ in range(64)) + BOMB.flush()


def _post(head: bytes = b"", body: bytes = GOOD, *, start: bytes = HOST + FROM, path: bytes = b"/x/b") -> bytes:
    length = b"" if b"ength:" in head or b"hunked" in head else b"Content-Length: %d\r\n" % len(body)
    return b"POST %b HTTP/1.1\r\n%b%b%bConnection: close\r\n\r\n%b" % (path, start, head, length, body)


def _get(target: bytes, head: bytes = b"", method: bytes = b"GET") -> bytes:
    return b"%b %b HTTP/1.1\r\n%b%bConnection: close\r\n\r\n" % (method, target, HOST, head)


def _call(body: bytes, head: bytes = b"", path: bytes = b"/v1/track") -> bytes:
    """Return a call of a server, with a key."""
    return _post(b"Authorization: Bearer " + KEY.encode() + b"\r\n" + head, body, start=HOST, path=path)


def _gzip(body: bytes = GOOD) -> bytes:
    return _post(b"Content-Encoding: gzip\r\n", body)


def _chunks(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
KEPT, NO_ANSWER = 204, 0

# name: (request, status, reason). Without a reason the status says all.
HEADS: dict[str, tuple[bytes, int, str]] = {
    # what is odd, and taken
    "a picture by its type": (_post(b"Content-Type: image/png\r\n"), KEPT, ""),
    "a type of raw bytes": (_post(b"Content-Type: \xff\xfe/\x80\r\n"), KEPT, ""),
    "another character set by its type": (_post(b"Content-Type: text/plain; charset=utf-16\r\n"), KEPT, ""),
    "no user agent": (_post(), KEPT, ""),
    "a user agent of raw bytes": (_post(b"User-Agent: \xff\xfe\x80\xe4\r\n"), KEPT, ""),
    "a user agent of 30 KB": (_post(b"User-Agent: " + b"Mozilla/5.0 (" * 2_400 + b"\r\n"), KEPT, ""),
    "a user agent made to be slow": (_post(b"User-Agent: " + b"Android 1;" * 3_000 + b"\r\n"), KEPT, ""),
    "a cookie without a value": (_post(b"Cookie: ts_shop\r\n"), KEPT, ""),
    "a cookie that we did not sign": (_post(b"Cookie: ts_shop=v1.aaaa.bbbb; __Host-ts_shop=x\r\n"), KEPT, ""),
    "a cookie of raw bytes": (_post(b"Cookie: ts_shop=\xff\x80; \xff=\xfe; =;;;\r\n"), KEPT, ""),
    "500 cookies of one name": (_post(b"Cookie: " + b"ts_shop=a; " * 500 + b"\r\n"), KEPT, ""),
    "an address that is none": (_post(b"X-Forwarded-For: <script>, ::::, 999.1.1.1\r\n"), KEPT, ""),
    "a referrer that is no address": (_post(b"Referer: http://[::1\r\n"), KEPT, ""),
    "a language of nonsense": (_post(b"Accept-Language: ;;;q=q,*;q=\xff\r\n"), KEPT, ""),
    "a range": (_post(b"Range: bytes=0-99999999999\r\n"), KEPT, ""),
    "a beacon in 1-byte chunks": (_post(CHUNKED, _chunks(*[GOOD[n : n + 1] for n in range(len(GOOD))])), KEPT, ""),
    "gzip in capitals": (_post(b"Content-Encoding: GZIP \r\n", gzip.compress(GOOD)), KEPT, ""),
    # encodings
    "gzip that is none": (_gzip(), 415, Reason.ENCODING),
    "gzip of nothing": (_gzip(b""), 415, Reason.ENCODING),
    "gzip cut off": (_gzip(gzip.compress(GOOD)[:-9]), 415, Reason.ENCODING),
    "gzip with a wrong checksum": (_gzip(gzip.compress(GOOD)[:-8] + bytes(8)), 415, Reason.ENCODING),
    "gzip with something behind it": (_gzip(gzip.compress(GOOD) + b"x"), 415, Reason.ENCODING),
    "gzip of two members": (_gzip(gzip.compress(GOOD) + gzip.compress(b" ")), 415, Reason.ENCODING),
    "gzip in gzip": (_gzip(gzip.compress(gzip.compress(GOOD))), 400, Reason.SYNTAX),
    "gzip that nobody has named": (_post(b"", gzip.compress(GOOD)), 400, Reason.SYNTAX),
    "gzip of 64 MB": (_gzip(BIG_GZIP), 413, Reason.SIZE),
    "zlib by the name of gzip": (_gzip(zlib.compress(GOOD)), 415, Reason.ENCODING),
    "deflate": (_post(b"Content-Encoding: deflate\r\n", zlib.compress(GOOD)), 415, Reason.ENCODING),
    "brotli": (_post(b"Content-Encoding: br\r\n"), 415, Reason.ENCODING),
    "two encodings": (_post(b"Content-Encoding: gzip, gzip\r\n", gzip.compress(GOOD)), 415, Reason.ENCODING),
    "an encoding of raw bytes": (_post(b"Content-Encoding: \xff\r\n"), 415, Reason.ENCODING),
    # lengths
    "no body": (_post(b"", b""), 400, Reason.SYNTAX),
    "no body in chunks": (_post(CHUNKED, b"0\r\n\r\n"), 400, Reason.SYNTAX),
    "more than 1 MiB by its length": (_post(b"Content-Length: 1048577\r\n"), 413, Reason.SIZE),
    "a length of 15 digits": (_post(b"Content-Length: 999999999999999\r\n"), 413, Reason.SIZE),
    "more than 1 MiB in chunks": (_post(CHUNKED, _chunks(*[b" " * 65_536] * 17)), 413, Reason.SIZE),
    "1 MiB of brackets": (_post(b"", b"[" * 1_048_576), 400, Reason.DEPTH),
    "1 MiB of quotes": (_post(b"", b'"' * 1_048_576), 400, Reason.SHAPE),
    "1 MiB of escapes": (_post(b"", b'{"s":"' + b"\\ud83d" * 174_000 + b'"}'), 400, Reason.SHAPE),
    "1 MiB of digits": (_post(b"", b'{"v":' + b"9" * 1_048_000 + b"}"), 400, Reason.SHAPE),
    # origins
    "two origins": (_post(b"Origin: https://other.example\r\n"), 403, Reason.ORIGIN),
    "the same origin twice": (_post(FROM), 403, Reason.ORIGIN),
    "the origin null": (_post(start=HOST + b"Origin: null\r\n"), 403, Reason.ORIGIN),
    "an origin with a path": (_post(start=HOST + b"Origin: https://shop.example/\r\n"), 403, Reason.ORIGIN),
    "an origin in capitals": (_post(start=HOST + b"Origin: HTTPS://SHOP.EXAMPLE\r\n"), 403, Reason.ORIGIN),
    "an origin that ends like ours": (_post(start=HOST + b"Origin: https://xshop.example\r\n"), 403, Reason.ORIGIN),
    "an origin of raw bytes": (_post(start=HOST + b"Origin: \xff\xfe\r\n"), 403, Reason.ORIGIN),
    "an origin of 30 KB": (_post(start=HOST + b"Origin: https://" + b"a" * 30_000 + b"\r\n"), 403, Reason.ORIGIN),
    # heads that HTTP refuses
    "no host": (_post(start=FROM), 400, ""),
    "two hosts": (_post(start=HOST + HOST + FROM), 400, ""),
    "two lengths": (_post(b"Content-Length: 3\r\nContent-Length: 4\r\n"), 400, ""),
    "a length and chunks": (_post(b"Content-Length: 3\r\n" + CHUNKED, b"0\r\n\r\n"), 400, ""),
    "a length below zero": (_post(b"Content-Length: -1\r\n"), 400, ""),
    "a length in words": (_post(b"Content-Length: many\r\n"), 400, ""),
    "chunks in gzip": (_post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 400, ""),
    "a chunk of no length": (_post(CHUNKED, b"zz\r\nabc\r\n"), 400, ""),
    "a folded header": (_post(b"X: a\r\n b\r\n"), 400, ""),
    "a space in a header's name": (_post(b"Content-Encoding : gzip\r\n"), 400, ""),
    "a zero byte in a header": (_post(b"X: a\x00b\r\n"), 400, ""),
    "an absolute address": (_post(path=b"http://evil.example/x/b"), 400, ""),
    "an address of 9 KB": (_post(path=b"/x/b?" + b"a" * 9_000), 414, ""),
    "cookies of 17 KB": (_post(b"Cookie: " + b"a" * 17_000 + b"\r\n"), 431, ""),
    "a head of 70 KB": (_post(b"X: " + b"a" * 70_000 + b"\r\n"), 431, ""),
    "300 headers": (_post(b"X: 1\r\n" * 300), 431, ""),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, ""),
    "no HTTP at all": (b"EHLO shop.example\r\n\r\n", 400, ""),
    "a version from the future": (_get(b"/x/b").replace(b"HTTP/1.1", b"HTTP/7.3"), 400, ""),
    # methods and paths
    "GET of the beacon's path": (_get(b"/x/b"), 405, ""),
    "PUT of a beacon": (_post().replace(b"POST", b"PUT", 1), 405, ""),
    "DELETE of the beacon's path": (_get(b"/x/b", method=b"DELETE"), 405, ""),
    "TRACE": (_get(b"/x/b", method=b"TRACE"), 405, ""),
    "a slash too many": (_post(path=b"/x/b/"), 404, ""),
    "two slashes in front": (_post(path=b"//x/b"), 404, ""),
    "a path that climbs": (_post(path=b"/x/../x/b"), 404, ""),
    "a zero in the path": (_post(path=b"/x/b%00"), 404, ""),
    "a preflight from elsewhere": (_get(b"/x/b", b"Origin: https://evil.example\r\n", b"OPTIONS"), 403, ""),
    # the other paths
    "a picture of nothing": (_get(b"/x/p.gif"), 200, ""),
    "a picture of nonsense": (_get(b"/x/p.gif?s=%ff%00&n=%&u=\\x&&&=&c=" + b"s" * 7_000), 200, ""),
    "a picture with 2,000 parameters": (_get(b"/x/p.gif?" + b"a=1&" * 2_000), 200, ""),
    "a link that is none": (_get(b"/l/%ff%fe%00"), 404, ""),
    "a link of 4 KB": (_get(b"/l/" + b"A" * 4_000), 404, ""),
    "a link to a folder": (_get(b"/l/../../etc/passwd"), 404, ""),
    "an objection of nonsense": (
        _post(b"Sec-Fetch-Site: same-origin\r\n", b"answer=%ff&answer", path=b"/x/opt-out"),
        400,
        "",
    ),
    "an objection from elsewhere": (
        _post(b"Sec-Fetch-Site: cross-site\r\n", b"answer=object", path=b"/x/opt-out"),
        403,
        "",
    ),
    "an objection of 1 MiB": (_post(b"Sec-Fetch-Site: same-origin\r\n", b"a" * 999_999, path=b"/x/opt-out"), 400, ""),
    "no key": (_get(b"/v1/sites"), 401, ""),
    "a key of raw bytes": (_get(b"/v1/sites", b"Authorization: Bearer ts_\xff\xfe\r\n"), 401, ""),
    "a key of 30 KB": (_get(b"/v1/sites", b"Authorization: Bearer ts_" + b"a" * 30_000 + b"\r\n"), 401, ""),
    "a key without its end": (_get(b"/v1/sites", b"Authorization: Bearer ts_a_\r\n"), 401, ""),
    "a call without a key": (_post(b"", b"{}", path=b"/v1/track"), 401, ""),
    "a call with Basic of nonsense": (_post(b"Authorization: Basic \xff=\r\n", b"{}", path=b"/v1/track"), 401, ""),
    "a call of nothing": (_call(b""), 400, ""),
    "a call that is no JSON": (_call(b"type=track"), 400, ""),
    "a call of the wrong type": (_call(b'{"type":["track"]}'), 400, ""),
    "a call without words": (_call(b"{}"), 404, ""),
    "a call 100,000 deep": (_call(b"[" * 100_000), 400, ""),
    "a call of raw bytes": (_call(b'{"type":"track","event":"\xff\xfe"}'), 415, ""),
    "a call of 1.1 MiB": (_call(b'{"a":"' + b"x" * 1_153_434 + b'"}'), 413, ""),
    "a call in deflate": (_call(b"{}", b"Content-Encoding: deflate\r\n"), 415, ""),
    "a call of a gzip bomb": (_call(BIG_GZIP, b"Content-Encoding: gzip\r\n"), 413, ""),
    "a batch of nothing": (_call(b'{"batch":[]}', path=b"/v1/batch"), 400, ""),
    "a batch that is none": (_call(b'{"batch":{}}', path=b"/v1/batch"), 400, ""),
    "a batch of 100,000": (_call(b'{"batch":[' + b"{}," * 100_000 + b"{}]}", path=b"/v1/batch"), 400, ""),
    "a call by another name": (_call(b"{}", path=b"/v1/trace"), 404, ""),
    "GET of a call": (_get(b"/v1/track"), 405, ""),
    "the tag in no coding": (_get(b"/x/t.js", b"Accept-Encoding: ;q=,*;q=x,\xff\r\nIf-None-Match: \xff\r\n"), 200, ""),
    "an operator's key of raw bytes": (_get(b"/metrics?key=%ff%00", b"X-Tagstitch-Key: \xff\r\n"), 403, ""),
    "an operator's cookie of raw bytes": (_get(b"/metrics", b"Cookie: ts_operator=\xff.\xfe.\x80\r\n"), 403, ""),
}


@pytest.fixture(scope="module")
def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """The one process; when it has ended, its spool and its log are looked at as a whole."""
    sent.clear()
    failed = request.session.testsfailed
    with chaos_case("malformed requests", "bodies, heads and encodings that are wrong, one process for all") as outcome:
        with running_web(tmp_path_factory.mktemp("malformed"), [SITE]) as process:
            yield process
        assert "Traceback" not in process.log
        assert MARK not in process.log.encode()
        counted: Counter[str] = Counter()
        for row in process.read_rows():
            assert MARK.decode() not in str(row)
            for rejected in row.rejected:
                counted[rejected.reason] += 1
        assert set(sent) <= set(counted), "a refusal that was answered is not recorded"
        outcome.rounds = len(HEADS) + len(CLASSES)
        outcome.found = f"no 500, no traceback, a reason each; {len(sent)} reasons seen"
        assert request.session.testsfailed == failed, "a request was not answered as it should be"


sent: Counter[str] = Counter()
"""Reasons that were answered so far."""


def _ask(web: WebProcess, request: bytes) -> Answer:
    """Ask, and see that the process has come through it well."""
    before_s, log = web.cpu_s, len(web.log)
    answer = web.ask(request)
    took_s = web.cpu_s - before_s
    assert web.process.poll() is None, web.log
    assert "Traceback" not in web.log[log:], web.log[log:]
    assert answer.status != 500, answer.raw[:300]
    assert took_s < MOST_CPU_S, f"{took_s:.2f} s of the processor"
    assert web.ask(_get(b"/health")).status == 200
    return answer


def test_there_are_enough_heads() -> None:
    """The table does not shrink."""
    assert len(HEADS) >= 80


@pytest.mark.parametrize("name", list(HEADS))
def test_each_head_has_its_answer(web: WebProcess, name: str) -> None:
    """The status is the documented one, and where the beacon was judged the reason stands beside it."""
    request, status, reason = HEADS[name]
    answer = _ask(web, request)
    assert answer.status == status, answer.raw[:300]
    assert answer.headers.get("x-tagstitch-rejected", "") == reason
    if b"/v1/" in request and answer.status != 405 and b'"error"' in answer.body:
        assert set(msgspec.json.decode(answer.body)) == {"error", "field", "message", "retry"}
    if reason:
        sent[reason] += 1
        told = msgspec.json.decode(answer.body)
        assert told["error"] == reason
        assert told["retry"] is False
        assert told["message"]
        assert MARK not in answer.raw


@pytest.mark.parametrize("name", list(CLASSES))
def test_each_body_has_its_answer(web: WebProcess, name: str) -> None:
    """The same classes as in the pipeline's own test, through every layer of the real process."""
    body, reason, is_whole = CLASSES[name]
    body = body.replace(b"%d" % NOW_MS, b"%d" % STARTED_MS)  # the process has the real time
    answer = _ask(web, _post(b"", body))
    assert reason in answer.headers["x-tagstitch-rejected"].split(",")
    sent[reason] += 1
    if is_whole:
        assert 400 <= answer.status < 500
        assert msgspec.json.decode(answer.body)["error"] == reason
    else:
        assert answer.status in {200, 204}


@pytest.mark.parametrize(
    "request_bytes",
    [
        _post()[:-1].replace(b"Content-Length: ", b"Content-Length: 1"),
        _post(CHUNKED, b"ff\r\nabc"),
        _post()[:60],
        b"",
        b"\r\n\r\n",
    ],
)
def test_who_leaves_in_the_middle_costs_nothing(web: WebProcess, request_bytes: bytes) -> None:
    """A client that goes before its request is whole gets no traceback written, and nothing of it is kept."""
    log = len(web.log)
    with socket.create_connection(("127.0.0.1", web.port), 10) as connection:
        connection.sendall(request_bytes)
    assert web.ask(_get(b"/health")).status == 200
    assert web.log[log:] == ""


GOOD_HEADS = {
    "a browser's": b"",
    "a program's": b"Sec-GPC: 1\r\n",
    "one that has objected": b"Cookie: _ts_out=1\r\n",
    "a page rendered in advance": b"Sec-Purpose: prefetch;prerender\r\n",
    "a forged cookie": b"Cookie: _ts_v=1.2.3; __Host-_ts=forged\r\n",
}
BOTH_WAYS = {
    **{f"head: {name}": request for name, (request, _, _) in HEADS.items() if request.startswith(b"POST /x/b ")},
    **{f"body: {name}": _post(b"", body) for name, (body, _, _) in CLASSES.items()},
    **{f"good: {name}": _post(head) for name, head in GOOD_HEADS.items()},
}


@pytest.mark.parametrize("name", list(BOTH_WAYS))
def test_whole_or_in_pieces_the_answer_is_the_same(web: WebProcess, name: str) -> None:
    """What comes in one read is answered without ASGI; what comes in two is judged by the same rules."""
    request = BOTH_WAYS[name].replace(b"%d" % NOW_MS, b"%d" % STARTED_MS)
    whole = web.ask(request)
    with socket.create_connection(("127.0.0.1", web.port), 30) as connection:
        with contextlib.suppress(OSError):  # it may be refused by its head
            connection.sendall(request[:-3])
            assert web.ask(_get(b"/health")).status == 200  # by now the first piece has been read
            connection.sendall(request[-3:])
        raw = b""
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65_536):
                raw += chunk
    in_pieces = read_answer(raw)
    for answer in (whole, in_pieces):
        answer.headers.pop("date", None)
        cookie = answer.headers.pop("set-cookie", "")
        answer.headers["set-cookie"] = cookie.partition("=")[0]  # its signature holds the time
    assert (in_pieces.status, in_pieces.headers, in_pieces.body) == (whole.status, whole.headers, whole.body)
