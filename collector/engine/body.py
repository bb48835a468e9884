"""Bodies of requests and responses: bounded, decompressed on the way in, compressed on the way out.

A body stays in memory up to 16 MiB and goes to an unlinked file in the temporary folder beyond that. It is
decompressed while it is read, a megabyte at a time, and the bound holds for what comes out: a bomb stops there.
"""

from __future__ import annotations

import io
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol, cast

import lz4.frame  # type: ignore[import-untyped]
import zstandard

from collector.engine.errors import CANNOT_DECOMPRESS, TOO_LARGE, UNKNOWN_COMPRESSION, QueryFailed

IN_MEMORY_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024


class _Unpacked(io.RawIOBase):
    """Reads through a push decompressor, in small steps: what one step can give is bounded.

    Unlike the readers that the libraries bring, it notices a stream that ends too early.
    """

    def __init__(self, raw: IO[bytes], make: Callable[[], Any], step_bytes: int) -> None:
        self._raw = raw
        self._make = make
        self._inner = make()
        self._step_bytes = step_bytes
        self._is_fresh = True
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._ready:
            data = (self._inner.unused_data if self._inner.eof else b"") or self._raw.read(self._step_bytes)
            if not data:
                if self._inner.eof or self._is_fresh:
                    return 0
                raise EOFError("the stream ends too early")
            if self._inner.eof:
                self._inner = self._make()
            self._is_fresh = False
            self._ready = self._inner.decompress(data)
        piece, self._ready = self._ready[: len(target)], self._ready[len(target) :]
        target[: len(piece)] = piece
        return len(piece)


def _unpack(make: Callable[[], Any], step_bytes: int) -> Callable[[IO[bytes]], IO[bytes]]:
    return lambda raw: cast("IO[bytes]", io.BufferedReader(_Unpacked(raw, make, step_bytes), CHUNK_BYTES))


def _zstd() -> Any:
    # A window of 128 MiB is the most that the format's own tools accept without being asked.
    return zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()


_DECODERS: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "": lambda raw: raw,
    "identity": lambda raw: raw,
    # deflate and gzip grow a thousandfold at most.
    "gzip": _unpack(lambda: zlib.decompressobj(31), 4096),
    "deflate": _unpack(lambda: zlib.decompressobj(15), 4096),
    # LZ4 255-fold.
    "lz4": _unpack(lz4.frame.LZ4FrameDecompressor, 16384),
    # Four bytes of zstd can stand for 128 KiB.
    "zstd": _unpack(_zstd, 256),
}


class Body:
    """The bytes of one request. `feed` them as they come, then `read` them decompressed, once, in one thread.

    Raises `QueryFailed`: 173 beyond `max_bytes`, on the wire or decompressed; 432 for an unknown encoding; 271 for a
    broken stream.
    """

    def __init__(self, encoding: str, max_bytes: int, folder: Path) -> None:
        decoder = _DECODERS.get(encoding.strip().lower())
        if decoder is None:
            raise QueryFailed(
                UNKNOWN_COMPRESSION, f"Unknown Content-Encoding {encoding[:40]!r}: use gzip, deflate, lz4 or zstd."
            )
        self._decoder = decoder
        self._max_bytes = max_bytes
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115
        self._received = 0
        self._given = 0
        self._reader: IO[bytes] | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes from the wire."""
        self._received += len(data)
        self._check(self._received)
        self._file.write(data)

    def read(self, size: int) -> bytes:
        """Return the next bytes, `size` of them unless the body ends before."""
        try:
            if self._reader is None:
                self._file.seek(0)
                self._reader = self._decoder(self._file)
            pieces = []
            while size > 0 and (piece := self._reader.read(min(size, CHUNK_BYTES))):
                pieces.append(piece)
                size -= len(piece)
                self._given += len(piece)
                self._check(self._given)
        except (zlib.error, EOFError, OSError, RuntimeError, zstandard.ZstdError) as error:
            raise QueryFailed(CANNOT_DECOMPRESS, f"The body cannot be decompressed: {error}.") from None
        return b"".join(pieces)

    def chunks(self) -> Iterator[bytes]:
        """Yield what has not been read yet."""
        while piece := self.read(CHUNK_BYTES):
            yield piece

    def close(self) -> None:
        """Forget the bytes."""
        self._file.close()

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise QueryFailed(TOO_LARGE, f"The body is larger than {self._max_bytes} bytes: send it in smaller parts.")


class Encoder(Protocol):
    """A streaming compressor; `flush` gives what is held back so far, so that rows arrive while a query runs."""

    def compress(self, data: bytes) -> bytes:
        """Take bytes, give what is ready."""

    def finish(self) -> bytes:
        """Give the end of the stream."""


class _ZlibEncoder:
    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.compressobj(3, zlib.DEFLATED, window_bits)

    def compress(self, data: bytes) -> bytes:
        return self._inner.compress(data) + self._inner.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._inner.flush()


class _Lz4Encoder:
    def __init__(self) -> None:
        self._inner = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        self._head = self._inner.begin()

    def compress(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return bytes(head + self._inner.compress(data))

    def finish(self) -> bytes:
        head, self._head = self._head, b""
        return bytes(head + self._inner.flush())


class _ZstdEncoder:
    def __init__(self) -> None:
        self._inner = zstandard.ZstdCompressor(level=1).compressobj()

    def compress(self, data: bytes) -> bytes:
        return self._inner.compress(data) + self._inner.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._inner.flush()


_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "zstd": _ZstdEncoder,
    "lz4": _Lz4Encoder,
    "gzip": lambda: _ZlibEncoder(31),
    "deflate": lambda: _ZlibEncoder(15),
}


def choose_encoder(accept_encoding: str) -> tuple[str, Encoder] | None:
    """Choose the first encoding of `Accept-Encoding` that we know, in the client's order; None for a plain answer."""
    for item in accept_encoding.split(","):
        name, _, weight = item.strip().lower().partition(";")
        name = name.strip()
        if weight.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            continue
        if name in _ENCODERS:
            return name, _ENCODERS[name]()
    return None
