"""What holds for every log of evidence, tried on random ones. EXAMPLES logs each; `make test` asks for fewer."""

from __future__ import annotations

import os
import random
from collections import defaultdict

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.identity.evidence import RESET, Evidence
from collector.identity.guards import find_fused, take_out_blocked
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.policy import DAY_MS, HOUR_MS, Policy
from collector.identity.resolve import Resolution, resolve
from tests.identity.story import (
    KINDS,
    People,
    alias,
    click,
    disown,
    hand_over,
    key,
    minutes,
    name_kind,
    name_value,
    rekey,
    reset,
    sign_in,
    take_back,
    tie,
)

EXAMPLES = int(os.environ.get("TAGSTITCH_TEST_EXAMPLES", "100"))
POLICY = Policy(
    kinds=tuple(msgspec.structs.replace(kind, max_visitors=4, max_per_person=2) for kind in KINDS),
    look_back_ms=2 * DAY_MS,
    shared_device_people=2,
    max_customers_per_visitor=4,
    max_visitors=4,
)
VISITORS = "ABCDFG"
KEYS = ("K1", "K2", "K3", "K4", "L1", "L2", "E1", "E2", "E3", "E4", "E5", "P1")
Log = list[list[Evidence]]

moments = st.integers(0, 60).map(lambda n: minutes(n * 97))  # few enough that some are equal
visitors = st.sampled_from(VISITORS)
keys = st.sampled_from(KEYS)
proofs = st.sampled_from(("cookie", "cookie", "fresh", "script", "server"))
renames = st.sampled_from((("E1", "E4"), ("E4", "E5"), ("E1", "E5"), ("K1", "K4")))
statements = st.one_of(
    st.builds(
        lambda visitor, names, at, level, proof, session: sign_in(
            visitor, *names, at=at, level=level, proof=proof, session=session
        ),
        visitors,
        st.lists(keys, min_size=1, max_size=3, unique=True),
        moments,
        st.sampled_from((1, 3, 3, 3, 4)),
        proofs,
        st.sampled_from(("", "s1", "s2")),
    ),
    st.builds(
        lambda visitor, name, at, token, back, proof, human: click(
            visitor, name, at, token=token, session_start=at - back, proof=proof, human=human
        ),
        visitors,
        st.sampled_from(("K1", "K2", "K3", "E1")),
        moments,
        st.sampled_from(("t1", "t2")),
        st.integers(0, 2 * HOUR_MS),
        proofs,
        st.sampled_from(("pointer", "dwell", "")),
    ),
    st.builds(
        lambda new, old, at, proof: reset(new, old, at, proof=proof),
        visitors,
        visitors,
        moments,
        st.sampled_from(("cookie", "script")),
    ),
    st.builds(
        lambda visitor, name, at, proof: disown(visitor, name, at, proof=proof),
        visitors,
        st.sampled_from(("K1", "K2", "K3", "E1", "E4")),
        moments,
        proofs,
    ),
    st.builds(lambda names, at: rekey(*names, at), renames, moments),
    st.builds(lambda first, second, at, level: alias(first, second, at, level=level), keys, keys, moments, st.just(3)),
    st.builds(lambda first, second, at: alias(first, second, at), keys, keys, moments),
    st.builds(
        lambda first, second, at, level: [tie(first, second, at, level, kind="link", human="touch", token="t3")],
        visitors,
        visitors,
        moments,
        st.sampled_from((2, 3)),
    ),
    st.builds(
        lambda arriving, leaving, at, token, back, proof, site: hand_over(
            arriving, leaving, at, token=token, session_start=at - back, proof=proof, site=site
        ),
        visitors,
        visitors,
        moments,
        st.sampled_from(("h1", "h2")),
        st.integers(0, 2 * HOUR_MS),
        proofs,
        st.sampled_from(("shop-b", "shop-c")),
    ),
)
logs = st.lists(statements, min_size=1, max_size=14)
holds = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=EXAMPLES <= 150
)


def flatten(log: Log) -> list[Evidence]:
    """Return the evidence of a log."""
    return [row for rows in log for row in rows]


@holds
@given(logs, st.randoms(use_true_random=False))
def test_any_permutation_gives_the_same_rows(log: Log, chance: random.Random) -> None:
    """The order of arrival is looked at by nobody."""
    rows = flatten(log)
    expected = resolve(rows, POLICY)
    for _ in range(3):
        chance.shuffle(rows)
        assert resolve(rows, POLICY) == expected


@holds
@given(logs, st.randoms(use_true_random=False))
def test_repeats_change_nothing(log: Log, chance: random.Random) -> None:
    """The same evidence loaded again, later and in another batch, is the same evidence."""
    rows = flatten(log)
    again = [
        msgspec.structs.replace(row, received_at_ms=chance.randrange(10**12), batch_seq=chance.randrange(99))
        for row in rows
        if chance.random() < 0.5
    ]
    both = rows + again
    chance.shuffle(both)
    assert resolve(both, POLICY) == resolve(rows, POLICY)


@holds
@given(logs, logs, st.randoms(use_true_random=False))
def test_what_is_taken_back_never_was(log: Log, extra: Log, chance: random.Random) -> None:
    """A retraction gives byte for byte what would stand had the evidence never come, whichever came first."""
    rows = flatten(log)
    known = {row.evidence_id for row in rows}
    gone = [row for row in flatten(extra) if row.evidence_id not in known]
    mixed = rows + gone + take_back(gone)
    chance.shuffle(mixed)
    assert msgspec.json.encode(resolve(mixed, POLICY)) == msgspec.json.encode(resolve(rows, POLICY))


@holds
@given(logs)
def test_merge_then_unmerge_then_merge_returns_to_the_same_people(log: Log) -> None:
    """An unmerge gives the old ids back; merging again gives the merged rows again."""
    rows = flatten(log)
    first, again = alias("K1", "K2", minutes(9_000), id="first"), alias("K1", "K2", minutes(9_000), id="again")
    merged = resolve(rows + first, POLICY)
    assert resolve(rows + first + take_back(first), POLICY) == resolve(rows, POLICY)
    merged_again = resolve(rows + first + take_back(first) + again, POLICY)
    assert merged_again[:3] == merged[:3]


strangers = st.lists(
    st.builds(
        lambda visitor, names, at: sign_in(visitor, *names, at=at, proof="script"),
        visitors,
        st.sampled_from((("K8",), ("K9",), ("K9", "E9"))),
        moments,
    ),
    min_size=1,
    max_size=6,
)


@holds
@given(logs, strangers)
def test_who_only_knows_a_visitors_id_gets_nothing_that_is_proved(log: Log, more: Log) -> None:
    """Accounts that name visitors without their cookie: what a cookie proves goes to whom it went, or to nobody but
    the visitor, never to them; and no key or merge of anybody else changes. Without first beacons: who knows an id on
    that day may have the cookie."""
    rows = [msgspec.structs.replace(row, proof=row.proof.replace("fresh", "cookie")) for row in flatten(log)]
    before, after = People(rows, policy=POLICY), People(rows, flatten(more), policy=POLICY)
    for name in VISITORS:
        for at in range(minutes(-3_000), minutes(6_000), minutes(450) - minutes(0)):
            assert after.who(name, at) in (before.who(name, at), "")
    known = {key(name) for name in KEYS}
    assert [row for row in after.resolution.map_rows if row.key in known] == [
        row for row in before.resolution.map_rows if row.key in known
    ]
    ties = [[entry for entry in people.resolution.merges if entry.reason != "switch"] for people in (before, after)]
    assert [entry for entry in ties[1] if key("E9") not in (entry.a_key, entry.b_key)] == ties[0]


@holds
@given(logs, strangers)
def test_who_only_knows_a_visitors_id_takes_nothing_from_its_owner(log: Log, more: Log) -> None:
    """Once its cookie has been seen with somebody, and while nobody signs out, a visitor is theirs as if those who come
    later had said nothing."""
    cookies = [msgspec.structs.replace(row, proof="cookie") for row in flatten(log) if row.kind != RESET]
    late = [msgspec.structs.replace(row, time_ms=row.time_ms + 100 * DAY_MS) for row in flatten(more)]
    before, after = People(cookies, policy=POLICY), People(cookies, late, policy=POLICY)
    for name in VISITORS:
        for at in (*range(minutes(-3_000), minutes(6_000), minutes(450) - minutes(0)), minutes(300_000)):
            assert after.who(name, at) == before.who(name, at)


@holds
@given(logs, st.randoms(use_true_random=False))
def test_a_change_of_keys_changes_nobodys_person(log: Log, chance: random.Random) -> None:
    """Half of what is said of E1 is said under its new name, in any half: people, intervals and notes stay."""
    rows = [row for row in flatten(log) if not {row.a_key, row.b_key} & {key("E4"), key("E5")}]
    after = resolve([name_anew(row) if chance.random() < 0.5 else row for row in rows] + rekey("E1", "E4", 0), POLICY)
    before = resolve(rows, POLICY)
    persons = {row.key: row._replace(customer_id="", key_customer_id="") for row in after.map_rows}
    assert persons.pop(key("E4")).person_id == next(
        (r.person_id for r in before.map_rows if r.key == key("E1")), key("E1")
    )
    assert persons == {row.key: row._replace(customer_id="", key_customer_id="") for row in before.map_rows}
    assert [row._replace(customer_id="") for row in after.intervals] == [
        r._replace(customer_id="") for r in before.intervals
    ]
    assert [row.person_id for row in after.customers] == [row.person_id for row in before.customers]
    assert after[3:] == before[3:]


def name_anew(row: Evidence) -> Evidence:
    """Return the same said of E1 under its new name."""
    changes = {f"{end}_key": key("E4") for end in "ab" if getattr(row, f"{end}_key") == key("E1")}
    changes |= {name.replace("key", "value"): name_value("E4") for name in changes}
    return msgspec.structs.replace(row, **changes)


@holds
@given(logs)
def test_two_customers_share_a_person_only_by_level_4(log: Log) -> None:
    """Without level 4 no person ever has two values of a unique kind."""
    resolution = resolve([row for row in flatten(log) if row.level < 4], POLICY)
    values: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in resolution.map_rows:
        if row.key_kind in ("customer", "login"):
            values[(row.person_id, row.key_kind)].add(row.key)
    assert all(len(found) == 1 for found in values.values())


@holds
@given(logs)
def test_a_visitor_is_one_person_at_any_time(log: Log) -> None:
    """Intervals of a visitor have a length, and none begins before the one before has ended."""
    resolution = resolve(flatten(log), POLICY)
    several = {row.key for row in resolution.map_rows if row.several}
    assert several == {row.key for row in resolution.intervals}
    ends: dict[str, int | None] = {}
    for row in resolution.intervals:
        assert row.valid_to_ms is None or row.valid_from_ms < row.valid_to_ms
        end = ends.get(row.key, 0)
        assert end is not None
        assert row.valid_from_ms >= end
        ends[row.key] = row.valid_to_ms
    assert len({row.key for row in resolution.map_rows}) == len(resolution.map_rows)


@holds
@given(logs)
def test_look_back_stays_inside_its_bound(log: Log) -> None:
    """Nobody gets more history than the look-back, counted from the visitor's first sign-in or link."""
    rows = flatten(log)
    resolution = resolve(rows, POLICY)
    by_visitor = {key(name): [r.time_ms for r in rows if key(name) in (r.a_key, r.b_key)] for name in VISITORS}
    for row in resolution.map_rows:
        if row.key in by_visitor and row.customer_id:
            assert row.valid_from_ms >= min(by_visitor[row.key]) - POLICY.look_back_ms or row.valid_from_ms == 0
            if row.valid_from_ms == 0:  # only where an anonymous person of several visitors fills the time before
                assert row.several


@holds
@given(logs)
def test_components_can_be_resolved_apart(log: Log) -> None:
    """What does not touch, and is cut where a fused key was, gives together what it gives apart."""
    rows = flatten(log)
    fused = find_fused(take_out_blocked([r for r in rows if r.op > 0], POLICY, []), POLICY)
    parts = [resolve(part, POLICY, fused) for part in split(rows, fused)]
    whole = resolve(rows, POLICY)
    for place in range(len(whole)):
        assert sorted({entry for part in parts for entry in part[place]}) == sorted(set(whole[place]))


@holds
@given(logs)
def test_a_customer_id_is_that_of_the_key_which_the_person_is_called_by(log: Log) -> None:
    """Views look a customer id up by the person's id, among the customer keys of the map: never another, never none."""
    resolution = resolve(flatten(log), POLICY)
    called = {
        row.key: row.key_customer_id or row.customer_id for row in resolution.map_rows if row.key_kind != VISITOR_KIND
    }
    for row in (*resolution.map_rows, *resolution.intervals):
        assert called.get(row.person_id, "") == row.customer_id


@holds
@given(logs)
def test_every_row_names_a_person_by_one_of_its_members(log: Log) -> None:
    """A person id is the key of an identifier that belongs to it: never minted, never a stranger's."""
    resolution: Resolution = resolve(flatten(log), POLICY)
    known = {key(name) for name in (*KEYS, *VISITORS)}
    own = {row.key: row for row in resolution.map_rows}
    for row in resolution.map_rows:
        assert row.person_id in known
        if row.customer_key != "00000000-0000-0000-0000-000000000000":
            assert row.person_id == row.customer_key
            assert own[row.customer_key].key_customer_id == row.customer_id
            assert own[row.customer_key].person_id == row.person_id
    for customer in resolution.customers:
        assert own[customer.person_id].customer_id == customer.customer_id


def split(rows: list[Evidence], fused: frozenset[str]) -> list[list[Evidence]]:
    """Part evidence into components as stitch does: sign-outs and hints tie nothing, fused keys are cut."""
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for row in rows:
        if row.is_join and row.a_key not in fused and row.b_key not in fused:
            parent[find(row.a_key)] = find(row.b_key)
    parts: defaultdict[str, list[Evidence]] = defaultdict(list)
    for row in rows:
        for root in {find(row.a_key), find(row.b_key)}:
            parts[root].append(row)
    return list(parts.values())


def test_the_random_logs_reach_what_they_should() -> None:
    """The strategies are worth something: every guard and every word of the merge log comes up in them."""
    chance = random.Random(3)
    reasons: set[str] = set()
    for _ in range(800):
        log: Log = []
        for _ in range(chance.randrange(4, 18)):
            visitor, at = chance.choice(VISITORS[:3]), minutes(chance.randrange(60) * 97)
            names = chance.sample(KEYS, chance.randrange(1, 4))
            log.append(
                chance.choice(
                    (
                        sign_in(visitor, *names, at=at, level=chance.choice((3, 3, 4))),
                        click(visitor, chance.choice(KEYS[:3]), at, token="t1", human=chance.choice(("key", ""))),
                        alias(*chance.sample(KEYS, 2), at),
                        reset(visitor, chance.choice(VISITORS), at),
                        disown(visitor, chance.choice(KEYS[:3]), at),
                        sign_in(visitor, chance.choice(KEYS[:3]), at=at),
                    )
                )
            )
        resolution = resolve(flatten(log), POLICY)
        reasons |= {entry.reason for entry in (*resolution.guards, *resolution.merges)}
    assert reasons >= {
        *("fused", "unconfirmed", "replayed", "second_device", "two_people", "too_many_keys", "other_customer"),
        *("disowned", "forwarded", "shared_device", "merge", "associate", "switch"),
    }
    assert name_kind("A") == "visitor"
