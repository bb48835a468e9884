"""Revocations and who wants no marketing as rows in the store: written one at a time, read a change at a time.

A revocation is the JSON text of its struct with a version; the highest version wins, and none is ever deleted. Who
wants no marketing is what the ledger says of each person (see `links.ledger`), under whichever name: after a rotation
of personal keys a mail address has two (see `identity.rekey`).

RuleReader is for pollers. It asks what has changed, and reads that alone: a poll where nothing did costs two looks at
numbers, however much was taken back. `changed_at` and `loaded_at` are the store's own clock; rows may become visible
a while after they were given a time, and nodes of a cluster differ, so a reader looks back OVERLAP_MS. Once an hour it
reads who wants no marketing anew: names come to be known to be one, and rows are erased.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from collector.identity.rekey import REKEY
from collector.links.ledger import LATEST_STATE
from collector.links.revocations import Revocation
from collector.links.rules import KEY_BYTES, KeySet, LinkRules, change_rows
from collector.logs import get_logger
from collector.purposes import BY_PERSON
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

TABLE = "link_revocations"
OVERLAP_MS = 600_000
MANY_KEYS = 50_000
"""More that may have changed are read with all others: as one piece of bytes, not one by one."""
ANEW_S = 3600.0

# One look at few rows, exact: what was written anew, lifted or restored from a backup shows in it.
_MARK = f"SELECT count() AS found, groupBitXor(cityHash64(id, version)) AS mark FROM {TABLE} FINAL"  # noqa: S608
_ROWS = f"SELECT id, row, version, toUnixTimestamp64Milli(changed_at) AS changed_ms FROM {TABLE} FINAL"  # noqa: S608
_SINCE = " WHERE changed_at >= fromUnixTimestamp64Milli({since:Int64})"
_SAID = f"purpose = 'marketing' AND {BY_PERSON}"
_ENTRIES = f"""
    SELECT count() AS found, toUnixTimestamp64Milli(max(loaded_at)) AS loaded_ms FROM consent_ledger
    WHERE {_SAID} AND loaded_at >= fromUnixTimestamp64Milli({{since:Int64}})
"""  # noqa: S608  our own words
_LATEST = f"{LATEST_STATE} != 'granted'"
_BYTES = "toFixedString(unhex(replaceAll(toString(key), '-', '')), 16)"
_ALL_KEYS = f"""
    SELECT {_BYTES} AS packed FROM (
        SELECT space_id, key FROM consent_ledger WHERE {_SAID}
        GROUP BY space_id, key HAVING {_LATEST})
    ORDER BY packed
"""  # noqa: S608  our own words
_CHANGED_KEYS = f"""
    SELECT {_BYTES} AS packed, {_LATEST} AS is_withdrawn FROM consent_ledger
    WHERE {_SAID} AND (space_id, key) GLOBAL IN (
        SELECT space_id, key FROM consent_ledger
        WHERE {_SAID} AND loaded_at >= fromUnixTimestamp64Milli({{since:Int64}}))
    GROUP BY space_id, key
"""  # noqa: S608  our own words
# Of names that are one, what was said last under either. There are none where personal keys never rotated.
_RENAMED_KEYS = f"""
    WITH names AS (
        SELECT DISTINCT space_id, pair.1 AS owner, pair.2 AS name FROM (
            SELECT space_id, arrayJoin([(a_key, b_key), (b_key, a_key), (a_key, a_key), (b_key, b_key)]) AS pair
            FROM identity_evidence WHERE kind = {{rekey:String}} AND op > 0))
    SELECT {_BYTES.replace("key", "owner")} AS packed, {_LATEST} AS is_withdrawn
    FROM names GLOBAL INNER JOIN (
        SELECT space_id, key, state, time, received_at, consent_id, source FROM consent_ledger
        WHERE {_SAID} AND (space_id, key) GLOBAL IN (SELECT space_id, name FROM names)
    ) AS said ON said.space_id = names.space_id AND said.key = names.name
    GROUP BY names.space_id, owner
"""  # noqa: S608  our own words


class RuleReader:
    """Reads the rules of links, anew at first and then what has changed. For one thread, as its client."""

    def __init__(
        self,
        client: StoreClient,
        rules: LinkRules = LinkRules(),  # noqa: B008  it is frozen
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with what a copy said. It stays in force until the store has answered. `clock`: in seconds."""
        self._client = client
        self._clock = clock
        self._anew_at_s = clock()
        self._has_renamed = False
        self.rules = rules
        self._mark: tuple[int, int] | None = None
        self._changed_ms = 0
        self._entries: tuple[int, int] | None = None
        self._since_ms = 0

    def read(self) -> LinkRules:
        """Return the rules as the store says: the very same object where nothing has changed. Raises StoreError."""
        self._read_revocations()
        self._read_withdrawn()
        return self.rules

    def _read_revocations(self) -> None:
        seen = self._client.query_rows(_MARK)[0]
        mark = (int(seen["found"]), int(seen["mark"]))
        if mark == self._mark:
            return
        rows, reached_ms = self.rules.rows, self._changed_ms
        if self._mark is not None:
            changed, reached_ms = self._read_rows(_ROWS + _SINCE, {"since": reached_ms - OVERLAP_MS}, reached_ms)
            rows = change_rows(rows, changed)
        if self._mark is None or len(rows) != mark[0]:
            rows, reached_ms = self._read_rows(_ROWS, {}, 0)
        self.rules = msgspec.structs.replace(self.rules, rows=rows)
        self._mark, self._changed_ms = mark, reached_ms

    def _read_rows(self, sql: str, params: dict[str, Any], reached_ms: int) -> tuple[tuple[Revocation, ...], int]:
        """Return revocations without the words that only people read, and when the last of them was written."""
        found = []
        for row in self._client.query_rows(sql, params):
            reached_ms = max(reached_ms, row["changed_ms"])
            revocation = _decode(row)
            if revocation is None:  # counted, and in force for nobody
                revocation = Revocation(row["id"], "", lifted=True)
            found.append(msgspec.structs.replace(revocation, reason="", actor="", revoked_at_ms=0))
        return tuple(found), reached_ms

    def _read_withdrawn(self) -> None:
        now_s, since_ms = self._clock(), max(0, self._since_ms - OVERLAP_MS)
        seen = self._client.query_rows(_ENTRIES, {"since": since_ms})[0]
        entries = (int(seen["found"]), int(seen["loaded_ms"]))
        is_anew = now_s >= self._anew_at_s
        if entries == self._entries and not is_anew:
            return
        if is_anew or entries[0] > MANY_KEYS:
            keys = KeySet(self._read_bytes(_ALL_KEYS, {}))
            renamed = self._read_changes(_RENAMED_KEYS, {"rekey": REKEY})
            self._has_renamed = bool(renamed)
            self._anew_at_s = now_s + ANEW_S
        else:
            keys = self.rules.withdrawn.change(self._read_changes(_CHANGED_KEYS, {"since": since_ms}))
            renamed = self._read_changes(_RENAMED_KEYS, {"rekey": REKEY}) if self._has_renamed else {}
        keys = keys.change(renamed) if renamed else keys
        if keys.packed != self.rules.withdrawn_keys:
            self.rules = msgspec.structs.replace(self.rules, withdrawn_keys=keys.packed)
        self._since_ms = max(self._since_ms, entries[1])
        # Counted from another place on than the next time: then this counts for nothing.
        self._entries = entries if since_ms == max(0, self._since_ms - OVERLAP_MS) else (-1, 0)

    def _read_changes(self, sql: str, params: dict[str, Any]) -> dict[bytes, bool]:
        """Return keys, and whether each is of somebody who wants no marketing."""
        packed, step = self._read_bytes(sql, params), KEY_BYTES + 1
        return {
            packed[place : place + KEY_BYTES]: bool(packed[place + KEY_BYTES]) for place in range(0, len(packed), step)
        }

    def _read_bytes(self, sql: str, params: dict[str, Any]) -> bytes:
        settings = {"optimize_aggregation_in_order": 1}  # the ledger lies in that order: no table of all people is made
        with self._client.stream(sql, params, "RowBinary", settings) as answer:
            return b"".join(answer)


def read_revocations(client: StoreClient, space_id: str = "") -> list[Revocation]:
    """Return all revocations of a space, or of all, lifted ones too, the newest first. Raises StoreError."""
    found = [revocation for row in client.query_rows(_ROWS) if (revocation := _decode(row)) is not None]
    chosen = [revocation for revocation in found if space_id in ("", revocation.space_id)]
    return sorted(chosen, key=lambda each: (-each.revoked_at_ms, each.revocation_id))


def write_revocation(client: StoreClient, revocation: Revocation) -> Revocation:
    """Write a revocation with its next version, and return that. Raises StoreError."""
    revocation = msgspec.structs.replace(revocation, version=revocation.version + 1)
    row = {
        "id": revocation.revocation_id,
        "row": msgspec.json.encode(revocation).decode(),
        "version": revocation.version,
    }
    insert_rows(client, TABLE, [row])
    return revocation


def _decode(row: dict[str, Any]) -> Revocation | None:
    try:
        return msgspec.structs.replace(
            msgspec.json.decode(row["row"], type=Revocation), revocation_id=row["id"], version=row["version"]
        )
    except msgspec.MsgspecError as error:
        # One damaged row must not put all other links back into force.
        get_logger().error("a revocation of links cannot be read", id=row["id"], reason=str(error))
        return None
