"""Connections to one origin, kept open and used again, each by one request at a time.

What is connected to is an address that the guard has judged, now and not when the connection was made; the name stands
in the TLS handshake. The pool is ours because that of httpcore loses a connection for good where a request is given up
while it connects, and giving up in time is what sources are asked with here: sixteen such requests, and it would never
answer again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpcore

from collector.adapters.address_guard import AddressGuard
from collector.errors import AdapterError, AdapterReason

MAX_CONNECTIONS = 16
KEPT_S = 30.0


class Connections:
    """At most MAX_CONNECTIONS, in one event loop."""

    def __init__(self, guard: AddressGuard, context: ssl.SSLContext | None) -> None:
        """`context`: whom TLS trusts; None where the origin has none."""
        self._guard = guard
        self._context = context
        origin = guard.origin
        self._origin = httpcore.Origin(origin.scheme.encode(), origin.host.encode(), origin.port)
        self._backend = httpcore.AnyIOBackend()
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._idle: list[tuple[str, httpcore.AsyncHTTP11Connection]] = []
        self._best = ""
        self._is_closed = False

    @asynccontextmanager
    async def send(self, request: httpcore.Request, ends_s: float) -> AsyncIterator[httpcore.Response]:
        """Send a request and yield the head of its answer; the body can be read meanwhile. `ends_s`: when connecting is
        given up, by the loop's time. Raises what httpcore raises, and AdapterError of the guard. It may be cancelled
        anywhere."""
        async with self._slots:
            address, connection = await self._find(ends_s)
            try:
                response = await connection.handle_async_request(request)
                try:
                    yield response
                finally:
                    await response.aclose()
            finally:
                if connection.is_idle() and not self._is_closed and not _has_more(connection):
                    self._idle.append((address, connection))
                else:
                    await connection.aclose()

    async def close(self) -> None:
        """Close those that nobody uses; the others are closed after their request."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop()[1].aclose()
        self._guard.close()

    async def _find(self, ends_s: float) -> tuple[str, httpcore.AsyncHTTP11Connection]:
        addresses = await self._guard.find_addresses()
        while self._idle:
            address, connection = self._idle.pop()
            if address in addresses and connection.is_available() and not connection.has_expired():
                return address, connection
            await connection.aclose()
        return await self._connect(sorted(addresses, key=lambda address: address != self._best), ends_s)

    async def _connect(self, addresses: list[str], ends_s: float) -> tuple[str, httpcore.AsyncHTTP11Connection]:
        """Connect to the first that lets us. A machine that is gone takes its share of the time alone."""
        failure: Exception = AdapterError(AdapterReason.UNREACHABLE, "no address")
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share_s = max((ends_s - asyncio.get_running_loop().time()) / left, 0.001)
            try:
                stream = await self._open(address, share_s)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error  # nothing has been sent; the next one was judged together with this one
                continue
            self._best = address
            return address, httpcore.AsyncHTTP11Connection(self._origin, stream, KEPT_S)
        raise failure

    async def _open(self, address: str, seconds: float) -> httpcore.AsyncNetworkStream:
        stream = await self._backend.connect_tcp(address, self._guard.origin.port, timeout=seconds)
        if self._context is None:
            return stream
        try:
            return await stream.start_tls(self._context, self._guard.origin.host, timeout=seconds)
        except BaseException:
            await stream.aclose()
            raise


def _has_more(connection: httpcore.AsyncHTTP11Connection) -> bool:
    """Whether more came than was asked for: it would be taken for the answer to the next one's question. httpcore does
    not show it; where it keeps it elsewhere one day, no connection is used twice."""
    state = getattr(connection, "_h11_state", None)
    return state is None or bool(state.trailing_data[0])
