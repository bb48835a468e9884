"""Tombstones: what was erased, as hashes that lead back to nobody, so that the edge does not take it in again.

    mark of a key     a hash of the own person id that is no more
    mark of a value   a keyed hash of a personal value in normal form, where it was known when it was erased: under a
                      key that never rotates, so that it is still known after the keys of pseudonyms have changed

An identifier that was erased is somebody new from then on: a customer key has another own person id in each epoch, and
a visitor gets a successor, an id that follows from its own. The store keeps tombstones out by itself (`erased`, see
0001_events.sql); here is what the edge needs to begin anew, and not to take in again what happened before.

Pure functions, and nothing that could be turned back into an identifier. What they return must never change for the
same arguments: tombstones in the store depend on it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache

import msgspec

_NONE: Mapping[str, int] = {}


class Tombstones(msgspec.Struct, frozen=True):
    """All tombstones of an instance. `spaces`: for each space the moment before which nothing is taken in, by mark,
    milliseconds since 1970."""

    spaces: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)

    def find_erased_ms(self, space_id: str, mark: str) -> int:
        """Return when what has this mark was erased; 0: it was not."""
        return self.spaces.get(space_id, _NONE).get(mark, 0)

    def has_any(self, space_id: str) -> bool:
        """Whether anything of this space was ever erased. False for nearly everybody: then nothing else is asked."""
        return bool(self.spaces.get(space_id))


NONE = Tombstones()


def mark_key(own_person_id: str) -> str:
    """Return the mark of an own person id: 16 hexadecimal digits."""
    return hashlib.blake2b(own_person_id.encode(), digest_size=8, person=b"tagstitch.tomb").hexdigest()


def mark_value(pseudonym_key: str, space_id: str, kind: str, value: str) -> str:
    """Return the mark of a value in normal form: 16 hexadecimal digits."""
    text = "\0".join((space_id, kind, value)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8, key=_derive_key(pseudonym_key), person=b"tagstitch.tomb").hexdigest()


def succeed_visitor(pseudonym_key: str, visitor_id: str, erased_ms: int) -> str:
    """Return the id of the visitor that begins where this one was erased, a UUIDv7 of that moment: the same for every
    beacon that still names the old one, and known to nobody who does not hold the key."""
    text = f"{visitor_id}\0{erased_ms}".encode()
    digest = hashlib.blake2b(text, digest_size=10, key=_derive_key(pseudonym_key), person=b"tagstitch.succ").hexdigest()
    time_hex = f"{erased_ms:012x}"
    variant = "89ab"[int(digest[3], 16) % 4]
    return f"{time_hex[:8]}-{time_hex[8:]}-7{digest[:3]}-{variant}{digest[4:7]}-{digest[7:19]}"


@lru_cache(maxsize=8)
def _derive_key(pseudonym_key: str) -> bytes:
    """A key of its own, of the one key that never rotates."""
    return hmac.new(pseudonym_key.encode(), b"tombstones", hashlib.sha256).digest()
