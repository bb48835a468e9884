"""Bulk: `resolve` over columns, for millions of rows of evidence at once. Its result is that of `resolve`, row for row.

    table ─► what stands, guards ─► timeline of each visitor ─► people ─► intervals ─► tables
                                          └► what is odd or hard: `resolve` and `lay_out` themselves

Invariants: `resolve` is the definition; a test compares the two on random evidence. Memory: the table and about 400
bytes a row. Imports numpy, scipy and pyarrow: only stitch and rebuild may import this module, and late.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.identity.bulk.columns import (
    CUSTOMERS,
    GUARDS,
    INTERVALS,
    MAP,
    MERGES,
    ResolutionColumns,
    make_columns,
)
from collector.identity.bulk.guards import (
    find_admitted,
    find_blocked_keys,
    find_busy,
    find_contested,
    find_fused,
    find_joins,
    find_known,
    leave_out_replays,
)
from collector.identity.bulk.hard import Judged, judge_components, judge_visitors
from collector.identity.bulk.ids import Array, Ids, write_ids, write_numbers, write_texts
from collector.identity.bulk.intervals import FOR_EVER_MS, Spans, find_switches, join_spans, lay_out
from collector.identity.bulk.pairs import Tied, tie_visitors
from collector.identity.bulk.people import NEVER_MS, Crowd, Merges, form_people, gather_crowd, list_merges
from collector.identity.bulk.renames import name_again, rename
from collector.identity.bulk.rows import NOBODY, REKEY_WORD, Evidences, note, read_rows
from collector.identity.bulk.timeline import make_timeline, part_stretches
from collector.identity.evidence import LINKED
from collector.identity.guards import GuardReason
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.intervals import BEGINNING_MS
from collector.identity.policy import Policy
from collector.identity.resolve import Resolution

_PARTS = ("map_rows", "intervals", "customers", "guards", "merges")


@dataclass(slots=True)
class Effort:
    """How much was not judged in columns: visitors laid out one by one, and components resolved row by row."""

    hard_visitors: int = 0
    odd_rows: int = 0


def resolve_columns(
    table: pa.Table, policy: Policy, fused: Iterable[str] = (), effort: Effort | None = None
) -> ResolutionColumns:
    """Resolve evidence of one identity space, in any order, with any repeats: see `resolve`.

    `table`: of schema `columns.EVIDENCE`, at most 2^30 rows. `effort`: is told what columns could not judge.
    """
    effort = effort or Effort()
    evidences = read_rows(table, policy)
    known = find_known(evidences, fused)
    renamed = None
    if (evidences.rows.stands & (evidences.rows.word == REKEY_WORD)).any():
        # Counted by all their names, as whoever reads a component counts.
        known |= find_busy(evidences, find_joins(evidences)[0])
        renamed = rename(evidences)
        known[evidences.first_name[known]] = True
    joins, blocked = find_joins(evidences)
    evidences.notes.append(note(blocked, GuardReason.BLOCKED))
    contested = find_contested(evidences, joins)
    known |= find_fused(evidences, joins, contested)
    joins = find_admitted(evidences, joins, known)
    admitted = leave_out_replays(evidences, joins, contested)
    timeline, odd = make_timeline(evidences, admitted)
    # Sign-outs too: in one millisecond the id says the order, and of an odd one there is but a digest.
    odd = np.unique(np.concatenate([each[evidences.rows.is_odd[each]] for each in (joins, timeline.row)] + [odd]))
    apart = Resolution()
    if len(odd):
        apart, taken = judge_components(evidences, joins, odd, policy)
        left = ~taken[evidences.rows.a[admitted]]
        effort.odd_rows += int((~left).sum())
        admitted, timeline = admitted[left], timeline.keep(np.flatnonzero(~taken[timeline.visitor]))

    timeline = part_stretches(evidences, timeline)
    crowd = gather_crowd(evidences, admitted, policy)
    form_people(crowd, admitted, timeline)
    tied = tie_visitors(crowd, admitted, timeline)
    effort.hard_visitors += int(tied.hard.sum())
    with ThreadPoolExecutor(max_workers=1) as beside:  # numpy lets go of the interpreter
        judging = beside.submit(judge_visitors, crowd, admitted, timeline, tied.hard)
        laid = [(attached, lay_out(crowd, attached, stretches)) for attached, stretches in tied.parts]
        judged = judging.result()
    spans = join_spans([spans for _, spans in laid])
    merges = [*list_merges(crowd), *(each for part in laid for each in find_switches(crowd, *part))]
    found = _put_together(crowd, spans, tied, judged, merges, make_columns(apart))
    if renamed is not None:
        again = name_again(evidences, renamed, found.map_rows, known | find_blocked_keys(evidences))
        found.map_rows = pa.concat_tables([found.map_rows, again])
    return found


def _put_together(
    crowd: Crowd, spans: Spans, tied: Tied, judged: Judged, merges: list[Merges], apart: ResolutionColumns
) -> ResolutionColumns:
    """Make the tables."""
    evidences = crowd.evidences
    hard = make_columns(judged.resolution)
    with ThreadPoolExecutor(max_workers=1) as beside:
        mapping = beside.submit(_map_keys, crowd)
        listing = beside.submit(_list_customers, crowd, spans, judged)
        visitors, several = _map_visitors(crowd, spans)
        own = ResolutionColumns(
            map_rows=pa.concat_tables([visitors, _map_groups(evidences, tied), mapping.result()]),
            intervals=_list_intervals(crowd, several),
            customers=listing.result(),
            guards=_list_guards(evidences),
            merges=_list_merges(evidences, merges),
        )
    parts = {name: [getattr(each, name) for each in (own, hard, apart)] for name in _PARTS}
    return ResolutionColumns(
        **{
            name: pa.concat_tables([each for each in tables if each.num_rows] or tables[:1]).unify_dictionaries()
            for name, tables in parts.items()
        }
    )


def _map_visitors(crowd: Crowd, spans: Spans) -> tuple[pa.Table, Spans]:
    """Return the map's rows of visitors, and the intervals of those that have several."""
    begins = np.ones(len(spans.visitor), dtype=bool)
    begins[1:] = spans.visitor[1:] != spans.visitor[:-1]
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(begins))[: len(first)] - 1
    several = (last > first) | (spans.to_ms[last] != FOR_EVER_MS) | (spans.proved[last] == 0)
    table = _make(
        MAP,
        key=_write_keys(crowd.evidences, spans.visitor[first]),
        key_kind=_repeat(VISITOR_KIND, len(first)),
        key_customer_id=_repeat("", len(first)).cast(pa.string()),
        **_name_people(crowd, spans.person[last]),
        valid_from_ms=spans.from_ms[first],
        several=several,
        level=spans.level[last],
        provisional=spans.provisional[last],
        proved=spans.proved[last],
    )
    return table, spans.keep(np.flatnonzero(several[np.cumsum(begins) - 1]) if len(begins) else first)


def _map_groups(evidences: Evidences, tied: Tied) -> pa.Table:
    """Return the map's rows of visitors that are one with an older one, and nobody knows who."""
    count = len(tied.younger)
    return _make(
        MAP,
        key=_write_keys(evidences, tied.younger),
        key_kind=_repeat(VISITOR_KIND, count),
        key_customer_id=_repeat("", count).cast(pa.string()),
        person_id=_write_keys(evidences, tied.older),
        customer_id=_repeat("", count).cast(pa.string()),
        customer_key=_write_keys(evidences, np.full(count, NOBODY)),
        valid_from_ms=np.full(count, BEGINNING_MS),
        several=np.zeros(count, dtype=np.uint8),
        level=np.full(count, LINKED),
        provisional=np.zeros(count, dtype=np.uint8),
        proved=np.ones(count, dtype=np.uint8),
    )


def _map_keys(crowd: Crowd) -> pa.Table:
    """Return the map's rows of customer keys."""
    evidences = crowd.evidences
    keys = np.flatnonzero(crowd.is_member)
    signed_ms = crowd.signed_ms.copy()
    np.minimum.at(signed_ms, crowd.person[keys], crowd.signed_ms[keys])
    return _make(
        MAP,
        key=_write_keys(evidences, keys),
        key_kind=_write_kinds(evidences, keys),
        key_customer_id=evidences.read_values(keys).cast(pa.string()),
        **_name_people(crowd, crowd.person[keys]),
        valid_from_ms=np.full(len(keys), BEGINNING_MS),
        several=np.zeros(len(keys)),
        level=crowd.level[keys],
        provisional=signed_ms[crowd.person[keys]] == NEVER_MS,
        proved=np.ones(len(keys)),
    )


def _list_intervals(crowd: Crowd, spans: Spans) -> pa.Table:
    return _make(
        INTERVALS,
        key=_write_keys(crowd.evidences, spans.visitor),
        valid_from_ms=spans.from_ms,
        valid_to_ms=pc.replace_with_mask(
            write_numbers(spans.to_ms),
            write_numbers(spans.to_ms == FOR_EVER_MS, pa.bool_()),
            pa.scalar(None, pa.int64()),
        ),
        **_name_people(crowd, spans.person),
        level=spans.level,
        provisional=spans.provisional,
        proved=spans.proved,
    )


def _list_customers(crowd: Crowd, spans: Spans, judged: Judged) -> pa.Table:
    """Return the people whom somebody has signed in as, or whom links have named on a visitor."""
    evidences = crowd.evidences
    keys = np.flatnonzero(crowd.is_member)
    person = crowd.person[keys]
    signed_ms, level, held_ms = crowd.signed_ms.copy(), crowd.level.copy(), np.full(len(crowd.person), NEVER_MS)
    np.minimum.at(signed_ms, person, crowd.signed_ms[keys])
    np.maximum.at(level, person, crowd.level[keys])
    np.minimum.at(held_ms, spans.person, spans.from_ms)
    for number, since_ms in judged.held_since.items():
        held_ms[number] = min(held_ms[number], since_ms)
    people = keys[person == keys]
    people = people[(signed_ms[people] != NEVER_MS) | (held_ms[people] != NEVER_MS)]
    is_signed = signed_ms[people] != NEVER_MS
    names = _name_people(crowd, people)
    return _make(
        CUSTOMERS,
        **names,
        customer_kind=_write_kinds(evidences, people),
        level=level[people],
        provisional=~is_signed,
        since_ms=np.where(is_signed, signed_ms[people], held_ms[people]),
    )


def _list_guards(evidences: Evidences) -> pa.Table:
    notes = [each for each in evidences.notes if len(each.row)]
    if not notes:
        return GUARDS.empty_table()
    row, person, other = (
        np.concatenate([getattr(each, name) for each in notes]) for name in ("row", "person", "other")
    )
    rows = evidences.rows
    return _make(
        GUARDS,
        evidence_id=_write_evidence(evidences, row),
        reason=_write_words([each.reason for each in notes], [len(each.row) for each in notes]),
        at_ms=rows.time_ms[row],
        a_key=_write_keys(evidences, rows.a[row]),
        b_key=_write_keys(evidences, rows.b[row]),
        person_id=_write_keys(evidences, person),
        other_person_id=_write_keys(evidences, other),
    )


def _list_merges(evidences: Evidences, merges: list[Merges]) -> pa.Table:
    if not merges:
        return MERGES.empty_table()
    names = ("row", "at_ms", "a", "b", "person", "other")
    row, at_ms, a, b, person, other = (np.concatenate([getattr(each, name) for each in merges]) for name in names)
    return _make(
        MERGES,
        evidence_id=_write_evidence(evidences, row),
        reason=_write_words([each.reason for each in merges], [len(each.row) for each in merges]),
        at_ms=at_ms,
        a_key=_write_keys(evidences, a),
        b_key=_write_keys(evidences, b),
        person_id=_write_keys(evidences, person),
        other_person_id=_write_keys(evidences, other),
    )


def _name_people(crowd: Crowd, people: Array) -> dict[str, Any]:
    key = _write_keys(crowd.evidences, people)
    values = crowd.evidences.read_values(people).cast(pa.string())
    return {"person_id": key, "customer_id": values, "customer_key": key}


def _write_keys(evidences: Evidences, numbers: Array) -> pa.Array:
    ids = evidences.keys.id.take(numbers)
    nobody = numbers == NOBODY
    if nobody.any():
        ids = Ids(np.where(nobody, 0, ids.high).astype(np.uint64), np.where(nobody, 0, ids.low).astype(np.uint64))
    return write_ids(ids)


def _write_evidence(evidences: Evidences, rows: Array) -> pa.Array:
    found = write_texts(evidences.rows.id.take(rows))
    if evidences.rows.is_odd[rows].any():
        # Of an id of another form, as restored evidence has it, the bytes are a digest: the text is the id.
        texts = evidences.table["evidence_text"].take(write_numbers(rows)).combine_chunks()
        found = pc.coalesce(texts, found)
    return found


def _write_kinds(evidences: Evidences, keys: Array) -> pa.Array:
    codes = evidences.keys.kind[keys].astype(np.int32)
    return pa.DictionaryArray.from_arrays(write_numbers(codes), pa.array(evidences.kinds, pa.string()))


def _write_words(words: list[str], counts: list[int]) -> pa.Array:
    known = sorted(set(words))
    codes = np.repeat(np.array([known.index(word) for word in words], dtype=np.int32), counts)
    return pa.DictionaryArray.from_arrays(write_numbers(codes), pa.array(known, pa.string()))


def _repeat(word: str, rows: int) -> pa.Array:
    return _write_words([word], [rows])


def _make(schema: pa.Schema, **columns: Any) -> pa.Table:
    arrays = []
    for each in schema:
        values = columns[each.name]
        if isinstance(values, np.ndarray):
            values = write_numbers(values, each.type)
        arrays.append(values)
    return pa.Table.from_arrays(arrays, schema=schema)
