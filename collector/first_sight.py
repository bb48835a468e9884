"""Who named a visitor id first, for the day or two in which an id may be signed into a cookie: `run/first-sight`.

The tag makes a visitor's id, so its first beacon has nothing to be checked against. But an id becomes known to others
only after it was sent. So whoever names it first is the browser that made it, and a cookie for it is made for that
network and browser alone. One table for all web processes of a host, mapped into memory:

    slot   name 8 ‖ sender 4 ‖ seconds since 1970, 4        eight slots to a bucket, a bucket for each name

`name` and `sender` are keyed digests: of site and visitor; of the visitor, the network and the browser's name. So
nobody reads an address out of it, and one browser's visitors cannot be told to be one browser's.

What it does not do: hosts do not tell each other, so each has a first one of its own. Where more new visitors come than
it has places, the oldest of a bucket goes. Two processes that write one place at once leave one of the two. Losing the
file loses nothing but what was known of the last day.
"""

from __future__ import annotations

import ipaddress
import mmap
import os
import struct
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from collector.logs import get_logger

FOLDER_NAME, FILE_NAME = "run", "first-sight"
SLOTS = 524_288
BUCKET_SLOTS = 8
KEEP_S = 2 * 86_400
"""An id may be signed from a day before the time that it says, by clocks that go wrong, to a day after it."""
_SLOT = struct.Struct("<8sII")
_BUCKET_BYTES = BUCKET_SLOTS * _SLOT.size


class FirstSight:
    """The table. `secret`: the key of its digests. For any thread that holds the interpreter."""

    def __init__(self, data: Path, secret: str, slots: int = SLOTS) -> None:
        self._key = blake2b(secret.encode(), digest_size=32, person=b"tagstitch.first").digest()
        self._buckets = slots // BUCKET_SLOTS
        self._table = _open_table(data / FOLDER_NAME / FILE_NAME, self._buckets * _BUCKET_BYTES)

    def claim(self, site_id: str, visitor_id: str, address: str, user_agent: str, now_s: int) -> bool:
        """Tell whether this sender may be the one that made the id: nobody named it before, or this same sender did.

        Whoever is first is noted.
        """
        named = blake2b(f"{site_id}|{visitor_id}".encode(), digest_size=16, key=self._key).digest()
        sent = f"{visitor_id}|{_find_network(address)}|{user_agent}".encode("utf-8", "surrogatepass")
        sender = int.from_bytes(blake2b(sent, digest_size=4, key=self._key).digest(), "little")
        name, begin = named[:8], int.from_bytes(named[8:], "little") % self._buckets * _BUCKET_BYTES
        oldest, oldest_s = begin, now_s + 1
        for place in range(begin, begin + _BUCKET_BYTES, _SLOT.size):
            known, first, seen_s = _SLOT.unpack_from(self._table, place)
            if seen_s + KEEP_S < now_s:
                seen_s = 0
            elif known == name:
                return bool(first == sender)
            if seen_s < oldest_s:
                oldest, oldest_s = place, seen_s
        _SLOT.pack_into(self._table, oldest, name, sender, now_s & 0xFFFF_FFFF)
        return True


@lru_cache(maxsize=8192)
def _find_network(address: str) -> str:
    """Return the network of an address: browsers change the rest at will, and carriers from one request to the next."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return parsed.packed[: 6 if parsed.version == 6 else 3].hex()


def _open_table(path: Path, size: int) -> mmap.mmap:
    """Map the file; where it cannot be had, memory of this process alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Allocated, not only made long: writing into a hole on a full disk would end the process.
            os.posix_fallocate(file, 0, size)
            return mmap.mmap(file, size)
        finally:
            os.close(file)
    except OSError as error:
        get_logger().warning(
            "who named a visitor first is known to this process alone: its file cannot be had", error=error.strerror
        )
        return mmap.mmap(-1, size)
