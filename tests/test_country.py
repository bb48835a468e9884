from __future__ import annotations

from pathlib import Path

import pytest

from collector.country import open_country_lookup
from collector.errors import ConfigError


def test_without_a_database_nothing_is_known() -> None:
    """The setting is optional."""
    assert open_country_lookup("")("203.0.113.9") == ""


def test_a_database_that_cannot_be_used_ends_with_one_line(tmp_path: Path) -> None:
    """The operator learns at the start, not by empty columns."""
    with pytest.raises(ConfigError, match="no such file"):
        open_country_lookup(str(tmp_path / "missing.mmdb"))
    (tmp_path / "bad.mmdb").write_bytes(b"not a database")
    with pytest.raises(ConfigError, match="MaxMind"):
        open_country_lookup(str(tmp_path / "bad.mmdb"))
