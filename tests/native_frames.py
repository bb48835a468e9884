"""Reading ClickHouse's own frames of compressed data, as JDBC does."""

from __future__ import annotations

import struct

import lz4.block  # type: ignore[import-untyped]

from collector.engine.native import city_hash_128


def read_frames(data: bytes) -> bytes:
    """Return what frames hold; fails on a wrong checksum."""
    found = b""
    while data:
        checksum = struct.unpack_from("<QQ", data)
        method, packed, size = struct.unpack_from("<BII", data, 16)
        body = data[16 : 16 + packed]
        assert method == 0x82
        assert city_hash_128(body) == checksum
        found += lz4.block.decompress(body[9:], uncompressed_size=size)
        data = data[16 + packed :]
    return found
