"""The vault: the clear values of identifiers that are stored as pseudonyms, sealed, and only where a site wants them.

A value is sealed at the edge, before it is part of any row, and stays sealed in spool and store; `identifier_vault` is
the one table that has it, and no reader's view shows it. The seal is AES-256-GCM under a key made of the personal key
that made the pseudonym, for this space: who destroys that key destroys what it sealed. Space, kind and pseudonym are
bound to it, so that a sealed value cannot be put beside another name.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from collector.event import VaultRow
from collector.identity.identifiers import PSEUDONYM, Named, derive_space_secret
from collector.keyring import Keyring, PersonalKey
from collector.sealing import seal, unseal

PURPOSE = b"tagstitch.vault"


def seal_value(keyring: Keyring, space_id: str, kind: str, named: Named, value: str) -> VaultRow:
    """Return the row of a value in normal form. `named`: its pseudonym under the newest personal key."""
    secret = derive_space_secret(keyring.personal_keys[0].secret, space_id)
    sealed = seal(secret, PURPOSE, value.encode("utf-8", "surrogatepass"), _bind(space_id, kind, named.value))
    return VaultRow(kind=kind, value=named.value, key=named.key, sealed=b64encode(sealed).decode())


def open_value(key: PersonalKey, space_id: str, row: VaultRow) -> str | None:
    """Return the value in normal form, or None where this key has not sealed it, or not so."""
    plain = unseal(
        derive_space_secret(key.secret, space_id), PURPOSE, b64decode(row.sealed), _bind(space_id, row.kind, row.value)
    )
    return None if plain is None else plain.decode("utf-8", "surrogatepass")


def find_key(keyring: Keyring, value: str) -> PersonalKey | None:
    """Return the key that made a pseudonym, or None where it is not in force, or the value is no pseudonym."""
    found = PSEUDONYM.fullmatch(value)
    return next((key for key in keyring.personal_keys if found and key.id == found["key_id"]), None)


def _bind(space_id: str, kind: str, value: str) -> bytes:
    return "\n".join((space_id, kind, value)).encode()
