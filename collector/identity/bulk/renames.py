"""Renames as columns: identifiers with several names, all evidence read under the first. See `renames`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from collector.identity.bulk.columns import MAP
from collector.identity.bulk.ids import Array, join_ids, number_ids, read_ids, write_ids, write_numbers
from collector.identity.bulk.rows import REKEY_WORD, Evidences
from collector.identity.evidence import SERVER
from collector.identity.intervals import BEGINNING_MS


@dataclass(slots=True)
class Renamed:
    """Names of identifiers that have several, by number, and the first name of each."""

    name: Array
    first: Array


def rename(evidences: Evidences) -> Renamed:
    """Let evidence name identifiers by their first names, and leave out that which says so."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, keys = evidences.rows, evidences.keys
    is_rekey = rows.stands & (rows.word == REKEY_WORD)
    pairs = np.flatnonzero(
        is_rekey & (rows.level >= SERVER) & (rows.a_kind == rows.b_kind) & (rows.a_kind != evidences.visitor)
    )
    names, numbers = np.unique(np.concatenate([rows.a[pairs], rows.b[pairs]]), return_inverse=True)
    earlier, later = numbers[: len(pairs)], numbers[len(pairs) :]
    graph = coo_array((np.ones(len(pairs), dtype=bool), (earlier, later)), shape=(len(names), len(names)))
    label = connected_components(graph, directed=False)[1] if len(names) else numbers
    is_named, is_replaced = np.zeros(len(names), dtype=bool), np.zeros(len(names), dtype=bool)
    is_named[later] = True
    is_replaced[earlier] = True

    id = keys.id.take(names)
    order = np.lexsort((id.low, id.high, is_named, label))
    first = names[order[_find_begins(label[order])]]
    newest = keys.id.take(rows.b[pairs])
    order = np.lexsort((newest.low, newest.high, rows.time_ms[pairs], ~is_replaced[later], label[later]))
    begins = _find_begins(label[later][order])
    last = order[np.append(begins[1:], len(order)) - 1] if len(order) else order
    keys.value_row[first] = pairs[last] + evidences.table.num_rows
    evidences.first_name[names] = first[label]
    evidences.is_renamed[first] = True

    rows.stands &= ~is_rekey
    rows.a, rows.b = evidences.first_name[rows.a], evidences.first_name[rows.b]
    return Renamed(names, first[label])


def name_again(evidences: Evidences, renamed: Renamed, map_rows: pa.Table, is_taken_out: Array) -> pa.Table:
    """Return the map's rows of identifiers by their other names. One of which nothing else is known is its first
    name's. `is_taken_out`: for each key; those have no rows."""
    others = np.flatnonzero((renamed.name != renamed.first) & ~is_taken_out[renamed.first])
    first = renamed.first[others]
    ids = evidences.keys.id.take(first)
    number, _ = number_ids(join_ids(ids, read_ids(map_rows["key"])))
    row_of = np.full(int(number.max()) + 1 if len(number) else 0, -1, dtype=np.int64)
    row_of[number[len(others) :]] = np.arange(map_rows.num_rows)
    row = row_of[number[: len(others)]]
    key = write_ids(evidences.keys.id.take(renamed.name[others]))
    known = np.flatnonzero(row >= 0)
    again = map_rows.take(write_numbers(row[known])).set_column(0, MAP.field(0), key.take(write_numbers(known)))
    unknown = np.flatnonzero(row < 0)
    count = len(unknown)
    kinds = pa.DictionaryArray.from_arrays(
        write_numbers(evidences.keys.kind[first[unknown]].astype(np.int32)), pa.array(evidences.kinds, pa.string())
    )
    none = pa.repeat("", count)
    numbers = {"valid_from_ms": BEGINNING_MS, "several": 0, "level": SERVER, "provisional": 0, "proved": 1}
    columns = {
        "key": key.take(write_numbers(unknown)),
        "key_kind": kinds,
        "key_customer_id": none,
        "person_id": write_ids(ids.take(unknown)),
        "customer_id": none,
        "customer_key": pa.repeat(pa.scalar(bytes(16), pa.binary(16)), count),
        **{name: pa.repeat(value, count).cast(MAP.field(name).type) for name, value in numbers.items()},
    }
    return pa.concat_tables([again, pa.table([columns[name] for name in MAP.names], schema=MAP)])


def _find_begins(values: Array) -> Array:
    """Return the places at which a value differs from the one before."""
    begins = np.ones(len(values), dtype=bool)
    begins[1:] = values[1:] != values[:-1]
    return np.flatnonzero(begins)
