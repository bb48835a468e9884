"""Moves an embedded instance to a ClickHouse server, while the collector runs.

    prepare   schema at the target (migrate); it must be empty, unless this copy filled it
    follow    batched tables piece by piece, again until little is left; loading goes on (see `pieces`)
    finish    loading is paused, the rest and the tables of state are copied, everything is compared

After `finish` loading stays paused and both stores hold the same. Host, numbers and list of the batches are the same
there, and the journal of the loader has no unsettled batch: pointed at the target, it goes on with the next number.

Nothing at the source is changed at any time. A copy that was killed is started again with the same words.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from collector.config import Config
from collector.copying.compare import Difference, compare_tables
from collector.copying.pause import await_stitch, paused_loading
from collector.copying.pieces import PieceCopier, read_bounds
from collector.copying.record import CopyRecord, Piece
from collector.copying.state import copy_state, order_state
from collector.copying.tables import Table, read_tables
from collector.errors import ConfigError, InstanceError
from collector.keyring import Keyring
from collector.store.client import open_client
from collector.store.dictionaries import reload_dictionaries
from collector.store.dsn import read_dsn
from collector.store.migrate import check_landing, migrate

CAUGHT_UP_ROWS = 50_000
"""With fewer rows left the copy has caught up: the rest is a matter of a second or two."""
MOST_ROUNDS = 20


class Watcher(Protocol):
    """Whoever shows how the copy goes."""

    def plan(self, table: Table, rows: int) -> None:
        """Hear how many rows of the table come next."""

    def advance(self, table: Table, rows: int, size: int) -> None:
        """Hear that rows were copied, in so many bytes."""

    def say(self, text: str) -> None:
        """Hear of a step."""


@dataclass(slots=True)
class Copied:
    """What a run has done. `rows` by table; `left`: rows that came meanwhile; `differences`: after a comparison."""

    rows: dict[str, int] = field(default_factory=dict)
    left: int = 0
    compared: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    is_stitched: bool = True
    paused_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Size:
    """What there is to copy of a table, and what is there already."""

    table: Table
    target_rows: int


class Move:
    """One instance, one target. Use it as a context; it belongs to one thread."""

    def __init__(self, config: Config, keyring: Keyring, dsn: str, watcher: Watcher) -> None:
        """`config`: the instance's, embedded; a `cluster` in it is the target's. Raises ConfigError, StoreError."""
        if not config.is_embedded:
            raise ConfigError("dsn", "configuration", "this instance is on a server already: move that with ClickHouse")
        address = read_dsn(dsn, config.database)
        self.place = f"{address.host}:{address.port}/{address.database}"
        self._data = config.data_path
        self._target_config = msgspec.structs.replace(config, dsn=dsn)
        self._keyring = keyring
        self._watcher = watcher
        self._source = open_client(msgspec.structs.replace(config, cluster=""), keyring, "writer")
        here = self._source.address
        if (here.host, here.port, here.database) == (address.host, address.port, address.database):
            raise ConfigError("--to", "command line", "that is the instance's own engine: name another server")
        self._target = open_client(self._target_config, keyring, "writer")

    def __enter__(self) -> Move:
        return self

    def __exit__(self, *exception: object) -> None:
        self._source.close()
        self._target.close()

    def measure(self) -> list[Size]:
        """Return what there is to copy, without changing anything. Raises StoreError."""
        check_landing(self._source)
        there = _count_rows(self._target_config, self._keyring)
        return [Size(table, there.get(table.name, 0)) for table in read_tables(self._source)]

    def follow(self, record: CopyRecord) -> Copied:
        """Copy what is settled, again and again until little is left. Loading goes on. Raises StoreError."""
        done = Copied()
        tables = self._prepare(record)
        copier = PieceCopier(self._source, self._target, record)
        for _ in range(MOST_ROUNDS):
            copied = self._copy_batched(copier, tables, done, read_bounds(self._source))
            if copied < CAUGHT_UP_ROWS:
                break
        bounds = read_bounds(self._source)
        done.left = sum(rows for table in tables if table.kind == "batched" for _, rows in copier.plan(table, bounds))
        return done

    def finish(self, record: CopyRecord) -> Copied:
        """Follow, then pause loading, copy the rest and compare. Loading stays paused if both are the same.

        Raises StoreError, InstanceError; then, and where something differs, loading goes on with the old store.
        """
        done = self.follow(record)
        self._watcher.say("pausing the loader; beacons are accepted all the same")
        began = time.monotonic()
        with paused_loading(self._data) as pause:
            done.is_stitched = await_stitch(self._source)
            tables = self._prepare(record)
            self._copy_batched(PieceCopier(self._source, self._target, record), tables, done, None)
            for table in order_state(tables):
                self._watcher.plan(table, table.rows)
                for size in copy_state(self._source, self._target, table):
                    self._watcher.advance(table, 0, size)
                self._watcher.advance(table, table.rows, 0)
                done.rows[table.name] = table.rows
            reload_dictionaries(self._target)
            self._watcher.say("comparing")
            for table, rows, differences in compare_tables(self._source, self._target, tables):
                done.compared[table.name] = rows
                done.differences += differences
            if not done.differences:
                record.keep(finished_at_ms=time.time_ns() // 1_000_000)
                pause.is_kept = True
        done.paused_s = time.monotonic() - began
        return done

    def _prepare(self, record: CopyRecord) -> list[Table]:
        """Make the schema at the target and see that nobody else's rows are there. Returns the tables."""
        check_landing(self._source)
        migrate(self._target_config, self._keyring)
        tables = read_tables(self._source)
        if record.is_new:
            there = {table.name: table.rows for table in read_tables(self._target)}
            for table in tables:
                if there.get(table.name, 0):
                    raise InstanceError(
                        self._data,
                        f"the target {self.place} holds rows already (table {table.name}, {there[table.name]}): "
                        "empty its database, or name another one",
                    )
            record.keep()
            record.is_new = False
        return tables

    def _copy_batched(
        self, copier: PieceCopier, tables: list[Table], done: Copied, bounds: dict[str, int] | None
    ) -> int:
        copied = 0
        for table in tables:
            if table.kind != "batched":
                continue
            pieces: list[tuple[Piece, int]] = copier.plan(table, bounds)
            self._watcher.plan(table, sum(rows for _, rows in pieces))
            for piece, rows in pieces:
                for size in copier.copy(table, piece):
                    self._watcher.advance(table, 0, size)
                self._watcher.advance(table, rows, 0)
                copied += rows
                done.rows[table.name] = done.rows.get(table.name, 0) + rows
        return copied


def _count_rows(config: Config, keyring: Keyring) -> dict[str, int]:
    """Return the rows by table of a target that may not have our database yet."""
    database = read_dsn(config.dsn, config.database).database
    with open_client(config, keyring, "writer", database="default") as client:
        rows = client.query_rows(
            "SELECT name, coalesce(total_rows, 0) AS n FROM system.tables WHERE database = {database:String}",
            {"database": database},
        )
    return {row["name"]: int(row["n"]) for row in rows}
