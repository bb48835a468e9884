"""Reading a request's body within bounds: by its stated length, by what really comes, and after decompression."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from collector.event import Reason

Receive = Callable[[], Awaitable[dict[str, Any]]]

_GZIP = 16 + zlib.MAX_WBITS


class Disconnected(Exception):
    """The client went away before its body was complete. Nobody is there to be answered."""


async def read_body(receive: Receive, content_length: int, content_encoding: bytes, max_bytes: int) -> bytes | Reason:
    """Return the decoded body, or why it is not taken. Raises Disconnected.

    `content_length`: -1 where the client did not say.
    """
    if content_encoding not in (b"", b"identity", b"gzip"):
        return Reason.ENCODING
    if content_length > max_bytes:
        return Reason.SIZE
    message = await receive()
    if message["type"] != "http.request":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body"):
            if size > max_bytes:
                return Reason.SIZE
            message = await receive()
            if message["type"] != "http.request":
                raise Disconnected
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        body = b"".join(parts)
    if len(body) > max_bytes:
        return Reason.SIZE
    return decompress(body, max_bytes) if content_encoding == b"gzip" else body


def decompress(body: bytes, max_bytes: int) -> bytes | Reason:
    """Return what one gzip member holds, never more than `max_bytes` of it, or why it is not taken."""
    decompressor = zlib.decompressobj(_GZIP)
    try:
        plain = decompressor.decompress(body, max_bytes + 1)
    except zlib.error:
        return Reason.ENCODING
    if len(plain) > max_bytes:
        return Reason.SIZE
    if not decompressor.eof or decompressor.unused_data:
        return Reason.ENCODING
    return plain
