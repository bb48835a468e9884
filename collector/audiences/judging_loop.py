"""The order of work of the role `activate`: fresh events first, what takes long in pieces between them.

    batches in the map, touched_keys ─► people ─► judged ─► changes ─► members ─► progress

Invariants: progress is written last, so that whoever is killed does the same again; the same again gives the same
changes (`changes`). What another process wrote, or this one before it was stopped, is looked at once more: so of two
that race the one that lives on has the last word, with all that is known. Nothing here is bound to one process: a
second one does the same work and writes what is there already.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from collector.audiences.activate_status import ActivateCounts
from collector.audiences.changes import Reason, list_moments
from collector.audiences.configuration import digest
from collector.audiences.following import (
    KEPT_MS,
    Ahead,
    Follower,
    Keys,
    Places,
    find_present,
    note,
    read_places,
    read_progress,
    read_store_time,
    write_places,
    write_progress,
)
from collector.audiences.judging import Judge, Judging
from collector.audiences.people import find_people
from collector.audiences.rounds import CheckRound, JudgeRound, LeaveRound, ListRound, Round, TouchRound
from collector.errors import StoreError
from collector.logs import get_logger
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

TOUCH_S = 1.0
"""How often `touched_keys` is looked at while no batch comes."""
PROGRESS_S = 1.0
HEARTBEAT_S = 60.0
"""How often progress is written without any."""
CHECK_S = 30.0
CHECK_DELAY_MS = 5_000
"""Between a change and its member's row lies no more, or its writer is dead."""
CHECK_MARGIN_MS = 120_000
RETRY_S = 60.0
"""When an audience that could not be judged is tried again."""


class JudgingLoop:
    """One role. Belongs to one thread."""

    def __init__(
        self,
        client: StoreClient,
        audiences: Mapping[str, Any],
        judge: Judge,
        *,
        sweep_s: float = 3_600.0,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        now_s: Callable[[], float] = time.monotonic,
        before_write: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`audiences`: by name, as the configuration has them. `now_ms`: milliseconds since 1970, by which rules are
        judged and changes dated. `now_s`: a clock that never goes back. `before_write`: for tests, see `Judging`."""
        self.counts = ActivateCounts()
        self._client = client
        self._audiences = audiences
        self._judge = judge
        self._sweep_s = sweep_s
        self._now_ms = now_ms
        self._now_s = now_s
        self._before_write = before_write
        self._complained: dict[str, str] = {}
        self._forget()

    def _forget(self) -> None:
        self._follower: Follower | None = None
        self._rounds: deque[Round] = deque()
        self._is_touching = False
        self._ahead = Ahead({})
        self._touched_s = self._progress_s = self._beat_s = self._checked_s = -1e9
        self._checked_ms = 0
        self._sweep_at_ms = 0
        self._retry_at: dict[str, float] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._judging = Judging(
            self._client,
            self._audiences,
            self._judge,
            now_ms=self._now_ms,
            before_write=self._before_write,
            complain=self._complain,
        )

    def forget(self) -> None:
        """Begin anew from the progress in the store: after an error nobody knows what was written."""
        self._count()
        self._forget()

    @property
    def oldest_ms(self) -> int:
        """When the oldest batch was loaded that is in the map and not judged, as last seen; 0: none."""
        return self._ahead.oldest_ms

    @property
    def round(self) -> tuple[str, int]:
        """What takes long now, and how many people it has come to; "" for nothing."""
        return (self._rounds[0].name, self._rounds[0].judged) if self._rounds else ("", 0)

    def is_judged(self, space_id: str, audience: str, definition: str) -> bool:
        """Whether everybody has been judged by this definition (its digest), as far as is known here."""
        return self._digests.get((space_id, audience)) == definition

    def step(self) -> bool:
        """Do what is there to be done, a piece of it. Returns whether there was anything. Raises StoreError; then call
        `forget`, and it again."""
        if self._follower is None:
            self._follower = self._begin()
        follower = self._follower
        found = self._follow(follower)
        self._plan()
        if self._rounds:
            found = True
            if not self._rounds[0].work():
                self._rounds.popleft()
        self._count()
        self._write_progress(follower, is_idle=not found)
        return found

    def place(self, audience: str, wanted: Mapping[str, bool], reason: Reason) -> None:
        """Take over what a statement has found: who may have entered, and who left."""
        space_id, definition = self._audiences[audience].space, digest(self._audiences[audience])

        def done() -> None:
            self._note_judged(space_id, {audience: definition})

        self._rounds.append(ListRound(self._judging, space_id, audience, wanted, reason, done))

    def close(self) -> None:
        """Write down how far it is. Raises StoreError."""
        if self._follower is not None:
            write_places(self._client, self._follower.places, self._now_ms())

    # --- the beginning

    def _begin(self) -> Follower:
        places, now_ms = read_places(self._client), self._now_ms()
        progress = read_progress(self._client)
        if places is None:
            places = find_present(self._client)
            write_places(self._client, places, now_ms)
        else:
            self._check(places.written_ms - CHECK_MARGIN_MS, now_ms + CHECK_MARGIN_MS)
            present = find_present(self._client)
            if present.touches_ms - places.touches_ms > KEPT_MS:
                get_logger().warning("activate was away for longer than is known who was touched: everybody is judged")
                places = present
                write_progress(self._client, "", {"sweep": "1"}, now_ms)  # due, until it has ended
                progress[("", "sweep")] = "1"
        self._checked_ms = now_ms - CHECK_DELAY_MS
        self._checked_s = self._now_s()
        self._publish(progress)
        ended_ms = int(progress.get(("", "sweep"), "0"))
        self._sweep_at_ms = ended_ms + int(self._sweep_s * 1000) if ended_ms else now_ms + int(self._sweep_s * 1000)
        if not ended_ms:
            write_progress(self._client, "", {"sweep": str(now_ms)}, now_ms)
        return Follower(self._client, Places(dict(places.hosts), places.touches_ms))

    def _publish(self, progress: Mapping[tuple[str, str], str]) -> None:
        """Write down what is configured, judge everybody where that is new, and let them leave what is gone."""
        now_ms = self._now_ms()
        sql = "SELECT space_id, audience, sentence, purpose, digest FROM audience_definitions FINAL"
        declared = {(row["space_id"], row["audience"]): row for row in self._client.query_rows(sql)}
        changed: defaultdict[str, set[str]] = defaultdict(set)
        rows = []
        for name, audience in self._audiences.items():
            where, definition = (audience.space, name), digest(audience)
            row = {
                "space_id": audience.space,
                "audience": name,
                "sentence": audience.sentence,
                "purpose": audience.purpose,
                "digest": definition,
            }
            if declared.pop(where, None) != row:
                rows.append({**row, "version": now_ms, "is_deleted": 0})
            self._digests[where] = progress.get((audience.space, f"audience:{name}"), "")
            if not audience.sql and self._digests[where] != definition:
                changed[audience.space].add(name)
        insert_rows(self._client, "audience_definitions", rows)
        for space_id, names in sorted(changed.items()):
            get_logger().info("definitions are new", space=space_id, audiences=", ".join(sorted(names)))
            self._judge_definitions(space_id, names, Reason.DEFINITION)
        for (space_id, name), row in declared.items():
            self._let_leave(space_id, name, row)

    def _judge_definitions(self, space_id: str, names: set[str], reason: Reason) -> None:
        def done(judged: frozenset[str]) -> None:
            self._note_judged(space_id, {name: digest(self._audiences[name]) for name in judged})

        self._rounds.append(JudgeRound(self._client, self._judging, space_id, reason, names, done))

    def _let_leave(self, space_id: str, audience: str, row: Mapping[str, Any]) -> None:
        # First: put back while some have left, it is judged anew.
        write_progress(self._client, space_id, {f"audience:{audience}": ""}, self._now_ms())

        def done() -> None:
            now_ms = self._now_ms()
            insert_rows(self._client, "audience_definitions", [{**row, "version": now_ms, "is_deleted": 1}])

        self._rounds.append(LeaveRound(self._client, self._judging, space_id, audience, done))

    def _note_judged(self, space_id: str, digests: Mapping[str, str]) -> None:
        values = {
            f"audience:{name}": digest for name, digest in digests.items() if not self.is_judged(space_id, name, digest)
        }
        if values:
            self._before_write("audience_progress")
            write_progress(self._client, space_id, values, self._now_ms())
            self._digests |= {(space_id, name): definition for name, definition in digests.items()}

    # --- what is fresh

    def _follow(self, follower: Follower) -> bool:
        """Judge whom the next batches and changes beside them have touched."""
        self._ahead = ahead = follower.look()
        now_s = self._now_s()
        keys: Keys = defaultdict(dict)
        moments: dict[int, int] = {}
        if not self._is_touching and (ahead.batches or now_s - self._touched_s >= TOUCH_S):
            self._touched_s = now_s
            portions, moments = follower.find_portions()
            if len(portions) > 1:
                self._begin_touching(follower, portions, moments)
                moments = {}
            elif portions:
                keys = follower.read_portion(portions[0])
        if not ahead.batches and not moments:
            return False
        if ahead.batches:
            for space_id, touched in follower.read_people(ahead).items():
                for key, reason in touched.items():
                    note(keys[space_id], key, reason)
        self._judge_keys(keys)
        follower.settle_batches(ahead)
        follower.settle_touches(moments)
        self.counts.batches += ahead.batches
        if ahead.is_all:
            self._ahead = Ahead(ahead.hosts)
        return True

    def _begin_touching(self, follower: Follower, portions: list[Any], moments: Mapping[int, int]) -> None:
        self._is_touching = True

        def done() -> None:
            self._is_touching = False
            follower.settle_touches(moments)

        self._rounds.appendleft(TouchRound(follower, portions, self._judge_keys, done))

    def _judge_keys(self, keys: Keys) -> int:
        """Judge the people whose identifiers these are; returns how many."""
        judged = 0
        for space_id, touched in sorted(keys.items()):
            if not any(audience.space == space_id for audience in self._audiences.values()):
                continue
            by_reason: defaultdict[Reason, list[str]] = defaultdict(list)
            for key, reason in touched.items():
                by_reason[reason].append(key)
            people: dict[str, Reason] = {}
            for reason, those in by_reason.items():
                for person in find_people(self._client, space_id, those, past=reason is Reason.IDENTITY):
                    note(people, person, reason)
            self._judging.judge_people(space_id, people)
            judged += len(people)
        return judged

    # --- what takes long

    def _plan(self) -> None:
        """Begin what is due: the sweep, another look at audiences that failed, and at what others wrote."""
        now_s, now_ms = self._now_s(), self._now_ms()
        if now_ms >= self._sweep_at_ms:
            self._sweep_at_ms = now_ms + int(self._sweep_s * 1000)
            self._judge_all(Reason.TIME)
        for name in [name for name, at_s in self._retry_at.items() if now_s >= at_s]:
            del self._retry_at[name]
            self._judging.left_out.discard(name)
            space_id = self._audiences[name].space
            is_new = not self.is_judged(space_id, name, digest(self._audiences[name]))
            self._judge_definitions(space_id, {name}, Reason.DEFINITION if is_new else Reason.TIME)
        if now_s - self._checked_s >= CHECK_S:
            self._checked_s = now_s
            from_ms, self._checked_ms = self._checked_ms - CHECK_DELAY_MS, now_ms - CHECK_DELAY_MS
            self._check(from_ms, self._checked_ms)
            self._judging.mine = {at: rows for at, rows in self._judging.mine.items() if at >= from_ms}

    def _judge_all(self, reason: Reason) -> None:
        """Judge everybody of all spaces in all audiences with rules, unless that goes on already."""
        if any(isinstance(one, JudgeRound) and one.names is None for one in self._rounds):
            return
        spaces = {audience.space for audience in self._audiences.values() if not audience.sql}
        left = set(spaces)

        def end(space_id: str) -> None:
            left.discard(space_id)
            self.counts.rounds += 1
            if not left:
                now_ms = self._now_ms()
                write_progress(self._client, "", {"sweep": str(now_ms)}, now_ms)

        for space_id in sorted(spaces):
            done = partial(lambda space, _: end(space), space_id)
            self._rounds.append(JudgeRound(self._client, self._judging, space_id, reason, None, done))

    def _check(self, from_ms: int, to_ms: int) -> None:
        """Look at the changes of this time that were not written here."""
        mine = self._judging.mine
        for at_ms, rows in list_moments(self._client, from_ms, to_ms).items():
            if mine.get(at_ms) != rows:
                # First: its time is noted nowhere.
                self._rounds.appendleft(CheckRound(self._client, self._judging, at_ms))

    def _complain(self, name: str, error: StoreError) -> None:
        self.counts.errors += 1
        self._retry_at[name] = self._now_s() + RETRY_S
        if self._complained.get(name) != str(error):
            self._complained[name] = str(error)
            get_logger().warning("an audience cannot be judged, the others are", audience=name, reason=str(error))

    def _count(self) -> None:
        judging = self._judging
        self.counts.judged += judging.judged
        self.counts.enters += judging.enters
        self.counts.leaves += judging.leaves
        judging.judged = judging.enters = judging.leaves = 0

    def _write_progress(self, follower: Follower, *, is_idle: bool) -> None:
        now_s = self._now_s()
        if now_s - self._progress_s < (HEARTBEAT_S if is_idle else PROGRESS_S):
            return
        if now_s - self._beat_s >= HEARTBEAT_S and not self._is_touching:
            # What was written before this moment has been read, or is read with the overlap.
            self._beat_s = now_s
            follower.places.touches_ms = max(follower.places.touches_ms, read_store_time(self._client))
        self._before_write("audience_progress")
        write_places(self._client, follower.places, self._now_ms())
        self._progress_s = now_s
