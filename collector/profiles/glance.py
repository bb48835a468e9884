"""A glance: the traits of a person for a page that asks who sits in front of it, in one small statement.

A page asks often and wants little. So whose a value is, the dictionary decides, as it does for `v_events`, and not the
map behind it: a glance follows the map as fast as `v_events` does. Of a browser whose people take turns nothing is
taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import msgspec

from collector.identity.evidence import LINKED
from collector.keyring import Keyring
from collector.offers.standing import NOTHING, PARTS, UNKNOWN, Known, Wanted, bind, collect, make_parts
from collector.profiles.definitions import Definitions
from collector.profiles.keys import ALWAYS, Held
from collector.profiles.survivorship import Survivor, survive
from collector.profiles.traits import TRAIT_COLUMNS, TraitRow, collect_said
from collector.store.client import StoreClient

_SETTINGS = {"max_threads": 1}
MAX_AT_ONCE = 1_000
"""39 bytes each; a server takes 128 KiB in one field of a form."""


class Glance(msgspec.Struct, frozen=True):
    """A person. `customer_id`: "" where none is known. `traits`: by name, in clear, declared or not. `known`: what was
    wanted of the person besides, `browser`: of the identifier itself."""

    person_id: str
    customer_id: str
    traits: dict[str, Survivor]
    known: Known = UNKNOWN
    browser: Known = UNKNOWN

    def give(self, definitions: Definitions, level: int) -> dict[str, Any]:
        """Return the values that a page may have where it is so sure (0 to 4) who sits in front of it.

        What is not declared is given to nobody, nor what a page without signature has claimed.
        """
        return {
            name: survivor.said.value
            for name, survivor in self.traits.items()
            if definitions.is_declared(name)
            and definitions.find(name).min_assurance <= level
            and survivor.said.level >= LINKED
            and not survivor.said.is_closed
        }


class _PersonRow(msgspec.Struct, frozen=True, array_like=True):
    """Whose an identifier is, from when on, and what they are called."""

    key: str
    person_id: str
    from_ms: int
    customer_id: str


class _HeldTrait(TraitRow, frozen=True, array_like=True):
    """A trait, whose identifier it was said of, and from when on that is theirs."""

    person_id: str
    from_ms: int


_decode_person = msgspec.json.Decoder(_PersonRow).decode
_decode_held = msgspec.json.Decoder(_HeldTrait, strict=False).decode
_decode_lines = msgspec.json.Decoder(dict[str, str]).decode_lines


def read_glances(
    client: StoreClient,
    keyring: Keyring,
    definitions: Definitions,
    keys: Collection[str],
    *,
    now_ms: int,
    wanted: Wanted = NOTHING,
) -> dict[str, Glance]:
    """Read the traits of the people whose some identifiers are now, by identifier. `keys`: their own person ids, at
    most MAX_AT_ONCE. `wanted`: what is read of them besides, for audiences and offers.

    One statement, however many there are: who is asked while a statement runs may ask together with others. Of
    somebody who is not known there are no traits. Raises StoreError.
    """
    params = {"space": definitions.space_id, "asked": sorted(set(keys)), **bind(wanted, now_ms)}
    rows: dict[str, list[str]] = {part: [] for part in ("person", "trait", *PARTS)}
    with client.stream(_make_sql(client.database, wanted), params, settings=_SETTINGS) as answer:
        for line in _decode_lines(b"".join(answer)):
            rows[line["part"]].append(line["row"])
    by_person: defaultdict[str, list[TraitRow]] = defaultdict(list)
    for row in map(_decode_held, rows["trait"]):
        # What was said before the identifier was theirs was said of somebody else.
        by_person[row.person_id if row.from_ms <= row.time_ms else row.key].append(row)
    people = {row.key: row for row in map(_decode_person, rows["person"])}
    known = collect(rows)
    found = {}
    for key, person in people.items():
        is_present = person.from_ms <= now_ms
        person_id = person.person_id if is_present else key
        traits = _settle(keyring, definitions, by_person.get(person_id, []))
        customer_id = person.customer_id if is_present else ""
        of_person, of_key = known.get(person_id, UNKNOWN), known.get(key, UNKNOWN)
        found[key] = Glance(person_id, customer_id, traits, of_person, of_key)
    return found


def read_glance(client: StoreClient, keyring: Keyring, definitions: Definitions, key: str, *, now_ms: int) -> Glance:
    """As `read_glances`, of one identifier."""
    return read_glances(client, keyring, definitions, [key], now_ms=now_ms)[key]


def _settle(keyring: Keyring, definitions: Definitions, rows: list[TraitRow]) -> dict[str, Survivor]:
    held = {row.key: Held(row.key, "", "", ALWAYS) for row in rows}
    said = collect_said(keyring, definitions.space_id, held, rows)
    survivors = {name: survive(said[name], definitions.find(name)) for name in sorted(said)}
    return {name: survivor for name, survivor in survivors.items() if survivor is not None}


def _make_sql(database: str, wanted: Wanted) -> str:
    """Subqueries, and not names by WITH: the store would work those out once for each part of a union."""

    def whose(key: str) -> str:
        return f"dictGetOrDefault('{database}.identity', 'person_id', cityHash64({key}), {key})"

    def since(key: str) -> str:
        return f"toUnixTimestamp64Milli(dictGet('{database}.identity', 'valid_from', cityHash64({key})))"

    people = f"arrayMap(one -> {whose('one')}, {{asked:Array(UUID)}})"
    keys = f"""
        SELECT arrayJoin(arrayConcat({{asked:Array(UUID)}}, {people}))
        UNION ALL
        SELECT key FROM person_keys
        WHERE space_id = {{space:String}} AND person_id IN (SELECT arrayJoin({people}))"""  # noqa: S608  our own words
    more = "".join(f"\n    UNION ALL{part}" for part in make_parts(database, wanted, keys, people))
    return f"""
    SELECT 'person' AS part, toJSONString((key, {whose("key")}, {since("key")},
        dictGet('{database}.identity_customers', 'customer_id', cityHash64({whose("key")})))) AS row
    FROM (SELECT arrayJoin({{asked:Array(UUID)}}) AS key)
    UNION ALL
    SELECT 'trait', toJSONString(({TRAIT_COLUMNS}, {whose("said.key")}, {since("said.key")}))
    FROM traits AS said
    WHERE space_id = {{space:String}} AND said.key IN ({keys}){more}
    """  # noqa: S608  the database's name is a setting
