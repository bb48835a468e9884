"""Many people at a time, read and settled by the code that makes a profile of one, so that both say the same.

A page of people takes a handful of statements instead of two for each: their identifiers, everything by these, who
took turns at some of them, and the facts of those of which only a part is theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from collector.audiences.people import cut
from collector.keyring import Keyring
from collector.profiles import facts, keys, memberships, states, traits, vaulted
from collector.profiles.computed import Facts, merge_facts
from collector.profiles.definitions import Definitions
from collector.profiles.facts import FactsRow
from collector.profiles.keys import Held, Interval, MapRow
from collector.profiles.memberships import Membership
from collector.profiles.profile import Part, Trait, find_customer, settle_state, settle_traits
from collector.profiles.vaulted import Vault
from collector.store.client import StoreClient

PAGE = 1_000
PARTED = 100
"""Identifiers of which a part is read, in one statement: each has a condition of its own in it."""
SETTINGS = {"max_threads": 2}
_CANDIDATES = f"""
SELECT DISTINCT toString(held.person_id) AS person, toString(held.key) AS key FROM person_keys AS held
WHERE space_id = {{space:String}} AND held.person_id IN {{keys:Array(UUID)}}
LIMIT {keys.MAX_KEYS} BY person
"""  # noqa: S608  our own number
_STATEMENTS = {
    Part.TRAITS: traits.TRAITS,
    Part.COMPUTED: facts.FACTS,
    Part.AUDIENCES: memberships.MEMBERSHIPS,
    Part.VALUES: vaulted.VAULT,
}
_decode_lines = msgspec.json.Decoder(dict[str, str]).decode_lines


class Person(msgspec.Struct, frozen=True):
    """A person. `customer`: the row of the key by which they are called. Parts that were not asked for are empty.

    `values`: personal identifiers in clear, by kind.
    """

    person_id: str
    customer: MapRow | None
    traits: Mapping[str, Trait]
    facts: Facts | None
    audiences: tuple[Membership, ...]
    values: Mapping[str, tuple[str, ...]]


class Found(msgspec.Struct, frozen=True):
    """People who were read, by id, and how many of them nobody may be told of. Who is part of somebody else by now, or
    no customer any more, is in neither where customers alone were asked for."""

    people: dict[str, Person]
    withheld: int


class _Material:
    """The rows of a page by part and identifier."""

    def __init__(self) -> None:
        self.texts: defaultdict[str, list[str]] = defaultdict(list)

    def read(self, part: str, decode: Callable[[str], Any], name: str = "key") -> dict[str, list[Any]]:
        """Return the rows of a part, by identifier."""
        found: defaultdict[str, list[Any]] = defaultdict(list)
        for text in self.texts[part]:
            row = decode(text)
            found[getattr(row, name)].append(row)
        return found


def read_people(
    client: StoreClient,
    keyring: Keyring,
    definitions: Definitions,
    person_ids: Sequence[str],
    parts: Collection[Part],
    *,
    now_ms: int,
    only_customers: bool = False,
) -> Found:
    """Read people, PAGE at most. `parts`: TRAITS, COMPUTED, AUDIENCES and VALUES, all in clear. Raises StoreError."""
    space_id = definitions.space_id
    candidates: dict[str, set[str]] = {person: {person} for person in person_ids}
    for row in client.query_rows(_CANDIDATES, {"space": space_id, "keys": list(person_ids)}, SETTINGS):
        candidates[row["person"]].add(row["key"])
    material = _ask(client, space_id, set().union(*candidates.values()), parts)
    map_rows = keys.keep_latest(keys.decode_map(text) for text in material.texts["map"])
    several = [row.key for row in map_rows.values() if row.several]
    intervals: dict[str, list[Interval]] = {}
    for part in cut(several):
        intervals |= keys.read_intervals(client, space_id, part)
    said_states = states.keep_states(map(states.decode_state, material.texts["state"]))
    held: dict[str, dict[str, Held]] = {}
    customers: dict[str, MapRow | None] = {}
    withheld = 0
    for person, own in candidates.items():
        rows = {key: map_rows[key] for key in own if key in map_rows}
        customer = find_customer(person, rows)
        if only_customers and customer is None:
            continue
        theirs = keys.find_held(person, rows, intervals)
        if settle_state(said_states, {person}, theirs, now_ms):
            withheld += 1
            continue
        held[person], customers[person] = theirs, customer
    settled = _settle_facts(client, space_id, held, material.read("facts", facts.decode_facts))
    trait_rows = material.read("trait", traits.decode_trait)
    member_rows = material.read("audience", memberships.decode_membership, "person_id")
    vault = Vault(keyring, space_id, map(vaulted.decode_vault, material.texts["vault"]))
    people = {}
    for person, theirs in held.items():
        said = traits.collect_said(keyring, space_id, theirs, _pick(theirs, trait_rows))
        people[person] = Person(
            person_id=person,
            customer=customers[person],
            traits=settle_traits(definitions, said, shows_personal=True),
            facts=settled.get(person),
            audiences=memberships.settle_memberships(person, member_rows.get(person, ())),
            values=_open_values(theirs, vault) if Part.VALUES in parts else {},
        )
    return Found(people, withheld)


def _ask(client: StoreClient, space_id: str, wanted: Collection[str], parts: Collection[Part]) -> _Material:
    statements = [keys.MAP, states.STATES, *(_STATEMENTS[part] for part in sorted(parts))]
    material = _Material()
    for part in cut(wanted):
        params = {"space": space_id, "keys": part}
        with client.stream(" UNION ALL ".join(statements), params, settings=SETTINGS) as answer:
            for line in _decode_lines(b"".join(answer)):
                material.texts[line["part"]].append(line["row"])
    return material


def _settle_facts(
    client: StoreClient, space_id: str, held: Mapping[str, dict[str, Held]], rows: Mapping[str, list[FactsRow]]
) -> dict[str, Facts]:
    """Return the facts of people. Of one identifier several may have had a part: each round asks for it once."""
    found: defaultdict[str, list[Facts]] = defaultdict(list)
    waiting: list[tuple[str, Held]] = []
    for person, theirs in held.items():
        whole, parted = facts.part_facts(theirs, _pick(theirs, rows))
        found[person] += whole
        waiting += [(person, item) for item in parted]
    while waiting:
        asked: dict[str, tuple[str, Held]] = {}
        later = []
        for person, item in waiting:
            if len(asked) < PARTED and item.key not in asked:
                asked[item.key] = (person, item)
            else:
                later.append((person, item))
        answer = facts.read_parted_by_key(client, space_id, [item for _, item in asked.values()])
        for key, part in answer.items():
            found[asked[key][0]].append(part)
        waiting = later
    return {person: merged for person, parts in found.items() if (merged := merge_facts(parts)) is not None}


def _pick(theirs: Iterable[str], rows: Mapping[str, list[Any]]) -> list[Any]:
    return [row for key in theirs for row in rows.get(key, ())]


def _open_values(theirs: Mapping[str, Held], vault: Vault) -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for item in theirs.values():
        if not item.is_visitor and (value := vault.open(item)):
            found[item.kind].append(value)
    return {kind: tuple(sorted(values)) for kind, values in found.items()}
