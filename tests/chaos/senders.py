"""Clients that send beacons over many connections at once, as nervously as a browser's tag: what has no answer, and
what was told to come again, is sent again with the same bytes. Every event goes through the ledger.

with Senders(ledger, [port], connections=8) as senders:
    senders.wait_for(1000)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tests.chaos.ledger import Ledger

RETRY_S = 0.05
BEACONS_OF_A_VISITOR = 50
ANSWER_S = 10.0
"""A client that has waited so long gives the connection up and sends again."""


def make_beacon(
    visitor: str, session: str, events: Sequence[dict[str, Any]], *, now_ms: int | None = None, site: str = "demo"
) -> bytes:
    """Return the body of a beacon. `now_ms`: the client's clock, milliseconds since 1970."""
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    return json.dumps(
        {
            "v": 1,
            "s": site,
            "st": now_ms,
            "d": visitor,
            "c": "ai",
            "x": {"i": session, "n": 1, "t": now_ms},
            "u": "http://localhost/demo/chaos?utm_source=chaos",
            "e": [{"t": now_ms, **event} for event in events],
        }
    ).encode()


class Connection:
    """One connection of a client to a port of this machine, opened when it is needed and opened anew after trouble."""

    def __init__(self, port: int, address: str = "") -> None:
        """`address`: of the client, told as a proxy tells it; "": none."""
        self._port = port
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, path: str = "/x/b") -> tuple[int, dict[str, str]]:
        """Send one beacon and return status and headers of the answer. Raises OSError where none comes."""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
        if self._address:
            head += f"X-Forwarded-For: {self._address}\r\n"
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            status, headers = await asyncio.wait_for(
                _exchange(*self._streams, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body), ANSWER_S
            )
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            await self.close()
            raise ConnectionError("no whole answer") from error
        if headers.get("connection") == "close":
            await self.close()
        return status, headers

    async def close(self) -> None:
        """Close it; it may be used again."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, dict[str, str]]:
    writer.write(request)
    await writer.drain()
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    await reader.readexactly(int(headers.get("content-length", "0")))
    return int(status.split()[1]), headers


class Senders:
    """Connections that send until `stop`. `answers` counts statuses, and `cut` where no answer came."""

    def __init__(
        self,
        ledger: Ledger,
        ports: Sequence[int],
        *,
        connections: int = 8,
        most_events: int = 3,
        pause_s: float = 0.0,
        beacons_per_s: float = 0.0,
        padding: int = 0,
        seed: int = 0,
        address: str = "",
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`pause_s`: between a connection's beacons. `beacons_per_s`: of all together; 0: as fast as answers come.
        `padding`: bytes of properties in each event."""
        self.answers: Counter[str] = Counter()
        self._ledger = ledger
        self._ports = ports
        self._connections = connections
        self._most_events = most_events
        self._pause_s = pause_s
        self._interval_s = connections / beacons_per_s if beacons_per_s else 0.0
        self._padding = "z" * padding
        self._seed = seed
        self._address = address
        self._clock_ms = clock_ms
        self._stop = threading.Event()
        self._ending = asyncio.Event()  # the same, for who is waiting
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="senders")

    def __enter__(self) -> Senders:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the stream. What was sent is waited for, so that nothing arrives when all is counted."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def wait_for(self, count: int, limit_s: float = 60.0) -> None:
        """Wait until the ledger has so many acknowledged events."""
        give_up_at = time.monotonic() + limit_s
        while len(self._ledger.acknowledged) < count:
            assert self._thread.is_alive(), repr(self._failure)
            assert time.monotonic() < give_up_at, (len(self._ledger.acknowledged), self.answers)
            time.sleep(0.01)

    def _run(self) -> None:
        try:
            asyncio.run(self._send_all())
        except BaseException as error:  # told where the test waits for us
            self._failure = error

    async def _send_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._send(number)) for number in range(self._connections)]
            await asyncio.to_thread(self._stop.wait)
            self._ending.set()
            await asyncio.wait(tasks, timeout=ANSWER_S + 1)
            for task in tasks:
                task.cancel()

    async def _send(self, number: int) -> None:
        connection = Connection(self._ports[number % len(self._ports)], self._address)
        try:
            await self._send_on(connection, random.Random(f"{self._seed} {number}"))
        except BaseException:
            self._stop.set()
            raise
        finally:
            await connection.close()

    async def _send_on(self, connection: Connection, chance: random.Random) -> None:
        sent = 0
        due = time.monotonic() + self._interval_s * chance.random()
        while not self._stop.is_set():
            if self._interval_s:
                await self._pause(due - time.monotonic())
                due += self._interval_s
            if sent % BEACONS_OF_A_VISITOR == 0:
                visitor, session = str(uuid.uuid4()), str(uuid.uuid4())
            sent += 1
            events = [self._make_event(chance) for _ in range(chance.randint(1, self._most_events))]
            body = make_beacon(visitor, session, events, now_ms=self._clock_ms())
            self._ledger.note_sent(visitor, session, events)
            while not await self._is_taken(connection, body):
                if self._stop.is_set():
                    return
                await self._pause(RETRY_S * chance.uniform(0.5, 1.0))
            self._ledger.note_acknowledged(events)
            if self._pause_s:
                await self._pause(self._pause_s)

    async def _pause(self, time_s: float) -> None:
        """Wait so long, or until the end."""
        if time_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), time_s)

    async def _is_taken(self, connection: Connection, body: bytes) -> bool:
        try:
            status, headers = await connection.post(body)
        except ConnectionError:
            self.answers["cut"] += 1
            return False
        self.answers[str(status)] += 1
        assert status in (200, 204, 429, 503), (status, headers)
        if status in (429, 503):
            return False
        assert "x-tagstitch-rejected" not in headers, headers
        return True

    def _make_event(self, chance: random.Random) -> dict[str, Any]:
        event: dict[str, Any] = {"i": str(uuid.uuid4()), "n": "page_view"}
        if chance.random() < 0.2:
            event |= {"n": "identify", "k": [{"k": "customer", "v": str(chance.randint(1, 500))}]}
        elif self._padding:
            event["p"] = {"text": self._padding}
        return event
