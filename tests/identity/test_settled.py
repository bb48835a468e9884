"""Settled visitors: leaving their new evidence out changes nothing, and most who come back are settled."""

from __future__ import annotations

import random

import pytest

from collector.event import NIL_ID
from collector.identity.columns import to_bytes
from collector.identity.evidence import Evidence
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.resolve import resolve
from collector.identity.settled import Held, Seen, find_settled
from tests.identity.story import POLICY, alias, click, hand_over, hours, minutes, reset, sign_in, take_back, tie

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
        (row, age) for age, rows in enumerate((old, new)) for row in rows if row.level >= 2 or row.kind == "reset"
    ]
    seen = [see(row, age) for row, age in looked if row.a_kind == VISITOR_KIND]
    tied = {to_bytes(row.b_key) for row, _ in looked if row.b_kind == VISITOR_KIND}
    held = {
        to_bytes(row.key): Held(to_bytes(row.person_id), (row.several, row.provisional, row.proved) == (0, 0, 1))
        for row in resolve(old, POLICY).map_rows
    }
    settled = find_settled(seen, tied, held)
    return {row.a_key for row, _ in looked if to_bytes(row.a_key) in settled}


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


def test_leaving_out_what_is_settled_changes_nothing() -> None:
    """On random logs: the map, the intervals, the customers and both logs are the same without it."""
    found = 0
    for seed in range(LOGS):
        old, new = make_log(random.Random(seed))
        settled = settle(old, new)
        found += len(settled)
        left = [row for row in new if row.a_key not in settled]
        assert resolve(old + new, POLICY) == resolve(old + left, POLICY), f"seed {seed}"
    assert found > LOGS / 8


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
