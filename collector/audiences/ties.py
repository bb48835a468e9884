"""Whose is what: of a list of people the identifiers that are theirs for certain, and in which times.

By the tables of the map and not by the dictionaries, which may be a second behind; by the rule of `profiles.keys`, as
for a profile. What a tagged link alone says (provisional) gives nobody anything, and is not the visitor's own again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

import msgspec

from collector.identity.identifiers import VISITOR_KIND
from collector.profiles.keys import (
    ALWAYS,
    Held,
    Interval,
    MapRow,
    decode_map,
    find_held,
    keep_latest,
    read_intervals,
)
from collector.store.client import StoreClient

SETTINGS = {"max_threads": 1}
_MAP = """
SELECT concat(toString(map.key), base64Encode(packed)) AS row
FROM identity_map AS map
WHERE space_id = {space:String} AND map.key IN (
    SELECT arrayJoin({people:Array(UUID)})
    UNION ALL
    SELECT key FROM person_keys WHERE space_id = {space:String} AND person_id IN {people:Array(UUID)})
"""
_INTERVAL_KEYS = 2_000
_decode_lines = msgspec.json.Decoder(dict[str, str]).decode_lines


class Bonds(msgspec.Struct, frozen=True):
    """A person's identifiers with their spans. `is_customer`: known to the organisation. `is_mapped`: the map has
    somebody of this name, whatever else is known."""

    held: Mapping[str, Held]
    is_customer: bool = False
    is_mapped: bool = False


def read_bonds(client: StoreClient, space_id: str, person_ids: Collection[str]) -> dict[str, Bonds]:
    """Return what is each person's. Who is part of somebody else by now is not in the answer. Raises StoreError."""
    params = {"space": space_id, "people": list(person_ids)}
    with client.stream(_MAP, params, settings=SETTINGS) as answer:
        rows = keep_latest(decode_map(line["row"]) for line in _decode_lines(b"".join(answer)))
    intervals = _read_turns(client, space_id, [key for key, row in rows.items() if row.several])
    by_person: defaultdict[str, set[str]] = defaultdict(set)
    for key, row in rows.items():
        by_person[row.person_id].add(key)
        for turn in intervals.get(key, ()):
            by_person[turn.person_id].add(key)
    found = {}
    for person_id in person_ids:
        own = rows.get(person_id)
        if own is None or own.several or own.person_id == person_id:
            found[person_id] = _bind(person_id, by_person.get(person_id, set()), rows, intervals)
    return found


def find_cuts(people: Iterable[Bonds]) -> dict[str, list[int]]:
    """Return the moments at which identifiers change hands, in order, of those that do. Milliseconds since 1970."""
    cuts: defaultdict[str, set[int]] = defaultdict(set)
    for bonds in people:
        for key, item in bonds.held.items():
            if item.spans != ALWAYS and item.spans:
                for span in item.spans:
                    cuts[key] |= {span.from_ms, *(() if span.to_ms is None else (span.to_ms,))}
    return {key: sorted(moments - {0}) for key, moments in cuts.items()}


def _bind(person_id: str, keys: set[str], rows: Mapping[str, MapRow], intervals: Mapping[str, list[Interval]]) -> Bonds:
    mine, turns = {}, {}
    for key in keys | {person_id}:
        row = rows.get(key)
        if row is None or (row.provisional and not row.several and key != person_id):
            continue
        mine[key] = row
        turns[key] = [turn for turn in intervals.get(key, ()) if key == person_id or not turn.provisional]
    own = rows.get(person_id)
    is_customer = own is not None and own.kind != VISITOR_KIND
    return Bonds(find_held(person_id, mine, turns), is_customer, is_mapped=own is not None or bool(keys))


def _read_turns(client: StoreClient, space_id: str, keys: list[str]) -> dict[str, list[Interval]]:
    found: dict[str, list[Interval]] = {}
    for start in range(0, len(keys), _INTERVAL_KEYS):
        found.update(read_intervals(client, space_id, keys[start : start + _INTERVAL_KEYS]))
    return found
