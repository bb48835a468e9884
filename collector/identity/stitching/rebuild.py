"""Rebuild: the whole map anew from all evidence, as columns, and what differs from what stands.

    identity_evidence ─► slices ─► resolve_columns ─► compare with the tables ─► rows that differ ─► tables, reload

Owns no rule: what `resolve` says is written with the position that stitch had reached, so that whatever stitch writes
meanwhile is newer and stays. Spaces are rebuilt one after the other, the slices of one side by side: numpy, Arrow and
the store leave the interpreter to others while they work. Memory grows with the evidence of the largest space,
docs/benchmarks.md says how much a row takes. Imports numpy and pyarrow: only commands import this module, late.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, TypeVar
from uuid import UUID

from collector.config import Config
from collector.identity.bulk.resolve import resolve_columns
from collector.identity.policy import Policy
from collector.identity.stitching.component_columns import count_rows
from collector.identity.stitching.packed import Packed, PackedParts, ask_packed, read_packed
from collector.identity.stitching.rebuild_changes import SpaceChanges
from collector.identity.stitching.slices import NumberedKeys, Slices, cut_slices, find_apart, load_scipy, number_keys
from collector.identity.stitching.stitch import Stitcher, read_progress
from collector.keyring import Keyring
from collector.sites.book import DEFAULT_SPACE
from collector.store.client import StoreClient, open_client
from collector.store.dictionaries import reload_dictionaries

Item = TypeVar("Item")
Done = TypeVar("Done")
Step = Literal["read", "group", "resolve", "write", "load"]
Tell = Callable[[Step, int, int], None]
"""Hears what is being done, how many rows of it are done, and how many there are; 0 and 0: nobody knows. `resolve`
compares and writes as well, `write` writes what is left, `load` brings the map into its dictionaries."""

RANGE_ROWS = 400_000
"""Evidence that is read at once, about: the next is on its way while one is numbered."""


def keep_silent(step: Step, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild found. `differences`: rows of each table that were not as `resolve` says."""

    version: int
    evidence: int = 0
    map_rows: int = 0
    differing: dict[str, int] = field(default_factory=dict)
    logged: int = 0  # entries of the two logs that were missing; a log is history, so they are no difference

    @property
    def differences(self) -> int:
        """How many rows differed from what stood, of all tables."""
        return sum(self.differing.values())


def rebuild(config: Config, keyring: Keyring, *, dry_run: bool = False, tell: Tell = keep_silent) -> Rebuilt:
    """Resolve all evidence anew and write what differs from the map; with `dry_run` only count it.

    The difference from what stitch made step by step is nothing, unless kinds or settings have changed since. Raises
    StoreError; then nothing is lost, and it may be called again.
    """
    workers = (os.cpu_count() or 1) + 1  # one of them waits for the store now and then
    with ExitStack() as stack:
        clients = [stack.enter_context(open_client(config, keyring, "writer")) for _ in range(workers)]
        client = clients[0]
        stitcher = Stitcher(client, config)
        rebuilt = Rebuilt(read_progress(client).version)
        spaces = client.query_rows(
            "SELECT DISTINCT space_id FROM identity_evidence UNION DISTINCT SELECT DISTINCT space_id FROM identity_map"
        )
        for space_id in sorted(row["space_id"] for row in spaces) or [DEFAULT_SPACE]:
            policy = stitcher.read_policy(space_id)
            _SpaceRebuild(clients, space_id, policy, rebuilt.version, dry_run, tell).run(rebuilt)
        if rebuilt.differences and not dry_run:
            tell("load", 0, 0)
            reload_dictionaries(client)
    return rebuilt


@dataclass(slots=True)
class _SpaceRebuild:
    """The rebuild of one space. A thread for each client works on one slice after the other."""

    clients: list[StoreClient]
    space_id: str
    policy: Policy
    version: int
    dry_run: bool
    tell: Tell
    own: threading.local = field(default_factory=threading.local)

    def run(self, rebuilt: Rebuilt) -> None:
        """Read, resolve, write, and count it. Raises StoreError."""
        free = iter(self.clients)

        def take_client() -> None:
            self.own.client = next(free)

        with ThreadPoolExecutor(len(self.clients), initializer=take_client) as pool:
            finding = pool.submit(lambda: find_apart(self.own.client, self.space_id, self.policy))
            pool.submit(load_scipy)  # takes as long as reading a million rows
            packed, numbered = self._read(pool)
            apart = sorted(finding.result())
            self.tell("group", 0, 0)
            slices = cut_slices(numbered, apart)
            changes = SpaceChanges(self.clients[0], self.space_id, slices, self.version, dry_run=self.dry_run)
            done, total = 0, len(packed)
            self.tell("resolve", 0, total)

            def bring(number: int) -> int:
                return self._resolve(packed, slices, number, apart, changes)

            for rows in _work_through(pool, bring, range(len(slices))):
                done += rows
                self.tell("resolve", done, total)
        self.tell("write", 0, 0)
        changes.finish(self.clients[0])
        rebuilt.evidence += total
        rebuilt.map_rows += changes.map_rows
        rebuilt.logged += changes.logged
        for table, count in changes.differing.items():
            rebuilt.differing[table] = rebuilt.differing.get(table, 0) + count

    def _read(self, pool: ThreadPoolExecutor) -> tuple[PackedParts, list[NumberedKeys]]:
        """Read the evidence, in ranges of the first identifier."""
        total = count_rows(self.clients[0], self.space_id)
        question, params = ask_packed(self.space_id, self.policy)
        seen = 0
        self.tell("read", 0, total)

        def read(bounds: tuple[str, str | None]) -> tuple[Packed, NumberedKeys]:
            first, end = bounds
            client: StoreClient = self.own.client
            asked, said = f"{question} AND evidence.a_key >= {{first:UUID}}", {**params, "first": first}
            if end is not None:
                asked, said = f"{asked} AND evidence.a_key < {{end:UUID}}", {**said, "end": end}
            packed = read_packed(client.read_columns(asked, said))
            return packed, number_keys(packed.get_keys("a"), packed.get_keys("b"))

        parts = []
        for part, keys in _work_through(pool, read, cut_ranges(max(1, total // RANGE_ROWS))):
            parts.append((part, keys))
            seen += len(part.heads)
            self.tell("read", seen, total)
        return PackedParts([part for part, _ in parts]), [keys for _, keys in parts]

    def _resolve(
        self, packed: PackedParts, slices: Slices, number: int, fused: list[str], changes: SpaceChanges
    ) -> int:
        """Bring one slice to what `resolve` says. Returns how many rows it has."""
        places = slices.get_rows(number)
        resolution = resolve_columns(packed.take(places).unpack(), self.policy, fused)
        changes.take(self.own.client, number, resolution)
        return len(places)


def cut_ranges(count: int) -> list[tuple[str, str | None]]:
    """Cut all ids into ranges of one size: where each begins, and where it ends, that not included.

    Both halves of a bound are the same, so it does not matter which of the two ClickHouse looks at first.
    """
    starts = [2**64 * number // count for number in range(count)]
    bounds: list[str | None] = [str(UUID(int=start << 64 | start)) for start in starts]
    return [(str(first), end) for first, end in pairwise([*bounds, None])]


def _work_through(pool: ThreadPoolExecutor, work: Callable[[Item], Done], items: Iterable[Item]) -> Iterator[Done]:
    """Yield what work on each item gives, as it comes. After an error nothing more is begun."""
    begun = [pool.submit(work, item) for item in items]
    try:
        for each in as_completed(begun):
            yield each.result()
    finally:
        for each in begun:
            each.cancel()
