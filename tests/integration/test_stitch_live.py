"""Stitch against a real engine: from loaded evidence to what readers see."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from collector.event import EvidenceRow, LandingRow
from collector.identity.component import read_component
from collector.identity.evidence import Evidence
from collector.identity.resolve import resolve
from collector.identity.standing import FOR_EVER_MS, compare, index, read_all_standing
from collector.identity.stitching import stitch as stitch_module
from collector.identity.stitching.rebuild import rebuild
from collector.identity.stitching.stitch import Stitcher, read_progress, run_stitch
from collector.sites.book import Site
from collector.sites.rows import add_site
from collector.store.client import StoreClient, open_client
from collector.store.dictionaries import reload_dictionaries
from tests.identity.story import (
    KINDS,
    alias,
    click,
    days,
    hand_over,
    hours,
    key,
    minutes,
    name_value,
    rekey,
    reset,
    sign_in,
    take_back,
    tie,
)
from tests.running_store import RunningStore, make_event, running_store

pytestmark = pytest.mark.engine
SITE = Site(
    "shop",
    origins=("https://shop.example",),
    kinds=tuple(msgspec.structs.replace(kind, max_visitors=4, max_per_person=3) for kind in KINDS),
)
_EVIDENCE_FIELDS = EvidenceRow.__struct_fields__


@dataclass
class Loaded:
    """A store into which evidence is loaded batch by batch, as the loader does."""

    store: RunningStore
    seqs: dict[str, int] = field(default_factory=dict)
    events: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def load(self, *rows: Evidence, host: str = "host-1", events: list[tuple[str, int]] | None = None) -> None:
        """Load one batch: evidence, each piece in a beacon of its visitor, and page views (visitor, time)."""
        seq = self.seqs[host] = self.seqs.get(host, 0) + 1
        landing = [
            LandingRow(
                received_at_ms=row.time_ms,
                site_id="shop",
                space_id=row.space_id,
                visitor_id=row.a_value if row.a_kind == "visitor" else "00000000-0000-0000-0000-000000000000",
                own_person_id=row.a_key,
                evidence=[EvidenceRow(**{name: getattr(row, name) for name in _EVIDENCE_FIELDS})],
            )
            for row in rows
        ]
        for name, at in events or []:
            event = msgspec.structs.replace(make_event(next(self.events)), time_ms=at)
            landing.append(
                LandingRow(
                    received_at_ms=at,
                    site_id="shop",
                    space_id="main",
                    visitor_id=name_value(name),
                    own_person_id=key(name),
                    events=[event],
                )
            )
        if landing:
            # A token of its own: an emptied table still knows the tokens of the test before.
            self.store.load(*landing, host=host, seq=seq, token=str(uuid4()))
        self.store.put(
            "batches", {"host": host, "seq": seq, "token": "t", "events": len(events or []), "evidence": len(rows)}
        )

    def stitch(self) -> None:
        """Stitch until there is nothing to be done, as a fresh process."""
        stitcher = Stitcher(self.store.writer, self.store.config)
        while stitcher.step():
            pass
        stitcher.write_progress()

    def who(self, name: str) -> list[str]:
        """Return whose the visitor's events are, in order of time, as v_events says; `?`: provisional."""
        rows = self.store.query(
            "SELECT customer_id, provisional FROM v_events WHERE visitor_id = {visitor:UUID} ORDER BY time",
            visitor=name_value(name),
        )
        return [row["customer_id"].removeprefix("value-") + "?" * row["provisional"] for row in rows]

    def differs(self) -> int:
        """Return how many rows a rebuild would change: nothing, if stitch is right."""
        return rebuild(self.store.config, self.store.keyring, dry_run=True).differences


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("stitch")) as store:
        yield store


@pytest.fixture
def loaded(shared_store: RunningStore) -> Loaded:
    """The engine with empty tables and one site."""
    shared_store.clear()
    add_site(shared_store.writer, SITE)
    return Loaded(shared_store)


def test_the_main_story_as_readers_see_it(loaded: Loaded) -> None:
    """Anonymous pages, a tagged link, a sign-in: each step's view says who it was as far as the rules allow."""
    pages = [("A", days(0)), ("A", hours(30)), ("A", hours(32)), ("B", hours(32))]
    loaded.load(events=pages)
    loaded.stitch()
    assert loaded.who("A") == ["", "", ""]
    loaded.load(*click("A", "K1", hours(30) + 5_000, session_start=hours(30)))
    loaded.stitch()
    assert loaded.who("A") == ["", "K1?", "K1?"]
    loaded.load(*sign_in("A", "K1", at=hours(31)))
    loaded.stitch()
    assert loaded.who("A") == ["K1", "K1", "K1"]
    loaded.load(*sign_in("B", "K2", at=hours(33)))
    loaded.stitch()
    assert loaded.who("A") == ["K1", "K1", "K1"]
    assert loaded.who("B") == ["K2"]
    assert loaded.differs() == 0


def test_a_walk_over_three_domains_is_followed_back(loaded: Loaded) -> None:
    """Each crossing is loaded by itself, the sign-in last: what was stitched on the way is what a rebuild makes."""
    loaded.load(events=[("A", hours(1)), ("B", hours(2)), ("C", hours(3)), ("D", hours(3))])
    loaded.load(*hand_over("B", "A", hours(2), token="t", session_start=hours(1)))
    loaded.stitch()
    loaded.load(*hand_over("C", "B", hours(3), token="u", session_start=hours(2)))
    loaded.load(*hand_over("D", "B", hours(3) + 1, token="u"))
    loaded.stitch()
    assert loaded.differs() == 0
    loaded.load(*sign_in("C", "K1", at=hours(4)))
    loaded.stitch()
    assert [loaded.who(name) for name in "ABCD"] == [["K1?"], ["K1?"], ["K1"], [""]]
    assert loaded.differs() == 0


def test_a_shared_browser_is_read_by_its_intervals(loaded: Loaded) -> None:
    """Two people in turn: each event is the one's who had the browser then."""
    loaded.load(events=[("A", hours(h)) for h in (0, 2, 4, 6)])
    loaded.load(*sign_in("A", "K1", at=hours(1)), *sign_in("A", "K2", at=hours(3)), *sign_in("A", "K1", at=hours(5)))
    loaded.stitch()
    assert loaded.who("A") == ["K1", "K1", "K2", "K1"]
    ends = loaded.store.query("SELECT max(toUnixTimestamp64Milli(valid_to)) AS ms FROM identity_intervals FINAL")
    assert ends == [{"ms": FOR_EVER_MS}]


def test_a_retraction_gives_the_old_people_back(loaded: Loaded) -> None:
    """Merge, then take it back: v_events says again what it said before, by the old ids."""
    loaded.load(
        *sign_in("A", "K1", at=hours(1)), *sign_in("B", "K2", at=hours(2)), events=[("A", hours(2)), ("B", hours(2))]
    )
    loaded.stitch()
    before = read_all_standing(loaded.store.writer, "main")
    merge = alias("K1", "K2", at=hours(3))
    loaded.load(*merge)
    loaded.stitch()
    assert loaded.who("B") == ["K1"]
    assert loaded.differs() == 0
    loaded.load(*take_back(merge))
    loaded.stitch()
    assert loaded.who("B") == ["K2"]
    assert read_all_standing(loaded.store.writer, "main") == before


def test_a_late_sign_in_of_a_waiting_spool_takes_its_place(loaded: Loaded) -> None:
    """Host 2's spool waited a day: its evidence is older than what is in the map, and is not skipped."""
    loaded.load(events=[("A", hours(2)), ("A", hours(8))])
    loaded.load(*sign_in("A", "K2", at=hours(6)))
    loaded.stitch()
    assert loaded.who("A") == ["K2", "K2"]
    loaded.load(*sign_in("A", "K1", at=hours(1)), host="host-2")
    loaded.stitch()
    assert loaded.who("A") == ["K1", "K2"]
    assert loaded.differs() == 0


def test_stitch_waits_at_a_gap_in_the_list(loaded: Loaded) -> None:
    """Batch 2 is listed before batch 1 is: nothing of it is taken until batch 1 is there."""
    loaded.seqs["host-1"] = 1
    loaded.load(*sign_in("A", "K1", at=hours(1)), events=[("A", hours(2))])
    loaded.stitch()
    assert loaded.who("A") == [""]
    loaded.seqs["host-1"] = 0
    loaded.load()
    loaded.stitch()
    assert loaded.who("A") == ["K1"]
    assert read_progress(loaded.store.writer).hosts == {"host-1": 2}


def test_a_value_that_becomes_shared_lets_go_of_everybody(loaded: Loaded) -> None:
    """Four visitors hang on K1; the fifth fuses it: they keep the login alone, until the fifth is taken back."""
    loaded.load(events=[(f"v{n}", hours(9)) for n in range(6)])
    for n in range(4):
        loaded.load(*sign_in(f"v{n}", "K1", "L1", at=hours(2)))
    loaded.stitch()
    assert [loaded.who(f"v{n}") for n in range(5)] == [["K1"], ["K1"], ["K1"], ["K1"], [""]]
    fifth = sign_in("v4", "K1", at=hours(2))
    loaded.load(*fifth)
    loaded.stitch()
    assert [loaded.who(f"v{n}") for n in range(5)] == [["L1"], ["L1"], ["L1"], ["L1"], [""]]
    assert loaded.differs() == 0
    loaded.load(*take_back(fifth))
    loaded.stitch()
    assert [loaded.who(f"v{n}") for n in range(5)] == [["K1"], ["K1"], ["K1"], ["K1"], [""]]
    assert loaded.differs() == 0


def test_the_walk_ends_at_an_agents_browser(loaded: Loaded) -> None:
    """More than 50 customers on one browser: a customer's component does not go through it to the other 50."""
    policy = Stitcher(loaded.store.writer, loaded.store.config).read_policy("main")
    loaded.load(*(row for n in range(51) for row in sign_in("A", f"K{n}", at=days(n))), *sign_in("B", "K7", at=days(1)))
    component = read_component(loaded.store.writer, "main", [key("B")], policy)
    assert component.keys == {key("A"), key("B"), key("K7")}
    assert component.fused == {key("A")}
    loaded.stitch()
    assert loaded.differs() == 0


def test_guards_and_merges_are_logged_once(loaded: Loaded) -> None:
    """What was refused is visible with its reason, however often it is looked at again."""
    loaded.load(*sign_in("A", "K1", at=hours(1)), *click("A", "K2", hours(2)))
    loaded.stitch()
    loaded.load(*sign_in("A", "K1", at=hours(3)))
    loaded.stitch()
    rows = loaded.store.query(
        "SELECT reason, toString(from_person_id) AS before, toString(to_person_id) AS after FROM guard_log"
    )
    assert rows == [{"reason": "other_customer", "before": key("K2"), "after": key("K1")}]


def test_two_sites_spaces_never_touch(loaded: Loaded) -> None:
    """The same customer number in another space is another customer."""
    loaded.load(*sign_in("A", "K1", at=hours(1)))
    elsewhere = [msgspec.structs.replace(row, space_id="other") for row in sign_in("B", "K1", at=hours(1))]
    loaded.load(*elsewhere)
    loaded.stitch()
    rows = loaded.store.query("SELECT space_id, count() AS n FROM customers FINAL GROUP BY space_id ORDER BY space_id")
    assert rows == [{"space_id": "main", "n": 1}, {"space_id": "other", "n": 1}]


def _random_log(chance: random.Random) -> list[list[Evidence]]:
    """Return batches of random evidence, with retractions, on few names so that they meet."""
    batches: list[list[Evidence]] = []
    everything: list[Evidence] = []
    for _ in range(chance.randrange(6, 14)):
        batch: list[Evidence] = []
        for _ in range(chance.randrange(0, 4)):
            visitor, at = chance.choice("ABCDFGH"), minutes(chance.randrange(60) * 97)
            names = chance.sample(("K1", "K2", "K3", "K4", "L1", "E1", "E2", "E3", "E4"), chance.randrange(1, 3))
            token = chance.choice(("t", f"t{at}"))
            batch += chance.choice(
                (
                    sign_in(visitor, *names, at=at, level=chance.choice((1, 3, 3, 4))),
                    sign_in(visitor, *names, at=at, proof=chance.choice(("script", "fresh"))),
                    click(visitor, chance.choice(("K1", "K2")), at, token=token, human=chance.choice(("key", ""))),
                    alias(*chance.sample(("K1", "K2", "K3", "E2"), 2), at),
                    reset(visitor, chance.choice("ABCDFGH"), at, proof=chance.choice(("cookie", "script"))),
                    rekey(*chance.choice((("E1", "E3"), ("E3", "E4"), ("K1", "K4"))), at),
                    [tie(visitor, chance.choice("ABC"), at, 2, kind="link", human="key", token="u")],
                )
            )
        everything += batch
        if everything and chance.random() < 0.4:
            batch = batch + take_back([chance.choice(everything)])
        batches.append(batch)
    return batches


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.long
def test_step_by_step_equals_all_at_once(loaded: Loaded, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random batches on two hosts, stitched at random moments: the map is what resolve says of all evidence.

    Every other time most steps are so large that the whole space is read at once.
    """
    if seed % 2:
        monkeypatch.setattr("collector.identity.stitching.stitch.WALK_KEYS", 4)
    monkeypatch.setattr("collector.identity.stitching.first_look.LEAST_KEYS", 0)
    chance = random.Random(seed)
    stitcher = Stitcher(loaded.store.writer, loaded.store.config)
    for batch in _random_log(chance):
        loaded.load(*batch, host=chance.choice(("host-1", "host-2")))
        if chance.random() < 0.6:
            stitcher.step()
        if chance.random() < 0.2:  # killed: another process goes on
            stitcher = Stitcher(loaded.store.writer, loaded.store.config)
    loaded.stitch()
    assert loaded.differs() == 0


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_stitcher_killed_anywhere_is_carried_on(loaded: Loaded, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write in turn fails once, for ever: whoever starts next ends with the right map, visible to readers."""

    class Killed(Exception):
        pass

    chance = random.Random(100 + seed)
    for batch in _random_log(chance):
        loaded.load(*batch)
    for deadly in range(1, 9):
        writes = itertools.count(1)

        def dies(real: Any, deadly: int = deadly, writes: Iterator[int] = writes) -> Any:
            def call(*args: Any, **more: Any) -> Any:
                if next(writes) == deadly:
                    raise Killed
                return real(*args, **more)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(StoreClient, "insert_columns", dies(StoreClient.insert_columns))
            patch.setattr("collector.identity.stitching.stitch.insert_rows", dies(stitch_module.insert_rows))
            patch.setattr("collector.identity.stitching.stitch.reload_dictionaries", dies(reload_dictionaries))
            stitcher = Stitcher(loaded.store.writer, loaded.store.config)
            try:
                while stitcher.step():
                    pass
            except Killed:
                continue
    loaded.stitch()
    assert loaded.differs() == 0
    rows = loaded.store.query(
        "SELECT count() AS wrong FROM identity_map FINAL WHERE key_kind = 'visitor'"
        " AND dictGet('identity', 'person_id', cityHash64(key)) != person_id"
    )
    assert rows == [{"wrong": 0}]


@pytest.mark.long
def test_a_stitcher_that_falls_asleep_over_old_evidence_cannot_win(loaded: Loaded) -> None:
    """It has read a merge, sleeps while the merge is taken back and stitched by another, and writes then: it loses."""
    loaded.load(*sign_in("A", "K1", at=hours(1)), *sign_in("B", "K2", at=hours(1)), events=[("B", hours(2))])
    loaded.stitch()
    merge = alias("K1", "K2", at=hours(3))
    loaded.load(*merge)

    def meanwhile() -> None:
        loaded.load(*take_back(merge))
        with open_client(loaded.store.config, loaded.store.keyring, "writer") as client:
            other = Stitcher(client, loaded.store.config)
            while other.step():
                pass

    pending = [meanwhile]
    sleeper = Stitcher(
        loaded.store.writer, loaded.store.config, before_write=lambda: pending.pop()() if pending else None
    )
    sleeper.step()
    assert loaded.differs() == 0
    sleeper.step()
    sleeper.step()
    assert loaded.differs() == 0
    assert loaded.who("B") == ["K2"]
    assert read_progress(loaded.store.writer).hosts == {"host-1": 3}


@pytest.mark.long
def test_a_stitcher_that_was_overtaken_clears_away_what_only_it_wrote(loaded: Loaded) -> None:
    """It slept over a switch that was taken back: the intervals that it wrote then belong to nothing, and go."""
    loaded.load(*sign_in("A", "K1", at=hours(1)), events=[("A", hours(4))])
    loaded.stitch()
    switch = sign_in("A", "K2", at=hours(3))
    loaded.load(*switch)

    def meanwhile() -> None:
        loaded.load(*take_back(switch))
        loaded.stitch()

    pending = [meanwhile]
    sleeper = Stitcher(
        loaded.store.writer, loaded.store.config, before_write=lambda: pending.pop()() if pending else None
    )
    sleeper.step()
    assert loaded.store.query("SELECT count() AS n FROM identity_intervals FINAL") == [{"n": 2}]
    assert loaded.who("A") == ["K1"]
    sleeper.step()
    assert loaded.store.query("SELECT count() AS n FROM identity_intervals FINAL") == [{"n": 0}]
    assert loaded.differs() == 0


@pytest.mark.long
def test_two_stitchers_at_once_reach_the_same_rows(loaded: Loaded) -> None:
    """Two of them run while batches come in; at the end the map is the right one."""
    stop = threading.Event()
    config = msgspec.structs.replace(loaded.store.config, stitch_interval_s=0.01)
    threads = [threading.Thread(target=run_stitch, args=(config, loaded.store.keyring, stop)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        chance = random.Random(9)
        for batch in _random_log(chance) + _random_log(chance):
            loaded.load(*batch, host=chance.choice(("host-1", "host-2")))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    loaded.stitch()
    assert loaded.differs() == 0


def test_a_rebuild_mends_a_map_that_was_damaged(loaded: Loaded) -> None:
    """Rows lost or made up by hand: a rebuild counts them, mends them, and counts none after."""
    loaded.load(*sign_in("A", "K1", at=hours(1)), events=[("A", hours(2))])
    loaded.stitch()
    loaded.store.put("identity_map", {"space_id": "main", "key": key("A"), "version": 1, "is_deleted": 1})
    loaded.store.put(
        "identity_map",
        {"space_id": "main", "key": key("Z"), "key_kind": "visitor", "person_id": key("K1"), "version": 1},
    )
    assert loaded.differs() == 2
    assert rebuild(loaded.store.config, loaded.store.keyring).differences == 2
    assert loaded.differs() == 0
    assert loaded.who("A") == ["K1"]


def test_the_map_in_the_store_is_what_resolve_returns(loaded: Loaded) -> None:
    """Every column of every row, times and endless intervals included, survives the way through the store."""
    log = [
        *sign_in("A", "K1", "E1", at=hours(1)),
        *sign_in("A", "K2", at=hours(30)),
        *click("B", "K1", hours(2), session_start=hours(1) + 7),
        *alias("K3", "E1", at=hours(3), level=3),
        *reset("C", "A", at=hours(40)),
    ]
    loaded.load(*log)
    loaded.stitch()
    stitcher = Stitcher(loaded.store.writer, loaded.store.config)
    wanted = index(resolve(log, stitcher.read_policy("main")))
    assert len(wanted.map_rows) >= 5
    assert compare(wanted, read_all_standing(loaded.store.writer, "main")).size == 0


@pytest.mark.long
def test_evidence_hours_late_and_backwards_ends_in_the_same_map(loaded: Loaded) -> None:
    """One history, stitched as it happened, then from spools that waited: the last hour first, each beacon a batch."""
    history = [row for batch in _random_log(random.Random(77)) for row in batch]
    history.sort(key=lambda row: row.time_ms)
    loaded.load(*history)
    loaded.stitch()
    in_order = read_all_standing(loaded.store.writer, "main")
    assert len(in_order.map_rows) > 5
    loaded.store.clear()
    add_site(loaded.store.writer, SITE)
    loaded.seqs.clear()
    stitcher = Stitcher(loaded.store.writer, loaded.store.config)
    for place, row in enumerate(reversed(history)):
        loaded.load(row, host=f"host-{place % 3}")
        if place % 2:
            stitcher.step()
    loaded.stitch()
    assert read_all_standing(loaded.store.writer, "main") == in_order
    assert loaded.differs() == 0


def test_a_fuse_holds_stitch_up_and_changes_nothing(loaded: Loaded) -> None:
    """More merges within a minute than expected: what comes next waits until it is over, and then is as it would be."""
    clock_s = [100.0]
    told: list[int] = []
    config = msgspec.structs.replace(loaded.store.config, merges_per_minute=1)
    stitcher = Stitcher(
        loaded.store.writer, config, now_s=lambda: clock_s[0], tell=lambda _, oldest_ms: told.append(oldest_ms)
    )
    loaded.load(*alias("K1", "K2", hours(1)), *alias("K3", "K4", hours(1)))
    assert stitcher.step()
    loaded.load(*sign_in("A", "K2", at=hours(2)), events=[("A", hours(3))])
    assert not stitcher.step()
    assert (stitcher.counts.merges, stitcher.counts.delays, loaded.who("A")) == (2, 1, [""])
    clock_s[0] += 61
    assert stitcher.step()
    assert loaded.who("A") != [""]
    assert loaded.differs() == 0
    assert told[-1] == 0


def test_what_stitch_did_is_counted(loaded: Loaded) -> None:
    """Touched identifiers, rows written, refusals by reason: each once, however often it is looked at."""
    stitcher = Stitcher(loaded.store.writer, loaded.store.config)
    loaded.load(*sign_in("A", "K1", at=hours(1)), *click("A", "K2", hours(2)))
    stitcher.step()
    loaded.load(*sign_in("A", "K1", at=hours(3)))
    stitcher.step()
    counts = stitcher.counts
    assert (counts.steps, counts.touched, counts.refusals) == (2, 5, {"other_customer": 1})
    assert counts.written >= 4
