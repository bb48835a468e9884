"""What was copied of a source the last time: keys and digests of all its records, and the details of a few.

All keys are held as one sorted array: 40 bytes a record, whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pyarrow as pa

from collector.profiles.traits import TRAIT_COLUMNS, TraitRow, decode_trait
from collector.store.client import StoreClient

UNFINISHED = bytes(16)
"""Digest of a record that is being written."""
KEYS_AT_ONCE = 2_000
_ALL = """
SELECT record.key AS key, digest
FROM customer_records AS record FINAL
WHERE space_id = {space:String} AND source = {source:String}
"""
_TIES = """
SELECT toJSONString((record.key, digest != toFixedString('', 16), ties)) AS row
FROM customer_records AS record FINAL
WHERE space_id = {space:String} AND source = {source:String} AND record.key IN {keys:Array(UUID)}
"""
_TRAITS = f"""
SELECT toJSONString(({TRAIT_COLUMNS})) AS row
FROM traits AS said FINAL
WHERE space_id = {{space:String}} AND said.key IN {{keys:Array(UUID)}} AND source = {{source:String}}
    AND is_deleted = 0
"""  # noqa: S608  our own words
_STATES = """
SELECT toString(said.key) AS key, state
FROM (SELECT * FROM person_states FINAL WHERE space_id = {space:String}) AS said
WHERE is_deleted = 0
"""


class Tie(msgspec.Struct, frozen=True):
    """An identifier that a record has named. `key`: own person id; `time_ms`: since when, milliseconds since 1970.
    `is_ending`: it is being taken back, and may be already; what is said anew is said under another time."""

    kind: str
    value: str
    key: str
    time_ms: int
    is_ending: int = 0


class Before(msgspec.Struct, frozen=True):
    """What stands of a record. `is_finished`: its evidence is in the spool and its values are in the store."""

    ties: tuple[Tie, ...] = ()
    is_finished: bool = True


class _Ties(msgspec.Struct, frozen=True, array_like=True):
    key: str
    is_finished: int
    ties: tuple[Tie, ...]


_decode_ties = msgspec.json.Decoder(_Ties, strict=False).decode
_decode_lines = msgspec.json.Decoder(dict[str, str]).decode_lines


class Standing:
    """The records that stand, by their keys of 16 bytes."""

    def __init__(self, keys: bytes, digests: bytes) -> None:
        """16 bytes of each record, one after the other."""
        first, second = _split(keys)
        order = np.argsort(first, kind="stable")
        self._first, self._second = first[order], second[order]
        self._digests = np.frombuffer(digests, dtype="V16")[order]
        self._seen = np.zeros(len(order), dtype=bool)

    def __len__(self) -> int:
        return len(self._first)

    def compare(self, keys: Sequence[bytes], digests: Sequence[bytes]) -> list[bool | None]:
        """Return of each record whether it stands as it is: None where it is new. They count as seen."""
        found: list[bool | None] = [None] * len(keys)
        if not len(self) or not keys:
            return found
        first, second = _split(b"".join(keys))
        places = np.searchsorted(self._first, first)
        for number in np.flatnonzero(self._first[np.minimum(places, len(self) - 1)] == first).tolist():
            place = int(places[number])
            while place < len(self) and self._first[place] == first[number]:
                if self._second[place] == second[number]:
                    self._seen[place] = True
                    found[number] = self._digests[place].tobytes() == digests[number]
                    break
                place += 1
        return found

    def list_unseen(self) -> list[bytes]:
        """Return the keys of records that nobody has asked for."""
        unseen = ~self._seen
        pairs = zip(self._first[unseen].tolist(), self._second[unseen].tolist(), strict=True)
        return [first.to_bytes(8, "big") + second.to_bytes(8, "big") for first, second in pairs]


def read_standing(client: StoreClient, space_id: str, source: str) -> Standing:
    """Return what stands of a source. Raises StoreError."""
    table = client.read_columns(_ALL, {"space": space_id, "source": source})
    return Standing(_join(table.column("key")), _join(table.column("digest")))


def read_before(client: StoreClient, space_id: str, source: str, keys: Iterable[bytes]) -> dict[bytes, Before]:
    """Return what stands of records, by key. Raises StoreError."""
    rows = map(_decode_ties, _ask(client, _TIES, space_id, source, keys))
    return {UUID(row.key).bytes: Before(row.ties, bool(row.is_finished)) for row in rows}


def read_values(client: StoreClient, space_id: str, source: str, keys: Iterable[bytes]) -> dict[bytes, list[TraitRow]]:
    """Return the traits that stand by this source, by key. Raises StoreError."""
    found: dict[bytes, list[TraitRow]] = {}
    for text in _ask(client, _TRAITS, space_id, source, keys):
        row = decode_trait(text)
        found.setdefault(UUID(row.key).bytes, []).append(row)
    return found


def read_states(client: StoreClient, space_id: str) -> Mapping[str, str]:
    """Return who is erased or restricted, by own person id. Raises StoreError."""
    return {row["key"]: row["state"] for row in client.query_rows(_STATES, {"space": space_id})}


def make_record_rows(
    space_id: str, source: str, rows: Sequence[tuple[bytes, bytes, Sequence[Tie]]], version: int, *, is_deleted: bool
) -> pa.Table:
    """Return rows of `customer_records`: key, digest and ties of each."""
    count = len(rows)
    said = [tie for _, _, ties in rows for tie in ties]
    offsets = list(accumulate((len(ties) for _, _, ties in rows), initial=0))
    columns = {
        "kind": pa.array([tie.kind for tie in said], pa.string()),
        "value": pa.array([tie.value for tie in said], pa.string()),
        "key": join_keys([bytes.fromhex(tie.key.replace("-", "")) for tie in said]),
        "time_ms": pa.array([tie.time_ms for tie in said], pa.int64()),
        "is_ending": pa.array([tie.is_ending for tie in said], pa.uint8()),
    }
    listed = pa.StructArray.from_arrays(list(columns.values()), names=list(columns))
    words: dict[str, tuple[Any, pa.DataType]] = {
        "space_id": (space_id, pa.string()),
        "source": (source, pa.string()),
        "version": (version, pa.uint64()),
        "is_deleted": (int(is_deleted), pa.uint8()),
    }
    return pa.table(
        {
            "key": join_keys([key for key, _, _ in rows]),
            "digest": join_keys([digest for _, digest, _ in rows]),
            "ties": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), listed),
            **{name: pa.repeat(pa.scalar(word, kind), count) for name, (word, kind) in words.items()},
        }
    )


def join_keys(keys: Sequence[bytes]) -> pa.Array:
    """Return values of 16 bytes as a column: by `pa.array` it would take a hundred times as long."""
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(keys), [None, pa.py_buffer(b"".join(keys))])


def _ask(client: StoreClient, sql: str, space_id: str, source: str, keys: Iterable[bytes]) -> Iterable[str]:
    ordered = sorted(keys)
    for start in range(0, len(ordered), KEYS_AT_ONCE):
        part = [str(UUID(bytes=key)) for key in ordered[start : start + KEYS_AT_ONCE]]
        with client.stream(sql, {"space": space_id, "source": source, "keys": part}) as answer:
            for line in _decode_lines(b"".join(answer)):
                yield line["row"]


def _join(column: pa.ChunkedArray) -> bytes:
    """Return the values of a column of 16 bytes each, one after the other."""
    return b"".join(chunk.buffers()[1][16 * chunk.offset : 16 * (chunk.offset + len(chunk))] for chunk in column.chunks)


def _split(keys: bytes) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return keys of 16 bytes as two columns of numbers."""
    numbers = np.frombuffer(keys, dtype=">u8").astype("u8").reshape(-1, 2)
    return numbers[:, 0], numbers[:, 1]
