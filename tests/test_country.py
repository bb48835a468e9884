"""The country of an address, from a database file made here byte by byte."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from collector.country import open_country_lookup
from collector.errors import ConfigError


class _Number(NamedTuple):
    """An unsigned integer: type 5 has 2 bytes, 6 has 4, 9 has 8."""

    number: int
    kind: int
    size: int


def _encode(value: Any) -> bytes:
    """Encode a value in the MMDB data format. Source: the MaxMind DB file format specification, 2.0."""
    if isinstance(value, str):
        raw = value.encode()
        assert len(raw) < 29
        return bytes([2 << 5 | len(raw)]) + raw
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(_encode(item) for item in value)
    if isinstance(value, _Number):
        head = bytes([value.kind << 5 | value.size]) if value.kind < 8 else bytes([value.size, value.kind - 7])
        return head + value.number.to_bytes(value.size, "big")
    return bytes([7 << 5 | len(value)]) + b"".join(_encode(key) + _encode(item) for key, item in value.items())


def _make_database(network: str, record: dict[str, Any]) -> bytes:
    """Return a database that knows one IPv4 network."""
    parsed = ipaddress.IPv4Network(network)
    bits = f"{int(parsed.network_address):032b}"[: parsed.prefixlen]
    count = len(bits)
    tree = b""
    for depth, bit in enumerate(bits):
        inside = depth + 1 if depth + 1 < count else count + 16  # the last node points at the data
        pair = (inside, count) if bit == "0" else (count, inside)
        tree += b"".join(side.to_bytes(3, "big") for side in pair)
    metadata = {
        "node_count": _Number(count, 6, 4),
        "record_size": _Number(24, 5, 2),
        "ip_version": _Number(4, 5, 2),
        "database_type": "Test",
        "binary_format_major_version": _Number(2, 5, 2),
        "binary_format_minor_version": _Number(0, 5, 2),
        "build_epoch": _Number(1, 9, 8),
        "languages": [],
        "description": {},
    }
    return tree + bytes(16) + _encode(record) + b"\xab\xcd\xefMaxMind.com" + _encode(metadata)


def test_a_known_address(tmp_path: Path) -> None:
    """An address in the database has its country's code; other addresses and nonsense have none."""
    path = tmp_path / "country.mmdb"
    path.write_bytes(_make_database("203.0.113.0/24", {"country": {"iso_code": "DE"}}))
    find_country = open_country_lookup(str(path))
    assert find_country("203.0.113.77") == "DE"
    for address in ("198.51.100.1", "", "nonsense", "2001:db8::1"):
        assert find_country(address) == ""


def test_a_record_without_a_country(tmp_path: Path) -> None:
    """A network without a country has none."""
    path = tmp_path / "country.mmdb"
    path.write_bytes(_make_database("203.0.113.0/24", {"continent": "EU"}))
    assert open_country_lookup(str(path))("203.0.113.77") == ""


def test_without_a_database() -> None:
    """No setting, no country."""
    assert open_country_lookup("")("203.0.113.77") == ""


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """A missing or foreign file is said at the start, with the setting's name."""
    path = tmp_path / "country.mmdb"
    with pytest.raises(ConfigError, match="country_database"):
        open_country_lookup(str(path))
    path.write_bytes(b"hello")
    with pytest.raises(ConfigError, match="country_database"):
        open_country_lookup(str(path))
