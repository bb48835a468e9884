"""Bulk says what `resolve` says, row for row: on logs with everything in them, and on plain ones as shops have them."""

from __future__ import annotations

import random
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.identity.bulk.columns import make_table, read_evidence, read_resolution
from collector.identity.bulk.ids import Ids, find_first, number_ids
from collector.identity.bulk.resolve import Effort, resolve_columns
from collector.identity.evidence import Evidence
from collector.identity.policy import Policy
from collector.identity.resolve import Resolution, resolve
from tests.identity.story import (
    POLICY,
    alias,
    click,
    days,
    disown,
    hand_over,
    key,
    minutes,
    rekey,
    reset,
    sign_in,
    take_back,
    tie,
)
from tests.identity.test_properties import POLICY as TIGHT
from tests.identity.test_properties import Log, flatten, holds, logs

EVERYTHING = Policy(kinds=POLICY.kinds, blocked=frozenset({"value-K7"}), blocked_keys=frozenset({key("E7")}))


def check(
    rows: list[Evidence], policy: Policy, fused: frozenset[str] = frozenset(), effort: Effort | None = None
) -> Resolution:
    """Both ways say the same, part by part. Returns it."""
    wanted = resolve(rows, policy, fused)
    found = read_resolution(resolve_columns(make_table(rows, policy.blocked), policy, fused, effort))
    for part in Resolution._fields:
        assert getattr(found, part) == getattr(wanted, part), part
    return wanted


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


def make_shop(chance: random.Random, customers: int) -> list[Evidence]:
    """Make the evidence of a shop's customers: households of two, a few devices each, nothing odd."""
    rows: list[Evidence] = []
    for number in range(customers):
        for device in range(chance.randrange(1, 4)):
            visitor = f"v{number}-{device}"
            for _ in range(chance.randrange(1, 5)):
                at = days(chance.random() * 200) + chance.randrange(1_000)
                who = number ^ 1 if chance.random() < 0.1 else number
                names = [f"K{who}"] + [f"E{who // 2 if chance.random() < 0.1 else who}"] * (chance.random() < 0.4)
                proof = chance.choice(("cookie", "cookie", "cookie", "fresh", "script"))
                what = chance.random()
                if what < 0.7:
                    rows += sign_in(visitor, *names, at=at, proof=proof, session=f"{visitor}-{at}")
                elif what < 0.8:
                    start = at - chance.randrange(3_600_000)
                    rows += click(visitor, names[0], at, token=f"t{who}", session_start=start, proof=proof)
                elif what < 0.88:
                    rows += disown(visitor, names[0], at, proof=proof)
                    rows += reset(chance.choice((visitor, f"{visitor}-new")), visitor, at, proof=proof)
                elif what < 0.92:
                    rows += hand_over(f"{visitor}-b", visitor, at, session_start=at - 60_000)
                else:
                    rows += [tie(f"K{number}", f"E{number}", at, 4, kind="server", proof="server")]
    return rows


@pytest.mark.parametrize("seed", range(3))
def test_a_shop_s_evidence_goes_as_columns(seed: int) -> None:
    """Sign-ins, households, links, sign-outs, hand-overs: hardly anybody is looked at one by one, and nobody's
    component is resolved by itself."""
    effort = Effort()
    rows = make_shop(random.Random(seed), 400)
    resolution = check(rows, POLICY, effort=effort)
    visitors = [row for row in resolution.map_rows if row.key_kind == "visitor"]
    assert effort.odd_rows == 0
    assert effort.hard_visitors < len(visitors) / 20
    reasons = {entry.reason for entry in (*resolution.guards, *resolution.merges)}
    assert reasons >= {"two_people", "unproved", "forwarded", "other_customer", "associate", "switch"}
    assert any(row.several for row in visitors)


def test_what_columns_cannot_judge_is_counted() -> None:
    """A shared device is looked at by itself; evidence with an id of another form, with its component."""
    people = [row for number in range(8) for row in sign_in("A", f"K{number}", at=days(number))]
    effort = Effort()
    check(people + sign_in("B", "K9", at=days(1)), POLICY, effort=effort)
    assert (effort.hard_visitors, effort.odd_rows) == (1, 0)

    foreign = [msgspec.structs.replace(row, evidence_id="by hand") for row in sign_in("C", "K2", at=days(1))]
    effort = Effort()
    check(foreign + sign_in("D", "K2", at=days(2)) + sign_in("B", "K9", at=days(1)), POLICY, effort=effort)
    assert (effort.hard_visitors, effort.odd_rows) == (0, 2)


@pytest.mark.parametrize("most_rounds", [0, 1, 24])
def test_people_of_many_keys_are_formed_in_the_same_order(most_rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rounds there are: what is left is heard one by one."""
    monkeypatch.setattr("collector.identity.bulk.people.MOST_ROUNDS", most_rounds)
    chance = random.Random(7)
    names = [f"{letter}{number}" for letter in "KLEP" for number in range(9)]
    for _ in range(30):
        rows: list[Evidence] = []
        for _ in range(40):
            first, second = chance.sample(names, 2)
            at = minutes(chance.randrange(50))
            if chance.random() < 0.3:
                rows += alias(first, second, at, level=chance.choice((3, 4)))
            elif chance.random() < 0.5:
                rows += [tie(first, second, at, chance.choice((3, 4)), kind="server", proof="server")]
            else:
                rows += sign_in(chance.choice("ABCD"), first, second, at=at, level=chance.choice((3, 4)))
        check(rows, POLICY)
        check(rows, TIGHT)


def test_values_that_name_nobody_are_found() -> None:
    """In every spelling, on the space's own lists, and as keys that it has blocked."""
    words = (
        "null",
        "Guest",
        "[object Object]",
        "000",
        "ＮＵＬＬ",
        "\u212aunde",
        "test@shop.example",
        "a1",
        "f" * 32,
        "n/a",
        "",
    )
    rows = [tie("A", "K1", days(n), event=f"e{n}", value=word) for n, word in enumerate(words)]
    rows += sign_in("B", "K7", "E1", at=days(1)) + sign_in("B", "E7", "K2", at=days(2)) + sign_in("C", "K1", at=days(3))
    resolution = check(rows, EVERYTHING)
    assert sum(entry.reason == "blocked" for entry in resolution.guards) >= 8
    nobody = [msgspec.structs.replace(row, a_value="0" * 36) for row in sign_in("D", "K1", at=days(4))]
    assert any(entry.reason == "blocked" for entry in check(nobody, EVERYTHING).guards)


def test_of_two_that_share_an_id_the_same_one_stands() -> None:
    """No honest writer makes such; both ways choose alike, whichever came first."""
    first = sign_in("A", "K1", at=days(1))
    other = [msgspec.structs.replace(row, time_ms=days(2), proof="script") for row in first]
    elsewhere = [
        msgspec.structs.replace(row, evidence_id=first[0].evidence_id) for row in sign_in("B", "K2", at=days(4))
    ]
    rest = sign_in("B", "K2", at=days(3))
    for rows in (first + other + rest, other + first + rest, elsewhere + other + rest, other + elsewhere + rest):
        check(rows, POLICY)
    check(first + other + take_back(elsewhere), POLICY)


def test_an_event_seen_at_two_times_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a visitor with very many events."""
    rows = [row for n in range(40) for row in sign_in("A", "K1", at=days(n))]
    late = [msgspec.structs.replace(rows[5], evidence_id=rows[5].event_id, b_key=key("E1"), b_kind="email")]
    late[0].time_ms = days(30)
    for most_steps in (1, 16, 100):
        monkeypatch.setattr("collector.identity.bulk.timeline.MOST_STEPS", most_steps)
        effort = Effort()
        check(rows + late, POLICY, effort=effort)
        assert effort.odd_rows == 41


@pytest.mark.parametrize("later_ms", [0, 60_000])
def test_what_is_unproved_is_no_part_of_a_proved_request(later_ms: int) -> None:
    """Somebody who knows visitor and event names a key of their own: it is not tied to those of the request."""
    given = sign_in("A", "E1", at=days(1))
    own = [
        msgspec.structs.replace(row, event_id=given[0].event_id, proof="script")
        for row in sign_in("A", "K2", at=days(1))
    ]
    own = [msgspec.structs.replace(row, time_ms=row.time_ms + later_ms) for row in own]
    resolution = check([*given, *own, *sign_in("B", "E1", at=days(2))], POLICY)
    assert {row.person_id for row in resolution.map_rows if row.key in (key("A"), key("B"))} == {key("E1")}
    assert not [row for row in resolution.map_rows if row.key == key("E1") and row.person_id == key("K2")]


@pytest.mark.parametrize("later_ms", [0, 60_000])
@pytest.mark.parametrize("proof", ["fresh", "script"])
def test_what_is_unproved_is_one_request_only_where_it_was_seen_together(proof: str, later_ms: int) -> None:
    """Two parties of whom nothing is proved, under one event: each one's keys are tied, and not to the other's."""
    given = sign_in("A", "E1", "P1", at=days(1), proof=proof)
    own = [
        msgspec.structs.replace(row, event_id=given[0].event_id, time_ms=row.time_ms + later_ms)
        for row in sign_in("A", "K2", "E2", at=days(1), proof=proof)
    ]
    resolution = check([*given, *own], POLICY)
    people = {row.key: row.person_id for row in resolution.map_rows}
    assert (people[key("P1")], people[key("E2")]) == (key("E1"), key("K2"))
    assert people.get(key("E1"), key("E1")) == key("E1")


def test_names_of_one_identifier_are_one() -> None:
    """After two rotations, where nothing but the rotation is known of one of them, and where one name is fused."""
    known = sign_in("A", "E1", "K1", at=days(1)) + sign_in("B", "E5", at=days(9))
    renames = rekey("E1", "E4", days(2)) + rekey("E4", "E5", days(3)) + rekey("K5", "K6", days(3))
    check(known + renames, POLICY)
    check(known + renames, POLICY, frozenset({key("E4")}))
    odd = [msgspec.structs.replace(row, evidence_id="by hand") for row in sign_in("C", "E4", at=days(4))]
    check(known + renames + odd, POLICY)


def test_no_evidence_gives_nothing() -> None:
    """Nor does evidence that was all taken back."""
    rows = sign_in("A", "K1", at=days(1))
    assert check([], POLICY) == check(rows + take_back(rows), POLICY) == Resolution()


def test_evidence_comes_back_from_columns() -> None:
    """With everything that `resolve` looks at."""
    rows = make_shop(random.Random(5), 20)
    assert resolve(read_evidence(make_table(rows)), POLICY) == resolve(rows, POLICY)


@pytest.mark.parametrize("bucket_rows", [10, 1_000_000])
@pytest.mark.parametrize("most_rounds", [0, 1, 8])
def test_ids_are_numbered_by_first_appearance(
    most_rounds: int, bucket_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they collide, and are sorted in the end."""
    monkeypatch.setattr("collector.identity.bulk.ids.BUCKET_ROWS", bucket_rows)
    monkeypatch.setattr("collector.identity.bulk.ids.MOST_ROUNDS", most_rounds)
    chance = np.random.default_rng(2)
    for runs in (1, 5):
        drawn = np.repeat(chance.integers(0, 300, 1_000).astype(np.uint64), runs)
        ids = Ids(drawn % np.uint64(17), drawn // np.uint64(17))
        first = find_first(ids)
        wanted = {value: place for place, value in reversed(list(enumerate(drawn.tolist())))}
        assert first.tolist() == [wanted[value] for value in drawn.tolist()]
        numbers, places = number_ids(ids)
        assert places[numbers].tolist() == first.tolist()
        assert sorted(places.tolist()) == places.tolist()


def test_a_web_process_knows_nothing_of_it() -> None:
    """It would cost each of them a second and 100 MB."""
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; import collector.web, collector.app; "
            "print([name for name in ('numpy', 'scipy', 'pyarrow') if name in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "[]"


def test_the_logs_name_restored_evidence_by_its_own_id() -> None:
    """What was restored has an id that is no UUID: a refusal and a merge name it as it is stored, not by a digest."""
    refused = [
        *sign_in("A", "K1", at=days(1)),
        *reset("N", "A", days(2), proof="script"),
        *sign_in("B", "K7", at=days(3)),
    ]
    tied = [*sign_in("C", "L1", at=days(1)), *sign_in("D", "L2", at=days(1)), *alias("L1", "L2", days(2), level=4)]
    restored = [msgspec.structs.replace(row, evidence_id=f"{row.evidence_id}+1") for row in refused + tied]
    resolution = check(restored, EVERYTHING)
    ids = {row.evidence_id for row in restored}
    named = {entry.evidence_id for entry in (*resolution.guards, *resolution.merges)}
    assert {entry.reason for entry in resolution.guards} == {"unproved", "blocked"}
    assert resolution.merges and named <= ids


@pytest.mark.parametrize("number", range(12))
def test_a_restored_sign_out_stands_in_its_order(number: int) -> None:
    """In the same millisecond as a sign-in: its text says which was first, as the digest of the text would not."""
    rows = [*sign_in("A", "K1", at=days(1)), *reset("A", "A", days(1)), *sign_in("A", "K2", at=days(1))]
    ids = [f"{start}0000000-0000-4000-8000-{number:012x}" for start in "468"]
    ids[1] += "+1"
    nil = "00000000-0000-0000-0000-000000000000"
    check(
        [msgspec.structs.replace(row, evidence_id=id, event_id=nil) for row, id in zip(rows, ids, strict=True)], POLICY
    )
