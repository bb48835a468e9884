"""An HTTP server on this machine that does what a test tells it, down to the bytes, and notes what it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

Respond = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


class Request(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class FaultyServer:
    """`respond` answers every request; `requests` are those that came, `connections` how many there were."""

    def __init__(self, respond: Respond | None = None) -> None:
        self.respond = respond or give({"name": "Ada"})
        self.requests: list[Request] = []
        self.connections = 0
        self.server_names: list[str | None] = []
        self.sent = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, context: ssl.SSLContext | None = None) -> int:
        """Listen on any free port of 127.0.0.1 and return it."""
        if context is not None:
            context.sni_callback = lambda _, name, __: self.server_names.append(name)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.requests.append(Request(method, target, headers, body))
                await self.respond(self.requests[-1], writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


def give(document: Any = None, status: int = 200, body: bytes | None = None, **headers: str) -> Respond:
    """A whole answer: JSON, or the bytes of `body`. `content_type` and such are headers."""
    content = json.dumps(document).encode() if body is None else body
    lines = {"content-type": "application/json", "content-length": str(len(content))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"HTTP/1.1 {status} Fine\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)

    async def respond(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + b"\r\n" + content)

    return respond


def write_raw(*parts: bytes, pause_s: float = 0.0, reset: bool = False) -> Respond:
    """These bytes, whatever they are, then the end of the connection; with `reset` a hard one."""

    async def respond(_: Request, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        if reset:
            writer.transport.abort()
        else:
            writer.close()

    return respond


async def hang(_: Request, __: asyncio.StreamWriter) -> None:
    """Say nothing for a long time."""
    await asyncio.sleep(600)


def by_path(**responds: Respond) -> Respond:
    """Another answer for each last segment of the path."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        await responds[request.target.partition("?")[0].rpartition("/")[2]](request, writer)

    return respond


def one_after_another(*responds: Respond) -> Respond:
    """Each request its own; the last one for all that follow."""
    left = list(responds)

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, writer)

    return respond
