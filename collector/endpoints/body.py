"""Reading a request's body within bounds: by its stated length, by what really comes, and after decompression."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from collector.reasons import Reason

Receive = Callable[[], Awaitable[dict[str, Any]]]

MAX_HELD_BYTES = 67_108_864
"""Most bytes of unfinished bodies in one process: thousands of slow clients must not fill the memory."""

_GZIP = 16 + zlib.MAX_WBITS


class HeldBytes:
    """How many bytes of bodies that are still coming a process holds."""

    def __init__(self) -> None:
        self.count = 0


_held = HeldBytes()


class Disconnected(Exception):
    """The client went away before its body was complete. Nobody is there to be answered."""


async def read_body(
    receive: Receive, content_length: int, content_encoding: bytes, max_bytes: int, held: HeldBytes = _held
) -> bytes | Reason:
    """Return the decoded body, or why it is not taken. Raises Disconnected.

    `content_length`: -1 where the client did not say.
    """
    problem = check_head(content_length, content_encoding, max_bytes)
    if problem is not None:
        return problem
    message = await receive()
    if message["type"] != "http.request":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        rest = await _read_rest(receive, body, max_bytes, held)
        if isinstance(rest, Reason):
            return rest
        body = rest
    return decode_body(body, content_encoding, max_bytes)


def check_head(content_length: int, content_encoding: bytes, max_bytes: int) -> Reason | None:
    """Return why a body with this head is not read, or None."""
    if content_encoding not in (b"", b"identity", b"gzip"):
        return Reason.ENCODING
    return Reason.SIZE if content_length > max_bytes else None


def decode_body(body: bytes, content_encoding: bytes, max_bytes: int) -> bytes | Reason:
    """Return a body that has come without its encoding, or why it is not taken."""
    if len(body) > max_bytes:
        return Reason.SIZE
    return decompress(body, max_bytes) if content_encoding == b"gzip" else body


async def _read_rest(receive: Receive, first: bytes, max_bytes: int, held: HeldBytes) -> bytes | Reason:
    """Read on, as long as the body and all bodies together stay within their bounds."""
    parts, size = [first], len(first)
    held.count += size
    try:
        while True:
            if size > max_bytes:
                return Reason.SIZE
            if held.count > MAX_HELD_BYTES:
                return Reason.RATE
            message = await receive()
            if message["type"] != "http.request":
                raise Disconnected
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            held.count += len(part)
            if not message.get("more_body"):
                return b"".join(parts)
    finally:
        held.count -= size


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
