"""Evidence as columns of numbers: what stands, with each identifier's number, kind and verdict.

The part of `bulk` that does what `evidence.keep_standing` does. Numbers of kinds are
in the order of their strength. Rows keep the order of the table; where order in time matters, few rows are sorted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.identity.bulk.columns import read_evidence
from collector.identity.bulk.ids import Array, Ids, find_first, join_ids, number_ids, read_ids, write_numbers
from collector.identity.evidence import (
    DISOWN,
    HANDOVER,
    LINK,
    LINKED,
    RESET,
    SURE_PROOFS,
    TRUSTED_PROOFS,
    read_content,
)
from collector.identity.guards import GuardReason
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.intervals import OF_BROWSER as BROWSER_PROOFS
from collector.identity.people import ALIAS
from collector.identity.policy import Policy
from collector.identity.rekey import REKEY

OTHER_WORD, RESET_WORD, LINK_WORD, HANDOVER_WORD, ALIAS_WORD, REKEY_WORD, DISOWN_WORD = range(7)
_WORDS = {
    RESET: RESET_WORD,
    LINK: LINK_WORD,
    HANDOVER: HANDOVER_WORD,
    ALIAS: ALIAS_WORD,
    REKEY: REKEY_WORD,
    DISOWN: DISOWN_WORD,
}
PROVED, SURE, OF_BROWSER = 1, 2, 4
"""Of a proof, what it is good for: see `Attachment` and `intervals.OF_BROWSER`."""
NOBODY = -1


@dataclass(slots=True)
class Rows:
    """Rows of evidence, one place in each array for each, as in the table. `stands`: neither repeated nor taken back;
    whoever looks for rows begins with these."""

    stands: Array
    id: Ids
    word: Array
    level: Array
    a: Array
    b: Array
    a_kind: Array
    b_kind: Array
    proof: Array
    time_ms: Array
    started_ms: Array
    event: Ids
    is_human: Array
    is_odd: Array  # what only `resolve` itself can judge

    @property
    def is_proved(self) -> Array:
        """Where it came from who has the visitor: see `Attachment.is_proved`."""
        return has_proof(self.proof, PROVED)

    @property
    def is_sure(self) -> Array:
        """Where it is proved, or as good as that: see `Attachment.is_sure`."""
        return has_proof(self.proof, SURE)

    @property
    def is_sign_in(self) -> Array:
        """Where it attaches by itself: see `people.is_sign_in`."""
        found: Array = (self.level > LINKED) & (self.word != LINK_WORD)
        return found

    def sort(self, places: Array, group: Array) -> Array:
        """Return the order of some rows by group, then by place in time, as `Evidence.order` has it."""
        event, own = self.event.take(places), self.id.take(places)
        order: Array = np.lexsort((own.low, own.high, event.low, event.high, self.time_ms[places], group))
        return order


@dataclass(slots=True)
class Keys:
    """The identifiers that evidence names, by number. `value`: where the table has it, by side and row."""

    id: Ids
    kind: Array
    value_row: Array  # where the table has the value: side a row by row, then side b


@dataclass(slots=True)
class Evidences:
    """All that was read: `rows` that stand, `keys` they name, `kinds` by number, and the table itself."""

    table: pa.Table
    rows: Rows
    keys: Keys
    policy: Policy
    kinds: list[str]
    visitor: int  # the number of the visitor's kind
    first_name: Array  # of each key the one under which it is read: its own, but see `renames`
    is_renamed: Array  # the first names of those that have several
    notes: list[Note] = field(default_factory=list)
    _values: pa.Array | None = None

    def read_values(self, numbers: Array) -> pa.Array:
        """Return the values of identifiers as they are stored; null where they were not carried."""
        if self._values is None:
            both = pa.chunked_array([*self.table["a_value"].chunks, *self.table["b_value"].chunks], pa.string())
            self._values = both.cast(pa.large_string()).combine_chunks()
        return self._values.take(write_numbers(self.keys.value_row[numbers]))


@dataclass(slots=True)
class Note:
    """Notes of a guard for one reason, one place in each array for each. `person`, `other`: numbers, or NOBODY."""

    reason: str
    row: Array
    person: Array
    other: Array


def note(rows: Array, reason: GuardReason, person: Array | None = None, other: Array | None = None) -> Note:
    """Make the notes for some rows."""
    nobody = np.full(len(rows), NOBODY, dtype=np.int32)
    return Note(reason.value, rows, nobody if person is None else person, nobody if other is None else other)


def read_rows(table: pa.Table, policy: Policy) -> Evidences:
    """Read a table of schema `columns.EVIDENCE`: what stands of it, each piece of evidence once."""
    id = read_ids(table["evidence_id"])
    a_codes, a_words = read_words(table["a_kind"])
    b_codes, b_words = read_words(table["b_kind"])
    kinds = sorted({*a_words, *b_words, VISITOR_KIND}, key=policy.rank)
    number_of = {kind: number for number, kind in enumerate(kinds)}
    word_codes, words = read_words(table["kind"])
    proof_codes, proofs = read_words(table["proof"])
    human_codes, humans = read_words(table["human"])
    rows_read = len(id.high)

    with ThreadPoolExecutor(max_workers=1) as beside:
        finding = beside.submit(_find_standing, table, id)
        keys = join_ids(read_ids(table["a_key"]), read_ids(table["b_key"]))
        numbers, first = number_ids(keys)
        stands = finding.result()
    kind = np.concatenate(
        [_translate(a_codes, [number_of[w] for w in a_words]), _translate(b_codes, [number_of[w] for w in b_words])]
    )
    rows = Rows(
        stands=stands,
        id=id,
        word=_translate(word_codes, [_WORDS.get(word, OTHER_WORD) for word in words]),
        level=read_numbers(table["level"], np.uint8),
        a=numbers[:rows_read],
        b=numbers[rows_read:],
        a_kind=kind[:rows_read],
        b_kind=kind[rows_read:],
        proof=_translate(proof_codes, [weigh_proof(proof) for proof in proofs]),
        time_ms=read_numbers(table["time_ms"], np.int64),
        started_ms=read_numbers(table["session_started_ms"], np.int64),
        event=read_ids(table["event_id"]),
        is_human=_translate(human_codes, [bool(human) for human in humans]).astype(bool),
        is_odd=read_bools(pc.is_valid(table["evidence_text"])),
    )
    names = Keys(keys.take(first), kind[first], first)
    own, no_other = np.arange(len(first)), np.zeros(len(first), dtype=bool)
    evidences = Evidences(table, rows, names, policy, kinds, number_of[VISITOR_KIND], own, no_other)
    _turn_visitor_first(evidences.rows, evidences.visitor)
    return evidences


def read_words(column: pa.ChunkedArray) -> tuple[Array, list[str]]:
    """Return a column of few different words as their numbers, and the words."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries()
    if not column.num_chunks:
        return np.zeros(0, dtype=np.int32), []
    codes = read_numbers(pa.chunked_array([chunk.indices for chunk in column.chunks]), np.int32)
    words = [word.decode() if isinstance(word, bytes) else word for word in column.chunk(0).dictionary.to_pylist()]
    return codes, words


def read_numbers(column: pa.ChunkedArray, dtype: Any) -> Array:
    """Return a column of numbers or moments without nulls. (pyarrow's own way would import pandas.)"""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", column.type.tz)).cast(pa.int64())
    column = column.cast(pa.from_numpy_dtype(dtype))
    parts = [
        np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * np.dtype(dtype).itemsize)
        for chunk in column.chunks
        if len(chunk)
    ]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)


def read_bools(column: pa.ChunkedArray) -> Array:
    """Return a column of yes and no."""
    return read_numbers(column.cast(pa.uint8()), np.uint8).astype(bool)


def _find_standing(table: pa.Table, id: Ids) -> Array:
    op = read_numbers(table["op"], np.int8)
    first = find_first(id)
    own = np.arange(len(first))
    stands: Array = first == own
    taken_back = np.zeros(len(first), dtype=bool)
    taken_back[first[op < 0]] = True
    stands &= ~taken_back
    repeats = np.flatnonzero((first != own) & ~taken_back[first])
    differing = repeats[_differ(table, repeats, first[repeats])] if len(repeats) else repeats
    for start in np.unique(first[differing]).tolist():
        group = np.concatenate([[start], differing[first[differing] == start]])
        contents = [read_content(row) for row in read_evidence(table.take(write_numbers(group)))]
        stands[start] = False
        stands[group[min(range(len(group)), key=contents.__getitem__)]] = True
    return stands


def _differ(table: pa.Table, some: Array, others: Array) -> Array:
    """Return which rows say something else than others do."""
    differ = np.zeros(len(some), dtype=bool)
    for name in table.column_names:
        if name not in ("evidence_id", "op", "a_value", "b_value"):
            first, second = table[name].take(write_numbers(some)), table[name].take(write_numbers(others))
            if pa.types.is_dictionary(first.type):
                first, second = first.cast(first.type.value_type), second.cast(first.type.value_type)
            same = pc.fill_null(pc.equal(first, second), True)
            differ |= ~read_bools(same)
    return differ


def _turn_visitor_first(rows: Rows, visitor: int) -> None:
    turned = np.flatnonzero((rows.word != RESET_WORD) & (rows.a_kind != visitor) & (rows.b_kind == visitor))
    if len(turned):
        rows.a, rows.b = rows.a.copy(), rows.b.copy()
        rows.a[turned], rows.b[turned] = rows.b[turned], rows.a[turned]
        rows.a_kind[turned], rows.b_kind[turned] = rows.b_kind[turned], rows.a_kind[turned]


def weigh_proof(proof: str) -> int:
    """Return what a proof is good for."""
    return PROVED * (proof in TRUSTED_PROOFS) + SURE * (proof in SURE_PROOFS) + OF_BROWSER * (proof in BROWSER_PROOFS)


def has_proof(proof: Array, wanted: int) -> Array:
    """Return where proofs are good for something."""
    found: Array = (proof & wanted) > 0
    return found


def _translate(codes: Array, meanings: list[Any]) -> Array:
    table = np.array(meanings or [0], dtype=np.int8)
    found: Array = table[codes]
    return found
