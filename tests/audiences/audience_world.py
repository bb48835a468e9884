"""A store in which people come and go, and roles that keep one audience of buyers, with a judge of a few lines.

    world.buys(1)                  # visitor 1, loaded as a batch that is in the map
    world.run()                    # the role, until there is nothing to do
    assert world.members() == {visitor(1)}

The rules themselves are tested elsewhere: here somebody is in `buyers` who has bought, by any identifier that is theirs
by the map.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from collector.audiences.judging_loop import JudgingLoop
from collector.audiences.people import find_people
from collector.errors import StoreError
from collector.store.client import StoreClient
from tests.running_store import NOON_MS, RunningStore, make_event, make_id, make_row

EPOCH = "1970-01-01T00:00:00Z"


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """An audience as far as the loop needs it. `all`: what one has to have done, of those without `sql`."""

    name: str = "buyers"
    space: str = "main"
    sentence: str = "Whoever has bought"
    purpose: str = ""
    sql: str = ""
    every_s: float = 300.0
    all: tuple[str, ...] = ("purchase",)
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()


BUYERS = {"buyers": Declared()}


def visitor(number: int) -> str:
    """Return the person id of a visitor taken alone."""
    return make_id(number, 0xB)


def customer(number: int) -> str:
    """Return the person id of a customer."""
    return make_id(number, 0xC)


def judge_buyers(
    client: StoreClient, audiences: Mapping[str, Any], space_id: str, person_ids: Iterable[str], *, now_ms: int
) -> dict[str, frozenset[str]]:
    """Judge by what was done, whenever it was; by nothing, all are in."""
    found: dict[str, set[str]] = {person: set() for person in person_ids}
    for name, audience in audiences.items():
        if not audience.all:
            for names in found.values():
                names.add(name)
            continue
        [event] = audience.all
        if event == "broken":
            raise StoreError("ClickHouse refused: the audience is broken", 47)
        sql = "SELECT DISTINCT toString(own_person_id) AS key FROM timeline WHERE event_name = {event:String}"
        keys = [row["key"] for row in client.query_rows(sql, {"event": event})]
        for person in find_people(client, space_id, keys):
            if person in found:
                found[person].add(name)
    return {person: frozenset(names) for person, names in found.items()}


class World:
    """One store, and what happens in it. Batches are of one host and count up."""

    def __init__(self, store: RunningStore) -> None:
        self.store = store
        self.now_ms = NOON_MS
        self.now_s = 0.0
        self.versions = itertools.count(1)
        self.seqs = itertools.count(1)

    def loop(
        self,
        audiences: Mapping[str, Any] = BUYERS,
        before_write: Callable[[str], None] = lambda _: None,
        judge: Any = judge_buyers,
        client: StoreClient | None = None,
    ) -> JudgingLoop:
        """Return a role that has not begun. Its clocks stand until `pass_s` is called."""
        return JudgingLoop(
            client or self.store.writer,
            audiences,
            judge,
            now_ms=self.tick,
            now_s=lambda: self.now_s,
            before_write=before_write,
        )

    def tick(self) -> int:
        """Return now, one millisecond later each time."""
        self.now_ms += 1
        return self.now_ms

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        self.now_ms += int(seconds * 1000)

    def run(self, loop: JudgingLoop | None = None) -> JudgingLoop:
        """Let a role work until there is nothing to do, and look for what no batch tells."""
        loop = loop or self.loop()
        for _ in range(2):
            self.pass_s(2)
            while loop.step():
                pass
        return loop

    def does(self, number: int, event: str = "purchase", *, pieces: int = 0, stitched: bool = True) -> int:
        """Load an event of a visitor, and list its batch. Returns the number of the batch."""
        seq = next(self.seqs)
        row = make_row(number, events=[make_event(seq * 1000 + number, name=event)])
        self.store.load(row, seq=seq)
        self.list_batch(seq, pieces)
        if stitched:
            self.stitched(seq)
        return seq

    def list_batch(self, seq: int, pieces: int = 0, host: str = "host-1") -> None:
        """Write a batch into the list."""
        moment = "2026-11-01T00:00:00Z"
        batch = {"host": host, "seq": seq, "token": f"{host}-{seq}", "events": 1, "evidence": pieces, "rejected": 0}
        times = dict.fromkeys(("first_received_at", "last_received_at", "loaded_at"), moment)
        self.store.put("batches", {**batch, **times})

    def stitched(self, seq: int, host: str = "host-1") -> None:
        """Write down that the map is as far."""
        self.store.put("stitch_progress", {"host": host, "seq": seq, "version": seq})

    def ties(
        self, key: str, person: str, *, kind: str = "visitor", customer_id: str = "", deleted: bool = False
    ) -> None:
        """Write a row of the map: whose an identifier is."""
        row = {
            "space_id": "main",
            "key": key,
            "key_kind": kind,
            "key_customer_id": customer_id if key == person else "",
            "person_id": person,
            "customer_id": customer_id,
            "customer_key": person,
            "valid_from": EPOCH,
            "several": 0,
            "level": 3,
            "provisional": 0,
            "version": next(self.versions),
            "is_deleted": int(deleted),
        }
        self.store.put("identity_map", row)

    def members(self, audience: str = "buyers") -> set[str]:
        """Return who is in an audience."""
        sql = "SELECT toString(person_id) AS id FROM v_audience_members WHERE audience = {audience:String}"
        return {row["id"] for row in self.store.query(sql, audience=audience)}

    def changes(self) -> list[tuple[str, str, str]]:
        """Return person, change and reason of everything that was told, in order."""
        sql = "SELECT toString(person_id) AS id, change, reason FROM v_audience_changes ORDER BY at, change, id"
        return [(row["id"], row["change"], row["reason"]) for row in self.store.query(sql)]

    def check_story(self) -> None:
        """See that what was told adds up: each person enters and leaves in turn, each once, and who is a member is who
        entered last."""
        told = self.store.query(
            "SELECT toString(person_id) AS id, audience, groupArray(version) AS versions, groupArray(change) AS words"
            " FROM (SELECT * FROM audience_changes FINAL ORDER BY version) GROUP BY id, audience"
        )
        inside = set()
        for row in told:
            assert row["versions"] == list(range(1, len(row["versions"]) + 1))
            assert row["words"] == ["enter" if version % 2 else "leave" for version in row["versions"]]
            if row["words"][-1] == "enter":
                inside.add((row["id"], row["audience"]))
        held = self.store.query(
            "SELECT toString(person_id) AS id, audience FROM audience_members FINAL WHERE is_member = 1"
        )
        assert {(row["id"], row["audience"]) for row in held} == inside
