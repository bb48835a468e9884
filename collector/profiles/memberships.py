"""Which audiences a person is in, and since when, as the role `activate` found it last.

Audiences know people by their id as it was when they were judged; a person's id is the own person id of one of their
identifiers. So the rows are found with the identifiers, and those of the person as they are now are taken.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

MEMBERSHIPS = """
    SELECT 'audience' AS part, toJSONString((person_id, audience, argMax(is_member, version),
        toUnixTimestamp64Milli(argMax(since, version)))) AS row
    FROM audience_members
    WHERE space_id = {space:String} AND person_id IN {keys:Array(UUID)}
    GROUP BY person_id, audience
"""


class Membership(msgspec.Struct, frozen=True):
    """That somebody is in an audience."""

    audience: str
    since_ms: int


class _Row(msgspec.Struct, frozen=True, array_like=True):
    person_id: str
    audience: str
    is_member: int
    since_ms: int


decode_membership = msgspec.json.Decoder(_Row, strict=False).decode


def settle_memberships(person_id: str, rows: Iterable[_Row]) -> tuple[Membership, ...]:
    """Return the audiences that the person is in, by name."""
    found = [row for row in rows if row.person_id == person_id and row.is_member]
    return tuple(Membership(row.audience, row.since_ms) for row in sorted(found, key=lambda row: row.audience))
