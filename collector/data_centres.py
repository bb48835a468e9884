"""Whether an address belongs to a data centre, by a list that the operator brings: one network a line.

People sit in houses and offices; what follows links from a data centre is a program, most often a mail scanner. The
list is read once, when a web process starts. Not all that stands in a data centre is one: relays that people surf
through, such as Apple's Private Relay or an office's web gateway, must not be on the list.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from collector.errors import ConfigError

_Span = tuple[int, int]


def open_data_centres(path: str) -> Callable[[str], bool]:
    """Return what tells whether an address is on the list. `path`: CIDR a line, `#` begins a comment; "": none is.

    Raises ConfigError naming the line that is no network, or what is wrong with the file.
    """
    if not path:
        return lambda _: False
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise ConfigError("data_centre_file", path, "there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("data_centre_file", path, "cannot be read as text, one network a line") from error
    spans: dict[int, list[_Span]] = {4: [], 6: []}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise ConfigError("data_centre_file", path, f"line {number} is no network, such as 192.0.2.0/24") from error
        spans[network.version].append((int(network.network_address), int(network.broadcast_address)))
    merged = {version: _merge(found) for version, found in spans.items()}

    @lru_cache(maxsize=8192)
    def is_data_centre(address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        starts, ends = merged[parsed.version]
        place = bisect_right(starts, int(parsed)) - 1
        return place >= 0 and int(parsed) <= ends[place]

    return is_data_centre


def _merge(spans: Iterable[_Span]) -> tuple[list[int], list[int]]:
    """Return the first and the last addresses of spans that do not overlap, in order."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(spans):
        if ends and start <= ends[-1] + 1:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends
