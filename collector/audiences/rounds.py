"""What takes long and is done in pieces between fresh events: everybody judged, everybody out, a list applied.

Each piece is one call of `work`; what fails is done again with the next one. The order does not matter: a piece judges
by what is known then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from collector.audiences.changes import Change, Reason, find_unfinished, read_moment, write_members
from collector.audiences.everybody import Everybody, list_members
from collector.audiences.following import Follower, Keys, Portion
from collector.audiences.judging import Judging
from collector.audiences.people import cut
from collector.logs import get_logger
from collector.store.client import StoreClient

TELL_S = 10.0
MOMENT_ROWS = 1_000


class Round(Protocol):
    """Something that takes long. `name`: what it is, for logs and the status. `judged`: how many people so far."""

    name: str
    judged: int

    def work(self) -> bool:
        """Do a piece of it. Returns whether there is more. Raises StoreError."""


class JudgeRound:
    """Judges everybody of a space, in all audiences with rules or in those named."""

    def __init__(
        self,
        client: StoreClient,
        judging: Judging,
        space_id: str,
        reason: Reason,
        names: Iterable[str] | None = None,
        done: Callable[[frozenset[str]], None] = lambda _: None,
    ) -> None:
        """`done`: hears at the end which of the named audiences everybody has been judged in."""
        self.names = None if names is None else frozenset(names)
        self.space_id = space_id
        self.name = f"{space_id}: " + ("all audiences" if self.names is None else ", ".join(sorted(self.names)))
        self.judged = 0
        self._judging = judging
        self._reason = reason
        self._done = done
        self._everybody = Everybody(client, space_id)
        self._judged_in = frozenset(self._list_names())
        self._began_s = self._told_s = time.monotonic()

    def work(self) -> bool:
        """Judge a page."""
        names = self._list_names()
        people = self._everybody.read() if names else None
        if people is None:
            if names:
                seconds = round(time.monotonic() - self._began_s, 1)
                said = {"audiences": self.name, "people": self.judged, "reason": self._reason.value, "s": seconds}
                get_logger().info("everybody is judged", **said)
            self._done(self._judged_in)
            return False
        self._judging.judge_people(self.space_id, dict.fromkeys(people, self._reason), names)
        self._everybody.settle()
        self._judged_in &= self._list_names()  # one that failed on a page was not judged on it
        self.judged += len(people)
        if time.monotonic() - self._told_s >= TELL_S:
            self._told_s = time.monotonic()
            get_logger().info("everybody is being judged", audiences=self.name, people=self.judged)
        return True

    def _list_names(self) -> set[str]:
        names = set(self._judging.list_rules(self.space_id))
        return names if self.names is None else names & self.names


class LeaveRound:
    """Lets everybody leave an audience that is no longer configured."""

    def __init__(
        self, client: StoreClient, judging: Judging, space_id: str, audience: str, done: Callable[[], None]
    ) -> None:
        self.name = f"{space_id}: {audience} is gone"
        self.judged = 0
        self._client = client
        self._judging = judging
        self._where = (space_id, audience)
        self._done = done

    def work(self) -> bool:
        """Let a page of them leave. Who has left is on no later page."""
        space_id, audience = self._where
        people = list_members(self._client, space_id, audience).read()
        if people is None:
            get_logger().info("an audience is gone, everybody has left", audience=audience, people=self.judged)
            self._done()
            return False
        self._judging.place_people(space_id, audience, dict.fromkeys(people, False), Reason.DEFINITION)
        self.judged += len(people)
        return True


class ListRound:
    """Brings an audience to a list: who enters, and who leaves."""

    def __init__(
        self,
        judging: Judging,
        space_id: str,
        audience: str,
        wanted: Mapping[str, bool],
        reason: Reason,
        done: Callable[[], None],
    ) -> None:
        """`wanted`: those whose place may be another one, and whether they are in."""
        self.name = f"{space_id}: {audience}"
        self.judged = 0
        self._judging = judging
        self._where = (space_id, audience)
        self._wanted = wanted
        self._reason = reason
        self._parts = cut(wanted)
        self._done = done

    def work(self) -> bool:
        """Place a part of them."""
        space_id, audience = self._where
        if not self._parts:
            self._done()
            return False
        wanted = {person: self._wanted[person] for person in self._parts[-1]}
        self._judging.place_people(space_id, audience, wanted, self._reason)
        self._parts.pop()
        self.judged += len(wanted)
        return True


class CheckRound:
    """Looks at changes that somebody else wrote, or that this role wrote before it was stopped: gives those their
    members' rows that have none, and judges the people again, because whoever wrote may have known less."""

    def __init__(self, client: StoreClient, judging: Judging, at_ms: int) -> None:
        """`at_ms`: the millisecond in which they were written."""
        self.name = "changes of another"
        self.judged = 0
        self._client = client
        self._judging = judging
        self._at_ms = at_ms
        self._last: Change | None = None

    def work(self) -> bool:
        """Look at a page of them."""
        changes = read_moment(self._client, self._at_ms, self._last, MOMENT_ROWS)
        self.check(changes)
        self.judged += len(changes)
        self._last = changes[-1] if changes else self._last
        return len(changes) == MOMENT_ROWS

    def check(self, changes: list[Change]) -> None:
        """Finish these changes and judge their people."""
        unfinished = find_unfinished(self._client, changes)
        if unfinished:
            get_logger().info("changes whose members' rows were missing", count=len(unfinished))
            write_members(self._client, unfinished)
        people: dict[str, dict[str, Reason]] = {}
        for change in changes:
            people.setdefault(change.space_id, {})[change.person_id] = Reason(change.reason)
        for space_id, reasons in people.items():
            self._judging.judge_people(space_id, reasons)


class TouchRound:
    """Judges whom `touched_keys` names, where that is much: after a rebuild of the map, or a large import."""

    def __init__(
        self,
        follower: Follower,
        portions: list[Portion],
        judge_keys: Callable[[Keys], int],
        done: Callable[[], None],
    ) -> None:
        self.name = "what has changed beside events"
        self.judged = 0
        self._follower = follower
        self._portions = portions[::-1]
        self._judge_keys = judge_keys
        self._done = done

    def work(self) -> bool:
        """Judge a portion."""
        if not self._portions:
            self._done()
            return False
        self.judged += self._judge_keys(self._follower.read_portion(self._portions[-1]))
        self._portions.pop()
        return True
