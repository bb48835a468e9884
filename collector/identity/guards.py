"""The guards: evidence that must not tie anybody is taken out before people are formed, and is noted.

Functions of the standing evidence alone, so that a guard's verdict is taken back with the evidence behind it. What a
guard refuses is never lost: it stays evidence, and a GuardEntry says why it counts for nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from collector.event import NIL_ID
from collector.identity.evidence import HANDOVER, LINK, Evidence
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


def find_fused(joins: Iterable[Evidence], policy: Policy) -> frozenset[str]:
    """Return the keys that are shared by too many to say anything about anybody.

    A value seen with more visitors than its kind allows, and a visitor seen with more customers (values of unique
    kinds) than `max_customers_per_visitor`. `joins`: as `take_out_blocked` leaves them; unsigned claims are not
    among them, so that nobody can fuse a stranger's key by claiming it often.
    """
    visitors_of: defaultdict[str, set[str]] = defaultdict(set)
    customers_of: defaultdict[str, set[str]] = defaultdict(set)
    kind_of: dict[str, str] = {}
    for row in joins:
        if row.a_kind != VISITOR_KIND:
            continue
        visitors_of[row.b_key].add(row.a_key)
        kind_of[row.b_key] = row.b_kind
        if row.b_kind == VISITOR_KIND:
            visitors_of[row.a_key].add(row.b_key)
            kind_of[row.a_key] = VISITOR_KIND
        elif policy.is_unique(row.b_kind):
            customers_of[row.a_key].add(row.b_key)
    fused = {key for key, seen in visitors_of.items() if len(seen) > policy.count_visitors_allowed(kind_of[key])}
    fused |= {key for key, seen in customers_of.items() if len(seen) > policy.max_customers_per_visitor}
    return frozenset(fused)


def keep_admitted(
    joins: Iterable[Evidence], policy: Policy, fused: frozenset[str], notes: list[GuardEntry]
) -> list[Evidence]:
    """Return the evidence that ties identifiers, in its order, and note what is refused."""
    kept = []
    for row in joins:
        if row.a_key in fused or row.b_key in fused:
            notes.append(note(row, GuardReason.FUSED))
        elif row.kind == LINK and not row.human:
            notes.append(note(row, GuardReason.UNCONFIRMED))
        else:
            kept.append(row)
    return _refuse_replays(kept, policy, notes)


def _refuse_replays(rows: list[Evidence], policy: Policy, notes: list[GuardEntry]) -> list[Evidence]:
    """Let each tagged link attach its first visitors only; and on each site each token of a sign-in too, and each
    hand-over token the first that arrived: the tag puts one token into links to several domains, and one sign-in may
    serve several sites. Repeats by one visitor are no replay."""
    visitors_of: defaultdict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    kept = []
    for row in rows:
        if not row.token_id:
            kept.append(row)
            continue
        seen = visitors_of[(row.token_id, row.b_key, "" if row.kind == LINK else row.site_id)]
        place = seen.setdefault(row.a_key, len(seen))
        if place >= (1 if row.kind == HANDOVER else policy.link_visitors):
            notes.append(note(row, GuardReason.REPLAYED))
            continue
        if place > 0:
            notes.append(note(row, GuardReason.SECOND_DEVICE))
        kept.append(row)
    return kept
