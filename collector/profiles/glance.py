"""A glance: the traits of a person for a page that asks who sits in front of it, in one small statement.

A page asks often and wants little. So whose a value is, the dictionary decides, as it does for `v_events`, and not the
map behind it: a glance follows the map as fast as `v_events` does. Of a browser whose people take turns nothing is
taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from collector.identity.evidence import LINKED
from collector.keyring import Keyring
from collector.offers.standing import NOTHING, PARTS, UNKNOWN, Known, Wanted, bind, collect, make_parts
from collector.profiles.definitions import Definitions
from collector.profiles.glance_keys import Asked, find_keys
from collector.profiles.keys import ALWAYS, Held
from collector.profiles.record_keys import Keys
from collector.profiles.states import State, StateRow, find_state, keep_states
from collector.profiles.survivorship import Survivor, survive
from collector.profiles.traits import TRAIT_COLUMNS, TraitRow, collect_said
from collector.store.client import StoreClient

_SETTINGS = {"max_threads": 1}
MAX_AT_ONCE = 1_000
"""39 bytes each; a server takes 128 KiB in one field of a form."""


class Glance(msgspec.Struct, frozen=True):
    """A person. `customer_id`: "" where none is known. `traits`: by name, in clear, declared or not. `known`: what was
    wanted of the person besides. `record_keys`: by which other sources are asked
    for them, in clear. `state`: erased or restricted; then a page is told of nobody."""

    person_id: str
    customer_id: str
    traits: dict[str, Survivor]
    known: Known = UNKNOWN
    record_keys: Keys = {}
    state: State | None = None

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
    """Whose an identifier is, from when on, what they are called, and the identifier's own value as it is stored; ""
    of a visitor."""

    key: str
    person_id: str
    from_ms: int
    customer_id: str
    value: str


class _HeldTrait(TraitRow, frozen=True, array_like=True):
    """A trait, whose identifier it was said of, and from when on that is theirs."""

    person_id: str
    from_ms: int


class _HeldState(StateRow, frozen=True, array_like=True):
    """A state, whose identifier it was said of, and from when on that is theirs."""

    person_id: str
    from_ms: int


_decode_person = msgspec.json.Decoder(_PersonRow).decode
_decode_held = msgspec.json.Decoder(_HeldTrait, strict=False).decode
_decode_state = msgspec.json.Decoder(_HeldState, strict=False).decode
_decode_lines = msgspec.json.Decoder(dict[str, str]).decode_lines


def read_glances(
    client: StoreClient,
    keyring: Keyring,
    definitions: Definitions,
    keys: Collection[str],
    *,
    now_ms: int,
    wanted: Wanted = NOTHING,
    key_kinds: frozenset[str] = frozenset(),
) -> dict[str, Glance]:
    """Read the traits of the people whose some identifiers are now, by identifier. `keys`: their own person ids, at
    most MAX_AT_ONCE. `wanted`: what is read of them besides, for audiences and offers. `key_kinds`: of which kinds
    `record_keys` are.

    One statement, however many there are: who is asked while a statement runs may ask together with others. (And one
    more for record keys of another kind than was asked by.) Of somebody who is not known there are no traits. Raises
    StoreError.
    """
    params = {"space": definitions.space_id, "asked": sorted(set(keys)), **bind(wanted, now_ms)}
    rows: dict[str, list[str]] = {part: [] for part in ("person", "trait", "state", *PARTS)}
    with client.stream(_make_sql(client.database, wanted), params, settings=_SETTINGS) as answer:
        for line in _decode_lines(b"".join(answer)):
            rows[line["part"]].append(line["row"])
    by_person: defaultdict[str, list[TraitRow]] = defaultdict(list)
    for row in map(_decode_held, rows["trait"]):
        # What was said before the identifier was theirs was said of somebody else.
        by_person[row.person_id if row.from_ms <= row.time_ms else row.key].append(row)
    people = {row.key: row for row in map(_decode_person, rows["person"])}
    known = collect(rows)
    states = _collect_states(map(_decode_state, rows["state"]), now_ms)
    asked = [
        Asked(key, one.value, one.person_id, one.customer_id)
        if one.from_ms <= now_ms
        else Asked(key, one.value, key, "")
        for key, one in people.items()
    ]
    record_keys = find_keys(client, keyring, definitions.space_id, asked, key_kinds, now_ms)
    found = {}
    for key, _, person_id, customer_id in asked:
        traits = _settle(keyring, definitions, by_person.get(person_id, []))
        state = find_state(one for name in {key, person_id} for one in states.get(name, ()))
        found[key] = Glance(
            person_id, customer_id, traits, known.get(person_id, UNKNOWN), record_keys.get(key, {}), state
        )
    return found


def read_glance(client: StoreClient, keyring: Keyring, definitions: Definitions, key: str, *, now_ms: int) -> Glance:
    """As `read_glances`, of one identifier."""
    return read_glances(client, keyring, definitions, [key], now_ms=now_ms)[key]


def _settle(keyring: Keyring, definitions: Definitions, rows: list[TraitRow]) -> dict[str, Survivor]:
    held = {row.key: Held(row.key, "", "", ALWAYS) for row in rows}
    said = collect_said(keyring, definitions.space_id, held, rows)
    survivors = {name: survive(said[name], definitions.find(name)) for name in sorted(said)}
    return {name: survivor for name, survivor in survivors.items() if survivor is not None}


def _collect_states(rows: Iterable[_HeldState], now_ms: int) -> dict[str, list[State]]:
    """Return what is said of identifiers and of the people whose they are now, by own person id."""
    held = list(rows)
    by_key = {row.key: row.person_id for row in held if row.from_ms <= now_ms}
    said: defaultdict[str, list[State]] = defaultdict(list)
    for key, state in keep_states(held).items():
        for name in {key, by_key.get(key, key)}:
            said[name].append(state)
    return said


def _make_sql(database: str, wanted: Wanted) -> str:
    """Subqueries, and not names by WITH: the store would work those out once for each part of a union. Of states those
    alone of who was asked for and of their people, since each look into `person_keys` costs as much as a part."""

    def whose(key: str) -> str:
        return f"dictGetOrDefault('{database}.identity', 'person_id', cityHash64({key}), {key})"

    def since(key: str) -> str:
        return f"toUnixTimestamp64Milli(dictGet('{database}.identity', 'valid_from', cityHash64({key})))"

    def called(key: str) -> str:
        return f"dictGet('{database}.identity_customers', 'customer_id', cityHash64({key}))"

    people = f"arrayMap(one -> {whose('one')}, {{asked:Array(UUID)}})"
    names = f"SELECT arrayJoin(arrayConcat({{asked:Array(UUID)}}, {people}))"
    keys = f"""
        {names}
        UNION ALL
        SELECT key FROM person_keys
        WHERE space_id = {{space:String}} AND person_id IN (SELECT arrayJoin({people}))"""  # noqa: S608  our own words
    more = "".join(f"\n    UNION ALL{part}" for part in make_parts(database, wanted, keys, people))
    return f"""
    SELECT 'person' AS part, toJSONString((key, {whose("key")}, {since("key")}, {called(whose("key"))},
        {called("key")})) AS row
    FROM (SELECT arrayJoin({{asked:Array(UUID)}}) AS key)
    UNION ALL
    SELECT 'trait', toJSONString(({TRAIT_COLUMNS}, {whose("said.key")}, {since("said.key")}))
    FROM traits AS said
    WHERE space_id = {{space:String}} AND said.key IN ({keys})
    UNION ALL
    SELECT 'state', toJSONString((held.key, state, version, is_deleted, {whose("held.key")}, {since("held.key")}))
    FROM person_states AS held
    WHERE space_id = {{space:String}} AND held.key IN ({names}){more}
    """  # noqa: S608  the database's name is a setting
