"""What a rebuild changes: what stood, slice by slice, compared with what `resolve` says, and written in large pieces.

Invariants: each row of the map is compared once, with the slice that its identifier is in; a row whose identifier no
evidence names any more goes. Rows of one slice are written together, the map last. Used by several threads at once,
each with a client of its own. Imports pyarrow: only rebuild imports this module, and late.
"""

from __future__ import annotations

import threading

import pyarrow as pa

from collector.identity.bulk.columns import ResolutionColumns
from collector.identity.bulk.ids import write_numbers
from collector.identity.stitching.slices import Slices
from collector.identity.stitching.standing_columns import (
    FORMS,
    GUARD_LOG,
    MAP_FORM,
    MERGE_LOG,
    Form,
    TableChange,
    add_entries,
    compare_table,
    leave_known,
    name_entries,
    pick,
    read_log,
    read_table,
    write_table,
)
from collector.store.client import StoreClient

LOGS = (GUARD_LOG, MERGE_LOG)
ENOUGH_ROWS = 1_000_000
"""Of the map, to be written: each piece becomes a part, and the engine merges few large ones sooner than many."""


class SpaceChanges:
    """The changes of one space. `map_rows`, `differing` (by table) and `logged` count them."""

    def __init__(self, client: StoreClient, space_id: str, slices: Slices, version: int, *, dry_run: bool) -> None:
        """Read what stands. Raises StoreError."""
        self._space_id = space_id
        self._version = version
        self._dry_run = dry_run
        self._standing = {form.table: read_table(client, form, space_id) for form in FORMS}
        self._parts = {
            form.table: slices.part(self._standing[form.table][form.names[0]])
            for form in FORMS
            if self._standing[form.table].num_rows
        }
        self._rest = len(slices)
        self._known = {table: read_log(client, table, space_id) for table in LOGS}
        self._lock = threading.Lock()
        self._waiting: list[tuple[list[TableChange], list[pa.Table]]] = []
        self._waiting_rows = 0
        self.map_rows = 0
        self.differing = {form.table: 0 for form in FORMS}
        self.logged = 0

    def take(self, client: StoreClient, number: int, resolution: ResolutionColumns) -> None:
        """Take what `resolve` says of a slice, and write what differs once there is enough of it. Raises StoreError."""
        changes = [compare_table(form, pick(form, resolution), self._get(form, number)) for form in FORMS]
        said = (resolution.guards, resolution.merges)
        entries = [
            leave_known(name_entries(table, each), self._known[table]) for table, each in zip(LOGS, said, strict=True)
        ]
        with self._lock:
            self.map_rows += resolution.map_rows.num_rows
            self._count(changes, entries)
            full = self._waiting_rows >= ENOUGH_ROWS
            pieces = self._pop() if full else []
        self._write(client, pieces)

    def finish(self, client: StoreClient) -> None:
        """Let go of what no evidence names, and write what is left. Raises StoreError."""
        changes = []
        for form in FORMS:
            gone = self._get(form, self._rest)
            changes.append(TableChange(form, form.schema.empty_table(), gone.select(form.names)))
        with self._lock:
            self._count(changes, [])
            pieces = self._pop()
        self._write(client, pieces)

    def _get(self, form: Form, number: int) -> pa.Table:
        """Return what stands of a slice."""
        table = self._standing[form.table]
        if not table.num_rows:
            return table
        return table.take(write_numbers(self._parts[form.table][number]))

    def _count(self, changes: list[TableChange], entries: list[pa.Table]) -> None:
        for change in changes:
            self.differing[change.form.table] += change.size
        if self._dry_run:
            return
        self.logged += sum(each.num_rows for each in entries)
        self._waiting.append((changes, entries))
        self._waiting_rows += sum(change.size for change in changes if change.form is MAP_FORM)

    def _pop(self) -> list[tuple[list[TableChange], list[pa.Table]]]:
        pieces, self._waiting, self._waiting_rows = self._waiting, [], 0
        return pieces

    def _write(self, client: StoreClient, pieces: list[tuple[list[TableChange], list[pa.Table]]]) -> None:
        if not pieces:
            return
        for place, form in enumerate(FORMS):
            changes = [changes[place] for changes, _ in pieces]
            rows, gone = (pa.concat_tables([getattr(each, name) for each in changes]) for name in ("rows", "gone"))
            write_table(client, self._space_id, TableChange(form, rows.unify_dictionaries(), gone), self._version)
        for place, table in enumerate(LOGS):
            entries = [entries[place] for _, entries in pieces if entries]
            if entries:
                joined = pa.concat_tables(entries).unify_dictionaries()
                add_entries(client, table, self._space_id, joined, self._version)
