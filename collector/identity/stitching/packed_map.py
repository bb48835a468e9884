"""Rows of the map by key, from the one column of `identity_map` that says all: what a look by key costs, it costs by
the column.

The table makes the column by itself (0002_identity.sql), in the layout that stands here. Of a key's rows the one with
the highest version counts, as FINAL has it. Imports numpy and pyarrow: only stitch imports this module, and late.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from collector.identity.bulk.columns import MAP
from collector.identity.bulk.ids import Array, Ids, number_ids, read_ids, write_ids, write_numbers
from collector.identity.stitching.component_columns import FIELDS_OF_KEYS, read_parts
from collector.identity.stitching.packed import cut_texts, read_bytes
from collector.store.client import StoreClient

LAYOUT = np.dtype(
    [
        ("person_id", "<u8", 2),
        ("customer_key", "<u8", 2),
        ("valid_from_ms", "<i8"),
        ("version", "<u8"),
        ("several", "u1"),
        ("level", "u1"),
        ("provisional", "u1"),
        ("proved", "u1"),
        ("is_deleted", "u1"),
        ("kind_bytes", "<u4"),
        ("own_bytes", "<u4"),
    ]
)
"""What a row begins with. Then come its texts: `key_kind`, `key_customer_id` and, to the end, `customer_id`."""

_NUMBERS = ("valid_from_ms", "several", "level", "provisional", "proved")
_SELECT = f"""
    SELECT key, packed FROM identity_map WHERE space_id = {{space:String}} AND key IN {FIELDS_OF_KEYS}
"""  # noqa: S608  our own words


def read_map_rows(client: StoreClient, space_id: str, keys: Iterable[bytes]) -> tuple[pa.Table, pa.Array]:
    """Return the rows that stand under these keys, of schema `columns.MAP`, and the keys for which this does not say
    which: two of their rows have the highest version, and only the engine knows which came last."""
    found = read_parts(client, _SELECT, keys, {"space": space_id})
    ids = read_ids(found["key"])
    begins, data = read_bytes(found["packed"].cast(pa.large_binary()).combine_chunks())
    heads = data[begins[:-1, None] + np.arange(LAYOUT.itemsize)].reshape(-1).view(LAYOUT)
    numbers, firsts = number_ids(ids)
    newest = np.zeros(len(firsts), dtype=np.uint64)
    np.maximum.at(newest, numbers, heads["version"])
    is_newest = heads["version"] == newest[numbers]
    is_unsure = np.bincount(numbers[is_newest], minlength=len(firsts)) > 1
    stands = np.flatnonzero(is_newest & (heads["is_deleted"] == 0) & ~is_unsure[numbers])

    ends, chosen = begins[1:][stands], heads[stands]
    kinds = begins[stands] + LAYOUT.itemsize
    owns = kinds + chosen["kind_bytes"]
    customers = owns + chosen["own_bytes"]
    columns: dict[str, pa.Array] = {
        "key": write_ids(ids.take(stands)),
        "person_id": _write_halves(chosen["person_id"]),
        "customer_key": _write_halves(chosen["customer_key"]),
        "key_kind": cut_texts(data, kinds, owns).dictionary_encode(),
        "key_customer_id": cut_texts(data, owns, customers),
        "customer_id": cut_texts(data, customers, ends),
    }
    columns |= {name: write_numbers(chosen[name]) for name in _NUMBERS}
    rows = pa.Table.from_arrays([columns[each.name].cast(each.type) for each in MAP], schema=MAP)
    return rows, write_ids(ids.take(firsts[is_unsure]))


def _write_halves(halves: Array) -> pa.Array:
    return write_ids(Ids(halves[:, 0], halves[:, 1]))
