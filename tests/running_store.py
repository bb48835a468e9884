"""A store with our schema in a real engine, for tests.

with running_store(tmp_path) as store:
    store.load(make_row(...))
    rows = store.query("SELECT * FROM v_events")
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from collector.config import Config
from collector.errors import StoreError
from collector.event import ConsentRow, EventRow, EvidenceRow, LandingRow, ReadRow, RejectedRow, VaultRow
from collector.keyring import Credential, Keyring, make_keyring
from collector.store.client import StoreClient, open_client
from collector.store.dictionaries import reload_dictionaries
from collector.store.writer import insert_batch, insert_rows
from tests.engine_process import RunningEngine, running_engine
from tests.migrated_store import lay_migrated_store

NOON_MS = 3_800_000_000_000
"""A moment in June 2090: tests pass the time in, and nothing that they write is too old to be kept."""


@dataclass
class RunningStore:
    """A migrated store, and short ways to fill and to ask it. `batch` counts up with each load."""

    engine: RunningEngine
    config: Config
    keyring: Keyring
    writer: StoreClient
    batches: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def query(self, sql: str, **params: Any) -> list[dict[str, Any]]:
        """Return the rows of a question, asked as the writer."""
        return self.writer.query_rows(sql, params)

    def value(self, sql: str, **params: Any) -> Any:
        """Return the first column of the first row."""
        return next(iter(self.query(sql, **params)[0].values()))

    def load(self, *rows: LandingRow, host: str = "host-1", seq: int | None = None, token: str = "") -> str:
        """Load rows as one batch, as the loader does. Returns the token."""
        lines = encode_batch(rows, host, next(self.batches) if seq is None else seq)
        token = token or hashlib.sha256(lines).hexdigest()
        insert_batch(self.writer, lines, token)
        return token

    def put(self, table: str, *rows: dict[str, Any]) -> None:
        """Insert rows of state and make them visible in the dictionaries."""
        insert_rows(self.writer, table, rows)
        reload_dictionaries(self.writer)

    def clear(self) -> None:
        """Empty every table that holds data."""
        for row in self.query(
            "SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'"
            " AND name != 'schema_migrations' AND active_parts > 0",
            database=self.config.database,
        ):
            self.writer.command(f"TRUNCATE TABLE {row['name']}")
        reload_dictionaries(self.writer)


@dataclass
class _Kept:
    """An engine that waits for the next who needs one, as it was found. `tables`: how each was made."""

    engine: RunningEngine
    stop: contextlib.ExitStack
    tables: list[dict[str, Any]]


_kept: list[_Kept] = []
MOST_KEPT = 2


@contextlib.contextmanager
def running_store(folder: Path) -> Iterator[RunningStore]:
    """Give an engine with our schema and empty tables: one that somebody has left, or one of its own in `folder`.

    It is kept for the next, unless it was stopped, or something was made or altered in it.
    """
    kept = _kept.pop() if _kept else _start(folder)
    config, keyring = configure(kept.engine)
    with open_client(config, keyring, "writer") as writer:
        store = RunningStore(kept.engine, config, keyring, writer)
        is_new, is_good = not kept.tables, False
        try:
            if is_new:
                kept.tables = _describe(store)
            else:
                store.clear()
            yield store
            with contextlib.suppress(StoreError):
                writer.command("SYSTEM START MERGES")
                is_good = kept.engine.process.poll() is None and _describe(store) == kept.tables
        finally:
            if is_good and len(_kept) < MOST_KEPT:
                _kept.append(kept)
            else:
                kept.stop.close()


def _start(folder: Path) -> _Kept:
    lay_migrated_store(folder)
    stop = contextlib.ExitStack()
    return _Kept(stop.enter_context(running_engine(folder)), stop, [])


def _describe(store: RunningStore) -> list[dict[str, Any]]:
    """Return every table and dictionary, and how it was made."""
    return store.query(
        "SELECT database, name, create_table_query FROM system.tables"
        " WHERE lower(database) NOT IN ('system', 'information_schema') ORDER BY database, name"
    )


@atexit.register
def _stop_kept() -> None:
    while _kept:
        _kept.pop().stop.close()


def configure(engine: RunningEngine, **settings: Any) -> tuple[Config, Keyring]:
    """Return settings and secrets with which this engine is reached."""
    names = ("writer", "reader", "analyst")
    credentials = {name: Credential(*engine.credentials(name)) for name in names}
    keyring = msgspec.structs.replace(make_keyring(), **credentials)
    return Config(engine_host=engine.host, engine_port=engine.port, **settings), keyring


def encode_batch(rows: tuple[LandingRow, ...] | list[LandingRow], host: str = "host-1", seq: int = 1) -> bytes:
    """Return the lines that the loader sends for these rows."""
    head = b'{"batch_host":' + msgspec.json.encode(host) + b',"batch_seq":' + str(seq).encode() + b","
    return b"".join(head + msgspec.json.encode(row)[1:] + b"\n" for row in rows)


def make_id(number: int, kind: int = 0) -> str:
    """Return a UUID that shows its number; `kind` keeps ids of different things apart."""
    return f"{kind:08x}-0000-4000-8000-{number:012x}"


def make_event(number: int, *, after_s: float = 0, name: str = "page_view", **more: Any) -> EventRow:
    """Return an event `after_s` seconds after NOON_MS."""
    return EventRow(event_id=make_id(number, 0xE), name=name, time_ms=NOON_MS + int(after_s * 1000), **more)


def make_row(visitor: int = 1, *, after_s: float = 0, **more: Any) -> LandingRow:
    """Return a beacon of a visitor, received `after_s` seconds after NOON_MS."""
    values: dict[str, Any] = {
        "received_at_ms": NOON_MS + int(after_s * 1000),
        "site_id": "shop",
        "space_id": "main",
        "visitor_id": make_id(visitor, 0xA),
        "visitor_proof": "cookie",
        "own_person_id": make_id(visitor, 0xB),
        "session_id": make_id(visitor, 0x5),
        "session_number": 1,
        "session_started_ms": NOON_MS,
    }
    return LandingRow(**(values | more))


def make_evidence(number: int, visitor: int = 1, customer: str = "4711", **more: Any) -> EvidenceRow:
    """Return signed evidence that a visitor is a customer."""
    values: dict[str, Any] = {
        "evidence_id": f"evidence-{number}",
        "kind": "identify",
        "level": 3,
        "a_kind": "visitor",
        "a_value": make_id(visitor, 0xA),
        "a_key": make_id(visitor, 0xB),
        "b_kind": "customer",
        "b_value": customer,
        "b_key": make_id(int(customer), 0xC),
        "b_unique": 1,
        "source": "tag",
        "proof": "cookie",
        "time_ms": NOON_MS,
    }
    return EvidenceRow(**(values | more))


def make_refusal(reason: str = "shape", **more: Any) -> RejectedRow:
    """Return a refusal."""
    return RejectedRow(step="validate", reason=reason, **more)


def make_consent(number: int, state: str = "granted") -> ConsentRow:
    """Return what somebody said of marketing."""
    return ConsentRow(f"consent-{number}-{state}", make_id(number, 0xF), "marketing", state, "unsubscribe", number)


def make_read(number: int) -> ReadRow:
    """Return a look at somebody's profile."""
    return ReadRow(make_id(number, 0xD), make_id(number, 0xF), make_id(number, 0xF), "key:aa", "lookup", "", 0, "known")


def make_vaulted(number: int, key_id: str = "p1") -> VaultRow:
    """Return a value of the vault; what is sealed in it nobody reads."""
    return VaultRow(kind="email", value=f"{key_id}.{number:032x}", key=make_id(number, 0xF), sealed="c2VhbGVk")
