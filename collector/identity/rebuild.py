"""Rebuild: the whole map anew from all evidence, as columns, and what differs from what stands.

    identity_evidence ─► resolve_columns ─► compare with the tables ─► rows that differ ─► tables, reload

Owns no rule: what `resolve` says is written with the position that stitch has reached, so that whatever stitch writes
meanwhile is newer and stays. Spaces are rebuilt one after the other. Memory grows with the evidence of the largest
space, docs/benchmarks.md says how much a row takes. Imports numpy and pyarrow: only commands import this module, late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from collector.config import Config
from collector.identity.bulk import resolve_columns
from collector.identity.component_columns import count_rows, read_all
from collector.identity.standing_columns import (
    FORMS,
    GUARD_LOG,
    MERGE_LOG,
    compare_table,
    pick,
    read_table,
    write_log,
    write_table,
)
from collector.identity.stitch import Stitcher, read_progress
from collector.keyring import Keyring
from collector.sites.book import DEFAULT_SPACE
from collector.store.client import StoreClient, open_client
from collector.store.dictionaries import reload_dictionaries

Step = Literal["read", "resolve", "compare", "write"]
Tell = Callable[[Step, int, int], None]
"""Hears what is being done, how many rows of it are done, and how many there are; 0 and 0: nobody knows."""


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
    with open_client(config, keyring, "writer") as client:
        stitcher = Stitcher(client, config)
        rebuilt = Rebuilt(read_progress(client).version)
        spaces = client.query_rows(
            "SELECT DISTINCT space_id FROM identity_evidence UNION DISTINCT SELECT DISTINCT space_id FROM identity_map"
        )
        for space_id in sorted(row["space_id"] for row in spaces) or [DEFAULT_SPACE]:
            _rebuild_space(client, stitcher, space_id, rebuilt, dry_run, tell)
        if rebuilt.differences and not dry_run:
            reload_dictionaries(client)
    return rebuilt


def _rebuild_space(
    client: StoreClient, stitcher: Stitcher, space_id: str, rebuilt: Rebuilt, dry_run: bool, tell: Tell
) -> None:
    policy = stitcher.read_policy(space_id)
    total = count_rows(client, space_id)
    seen = 0

    def see(rows: int) -> None:
        nonlocal seen
        seen += rows
        tell("read", seen, total)

    rows = read_all(client, space_id, policy, see)
    rebuilt.evidence += rows.num_rows
    tell("resolve", 0, rows.num_rows)
    resolution = resolve_columns(rows, policy)
    del rows
    rebuilt.map_rows += resolution.map_rows.num_rows

    changes = []
    for number, form in enumerate(FORMS):
        tell("compare", number, len(FORMS))
        change = compare_table(form, pick(form, resolution), read_table(client, form, space_id))
        rebuilt.differing[form.table] = rebuilt.differing.get(form.table, 0) + change.size
        changes.append(change)
    if dry_run:
        return
    total = sum(change.size for change in changes)
    done = 0

    def count(written: int) -> None:
        nonlocal done
        done += written
        tell("write", done, total)

    for change in changes:
        write_table(client, space_id, change, rebuilt.version, count)
    for table, entries in ((GUARD_LOG, resolution.guards), (MERGE_LOG, resolution.merges)):
        rebuilt.logged += sum(write_log(client, table, space_id, entries, rebuilt.version).values())
