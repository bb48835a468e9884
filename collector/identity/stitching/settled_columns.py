"""Settled visitors as columns: what `settled` says of a few rows, for the tens of thousands of a step.

Imports numpy and pyarrow: only stitch imports this module, and late. Invariant: `settled.find_settled` is the
definition; a test holds the two against each other.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.identity.bulk.ids import Array, number_ids, read_ids, write_numbers
from collector.identity.bulk.rows import read_bools, read_numbers, read_words
from collector.identity.evidence import SIGNED
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.stitching.settled import IDENTIFY, PROOF

_NEVER_MS = np.iinfo(np.int64).max


def find_settled_columns(rows: pa.Table, age: Array, tied: pa.Table, map_rows: pa.Table) -> set[bytes]:
    """Return the visitors that are settled.

    `rows`: all evidence in which any of the visitors comes first, hints left out, of schema `columns.EVIDENCE`; `age`
    of each, see `settled.Seen`. `tied`: its `b_key` are visitors that any evidence names second. `map_rows`: the map's
    rows of the visitors and of the keys that they name, of schema `columns.MAP`.
    """
    visitor, first = number_ids(read_ids(rows["a_key"]))
    names = rows["a_key"].combine_chunks().take(write_numbers(first))
    own = _find_held(names, map_rows)
    other = _find_held(rows["b_key"], map_rows)
    person = np.append(number_ids(read_ids(map_rows["person_id"]))[0], -1)
    plain = pc.and_(
        pc.equal(pc.bit_wise_or(map_rows["several"], map_rows["provisional"]), 0), pc.equal(map_rows["proved"], 1)
    )
    is_plain = np.append(read_bools(plain), False)
    level, time_ms = read_numbers(rows["level"], np.uint8), read_numbers(rows["time_ms"], np.int64)
    event = read_ids(rows["event_id"])

    doubtful = ~_is_word(rows["kind"], IDENTIFY) | _is_word(rows["b_kind"], VISITOR_KIND) | (level < SIGNED)
    doubtful |= (read_numbers(rows["op"], np.int8) < 0) | (age > 1) | event.is_nil
    doubtful |= read_bools(pc.greater(pc.binary_length(rows["token_id"]), 0))
    doubtful |= (other < 0) | (person[other] != person[own[visitor]])
    is_old, is_new = age == 0, age == 1
    last_ms = np.full(len(first), -1, dtype=np.int64)
    np.maximum.at(last_ms, visitor[is_old], time_ms[is_old])
    first_new_ms = np.full(len(first), _NEVER_MS, dtype=np.int64)
    np.minimum.at(first_new_ms, visitor[is_new], time_ms[is_new])
    settled: Array = is_plain[own] & (last_ms >= 0) & (first_new_ms > last_ms) & (first_new_ms < _NEVER_MS)
    settled[visitor[doubtful]] = False
    settled &= ~read_bools(pa.chunked_array([pc.is_in(names, value_set=tied["b_key"].combine_chunks())]))

    # What is left: whether each new request says what the last one said, and that by the cookie.
    chosen = np.flatnonzero(settled[visitor])
    visitor, is_old, is_new = visitor[chosen], is_old[chosen], is_new[chosen]
    asked = (visitor.astype(np.int64) << 32) | number_ids(event.take(chosen))[0]
    _, request = np.unique(asked * 2 + is_new, return_inverse=True)
    proofs, words = read_words(rows["proof"])
    is_cookie = np.array([word == PROOF for word in words] or [False])[proofs[chosen]]
    _, saying = np.unique(
        (other[chosen] * 256 + level[chosen]) * (len(words) + 1) + proofs[chosen], return_inverse=True
    )

    is_last = np.zeros(len(chosen) + 1, dtype=bool)  # by request
    is_last[request[is_old & (time_ms[chosen] == last_ms[visitor])]] = True
    of_last = np.flatnonzero(is_last[request])
    settled[visitor[of_last[~is_cookie[of_last]]]] = False
    owner = np.zeros(len(chosen) + 1, dtype=np.int64)
    owner[request] = visitor
    settled &= np.bincount(owner[np.flatnonzero(is_last)], minlength=len(first)) == 1

    said = np.unique((visitor[of_last].astype(np.int64) << 32) | saying[of_last])
    size = np.bincount(said >> 32, minlength=len(first))
    now = np.flatnonzero(is_new)
    settled[visitor[now[~np.isin((visitor[now].astype(np.int64) << 32) | saying[now], said)]]] = False
    pairs = np.unique((request[now].astype(np.int64) << 32) | saying[now])
    sizes = np.bincount(pairs >> 32, minlength=len(chosen) + 1)
    asking = np.flatnonzero(sizes)
    settled[owner[asking[sizes[asking] != size[owner[asking]]]]] = False
    return set(names.take(write_numbers(np.flatnonzero(settled))).to_pylist())


def _find_held(keys: pa.Array | pa.ChunkedArray, map_rows: pa.Table) -> Array:
    """Return the place of each key among the map's rows, -1 where it is not there."""
    places = pc.fill_null(pc.index_in(keys, value_set=map_rows["key"].combine_chunks()), -1)
    return read_numbers(places if isinstance(places, pa.ChunkedArray) else pa.chunked_array([places]), np.int64)


def _is_word(column: pa.ChunkedArray, wanted: str) -> Array:
    codes, words = read_words(column)
    found: Array = np.array([word == wanted for word in words] or [False])[codes]
    return found
