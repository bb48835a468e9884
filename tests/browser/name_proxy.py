"""A small HTTP proxy through which a browser reaches `*.test`: names without a resolver, and a network to be cut.

Browsers ask it for a tunnel (CONNECT) and speak TLS with the server at its end, so that what they see is
`https://www.shop.test/` with certificate, cookies and origins as on the open network. A proxy needs no rights, while
a hosts file would need root and a mount of its own. Every other name is refused: no browser of a test reaches out.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

REFUSED = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
GRANTED = b"HTTP/1.1 200 OK\r\n\r\n"


class NameProxy:
    """Tunnels from `*.test` to one port of this machine. Used from the test's thread; runs on a loop of its own."""

    def __init__(self, target_port: int, loop: asyncio.AbstractEventLoop) -> None:
        self._target_port = target_port
        self._loop = loop
        self._tunnels: set[asyncio.Task[None]] = set()
        self._is_cut = False
        self.port = 0

    @property
    def address(self) -> str:
        """`host:port` of the proxy."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every connection, and let none be made until `mend`. The browser is not told that it is offline."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(10)

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut = False

    async def _cut(self) -> None:
        self._is_cut = True
        for tunnel in list(self._tunnels):
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    async def start(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def stop(self, server: asyncio.Server) -> None:
        """Let go of everything."""
        server.close()
        await self._cut()
        await server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnel = asyncio.current_task()
        assert tunnel is not None
        self._tunnels.add(tunnel)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._tunnels.discard(tunnel)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].split(b" ")
        host = head[1].rpartition(b":")[0] if len(head) > 1 else b""
        if head[0] != b"CONNECT" or not host.endswith(b".test") or self._is_cut:
            writer.write(REFUSED)
            await writer.drain()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            writer.write(GRANTED)
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextlib.contextmanager
def running_name_proxy(target_port: int) -> Iterator[NameProxy]:
    """Run the proxy in a thread until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="name proxy", daemon=True)
    thread.start()
    proxy = NameProxy(target_port, loop)
    server = asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(10)
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
