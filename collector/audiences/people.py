"""From identifiers to the people to judge, by the map as it stands in its tables.

The dictionaries may be a second behind the tables, so they are not asked here. Who an identifier once belonged to is
found by `person_keys`; too many never harm, because everybody who is found is judged by what is known now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from collector.store.client import StoreClient

KEYS = 2_000
"""Of one question: 39 bytes each, and a server takes 128 KiB in one field of a form."""
SETTINGS = {"max_threads": 2}
_MAP = """
SELECT toString(map.key) AS key, toString(map.person_id) AS person_id, several,
    if(key_customer_id != '', key_customer_id, customer_id) AS customer_id
FROM identity_map AS map FINAL
WHERE space_id = {space:String} AND map.key IN {keys:Array(UUID)}
"""
_TURNS = """
SELECT DISTINCT toString(held.person_id) AS person_id
FROM identity_intervals AS held FINAL
WHERE space_id = {space:String} AND held.key IN {keys:Array(UUID)}
"""
_PAST = """
SELECT DISTINCT toString(held.person_id) AS person_id
FROM person_keys AS held
WHERE space_id = {space:String} AND held.key IN {keys:Array(UUID)}
"""


class Person(msgspec.Struct, frozen=True):
    """What the map says of a person id. `is_gone`: the identifier that gives it its name is somebody else's now, so
    nobody has this id any more. `customer_id`: "" where not known."""

    is_gone: bool = False
    customer_id: str = ""


NOBODY_SPECIAL = Person()


def find_people(client: StoreClient, space_id: str, keys: Iterable[str], *, past: bool = False) -> set[str]:
    """Return the people whose identifiers these are: one each, or all who take turns at it and it itself.

    `past`: also who it belonged to before, as far as anybody knows. At most KEYS at a time are asked for. Raises
    StoreError.
    """
    people: set[str] = set()
    for part in cut(keys):
        params = {"space": space_id, "keys": part}
        own = dict.fromkeys(part, "")
        shared = []
        for row in client.query_rows(_MAP, params, SETTINGS):
            if row["several"]:
                shared.append(row["key"])
            else:
                own[row["key"]] = row["person_id"]
        people |= {person or key for key, person in own.items()}
        if shared:
            turns = {"space": space_id, "keys": shared}
            people |= {row["person_id"] for row in client.query_rows(_TURNS, turns, SETTINGS)}
        if past:
            people |= set(part)
            people |= {row["person_id"] for row in client.query_rows(_PAST, params, SETTINGS)}
    return people


def look_up(client: StoreClient, space_id: str, person_ids: Sequence[str]) -> dict[str, Person]:
    """Return what the map says of these people, KEYS at most; who is not in it is not in the answer. Raises
    StoreError."""
    rows = client.query_rows(_MAP, {"space": space_id, "keys": list(person_ids)}, SETTINGS)
    return {
        row["key"]: Person(not row["several"] and row["person_id"] != row["key"], row["customer_id"]) for row in rows
    }


def cut(keys: Iterable[str], size: int = KEYS) -> list[list[str]]:
    """Return the keys in parts of this size, in the order in which they lie in the store's tables as far as that is
    cheap to say: so each question reads another part of a table."""
    ordered = sorted(keys, key=lambda key: key[19:])
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]
