"""One chunk of people judged: what the rules say now, what stood before, and the changes that follow.

Owns no rule and no order of work. A chunk may be judged again at any time, by anybody: where nothing differs nothing
is written. Who is merged away is in no audience.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, cast

import msgspec

from collector.audiences.changes import Change, Reason, read_standing, write_changes
from collector.audiences.people import NOBODY_SPECIAL, Person, cut, look_up
from collector.errors import StoreError, StoreUnavailable
from collector.store.client import StoreClient

CHUNK = 2_000
"""People judged at a time: little enough that fresh events never wait long behind a sweep."""


class Audience(Protocol):
    """What is asked of an audience here; `collector.audiences.configuration` has the rest."""

    @property
    def space(self) -> str:
        """Identity space."""

    @property
    def sql(self) -> str:
        """A statement that gives the members; "": it has rules."""

    @property
    def purpose(self) -> str:
        """Purpose that a member must have granted; "": none."""


class Judge(Protocol):
    """Says in which of these audiences each of these people is, by what is known now; who is in none may be left out.

    Raises StoreError.
    """

    def __call__(
        self,
        client: StoreClient,
        audiences: Mapping[str, Audience],
        space_id: str,
        person_ids: list[str],
        *,
        now_ms: int,
    ) -> Mapping[str, frozenset[str]]: ...


class Judging:
    """Judges chunks and writes what has changed. Belongs to one thread.

    `enters`, `leaves`, `judged`: what it has done. `mine`: in which milliseconds it wrote changes, and how many.
    `left_out`: audiences that cannot be judged now.
    """

    def __init__(
        self,
        client: StoreClient,
        audiences: Mapping[str, Audience],
        judge: Judge,
        *,
        now_ms: Callable[[], int],
        before_write: Callable[[str], None] = lambda _: None,
        complain: Callable[[str, StoreError], None] = lambda _, __: None,
    ) -> None:
        """`before_write`: hears each table before it is written; for tests. `complain`: hears of an audience that
        cannot be judged while others can."""
        self._client = client
        self._audiences = audiences
        self._judge = judge
        self._now_ms = now_ms
        self._before_write = before_write
        self._complain = complain
        self.judged = self.enters = self.leaves = 0
        self.mine: dict[int, int] = {}
        self.left_out: set[str] = set()

    def list_rules(self, space_id: str) -> dict[str, Audience]:
        """Return the audiences of a space that have rules, but those that cannot be judged."""
        return {
            name: audience
            for name, audience in self._audiences.items()
            if audience.space == space_id and not audience.sql and name not in self.left_out
        }

    def judge_people(self, space_id: str, people: Mapping[str, Reason], names: Iterable[str] | None = None) -> None:
        """Judge people, each for a reason of their own, in all audiences with rules or in those named. Without names
        they also leave those by a statement that they may not be in any more: only the statement lets them in, and it
        is asked seldom. Raises StoreError; what was written until then stands."""
        rules, fences = self.list_rules(space_id), self._list_fences(space_id)
        if names is not None:
            wanted_names = set(names)
            rules, fences = {name: audience for name, audience in rules.items() if name in wanted_names}, {}
        for part in cut(people, CHUNK):
            known = look_up(self._client, space_id, part)
            present = [person for person in part if not known.get(person, NOBODY_SPECIAL).is_gone]
            said, judged = self._ask(rules | fences, space_id, present)
            wanted = {
                person: {
                    name: name in said.get(person, ())
                    for name in judged
                    if name in rules or name not in said.get(person, ())
                }
                for person in present
            }
            self._settle(space_id, {person: people[person] for person in part}, wanted, known)
            self.judged += len(part)

    def place_people(self, space_id: str, name: str, wanted: Mapping[str, bool], reason: Reason) -> None:
        """Bring people to what was found of one audience a while ago, but those who may not be in it now. Raises
        StoreError."""
        fences = {one: audience for one, audience in self._list_fences(space_id).items() if one == name}
        for part in cut(wanted, CHUNK):
            known = look_up(self._client, space_id, part)
            said = {person: {name: wanted[person]} for person in part if not known.get(person, NOBODY_SPECIAL).is_gone}
            entering = [person for person, answers in said.items() if answers[name]] if fences else []
            if entering:
                allowed = self._judge(self._client, fences, space_id, entering, now_ms=self._now_ms())
                said |= {person: {name: name in allowed.get(person, ())} for person in entering}
            self._settle(space_id, dict.fromkeys(part, reason), said, known)

    def _list_fences(self, space_id: str) -> dict[str, Audience]:
        """Return the audiences of a space that are a statement, each as one of all who may be in it."""
        return {
            name: _strip(audience)
            for name, audience in self._audiences.items()
            if audience.space == space_id and audience.sql and name not in self.left_out
        }

    def _ask(
        self, rules: Mapping[str, Audience], space_id: str, present: list[str]
    ) -> tuple[Mapping[str, frozenset[str]], set[str]]:
        """Return who is in what, and the audiences of which that is known. Where the store refuses the question about
        all of them, each is asked alone, and one that fails is left out: it does not stop the others."""
        if not rules or not present:
            return {}, set()
        now_ms = self._now_ms()
        try:
            return self._judge(self._client, rules, space_id, present, now_ms=now_ms), set(rules)
        except StoreUnavailable:
            raise
        except StoreError as error:
            if len(rules) == 1:
                self._leave_out(next(iter(rules)), error)
                return {}, set()
        said: dict[str, frozenset[str]] = {}
        judged: set[str] = set()
        for name, audience in rules.items():
            try:
                answer = self._judge(self._client, {name: audience}, space_id, present, now_ms=now_ms)
            except StoreUnavailable:
                raise
            except StoreError as error:
                self._leave_out(name, error)
                continue
            judged.add(name)
            for person, names in answer.items():
                said[person] = said.get(person, frozenset()) | names
        return said, judged

    def _leave_out(self, name: str, error: StoreError) -> None:
        self.left_out.add(name)
        self._complain(name, error)

    def _settle(
        self,
        space_id: str,
        reasons: Mapping[str, Reason],
        wanted: Mapping[str, Mapping[str, bool]],
        known: Mapping[str, Person],
    ) -> None:
        """Write what differs. Who is not in `wanted` is gone, and leaves everything."""
        standing = read_standing(self._client, space_id, list(reasons))
        differing: list[tuple[str, str, int, Reason]] = []
        for (person, name), version in standing.items():
            if person not in wanted and version % 2:
                differing.append((person, name, version + 1, Reason.IDENTITY))
        for person, answers in wanted.items():
            for name, is_in in answers.items():
                version = standing.get((person, name), 0)
                if is_in != bool(version % 2):
                    differing.append((person, name, version + 1, reasons[person]))
        if not differing:
            return
        withdrawn = self._find_withdrawn(
            space_id,
            [(person, name) for person, name, version, _ in differing if version % 2 == 0 and person in wanted],
        )
        at_ms = self._now_ms()
        changes = [
            Change(
                space_id=space_id,
                audience=name,
                person_id=person,
                customer_id=known.get(person, NOBODY_SPECIAL).customer_id,
                reason=(Reason.CONSENT if (person, name) in withdrawn else reason).value,
                at_ms=at_ms,
                version=version,
            )
            for person, name, version, reason in differing
        ]
        self.mine[at_ms] = self.mine.get(at_ms, 0) + len(changes)
        write_changes(self._client, changes, self._before_write)
        entered = sum(change.is_enter for change in changes)
        self.enters += entered
        self.leaves += len(changes) - entered

    def _find_withdrawn(self, space_id: str, leaving: list[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return which of these leave because the purpose is not granted any more, or nothing may be made of them:
        whatever it was that had them judged anew. Whoever is told has to know, so as not to tell what came before."""
        asked = {name: self._audiences[name] for _, name in leaving if name in self._audiences}
        granting = {name: _strip(audience) for name, audience in asked.items() if audience.purpose}
        people = sorted({person for person, name in leaving if name in granting})
        if not people:
            return set()
        said = self._judge(self._client, granting, space_id, people, now_ms=self._now_ms())
        return {(person, name) for person, name in leaving if name in granting and name not in said.get(person, ())}


def _strip(audience: Audience) -> Audience:
    """Return an audience of all who may be in this one: known here, withheld from nobody, its purpose granted."""
    whole: Audience = msgspec.structs.replace(cast(Any, audience), sql="", all=(), any=(), none=())
    return whole
