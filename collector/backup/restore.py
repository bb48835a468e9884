"""Bringing a backup back: into an empty store, then without whoever was erased since it was made.

    read every piece ─► tables (views fill those that follow) ─► tombstones of the journal ─► delete ─► map anew

Nobody is in the store who was erased after the backup: the journal of erasures stands beside the backups and in the
instance's folder, and what it names is erased again before anybody can read it, as the erasing itself did it. Whoever
breaks off empties the store and begins again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from collector.backup.archive import Head, mark_secrets, read_head, read_pieces
from collector.backup.backup import Watcher
from collector.backup.keys import find_key, find_path
from collector.config import Config
from collector.copying.pause import paused_loading
from collector.copying.tables import read_tables
from collector.errors import BackupError
from collector.identity.stitching.rebuild import rebuild
from collector.keyring import Keyring
from collector.privacy.deleting import Deleting, count_rows
from collector.privacy.journal import FILE_NAME as JOURNAL_NAME
from collector.privacy.journal import find_backups, read_journal
from collector.store.client import StoreClient
from collector.store.dictionaries import DICTIONARIES, ERASED, reload_dictionaries
from collector.store.migrate import read_schema
from collector.store.writer import insert_copied, insert_rows

KEPT_TABLES = frozenset({"sites", "api_keys"})
"""A fresh instance may have these already: rows replace each other by version."""


@dataclass(slots=True)
class Restored:
    """What was done. `erased_again`: requests of the journal that were carried out again, and the rows that went."""

    head: Head
    rows: dict[str, int] = field(default_factory=dict)
    erased_again: int = 0
    rows_erased: int = 0


def restore_backup(config: Config, keyring: Keyring, client: StoreClient, path: Path, watcher: Watcher) -> Restored:
    """Bring a backup back. Raises BackupError where the store is not empty, the key is gone or the secrets are others,
    DamagedBackup, StoreError."""
    try:
        with path.open("rb") as source:
            head = read_head(source)
            _check(config, keyring, client, path, head)
            key = find_key(find_path(config), head.key_id)
            done = Restored(head)
            with paused_loading(config.data_path):
                for piece, data in read_pieces(source, head, key):
                    if piece.table not in done.rows:
                        watcher.say(piece.table)
                    insert_copied(client, piece.table, piece.columns, data)
                    done.rows[piece.table] = done.rows.get(piece.table, 0) + piece.rows
                    watcher.advance(piece.rows)
                _erase_again(config, client, path.parent, done, watcher)
                watcher.say("making the map anew")
                reload_dictionaries(client, (*DICTIONARIES, ERASED))
                rebuild(config, keyring)
    except OSError as error:
        raise BackupError(path, f"it cannot be read: {error.strerror or error}") from error
    return done


def _check(config: Config, keyring: Keyring, client: StoreClient, path: Path, head: Head) -> None:
    if head.secrets_mark != mark_secrets(keyring.pseudonym_key):
        raise BackupError(path, "it was made with other secrets: bring those of its instance back first (secrets.json)")
    schema = read_schema(client)
    if head.schema != schema:
        raise BackupError(path, f"its schema is {head.schema}, the store's is {schema}: use the version that made it")
    filled = [table.name for table in read_tables(client) if table.rows and table.name not in KEPT_TABLES]
    if filled:
        raise BackupError(path, f"the store is not empty (table {filled[0]}): bring it back into a fresh instance")


def _erase_again(config: Config, client: StoreClient, folder: Path, done: Restored, watcher: Watcher) -> None:
    """Carry out again what was erased since the backup was made."""
    carried_out = client.query_rows("SELECT toString(request_id) AS id FROM data_requests FINAL WHERE state = 'done'")
    known = {row["id"] for row in carried_out}
    places = dict.fromkeys(
        (config.data_path / JOURNAL_NAME, find_backups(config) / JOURNAL_NAME, folder / JOURNAL_NAME)
    )
    entries = [entry for entry in read_journal(places).values() if entry.request_id not in known]
    if not entries:
        return
    watcher.say("erasing again who was erased since")
    all_of_them = str(uuid4())  # at once: each delete writes files anew
    for request_id in (None, all_of_them):
        rows = [
            {"space_id": entry.space_id, "request_id": request_id or entry.request_id, **row}
            for entry in entries
            for row in entry.tombstones
        ]
        insert_rows(client, "tombstones", rows)
    counts = count_rows(client, all_of_them)
    done.erased_again = len(entries)
    done.rows_erased = sum(map(sum, counts.values()))
    has_shared = any(not row["is_whole"] for entry in entries for row in entry.tombstones)
    Deleting(client, all_of_them).delete(counts, has_shared=has_shared)
    client.command("ALTER TABLE tombstones DELETE WHERE request_id = {request:UUID}", {"request": all_of_them})
