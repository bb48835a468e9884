"""From an event to a webhook: a visitor buys, is in the audience of buyers, and another system hears of it."""

from __future__ import annotations

import http.client
import json
import math
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from bench.identity.store import Bench
from bench.ingest.processes import Collector, ProcessError
from bench.ingest.traffic import SITE
from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.sites.book import DEFAULT_SPACE
from collector.webhooks.signing import make_secret

RATE = 5
EVERYBODY_S = 1_800.0
PATIENCE_S = 60.0
SECRET_VARIABLE = "BENCH_WEBHOOK_SECRET"  # noqa: S105  the name of a variable
USE = """
[audiences.just_bought]
purpose = ""
all = [{{ event = "bench_purchase", within_days = 1 }}]

[webhooks.bench]
url = "http://127.0.0.1:{port}/"
secret_env = "{secret}"
allow_private = true
"""
_JUDGED = "SELECT count() AS judged FROM audience_progress FINAL WHERE subject = 'audience:just_bought'"


class _Receiver(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard_s: dict[str, float] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = cast(_Receiver, self.server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.heard_s.setdefault(body["data"]["person_id"], time.perf_counter())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def running_receiver() -> Iterator[_Receiver]:
    """Run a receiver that takes everything."""
    server = _Receiver()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def measure_telling(bench: Bench, collector: Collector, seconds: float, scale: float) -> None:
    """Let new visitors buy, some a second, and see when the receiver hears of each. Raises ProcessError."""
    with running_receiver() as receiver:
        path = Path(collector.settings["use_file"])
        path.write_text(USE.format(port=receiver.server_port, secret=SECRET_VARIABLE), encoding="utf-8")
        collector.environ[SECRET_VARIABLE] = make_secret()
        web = collector.start_web(0)
        for role in ("load", "stitch", "activate"):
            collector.start_role(role, "0-1")
        try:
            _await_judged(bench, collector)
            _send(collector, web.port, RATE * 3)  # everything is warm
            sent_s = _send(collector, web.port, int(RATE * seconds))
            deadline_s = time.perf_counter() + PATIENCE_S
            while not sent_s.keys() <= receiver.heard_s.keys():
                if time.perf_counter() > deadline_s:
                    missing = len(sent_s.keys() - receiver.heard_s.keys())
                    raise ProcessError(f"{missing} of {len(sent_s)} purchases were not told within {PATIENCE_S:.0f} s")
                time.sleep(0.05)
        finally:
            collector.stop("activate", "stitch", "load", "web")
        waits_s = sorted(receiver.heard_s[person] - at_s for person, at_s in sent_s.items())
    for share, word in ((0.5, "p50"), (0.99, "p99")):
        value = waits_s[math.ceil(share * len(waits_s)) - 1]
        bench.note(f"event_to_webhook_{word}_s at scale {scale:g}", value)
    bench.note("event_to_webhook_p99_s", value)


def _await_judged(bench: Bench, collector: Collector) -> None:
    began_s = time.monotonic()
    with collector.open_store() as store:
        while not store.query_rows(_JUDGED)[0]["judged"]:
            bench.step(f"everybody is judged once, {time.monotonic() - began_s:.0f} s")
            if time.monotonic() - began_s > EVERYBODY_S:
                said = collector.running["activate"].read_last_words()
                raise ProcessError(f"not everybody was judged within {EVERYBODY_S:.0f} s: {said}")
            time.sleep(1)


def _send(collector: Collector, port: int, count: int) -> dict[str, float]:
    """Send a purchase of a new visitor each, and return when each was sent, by person."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    sent_s = {}
    began_s = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, began_s + number / RATE - time.perf_counter()))
        visitor, now_ms = str(uuid.uuid4()), time.time_ns() // 1_000_000
        event = {"i": str(uuid.uuid4()), "n": "bench_purchase", "t": now_ms}
        url = f"{SITE.origins[0]}/thanks"
        body = {"v": 1, "s": SITE.site_id, "st": now_ms, "d": visitor, "u": url, "e": [event]}
        headers = {"Origin": SITE.origins[0], "Content-Type": "text/plain", "User-Agent": "Mozilla/5.0 Firefox/140.0"}
        headers["X-Forwarded-For"] = f"10.1.{number // 200 % 200}.{number % 200}"
        person = own_person_id(collector.keyring.pseudonym_key, DEFAULT_SPACE, VISITOR_KIND, visitor)
        sent_s[person] = time.perf_counter()
        connection.request("POST", "/x/b", json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (200, 204):
            raise ProcessError(f"a purchase was answered with {answer.status}")
    connection.close()
    return sent_s
