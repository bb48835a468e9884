"""What a web process must know of tagged links beside the keys: which are taken back, and who wants no marketing.

LinkRules are a part of the snapshot of sites and keys (`sites.book`): read with every poll, kept on disk, so that what
was taken back stays so with the store away. They are filed for looking things up once per snapshot, not per request.

Who wants no marketing is known by 16 bytes each, sorted, in one piece: a million of them are 16 MB, and are looked
through in twenty steps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import cached_property
from uuid import UUID

import msgspec

from collector.links.revocations import Revocation, RevocationBook

KEY_BYTES = 16


class KeySet:
    """A set of own person ids. `packed`: the 16 bytes of each, sorted as bytes, each once."""

    def __init__(self, packed: bytes = b"") -> None:
        """Take what is packed as it is."""
        self.packed = packed

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.packed) // KEY_BYTES

    def __getitem__(self, index: int) -> bytes:
        """Return the bytes of one."""
        return self.packed[index * KEY_BYTES : (index + 1) * KEY_BYTES]

    def __contains__(self, key: object) -> bool:
        """Whether an own person id, as text, is one of them."""
        try:
            wanted = UUID(str(key)).bytes
        except ValueError:
            return False
        return self[bisect_left(self, wanted)] == wanted

    def change(self, changes: Mapping[bytes, bool]) -> KeySet:
        """Return the set with some put in (True) or taken out (False). Costs one copy, however many there are."""
        pieces, done = [], 0
        for key, is_in in sorted(changes.items()):
            place = bisect_left(self, key)
            pieces.append(self.packed[done * KEY_BYTES : place * KEY_BYTES])
            done = place + (self[place] == key)
            if is_in:
                pieces.append(key)
        pieces.append(self.packed[done * KEY_BYTES :])
        return KeySet(b"".join(pieces))


class LinkRules(msgspec.Struct, frozen=True, dict=True, omit_defaults=True):
    """A snapshot. `rows`: all revocations, those that were lifted too. `withdrawn_keys`: see KeySet."""

    rows: tuple[Revocation, ...] = ()
    withdrawn_keys: bytes = b""

    @cached_property
    def revocations(self) -> RevocationBook:
        """The revocations in force, to look a token up."""
        return RevocationBook(self.rows)

    @cached_property
    def withdrawn(self) -> KeySet:
        """Own person ids of those who have taken their consent to marketing back, or never gave it."""
        return KeySet(self.withdrawn_keys)


def change_rows(rows: Iterable[Revocation], changed: Iterable[Revocation]) -> tuple[Revocation, ...]:
    """Return the revocations with those that have changed, the highest version of each."""
    found = {row.revocation_id: row for row in rows}
    for row in changed:
        if row.revocation_id not in found or found[row.revocation_id].version <= row.version:
            found[row.revocation_id] = row
    return tuple(found.values())
