"""Record keys of those who are glanced at: by which other sources are asked for what pages are told.

Who is signed in came by an identifier whose value the dictionary has. Of which kind it is, that value tells: the own
person id follows from both. So nothing is read of the map as long as the sources are asked by that very kind, which is
the rule; for another kind there is one statement, for all who are asked for together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from collector.identity.identifiers import PSEUDONYM, own_person_id
from collector.keyring import Keyring
from collector.profiles.keys import MAP, SETTINGS, MapRow, decode_map, keep_latest
from collector.profiles.record_keys import Keys, RecordKey, choose_keys
from collector.profiles.vaulted import VAULT, Vault, decode_vault
from collector.store.client import StoreClient

_decode_lines = msgspec.json.Decoder(dict[str, str]).decode_lines


class Asked(NamedTuple):
    """Who is asked for. `key`: by which identifier, `value`: that one as it is stored; "" of a visitor. `customer_id`:
    what the person is called, "" where that is not known."""

    key: str
    value: str
    person_id: str
    customer_id: str


def find_keys(
    client: StoreClient, keyring: Keyring, space_id: str, asked: Iterable[Asked], kinds: frozenset[str], now_ms: int
) -> dict[str, Keys]:
    """Return the record keys of these kinds, by the identifier that was asked by; of visitors none. Raises
    StoreError."""
    if not kinds:
        return {}
    customers = [known for known in asked if known.value]
    found = {known.key: _tell(keyring, space_id, known, kinds) for known in customers}
    others = [known for known in customers if kinds - found[known.key].keys()]
    if not others:
        return found
    ties, vault = _read(client, keyring, space_id, sorted({known.person_id for known in others}))
    for known in others:
        missing = kinds - found[known.key].keys()
        rows = ties.get(known.person_id, [])
        found[known.key] |= choose_keys(
            known.person_id, rows, missing, vault.open, now_ms=now_ms, first=(known.key, known.person_id)
        )
    return found


def _tell(keyring: Keyring, space_id: str, known: Asked, kinds: frozenset[str]) -> Keys:
    """Return the keys that values tell of themselves: of who was asked for, else of what they are called."""
    keys: Keys = {}
    for own, value in ((known.key, known.value), (known.person_id, known.customer_id)):
        for kind in kinds - keys.keys() if value and not PSEUDONYM.fullmatch(value) else ():
            if own_person_id(keyring.pseudonym_key, space_id, kind, value) == own:
                keys[kind] = (RecordKey(own, value),)
    return keys


def _read(
    client: StoreClient, keyring: Keyring, space_id: str, people: list[str]
) -> tuple[dict[str, list[MapRow]], Vault]:
    keys = """
        SELECT arrayJoin({people:Array(UUID)})
        UNION ALL
        SELECT key FROM person_keys WHERE space_id = {space:String} AND person_id IN {people:Array(UUID)}"""
    sql = " UNION ALL ".join(part.replace("{keys:Array(UUID)}", f"({keys})") for part in (MAP, VAULT))
    rows: dict[str, list[str]] = {"map": [], "vault": []}
    with client.stream(sql, {"space": space_id, "people": people}, settings=SETTINGS) as answer:
        for line in _decode_lines(b"".join(answer)):
            rows[line["part"]].append(line["row"])
    ties: defaultdict[str, list[MapRow]] = defaultdict(list)
    for tie in keep_latest(map(decode_map, rows["map"])).values():
        ties[tie.person_id].append(tie)
    return ties, Vault(keyring, space_id, map(decode_vault, rows["vault"]))
