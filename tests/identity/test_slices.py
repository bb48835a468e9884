"""Slices: what `resolve` says of them, taken together, is what it says of all evidence."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.identity.bulk.columns import make_table, read_resolution
from collector.identity.bulk.ids import read_ids, write_numbers
from collector.identity.bulk.resolve import resolve_columns
from collector.identity.evidence import Evidence, keep_standing
from collector.identity.guards import find_fused, take_out_blocked
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.policy import Policy
from collector.identity.resolve import Resolution, resolve
from collector.identity.stitching.rebuild import cut_ranges
from collector.identity.stitching.slices import NumberedKeys, Slices, cut_slices, number_keys
from tests.identity.story import POLICY, days, key, sign_in
from tests.identity.test_bulk import make_shop
from tests.identity.test_properties import POLICY as TIGHT
from tests.identity.test_properties import Log, flatten, holds, logs


def _number(rows: list[Evidence]) -> NumberedKeys:
    table = make_table(rows)
    return number_keys(read_ids(table["a_key"]), read_ids(table["b_key"]))


def _find_shared(rows: list[Evidence], policy: Policy) -> frozenset[str]:
    """Return what a rebuild finds by the pairs: values that too many visitors share, visitors not among them."""
    standing = keep_standing(rows)
    fused = find_fused(take_out_blocked(standing, policy, []), policy)
    return fused & {row.b_key for row in rows if row.b_kind != VISITOR_KIND}


def _resolve_slices(rows: list[Evidence], policy: Policy, slices: Slices, apart: frozenset[str]) -> Resolution:
    table = make_table(rows, policy.blocked)
    parts = [
        read_resolution(resolve_columns(table.take(write_numbers(slices.get_rows(number))), policy, apart))
        for number in range(len(slices))
    ]
    joined = {name: [row for part in parts for row in getattr(part, name)] for name in Resolution._fields}
    joined["intervals"].sort(key=lambda row: row[:2])
    return Resolution(**{name: tuple(each if name == "intervals" else sorted(each)) for name, each in joined.items()})


@holds
@given(logs, logs, st.randoms(use_true_random=False), st.integers(1, 3))
def test_slices_say_what_all_says(log: Log, extra: Log, chance: random.Random, count: int) -> None:
    """On logs with everything in them, each component by itself, read in several parts."""
    rows = flatten(log) + flatten(extra)
    chance.shuffle(rows)
    for policy in (TIGHT, POLICY):
        apart = _find_shared(rows, policy)
        parts = [_number(rows[start::count]) for start in range(count)]
        in_parts = [row for start in range(count) for row in rows[start::count]]
        slices = cut_slices(parts, apart, rows_each=1)
        assert sorted(np.concatenate([slices.get_rows(number) for number in range(len(slices))])) == list(
            range(len(rows))
        )
        found, wanted = _resolve_slices(in_parts, policy, slices, apart), resolve(rows, policy)
        assert found.map_rows == wanted.map_rows
        assert found.intervals == wanted.intervals
        assert found.customers == wanted.customers
        assert set(found.guards) == set(wanted.guards)
        assert set(found.merges) == set(wanted.merges)


def test_a_shop_s_slices_are_of_a_size() -> None:
    """About as many rows as asked for in each, and one identifier in one slice only."""
    rows = make_shop(random.Random(5), 300)
    slices = cut_slices([_number(rows)], [], rows_each=100)
    sizes = np.diff(slices.bounds)
    assert len(slices) == pytest.approx(len(rows) / 100, rel=0.2)
    assert sizes.max() < 200
    seen: dict[str, int] = {}
    for number in range(len(slices)):
        for place in slices.get_rows(number):
            for name in (rows[place].a_key, rows[place].b_key):
                assert seen.setdefault(name, number) == number


def test_a_shared_value_does_not_hold_slices_together() -> None:
    """Many visitors of one account at the counter, each with a customer of their own."""
    rows = [row for n in range(300) for row in sign_in(f"v{n}", "K-desk", f"K{n}", at=days(n))]
    apart = _find_shared(rows, POLICY)
    assert apart == {key("K-desk")}
    assert len(cut_slices([_number(rows)], [], rows_each=10)) == 1
    slices = cut_slices([_number(rows)], apart, rows_each=10)
    assert len(slices) > 30
    assert _resolve_slices(rows, POLICY, slices, apart).map_rows == resolve(rows, POLICY).map_rows


def test_rows_that_stand_find_their_slice() -> None:
    """A row of the map is compared where its identifier is; one that no evidence names, by itself at the end."""
    rows = make_shop(random.Random(6), 50)
    slices = cut_slices([_number(rows)], [], rows_each=20)
    names = [rows[slices.get_rows(number)[0]].a_key for number in range(len(slices))]
    table = make_table([_with_key(rows[0], name) for name in [*names, key("nobody")]])
    parts = slices.part(table["a_key"])
    assert [part.tolist() for part in parts] == [[place] for place in range(len(slices) + 1)]


def _with_key(row: Evidence, a_key: str) -> Evidence:
    """Return the row with another first identifier."""
    return msgspec.structs.replace(row, a_key=a_key)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_ranges_hold_every_id_once(count: int) -> None:
    """One begins where the other ends, from nothing on, the last without an end."""
    ranges = cut_ranges(count)
    assert len(ranges) == count
    assert ranges[0][0] == "00000000-0000-0000-0000-000000000000"
    assert [end for _, end in ranges[:-1]] == [first for first, _ in ranges[1:]]
    assert ranges[-1][1] is None
