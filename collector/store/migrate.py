"""Brings the store's schema to this program's version, and tells the loader whether it may load.

`schema_migrations` lists what was carried out, with the checksum of its source. A migration that broke off is
carried out again from its first statement: every statement may be repeated (a test holds that). ClickHouse has no
transaction around DDL, so a table is the lock: CREATE TABLE succeeds for one migrator only. While `schema_lock`
stands, `check_landing` refuses to load: no view changes under a batch. A lock whose holder is dead is taken over.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from collector.config import Config
from collector.errors import SchemaError, StoreError
from collector.keyring import Keyring
from collector.logs import get_logger
from collector.store.client import StoreClient, encode_rows, open_client
from collector.store.rendering import Migration, Target, find_target, list_views, quote_text, read_migrations, render

TABLE_EXISTS = 57
UNKNOWN_TABLE = 60
UNKNOWN_DATABASE = 81
LOCK_AGE_S = 600  # a lock of another host is given up for dead after this
LOCK_WAIT_S = 60.0
SETTLE_S = 2.0  # between the loader's look at the lock and its insert lies less than this

_one_at_a_time = threading.Lock()  # in this process; so a lock that bears our own pid is a left-over

FOUNDATION = """
CREATE DATABASE IF NOT EXISTS @database @on_cluster ENGINE = Atomic;

CREATE TABLE IF NOT EXISTS @name(schema_migrations) @on_cluster
(
    version UInt32 COMMENT 'Number of the migration',
    name String COMMENT 'Its name',
    checksum String COMMENT 'SHA-256 of its source',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was carried out'
)
ENGINE = @engine_everywhere(schema_migrations, ReplacingMergeTree, applied_at)
ORDER BY version
SETTINGS @no_deduplication
COMMENT 'What was done to this schema, and from which source';
"""


@dataclass(frozen=True, slots=True)
class Migrated:
    """What `migrate` did: labels of migrations, the schema's version after it, and the statements."""

    applied: tuple[str, ...]
    version: int
    statements: tuple[str, ...] = field(default=(), repr=False)


def migrate(config: Config, keyring: Keyring, *, grants: bool = False, dry_run: bool = False) -> Migrated:
    """Carry out what is missing. One question where nothing is.

    `grants`: also make the users and rights of reader and analyst, on a ClickHouse server. `dry_run`: carry out
    nothing, return the statements. Raises SchemaError for a newer schema, a changed migration, a lock that stays;
    StoreUnavailable where the store is away.
    """
    from collector.store.grants import render_grants

    target = find_target(config)
    if dry_run:
        target = replace(target, password="[hidden]")  # noqa: S106 - what is shown instead of it
    if grants and target.form == "embedded":
        raise SchemaError("the embedded engine has its rights built in: --grants is for a ClickHouse server (dsn)")
    # Our own database may not be there yet, so names are qualified and the session stands in `default`.
    with open_client(config, keyring, "writer", database="default") as client:
        pending = find_pending(read_applied(client, target))
        statements = [statement for migration in pending for statement in render(migration.source, target)]
        rights = render_grants(target, keyring, config) if grants else []
        if dry_run:
            return Migrated(tuple(m.label for m in pending), _latest(), (*statements, *rights))
        if pending:
            _carry_out(client, target)
        for statement in rights:
            client.command(statement)
        return Migrated(tuple(m.label for m in pending), _latest(), tuple(statements))


def read_applied(client: StoreClient, target: Target) -> dict[int, str]:
    """Return the checksum by number of what was carried out; empty for a store without our schema."""
    try:
        rows = client.query_rows(
            "SELECT version, checksum FROM {database:Identifier}.schema_migrations FINAL", {"database": target.database}
        )
    except StoreError as error:
        if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
            return {}
        raise
    return {int(row["version"]): str(row["checksum"]) for row in rows}


def read_schema(client: StoreClient) -> int:
    """Return the number of the last migration that was carried out. Raises StoreError."""
    return int(client.query_rows("SELECT max(version) AS version FROM schema_migrations")[0]["version"])


def find_pending(applied: dict[int, str]) -> list[Migration]:
    """Return the migrations to carry out, in order.

    Raises SchemaError where the store knows a migration that we do not, or carried out another source than ours.
    """
    known = {migration.version: migration for migration in read_migrations()}
    if unknown := sorted(applied.keys() - known.keys()):
        raise SchemaError(
            f"the store has schema version {unknown[-1]}, this program knows up to {max(known)}: update tagstitch"
        )
    for version, checksum in applied.items():
        if checksum != known[version].checksum:
            raise SchemaError(
                f"migration {known[version].label} was carried out with other content than this program has: "
                "run the version that made this store, and never edit a migration that was released"
            )
    return [migration for version, migration in sorted(known.items()) if version not in applied]


def check_landing(client: StoreClient) -> None:
    """Make sure that a batch put into `landing` arrives everywhere: the loader calls this before each batch.

    One question to system tables, a few milliseconds. Raises SchemaError where the schema is of another version,
    a migration is under way, or a view on the way is missing: a Null table without its views accepts and loses rows.
    """
    target = Target("cluster" if client.cluster else "single", client.database, client.cluster)
    try:
        row = client.query_rows(
            "SELECT (SELECT max(version) FROM schema_migrations) AS version,"
            " (SELECT groupArray(name) FROM system.tables WHERE database = {database:String}"
            "   AND (engine = 'MaterializedView' OR name = 'schema_lock')) AS names",
            {"database": client.database},
        )[0]
    except StoreError as error:
        if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
            raise SchemaError("the store has no schema yet: run `tagstitch migrate`") from error
        raise
    names = set(row["names"])
    if "schema_lock" in names:
        raise SchemaError("a migration is under way: loading waits for it")
    if row["version"] != _latest():
        raise SchemaError(
            f"the store has schema version {row['version']}, this program wants {_latest()}: run `tagstitch migrate`"
        )
    if missing := sorted(list_views(target) - names):
        raise SchemaError(f"views are missing, batches would be lost: {', '.join(missing)}; restore them, then go on")


def _latest() -> int:
    return read_migrations()[-1].version


def _carry_out(client: StoreClient, target: Target) -> None:
    log = get_logger()
    for statement in render(FOUNDATION, target):
        client.command(statement)
    with _one_at_a_time, _hold_lock(client, target):
        # Another migrator may have been faster while we waited.
        applied = read_applied(client, target)
        pending = find_pending(applied)
        if applied and pending:
            _wait_for_inserts(client, target)
        for migration in pending:
            for statement in render(migration.source, target):
                client.command(statement)
            done = {"version": migration.version, "name": migration.name, "checksum": migration.checksum}
            client.insert_lines(f"{target.database}.schema_migrations", encode_rows([done]), {"async_insert": 0})
            log.info("schema migrated", migration=migration.label)


@contextmanager
def _hold_lock(
    client: StoreClient, target: Target, sleep: Callable[[float], None] = time.sleep, wait_s: float = LOCK_WAIT_S
) -> Iterator[None]:
    """Be the only migrator. Raises SchemaError where another one keeps the lock for longer than `wait_s`."""
    holder = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
    create, drop = render(
        "CREATE TABLE @name(schema_lock) @on_cluster (holder String COMMENT 'nothing is written here')"
        f" ENGINE = Memory COMMENT {quote_text(holder)};\nDROP TABLE IF EXISTS @name(schema_lock) @on_cluster SYNC;",
        target,
    )
    waited_s = 0.0
    while True:
        try:
            client.command(create)
            break
        except StoreError as error:
            if error.code != TABLE_EXISTS:
                raise
        if _is_abandoned(client, target):
            get_logger().warning("schema lock taken over, its holder is gone")
            client.command(drop)
        elif waited_s >= wait_s:
            raise SchemaError(
                "another migration is under way and does not end: look for another `tagstitch migrate`; "
                f"if there is none, drop table {target.database}.schema_lock"
            )
        else:
            sleep(0.5)
            waited_s += 0.5
    try:
        yield
    finally:
        client.command(drop)


def _is_abandoned(client: StoreClient, target: Target) -> bool:
    """Tell whether the lock's holder is gone: a dead process of this host, or a lock that is very old."""
    rows = client.query_rows(
        "SELECT comment, now() - metadata_modification_time AS age_s FROM system.tables"
        " WHERE database = {database:String} AND name = 'schema_lock'",
        {"database": target.database},
    )
    if not rows:
        return False  # just dropped: the next try gets it
    try:
        holder = json.loads(rows[0]["comment"])
        if holder["host"] == socket.gethostname():
            os.kill(int(holder["pid"]), 0)
            return int(holder["pid"]) == os.getpid()  # left by an earlier try of this process
    except (ValueError, KeyError, ProcessLookupError):
        return True
    except PermissionError:
        return False
    return int(rows[0]["age_s"]) > LOCK_AGE_S


def _wait_for_inserts(client: StoreClient, target: Target, wait_s: float = 120.0) -> None:
    """Wait until no batch is on its way through the views. The lock keeps new ones from starting."""
    time.sleep(SETTLE_S)
    deadline = time.monotonic() + wait_s
    while client.query_rows(
        "SELECT query_id FROM system.processes WHERE query_kind = 'Insert' AND query ILIKE {pattern:String}",
        {"pattern": f"%INSERT INTO {target.database}.landing%"},
    ):
        if time.monotonic() > deadline:
            raise SchemaError("a batch is being loaded and does not end: stop `tagstitch load`, then migrate again")
        time.sleep(0.2)
