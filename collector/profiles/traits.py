"""Rows of traits: what was said of identifiers, read and written; personal values sealed.

A value is sealed with AES-256-GCM under a key made of the instance's secret for own person ids, for this space, and
bound to space, key and name, so that it cannot be put beside another. That secret does not rotate: a correction must
be readable for as long as the identifier is the same, which is as long as that secret is.

What pages and servers give with an identify comes through a view and stands as they said it, in this table as in
`events`, and is masked where it is shown. Everything written here is sealed where the trait is personal.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import b2a_base64
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from collector.identity.identifiers import derive_space_secret
from collector.keyring import Keyring
from collector.profiles.definitions import HIGHEST, Definitions
from collector.profiles.keys import Held
from collector.profiles.survivorship import CORRECTION, Said
from collector.sealing import make_seal, seal, unseal
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

PURPOSE = b"tagstitch.traits"
ROWS_PER_INSERT = 50_000

TRAIT_COLUMNS = """said.key, name, source, level, value, sealed, toUnixTimestamp64Milli(time), actor, version,
    is_deleted"""
TRAITS = f"""
SELECT 'trait' AS part, toJSONString(({TRAIT_COLUMNS})) AS row
FROM traits AS said
WHERE space_id = {{space:String}} AND said.key IN {{keys:Array(UUID)}}
"""  # noqa: S608  our own words


class TraitRow(msgspec.Struct, frozen=True, array_like=True):
    """A row of `traits`, one of its versions. `value`: JSON, or sealed."""

    key: str
    name: str
    source: str
    level: int
    value: str
    sealed: int
    time_ms: int
    actor: str
    version: int
    is_deleted: int


class NewTrait(msgspec.Struct, frozen=True):
    """A value to write. `value`: anything that JSON has; None takes the source's value back. `key`: own person id."""

    key: str
    name: str
    value: Any
    source: str
    level: int
    time_ms: int
    actor: str = ""


decode_trait = msgspec.json.Decoder(TraitRow, strict=False).decode


def write_traits(client: StoreClient, keyring: Keyring, definitions: Definitions, values: Iterable[NewTrait]) -> int:
    """Write values, the same ones again harmlessly; of one source the latest `time_ms` stands. Returns how many.

    A value never overwrites another source's, nor one that was said more surely. Types are not looked at: see
    `Definitions.check`. Raises StoreError.
    """
    rows: list[dict[str, Any]] = []
    written = 0
    for value in values:
        rows.append(_make_row(keyring, definitions, value))
        written += 1
        if len(rows) >= ROWS_PER_INSERT:
            insert_rows(client, "traits", rows)
            rows = []
    insert_rows(client, "traits", rows)
    return written


def correct(
    client: StoreClient,
    keyring: Keyring,
    definitions: Definitions,
    key: str,
    name: str,
    value: Any,
    *,
    actor: str,
    now_ms: int,
) -> None:
    """Write a correction: it beats everything, and stays through re-imports until it is taken back with None.

    `key`: own person id of the customer key; who is a visitor alone has that visitor's. Raises TraitRefused where the
    trait is not declared or the value not of its type, StoreError.
    """
    if value is not None:
        value = definitions.check(name, value)
    write_traits(client, keyring, definitions, [NewTrait(key, name, value, CORRECTION, HIGHEST, now_ms, actor)])


def collect_said(
    keyring: Keyring, space_id: str, held: Mapping[str, Held], rows: Iterable[TraitRow]
) -> dict[str, list[Said]]:
    """Return what was said of a person, by the names of the traits: of each source and level the latest word.

    Of a visitor only what was said in a time in which it was the person's for certain.
    """
    latest: dict[tuple[str, str, str, int], TraitRow] = {}
    for row in rows:
        place = (row.key, row.name, row.source, row.level)
        if row.key in held and (place not in latest or row.version > latest[place].version):
            latest[place] = row
    said: defaultdict[str, list[Said]] = defaultdict(list)
    for row in latest.values():
        if not row.is_deleted and held[row.key].has(row.time_ms):
            said[row.name].append(_read(keyring, space_id, row))
    return dict(said)


def seal_trait(keyring: Keyring, space_id: str, key: str, name: str, value: bytes) -> str:
    """Return a value sealed, base64."""
    return b64encode(seal(_secret(keyring, space_id), PURPOSE, value, _bind(space_id, key, name))).decode()


def make_sealer(keyring: Keyring, space_id: str, name: str) -> Callable[[str, bytes], bytes]:
    """Return what seals values of one trait: `seal(key, value)` gives base64. For many of them, in one thread."""
    seal_one = make_seal(_secret(keyring, space_id), PURPOSE)
    head, _, tail = _bind(space_id, "\0", name).partition(b"\0")
    return lambda key, value: b2a_base64(seal_one(value, head + key.encode() + tail), newline=False)


def open_trait(keyring: Keyring, space_id: str, key: str, name: str, sealed: str) -> bytes | None:
    """Return the value, or None where this instance has not sealed it, or not for this place."""
    try:
        text = b64decode(sealed, validate=True)
    except ValueError:
        return None
    return unseal(_secret(keyring, space_id), PURPOSE, text, _bind(space_id, key, name))


def _make_row(keyring: Keyring, definitions: Definitions, said: NewTrait) -> dict[str, Any]:
    space_id = definitions.space_id
    text = msgspec.json.encode(said.value)
    is_sealed = definitions.find(said.name).personal and said.value is not None
    return {
        "space_id": space_id,
        "key": said.key,
        "name": said.name,
        "source": said.source,
        "level": said.level,
        "value": seal_trait(keyring, space_id, said.key, said.name, text) if is_sealed else text.decode(),
        "sealed": int(is_sealed),
        "time": said.time_ms / 1000,
        "actor": said.actor,
        "keep_days": 0,
        "version": said.time_ms,
        "is_deleted": int(said.value is None),
    }


def _read(keyring: Keyring, space_id: str, row: TraitRow) -> Said:
    text: bytes | str | None = row.value
    if row.sealed:
        text = open_trait(keyring, space_id, row.key, row.name, row.value)
    try:
        value = None if text is None else msgspec.json.decode(text)
    except msgspec.DecodeError:  # a number beyond all bounds, half of a character
        value, text = None, None
    return Said(value, row.source, row.level, row.time_ms, row.key, row.actor, is_closed=text is None)


def _secret(keyring: Keyring, space_id: str) -> str:
    return derive_space_secret(keyring.pseudonym_key, space_id)


def _bind(space_id: str, key: str, name: str) -> bytes:
    return "\n".join((space_id, key, name)).encode()
