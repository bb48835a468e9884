"""Changes of membership: what they are called, and how they are written so that none is lost and none is told twice.

A person's state in an audience is a number: how often they have changed sides. Odd is in, even is out. So a change
follows from (space, audience, person, number) alone: whoever makes the same one writes the same id, and two who race
can never write opposite changes of one number. Written first the change, then the member's row; where a process was
killed between the two, `find_unfinished` gives the changes whose rows are missing, and these follow from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID, uuid5

import msgspec

from collector.audiences.people import SETTINGS
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

NAMESPACE = UUID("7f0c2a4e-6a6b-5c39-9d6e-0b5d3f5f2a10")
NIL = "00000000-0000-0000-0000-000000000000"
MOST_ROWS = 20_000
"""Of one insert of changes: about 5 MB."""
_STANDING = """
SELECT toString(member.person_id) AS person_id, audience, version
FROM audience_members AS member FINAL
WHERE space_id = {space:String} AND member.person_id IN {people:Array(UUID)}
"""
_WRITTEN = """
SELECT toUnixTimestamp64Milli(at) AS at_ms, count() AS rows
FROM audience_changes
WHERE at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
GROUP BY at_ms ORDER BY at_ms
"""
_CHANGES = """
SELECT space_id, toString(change.change_id) AS change_id, audience, toString(change.person_id) AS person_id,
    customer_id, change, reason, toUnixTimestamp64Milli(at) AS at_ms, version
FROM audience_changes AS change
WHERE at >= fromUnixTimestamp64Milli({at_ms:Int64}, 'UTC') AND at < fromUnixTimestamp64Milli({at_ms:Int64} + 1, 'UTC')
    AND (space_id, change.change_id) > ({space:String}, {after:UUID})
ORDER BY space_id, change.change_id LIMIT {most:UInt32}
"""


class Reason(StrEnum):
    """Why somebody was judged anew. Closed: tables, webhooks and pages use these words."""

    EVENT = "event"
    TIME = "time"
    TRAIT = "trait"
    IDENTITY = "identity"  # merged or separated
    CONSENT = "consent"
    DEFINITION = "definition"


class Change(msgspec.Struct, frozen=True):
    """Somebody has entered or left. `at_ms`: when it was written, milliseconds since 1970. `version`: odd enters."""

    space_id: str
    audience: str
    person_id: str
    customer_id: str
    reason: str
    at_ms: int
    version: int

    @property
    def change_id(self) -> str:
        """The id, which follows from who, what and the version."""
        return make_change_id(self.space_id, self.audience, self.person_id, self.version)

    @property
    def is_enter(self) -> bool:
        """Whether somebody entered."""
        return self.version % 2 == 1


Standing = Mapping[tuple[str, str], int]
"""How often somebody has changed sides, by person and audience; who is not in it never has."""


def make_change_id(space_id: str, audience: str, person_id: str, version: int) -> str:
    """Return the id of a change: the same for whoever finds it."""
    return str(uuid5(NAMESPACE, "\0".join((space_id, audience, person_id, str(version)))))


def read_standing(client: StoreClient, space_id: str, person_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return how these people stand in all audiences. A chunk of `people.KEYS` at most. Raises StoreError."""
    rows = client.query_rows(_STANDING, {"space": space_id, "people": list(person_ids)}, SETTINGS)
    return {(row["person_id"], row["audience"]): int(row["version"]) for row in rows}


def write_changes(
    client: StoreClient, changes: Sequence[Change], before_write: Callable[[str], None] = lambda _: None
) -> None:
    """Write changes, then the members' rows. `before_write` hears the table's name before each; for tests.

    May be repeated with the same changes. Raises StoreError.
    """
    for start in range(0, len(changes), MOST_ROWS):
        part = changes[start : start + MOST_ROWS]
        before_write("audience_changes")
        insert_rows(client, "audience_changes", [_make_row(change) for change in part])
        write_members(client, part, before_write)


def write_members(
    client: StoreClient, changes: Iterable[Change], before_write: Callable[[str], None] = lambda _: None
) -> None:
    """Write the members' rows that follow from changes. Raises StoreError."""
    before_write("audience_members")
    rows = [
        {
            "space_id": change.space_id,
            "person_id": change.person_id,
            "audience": change.audience,
            "is_member": int(change.is_enter),
            "since": _write_time(change.at_ms),
            "change_id": change.change_id,
            "version": change.version,
        }
        for change in changes
    ]
    insert_rows(client, "audience_members", rows)


def list_moments(client: StoreClient, from_ms: int, to_ms: int) -> dict[int, int]:
    """Return in which milliseconds changes were written, `to_ms` excluded, and how many in each. Raises StoreError."""
    rows = client.query_rows(_WRITTEN, {"from_ms": from_ms, "to_ms": to_ms}, SETTINGS)
    return {int(row["at_ms"]): int(row["rows"]) for row in rows}


def read_moment(client: StoreClient, at_ms: int, after: Change | None = None, most: int = 1_000) -> list[Change]:
    """Return changes that were written in this millisecond, a page of them, those behind `after`. Raises StoreError."""
    space_id, change_id = (after.space_id, after.change_id) if after else ("", NIL)
    params = {"at_ms": at_ms, "most": most, "space": space_id, "after": change_id}
    rows = client.query_rows(_CHANGES, params, SETTINGS)
    return [
        Change(
            space_id=row["space_id"],
            audience=row["audience"],
            person_id=row["person_id"],
            customer_id=row["customer_id"],
            reason=row["reason"],
            at_ms=int(row["at_ms"]),
            version=int(row["version"]),
        )
        for row in rows
    ]


def find_unfinished(client: StoreClient, changes: Sequence[Change]) -> list[Change]:
    """Return those of these changes whose members' rows are missing: a page of `read_moment`. Raises StoreError."""
    unfinished = []
    for space_id in {change.space_id for change in changes}:
        mine = [change for change in changes if change.space_id == space_id]
        standing = read_standing(client, space_id, sorted({change.person_id for change in mine}))
        unfinished += [c for c in mine if c.version > standing.get((c.person_id, c.audience), 0)]
    return unfinished


def _make_row(change: Change) -> dict[str, object]:
    return {
        "space_id": change.space_id,
        "change_id": change.change_id,
        "audience": change.audience,
        "person_id": change.person_id,
        "customer_id": change.customer_id,
        "change": "enter" if change.is_enter else "leave",
        "reason": change.reason,
        "at": _write_time(change.at_ms),
        "version": change.version,
    }


def _write_time(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"
