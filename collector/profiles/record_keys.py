"""Record keys: by which of a person's identifiers a source of customer records is asked for them. Pure.

A source is asked by one kind of identifier. Of a person with several of that kind, the one by which they are called
comes first, then the one that somebody asked with, then those that are surest. A tie that is provisional, or that a
followed link alone has made, leads to nobody's record: links are forwarded.

The values are in clear, also those out of the vault: they go to the source and nowhere else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from collector.identity.evidence import SIGNED
from collector.profiles.keys import MapRow

MAX_TRIED = 3
"""A source that knows no record by the first may know one by another: after a merge it has the older number alone."""


class RecordKey(NamedTuple):
    """An identifier in clear, and its own person id."""

    own_person_id: str
    value: str


Keys = dict[str, tuple[RecordKey, ...]]
"""By kind of identifier, those to be tried first at the beginning."""


def choose_keys(
    person_id: str,
    rows: Iterable[MapRow],
    kinds: Collection[str],
    open_value: Callable[[MapRow], str],
    *,
    now_ms: int,
    first: Sequence[str] = (),
    given: tuple[str, RecordKey] | None = None,
) -> Keys:
    """Return the keys of a person, of these kinds.

    `rows`: of the map, each identifier's latest. `open_value`: its clear value, "" where none is kept. `first`: own
    person ids that come before others, whatever made their tie. `given`: kind and key that somebody asked with, where
    it is this person's own.
    """
    chosen: defaultdict[str, list[RecordKey]] = defaultdict(list)
    mine = [row for row in rows if row.kind in kinds and _is_theirs(row, person_id, now_ms)]
    for row in sorted(mine, key=lambda row: (_find_place(row.key, first), -row.level, row.key)):
        is_sure = row.key in first or (row.level >= SIGNED and not row.provisional)
        if is_sure and (value := open_value(row)):
            chosen[row.kind].append(RecordKey(row.key, value))
    if given is not None and given[0] in kinds:
        kind, key = given
        is_unsure = any(row.key == key.own_person_id and row.provisional for row in mine)
        if not is_unsure and all(one.own_person_id != key.own_person_id for one in chosen[kind]):
            own = sum(one.own_person_id in first for one in chosen[kind])
            chosen[kind].insert(own, key)
    return {kind: tuple(keys[:MAX_TRIED]) for kind, keys in chosen.items() if keys}


def _is_theirs(row: MapRow, person_id: str, now_ms: int) -> bool:
    return row.person_id == person_id and not row.several and row.valid_from_ms <= now_ms


def _find_place(key: str, first: Sequence[str]) -> int:
    return first.index(key) if key in first else len(first)
