"""Blocks: identifiers that a space says name nobody, and the policy of a space with them in it.

A blocked identifier is one like `null` or `guest`: its evidence stays, ties nobody, and stands in the guard log. The
row in `identity_blocks` is written before the evidence row (kind `block`, it never stands) that makes stitch look at
the identifier; stitch reads the rows anew with each step, so whoever sees the one has seen the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import msgspec

from collector.config import Config
from collector.event import NIL_ID, EvidenceRow
from collector.identity.names import Identifier, expand_blocked
from collector.identity.policy import Policy, make_policy
from collector.identity.selection import BLOCK, Statement
from collector.sites.rows import read_sites
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

_COLUMNS = """
    SELECT toString(blocks.key) AS key, kind, value, blocked, reason, actor, toUnixTimestamp64Milli(at) AS at_ms
    FROM identity_blocks AS blocks FINAL
    WHERE space_id = {space:String}
"""


class Block(msgspec.Struct, frozen=True):
    """An identifier that is blocked, or that was let go. `at_ms`: milliseconds since 1970."""

    key: str
    kind: str
    value: str
    blocked: int
    reason: str = ""
    actor: str = ""
    at_ms: int = 0


def read_blocked(client: StoreClient, space_id: str) -> frozenset[str]:
    """Return the own person ids of the identifiers that a space has blocked, under all their names.

    Raises StoreError.
    """
    rows = client.query_rows(
        "SELECT toString(blocks.key) AS key FROM identity_blocks AS blocks FINAL"
        " WHERE space_id = {space:String} AND blocked = 1",
        {"space": space_id},
    )
    return expand_blocked(client, space_id, (row["key"] for row in rows))


def list_blocks(client: StoreClient, space_id: str) -> list[Block]:
    """Return what a space has blocked, the newest first. Raises StoreError."""
    rows = client.query_rows(f"{_COLUMNS} AND blocked = 1 ORDER BY at DESC, key LIMIT 10000", {"space": space_id})
    return [Block(**row) for row in rows]


def read_blocks(client: StoreClient, space_id: str, keys: Sequence[str]) -> list[Block]:
    """Return the last word about each of these identifiers. Raises StoreError."""
    if not keys:
        return []
    rows = client.query_rows(
        f"{_COLUMNS} AND blocks.key IN {{keys:Array(UUID)}} ORDER BY key",
        {"space": space_id, "keys": list(keys)},
    )
    return [Block(**row) for row in rows]


def write_blocks(client: StoreClient, space_id: str, blocks: list[Block]) -> None:
    """Write blocks; of one identifier the last one written counts. Raises StoreError."""
    if not blocks:
        return
    sql = "SELECT max(version) AS last FROM identity_blocks WHERE space_id = {space:String}"
    version = int(client.query_rows(sql, {"space": space_id})[0]["last"]) + 1
    rows = []
    for block in blocks:
        fields = msgspec.structs.asdict(block)
        at_ms = fields.pop("at_ms")
        rows.append({**fields, "space_id": space_id, "at": at_ms / 1000, "version": version})
    insert_rows(client, "identity_blocks", rows)


def read_policy(client: StoreClient, config: Config, space_id: str) -> Policy:
    """Return the policy of a space as it is now: its sites' kinds, and what it has blocked. Raises StoreError."""
    sites = [site for site in read_sites(client) if site.space_id == space_id]
    return make_policy(config, sites, read_blocked(client, space_id))


def touch(identifier: Identifier, space_id: str, actor: str, now_ms: int) -> Statement:
    """Return the row that makes stitch look at an identifier anew. It ties nothing, to `resolve` least of all."""
    row = EvidenceRow(
        evidence_id=str(uuid4()),
        kind=BLOCK,
        level=0,
        a_kind=identifier.kind,
        a_value=identifier.value,
        a_key=identifier.key,
        b_kind=identifier.kind,
        b_value=identifier.value,
        b_key=identifier.key,
        b_unique=0,
        source="operator",
        proof="server",
        time_ms=now_ms,
        event_id=NIL_ID,
        actor=actor,
        op=-1,
    )
    return Statement(row, space_id, received_at_ms=now_ms)
