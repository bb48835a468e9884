"""The list of data centres' networks: what is on it, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.data_centres import open_data_centres
from collector.errors import ConfigError

LIST = """# networks that serve
192.0.2.0/24
192.0.2.128/25   # inside the first
192.0.3.0/24
198.51.100.7

2001:db8:1::/48
"""


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.0", True),
        ("192.0.2.255", True),
        ("192.0.3.255", True),
        ("192.0.4.0", False),
        ("192.0.1.255", False),
        ("198.51.100.7", True),
        ("198.51.100.8", False),
        ("::ffff:192.0.2.9", True),
        ("2001:db8:1::5", True),
        ("2001:db8:1:ffff::%eth0", True),
        ("2001:db8:2::", False),
        ("", False),
        ("nobody", False),
    ],
)
def test_addresses_of_data_centres(tmp_path: Path, address: str, expected: bool) -> None:
    """Networks may overlap, touch and stand in any order; an address may be mapped into IPv6."""
    (tmp_path / "list.txt").write_text(LIST, encoding="utf-8")
    assert open_data_centres(str(tmp_path / "list.txt"))(address) is expected


def test_without_a_list_there_are_none() -> None:
    """The setting is empty."""
    assert not open_data_centres("")("192.0.2.1")


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    """The error says which line; a file that is not there is said to be missing."""
    (tmp_path / "list.txt").write_text("192.0.2.0/24\n192.0.2.0/99\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2"):
        open_data_centres(str(tmp_path / "list.txt"))
    with pytest.raises(ConfigError, match="no such file"):
        open_data_centres(str(tmp_path / "none.txt"))
