"""Settled visitors: what hangs on them is as it was, whatever their new evidence says."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from collector.event import NIL_ID
from collector.identity.bulk.columns import KEY, make_columns, make_table, to_bytes
from collector.identity.evidence import Evidence
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.resolve import Resolution, resolve
from collector.identity.stitching.settled import Held, Seen, find_settled
from collector.identity.stitching.settled_columns import find_settled_columns
from tests.identity.story import POLICY, alias, click, disown, hand_over, hours, minutes, reset, sign_in, take_back, tie

LOGS = 300
KEYS = ("K1", "K2", "K3", "L1", "E1", "E2")


def see(row: Evidence, age: int) -> Seen:
    return Seen(
        to_bytes(row.a_key),
        row.kind,
        row.level,
        row.b_kind,
        to_bytes(row.b_key),
        row.proof,
        row.time_ms,
        to_bytes(row.event_id),
        bool(row.token_id),
        row.op,
        age,
    )


def settle(old: list[Evidence], new: list[Evidence]) -> set[str]:
    """Return the visitors that are settled, by their keys."""
    looked = [
        (row, age)
        for age, rows in enumerate((old, new))
        for row in rows
        if row.level >= 2 or row.kind in ("reset", "disown")
    ]
    seen = [see(row, age) for row, age in looked if row.a_kind == VISITOR_KIND]
    tied = {to_bytes(row.b_key) for row, _ in looked if row.b_kind == VISITOR_KIND}
    held = {
        to_bytes(row.key): Held(to_bytes(row.person_id), (row.several, row.provisional, row.proved) == (0, 0, 1))
        for row in resolve(old, POLICY).map_rows
    }
    settled = find_settled(seen, tied, held)
    assert settle_columns(looked, resolve(old, POLICY)) == settled
    return {row.a_key for row, _ in looked if to_bytes(row.a_key) in settled}


def settle_columns(looked: list[tuple[Evidence, int]], standing: Resolution) -> set[bytes]:
    """Return the same by columns."""
    first = [(row, age) for row, age in looked if row.a_kind == VISITOR_KIND]
    ages = np.array([age for _, age in first], dtype=np.int64)
    behind = pa.table({"b_key": pa.array([to_bytes(r.b_key) for r, _ in looked if r.b_kind == VISITOR_KIND], KEY)})
    map_rows = make_columns(standing).map_rows
    return find_settled_columns(make_table(row for row, _ in first), ages, behind, map_rows)


def make_log(chance: random.Random) -> tuple[list[Evidence], list[Evidence]]:
    """Return what is in the map, and what is new: mostly the same people on the same browsers."""
    old: list[Evidence] = []
    habits = {visitor: chance.sample(KEYS, chance.randrange(1, 3)) for visitor in "ABCDF"}
    for _ in range(chance.randrange(3, 12)):
        visitor, at = chance.choice("ABCDF"), minutes(chance.randrange(60) * 97)
        names = habits[visitor]
        if chance.random() < 0.25:
            names = chance.sample(KEYS, chance.randrange(1, 3))
        usual = sign_in(visitor, *names, at=at)
        old += chance.choice(
            (
                *([usual] * 8),
                sign_in(visitor, *names, at=at, level=4),
                sign_in(visitor, *names, at=at, proof="script"),
                click(visitor, chance.choice(("K1", "K2")), at, token="t"),
                alias(*chance.sample(("K1", "K2", "K3", "E2"), 2), at),
                reset(visitor, chance.choice("ABCDF"), at),
                disown(visitor, chance.choice(("K1", "K2")), at),
                hand_over(visitor, chance.choice("ABC"), at),
                [tie(visitor, "K1", at, 1)],
            )
        )
    if chance.random() < 0.3:
        old += take_back([chance.choice(old)])
    new: list[Evidence] = []
    for _ in range(chance.randrange(1, 4)):
        visitor = chance.choice("ABCDF")
        level = chance.choice((3, 3, 3, 3, 4))
        proof = chance.choice(("cookie", "cookie", "cookie", "script"))
        at = hours(chance.choice((110, 110, 120, 30)))
        new += sign_in(visitor, *habits[visitor], at=at, level=level, proof=proof)
    return old, new


def reach(rows: list[Evidence], start: set[str]) -> set[str]:
    """Return all that hangs on these keys, as the walk of stitch finds it."""
    taken_back = {row.evidence_id for row in rows if row.op < 0}
    joins = [row for row in rows if row.is_join and row.evidence_id not in taken_back]
    reached, size = set(start), -1
    while size != len(reached):
        size = len(reached)
        for row in joins:
            if {row.a_key, row.b_key} & reached:
                reached |= {row.a_key, row.b_key}
    return reached


def keep_outside(resolution: Resolution, reached: set[str]) -> list[object]:
    """Return the rows and entries about nothing that was reached."""
    found: list[object] = [row for part in resolution[:2] for row in part if row.key not in reached]
    found += [row for row in resolution.customers if row.person_id not in reached]
    entries = [*resolution.guards, *resolution.merges]
    return found + [entry for entry in entries if not {entry.a_key, entry.b_key} & reached]


def test_who_is_settled_need_not_be_looked_at() -> None:
    """On random logs: where nothing but settled visitors is new, map, intervals, customers and both logs stay."""
    found = 0
    for seed in range(LOGS):
        old, new = make_log(random.Random(seed))
        settled = settle(old, new)
        touched = {key for row in new if row.a_key not in settled for key in (row.a_key, row.b_key)}
        reached = reach(old + new, touched)
        found += len(settled - reached)
        before, after = resolve(old, POLICY), resolve(old + new, POLICY)
        assert keep_outside(before, reached) == keep_outside(after, reached), f"seed {seed}"
    assert found > LOGS / 20


BEFORE = sign_in("A", "K1", "E1", at=hours(1))


@pytest.mark.parametrize(
    ("old", "new", "is_settled"),
    [
        (BEFORE, sign_in("A", "K1", "E1", at=hours(2)), True),
        (BEFORE, sign_in("A", "K1", at=hours(2)), False),
        (BEFORE, sign_in("A", "K2", "E1", at=hours(2)), False),
        (BEFORE, sign_in("A", "K1", "E1", at=hours(0.5)), False),
        (BEFORE, sign_in("A", "K1", "E1", at=hours(2), level=4), False),
        (BEFORE, sign_in("A", "K1", "E1", at=hours(2), proof="script"), False),
        ([*BEFORE, *reset("B", "A", hours(1.5))], sign_in("A", "K1", "E1", at=hours(2)), False),
        ([*BEFORE, *click("A", "K1", hours(1.5))], sign_in("A", "K1", "E1", at=hours(2)), False),
        ([*BEFORE, *sign_in("A", "K2", at=hours(1.5))], sign_in("A", "K1", "E1", at=hours(2)), False),
        (sign_in("A", "K1", "E1", at=hours(1), proof="script"), sign_in("A", "K1", "E1", at=hours(2)), False),
        ([], sign_in("A", "K1", "E1", at=hours(2)), False),
        ([*BEFORE, *take_back(BEFORE)], sign_in("A", "K1", "E1", at=hours(2)), False),
    ],
)
def test_who_is_settled(old: list[Evidence], new: list[Evidence], is_settled: bool) -> None:
    """The same sign-in once more and later is; whatever else is new, or was there, is not."""
    assert (settle(old, new) != set()) == is_settled


def test_evidence_beyond_what_is_looked_at_settles_nothing() -> None:
    """A batch that landed after the look is in the table: its rows are neither old nor new."""
    rows = [see(row, 0) for row in BEFORE] + [see(row, 1) for row in sign_in("A", "K1", "E1", at=hours(2))]
    held = {row.b_key: Held(b"p", True) for row in rows} | {rows[0].visitor: Held(b"p", True)}
    assert find_settled(rows, set(), held)
    beyond = see(sign_in("A", "K1", "E1", at=hours(3))[0], 2)
    assert not find_settled([*rows, beyond], set(), held)
    assert not find_settled([row._replace(event_id=to_bytes(NIL_ID)) for row in rows], set(), held)
