"""Following `audience_changes`: what is new, by the time that stands in the rows, and none of it left out.

Rows do not come in the order of their times: two that write at once, clocks that differ, a replica that is behind. So
the last OVERLAP_MS are looked at again and again, each millisecond with how many rows it has: one that has got more is
read once more. Who follows so meets a change at least once; ids tell what it has had already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from collector.audiences.changes import make_change_id
from collector.store.client import StoreClient

OVERLAP_MS = 60_000
"""A row may show up this long after its time."""
MOST_MOMENTS = 100_000
"""More milliseconds than the overlap has, so that each look gets further."""
PAGE = 2_000
SETTINGS = {"max_threads": 2, "max_execution_time": 20}
_MOMENTS = """
SELECT toUnixTimestamp64Milli(at) AS at_ms, count() AS rows, toUnixTimestamp64Milli(now64(3)) AS now_ms
FROM audience_changes AS change
WHERE at >= least(fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC'), now64(3) - toIntervalMillisecond({overlap:UInt32}))
    AND ({space:String} = '' OR space_id = {space:String})
    AND (empty({audiences:Array(String)}) OR audience IN {audiences:Array(String)})
GROUP BY at_ms ORDER BY at_ms LIMIT {most:UInt32}
"""
_CHANGES = """
SELECT space_id, toString(change.change_id) AS change_id, audience, toString(change.person_id) AS person_id,
    customer_id, change, reason, toUnixTimestamp64Milli(at) AS at_ms, version
FROM audience_changes AS change
WHERE at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    AND toUnixTimestamp64Milli(at) IN {moments:Array(Int64)}
    AND (at, change.change_id) > (fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'), {after_id:UUID})
    AND ({space:String} = '' OR space_id = {space:String})
    AND (empty({audiences:Array(String)}) OR audience IN {audiences:Array(String)})
ORDER BY at, change.change_id LIMIT 1 BY at, change.change_id LIMIT {most:UInt32}
"""
_WITHDRAWALS = """
SELECT DISTINCT toString(change.change_id) AS id
FROM audience_changes AS change
WHERE space_id IN {spaces:Array(String)} AND change.change_id IN {ids:Array(UUID)} AND reason = 'consent'
"""
KEYS = 1_000
_NIL = "00000000-0000-0000-0000-000000000000"
Moment = tuple[int, int]
"""A millisecond since 1970, and how many rows it has."""


class ChangeRow(msgspec.Struct, frozen=True):
    """Somebody has entered or left, as the table has it. `change`: enter or leave. `version`: which one it is of this
    person in this audience, from 1. `customer_id`: "" where not known."""

    space_id: str
    change_id: str
    audience: str
    person_id: str
    customer_id: str
    change: str
    reason: str
    at_ms: int
    version: int

    @property
    def entering(self) -> Entering:
        """What it is, where it is an entering."""
        return Entering(self.space_id, self.audience, self.person_id, self.version)


class Entering(NamedTuple):
    """Somebody's entering, by what makes it one of its kind. `version`: as in ChangeRow."""

    space_id: str
    audience: str
    person_id: str
    version: int


def find_withdrawn(client: StoreClient, entered: Sequence[Entering]) -> set[Entering]:
    """Return those after which somebody left because they had withdrawn: nobody is to be told of them any more. Raises
    StoreError."""
    found: set[Entering] = set()
    for start in range(0, len(entered), KEYS):
        part = entered[start : start + KEYS]
        later = {make_change_id(one.space_id, one.audience, one.person_id, one.version + 1): one for one in part}
        params = {"spaces": sorted({one.space_id for one in part}), "ids": sorted(later)}
        found |= {later[row["id"]] for row in client.query_rows(_WITHDRAWALS, params, SETTINGS)}
    return found


class Follower:
    """How far somebody has followed. Belongs to whoever looks; the client is given with each question."""

    def __init__(
        self, at_ms: int, *, space_id: str = "", audiences: Sequence[str] = (), overlap_ms: int = OVERLAP_MS
    ) -> None:
        """`at_ms`: all before it, but the overlap, is known. `space_id`, `audiences`: what is looked at; empty: all."""
        self.at_ms = at_ms
        self._overlap_ms = overlap_ms
        self._seen: dict[int, int] = {}
        self._now_ms = 0
        self._terms = {"space": space_id, "audiences": list(audiences)}

    @property
    def from_ms(self) -> int:
        """Where it looks from."""
        return max(0, self.at_ms - self._overlap_ms)

    def look(self, client: StoreClient) -> list[list[Moment]]:
        """Return the moments that have rows which were not read, the oldest first, in portions of about PAGE rows.
        `note` each of them after it has been read and dealt with. Raises StoreError."""
        params = {**self._terms, "from_ms": self.from_ms, "overlap": self._overlap_ms, "most": MOST_MOMENTS}
        rows = client.query_rows(_MOMENTS, params, SETTINGS)
        self._now_ms = rows[0]["now_ms"] if rows else 0
        if rows:
            # A clock that was put back writes before what is known: what it writes from then on is looked at.
            self.at_ms = min(self.at_ms, self._now_ms)
        portions: list[list[Moment]] = []
        size = PAGE
        for row in rows:
            if row["rows"] == self._seen.get(row["at_ms"]):
                continue
            if size + row["rows"] > PAGE:
                portions.append([])
                size = 0
            portions[-1].append((row["at_ms"], row["rows"]))
            size += row["rows"]
        return portions

    def read_page(
        self, client: StoreClient, portion: Sequence[Moment], last: ChangeRow | None = None
    ) -> list[ChangeRow]:
        """Return the changes of a portion, by time, those after `last`; fewer than PAGE: there are no more. Raises
        StoreError."""
        moments = [at_ms for at_ms, _ in portion]
        params = {**self._terms, "from_ms": moments[0], "to_ms": moments[-1], "moments": moments, "most": PAGE}
        after = (last.at_ms, last.change_id) if last else (moments[0] - 1, _NIL)
        found = client.query_rows(_CHANGES, {**params, "after_ms": after[0], "after_id": after[1]}, SETTINGS)
        return msgspec.convert(found, list[ChangeRow])

    def note(self, portion: Sequence[Moment]) -> None:
        """Take note that a portion of the last look was dealt with."""
        self._seen.update(portion)
        # Not beyond now: of a clock that goes ahead nobody may learn to look past all others.
        self.at_ms = max(self.at_ms, min(portion[-1][0], self._now_ms))
        if len(self._seen) > MOST_MOMENTS or min(self._seen) < self.from_ms - self._overlap_ms:
            self._seen = {at_ms: rows for at_ms, rows in self._seen.items() if at_ms >= self.from_ms}
