"""What is known of people, as the rules ask for it, put together out of the rows of `statement`. Pure but for sealed
values, which are opened.

Whose a trait, a word on consent or a state is, `profiles.keys.find_held` says, as it does for a profile; ties that are
provisional are left out before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from collector.audiences.statement import Plan
from collector.identity.evidence import LINKED
from collector.identity.identifiers import VISITOR_KIND
from collector.keyring import Keyring
from collector.profiles.computed import Order
from collector.profiles.consents import ConsentRow, decode_consent
from collector.profiles.definitions import Definitions
from collector.profiles.keys import Held, Interval, MapRow, find_held
from collector.profiles.states import State, decode_state, keep_states
from collector.profiles.survivorship import Said, survive
from collector.profiles.traits import TraitRow, collect_said, decode_trait


class _Seen(msgspec.Struct, frozen=True, array_like=True):
    """What a person's events add up to. Counts, sessions and grants in the order of the plan."""

    person_id: str
    first_ms: int
    last_ms: int
    counts: tuple[int, ...]
    sessions: tuple[int, ...]
    orders: tuple[Order, ...]
    granted: tuple[int, ...]


class _Turn(msgspec.Struct, frozen=True, array_like=True):
    from_ms: int
    to_ms: int
    person_id: str
    provisional: int
    proved: int


class _Tie(msgspec.Struct, frozen=True, array_like=True):
    """A row of the map, with the intervals of its identifier."""

    key: str
    person_id: str
    kind: str
    from_ms: int
    several: int
    provisional: int
    turns: tuple[_Turn, ...]


class Known(msgspec.Struct, frozen=True):
    """What is known of a person that the rules ask for. Times in milliseconds since 1970, 0: never.

    `is_known`: a customer. `orders`: each with what was paid back of some. `traits`: what is believed, by name, of
    values said by somebody who was sure of whom they spoke. `granted`: purposes.
    """

    is_known: bool = False
    first_ms: int = 0
    last_ms: int = 0
    counts: tuple[int, ...] = ()
    sessions: tuple[int, ...] = ()
    orders: tuple[Order, ...] = ()
    traits: Mapping[str, Said] = {}
    granted: frozenset[str] = frozenset()


_Row = TypeVar("_Row", TraitRow, ConsentRow)
_decode_seen = msgspec.json.Decoder(_Seen, strict=False).decode
_decode_tie = msgspec.json.Decoder(_Tie, strict=False).decode


class Material:
    """What a statement gave, by part, and the people that it was asked about."""

    def __init__(self, plan: Plan, rows: Mapping[str, Sequence[str]]) -> None:
        self._plan = plan
        self._seen = {one.person_id: one for one in map(_decode_seen, rows["seen"])}
        self._ties = {tie.key: tie for tie in map(_decode_tie, rows["tie"])}
        self._keys: defaultdict[str, set[str]] = defaultdict(set)
        for tie in self._ties.values():
            for person in (tie.person_id, *(turn.person_id for turn in tie.turns)):
                self._keys[person].add(tie.key)
        self._traits = _by_key(map(decode_trait, rows["trait"]))
        self._consents = _by_key(map(decode_consent, rows["consent"]))
        self._states: Mapping[str, State] = keep_states(map(decode_state, rows["state"]))

    def find(self, person_id: str, keyring: Keyring, definitions: Definitions, now_ms: int) -> Known | None:
        """Return what is known of a person; None where there is no such person (any more), and where nothing may be
        made of what is known, because they were erased or restricted."""
        own = self._ties.get(person_id)
        if own is not None and not own.several and own.person_id != person_id:
            return None
        names = self._keys.get(person_id, set()) | {person_id}
        seen = self._seen.get(person_id)
        is_known = own is not None and own.kind != VISITOR_KIND
        traits: dict[str, Said] = {}
        entries: list[ConsentRow] = []
        if any(name in self._traits or name in self._consents or name in self._states for name in names):
            held = self._hold(person_id, names)
            if self._is_withheld(person_id, held, now_ms):
                return None
            traits = _believe(keyring, definitions, held, [row for key in held for row in self._traits.get(key, ())])
            entries = [
                row for key, item in held.items() for row in self._consents.get(key, ()) if item.has(row.since_ms)
            ]
        if seen is None and not (is_known or traits or entries or self._has_tie(person_id)):
            return None
        return Known(
            is_known=is_known,
            first_ms=seen.first_ms if seen else 0,
            last_ms=seen.last_ms if seen else 0,
            counts=seen.counts if seen else (0,) * len(self._plan.events),
            sessions=seen.sessions if seen else (0,) * len(self._plan.session_days),
            orders=seen.orders if seen else (),
            traits=traits,
            granted=_find_granted(self._plan.purposes, seen.granted if seen else (), entries),
        )

    def _has_tie(self, person_id: str) -> bool:
        """Whether the map has anybody of this name."""
        return any(
            self._ties[key].person_id == person_id or any(turn.person_id == person_id for turn in self._ties[key].turns)
            for key in self._keys.get(person_id, ())
        )

    def _hold(self, person_id: str, names: Collection[str]) -> dict[str, Held]:
        rows, intervals = {}, {}
        for key in names:
            tie = self._ties.get(key)
            if tie is None or (tie.provisional and not tie.several and key != person_id):
                continue
            rows[key] = _make_map_row(tie)
            # What is provisionally somebody's is not its own again.
            turns = [turn for turn in tie.turns if key == person_id or not turn.provisional]
            intervals[key] = [_make_interval(key, turn) for turn in turns]
        return find_held(person_id, rows, intervals)

    def _is_withheld(self, person_id: str, held: Mapping[str, Held], now_ms: int) -> bool:
        if person_id in self._states:
            return True
        return any(
            key in self._states and any(span.covers(now_ms, now_ms) for span in item.spans)
            for key, item in held.items()
        )


def _make_map_row(tie: _Tie) -> MapRow:
    return MapRow(
        key=tie.key,
        kind=tie.kind,
        value="",
        person_id=tie.person_id,
        customer_id="",
        customer_key="",
        valid_from_ms=tie.from_ms,
        several=tie.several,
        level=0,
        provisional=tie.provisional,
        proved=1,
        version=0,
        is_deleted=0,
    )


def _make_interval(key: str, turn: _Turn) -> Interval:
    return Interval(key, turn.person_id, turn.from_ms, turn.to_ms, turn.proved, 0, turn.provisional)


def _by_key(rows: Iterable[_Row]) -> dict[str, list[_Row]]:
    found: defaultdict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        found[row.key].append(row)
    return dict(found)


def _believe(
    keyring: Keyring, definitions: Definitions, held: Mapping[str, Held], rows: list[TraitRow]
) -> dict[str, Said]:
    """Return the values that are believed, by name. What a page without signature has claimed is none."""
    if not rows:
        return {}
    said = collect_said(keyring, definitions.space_id, held, rows)
    survivors = {name: survive(values, definitions.find(name)) for name, values in said.items()}
    return {name: one.said for name, one in survivors.items() if one is not None and one.said.level >= LINKED}


def _find_granted(purposes: Sequence[str], by_events: Sequence[int], entries: Iterable[ConsentRow]) -> frozenset[str]:
    """Return the purposes that are granted. A no of the ledger holds, a yes of it counts; where it has no word, what
    the latest event came with."""
    ledger: defaultdict[str, list[ConsentRow]] = defaultdict(list)
    for row in entries:
        ledger[row.purpose].append(row)
    granted = set()
    for place, purpose in enumerate(purposes):
        rows = ledger.get(purpose)
        if rows:
            if _holds(rows):
                granted.add(purpose)
        elif by_events and by_events[place]:
            granted.add(purpose)
    return frozenset(granted)


def _holds(rows: list[ConsentRow]) -> bool:
    """As `v_consents` says it: the latest word; but whoever has taken it back has, whatever a list says."""
    own = [row for row in rows if row.source != "list"]
    if own and max(own, key=_rank).state == "withdrawn":
        return False
    return max(rows, key=_rank).state == "granted"


def _rank(row: ConsentRow) -> tuple[int, int, bool, str]:
    return (row.since_ms, row.received_ms, row.state != "granted", row.consent_id)
