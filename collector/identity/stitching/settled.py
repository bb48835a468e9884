"""Settled visitors: whose new evidence says what was said before, so that the map stays as it is without more reading.

Most sign-ins are of this kind: somebody comes back to their browser and signs in as always. What hangs on such a
visitor need not be read and resolved again.

Invariant: where all that is new in a component is of settled visitors, no row of the map, of the intervals and of
customers changes, and no entry of a log. (Where anything else is new, the whole component is read and resolved, with
the evidence of settled visitors in it.) That holds because every rule of `resolve` that the new sign-in could move has
been moved by an earlier one already:

- The visitor has signed in only, as one person; nobody signed out, no link, no other visitor is tied to it, nothing is
  taken back. So it is no shared device, and its timeline is one interval that is open to the end.
- Its last sign-in before named the same keys, at the same levels, with the same proof, by its cookie. So level, proof
  and the ties between the keys are what they were, and no two sign-ins in turn name different people.
- The new one is later than all others. So no look-back, no first time and no order of the ties changes.
- All its keys are in the map, with that person. So none of them is blocked or fused, nothing about them was refused.
- No token is in it that could be shown twice.

Pure: rows in, keys out. Times in milliseconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from collector.identity.evidence import SIGNED
from collector.identity.identifiers import VISITOR_KIND

IDENTIFY = "identify"
PROOF = "cookie"


class Seen(NamedTuple):
    """One row of evidence in which a visitor comes first. `age`: 0 where it is in the map, 1 where it is new, 2 where
    it came after what is new."""

    visitor: bytes
    kind: str
    level: int
    b_kind: str
    b_key: bytes
    proof: str
    time_ms: int
    event_id: bytes
    has_token: bool
    op: int
    age: int


class Held(NamedTuple):
    """What the map says of a key."""

    person: bytes
    is_plain: bool  # one person for ever, proved, and not provisional


def find_settled(seen: Iterable[Seen], tied: set[bytes], held: Mapping[bytes, Held]) -> set[bytes]:
    """Return the visitors that are settled.

    `seen`: all evidence in which any of the visitors comes first, hints left out. `tied`: visitors that any evidence
    names second. `held`: the map's rows of the visitors and of the keys that they name.
    """
    rows_of: defaultdict[bytes, list[Seen]] = defaultdict(list)
    for row in seen:
        rows_of[row.visitor].append(row)
    return {
        visitor
        for visitor, rows in rows_of.items()
        if visitor not in tied and visitor in held and _is_settled(rows, held[visitor], held)
    }


def _is_settled(rows: Iterable[Seen], own: Held, held: Mapping[bytes, Held]) -> bool:
    if not own.is_plain:
        return False
    requests: tuple[defaultdict[bytes, set[Seen]], ...] = (defaultdict(set), defaultdict(set))
    last_ms, first_new_ms = -1, None
    for row in rows:
        if row.kind != IDENTIFY or row.op < 0 or row.age > 1 or row.has_token:
            return False
        if row.level < SIGNED or row.b_kind == VISITOR_KIND or not any(row.event_id):
            return False
        key = held.get(row.b_key)
        if key is None or key.person != own.person:
            return False
        requests[row.age][row.event_id].add(row)
        if row.age:
            first_new_ms = row.time_ms if first_new_ms is None else min(first_new_ms, row.time_ms)
        else:
            last_ms = max(last_ms, row.time_ms)
    before, now = requests
    if not before or not now or first_new_ms is None or first_new_ms <= last_ms:
        return False
    said = [_say(group) for group in before.values() if any(row.time_ms == last_ms for row in group)]
    if len(said) != 1 or any(proof != PROOF for _, _, proof in said[0]):
        return False
    return all(_say(group) == said[0] for group in now.values())


def _say(request: Iterable[Seen]) -> set[tuple[bytes, int, str]]:
    """Return what a request says: its keys, each with its level and proof."""
    return {(row.b_key, row.level, row.proof) for row in request}
