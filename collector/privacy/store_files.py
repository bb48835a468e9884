"""Files of the store that are written anew without rows: waiting for that, and until those before are off the disk.

ClickHouse deletes by writing a part again. The part before stays on the disk for seconds in the embedded engine, and
for some eight minutes on a server (`old_parts_lifetime`): only then is a row gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from collector.errors import PrivacyError, PrivacyReason
from collector.store.client import StoreClient

LOOK_S = 0.2
PATIENCE_S = 900.0


def _hear_nothing(done: int, total: int) -> None:
    """Nobody watches."""


def wait_for_mutations(
    client: StoreClient,
    tables: Sequence[str],
    tell: Callable[[int, int], None] = _hear_nothing,
    *,
    database: str = "",
) -> None:
    """Wait until these tables are written anew. `tables`: their local names; `database`: "" for ours. Raises
    PrivacyError, StoreError."""
    total = 0
    while tables:
        row = client.query_rows(
            "SELECT sum(parts_to_do) AS parts, count() AS mutations, max(latest_fail_reason) AS reason"
            " FROM system.mutations"
            " WHERE database = {database:String} AND table IN {tables:Array(String)} AND NOT is_done",
            {"database": database or client.database, "tables": list(tables)},
        )[0]
        if not int(row["mutations"]):
            return
        if row["reason"]:
            raise PrivacyError(PrivacyReason.STORE, "the store cannot write a file anew: system.mutations says why")
        total = max(total, int(row["parts"]))
        tell(total - int(row["parts"]), total)
        time.sleep(LOOK_S)


def wait_for_files(
    client: StoreClient,
    tables: Sequence[str],
    tell: Callable[[int, int], None] = _hear_nothing,
    *,
    database: str = "",
) -> None:
    """Wait until no part is on disk that was replaced before now. `tables`: as views name them; `database`: "" for
    ours.

    Raises PrivacyError where they stay for PATIENCE_S, StoreError.
    """
    local = list(tables) if database else [name_local(client, table) for table in tables]
    params = {"database": database or client.database, "tables": local}
    until = int(client.query_rows("SELECT toUnixTimestamp(now()) AS at")[0]["at"])
    deadline, total = time.monotonic() + PATIENCE_S, 0
    while True:
        row = client.query_rows(
            "SELECT count() AS parts FROM system.parts WHERE database = {database:String}"
            " AND table IN {tables:Array(String)} AND NOT active AND toUnixTimestamp(remove_time) <= {until:UInt32}",
            {**params, "until": until},
        )[0]
        left = int(row["parts"])
        if not left:
            return
        if time.monotonic() > deadline:
            raise PrivacyError(PrivacyReason.LEFT, f"{left} replaced files are still on disk: run it again")
        total = max(total, left)
        tell(total - left, total)
        time.sleep(LOOK_S)


def name_local(client: StoreClient, table: str) -> str:
    """Return the table that holds rows: on a cluster the local one, where there is one."""
    if not client.cluster:
        return table
    rows = client.query_rows(
        "SELECT count() AS found FROM system.tables WHERE database = {database:String} AND name = {name:String}",
        {"database": client.database, "name": f"{table}_local"},
    )
    return f"{table}_local" if int(rows[0]["found"]) else table
