"""ClickHouse's own frames of compressed answers, against frames that ClickHouse wrote."""

from __future__ import annotations

import struct

import pytest

from collector.engine.native import NativeLz4Encoder, city_hash_128, greeting, is_greeting
from tests.native_frames import read_frames

# Taken from columns that ClickHouse 26.9 wrote to disk: a checksum and what it is of, in sizes that take every branch.
FRAMES = [
    "d7cc045651d3cef493c73c36ac15f6e990130000000100000028b52ffd200109000000",
    "c176089be2937a79264137993dfd1f7490180000000600000028b52ffd2006310000023030023031",
    "91f2f0b564fc1bf3c1cc6d0f5d4af17590220000001000000028b52ffd20108100003236743ade1e134230e069f3a44bca92",
    "6af986967e9d834d6d2218d3e9e4769a90400000004800000028b52ffd2048750100e808300830310830320830330830340830350830360830"
    "373037303730370700600c300618038c01c6c88d91012c",
    "0ae4dfe3108e26c7b8252803a3d8525c90620000005000000028b52ffd20508102003236743ade1e134230e069f3a44bca92458c4d5604c48c"
    "fcfa045a3dcdf7908510fad9c403e5c86b2ed4c9ea60c756d328d837e2e6d4d4b088c88f4d80e67cb94447afff70df5ea2513c1c76ec164c3d",
    "1342aa49fc5226c7cccbca0dcc4aed8490b2000000a000000028b52ffd20a00105003236743ade1e134230e069f3a44bca92458c4d5604c48c"
    "fcfa045a3dcdf7908510fad9c403e5c86b2ed4c9ea60c756d328d837e2e6d4d4b088c88f4d80e67cb94447afff70df5ea2513c1c76ec164c3d"
    "e54511644e61ea759c0a04d9823d0f5bb27c0b9176e4467b279f38efa285f2b3ea0b6e62522b3374d7a7accfce2762424946616ebb3768e539"
    "21b6a9cccddead1bd93714e2beaf395292afb12f57537d",
]


@pytest.mark.parametrize("frame", FRAMES)
def test_checksums_are_those_of_clickhouse(frame: str) -> None:
    """The checksum of a frame that ClickHouse wrote is the one that ClickHouse wrote before it."""
    data = bytes.fromhex(frame)
    assert city_hash_128(data[16:]) == struct.unpack_from("<QQ", data)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 100, 1_048_576, 3_000_001])
def test_frames_hold_what_went_in(size: int) -> None:
    """Data of any size comes out of its frames unchanged, and long data is cut into several."""
    data = bytes(i * i % 251 for i in range(1000)) * (size // 1000 + 1)
    encoder = NativeLz4Encoder()
    assert read_frames(encoder.compress(data[:size]) + encoder.finish()) == data[:size]


def test_the_greeting_is_one_row_of_four_columns_with_revision_0() -> None:
    """clickhouse-go reads block info, then each column with one byte before its data."""
    assert is_greeting("SELECT displayName(), version(), revision(), timezone()")
    assert not is_greeting("SELECT displayName(), version(), revision(), timezone() FROM events")
    block = greeting("26.9.2.1", "Etc/UTC")
    assert block.startswith(b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01\x0ddisplayName()\x06String\x00\x09tagstitch")
    assert b"\x0arevision()\x06UInt32\x00\x00\x00\x00\x00" in block
    assert block.endswith(b"\x06String\x00\x07Etc/UTC")
