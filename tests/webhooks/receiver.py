"""A receiver of webhooks in a thread of its own, and short ways to make changes and senders."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from collector.store.writer import insert_rows
from collector.webhooks.configuration import WebhookConfig, read_webhooks
from collector.webhooks.deliveries import write_time
from collector.webhooks.sending import Sender
from tests.adapters.faulty_server import FaultyServer, Request, Respond, give
from tests.running_store import RunningStore, make_id

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENVIRON = {"SECRET": SECRET}
LIMIT_S = 20.0
TAKEN = give({}, 200)
FAILED = give({}, 500)


class Receiver:
    """A server that answers as told. `url`: where it listens."""

    def __init__(self, respond: Respond = TAKEN) -> None:
        self.server = FaultyServer(respond)
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def requests(self) -> list[Request]:
        """What came, in its order."""
        return list(self.server.requests)

    @property
    def told(self) -> list[dict[str, Any]]:
        """The bodies, each checked against its signature."""
        return [check(request) for request in self.requests]

    @property
    def ids(self) -> list[str]:
        """The ids of what came."""
        return [request.headers["webhook-id"] for request in self.requests]

    def start(self) -> None:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result()
        self.url = f"http://127.0.0.1:{port}/hook"

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def check(request: Request) -> dict[str, Any]:
    """Verify a request as a receiver does, with the standard library alone, and return its body."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert expected in request.headers["webhook-signature"].split(" ")
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 300
    body: dict[str, Any] = json.loads(request.body)
    return body


@contextlib.contextmanager
def running_receiver(respond: Respond = TAKEN) -> Iterator[Receiver]:
    """Run a receiver and stop it at the end."""
    receiver = Receiver(respond)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


def make_webhook(url: str, name: str = "mailing", **settings: Any) -> dict[str, WebhookConfig]:
    """Return one webhook that leads to a receiver on this machine."""
    section = {"url": url, "secret_env": "SECRET", "allow_private": True, "timeout_s": 2, **settings}
    return read_webhooks({name: section}, Path("use.toml"), {"lamps": {}, "desks": {}})


@contextlib.contextmanager
def running_sender(
    store: RunningStore, webhooks: dict[str, WebhookConfig], say: Callable[[str], None] = lambda _: None
) -> Iterator[Sender]:
    """Run a sender until the end; it has begun to follow when this is entered."""
    said: list[str] = []

    def hear(what: str) -> None:
        said.append(what)
        say(what)

    sender = Sender(store.config, store.keyring, webhooks, environ=ENVIRON, say=hear)
    sender.start()
    try:
        wait_until(lambda: "begun" in said)
        yield sender
    finally:
        sender.stop()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def make_change(person: int, version: int = 1, **more: Any) -> dict[str, Any]:
    """Return a row of `audience_changes`: odd versions enter."""
    row = {
        "space_id": "main",
        "change_id": make_id(person * 1_000 + version, 0xCC),
        "audience": "lamps",
        "person_id": make_id(person, 0xDD),
        "customer_id": str(4_000 + person),
        "change": "enter" if version % 2 else "leave",
        "reason": "event",
        "at": now_ms(),
        "version": version,
    } | more
    row["at"] = write_time(row["at"])
    return row


def add_changes(store: RunningStore, *rows: dict[str, Any]) -> None:
    """Write changes as the role does."""
    insert_rows(store.writer, "audience_changes", rows)


def count_states(store: RunningStore, webhook: str = "mailing") -> dict[str, int]:
    """Return how many deliveries are in which state."""
    rows = store.query(
        "SELECT state, count() AS n FROM webhook_deliveries FINAL WHERE webhook = {webhook:String} GROUP BY state",
        webhook=webhook,
    )
    return {row["state"]: row["n"] for row in rows}


def wait_until(is_so: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Wait until it is so; fail where it never is."""
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)
