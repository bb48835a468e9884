"""The first look at new evidence: which of the keys that it names must be resolved again, and which may be left.

Reads little of each visitor and nothing of what hangs on it; `settled` judges. Imports pyarrow: only stitch imports
this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.identity.bulk.columns import KEY, to_bytes
from collector.identity.bulk.ids import Array, write_numbers
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.names import expand_names
from collector.identity.policy import Policy
from collector.identity.stitching.component_columns import (
    BESIDE,
    Looked,
    read_ahead,
    read_pairs,
    read_parts,
    to_key_text,
)
from collector.identity.stitching.packed import Packed, read_packed
from collector.identity.stitching.settled_columns import find_settled_columns
from collector.identity.stitching.standing_columns import MAP_FORM, read_rows
from collector.store.client import StoreClient

LEAST_KEYS = 100
"""With fewer, three questions more cost as much as resolving all of them."""

_NEWS = """
    SELECT DISTINCT space_id, a_kind, a_key, b_key, kind = 'block' AS is_block, op < 0 AS is_undone
    FROM identity_evidence
    WHERE batch_host = {host:String} AND batch_seq BETWEEN {first:UInt64} AND {last:UInt64}
        AND (level >= 2 OR kind IN ('reset', 'disown') OR op < 0)
"""


def read_news(client: StoreClient, done: Mapping[str, int], position: Mapping[str, int]) -> dict[str, pa.Table]:
    """Return which identifiers the evidence of new batches names together, by space: `a_kind`, `a_key`, `b_key`;
    `is_block`: 1 where an identifier was blocked or let go; `is_undone`: 1 where evidence was taken back.

    `done`, `position`: the last number by host, before and now.
    """
    tables = [
        client.read_columns(_NEWS, {"host": host, "first": done.get(host, 0) + 1, "last": last})
        for host, last in position.items()
        if done.get(host, 0) < last
    ]
    if not tables:
        return {}
    news = pa.concat_tables(tables).unify_dictionaries()
    spaces = pc.unique(news["space_id"].cast(pa.string())).to_pylist()
    return {space: news.filter(pc.equal(news["space_id"], space)).drop_columns("space_id") for space in spaces}


def find_undone(news: pa.Table) -> set[bytes] | None:
    """Return the keys of which evidence was taken back; None where somebody was blocked or let go: then of any."""
    if pc.any(pc.equal(news["is_block"], 1)).as_py():
        return None
    return find_touched(news.filter(pc.equal(news["is_undone"], 1)))


def find_touched(news: pa.Table) -> set[bytes]:
    """Return all keys that news name."""
    return {*news["a_key"].to_pylist(), *news["b_key"].to_pylist()}


def find_beside_blocked(client: StoreClient, space_id: str, news: pa.Table) -> set[bytes]:
    """Return whom evidence names together with identifiers that were blocked or let go.

    Who was shared by too many may not be without these. It has no rows then by which it would be found.
    """
    keys = news.filter(pc.equal(news["is_block"], 1))["a_key"].to_pylist()
    if not keys:
        return set()
    names = expand_names(client, space_id, map(to_key_text, keys))
    return set(read_parts(client, BESIDE, map(to_bytes, names), {"space": space_id})["a_key"].to_pylist())


@dataclass(frozen=True, slots=True)
class FirstLook:
    """What it found, under this policy.

    `keys`: those that must be resolved again. `looked`: what it read of the evidence. `map_rows`: all rows of the map
    under `held`, of schema `columns.MAP`.
    """

    policy: Policy
    keys: set[bytes]
    looked: Looked
    map_rows: pa.Table
    held: set[bytes]


def leave_settled(
    client: StoreClient,
    space_id: str,
    policy: Policy,
    news: pa.Table,
    done: Mapping[str, int],
    position: Mapping[str, int],
) -> FirstLook:
    """Return the keys that news name, without those for which all new evidence is of settled visitors."""
    is_visitor = pc.equal(news["a_kind"], VISITOR_KIND)
    visitors = set(news["a_key"].filter(is_visitor).to_pylist())
    packed = read_packed(read_ahead(client, space_id, visitors, policy))
    rows, age = packed.unpack(), _find_ages(packed, done, position)
    behind = read_pairs(client, space_id, visitors, policy)
    # Nobody else needs a look at the map: a visitor with a sign-out, a link or no past is not settled in any case.
    old = rows.filter(write_numbers(age == 0, pa.bool_()))
    keys = {*pc.unique(old["a_key"]).to_pylist(), *pc.unique(rows["b_key"]).to_pylist()}
    map_rows = read_rows(client, MAP_FORM, space_id, keys)
    settled = pa.array(list(find_settled_columns(rows, age, behind, map_rows)), KEY)
    left = find_touched(news.filter(pc.invert(pc.is_in(news["a_key"], value_set=settled))))
    return FirstLook(policy, left, Looked(rows, visitors, behind, visitors), map_rows, keys)


def _find_ages(packed: Packed, done: Mapping[str, int], position: Mapping[str, int]) -> Array:
    """Return the age of each row, see `settled.Seen`."""
    hosts = [word.rpartition("\0")[2] for word in packed.words]
    last = np.array([position.get(host, 0) for host in hosts] or [0], dtype=np.uint64)[packed.codes]
    before = np.array([done.get(host, 0) for host in hosts] or [0], dtype=np.uint64)[packed.codes]
    seq = packed.heads["batch_seq"]
    age: Array = (seq > before).astype(np.int64) + (seq > np.maximum(before, last))
    return age
