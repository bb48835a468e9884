"""Components as columns: what `component` reads for a person, for the thousands of keys that a step of stitch touches.

From the touched keys outwards, round by round: the way there by the first identifier in `identity_evidence`, the way
back by the second one in `identity_pairs`. Each identifier's evidence is read once. A long chain of visitors is read
at once, see `component.TIES_OF_VISITORS`. Imports pyarrow and scipy: only stitch and rebuild may import this module,
and late.

Invariant: as for `component`. What `resolve` makes of the rows that are returned, with the fused keys named here, is
what it would make of all evidence of the space, for every key in `keys`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.identity.bulk.columns import EVIDENCE, KEY, to_bytes
from collector.identity.bulk.guards import find_busy, find_joins
from collector.identity.bulk.ids import Array, write_ids, write_numbers
from collector.identity.bulk.rows import read_bools, read_numbers, read_rows
from collector.identity.component import ROUNDS_ALONE, TIES_OF_VISITORS, ask_fused
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.policy import Policy
from collector.identity.stitching.packed import ask_packed, unpack
from collector.store.client import StoreClient

KEYS_PER_FIELD = 3_500
"""35 bytes each, and a server takes 128 KiB in one field of a form."""
FIELDS = 8
"""The embedded engine takes a form of 1 MiB."""
MOST_TIES = 1_000_000
"""About 300 bytes each while they are looked at. In a space with more, some chains are still walked link by link."""

FIELDS_OF_KEYS = "arrayConcat(" + ", ".join(f"{{keys{n}:Array(UUID)}}" for n in range(FIELDS)) + ")"
"""What a question has for the keys that `cut_keys` gives it."""
_BACK = f"""
    SELECT b_key, a_key FROM identity_pairs WHERE space_id = {{space:String}} AND b_key IN {FIELDS_OF_KEYS}
    LIMIT {{most:UInt32}} BY b_key
"""  # noqa: S608  our own words
BESIDE = f"""
    SELECT a_key FROM identity_pairs WHERE space_id = {{space:String}} AND b_key IN {FIELDS_OF_KEYS}
    UNION ALL
    SELECT b_key FROM identity_evidence WHERE space_id = {{space:String}} AND a_key IN {FIELDS_OF_KEYS} AND level >= 2
"""  # noqa: S608  our own words
"""Whom evidence names together with keys, whether it stands or not."""


@dataclass(slots=True)
class ComponentColumns:
    """The evidence around touched keys, as `columns.EVIDENCE` has it. `keys`: those for which it is complete;
    `fused`: those not walked through."""

    rows: pa.Table
    keys: set[bytes]
    fused: set[bytes]


@dataclass(slots=True)
class Looked:
    """What a first look has read already, so that a walk need not. `rows`: all evidence in which the identifiers
    `ahead` come first; `pairs`: all that name the identifiers `back` second, as a walk reads them."""

    rows: pa.Table
    ahead: set[bytes]
    pairs: pa.Table
    back: set[bytes]


@dataclass(slots=True)
class _Walk:
    """One walk. `read`: identifiers whose evidence in which they come first was read."""

    client: StoreClient
    space_id: str
    policy: Policy
    looked: Looked | None = None
    keys: set[bytes] = field(default_factory=set)
    fused: set[bytes] = field(default_factory=set)
    read: set[bytes] = field(default_factory=set)
    parts: list[pa.Table] = field(default_factory=list)

    def go(self, touched: Iterable[bytes]) -> ComponentColumns:
        """Walk from the touched keys to the ends of their components."""
        frontier = set(touched)
        rows, parts_read = EVIDENCE.empty_table(), -1
        alone, pause = 0, ROUNDS_ALONE
        while frontier:
            self.keys |= frontier
            behind = self._look_back(frontier)
            self._look_ahead(((frontier - self.fused) | behind) - self.read)
            if len(self.parts) != parts_read:
                parts_read = len(self.parts)
                rows = pa.concat_tables(self.parts).unify_dictionaries() if self.parts else rows
                evidences = read_rows(rows, self.policy)
                joins, _ = find_joins(evidences)
                a, b = evidences.rows.a[joins], evidences.rows.b[joins]
                names = write_ids(evidences.keys.id)
                self.fused |= set(names.filter(_mask(find_busy(evidences, joins))).to_pylist())
            inside, shared = _is_among(names, self.keys), _is_among(names, self.fused)
            leads_on = (inside[a] | inside[b]) & ~shared[a] & ~shared[b]
            ends = np.zeros(len(inside), dtype=bool)
            ends[a[leads_on]] = ends[b[leads_on]] = True
            frontier = set(names.filter(_mask(ends & ~inside)).to_pylist())
            alone += 1
            if alone >= pause and (ends & ~inside & (evidences.keys.kind == evidences.visitor)).any():
                frontier |= self._find_tied(frontier) - self.keys
                alone, pause = 0, 2 * pause
        whole = self.keys - self.fused
        touches = _is_among(rows["a_key"], whole) | _is_among(rows["b_key"], whole)
        return ComponentColumns(rows.filter(_mask(touches)), self.keys, self.fused)

    def _look_back(self, keys: set[bytes]) -> set[bytes]:
        """Return who names these keys second; note which of the keys are fused without reading all those."""
        least = find_least_cap(self.policy)
        parts = []
        if self.looked and (known := keys & self.looked.back):
            parts.append(filter_keys(self.looked.pairs, "b_key", known))
            keys = keys - known
        if keys:
            parts.append(read_pairs(self.client, self.space_id, keys, self.policy))
        pairs = pa.concat_tables(parts)
        counts = pc.value_counts(pairs["b_key"])
        many = [item["values"] for item in counts.filter(pc.greater(counts.field("counts"), least)).to_pylist()]
        if many:
            shared = {
                to_bytes(key) for key in ask_fused(self.client, self.space_id, map(to_key_text, many), self.policy)
            }
            self.fused |= shared
            rest = set(many) - shared
            whole = {"space": self.space_id, "most": 4_294_967_295}
            pairs = pa.concat_tables([pairs, read_parts(self.client, _BACK, rest, whole)])
        return set(pairs["a_key"].filter(_mask(~_is_among(pairs["b_key"], self.fused))).to_pylist())

    def _look_ahead(self, keys: set[bytes]) -> None:
        """Read the evidence in which these keys come first."""
        self.read |= keys
        if self.looked and (known := keys & self.looked.ahead):
            self.parts.append(filter_keys(self.looked.rows, "a_key", known))
            keys = keys - known
        if keys:
            self.parts.append(unpack(read_ahead(self.client, self.space_id, keys, self.policy)))

    def _find_tied(self, keys: set[bytes]) -> set[bytes]:
        """Return the visitors that hang on these keys by evidence between two visitors, however long the chain.

        A hint: what was taken back, blocked or left out by a guard may be among the ties. Visitors with too many others
        are left out, so that nobody reads what hangs on a shared one; the walk judges them as ever."""
        params = {"space": self.space_id, "most": MOST_TIES}
        ties = self.client.read_columns(TIES_OF_VISITORS, params)
        return find_tied(ties, keys, self.policy.count_visitors_allowed(VISITOR_KIND))


def _is_among(names: pa.Array | pa.ChunkedArray, keys: set[bytes]) -> Array:
    found = pc.is_in(names, value_set=pa.array(list(keys), KEY))
    return read_bools(found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found]))


def _mask(chosen: Array) -> pa.Array:
    return write_numbers(chosen, pa.bool_())


def read_around(
    client: StoreClient, space_id: str, touched: Iterable[bytes], policy: Policy, looked: Looked | None = None
) -> ComponentColumns:
    """Read what hangs on the touched keys of a space: one or more components. Raises StoreError."""
    return _Walk(client, space_id, policy, looked).go(touched)


def read_ahead(client: StoreClient, space_id: str, keys: Iterable[bytes], policy: Policy) -> pa.Table:
    """Return the evidence in which these keys come first, packed. Raises StoreError."""
    question, params = ask_packed(space_id, policy)
    return read_parts(client, f"{question} AND evidence.a_key IN {FIELDS_OF_KEYS}", keys, params)


def read_pairs(client: StoreClient, space_id: str, keys: Iterable[bytes], policy: Policy) -> pa.Table:
    """Return `b_key` and `a_key` of whom evidence names before these keys; of each key not more than say that it may
    be shared by too many. Raises StoreError."""
    return read_parts(client, _BACK, keys, {"space": space_id, "most": find_least_cap(policy) + 1})


def find_tied(ties: pa.Table, keys: set[bytes], most: int) -> set[bytes]:
    """Return the identifiers of `ties` (`a_key`, `b_key`) that hang on these keys, not by way of any that is tied to
    more than `most` others. Linear in the ties, but for sorting."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not ties.num_rows:
        return set()
    ends = pa.chunked_array([*ties["a_key"].chunks, *ties["b_key"].chunks], KEY).combine_chunks().dictionary_encode()
    names, numbers = ends.dictionary, read_numbers(pa.chunked_array([ends.indices]), np.int64)
    one, other = numbers[: ties.num_rows], numbers[ties.num_rows :]
    pairs = np.unique((np.minimum(one, other) << 32) | np.maximum(one, other))
    one, other = pairs >> 32, pairs & 0xFFFF_FFFF
    shared = np.bincount(np.concatenate([one, other]), minlength=len(names)) > most
    kept = ~shared[one] & ~shared[other]
    size = (len(names), len(names))
    graph = coo_array((np.ones(int(kept.sum()), dtype=bool), (one[kept], other[kept])), shape=size)
    labels = connected_components(graph, directed=False)[1]
    hung = np.isin(labels, labels[_is_among(names, keys)]) & ~shared
    return set(names.filter(_mask(hung)).to_pylist())


def find_least_cap(policy: Policy) -> int:
    """Return how many visitors no identifier is shared by too many with."""
    return min([policy.max_visitors, *(kind.max_visitors for kind in policy.kinds)])


def filter_keys(rows: pa.Table, name: str, keys: Iterable[bytes]) -> pa.Table:
    """Return the rows that have one of these keys in a column."""
    return rows.filter(pc.is_in(rows[name], value_set=pa.array(list(keys), KEY)))


def read_all(
    client: StoreClient, space_id: str, policy: Policy, tell: Callable[[int], None] = lambda _: None
) -> pa.Table:
    """Read all evidence of a space that may join, part or be taken back. `tell` hears how many rows came."""
    question, params = ask_packed(space_id, policy)
    return unpack(client.read_columns(question, params, tell=tell))


def count_rows(client: StoreClient, space_id: str) -> int:
    """Return how many rows of evidence a space has, hints included."""
    sql = "SELECT count() AS rows FROM identity_evidence WHERE space_id = {space:String}"
    return int(client.query_rows(sql, {"space": space_id})[0]["rows"])


def to_key_text(key: bytes) -> str:
    """Return the text of a key."""
    return str(UUID(bytes=key))


class KeyList:
    """Keys as a parameter `Array(UUID)`, written here: the driver looks at each character of each key."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._text = "['" + "','".join([key.hex() for key in keys]) + "']" if keys else "[]"

    def __str__(self) -> str:
        return self._text


def cut_keys(keys: Iterable[bytes]) -> Iterator[Mapping[str, KeyList]]:
    """Yield the keys as parameters `keys0` … of questions that have as many fields, always cut alike.

    In the order of ClickHouse's tables, which is that of the second halves: so each of several questions reads another
    part of the table, and not all of it.
    """
    ordered = sorted(keys, key=lambda key: key[8:] + key[:8])
    for start in range(0, len(ordered), KEYS_PER_FIELD * FIELDS):
        part = ordered[start : start + KEYS_PER_FIELD * FIELDS]
        yield {f"keys{n}": KeyList(part[n * KEYS_PER_FIELD : (n + 1) * KEYS_PER_FIELD]) for n in range(FIELDS)}


def read_parts(client: StoreClient, sql: str, keys: Iterable[bytes], params: Mapping[str, Any]) -> pa.Table:
    """Ask a question that has FIELDS_OF_KEYS for all these keys, and return what it gives."""
    parts = [client.read_columns(sql, {**params, **part}) for part in cut_keys(keys)]
    if not parts:
        parts = [client.read_columns(sql, {**params, **{f"keys{n}": KeyList([]) for n in range(FIELDS)}})]
    return pa.concat_tables(parts)
