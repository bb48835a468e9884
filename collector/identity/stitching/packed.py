"""Packed evidence: the three columns of `identity_evidence` from which all that `resolve` looks at is read at once.

A look by key costs by the column, not by the row. So a row's ids, moments and numbers stand in one piece of
PACKED_BYTES bytes, its words in one text, and values that the piece does not say in another. The table makes all
three by itself (0002_identity.sql), in the layout that stands here. Imports numpy and pyarrow: only stitch and rebuild
import this module, and late.

Invariant: what is unpacked is what the columns of the table say, as `columns.EVIDENCE` has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.identity.bulk.columns import EVIDENCE
from collector.identity.bulk.ids import Array, Ids, write_ids, write_numbers
from collector.identity.bulk.rows import read_words
from collector.identity.identifiers import UUID
from collector.identity.policy import Policy

LAYOUT = np.dtype(
    [
        ("evidence_id", "<u8", 2),
        ("a_key", "<u8", 2),
        ("b_key", "<u8", 2),
        ("session_id", "<u8", 2),
        ("event_id", "<u8", 2),
        ("time_ms", "<i8"),
        ("session_started_ms", "<i8"),
        ("batch_seq", "<u8"),
        ("level", "u1"),
        ("op", "i1"),
        ("flags", "u1"),
        ("a_bytes", "<u4"),
        ("b_bytes", "<u4"),
        ("token_bytes", "<u4"),
    ]
)
"""One row. An id is its two halves, the one first that is written first: so ClickHouse keeps it. `…_bytes`: how long
the first of TEXTS are; the last one goes to the end."""
PACKED_BYTES = LAYOUT.itemsize
A_IS_PLAIN, B_IS_PLAIN, HAS_TOKEN, HAS_PLAIN_ID = 1, 2, 4, 8
"""Flags. Plain: the value of a visitor is an id as the tag makes them, the id of the evidence is a UUID."""
WORDS = ("kind", "a_kind", "b_kind", "proof", "human", "site_id", "batch_host")
TEXTS = ("a_value", "b_value", "token_id", "evidence_text")

_LEFT_OUT = {"a_value": A_IS_PLAIN, "b_value": B_IS_PLAIN, "evidence_text": HAS_PLAIN_ID}
_IDS = ("evidence_id", "a_key", "b_key", "session_id", "event_id")
_NUMBERS = ("time_ms", "session_started_ms", "level", "op")
_SELECT = """
    SELECT packed, words, tails FROM identity_evidence AS evidence
    WHERE space_id = {space:String} AND counts
"""
# Values of visitors that stand on the space's own list: the table does not know the list.
_SELECT_LISTED = """
    SELECT packed, words, tails,
        if(a_kind = 'visitor' AND a_value IN {listed:Array(String)}, a_value, '') AS a_listed,
        if(b_kind = 'visitor' AND b_value IN {listed:Array(String)}, b_value, '') AS b_listed
    FROM identity_evidence AS evidence
    WHERE space_id = {space:String} AND counts
"""


def ask_packed(space_id: str, policy: Policy) -> tuple[str, dict[str, Any]]:
    """Return the question for all evidence of a space that counts, and its parameters: its answer is for `unpack`.

    Further conditions may be added to the question's end.
    """
    listed = sorted(value for value in policy.blocked if UUID.fullmatch(value))
    if listed:
        return _SELECT_LISTED, {"space": space_id, "listed": listed}
    return _SELECT, {"space": space_id}


@dataclass(frozen=True, slots=True)
class Packed:
    """Packed rows. `heads`: of LAYOUT; `codes`: which of `words` a row has; `tails`: its TEXTS, one after the other;
    `listed`: by column, values that the space's own list blocks; empty texts in the other rows."""

    heads: Array
    codes: Array
    words: list[str]
    tails: pa.Array
    listed: Mapping[str, pa.Array] = field(default_factory=dict)

    def take(self, places: Array) -> Packed:
        """Return the rows at some places."""
        at = write_numbers(places)
        listed = {name: values.take(at) for name, values in self.listed.items()}
        return Packed(self.heads[places], self.codes[places], self.words, self.tails.take(at), listed)

    def get_keys(self, side: Literal["a", "b"]) -> Ids:
        """Return the first or second identifiers of the rows."""
        halves = self.heads[f"{side}_key"]
        return Ids(np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1]))

    def unpack(self) -> pa.Table:
        """Return the rows as a table of schema `columns.EVIDENCE`."""
        columns: dict[str, pa.Array] = {
            name: write_ids(Ids(self.heads[name][:, 0], self.heads[name][:, 1])) for name in _IDS
        }
        columns |= {name: write_numbers(self.heads[name]) for name in _NUMBERS}
        columns |= self._write_words()
        columns |= self._write_texts()
        for name, flag in _LEFT_OUT.items():
            # What is on the space's list is there, plain or not.
            is_empty = pc.equal(pc.binary_length(columns[name]), 0)
            left_out = pc.and_(write_numbers((self.heads["flags"] & flag) > 0).cast(pa.bool_()), is_empty)
            columns[name] = pc.replace_with_mask(columns[name], left_out, pa.scalar(None, columns[name].type))
        return pa.Table.from_arrays([columns[each.name].cast(each.type) for each in EVIDENCE], schema=EVIDENCE)

    def _write_texts(self) -> dict[str, pa.Array]:
        places, data = read_bytes(self.tails)
        ends = [places[:-1]]
        for name in ("a_bytes", "b_bytes", "token_bytes"):
            ends.append(ends[-1] + self.heads[name])
        ends.append(places[1:])
        columns = {name: cut_texts(data, *cut) for name, cut in zip(TEXTS, pairwise(ends), strict=True)}
        for name, values in self.listed.items():
            columns[name] = pc.if_else(pc.equal(pc.binary_length(values), 0), columns[name], values)
        return columns

    def _write_words(self) -> dict[str, pa.Array]:
        # A dictionary of ClickHouse's begins with an empty text that no row has.
        split = [(words or "\0" * (len(WORDS) - 1)).split("\0") for words in self.words]
        found = {}
        for place, name in enumerate(WORDS):
            known = sorted({words[place] for words in split})
            number = {word: code for code, word in enumerate(known)}
            table = np.array([number[words[place]] for words in split] or [0], dtype=np.int32)
            found[name] = pa.DictionaryArray.from_arrays(write_numbers(table[self.codes]), pa.array(known, pa.string()))
        return found


@dataclass(frozen=True, slots=True)
class PackedParts:
    """Packed rows in parts, the places of each part following those of the one before."""

    parts: Sequence[Packed]

    def __len__(self) -> int:
        return sum(len(part.heads) for part in self.parts)

    def take(self, places: Array) -> Packed:
        """Return the rows at some places, which go up."""
        ends = np.cumsum([len(part.heads) for part in self.parts])
        cuts = [0, *np.searchsorted(places, ends).tolist()]
        return _join(
            [
                part.take(places[first:last] - (end - len(part.heads)))
                for part, end, (first, last) in zip(self.parts, ends.tolist(), pairwise(cuts), strict=True)
            ]
        )


def _join(parts: Sequence[Packed]) -> Packed:
    """Return one part after the other."""
    if len(parts) == 1:
        return parts[0]
    words = sorted({word for part in parts for word in part.words})
    number = {word: code for code, word in enumerate(words)}
    codes = [np.array([number[word] for word in part.words] or [0], dtype=np.int32)[part.codes] for part in parts]
    listed = {name: pa.concat_arrays([part.listed[name] for part in parts]) for name in parts[0].listed}
    tails = pa.concat_arrays([part.tails for part in parts])
    return Packed(np.concatenate([part.heads for part in parts]), np.concatenate(codes), words, tails, listed)


def read_packed(table: pa.Table) -> Packed:
    """Read what `ask_packed`'s question gives: less than 2 GB of texts."""
    codes, words = read_words(table["words"])
    sides = [side for side in "ab" if f"{side}_listed" in table.schema.names]
    listed = {f"{side}_value": table[f"{side}_listed"].combine_chunks() for side in sides}
    return Packed(_read_heads(table["packed"]), codes, words, table["tails"].combine_chunks(), listed)


def unpack(table: pa.Table) -> pa.Table:
    """Return what `ask_packed`'s question gives as a table of schema `columns.EVIDENCE`."""
    return read_packed(table).unpack()


def read_bytes(values: pa.Array) -> tuple[Array, Array]:
    """Return where each text begins, and where the last one ends, among all bytes; and those."""
    width = np.int64 if pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type) else np.int32
    _, begins, data = values.buffers()
    places = np.frombuffer(begins or bytes(8), width)[values.offset : values.offset + len(values) + 1]
    return places.astype(np.int64), np.frombuffer(data or b"", np.uint8)


def cut_texts(data: Array, begins: Array, ends: Array) -> pa.Array:
    """Return the texts between these places of all bytes: less than 2 GB."""
    sizes = ends - begins
    places = np.zeros(len(sizes) + 1, dtype=np.int32)
    np.cumsum(sizes, out=places[1:])
    chosen = data[np.repeat(begins - places[:-1], sizes) + np.arange(places[-1])]
    return pa.StringArray.from_buffers(len(sizes), pa.py_buffer(places), pa.py_buffer(np.ascontiguousarray(chosen)))


def _read_heads(column: pa.ChunkedArray) -> Array:
    parts = [
        np.frombuffer(chunk.buffers()[1], LAYOUT, len(chunk), chunk.offset * PACKED_BYTES)
        for chunk in column.chunks
        if len(chunk)
    ]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=LAYOUT)
