"""A proxy in front of the real engine's HTTP interface that breaks what passes, as networks and servers do.

with FaultProxy("127.0.0.1", engine.port) as proxy:
    proxy.fault = Reset(after=True)     # the engine carries the insert out, its answer never arrives
    proxy.fault = None                  # everything passes again

A fault meets inserts into `landing` only, or everything where it says so. Each request has a connection of its own,
to the client and to the engine, so that one that breaks takes no other with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

INSERT = b"landing"


@dataclass(frozen=True)
class Fault:
    """What happens. `after`: the engine has carried the statement out before; else it never hears of it.
    `everything`: questions too, not inserts only."""

    after: bool = False
    everything: bool = False


@dataclass(frozen=True)
class Reset(Fault):
    """The connection is reset."""


@dataclass(frozen=True)
class CutBody(Fault):
    """The engine gets the first `share` of the body, ended after a whole line where `at_line`; then both ends close."""

    share: float = 0.5
    at_line: bool = True


@dataclass(frozen=True)
class CutAnswer(Fault):
    """The client gets half of the answer, and then a reset. The engine has carried it out."""

    after: bool = True


@dataclass(frozen=True)
class Slow(Fault):
    """Nothing moves for so many seconds, then all is well."""

    seconds: float = 5.0


@dataclass(frozen=True)
class Answer(Fault):
    """Somebody answers in the engine's place. `code`: a ClickHouse exception of that code; 0: a plain page."""

    status: int = 500
    code: int = 0

    def encode(self) -> bytes:
        """Return the bytes of the answer."""
        body = f"Code: {self.code}. DB::Exception: injected".encode() if self.code else b"<h1>Bad gateway</h1>"
        head = f"HTTP/1.1 {self.status} Injected\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        if self.code:
            head += f"X-ClickHouse-Exception-Code: {self.code}\r\n"
        return head.encode() + b"\r\n" + body


class FaultProxy:
    """Listens on `port` of this machine from `__enter__` on. `met` counts the faults that met a request, by kind."""

    def __init__(self, host: str, port: int) -> None:
        self.fault: Fault | None = None
        self.met: Counter[str] = Counter()
        self.port = 0
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy")

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self.listen()
        return self

    def __exit__(self, *exception: object) -> None:
        self.vanish()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def listen(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._wait(self._listen())

    def vanish(self) -> None:
        """Refuse connections and end those there are, as a host that is down."""
        self._wait(self._vanish())

    def _wait(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**20)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _vanish(self) -> None:
        server, self._server = self._server, None
        for listener in server.sockets if server is not None else ():
            self._loop.remove_reader(listener.fileno())
        for _ in range(10):  # asyncio forgets what it has just accepted, if the server is closed before it has a task
            await asyncio.sleep(0)
        if server is not None:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._server is None:
                return  # too late
            head = await reader.readuntil(b"\r\n\r\n")
            await self._handle(head, await _read_body(reader, head), writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # somebody went; so do we
        finally:
            self._tasks.discard(task)
            _reset(writer) if self._server is None else writer.close()

    async def _handle(self, head: bytes, body: bytes, client: asyncio.StreamWriter) -> None:
        line = head.partition(b"\r\n")[0]
        fault = self.fault
        if fault is not None and not fault.everything and INSERT not in line + body[:200]:
            fault = None
        if fault is None:
            client.write(await self._forward(head, body))
            await client.drain()
            return
        self.met[type(fault).__name__] += 1
        match fault:
            case CutBody():
                end = int(len(body) * fault.share)
                await self._forward(head, body[: body.rfind(b"\n", 0, end) + 1 if fault.at_line else end], cut=True)
                _reset(client)
                return
            case Slow():
                await asyncio.sleep(fault.seconds)
                client.write(await self._forward(head, body))
                await client.drain()
                return
        answer = await self._forward(head, body) if fault.after else b""
        if isinstance(fault, CutAnswer):
            client.write(answer[: len(answer) // 2])
            await client.drain()
            _reset(client)
        elif isinstance(fault, Reset):
            _reset(client)
        elif isinstance(fault, Answer):
            client.write(fault.encode())
            await client.drain()

    async def _forward(self, head: bytes, body: bytes, *, cut: bool = False) -> bytes:
        """Send the request on and return the whole answer. `cut`: end the connection behind the body instead."""
        reader, writer = await asyncio.open_connection(*self._target)
        try:
            writer.write(_close_after(head) + body)
            await writer.drain()
            if cut:
                writer.write_eof()
            return await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Return the body as it came, chunks with their sizes."""
    headers = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    if b"chunked" not in headers.get(b"transfer-encoding", b""):
        return await reader.readexactly(int(headers.get(b"content-length", b"0")))
    body = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        chunk = await reader.readexactly(int(size, 16) + 2)
        body += size + chunk
        if chunk == b"\r\n":
            return body


def _close_after(head: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([lines[0], b"Connection: close", *lines[1:]])


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side gets a reset, not an end."""
    transport = writer.transport
    found = transport.get_extra_info("socket")
    if found is not None and not transport.is_closing():
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
