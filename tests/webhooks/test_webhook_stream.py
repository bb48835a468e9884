"""`GET /v1/stream` of a real server with a real store: what is told, resumed, refused, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette

from collector.audiences.changes import make_change_id
from collector.config import Config
from collector.endpoints import stream
from collector.endpoints.edge import Edge
from collector.http import make_protocol
from collector.profiles.states import State, set_state
from collector.sites.book import ApiKey, SiteBook
from collector.sites.keys import hash_key
from collector.store.client import open_client
from collector.store.threads import StoreThreads
from tests.edge_examples import KEYRING
from tests.endpoints.test_beacon import MemorySpool
from tests.running_store import RunningStore, make_id
from tests.webhooks.receiver import add_changes, make_change, now_ms, wait_until

pytestmark = pytest.mark.engine


def make_key(name: str, *scopes: str, **changes: Any) -> tuple[str, ApiKey]:
    text = f"ts_{name}_secret"
    return text, ApiKey(key_id=name, hash=hash_key(KEYRING, text), scopes=scopes, **changes)


LISTENER, _listener = make_key("aa", "audience:read")
READER, _reader = make_key("bb", "profile:read")
NORTH, _north = make_key("cc", "audience:read", space_id="north")
OF_A_SITE, _of_a_site = make_key("dd", "audience:read", site_id="shop")


class Server:
    """The application on a free port. `book` are its keys, `is_stopping` whether it ends."""

    def __init__(self, store: RunningStore) -> None:
        self.book = SiteBook(
            keys={key.key_id: key for key in (_listener, _reader, _north, _of_a_site)}, read_at_ms=now_ms()
        )
        self.is_stopping = False
        self.used: list[str] = []
        self.threads = StoreThreads(lambda: open_client(store.config, store.keyring, "writer"))
        edge = Edge(Config(), KEYRING, lambda: self.book, MemorySpool(), now_ms)
        self.streams = stream.Streams(
            edge,
            self.threads,
            lambda key, _: self.used.append(key),
            lambda: self.is_stopping,
            heartbeat_s=0.5,
            send_s=2.0,
        )
        endpoint = stream.PlainEndpoint(self.streams.receive)
        app = Starlette(routes=[stream.Route(stream.PATH, endpoint, methods=["GET"])])
        config = uvicorn.Config(
            app, port=0, http=make_protocol(Config()), log_level="critical", ws="none", lifespan="off"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    @property
    def port(self) -> int:
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def open_streams(self) -> int:
        return self.streams._open.total()


class Stream:
    """One that listens. `events`: the messages so far, by reading in a thread; `has_ended`: by the server."""

    def __init__(self, server: Server, query: str = "", key: str = LISTENER, last: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": last} if last else {})
        self.connection.request("GET", stream.PATH + query, headers=headers)
        self.socket = self.connection.sock
        self.answer = self.connection.getresponse()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.comments: list[str] = []
        self.has_ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        if self.answer.status == 200:
            self._thread.start()

    @property
    def people(self) -> list[str]:
        return [data["data"]["person_id"] for _, data in self.events]

    def close(self) -> None:
        """Go away as a client does that crashes."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(2)
        self.has_ended.wait(10)
        self.answer.close()
        self.connection.close()

    def _read(self) -> None:
        event_id = ""
        with contextlib.suppress(OSError, http.client.HTTPException):
            for line in self.answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    event_id = value
                elif name == "data":
                    self.events.append((event_id, json.loads(value)))
                elif name == "" and value:
                    self.comments.append(value)
        self.has_ended.set()


@pytest.fixture
def server(store: RunningStore) -> Iterator[Server]:
    server = Server(store)
    server.thread.start()
    wait_until(lambda: server.server.started)
    yield server
    server.is_stopping = True
    server.server.should_exit = True
    server.thread.join()
    server.threads.close()


@contextlib.contextmanager
def listening(server: Server, *arguments: str, **more: str) -> Iterator[Stream]:
    one = Stream(server, *arguments, **more)
    try:
        assert one.answer.status == 200, one.answer.read()
        yield one
    finally:
        one.close()


def test_changes_are_told_as_they_happen(store: RunningStore, server: Server) -> None:
    """Of the key's space and of the audiences that were asked for, once each; nothing from before."""
    add_changes(store, make_change(1))
    with (
        listening(server) as everything,
        listening(server, "?audience=desks&audience=shoes") as desks,
        listening(server, "", NORTH) as north,
    ):
        assert everything.answer.headers["content-type"].startswith("text/event-stream")
        assert everything.answer.headers["cache-control"] == "no-store"
        change = make_change(2, 2)
        add_changes(store, change, make_change(3, audience="desks"), make_change(4, space_id="north"))
        wait_until(lambda: len(everything.events) == 2 and desks.events and north.events)
        assert everything.events[0][0].endswith(f"-{change['change_id']}") or everything.events[1][0].endswith(
            f"-{change['change_id']}"
        )
        assert sorted(everything.people) == [make_id(2, 0xDD), make_id(3, 0xDD)]
        assert desks.people == [make_id(3, 0xDD)]
        assert north.people == [make_id(4, 0xDD)]
        left = next(data for _, data in everything.events if data["data"]["version"] == 2)
        assert left == {
            "type": "audience.left",
            "timestamp": change["at"],
            "data": {
                "audience": "lamps",
                "space": "main",
                "person_id": make_id(2, 0xDD),
                "reason": "event",
                "version": 2,
                "change_id": change["change_id"],
                "customer_id": "4002",
            },
        }
    assert sorted(server.used) == ["aa", "aa", "cc"]
    wait_until(lambda: server.open_streams == 0)


def test_who_comes_again_misses_nothing(store: RunningStore, server: Server) -> None:
    """After the last id; also of what was written later with an earlier time, and of more than a page."""
    with listening(server) as first:
        add_changes(store, make_change(1))
        wait_until(lambda: first.events)
        last = first.events[-1][0]
    moment = now_ms()
    add_changes(store, *(make_change(person, at=moment) for person in range(10, 3_010)))
    add_changes(store, make_change(2, at=now_ms() - 20_000))
    with listening(server, last=last) as second:
        wait_until(lambda: len(set(second.people)) >= 3_002)
        add_changes(store, make_change(3))
        wait_until(lambda: make_id(3, 0xDD) in second.people)
        assert len(second.people) == len(set(second.people)) == 3_003


def test_people_who_were_erased_are_not_told_of(store: RunningStore, server: Server) -> None:
    """Not that they entered; that they left."""
    set_state(store.writer, "main", [make_id(1, 0xDD)], State.ERASED, now_ms=now_ms())
    with listening(server) as one:
        add_changes(store, make_change(1, 1), make_change(1, 2), make_change(2, 1))
        wait_until(lambda: len(one.events) == 2)
        assert sorted(data["data"]["version"] for _, data in one.events) == [1, 2]
        assert [d["data"]["version"] for _, d in one.events if d["data"]["person_id"] == make_id(1, 0xDD)] == [2]


def test_who_comes_again_does_not_hear_of_those_who_withdrew(store: RunningStore, server: Server) -> None:
    """What came before their withdrawal is theirs: only that they left is told, and the others as ever."""
    at = now_ms() - 5_000
    row = {"space_id": "main", "audience": "lamps", "person_id": make_id(1, 0xDD)}
    first, second = (make_change(1, n, at=at, change_id=make_change_id(*row.values(), n)) for n in (1, 2))
    add_changes(store, first, second | {"reason": "consent"}, make_change(2, 1, at=at), make_change(2, 2, at=at))
    with listening(server, last=f"{at - 1}-{make_id(0)}") as one:
        wait_until(lambda: len(one.events) == 3)
        told = [(data["data"]["person_id"], data["type"]) for _, data in one.events]
    left, entered = "audience.left", "audience.entered"
    assert sorted(told) == [(make_id(1, 0xDD), left), (make_id(2, 0xDD), entered), (make_id(2, 0xDD), left)]


def test_a_look_at_the_head_takes_no_place(server: Server) -> None:
    """Programs that watch addresses ask so; it ends at once."""
    for _ in range(stream.MOST_OF_KEY + 1):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.request("HEAD", stream.PATH, headers={"Authorization": f"Bearer {LISTENER}"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        assert answer.headers["content-type"].startswith("text/event-stream")
        connection.close()
    assert server.open_streams == 0


def test_who_stops_reading_loses_the_place(store: RunningStore, server: Server) -> None:
    """Somebody who takes nothing any more, and does not go away either."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        one.connect(("127.0.0.1", server.port))
        one.sendall(f"GET {stream.PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {LISTENER}\r\n\r\n".encode())
        wait_until(lambda: server.open_streams == 1)
        for first in range(0, 40_000, 10_000):
            add_changes(store, *(make_change(person) for person in range(first, first + 10_000)))
        wait_until(lambda: server.open_streams == 0)


def test_silence_and_the_end(server: Server) -> None:
    """A comment now and then; it ends in the proper way where the key is revoked, and where the server stops."""
    with listening(server) as one, listening(server, "", NORTH) as north:
        wait_until(lambda: "still here" in one.comments)
        revoked = msgspec.structs.replace(_listener, revoked_at_ms=now_ms() - 1)
        server.book = msgspec.structs.replace(server.book, keys=server.book.keys | {"aa": revoked})
        assert one.has_ended.wait(10)
        assert one.comments[-1] == "the key is no longer in force"
        assert not north.has_ended.is_set()
        server.is_stopping = True
        assert north.has_ended.wait(10)
        assert north.comments[-1] == "the server stops, come again"


@pytest.mark.parametrize(
    ("key", "query", "last", "status", "error"),
    [
        ("ts_no_key", "", "", 401, "unauthorized"),
        (READER, "", "", 403, "scope"),
        (OF_A_SITE, "", "", 403, "scope"),
        (LISTENER, "?audience=Lamps", "", 400, "argument"),
        (LISTENER, "?audience=", "", 400, "argument"),
        (LISTENER, "?since=1", "", 400, "argument"),
        (LISTENER, "?audience", "", 400, "argument"),
        (LISTENER, "", "7", 400, "argument"),
    ],
)
def test_refusals(server: Server, key: str, query: str, last: str, status: int, error: str) -> None:
    """Each with its word, and what to do."""
    one = Stream(server, query, key, last)
    said = json.loads(one.answer.read())
    one.connection.close()
    assert (one.answer.status, said["error"]) == (status, error)
    assert said["message"]


def test_too_many_streams(server: Server) -> None:
    """Eight for a key; the next is told to come later, and may as soon as one is closed. Other keys may meanwhile."""
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(listening(server)) for _ in range(stream.MOST_OF_KEY)]
        refused = Stream(server)
        assert refused.answer.status == 429
        assert refused.answer.headers["retry-after"] == "5"
        assert "8 for a key" in json.loads(refused.answer.read())["message"]
        refused.connection.close()
        stack.enter_context(listening(server, "", NORTH))
        streams[0].close()
        wait_until(lambda: server.open_streams == stream.MOST_OF_KEY)
        stack.enter_context(listening(server))


def test_a_store_that_is_away(store: RunningStore, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new stream is told to come later; an open one goes on once the store is back."""
    with listening(server) as one:
        real = server.threads.ask

        async def fail(_: Any) -> Any:
            from collector.errors import StoreUnavailable

            raise StoreUnavailable("away")

        monkeypatch.setattr(server.threads, "ask", fail)
        refused = Stream(server)
        assert (refused.answer.status, json.loads(refused.answer.read())["error"]) == (503, "unavailable")
        refused.connection.close()
        add_changes(store, make_change(1))
        wait_until(lambda: len(one.comments) >= 2)
        monkeypatch.setattr(server.threads, "ask", real)
        wait_until(lambda: one.events)
