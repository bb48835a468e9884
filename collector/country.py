"""The country of an address, from a database in MaxMind's format that the operator brings.

The database is mapped into memory and asked by the edge before the address is truncated; only the country is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import maxminddb

from collector.errors import ConfigError


def open_country_lookup(path: str) -> Callable[[str], str]:
    """Return what tells an address's country (ISO 3166-1 alpha-2), "" where it is not known.

    `path`: an MMDB file with `country.iso_code`, such as GeoLite2 Country or DB-IP Lite; "": nothing is known. Raises
    ConfigError where the file cannot be used.
    """
    if not path:
        return lambda _: ""
    try:
        database = maxminddb.open_database(path)
    except FileNotFoundError as error:
        raise ConfigError("country_database", path, "there is no such file") from error
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise ConfigError("country_database", path, "is not a database in MaxMind's format (.mmdb)") from error

    @lru_cache(maxsize=8192)
    def find_country(address: str) -> str:
        try:
            record = database.get(address)
        except ValueError:  # no address, or IPv6 in a database of IPv4
            return ""
        country = record.get("country") if isinstance(record, dict) else None
        code = country.get("iso_code") if isinstance(country, dict) else None
        return code if isinstance(code, str) else ""

    return find_country
