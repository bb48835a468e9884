"""The live page and its stream over HTTP, and how rows of the store become rows of the page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.applications import Starlette

from collector.config import Config
from collector.console import live_feed
from collector.console.live import LEVELS, live_routes
from collector.console.live_source import ROWS, StoreSource, make_row, read_query
from collector.errors import StoreUnavailable
from collector.keyring import Keyring, make_keyring
from tests.console.asgi_client import AsgiClient
from tests.console.event_loop import run
from tests.console.live_rows import FilledSource, make_event

ROW = {
    "event_id": "00000000-0000-0000-0000-000000000001",
    "time_ms": 1,
    "received_at_ms": 2,
    "event_name": "page_view",
    "visitor_id": "v",
    "visitor_proof": "cookie",
    "person_id": "p",
    "customer_id": "",
}


def _no_reader() -> Any:
    raise AssertionError("nobody asked for the store")


def _make_app(source: FilledSource, keyring: Keyring | None = None) -> Starlette:
    return Starlette(routes=live_routes(Config(demo=True), keyring or make_keyring(), _no_reader, source=source))


def test_the_page_has_a_strict_policy_and_names_the_levels() -> None:
    """The page runs two nonced scripts, holds no data of its own, and explains all five levels of assurance."""
    source = FilledSource()
    answer = AsgiClient(_make_app(source), base_url="http://localhost").get("/demo/live")
    assert answer.status_code == 200
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert len(re.findall(r"<script nonce=", answer.text)) == 2
    assert not re.search(r"<[^>]+\s(?:on[a-z]+|style)=", answer.text)
    for number, (name, _) in enumerate(LEVELS):
        assert f"{number} {name}" in answer.text
    assert source.reads == 0


@pytest.mark.parametrize("path", ["/demo/live", "/demo/live/stream"])
def test_from_another_machine_page_and_stream_need_the_key(path: str) -> None:
    """Neither the page nor its stream opens elsewhere without the operator key."""
    source = FilledSource()
    client = AsgiClient(_make_app(source), base_url="https://shop.example", client=("203.0.113.9", 1))
    assert client.get(path).status_code == 403
    assert source.reads == 0


def test_the_stream_ends_when_the_watcher_goes() -> None:
    """A closed connection stops the reader, and the thread with it."""
    source = FilledSource()
    source.fill(make_event(1))
    app = _make_app(source)

    async def story() -> tuple[list[dict[str, Any]], bytes]:
        sent: list[dict[str, Any]] = []
        got = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await got.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if make_event(1).event_id.encode() in message.get("body", b""):
                got.set()

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "GET",
            "path": "/demo/live/stream",
            "raw_path": b"/demo/live/stream",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "scheme": "http",
            "server": ("localhost", 80),
            "client": ("127.0.0.1", 1),
        }
        await asyncio.wait_for(app(scope, receive, send), 20)
        await asyncio.to_thread(source.wait_closes, 1)
        return sent, b"".join(message.get("body", b"") for message in sent)

    sent, body = run(story())
    headers = dict(sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-accel-buffering"] == b"no"
    assert body.startswith(b"retry: ")


def test_only_so_many_may_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the answer is 503 with Retry-After."""
    monkeypatch.setattr(live_feed.LiveFeed, "is_full", property(lambda feed: feed.watchers >= 0))
    answer = AsgiClient(_make_app(FilledSource()), base_url="http://localhost").get("/demo/live/stream")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"


def test_the_bound_counts_those_who_watch() -> None:
    """A feed is full from its last place on, and not any more when one has gone."""

    async def story() -> None:
        feed = live_feed.LiveFeed(FilledSource(), max_watchers=2)
        first, second = feed.watch(), feed.watch()
        await anext(first)
        assert not feed.is_full
        await anext(second)
        assert feed.is_full
        await first.aclose()
        assert not feed.is_full
        await second.aclose()

    run(story())


class _Reader:
    """A client of the store that answers from a list, and remembers what it was asked."""

    def __init__(self, answers: dict[str, list[dict[str, Any]]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.is_closed = False

    def query_rows(
        self, sql: str, params: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        name = next(name for name in self.answers if read_query(name) == sql)
        self.asked.append((name, dict(params or {})))
        return self.answers[name]

    def close(self) -> None:
        self.is_closed = True


def test_the_source_asks_for_one_day_of_the_demo_site_only() -> None:
    """The questions are bound to the site `demo` and the last 24 hours, and the rows to 60."""
    reader = _Reader({"live_events": [dict(ROW)], "live_counts": [], "live_people": [], "live_lag": [{"lag_ms": -3}]})
    source = StoreSource(lambda: reader, lambda: 86_400_000 + 5)
    snapshot = source.read()
    assert [row.event_id for row in snapshot.rows] == [ROW["event_id"]]
    assert snapshot.lag_ms == 0, "two clocks may differ: a lag is never below nothing"
    asked = dict(reader.asked)
    assert asked["live_events"] == {"site": "demo", "since_ms": 5, "rows": ROWS}
    assert asked["live_counts"] == {"site": "demo", "since_ms": 5}
    assert asked["live_people"] == {"site": "demo", "since_ms": 5, "space": "main", "people": 3}
    source.close()
    assert reader.is_closed


def test_a_source_that_was_closed_opens_a_new_client() -> None:
    """A client is opened late, once, and anew after a close."""
    opened: list[_Reader] = []

    def open_reader() -> _Reader:
        opened.append(_Reader({name: [] for name in ("live_events", "live_counts", "live_people", "live_lag")}))
        return opened[-1]

    source = StoreSource(open_reader, lambda: 0)
    assert opened == []
    assert source.read().lag_ms == -1
    source.read()
    assert len(opened) == 1
    source.close()
    source.read()
    assert len(opened) == 2


def test_an_absent_store_is_an_error_of_ours() -> None:
    """What the client raises passes through for the feed to tell."""

    def open_reader() -> _Reader:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        StoreSource(open_reader, lambda: 0).read()


def test_demo_customers_have_names_and_long_texts_are_cut() -> None:
    """A demo customer's number becomes a name, another one's stays a number; nothing is longer than 160 characters."""
    assert make_row({**ROW, "customer_id": "4711"}).customer_name == "Ada Kowalski"
    assert make_row({**ROW, "customer_id": "1"}).customer_name == ""
    assert make_row({**ROW, "title": "x" * 1000}).title == "x" * 160
