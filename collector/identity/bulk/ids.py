"""Ids as columns: 16 bytes as two numbers of 64 bits, numbered, put in order and written out again.

Invariants: two ids compare as their texts do. Numbers are given without sorting, by tables into which each id is
written at a place that its bits say: what finds its place taken tries again with other bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from collector.identity.bulk.columns import KEY, to_bytes

Array = np.ndarray[Any, np.dtype[Any]]

BUCKET_ROWS = 250_000
MOST_ROUNDS = 8  # ids that a client makes may be made to collide: then they are sorted
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype="S2")


class Ids(NamedTuple):
    """A column of ids."""

    high: Array
    low: Array

    def take(self, places: Array) -> Ids:
        """Return the ids at some places."""
        return Ids(self.high[places], self.low[places])

    @property
    def is_nil(self) -> Array:
        """Where they are all zeros."""
        found: Array = (self.high == 0) & (self.low == 0)
        return found


def read_ids(column: pa.ChunkedArray) -> Ids:
    """Read a column of 16 bytes each, without nulls."""
    parts = [
        np.frombuffer(chunk.buffers()[1], dtype=">u8", count=2 * len(chunk), offset=16 * chunk.offset)
        for chunk in column.chunks
        if len(chunk)
    ]
    halves = np.concatenate(parts).reshape(-1, 2) if parts else np.zeros((0, 2), dtype=">u8")
    return Ids(halves[:, 0].astype(np.uint64), halves[:, 1].astype(np.uint64))


def read_id_texts(texts: Iterable[str]) -> Ids:
    """Return the ids of some texts, in the order of the texts."""
    raw = np.frombuffer(b"".join(to_bytes(text) for text in sorted(texts)), dtype=">u8").reshape(-1, 2)
    return Ids(raw[:, 0].astype(np.uint64), raw[:, 1].astype(np.uint64))


def write_ids(ids: Ids) -> pa.Array:
    """Return ids as a column of 16 bytes each."""
    halves = np.stack([ids.high, ids.low], axis=1).astype(">u8")
    return pa.FixedSizeBinaryArray.from_buffers(KEY, len(halves), [None, pa.py_buffer(halves)])


def write_numbers(values: Array, as_type: Any = None) -> pa.Array:
    """Return numbers as an Arrow array; of some other type, if that is wanted. (pyarrow's own way imports pandas.)"""
    values = np.ascontiguousarray(values, dtype=np.uint8 if values.dtype == bool else None)
    array = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])
    return array if as_type is None else array.cast(as_type)


def write_texts(ids: Ids) -> pa.Array:
    """Return ids as a column of UUID texts."""
    rows = len(ids.high)
    raw = np.stack([ids.high, ids.low], axis=1).astype(">u8").view(np.uint8).reshape(rows, 16)
    digits = _HEX[raw].view("S1").reshape(rows, 32)
    text = np.full((rows, 36), b"-", dtype="S1")
    for start, end, source in ((0, 8, 0), (9, 13, 8), (14, 18, 12), (19, 23, 16), (24, 36, 20)):
        text[:, start:end] = digits[:, source : source + end - start]
    offsets = np.arange(rows + 1, dtype=np.int64) * 36
    return pa.LargeStringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text)).cast(pa.string())


def join_ids(first: Ids, second: Ids) -> Ids:
    """Return one column after another."""
    return Ids(np.concatenate([first.high, second.high]), np.concatenate([first.low, second.low]))


def find_first(ids: Ids) -> Array:
    """Return for each row the first row with the same id."""
    rows = len(ids.high)
    is_start = np.ones(rows, dtype=bool)
    is_start[1:] = (ids.high[1:] != ids.high[:-1]) | (ids.low[1:] != ids.low[:-1])
    starts = np.flatnonzero(is_start)
    if len(starts) * 4 > rows * 3:
        return _find_first(ids)
    # Rows come in runs, as they do in the order of a table: one of each run is enough.
    found: Array = starts[_find_first(ids.take(starts))][np.cumsum(is_start) - 1]
    return found


def number_ids(ids: Ids) -> tuple[Array, Array]:
    """Return a number for each row, equal for equal ids, from 0 on by first appearance; and each number's first row."""
    first = find_first(ids)
    is_first = first == np.arange(len(first))
    numbers = np.cumsum(is_first, dtype=np.int32) - np.int32(1)
    return numbers[first], np.flatnonzero(is_first)


def find_places(ids: Ids, wanted: Ids) -> Array:
    """Return the places of those of `ids` that are among the few `wanted`."""
    if not len(wanted.high):
        return np.zeros(0, dtype=np.int64)
    places = np.flatnonzero(np.isin(ids.high, wanted.high))
    known = set(zip(wanted.high.tolist(), wanted.low.tolist(), strict=True))
    found = zip(places.tolist(), ids.high[places].tolist(), ids.low[places].tolist(), strict=True)
    return np.array([place for place, high, low in found if (high, low) in known], dtype=np.int64)


def _find_first(ids: Ids) -> Array:
    """Return for each row the first row with the same id; of very many, bucket by bucket.

    A bucket's table fits into the processor's cache, and two buckets may be looked through at once.
    """
    rows = len(ids.high)
    if rows < BUCKET_ROWS * 8:
        return _find_in_table(ids)
    count = min(256, 1 << (rows // BUCKET_ROWS).bit_length())
    mixed = (ids.high ^ (ids.low << np.uint64(7))) * np.uint64(0xD6E8FEB86659FD93)
    bucket = (mixed >> np.uint64(65 - count.bit_length())).astype(np.uint8)
    order = np.argsort(bucket, kind="stable")  # short numbers are sorted in one pass
    ends = np.cumsum(np.bincount(bucket, minlength=count))
    first = np.empty(rows, dtype=np.int32)

    def look(number: int) -> None:
        places = order[ends[number - 1] if number else 0 : ends[number]]
        first[places] = places[_find_in_table(ids.take(places))]

    with ThreadPoolExecutor(max_workers=2) as pool:
        deque(pool.map(look, range(count)), maxlen=0)
    return first


def _find_in_table(ids: Ids) -> Array:
    rows = len(ids.high)
    first = np.zeros(rows, dtype=np.int32)
    left = np.arange(rows, dtype=np.int32)
    high, low = ids
    for turn in range(MOST_ROUNDS):
        if not len(left):
            return first
        bits = max(4, len(left).bit_length())
        mixed = (high ^ (low << np.uint64(turn + 1))) * np.uint64(0x9E3779B97F4A7C15 + 2 * turn)
        slots = (mixed >> np.uint64(64 - bits)).view(np.int64)
        table = np.empty(1 << bits, dtype=np.int32)
        table[slots[::-1]] = np.arange(len(left), dtype=np.int32)[::-1]  # the last that is written stays: the first
        there = table[slots]
        same = (high[there] == high) & (low[there] == low)
        first[left[same]] = left[there[same]]
        other = ~same
        left, high, low = left[other], high[other], low[other]
    if len(left):
        order = np.lexsort((low, high))  # stable: of equal ids the first row comes first
        high, low, left = high[order], low[order], left[order]
        begins = np.ones(len(left), dtype=bool)
        begins[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        first[left] = left[begins][np.cumsum(begins) - 1]
    return first
