"""What a program and a page wait for: profiles and `/x/me` out of a store with many people in it."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from bench.identity.store import Bench
from bench.ingest.processes import Collector, ProcessError
from bench.ingest.traffic import COOKIE, SITE
from bench.use.dataset import Made, People
from bench.use.load import Times, ask_steadily
from collector.accept.visitor_cookie import VisitorCookie, write_cookie

PROFILE_RATE, ME_RATE = 50, 200
WARM_S = 5.0
KEY_S = 30.0
SEED = 7
CUSTOMERS_ASKED = 2_000
"""Customers whom pages ask about in turn: as many as a shop has at a time. Their records are warm after the first."""

USE = """
[traits.first_name]
[traits.plan]
personal = false
[traits.city]
personal = false
[traits.points]
personal = false

[adapters.erp]
kind = "rest"
base_url = "http://127.0.0.1:{port}"
path = "/{{key}}"
allow_networks = ["127.0.0.1/32"]
[adapters.erp.fields]
tier = {{ type = "text", personal = false, page = true, ttl_s = {ttl_s} }}
"""


class _Erp(ThreadingHTTPServer):
    """A source that answers at once, or never."""

    daemon_threads = True
    request_queue_size = 256
    is_hanging = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: that whoever asked did not wait is what is measured."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = cast(_Erp, self.server)
        while server.is_hanging:
            time.sleep(0.2)
        body = json.dumps({"tier": "gold"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def running_source() -> Iterator[_Erp]:
    """Run the source."""
    server = _Erp(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.is_hanging = False
        server.shutdown()
        server.server_close()


def measure_profiles(bench: Bench, collector: Collector, made: Made, seconds: float, scale: float) -> None:
    """Ask for profiles of anybody, with the first page of the timeline."""
    people = People(collector.keyring)
    chance = random.Random(SEED)  # noqa: S311  no secrets
    numbers = [chance.randrange(made.customers) for _ in range(int(PROFILE_RATE * (seconds + WARM_S)))]

    def make_head(number: int) -> str:
        path = f"/v1/customers/{people.name_customer(numbers[number])}"
        return f"GET {path} HTTP/1.1\r\nAuthorization: Bearer {made.secret}"

    port = _start_web(collector, "")
    _await_key(port, make_head(0))
    ask_steadily(port, PROFILE_RATE, WARM_S, lambda number: make_head(len(numbers) - 1 - number))
    _note(bench, "profile", ask_steadily(port, PROFILE_RATE, seconds, make_head), scale)
    _note(bench, "health", ask_steadily(port, PROFILE_RATE, 5, lambda _: "GET /health HTTP/1.1"), scale)
    collector.stop("web")


def measure_pages(bench: Bench, collector: Collector, made: Made, seconds: float, scale: float, *, down: bool) -> None:
    """Ask as pages of signed-in customers do: with a source that is warm, and with one that hangs."""
    heads = _make_pages(collector, made)

    def make_head(number: int) -> str:
        return heads[number % len(heads)] + f"\r\nX-Forwarded-For: 10.{number // 250 % 250}.{number % 250}.9"

    with running_source() as source:
        port = _start_web(collector, USE.format(port=source.server_port, ttl_s=86_400))
        ask_steadily(port, ME_RATE, len(heads) / ME_RATE, make_head)
        _note(bench, "me", ask_steadily(port, ME_RATE, seconds, make_head), scale)
        collector.stop("web")
        if not down:
            return
        for name, is_hanging in (("me_source_up", False), ("me_source_down", True)):
            # Nothing is kept, so that each page asks the source, or would.
            source.is_hanging = False
            port = _start_web(collector, USE.format(port=source.server_port, ttl_s=0))
            ask_steadily(port, ME_RATE, WARM_S, make_head)
            source.is_hanging = is_hanging
            ask_steadily(port, ME_RATE, WARM_S, make_head)
            _note(bench, name, ask_steadily(port, ME_RATE, seconds, make_head), scale)
            source.is_hanging = False
            collector.stop("web")


def _make_pages(collector: Collector, made: Made) -> list[str]:
    """Return the heads of requests of customers in their browsers."""
    people, now_s = People(collector.keyring), int(time.time())
    chance = random.Random(SEED)  # noqa: S311
    heads = []
    for _ in range(min(CUSTOMERS_ASKED, made.customers)):
        customer = chance.randrange(made.customers)
        cookie = VisitorCookie(
            visitor_id=people.name_visitor(customer * 3),
            signed_s=now_s,
            level=3,
            until_s=now_s + 86_400,
            customer_key=people.find_customer_key(customer),
        )
        text = write_cookie(collector.keyring, SITE.site_id, cookie)
        heads.append(
            f"GET /x/me?s={SITE.site_id} HTTP/1.1\r\nOrigin: {SITE.origins[0]}\r\nSec-Fetch-Dest: empty\r\n"
            f"Sec-Fetch-Site: same-origin\r\nCookie: {COOKIE}={text}"
        )
    return heads


def _start_web(collector: Collector, use: str) -> int:
    path = Path(collector.settings["use_file"])
    path.write_text(use, encoding="utf-8")
    return collector.start_web(0).port


def _await_key(port: int, head: str) -> None:
    """Wait until web knows the key: it asks the store for keys every few seconds."""
    deadline_s = time.monotonic() + KEY_S
    while set(ask_steadily(port, 1, 1, lambda _: head).statuses) != {200}:
        if time.monotonic() > deadline_s:
            raise ProcessError("web does not know the key")


def _note(bench: Bench, name: str, times: Times, scale: float) -> None:
    if set(times.statuses) != {200}:
        raise ProcessError(f"{name}: not all answers were good: {dict(times.statuses)}")
    for share, word in ((0.5, "p50"), (0.99, "p99")):
        value = times.find_quantile_ms(share)
        bench.note(f"{name}_{word}_ms at scale {scale:g}", value)
        _note_figure(bench.note, name, word, value)


def _note_figure(note: Callable[[str, float], None], name: str, word: str, value: float) -> None:
    if word == "p99":
        base = name.removesuffix("_source_up").removesuffix("_source_down")
        note(f"{base}_p99{name.removeprefix(base)}_ms", value)
