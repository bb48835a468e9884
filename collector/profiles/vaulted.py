"""What the vault has of a person: their personal identifiers in clear, where they are kept and we have the key."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from collector.event import VaultRow
from collector.identity.identifiers import PSEUDONYM
from collector.identity.vault import find_key, open_value
from collector.keyring import Keyring
from collector.profiles.keys import Held, MapRow

VAULT = """
SELECT 'vault' AS part, toJSONString((vaulted.key, kind, pseudonym, sealed)) AS row
FROM identifier_vault AS vaulted
WHERE space_id = {space:String} AND vaulted.key IN {keys:Array(UUID)}
"""
decode_vault = msgspec.json.Decoder(tuple[str, str, str, str]).decode


class Vault:
    """The clear values that were read of a person."""

    def __init__(self, keyring: Keyring, space_id: str, rows: Iterable[tuple[str, str, str, str]]) -> None:
        """`rows`: key, kind, pseudonym and sealed value of each."""
        self._keyring = keyring
        self._space_id = space_id
        self._rows = {(key, pseudonym): VaultRow(kind, pseudonym, key, sealed) for key, kind, pseudonym, sealed in rows}

    def open(self, item: Held | MapRow) -> str:
        """Return an identifier in clear; "" where the store has its pseudonym alone."""
        if not PSEUDONYM.fullmatch(item.value):
            return item.value
        row = self._rows.get((item.key, item.value))
        key = find_key(self._keyring, row.value) if row else None
        return (row and key and open_value(key, self._space_id, row)) or ""
