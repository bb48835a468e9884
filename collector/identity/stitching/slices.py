"""Slices: the evidence of a space in parts that have nothing to do with each other, each resolved by itself.

    keys of the rows ─► components of all that is named together ─► slices of whole components

Invariants: all evidence about an identifier is in one slice, except about identifiers that are *apart*: shared by too
many, so that nobody is joined through them. Whoever resolves a slice says which those are. So what `resolve` makes of
the slices, taken together, is what it makes of all evidence, as what it makes of a walk (`component_columns`) is.
Imports numpy, scipy and pyarrow: only rebuild imports this module, and late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from collector.identity.bulk.columns import KEY
from collector.identity.bulk.ids import (
    Array,
    Ids,
    find_first,
    find_places,
    join_ids,
    number_ids,
    read_id_texts,
    read_ids,
)
from collector.identity.component import ask_fused
from collector.identity.policy import Policy
from collector.identity.stitching.component_columns import to_key_text
from collector.store.client import StoreClient

SLICE_ROWS = 400_000
"""Fits into the processor's caches better than more, and costs little more per row than that."""
_SHARED = """
    SELECT b_key FROM identity_pairs WHERE space_id = {space:String} GROUP BY b_key HAVING count() > {least:UInt32}
"""


@dataclass(frozen=True, slots=True)
class Slices:
    """How evidence is cut. `order`: places of the rows, slice by slice; `bounds`: where each begins, and the end;
    `keys`: all identifiers, `slice_of`: in which slice each is."""

    order: Array
    bounds: Array
    keys: Ids
    slice_of: Array

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def get_rows(self, number: int) -> Array:
        """Return the places of a slice's rows."""
        places: Array = self.order[self.bounds[number] : self.bounds[number + 1]]
        return places

    def part(self, keys: pa.ChunkedArray) -> list[Array]:
        """Return the places of rows with these keys, slice by slice; at the end of those that no evidence names."""
        ids = read_ids(keys)
        known = len(self.keys.high)
        first = find_first(join_ids(self.keys, ids))[known:]
        is_known = first < known
        slices = np.full(len(first), len(self), dtype=np.int32)
        slices[is_known] = self.slice_of[first[is_known]]
        order, bounds = _sort(slices, len(self) + 1)
        return [order[bounds[number] : bounds[number + 1]] for number in range(len(self) + 1)]


def find_apart(client: StoreClient, space_id: str, policy: Policy) -> set[str]:
    """Return the identifiers that too many visitors share, as a walk finds them: see `component.ask_fused`."""
    least = min([policy.max_visitors, *(kind.max_visitors for kind in policy.kinds)])
    many = client.read_columns(_SHARED, {"space": space_id, "least": least}).column(0).cast(KEY).to_pylist()
    return ask_fused(client, space_id, map(to_key_text, many), policy) if many else set()


class NumberedKeys(NamedTuple):
    """The identifiers of some rows: each once, and by number the first and the second one of each row."""

    keys: Ids
    a: Array
    b: Array


def load_scipy() -> None:
    """Load what `cut_slices` and `resolve_columns` need of scipy."""
    import scipy.sparse.csgraph  # noqa: F401  the module is what is wanted


def number_keys(a: Ids, b: Ids) -> NumberedKeys:
    """Number the identifiers of some rows."""
    keys = join_ids(a, b)
    numbers, first = number_ids(keys)
    rows = len(a.high)
    return NumberedKeys(keys.take(first), numbers[:rows], numbers[rows:])


def cut_slices(parts: Sequence[NumberedKeys], apart: Iterable[str], rows_each: int = SLICE_ROWS) -> Slices:
    """Cut the rows of all parts into slices of about so many; a component with more is a slice of its own."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    every = Ids(*(np.concatenate([each.keys[half] for each in parts]) for half in (0, 1)))
    numbers, first = number_ids(every)
    keys = every.take(first)
    ends = np.cumsum([len(each.keys.high) for each in parts])
    of_part = [numbers[end - len(each.keys.high) : end] for each, end in zip(parts, ends, strict=True)]
    a, b = (
        np.concatenate([own[getattr(each, side)] for own, each in zip(of_part, parts, strict=True)])
        for side in ("a", "b")
    )
    is_apart = np.zeros(len(first), dtype=bool)
    is_apart[find_places(keys, read_id_texts(apart))] = True

    joins = np.flatnonzero(~(is_apart[a] | is_apart[b])) if is_apart.any() else slice(None)
    edges = (a[joins], b[joins])
    graph = coo_array((np.ones(len(edges[0]), dtype=bool), edges), shape=(len(first), len(first)))
    components, labels = connected_components(graph, directed=False)
    of_row = labels[np.where(is_apart[a], b, a)]
    counts = np.bincount(of_row, minlength=components)
    used, inverse = np.unique((np.cumsum(counts) - counts) // rows_each, return_inverse=True)
    number = inverse.astype(np.int32)
    order, bounds = _sort(number[of_row], max(1, len(used)))
    return Slices(order, bounds, keys, number[labels])


def _sort(slices: Array, count: int) -> tuple[Array, Array]:
    """Return the places sorted by slice, and where each slice begins."""
    narrow = slices.astype(np.uint16) if count < 2**16 else slices  # short numbers are sorted in one pass
    order = np.argsort(narrow, kind="stable")
    return order, np.concatenate([[0], np.cumsum(np.bincount(slices, minlength=count))])
