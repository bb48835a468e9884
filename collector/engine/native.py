"""ClickHouse's own framing of compressed answers (`compress=1`), and the greeting that clickhouse-go reads.

JDBC asks for `compress=1` by default. A frame is: 16 bytes of checksum (CityHash128 1.0.2 over what follows), one
byte 0x82 for LZ4, the size of the frame without its checksum and the size of the data (32 bits each, little-endian),
the LZ4 block. The checksum is pure Python and does about 30 MB of compressed data a second: good for reports; for
bulk, clients do better with `enable_http_compression=1`.

clickhouse-go (Grafana) asks once, before anything else, for names and revision of the server, in format Native with
`client_protocol_version`, which puts a few bytes more before each block and column. The embedded engine writes
Native without them. So that one answer is made here by hand, with the extra bytes, and says revision 0: from then on
the driver reads plain Native.

Source: ClickHouse `src/Compression/`, `contrib/cityhash102`, `src/Formats/NativeWriter.cpp`, `src/Core/BlockInfo.cpp`.
"""

from __future__ import annotations

import re
import struct

import lz4.block  # type: ignore[import-untyped]

_MASK = (1 << 64) - 1
_K0, _K1, _K2, _K3 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F, 0xC949D7C7509E6557
_MULTIPLIER = 0x9DDFEA08EB382D69
_LZ4 = 0x82
_FRAME_BYTES = 1024 * 1024

_GREETING = re.compile(r"\s*SELECT\s+displayName\(\),\s*version\(\),\s*revision\(\),\s*timezone\(\)\s*", re.IGNORECASE)


class NativeLz4Encoder:
    """Frames what it gets; stands where a compressor of HTTP stands."""

    def compress(self, data: bytes) -> bytes:
        """Return `data` as frames."""
        return b"".join(_frame(data[at : at + _FRAME_BYTES]) for at in range(0, len(data), _FRAME_BYTES))

    def finish(self) -> bytes:
        """Return the end of the stream: it has none."""
        return b""


def _frame(data: bytes) -> bytes:
    packed: bytes = lz4.block.compress(data, store_size=False)
    body = struct.pack("<BII", _LZ4, len(packed) + 9, len(data)) + packed
    return struct.pack("<QQ", *city_hash_128(body)) + body


def is_greeting(sql: str) -> bool:
    """Tell whether this is the first question of clickhouse-go."""
    return _GREETING.fullmatch(sql) is not None


def greeting(version: str, time_zone: str) -> bytes:
    """Return the answer to the greeting: one row of four columns, as revision 54454 and later read a block."""
    # Block info: field 1, overflow rows: no; field 2, bucket: -1; the end.
    block = b"\x01\x00\x02\xff\xff\xff\xff\x00" + b"\x04\x01"
    columns = [
        ("displayName()", "String", _text("tagstitch")),
        ("version()", "String", _text(version)),
        ("revision()", "UInt32", b"\0\0\0\0"),
        ("timezone()", "String", _text(time_zone)),
    ]
    for name, kind, value in columns:
        # The zero: no custom serialisation.
        block += _text(name) + _text(kind) + b"\0" + value
    return block


def _text(value: str) -> bytes:
    data = value.encode()
    return bytes([len(data)]) + data  # shorter than 128 bytes, so the length is one byte


# -- CityHash 1.0.2 ----------------------------------------------------------------------------------------------------


def city_hash_128(data: bytes) -> tuple[int, int]:
    """Return the low and the high half of the checksum of `data`, 8 bytes or more."""
    if len(data) < 16:
        return _short(b"", _u64(data, 0) ^ len(data) * _K0 & _MASK, _u64(data, len(data) - 8) ^ _K1)
    first, second = struct.unpack_from("<QQ", data)
    rest = data[16:]
    return _long(rest, first ^ _K3, second) if len(rest) >= 128 else _short(rest, first ^ _K3, second)


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _rotate(value: int, by: int) -> int:
    return (value >> by | value << 64 - by) & _MASK


def _mix(value: int) -> int:
    return value ^ value >> 47


def _join(low: int, high: int) -> int:
    a = _mix((low ^ high) * _MULTIPLIER & _MASK)
    b = _mix((high ^ a) * _MULTIPLIER & _MASK)
    return b * _MULTIPLIER & _MASK


def _tiny(data: bytes) -> int:
    """Hash up to 16 bytes."""
    size = len(data)
    if size > 8:
        last = _u64(data, size - 8)
        return _join(_u64(data, 0), _rotate(last + size & _MASK, size)) ^ last
    if size >= 4:
        return _join(size + (_u64(data[:4], 0) << 3), _u64(data[size - 4 :], 0))
    if size:
        y = data[0] + (data[size >> 1] << 8)
        z = size + (data[-1] << 2)
        return _mix((y * _K2 ^ z * _K3) & _MASK) * _K2 & _MASK
    return _K2


def _short(data: bytes, a: int, b: int) -> tuple[int, int]:
    """Hash less than 128 bytes with two seeds."""
    size = len(data)
    if size <= 16:
        a = _mix(a * _K1 & _MASK) * _K1 & _MASK
        c = (b * _K1 + _tiny(data)) & _MASK
        d = _mix(a + (_u64(data, 0) if size >= 8 else c) & _MASK)
    else:
        c = _join(_u64(data, size - 8) + _K1 & _MASK, a)
        d = _join(b + size & _MASK, c + _u64(data, size - 16) & _MASK)
        a = a + d & _MASK
        for at in range(0, size - 16, 16):
            a = (a ^ _mix(_u64(data, at) * _K1 & _MASK) * _K1 & _MASK) * _K1 & _MASK
            b ^= a
            c = (c ^ _mix(_u64(data, at + 8) * _K1 & _MASK) * _K1 & _MASK) * _K1 & _MASK
            d ^= c
    a, b = _join(a, c), _join(d, b)
    return a ^ b, _join(b, a)


def _weak(w: int, x: int, y: int, z: int, a: int, b: int) -> tuple[int, int]:
    a += w
    b = _rotate(b + a + z & _MASK, 21)
    c = a
    a = a + x + y & _MASK
    return a + z & _MASK, b + (a >> 44 | a << 20 & _MASK) + c & _MASK


def _long(data: bytes, x: int, y: int) -> tuple[int, int]:
    """Hash 128 bytes or more with two seeds."""
    size = len(data)
    z = size * _K1 & _MASK
    v0 = _rotate(y ^ _K1, 49) * _K1 + _u64(data, 0) & _MASK
    v1 = _rotate(v0, 42) * _K1 + _u64(data, 8) & _MASK
    w0 = _rotate(y + z & _MASK, 35) * _K1 + x & _MASK
    w1 = _rotate(x + _u64(data, 88) & _MASK, 53) * _K1 & _MASK
    whole = size & ~127
    # Two rounds of 64 bytes make one of the hash's own.
    for p0, p1, p2, p3, p4, p5, p6, p7 in struct.iter_unpack("<8Q", data[:whole]):
        x = _rotate(x + y + v0 + p2 & _MASK, 37) * _K1 & _MASK ^ w1
        y = _rotate(y + v1 + p6 & _MASK, 42) * _K1 & _MASK ^ v0
        z = _rotate(z ^ w0, 33)
        v0, v1 = _weak(p0, p1, p2, p3, v1 * _K1 & _MASK, x + w0)
        w0, w1 = _weak(p4, p5, p6, p7, z + w1, y)
        x, z = z, x
    y = y + _rotate(w0, 37) * _K0 + z & _MASK
    x = x + _rotate(v0 + z & _MASK, 49) * _K0 & _MASK
    for done in range(32, size - whole + 32, 32):
        at = size - done
        y = _rotate(y - x & _MASK, 42) * _K0 + v1 & _MASK
        w0 = w0 + _u64(data, at + 16) & _MASK
        x = _rotate(x, 49) * _K0 + w0 & _MASK
        w0 = w0 + v0 & _MASK
        p0, p1, p2, p3 = struct.unpack_from("<4Q", data, at)
        v0, v1 = _weak(p0, p1, p2, p3, v0, v1)
    x, y = _join(x, v0), _join(y, w0)
    return _join(x + v1 & _MASK, w1) + y & _MASK, _join(x + w1 & _MASK, y + v1 & _MASK)
