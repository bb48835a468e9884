"""Packed evidence: the three columns of `identity_evidence` from which all that `resolve` looks at is read at once.

A look by key costs by the column, not by the row. So a row's ids, moments and numbers stand in one piece of
PACKED_BYTES bytes, its words in one text, and values that the piece does not say in one list. The table makes all
three by itself (0002_identity.sql), in the layout that stands here. Imports numpy and pyarrow: only stitch and rebuild
import this module, and late.

Invariant: what is unpacked is what the columns of the table say, as `columns.EVIDENCE` has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    ]
)
"""One row. An id is its two halves, the one first that is written first: so ClickHouse keeps it."""
PACKED_BYTES = LAYOUT.itemsize
A_IS_PLAIN, B_IS_PLAIN, HAS_TOKEN, HAS_PLAIN_ID = 1, 2, 4, 8
"""Flags. Plain: the value of a visitor is an id as the tag makes them, the id of the evidence is a UUID."""
WORDS = ("kind", "a_kind", "b_kind", "proof", "human", "site_id", "batch_host")
TEXTS = ("a_value", "b_value", "token_id", "evidence_text")
COUNTS = "(level >= 2 OR kind = 'reset' OR op < 0)"
"""Evidence that `resolve` looks at, as a condition on `identity_evidence`."""

_LEFT_OUT = {"a_value": A_IS_PLAIN, "b_value": B_IS_PLAIN, "evidence_text": HAS_PLAIN_ID}
_IDS = ("evidence_id", "a_key", "b_key", "session_id", "event_id")
_NUMBERS = ("time_ms", "session_started_ms", "level", "op")
_SELECT = f"""
    SELECT packed, words, texts FROM identity_evidence AS evidence
    WHERE space_id = {{space:String}} AND {COUNTS}
"""  # noqa: S608  our own words
# Values of visitors that stand on the space's own list: the table does not know the list.
_SELECT_LISTED = f"""
    SELECT packed, words, [
            if(a_kind = 'visitor' AND a_value IN {{listed:Array(String)}}, a_value, evidence.texts[1]),
            if(b_kind = 'visitor' AND b_value IN {{listed:Array(String)}}, b_value, evidence.texts[2]),
            evidence.texts[3], evidence.texts[4]
        ] AS texts
    FROM identity_evidence AS evidence
    WHERE space_id = {{space:String}} AND {COUNTS}
"""  # noqa: S608  our own words


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
    """Packed rows. `heads`: of LAYOUT; `codes`: which of `words` a row has; `texts`: a list of TEXTS."""

    heads: Array
    codes: Array
    words: list[str]
    texts: pa.Array

    def take(self, places: Array) -> Packed:
        """Return the rows at some places."""
        return Packed(self.heads[places], self.codes[places], self.words, self.texts.take(write_numbers(places)))

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
        # There are always as many in a list, so those of a row are found by their place among all.
        every = self.texts.flatten()
        places = np.arange(len(self.texts), dtype=np.int64) * len(TEXTS)
        return {name: every.take(write_numbers(places + number)) for number, name in enumerate(TEXTS)}

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
    texts = pa.concat_arrays([part.texts for part in parts])
    return Packed(np.concatenate([part.heads for part in parts]), np.concatenate(codes), words, texts)


def read_packed(table: pa.Table) -> Packed:
    """Read what `ask_packed`'s question gives: less than 2 GB of texts."""
    codes, words = read_words(table["words"])
    return Packed(_read_heads(table["packed"]), codes, words, table["texts"].combine_chunks())


def unpack(table: pa.Table) -> pa.Table:
    """Return what `ask_packed`'s question gives as a table of schema `columns.EVIDENCE`."""
    return read_packed(table).unpack()


def _read_heads(column: pa.ChunkedArray) -> Array:
    parts = [
        np.frombuffer(chunk.buffers()[1], LAYOUT, len(chunk), chunk.offset * PACKED_BYTES)
        for chunk in column.chunks
        if len(chunk)
    ]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=LAYOUT)
