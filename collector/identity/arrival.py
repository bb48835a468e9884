"""Arrival: the way of an operator's evidence into the map, through the spool like all evidence, and waiting for it.

Rows become lines of a spool folder that the host's loader drains; the list of batches shows them to stitch. Where they
are is known from their own keys, so nothing has to be remembered while they are on their way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from collector.config import Config
from collector.event import LandingRow
from collector.identity.difference import Moved
from collector.identity.selection import Statement
from collector.spool.writer import SpoolWriter
from collector.store.client import StoreClient

FOLDER_NAME = "repair"
PIECES_PER_LINE = 200
KEYS_COMPARED = 200
LOOK_S = 0.1
LOCK_PATIENCE_S = 10.0

_encode = msgspec.json.Encoder().encode


def make_lines(statements: Iterable[Statement], now_ms: int) -> list[bytes]:
    """Return the lines of the spool for these rows, in their order where they share site and visitor.

    They are received now, whatever they say and whenever what they take back came in.
    """
    rows: list[LandingRow] = []
    for statement in statements:
        last = rows[-1] if rows else None
        place = (statement.space_id, statement.site_id, statement.visitor_id)
        if (
            last is None
            or (last.space_id, last.site_id, last.visitor_id) != place
            or len(last.evidence) >= PIECES_PER_LINE
        ):
            space_id, site_id, visitor_id = place
            last = LandingRow(received_at_ms=now_ms, site_id=site_id, space_id=space_id, visitor_id=visitor_id)
            rows.append(last)
        last.evidence.append(statement.row)
    return [_encode(row) for row in rows]


async def spool_lines(config: Config, lines: Sequence[bytes]) -> None:
    """Write lines into a folder of the spool that commands share, as one. Raises SpoolError, InstanceBusy, OSError."""
    writer = open_spool(config)
    try:
        await writer.append_all(lines)
    finally:
        writer.close()


def open_spool(config: Config) -> SpoolWriter:
    """Take the folder of the spool that commands write to; another command has it for a moment at most."""
    folder: Path = config.data_path / "spool" / FOLDER_NAME
    return SpoolWriter(
        folder,
        segment_bytes=config.segment_bytes,
        segment_age_s=config.segment_age_s,
        max_spool_bytes=config.max_spool_bytes,
        min_free_bytes=config.min_free_bytes,
        durability=config.durability,
        lock_patience_s=LOCK_PATIENCE_S,
    )


def wait_for_map(
    client: StoreClient,
    statements: Sequence[Statement],
    moved: Sequence[Moved],
    timeout_s: float,
    *,
    tell: Callable[[str], None] = lambda stage: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait until these rows are loaded, stitched and seen by readers. Returns whether that came in time.

    `moved`: identifiers that ought to change hands; readers see them when the dictionary agrees with the map. `tell`
    hears `loading`, `stitching` and `publishing`, each once. Raises StoreError.
    """
    if not statements:
        return True
    deadline = clock() + timeout_s
    batch: dict[str, Any] | None = None
    stage = ""

    def enter(name: str) -> None:
        nonlocal stage
        if stage != name:
            stage = name
            tell(name)

    while True:
        if batch is None:
            enter("loading")
            batch = _find_batch(client, statements[-1])
        if batch is not None and stage != "publishing":
            enter("stitching")
            if _is_stitched(client, batch):
                enter("publishing")
        if stage == "publishing" and _is_published(client, statements[-1].space_id, moved):
            return True
        if clock() >= deadline:
            return False
        sleep(LOOK_S)


def _find_batch(client: StoreClient, last: Statement) -> dict[str, Any] | None:
    """Return the batch with a row, once it is loaded. Lines of one writer are loaded in their order."""
    rows = client.query_rows(
        "SELECT batch_host AS host, max(batch_seq) AS seq FROM identity_evidence AS evidence"
        " WHERE space_id = {space:String} AND evidence.a_key = {key:UUID} AND evidence_id = {id:String}"
        " AND op = {op:Int8} GROUP BY host LIMIT 1",
        {"space": last.space_id, "key": last.row.a_key, "id": last.row.evidence_id, "op": last.row.op},
    )
    return rows[0] if rows else None


def _is_stitched(client: StoreClient, batch: dict[str, Any]) -> bool:
    rows = client.query_rows("SELECT max(seq) AS seq FROM stitch_progress WHERE host = {host:String}", batch)
    return int(rows[0]["seq"]) >= int(batch["seq"])


def _is_published(client: StoreClient, space_id: str, moved: Sequence[Moved]) -> bool:
    """Whether the dictionary says of these identifiers what the map says. Of very many a part is looked at."""
    keys = [item.key for item in moved[:KEYS_COMPARED]]
    if not keys:
        return True
    rows = client.query_rows(
        f"""
        SELECT count() AS differing
        FROM (SELECT arrayJoin({{keys:Array(UUID)}}) AS key) AS wanted
        LEFT JOIN (SELECT key, person_id, several FROM identity_map FINAL
            WHERE space_id = {{space:String}} AND key IN {{keys:Array(UUID)}}) AS map ON map.key = wanted.key
        WHERE dictGetOrDefault('{client.database}.identity', 'person_id', cityHash64(wanted.key), wanted.key)
                != if(map.person_id = toUUID('00000000-0000-0000-0000-000000000000'), wanted.key, map.person_id)
            OR map.several
                != (dictGet('{client.database}.identity', 'valid_from', cityHash64(wanted.key)) > '2299-01-01')
        """,  # noqa: S608  the database's name is a setting
        {"space": space_id, "keys": keys},
    )
    return int(rows[0]["differing"]) == 0
