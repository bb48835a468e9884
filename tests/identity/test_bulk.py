"""Bulk says what `resolve` says, row for row: on logs with everything in them, and on plain ones."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from collector.identity.bulk import resolve_columns
from collector.identity.columns import make_table, read_resolution
from collector.identity.evidence import Evidence
from collector.identity.policy import Policy
from collector.identity.resolve import Resolution, resolve
from tests.identity.story import (
    POLICY,
    key,
    take_back,
)
from tests.identity.test_properties import POLICY as TIGHT
from tests.identity.test_properties import Log, flatten, holds, logs


def bulk(rows: list[Evidence], policy: Policy, fused: frozenset[str] = frozenset()) -> Resolution:
    """Resolve by columns."""
    return read_resolution(resolve_columns(make_table(rows, policy.blocked), policy, fused))


def check(rows: list[Evidence], policy: Policy, fused: frozenset[str] = frozenset()) -> None:
    """Both ways say the same, part by part."""
    found, wanted = bulk(rows, policy, fused), resolve(rows, policy, fused)
    for part in Resolution._fields:
        assert getattr(found, part) == getattr(wanted, part), part


@holds
@given(logs, logs, st.randoms(use_true_random=False))
def test_columns_say_what_resolve_says(log: Log, extra: Log, chance: random.Random) -> None:
    """On logs with everything in them, repeated, taken back, in any order."""
    rows = flatten(log) + flatten(extra)
    rows += chance.choices(rows, k=2) + take_back(chance.choices(flatten(extra), k=chance.randrange(3)))
    chance.shuffle(rows)
    check(rows, TIGHT)
    check(rows, POLICY)


@holds
@given(logs)
def test_columns_take_fused_keys_from_elsewhere(log: Log) -> None:
    """Keys that are fused by evidence that was not read."""
    check(flatten(log), TIGHT, frozenset({key("K1"), key("B"), key("unknown")}))
