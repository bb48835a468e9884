"""The guards: evidence that must not tie anybody is taken out before people are formed, and is noted.

Functions of the standing evidence alone, so that a guard's verdict is taken back with the evidence behind it. What a
guard refuses is never lost: it stays evidence, and a GuardEntry says why it counts for nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from collector.event import NIL_ID
from collector.identity.evidence import DISOWN, HANDOVER, LINK, SURE_PROOFS, TRUSTED_PROOFS, Evidence
from collector.identity.identifiers import VISITOR_KIND, is_blocked
from collector.identity.policy import Policy


class GuardReason(StrEnum):
    """Why evidence ties nobody, or less than it says. Closed: `guard_log` uses these words."""

    BLOCKED = "blocked"  # the value names nobody: null, guest, all zeros …
    FUSED = "fused"  # the value was seen with too many visitors, or the visitor with too many customers
    UNCONFIRMED = "unconfirmed"  # a tagged link without a human signal
    REPLAYED = "replayed"  # a link or a sign-in's token on a third visitor; a hand-over token on a second one of a site
    SECOND_DEVICE = "second_device"  # a link or a sign-in's token on a second visitor: counted, and marked
    TWO_PEOPLE = "two_people"  # it would make one person of two, and is no level 4
    TOO_MANY_KEYS = "too_many_keys"  # the person has as many values of this kind as one may have
    OTHER_CUSTOMER = "other_customer"  # a tagged link on a visitor that belongs to another customer
    DISOWNED = "disowned"  # a tagged link withdrawn: whoever followed it said that they are somebody else
    FORWARDED = "forwarded"  # a tagged link withdrawn: later another customer signed in on that visitor
    SHARED_DEVICE = "shared_device"  # a tagged link on a visitor of many people
    UNPROVED = "unproved"  # only the script names the visitor, and somebody is there whom its cookie or a server proves


class GuardEntry(NamedTuple):
    """One note of a guard. `person_id`: whom the evidence named; `other_person_id`: who stood against it."""

    evidence_id: str
    reason: str
    at_ms: int
    a_key: str
    b_key: str
    person_id: str = NIL_ID
    other_person_id: str = NIL_ID


def note(row: Evidence, reason: GuardReason, person_id: str = NIL_ID, other_person_id: str = NIL_ID) -> GuardEntry:
    """Make the entry for a piece of evidence."""
    return GuardEntry(row.evidence_id, reason.value, row.time_ms, row.a_key, row.b_key, person_id, other_person_id)


def take_out_blocked(standing: Iterable[Evidence], policy: Policy, notes: list[GuardEntry]) -> list[Evidence]:
    """Return the evidence that may join, in its order, without what names nobody.

    Hints (level 1 and less) and sign-outs are left out without a note: nothing is refused to them. Pseudonyms were
    judged at the edge, in clear, and pass here.
    """
    kept = []
    for row in standing:
        if not row.is_join:
            continue
        if names_nobody(row.a_key, row.a_value, policy) or names_nobody(row.b_key, row.b_value, policy):
            notes.append(note(row, GuardReason.BLOCKED))
        else:
            kept.append(row)
    return kept


def names_nobody(key: str, value: str, policy: Policy) -> bool:
    """Whether an identifier is on the list of those that pages send when they know no one, or on the space's own."""
    return key == NIL_ID or key in policy.blocked_keys or value in policy.blocked or is_blocked(value)


def find_fused(joins: Sequence[Evidence], policy: Policy) -> frozenset[str]:
    """Return the keys that are shared by too many to say anything about anybody.

    `joins`: as `take_out_blocked` leaves them, in order of time. Nobody can fuse a stranger's key: unsigned claims are
    not among them, and a token counts for those visitors alone that it may attach.
    """
    visitors_of: defaultdict[str, set[str]] = defaultdict(set)
    kind_of: dict[str, str] = {}
    tokens = _Tokens(policy)
    for row in joins:
        if row.a_kind == VISITOR_KIND != row.b_kind and not _is_unconfirmed(row) and tokens.count_place(row)[1]:
            visitors_of[row.b_key].add(row.a_key)
            kind_of[row.b_key] = row.b_kind
    shared = {key for key, seen in visitors_of.items() if len(seen) > policy.count_visitors_allowed(kind_of[key])}
    return frozenset(shared) | find_busy(joins, policy)


def find_busy(joins: Iterable[Evidence], policy: Policy) -> frozenset[str]:
    """Return the visitors that meet too many: more other visitors than their kind allows, or more customers (values of
    unique kinds) than `max_customers_per_visitor`, if proved; for the others see `find_flooded`.

    Looks at kinds, keys and proof alone, in any order; more evidence never makes them fewer.
    """
    visitors_of: defaultdict[str, set[str]] = defaultdict(set)
    customers_of: defaultdict[str, set[str]] = defaultdict(set)
    for row in joins:
        if row.a_kind != VISITOR_KIND:
            continue
        if row.b_kind == VISITOR_KIND:
            visitors_of[row.a_key].add(row.b_key)
            visitors_of[row.b_key].add(row.a_key)
        elif row.proof in SURE_PROOFS and policy.is_unique(row.b_kind):
            customers_of[row.a_key].add(row.b_key)
    most = policy.count_visitors_allowed(VISITOR_KIND)
    busy = {key for key, seen in visitors_of.items() if len(seen) > most}
    busy |= {key for key, seen in customers_of.items() if len(seen) > policy.max_customers_per_visitor}
    return frozenset(busy)


def find_flooded(joins: Iterable[Evidence], policy: Policy) -> frozenset[str]:
    """Return the visitors in whose name too many customers have signed in without proof: what is unproved on them
    counts no more, as if they were fused; what is proved does."""
    customers_of: defaultdict[str, set[str]] = defaultdict(set)
    for row in joins:
        if row.a_kind == VISITOR_KIND != row.b_kind and row.proof not in SURE_PROOFS and policy.is_unique(row.b_kind):
            customers_of[row.a_key].add(row.b_key)
    return frozenset(key for key, seen in customers_of.items() if len(seen) > policy.max_customers_per_visitor)


def find_disowned(standing: Iterable[Evidence]) -> dict[tuple[str, str], int]:
    """Return until when links from a customer's mails count for nothing on a visitor: by visitor and customer key,
    milliseconds since 1970, that moment included.

    Who only knows a visitor's id cannot say it. A link that is followed later counts again.
    """
    until_ms: dict[tuple[str, str], int] = {}
    for row in standing:
        if row.kind == DISOWN and row.proof in TRUSTED_PROOFS:
            pair = (row.a_key, row.token_id)
            until_ms[pair] = max(until_ms.get(pair, row.time_ms), row.time_ms)
    return until_ms


def keep_admitted(
    joins: Sequence[Evidence],
    policy: Policy,
    fused: frozenset[str],
    notes: list[GuardEntry],
    disowned: Mapping[tuple[str, str], int],
) -> list[Evidence]:
    """Return the evidence that ties identifiers, in its order, and note what is refused. `disowned`: as
    `find_disowned` returns it."""
    flooded = find_flooded(joins, policy)
    kept = []
    for row in joins:
        if row.a_key in fused or row.b_key in fused or (row.a_key in flooded and row.proof not in SURE_PROOFS):
            notes.append(note(row, GuardReason.FUSED))
        elif _is_unconfirmed(row):
            notes.append(note(row, GuardReason.UNCONFIRMED))
        elif row.kind == LINK and row.time_ms <= disowned.get((row.a_key, row.b_key), row.time_ms - 1):
            notes.append(note(row, GuardReason.DISOWNED))
        else:
            kept.append(row)
    return _refuse_replays(kept, policy, notes)


def _is_unconfirmed(row: Evidence) -> bool:
    return row.kind == LINK and not row.human


@dataclass(slots=True)
class _Tokens:
    """The visitors that came with each token, in order of time."""

    policy: Policy
    _visitors_of: defaultdict[tuple[str, str, str], dict[str, int]] = field(default_factory=lambda: defaultdict(dict))

    def count_place(self, row: Evidence) -> tuple[int, bool]:
        """Return how many visitors came with the row's token before its own, and whether it may attach this one too."""
        if not row.token_id:
            return 0, True
        seen = self._visitors_of[(row.token_id, row.b_key, "" if row.kind == LINK else row.site_id)]
        place = seen.setdefault(row.a_key, len(seen))
        return place, place < (1 if row.kind == HANDOVER else self.policy.link_visitors)


def _refuse_replays(rows: list[Evidence], policy: Policy, notes: list[GuardEntry]) -> list[Evidence]:
    """Let each tagged link attach its first visitors only; and on each site each token of a sign-in too, and each
    hand-over token the first that arrived: the tag puts one token into links to several domains, and one sign-in may
    serve several sites. Repeats by one visitor are no replay."""
    tokens = _Tokens(policy)
    kept = []
    for row in rows:
        place, is_allowed = tokens.count_place(row)
        if not is_allowed:
            notes.append(note(row, GuardReason.REPLAYED))
            continue
        if place > 0:
            notes.append(note(row, GuardReason.SECOND_DEVICE))
        kept.append(row)
    return kept
