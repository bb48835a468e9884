"""Keys: which identifiers a person has, and in which times, by the identity map as it is now.

An event belongs to a person as `v_events` says it: where the map names one person, from `valid_from` on, and before
that the identifier's own; where several took turns, the intervals decide, and where nothing proved the visitor only
events that nothing proves either. What is left is the identifier's own. So one identifier has spans of time that are a
person's, each for all events, for unproved ones (`script`) or for the others.

`person_keys` leads from a person to identifiers that may be theirs. Whether they are is read in the map.
"""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from uuid import UUID

import msgspec

from collector.identity.identifiers import VISITOR_KIND
from collector.store.client import StoreClient

MAX_KEYS = 1_000
"""Of a person with more identifiers some are left out, and the profile says so."""
SETTINGS = {"max_threads": 1}
"""A look takes single granules: more threads would cost more than they read."""
_OPEN_FROM_MS = 10_413_000_000_000
"""In 2299. The store writes an open end as the last day of that year."""


class Events(StrEnum):
    """Which events of a span: by the proof of the visitor."""

    ALL = "all"
    UNPROVED = "unproved"  # visitor_proof is script
    PROVED = "proved"  # anything else


class Span(msgspec.Struct, frozen=True):
    """From `from_ms` (included) to `to_ms` (excluded; None: for ever), milliseconds since 1970."""

    from_ms: int
    to_ms: int | None = None
    events: Events = Events.ALL

    def holds(self, time_ms: int, visitor_proof: str) -> bool:
        """Whether an event is in it."""
        if time_ms < self.from_ms or (self.to_ms is not None and time_ms >= self.to_ms):
            return False
        return self.events is Events.ALL or (visitor_proof == "script") == (self.events is Events.UNPROVED)

    def covers(self, first_ms: int, last_ms: int) -> bool:
        """Whether all that happened between two moments, both included, is in it."""
        return self.events is Events.ALL and self.from_ms <= first_ms and (self.to_ms is None or last_ms < self.to_ms)

    def meets(self, first_ms: int, last_ms: int) -> bool:
        """Whether anything that happened between two moments may be in it."""
        return self.from_ms <= last_ms and (self.to_ms is None or first_ms < self.to_ms)


ALWAYS = (Span(0),)
_decode_lines = msgspec.json.Decoder(dict[str, str]).decode_lines


class MapRow(msgspec.Struct, frozen=True):
    """A row of the identity map, one of its versions."""

    key: str
    kind: str
    value: str  # as it is stored; "" for a visitor
    person_id: str
    customer_id: str
    customer_key: str
    valid_from_ms: int
    several: int
    level: int
    provisional: int
    proved: int
    version: int
    is_deleted: int


class Interval(msgspec.Struct, frozen=True):
    """Whose an identifier was, in turn."""

    key: str
    person_id: str
    from_ms: int
    to_ms: int
    proved: int
    level: int
    provisional: int


class Held(msgspec.Struct, frozen=True):
    """An identifier of a person. `value`: as it is stored, "" for a visitor. `level`: how sure the tie is."""

    key: str
    kind: str
    value: str
    spans: tuple[Span, ...]
    level: int = 0
    provisional: bool = False

    @property
    def is_visitor(self) -> bool:
        """Whether it is a browser or an app install, or something the map does not know: then it has no other kind."""
        return self.kind in (VISITOR_KIND, "")

    def has(self, time_ms: int, visitor_proof: str = "") -> bool:
        """Whether what was said of this identifier at a time was said of the person."""
        return not self.is_visitor or any(span.holds(time_ms, visitor_proof) for span in self.spans)


# One column instead of twelve: what a look by key costs, it costs by the column.
MAP = """
SELECT 'map' AS part, concat(toString(map.key), base64Encode(packed)) AS row
FROM identity_map AS map
WHERE space_id = {space:String} AND map.key IN {keys:Array(UUID)}
"""
_PACKED = struct.Struct("<4QqQ5B2I")
"""How `packed` begins: person, customer key, valid_from, version, the marks, and how long kind and own value are."""
_ID_CHARS = 36
_INTERVALS = """
SELECT toString(held.key) AS key, toString(held.person_id) AS person_id, toUnixTimestamp64Milli(valid_from) AS from_ms,
    toUnixTimestamp64Milli(valid_to) AS to_ms, proved, level, provisional
FROM identity_intervals AS held FINAL
WHERE space_id = {space:String} AND held.key IN {keys:Array(UUID)}
ORDER BY key, from_ms
"""


def find_candidates(client: StoreClient, space_id: str, key: str, person_id: str = "") -> tuple[str, list[str]]:
    """Return a person, and the identifiers that may be theirs: never more than MAX_KEYS, and two.

    `person_id`: who it is; "": whose `key` is by the dictionary, a look at which costs nothing. It may be late, and of
    somebody with whom people take turns it does not say who it is now: the map has the last word. Raises StoreError.
    """
    known = (
        "toUUID({person:String})"
        if person_id
        else (f"dictGetOrDefault('{client.database}.identity', 'person_id', cityHash64({{key:UUID}}), {{key:UUID}})")
    )
    params = {"space": space_id, "key": key, "person": person_id}
    sql = (
        f"SELECT DISTINCT toString(held.key) AS key, toString({known}) AS person FROM person_keys AS held"  # noqa: S608
        f" WHERE space_id = {{space:String}} AND person_id = {known} LIMIT {MAX_KEYS}"
    )
    with client.stream(sql, params, settings=SETTINGS) as answer:
        rows = _decode_lines(b"".join(answer))
    # Where the person is not the key there are rows: the key itself is among them.
    found = rows[0]["person"] if rows else person_id or key
    return found, list({row["key"] for row in rows} | {found, key})


def find_many_candidates(client: StoreClient, space_id: str, asked: Sequence[str]) -> list[tuple[str, list[str]]]:
    """As `find_candidates` for each of several identifiers, in their order. Raises StoreError."""
    known = f"dictGetOrDefault('{client.database}.identity', 'person_id', cityHash64(one), one)"
    sql = (
        "SELECT DISTINCT toString(held.person_id) AS person, toString(held.key) AS key,"  # noqa: S608  our own names
        f" toString({known.replace('one', 'held.key')}) AS now FROM person_keys AS held"
        f" WHERE space_id = {{space:String}} AND person_id IN (SELECT arrayJoin(arrayMap(one -> {known},"
        f" {{asked:Array(UUID)}}))) LIMIT {MAX_KEYS} BY person"
    )
    with client.stream(sql, {"space": space_id, "asked": sorted(set(asked))}, settings=SETTINGS) as answer:
        rows = _decode_lines(b"".join(answer))
    people = {row["key"]: row["now"] for row in rows}
    held: dict[str, set[str]] = {}
    for row in rows:
        held.setdefault(row["person"], set()).add(row["key"])
    found = [(people.get(key, key), key) for key in asked]
    return [(person, list(held.get(person, set()) | {person, key})) for person, key in found]


def read_intervals(client: StoreClient, space_id: str, keys: Sequence[str]) -> dict[str, list[Interval]]:
    """Return the intervals of identifiers that had several people, by identifier, in order. Raises StoreError."""
    found: dict[str, list[Interval]] = {key: [] for key in keys}
    if keys:
        for row in client.query_rows(_INTERVALS, {"space": space_id, "keys": list(keys)}):
            found[row["key"]].append(Interval(**row))
    return found


def decode_map(text: str) -> MapRow:
    """Return a row of the map."""
    data = b64decode(text[_ID_CHARS:])
    head = _PACKED.unpack_from(data)
    valid_from_ms, version, several, level, provisional, proved, is_deleted, kind_bytes, own_bytes = head[4:]
    kind_end = _PACKED.size + kind_bytes
    own_end = kind_end + own_bytes
    return MapRow(
        key=text[:_ID_CHARS],
        kind=data[_PACKED.size : kind_end].decode(),
        value=data[kind_end:own_end].decode(errors="replace"),
        person_id=_read_id(*head[:2]),
        customer_id=data[own_end:].decode(errors="replace"),
        customer_key=_read_id(*head[2:4]),
        valid_from_ms=valid_from_ms,
        several=several,
        level=level,
        provisional=provisional,
        proved=proved,
        version=version,
        is_deleted=is_deleted,
    )


def _read_id(high: int, low: int) -> str:
    return str(UUID(int=high << 64 | low))


def keep_latest(rows: Iterable[MapRow]) -> dict[str, MapRow]:
    """Return the map's rows by identifier: of each the latest version, none of those that are gone."""
    latest: dict[str, MapRow] = {}
    for row in rows:
        if row.key not in latest or row.version >= latest[row.key].version:
            latest[row.key] = row
    return {key: row for key, row in latest.items() if not row.is_deleted}


def find_present(
    key: str, map_rows: Mapping[str, MapRow], intervals: Mapping[str, Sequence[Interval]], now_ms: int
) -> str:
    """Return the person whose an identifier is now: who can only have named a visitor is not them."""
    row = map_rows.get(key)
    if row is None:
        return key
    if not row.several:
        return row.person_id if row.valid_from_ms <= now_ms else key
    for held in intervals.get(key, ()):
        if held.from_ms <= now_ms < held.to_ms and held.proved:
            return held.person_id
    return key


def find_held(
    person_id: str, map_rows: Mapping[str, MapRow], intervals: Mapping[str, Sequence[Interval]]
) -> dict[str, Held]:
    """Return the identifiers of a person, with the spans in which they are theirs, by own person id."""
    held = {}
    for key in {person_id, *map_rows}:
        row = map_rows.get(key)
        if row is None:
            if key == person_id:
                held[key] = Held(key, "", "", ALWAYS)
            continue
        level, provisional = row.level, row.provisional
        if row.several:
            mine = [interval for interval in intervals.get(key, ()) if interval.person_id == person_id]
            level = max((interval.level for interval in mine), default=0)
            provisional = min((interval.provisional for interval in mine), default=0)
            spans = _find_turns(key, person_id, intervals.get(key, ()))
        else:
            spans = _find_spans(row, person_id)
        if spans:
            held[key] = Held(key, row.kind, row.value, spans, level, bool(provisional))
    return held


def _find_spans(row: MapRow, person_id: str) -> tuple[Span, ...]:
    """Return the spans of an identifier that never went from one person to another."""
    if row.person_id == row.key:
        return ALWAYS if row.key == person_id else ()
    if row.person_id == person_id:
        return (Span(row.valid_from_ms),)
    return (Span(0, row.valid_from_ms),) if row.key == person_id and row.valid_from_ms > 0 else ()


def _find_turns(key: str, person_id: str, intervals: Sequence[Interval]) -> tuple[Span, ...]:
    """Return the spans of an identifier whose people took turns. What is nobody's is its own."""
    spans = []
    if key != person_id:
        for held in intervals:
            if held.person_id == person_id:
                events = Events.ALL if held.proved else Events.UNPROVED
                spans.append(Span(held.from_ms, _end(held), events))
        return tuple(spans)
    at_ms: int | None = 0
    for held in intervals:
        if at_ms is not None and held.from_ms > at_ms:
            spans.append(Span(at_ms, held.from_ms))
        at_ms = _end(held)
        if held.person_id == person_id:
            spans.append(Span(held.from_ms, at_ms))
        elif not held.proved:
            spans.append(Span(held.from_ms, at_ms, Events.PROVED))
    if at_ms is not None:
        spans.append(Span(at_ms))
    return tuple(spans)


def _end(held: Interval) -> int | None:
    return held.to_ms if held.to_ms < _OPEN_FROM_MS else None


def select_events(held: Iterable[Held], params: dict[str, object]) -> str:
    """Return a condition on `timeline` for the events of identifiers in their spans; fills in its parameters."""
    whole, parts = [], []
    for item in held:
        if item.spans == ALWAYS:
            whole.append(item.key)
            continue
        for span in item.spans:
            name = f"key_{len(params)}"
            params[name] = item.key
            conditions = [f"own_person_id = {{{name}:UUID}}"]
            if span.from_ms > 0:
                conditions.append(f"time >= fromUnixTimestamp64Milli({span.from_ms:d}, 'UTC')")
            if span.to_ms is not None:
                conditions.append(f"time < fromUnixTimestamp64Milli({span.to_ms:d}, 'UTC')")
            if span.events is not Events.ALL:
                conditions.append(f"visitor_proof {'=' if span.events is Events.UNPROVED else '!='} 'script'")
            parts.append(f"({' AND '.join(conditions)})")
    if whole:
        params["whole"] = whole
        parts.append("own_person_id IN {whole:Array(UUID)}")
    return f"({' OR '.join(parts)})" if parts else "0"
