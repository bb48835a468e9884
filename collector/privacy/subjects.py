"""Subjects: whom a request is about, as identifiers and the times in which they are theirs.

All that the map and the intervals give a person, persons absorbed by merges included, under all names that a rotation
gave them. A browser of theirs alone is theirs as a whole, also what it did before anybody was known. Of a browser that
several have used only the times that are theirs: what others did on it is not theirs to erase. A browser that a tagged
link alone ties to them is not theirs: mails are forwarded. Only the tie is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from collector.identity.identifiers import VISITOR_KIND
from collector.identity.names import expand_names
from collector.profiles.keys import (
    ALWAYS,
    MAP,
    Held,
    Interval,
    MapRow,
    decode_map,
    find_held,
    find_present,
    keep_latest,
    read_intervals,
)
from collector.store.client import StoreClient

KEYS_PER_QUESTION = 3_000
FOR_EVER_MS = 10_413_792_000_000
"""An open end, as `identity_intervals` writes it."""
_CANDIDATES = """
SELECT DISTINCT toString(held.person_id) AS person, toString(held.key) AS key FROM person_keys AS held
WHERE space_id = {space:String} AND person_id IN {people:Array(UUID)}
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """One person. `person_id`: as the map has it now; `held`: their identifiers, each with its spans, whole ones with
    ALWAYS; `shared`: those of them that others have used as well."""

    person_id: str
    held: tuple[Held, ...]
    shared: frozenset[str] = frozenset()

    @property
    def whole(self) -> tuple[str, ...]:
        """Own person ids of what is theirs alone."""
        return tuple(item.key for item in self.held if item.key not in self.shared)


def find_subjects(client: StoreClient, space_id: str, asked: Collection[str], now_ms: int) -> list[Subject]:
    """Return the people whose these identifiers are now, each once. `asked`: own person ids. Raises StoreError."""
    named = sorted(expand_names(client, space_id, asked))
    map_rows = _read_map(client, space_id, named)
    intervals = read_intervals(client, space_id, [row.key for row in map_rows.values() if row.several])
    people = {find_present(key, map_rows, intervals, now_ms) for key in named}
    held: dict[str, set[str]] = {person: {person} for person in people}
    for part in _cut(sorted(people)):
        for row in client.query_rows(_CANDIDATES, {"space": space_id, "people": part}):
            held[row["person"]].add(row["key"])
    for key in named:
        held[find_present(key, map_rows, intervals, now_ms)].add(key)
    every = sorted(expand_names(client, space_id, {key for keys in held.values() for key in keys}))
    map_rows = _read_map(client, space_id, every)
    intervals = read_intervals(client, space_id, [row.key for row in map_rows.values() if row.several])
    return [_settle(person, held[person], map_rows, intervals) for person in sorted(people)]


def find_main_key(subject: Subject) -> str:
    """Return the own person id that values about somebody are written under: of their customer key, else of themselves,
    so that it is the one that their person id came from."""
    known = [item for item in subject.held if not item.is_visitor and item.key not in subject.shared]
    best = max(known, key=lambda item: (item.key == subject.person_id, item.level), default=None)
    return subject.person_id if best is None else best.key


def bind_scope(client: StoreClient, subjects: Iterable[Subject]) -> dict[str, Any]:
    """Return what `inventory.render_for` wants to be bound for these people. Raises StoreError."""
    people = list(subjects)
    hashes = hash_keys(client, {item.key for subject in people for item in subject.held})
    shared = {key for subject in people for key in subject.shared}
    return {
        "whole": [value for key, value in hashes.items() if key not in shared],
        "part": [hashes[key] for key in shared],
        "spans": [
            (hashes[item.key], span.from_ms, FOR_EVER_MS if span.to_ms is None else span.to_ms, str(span.events))
            for subject in people
            for item in subject.held
            if item.key in shared
            for span in item.spans
        ],
    }


def hash_keys(client: StoreClient, keys: Collection[str]) -> dict[str, int]:
    """Return what the store makes of own person ids."""
    found: dict[str, int] = {}
    ordered = sorted(keys)
    for start in range(0, len(ordered), KEYS_PER_QUESTION):
        rows = client.query_rows(
            "SELECT toString(one) AS key, cityHash64(one) AS hash FROM (SELECT arrayJoin({keys:Array(UUID)}) AS one)",
            {"keys": ordered[start : start + KEYS_PER_QUESTION]},
        )
        found |= {row["key"]: int(row["hash"]) for row in rows}
    return found


def _settle(person: str, keys: set[str], map_rows: dict[str, MapRow], intervals: dict[str, list[Interval]]) -> Subject:
    theirs = {key: map_rows[key] for key in keys if key in map_rows}
    found = find_held(person, theirs, {key: intervals.get(key, []) for key in theirs})
    held, shared = [], set()
    for key in sorted(keys | {person}):
        item = found.get(key) or (Held(key, "", "", ALWAYS) if key == person and key not in theirs else None)
        if item is None or (item.provisional and item.is_visitor and key != person):
            continue  # a link alone names them: whose browser it is nobody knows
        turns = intervals.get(key, [])
        if item.is_visitor and any(turn.person_id != person for turn in turns):
            shared.add(key)
            held.append(item)
        else:
            held.append(Held(key, item.kind or VISITOR_KIND, item.value, ALWAYS, item.level, item.provisional))
    return Subject(person, tuple(held), frozenset(shared))


def _read_map(client: StoreClient, space_id: str, keys: Sequence[str]) -> dict[str, MapRow]:
    rows = [
        decode_map(row["row"])
        for part in _cut(keys)
        for row in client.query_rows(MAP, {"space": space_id, "keys": part})
    ]
    return keep_latest(rows)


def _cut(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), KEYS_PER_QUESTION):
        yield keys[start : start + KEYS_PER_QUESTION]
