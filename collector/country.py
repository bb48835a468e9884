"""The country of an address, from an MMDB file that the operator brings. Opened once, read in memory, never written."""

from __future__ import annotations

from collections.abc import Callable

import maxminddb

from collector.errors import ConfigError


def open_country_lookup(path: str) -> Callable[[str], str]:
    """Return a function from address to ISO country code, "" where it is not known.

    `path`: "" for no database at all. Raises ConfigError where the file cannot be used.
    """
    if not path:
        return _know_nothing
    try:
        reader = maxminddb.open_database(path)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise ConfigError("country_database", path, "is no MMDB file that can be read") from error

    def find_country(address: str) -> str:
        try:
            record = reader.get(address)
        except (ValueError, maxminddb.InvalidDatabaseError):  # no address, or a damaged file
            return ""
        country = record.get("country") if isinstance(record, dict) else None
        code = country.get("iso_code") if isinstance(country, dict) else country
        return code if isinstance(code, str) else ""

    return find_country


def _know_nothing(address: str) -> str:
    return ""
