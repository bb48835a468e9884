"""States of people: who was erased, and whose data are kept but must not be used (restricted).

A state is said of identifiers, and of a person's own id, by their own person ids; who sets one says it of all that are
the person's. It holds for whoever such an identifier belongs to now, so that it stays through merges. Nobody here is
told of somebody erased or restricted, not that there are traits, and not to whom they belonged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum

import msgspec

from collector.store.client import StoreClient
from collector.store.writer import insert_rows

STATES = """
SELECT 'state' AS part, toJSONString((said.key, state, version, is_deleted)) AS row
FROM person_states AS said
WHERE space_id = {space:String} AND said.key IN {keys:Array(UUID)}
"""


class State(StrEnum):
    """What was said of somebody."""

    ERASED = "erased"
    RESTRICTED = "restricted"


class StateRow(msgspec.Struct, frozen=True, array_like=True):
    """A row of `person_states`, one of its versions."""

    key: str
    state: str
    version: int
    is_deleted: int


decode_state = msgspec.json.Decoder(StateRow, strict=False).decode


def set_state(
    client: StoreClient, space_id: str, keys: Collection[str], state: State | None, *, now_ms: int, since_ms: int = 0
) -> None:
    """Say a state of somebody, or with None that none holds any more; the latest `now_ms` stands. `keys`: own person
    ids of all their identifiers, and their person id. `since_ms`: from when on; 0: from now. Raises StoreError."""
    rows = [
        {
            "space_id": space_id,
            "key": key,
            "state": str(state or State.RESTRICTED),
            "since": (since_ms or now_ms) / 1000,
            "version": now_ms,
            "is_deleted": int(state is None),
        }
        for key in sorted(set(keys))
    ]
    insert_rows(client, "person_states", rows)


def read_states(client: StoreClient, space_id: str, keys: Collection[str]) -> dict[str, State]:
    """Return the states of those identifiers that have one, by own person id. Raises StoreError."""
    if not keys:
        return {}
    rows = client.query_rows(STATES, {"space": space_id, "keys": sorted(set(keys))})
    return keep_states(decode_state(row["row"]) for row in rows)


def keep_states(rows: Iterable[StateRow]) -> dict[str, State]:
    """Return what holds, by own person id: of each the latest version."""
    latest: dict[str, StateRow] = {}
    for row in rows:
        if row.key not in latest or row.version >= latest[row.key].version:
            latest[row.key] = row
    return {key: State(row.state) for key, row in latest.items() if not row.is_deleted}


def find_state(states: Iterable[State]) -> State | None:
    """Return what holds of somebody of whom all this is said: erased is more than restricted."""
    return min(states, default=None)
