"""Making a backup: every table that is not filled by a view on another, while loading is paused, in one sealed file.

Beacons are accepted all the time; what they bring waits in the spool until the backup is made. Merges are stopped for
the table that is being read, so that its parts stay the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from collector.backup.archive import FORMAT, ArchiveWriter, Head, Piece, mark_secrets
from collector.backup.keys import find_path, take_key
from collector.config import Config
from collector.copying.pause import await_stitch, paused_loading
from collector.copying.state import order_state
from collector.copying.tables import Table, read_tables
from collector.errors import BackupError
from collector.instance import MARKER
from collector.keyring import Keyring
from collector.privacy.journal import FILE_NAME as JOURNAL_NAME
from collector.privacy.store_files import name_local
from collector.store.client import StoreClient
from collector.store.migrate import read_schema

ROWS_PER_PIECE = 100_000
READ_SETTINGS = {"priority": 5, "max_threads": 2, "max_block_size": ROWS_PER_PIECE}
_PARTS = """
SELECT name, rows FROM system.parts
WHERE database = {database:String} AND table = {table:String} AND active ORDER BY name
"""


class Watcher(Protocol):
    """Who is told how far it is."""

    def say(self, what: str) -> None:
        """Something begins."""

    def plan(self, rows: int) -> None:
        """So many rows there are."""

    def advance(self, rows: int) -> None:
        """So many more are done."""


def make_backup(
    config: Config, keyring: Keyring, client: StoreClient, path: Path, watcher: Watcher, now_ms: int
) -> dict[str, int]:
    """Write a backup, and return the rows by table. `path` must not exist.

    Raises BackupError where it cannot be written, InstanceError where the loader does not come to rest, StoreError.
    """
    key = take_key(find_path(config), now_ms, config.backup_days)
    head = Head(
        format=FORMAT,
        backup_id=str(uuid4()),
        key_id=key.id,
        instance_id=keyring.instance_id,
        secrets_mark=mark_secrets(keyring.pseudonym_key),
        schema=read_schema(client),
        made_at_ms=now_ms,
    )
    draft = path.with_name(f".{path.name}.draft")
    rows: dict[str, int] = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise BackupError(path, "is there already: name another file")
        _copy_journal(config, path.parent)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            archive = ArchiveWriter(out, head, key)
            watcher.say("pausing the loader; beacons are accepted all the same")
            with paused_loading(config.data_path):
                await_stitch(client)
                tables = read_tables(client)
                chosen = [*order_state(tables), *(table for table in tables if table.kind == "batched")]
                watcher.plan(sum(table.rows for table in chosen))
                for table in chosen:
                    watcher.say(table.name)
                    for piece, data in read_table(client, table):
                        archive.write(piece, data)
                        rows[table.name] = rows.get(table.name, 0) + piece.rows
                        watcher.advance(piece.rows)
            archive.finish()
            out.flush()
            os.fsync(out.fileno())
        draft.rename(path)
    except OSError as error:
        raise BackupError(path, f"the backup cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return rows


def read_table(client: StoreClient, table: Table) -> Iterator[tuple[Piece, bytes]]:
    """Yield the rows of a table in pieces. Raises StoreError, BackupError where a part goes meanwhile."""
    local = name_local(client, table.name)
    place = f"{client.database}.{local}"
    on_cluster = f" ON CLUSTER `{client.cluster}`" if client.cluster else ""
    columns = ", ".join(table.columns)
    client.command(f"SYSTEM STOP MERGES{on_cluster} {place}")
    try:
        for part in client.query_rows(_PARTS, {"database": client.database, "table": local}):
            for first in range(0, int(part["rows"]), ROWS_PER_PIECE):
                wanted = min(ROWS_PER_PIECE, int(part["rows"]) - first)
                sql = (
                    f"SELECT {columns} FROM {local}"  # noqa: S608  our own names
                    " WHERE _part = {part:String} AND _part_offset >= {first:UInt64} AND _part_offset < {end:UInt64}"
                )
                params = {"part": part["name"], "first": first, "end": first + wanted}
                with client.stream(sql, params, "Native", READ_SETTINGS) as answer:
                    data = b"".join(answer)
                if not data:
                    raise BackupError(Path(table.name), "a part of the table went while it was read: make it again")
                yield Piece(table.name, table.columns, wanted), data
    finally:
        client.command(f"SYSTEM START MERGES{on_cluster} {place}")


def _copy_journal(config: Config, folder: Path) -> None:
    """Put the journal of erasures beside the backup, where it is not there yet."""
    own, other = config.data_path / JOURNAL_NAME, folder / JOURNAL_NAME
    if own.is_file() and not other.exists() and (config.data_path / MARKER).is_file():
        other.write_bytes(own.read_bytes())
        other.chmod(0o600)
