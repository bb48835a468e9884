"""The log of looks at profiles: written by commands here, by the API through the spool, and read by operators.

Who looked stands in the table alone and not in the view: readers see that somebody did. No clear value is in it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import uuid4

from collector.event import NIL_ID
from collector.profiles.profile import Part, Profile, Unknown, Withheld
from collector.profiles.states import State
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

COMMAND = "command"
"""The way of a look that no request asked for."""

_READS = """
    SELECT toUnixTimestamp64Milli(at) AS at_ms, actor, way, found, personal, parts, toString(key) AS own_person_id,
        toString(looks.person_id) AS person_id
    FROM profile_reads AS looks FINAL
    WHERE space_id = {space:String} AND ({actor:String} = '' OR actor = {actor:String})
        AND ({key:String} = '' OR has({keys:Array(UUID)}, key) OR has({keys:Array(UUID)}, looks.person_id))
    ORDER BY at DESC, read_id
    LIMIT {limit:UInt32}
"""


def note_read(
    client: StoreClient,
    space_id: str,
    key: str,
    found: Profile | Unknown | Withheld,
    actor: str,
    parts: Collection[Part],
    *,
    personal: bool,
    now_ms: int,
) -> None:
    """Write a look down before anything is shown. `key`: own person id of what was asked for. Raises StoreError."""
    row: dict[str, Any] = {
        "space_id": space_id,
        "at": now_ms / 1000,
        "read_id": str(uuid4()),
        "key": key,
        "person_id": NIL_ID,
        "actor": actor,
        "way": COMMAND,
        "parts": "",
        "personal": 0,
        "found": "unknown",
        "batch_host": "",
        "batch_seq": 0,
    }
    if isinstance(found, Profile):
        row |= {"person_id": found.person_id, "found": "merged" if found.merged_from else "known"}
        row |= {"parts": ",".join(sorted(parts)), "personal": int(personal)}
    elif isinstance(found, Withheld):
        row |= {"person_id": found.person_id if found.state is State.RESTRICTED else NIL_ID, "found": str(found.state)}
    insert_rows(client, "profile_reads", [row])


def list_reads(client: StoreClient, space_id: str, *, key: str, actor: str, limit: int) -> list[dict[str, Any]]:
    """Return the newest looks first. `key`: own person id of an identifier whose person was looked at, by any of their
    identifiers; "": anybody's. `actor`: whose looks; "": everybody's. Raises StoreError."""
    return client.query_rows(
        _READS,
        {"space": space_id, "key": key, "keys": _find_names(client, space_id, key), "actor": actor, "limit": limit},
    )


def _find_names(client: StoreClient, space_id: str, key: str) -> list[str]:
    """Return the identifier and its person as the map has them now."""
    if not key:
        return []
    sql = "SELECT toString(dictGetOrDefault('{0}.identity', 'person_id', cityHash64({{key:UUID}}), {{key:UUID}})) AS id"
    found = client.query_rows(sql.format(client.database), {"key": key})
    return sorted({key, *(row["id"] for row in found)})
