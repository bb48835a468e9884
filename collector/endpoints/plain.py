"""Plain ASGI endpoints: for paths where a Request object and middleware would cost more than the work itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """A whole answer. Without the length: whoever sends it adds that."""

    status: int
    headers: Headers
    body: bytes = b""
    written: bytes = b""
    """The headers as they are written, where somebody keeps them so; none of them is `connection`."""


def write_headers(headers: Headers) -> bytes:
    """Return the lines of the headers."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


class WholeRequest(Protocol):
    """A request that came whole, outside of ASGI: see `collector.http_whole`."""

    headers: Headers  # names in lower case
    named: dict[bytes, bytes]  # the same by name; of one that came twice, the last
    peer: str  # address of who connected, "" where it is not known
    secure: bool
    body: bytes

    def answer(self, answer: Answer) -> None:
        """Send the answer, once. Nothing happens where the client has gone."""


class PlainEndpoint:
    """Starlette takes an object for an ASGI application, and a function or method for a view with a Request."""

    def __init__(self, receive: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._receive = receive

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._receive(scope, receive, send)


async def send_answer(send: Send, status: int, headers: Headers, body: bytes = b"", written: bytes = b"") -> None:
    """Send a whole answer at once. Adds the length; a 204 has none. `written` is for those who write it themselves."""
    if status != 204:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
