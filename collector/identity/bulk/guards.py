"""Guards as columns: which rows may tie anybody, for all at once. The part of `bulk` that does what `guards` does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.identity.bulk.ids import Array, Ids, find_places, number_ids, read_id_texts, write_numbers
from collector.identity.bulk.rows import (
    DISOWN_WORD,
    HANDOVER_WORD,
    LINK_WORD,
    RESET_WORD,
    Evidences,
    note,
    read_bools,
    read_words,
)
from collector.identity.evidence import LINKED
from collector.identity.guards import GuardReason
from collector.identity.identifiers import UUID, VISITOR_KIND, is_blocked

_DIGIT, _AT, _FOREIGN = 1, 2, 4
_SIGNS = np.zeros(256, dtype=np.uint8)
_SIGNS[ord("1") : ord("9") + 1] = _DIGIT
_SIGNS[ord("@")] = _AT
_SIGNS[128:] = _FOREIGN


@dataclass(slots=True)
class Contested:
    """Rows with a token that several visitors showed, by token and in order of time."""

    row: Array
    token: Array  # number of the token, with the identifier and the site that it is good for

    def count_places(self, evidences: Evidences, chosen: Array) -> tuple[Array, Array]:
        """Return how many visitors came before each of the chosen rows' own, and whether it may still attach."""
        rows = evidences.rows
        seen: defaultdict[int, dict[int, int]] = defaultdict(dict)
        counted = zip(self.token[chosen].tolist(), rows.a[self.row[chosen]].tolist(), strict=True)
        places = [seen[token].setdefault(visitor, len(seen[token])) for token, visitor in counted]
        found = np.array(places, dtype=np.int64)
        most = np.where(rows.word[self.row[chosen]] == HANDOVER_WORD, 1, evidences.policy.link_visitors)
        return found, found < most


def find_joins(evidences: Evidences) -> tuple[Array, Array]:
    """Return the rows that may join, in two parts: those that name somebody, and those that do not."""
    rows = evidences.rows
    joins = rows.stands & (rows.level >= LINKED) & (rows.word != RESET_WORD)
    blocked = _find_blocked(evidences)
    refused = joins & (blocked[rows.a] | blocked[rows.b])
    return np.flatnonzero(joins & ~refused), np.flatnonzero(refused)


def find_contested(evidences: Evidences, joins: Array) -> Contested:
    """Return the rows whose tokens need a look: all others are shown by one visitor."""
    rows = evidences.rows
    has_token = read_bools(pc.not_equal(evidences.table["token_id"], ""))
    places = joins[has_token[joins]]
    if not len(places):
        return Contested(places, places)
    tokens, _ = read_words(evidences.table["token_id"].take(write_numbers(places)))
    sites, _ = read_words(evidences.table["site_id"].take(write_numbers(places)))
    of_site = np.where(rows.word[places] == LINK_WORD, 0, sites.astype(np.int64) + 1).astype(np.uint64)
    shown = Ids((tokens.astype(np.uint64) << np.uint64(24)) + of_site, rows.b[places].astype(np.uint64))
    token, first = number_ids(shown)
    is_several = np.zeros(len(first), dtype=bool)
    is_several[token[rows.a[places] != rows.a[places[first[token]]]]] = True
    chosen = np.flatnonzero(is_several[token])
    order = rows.sort(places[chosen], token[chosen])
    return Contested(places[chosen][order], token[chosen][order])


def find_known(evidences: Evidences, fused: Iterable[str]) -> Array:
    """Return for each key whether it is one of those."""
    known = np.zeros(len(evidences.keys.kind), dtype=bool)
    known[find_places(evidences.keys.id, read_id_texts(fused))] = True
    return known


def find_busy(evidences: Evidences, joins: Array) -> Array:
    """Return for each key whether it is a visitor that meets too many: `guards.find_busy`."""
    rows, policy, visitor = evidences.rows, evidences.policy, evidences.visitor
    busy = np.zeros(len(evidences.keys.kind), dtype=bool)
    of_visitor = joins[rows.a_kind[joins] == visitor]
    is_pair = rows.b_kind[of_visitor] == visitor
    pairs, places = of_visitor[is_pair], of_visitor[~is_pair]
    places = places[rows.is_sure[places] & _is_customer(evidences)[rows.b_kind[places]]]
    most = np.full(len(busy), policy.max_customers_per_visitor, dtype=np.int64)
    _mark_crowded(busy, rows.a[places], rows.b[places], most)
    one, other = rows.a[pairs], rows.b[pairs]
    most = np.full(len(busy), policy.count_visitors_allowed(VISITOR_KIND), dtype=np.int64)
    _mark_crowded(busy, np.concatenate([one, other]), np.concatenate([other, one]), most)
    return busy


def find_fused(evidences: Evidences, joins: Array, contested: Contested) -> Array:
    """Return for each key whether too many share it: `guards.find_fused`."""
    rows, visitor = evidences.rows, evidences.visitor
    fused = find_busy(evidences, joins)
    places = joins[(rows.a_kind[joins] == visitor) & (rows.b_kind[joins] != visitor)]
    places = places[~_is_unconfirmed(evidences, places)]
    chosen = np.flatnonzero(np.isin(contested.row, places))
    is_allowed = contested.count_places(evidences, chosen)[1]
    places = _leave_out(places, contested.row[chosen[~is_allowed]])
    caps = [evidences.policy.count_visitors_allowed(kind) for kind in evidences.kinds]
    _mark_crowded(fused, rows.b[places], rows.a[places], np.array(caps, dtype=np.int64)[evidences.keys.kind])
    return fused


def find_admitted(evidences: Evidences, joins: Array, fused: Array) -> Array:
    """Return the rows that tie, replays still among them, and note the others: `guards.keep_admitted`."""
    rows, policy = evidences.rows, evidences.policy
    unsure = joins[(rows.a_kind[joins] == evidences.visitor) & ~rows.is_sure[joins]]
    unsure = unsure[_is_customer(evidences)[rows.b_kind[unsure]]]
    flooded = np.zeros(len(fused), dtype=bool)
    most = np.full(len(fused), policy.max_customers_per_visitor, dtype=np.int64)
    _mark_crowded(flooded, rows.a[unsure], rows.b[unsure], most)
    if fused.any() or flooded.any():
        is_fused = fused[rows.a[joins]] | fused[rows.b[joins]] | (flooded[rows.a[joins]] & ~rows.is_sure[joins])
        evidences.notes.append(note(joins[is_fused], GuardReason.FUSED))
        joins = joins[~is_fused]
    is_unconfirmed = _is_unconfirmed(evidences, joins)
    if is_unconfirmed.any():
        evidences.notes.append(note(joins[is_unconfirmed], GuardReason.UNCONFIRMED))
        joins = joins[~is_unconfirmed]
    disowned = _find_disowned(evidences, joins)
    if len(disowned):
        evidences.notes.append(note(disowned, GuardReason.DISOWNED))
        joins = _leave_out(joins, disowned)
    return joins


def leave_out_replays(evidences: Evidences, admitted: Array, contested: Contested) -> Array:
    """Return the rows without those whose token too many have shown, and note these: `guards._refuse_replays`."""
    if not len(contested.row):
        return admitted
    chosen = np.flatnonzero(np.isin(contested.row, admitted))
    place, is_allowed = contested.count_places(evidences, chosen)
    row = contested.row[chosen]
    evidences.notes.append(note(row[is_allowed & (place > 0)], GuardReason.SECOND_DEVICE))
    evidences.notes.append(note(row[~is_allowed], GuardReason.REPLAYED))
    return _leave_out(admitted, row[~is_allowed])


def _leave_out(places: Array, refused: Array) -> Array:
    kept: Array = places[~np.isin(places, refused)] if len(refused) else places
    return kept


def _find_disowned(evidences: Evidences, joins: Array) -> Array:
    """Return the rows of links that their visitor has disowned: `guards.find_disowned`. There are few such words."""
    rows = evidences.rows
    said = np.flatnonzero(rows.stands & (rows.word == DISOWN_WORD) & rows.is_proved)
    if not len(said):
        return said
    tokens = evidences.table["token_id"].take(write_numbers(said)).to_pylist()
    named = find_places(evidences.keys.id, read_id_texts({token for token in tokens if UUID.fullmatch(token)}))
    high, low = evidences.keys.id.take(named)
    first = evidences.first_name[named].tolist()
    key_of = {one << 64 | other: key for one, other, key in zip(high.tolist(), low.tolist(), first, strict=True)}
    until_ms: dict[tuple[int, int], int] = {}
    for place, token in zip(said.tolist(), tokens, strict=True):
        key = key_of.get(int(token.replace("-", ""), 16)) if UUID.fullmatch(token) else None
        if key is not None:
            pair, at_ms = (int(rows.a[place]), key), int(rows.time_ms[place])
            until_ms[pair] = max(until_ms.get(pair, at_ms), at_ms)
    links = joins[(rows.word[joins] == LINK_WORD) & np.isin(rows.a[joins], rows.a[said])]
    places = zip(links.tolist(), rows.a[links].tolist(), rows.b[links].tolist(), strict=True)
    disowned = [row for row, a, b in places if (a, b) in until_ms and rows.time_ms[row] <= until_ms[a, b]]
    return np.array(disowned, dtype=np.int64)


def _is_unconfirmed(evidences: Evidences, places: Array) -> Array:
    rows = evidences.rows
    found: Array = (rows.word[places] == LINK_WORD) & ~rows.is_human[places]
    return found


def _is_customer(evidences: Evidences) -> Array:
    """Return for each kind whether it is unique, and no visitor's."""
    found = [kind != VISITOR_KIND and evidences.policy.is_unique(kind) for kind in evidences.kinds]
    return np.array(found, dtype=bool)


def _mark_crowded(fused: Array, keys: Array, others: Array, most: Array) -> None:
    """Mark the keys that come with more than so many different others."""
    crowded = np.bincount(keys, minlength=len(fused)) > most
    if not crowded.any():
        return
    chosen = crowded[keys]
    pairs = np.unique((keys[chosen].astype(np.int64) << 32) | others[chosen])
    fused |= np.bincount(pairs >> 32, minlength=len(fused)) > most


def find_blocked_keys(evidences: Evidences) -> Array:
    """Return for each key whether the space has blocked it, by any of its names."""
    blocked = np.zeros(len(evidences.keys.kind), dtype=bool)
    blocked[evidences.first_name[find_places(evidences.keys.id, read_id_texts(evidences.policy.blocked_keys))]] = True
    return blocked


def _find_blocked(evidences: Evidences) -> Array:
    """Return for each key whether it names nobody: `guards.names_nobody`."""
    keys, policy = evidences.keys, evidences.policy
    blocked = keys.id.is_nil | find_blocked_keys(evidences)
    values = evidences.read_values(np.arange(len(keys.kind)))
    if policy.blocked:
        is_listed = pc.is_in(values, pa.array(sorted(policy.blocked), pa.large_string()))
        blocked |= read_bools(pa.chunked_array([pc.fill_null(is_listed, False)]))
    doubtful = _find_doubtful(values)
    judged = [is_blocked(value) for value in values.take(write_numbers(doubtful)).to_pylist()]
    blocked[doubtful[np.array(judged, dtype=bool)]] = True
    return blocked


def _find_doubtful(values: pa.Array) -> Array:
    """Return the places of values that may be on the list of those that name nobody. None that has a digit other than
    0 is: but for mailboxes, and signs that become letters in lower case."""
    offsets = np.frombuffer(values.buffers()[1], dtype=np.int64, count=len(values) + 1, offset=8 * values.offset)
    lengths = np.diff(offsets)
    full = np.flatnonzero(lengths > 0)
    empty = np.flatnonzero((lengths == 0) & read_bools(pa.chunked_array([values.is_valid()])))
    if not len(full):
        return empty
    data = np.frombuffer(values.buffers()[2], dtype=np.uint8)
    signs = np.bitwise_or.reduceat(_SIGNS[data[: offsets[-1]]], offsets[full])
    return np.concatenate([empty, full[signs != _DIGIT]])
