"""What is known of people, as the rules ask for it, put together out of the rows of `statement`. Pure but for sealed
values, which are opened.

Whose something is, the spans of `ties` say: what happened, what was said, and what was consented to in a span of a
person is that person's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from collector.audiences.statement import Plan
from collector.audiences.ties import Bonds
from collector.identity.evidence import LINKED
from collector.keyring import Keyring
from collector.profiles.computed import Order
from collector.profiles.consents import ConsentRow, decode_consent
from collector.profiles.definitions import Definitions
from collector.profiles.keys import Held
from collector.profiles.states import State, decode_state, keep_states
from collector.profiles.survivorship import Said, survive
from collector.profiles.traits import TraitRow, collect_said, decode_trait
from collector.purposes import PERSONAL_SOURCES


class _Seen(msgspec.Struct, frozen=True, array_like=True):
    """What the events of an identifier add up to, or those between two cuts. Counts, sessions (hashes) and words in
    the order of the plan; a word on consent is when the latest came, and whether it was no."""

    key: str
    segment: int
    is_script: int
    first_ms: int
    last_ms: int
    counts: tuple[int, ...]
    sessions: tuple[frozenset[int], ...]
    orders: tuple[Order, ...]
    words: tuple[tuple[int, int], ...]


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


_Row = TypeVar("_Row", TraitRow, ConsentRow, _Seen)
_decode_seen = msgspec.json.Decoder(_Seen, strict=False).decode


class Material:
    """What a statement gave, by part."""

    def __init__(self, plan: Plan, cuts: Mapping[str, Sequence[int]], rows: Mapping[str, Sequence[str]]) -> None:
        self._plan = plan
        self._cuts = cuts
        self._seen = _by_key(map(_decode_seen, rows["seen"]))
        self._traits = _by_key(map(decode_trait, rows["trait"]))
        self._consents = _by_key(map(decode_consent, rows["consent"]))
        self._states: Mapping[str, State] = keep_states(map(decode_state, rows["state"]))

    def find(
        self, person_id: str, bonds: Bonds, keyring: Keyring, definitions: Definitions, now_ms: int
    ) -> Known | None:
        """Return what is known of a person; None where there is nobody of this name, and where nothing may be made of
        what is known, because they were erased or restricted."""
        held = bonds.held
        if self._states and self._is_withheld(person_id, held, now_ms):
            return None
        seen = [one for key, item in held.items() for one in self._seen.get(key, ()) if self._is_theirs(one, item)]
        said = [row for key in held for row in self._traits.get(key, ())]
        words = [row for key, item in held.items() for row in self._consents.get(key, ()) if item.has(row.since_ms)]
        traits = _believe(keyring, definitions, held, said) if said else {}
        if not (bonds.is_mapped or seen or traits or words):
            return None
        return Known(
            is_known=bonds.is_customer,
            first_ms=min((one.first_ms for one in seen), default=0),
            last_ms=max((one.last_ms for one in seen), default=0),
            counts=tuple(sum(one.counts[place] for one in seen) for place in range(len(self._plan.events))),
            sessions=tuple(
                len(frozenset().union(*(one.sessions[place] for one in seen)))
                for place in range(len(self._plan.session_days))
            ),
            orders=tuple(order for one in seen for order in one.orders),
            traits=traits,
            granted=_find_granted(self._plan.purposes, seen, words),
        )

    def _is_theirs(self, one: _Seen, item: Held) -> bool:
        cuts = self._cuts.get(one.key)
        if cuts is None:
            return True
        moment_ms = cuts[one.segment - 1] if one.segment else 0
        return any(span.holds(moment_ms, "script" if one.is_script else "") for span in item.spans)

    def _is_withheld(self, person_id: str, held: Mapping[str, Held], now_ms: int) -> bool:
        if person_id in self._states:
            return True
        return any(
            key in self._states and any(span.covers(now_ms, now_ms) for span in item.spans)
            for key, item in held.items()
        )


def _by_key(rows: Iterable[_Row]) -> dict[str, list[_Row]]:
    found: defaultdict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        found[row.key].append(row)
    return dict(found)


def _believe(
    keyring: Keyring, definitions: Definitions, held: Mapping[str, Held], rows: list[TraitRow]
) -> dict[str, Said]:
    """Return the values that are believed, by name. What a page without signature has claimed is none."""
    said = collect_said(keyring, definitions.space_id, held, rows)
    survivors = {name: survive(values, definitions.find(name)) for name, values in said.items()}
    return {name: one.said for name, one in survivors.items() if one is not None and one.said.level >= LINKED}


def _find_granted(purposes: Sequence[str], seen: Sequence[_Seen], entries: Iterable[ConsentRow]) -> frozenset[str]:
    """Return the purposes that are granted. What the person said holds, yes or no; where they have said nothing, what
    a browser of theirs was told last."""
    by_person: defaultdict[str, list[ConsentRow]] = defaultdict(list)
    by_browser: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in entries:
        if row.source in PERSONAL_SOURCES:
            by_person[row.purpose].append(row)
        else:
            by_browser[row.purpose].append((row.since_ms, int(row.state != "granted")))
    granted = set()
    for place, purpose in enumerate(purposes):
        if rows := by_person.get(purpose):
            is_granted = _holds(rows)
        else:
            words = [*by_browser[purpose], *(one.words[place] for one in seen)]
            at_ms, is_refused = max(words, default=(0, 1))
            is_granted = bool(at_ms) and not is_refused
        if is_granted:
            granted.add(purpose)
    return frozenset(granted)


def _holds(rows: list[ConsentRow]) -> bool:
    """As `v_consents` says it: the latest word; but whoever has taken it back has, whatever a list says. `rows`: those
    that speak of the person."""
    own = [row for row in rows if row.source != "list"]
    if own and max(own, key=_rank).state == "withdrawn":
        return False
    return max(rows, key=_rank).state == "granted"


def _rank(row: ConsentRow) -> tuple[int, int, bool, str]:
    return (row.since_ms, row.received_ms, row.state != "granted", row.consent_id)
