"""Renames as columns: evidence of identifiers with several names put under the first of each, and the map by all of
them again. The part of `bulk` that does what `renames` does.

Rekey evidence is read row by row, a dozen microseconds each; all else goes as columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.event import NIL_ID
from collector.identity.bulk_guards import Contested, find_fused, find_joins
from collector.identity.bulk_rows import read_rows, read_words
from collector.identity.columns import KEY, MAP, ResolutionColumns, make_columns, read_evidence, to_bytes, to_text
from collector.identity.evidence import SERVER
from collector.identity.intervals import BEGINNING_MS
from collector.identity.policy import Policy
from collector.identity.rekey import REKEY
from collector.identity.renames import Renames, find_renames
from collector.identity.resolve import MapRow, Resolution


class Renaming(NamedTuple):
    """Evidence under first names: `table`, `policy` and `fused` are what has to be resolved instead."""

    table: pa.Table
    policy: Policy
    fused: frozenset[str]
    renames: Renames

    def name_again(self, found: ResolutionColumns) -> ResolutionColumns:
        """Return the resolution with the map's rows by all names: `resolve._name_again`."""
        pairs = [(name, each.first) for each in self.renames.identifiers for name in each.others]
        names = pa.array([to_bytes(name) for name, _ in pairs], KEY)
        firsts = pa.array([to_bytes(first) for _, first in pairs], KEY)
        rows = found.map_rows
        place = pc.index_in(firsts, value_set=rows["key"].combine_chunks())
        known = rows.take(place.drop_null())
        known = known.set_column(0, MAP.field("key"), names.filter(place.is_valid()))
        kind_of = {each.first: each.kind for each in self.renames.identifiers}
        unknown = [
            MapRow(*(name, kind_of[first], "", first, "", NIL_ID, BEGINNING_MS, 0, SERVER, 0))
            for (name, first), is_known in zip(pairs, place.is_valid().to_pylist(), strict=True)
            if not is_known
        ]
        parts = [rows, known, make_columns(Resolution(map_rows=tuple(unknown))).map_rows]
        filled = [part for part in parts if part.num_rows] or parts[:1]
        return ResolutionColumns(
            pa.concat_tables(filled).unify_dictionaries(), found.intervals, found.customers, found.guards, found.merges
        )


def rename(table: pa.Table, policy: Policy, fused: Iterable[str]) -> Renaming | None:
    """Return the evidence under first names, or None where nothing has several."""
    codes, words = read_words(table["kind"])
    if REKEY not in words or not (is_rekey := codes == words.index(REKEY)).any():
        return None
    evidences = read_rows(table, policy)
    place = evidences.rows.place
    is_rekey = is_rekey[place]
    renames = find_renames(read_evidence(table.take(pa.array(place[is_rekey]))))
    if renames is None:
        return None
    # Counted by all their names, as whoever reads a component counts: of what is fused so, the visitors.
    nothing = np.zeros(0, dtype=np.int64)
    busy = find_fused(evidences, find_joins(evidences), Contested(nothing, nothing), ())
    busy &= evidences.keys.kind == evidences.visitor
    high, low = evidences.keys.id.take(np.flatnonzero(busy))
    seen = {to_text((one << 64 | other).to_bytes(16)) for one, other in zip(high.tolist(), low.tolist(), strict=True)}
    return Renaming(
        _rewrite(table.take(pa.array(place[~is_rekey])), renames),
        renames.rewrite_policy(policy),
        renames.find_first({*fused, *seen}),
        renames,
    )


def _rewrite(table: pa.Table, renames: Renames) -> pa.Table:
    """Return the rows with first names and newest values."""
    names = pa.array([to_bytes(name) for name in renames.by_name], KEY)
    firsts = pa.array([to_bytes(each.first) for each in renames.by_name.values()], KEY)
    values = pa.array([each.value for each in renames.by_name.values()], pa.string())
    for side in ("a", "b"):
        place = pc.index_in(table[f"{side}_key"], value_set=names)
        for column, renamed in ((f"{side}_key", firsts), (f"{side}_value", values)):
            number = table.schema.get_field_index(column)
            kept = table[column].cast(renamed.type)
            table = table.set_column(number, table.schema.field(number), pc.coalesce(renamed.take(place), kept))
    return table
