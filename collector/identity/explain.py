"""Explain: why somebody is who they are. Every identifier of a person, what tied it, and what was refused and why.

Made from the evidence that stands now, by `resolve` itself, not from the logs: so it says what is true, and what it
says changes with the evidence. What was taken back is shown too, marked as such. No clear value of a person is in it:
whoever asks has named them, and identifiers appear by their own person ids and as they are stored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from collector.config import Config
from collector.errors import RepairError, RepairReason
from collector.event import NIL_ID
from collector.identity.blocks import read_policy
from collector.identity.component import read_component
from collector.identity.difference import Span, Spans, check_size
from collector.identity.evidence import CLAIMED, Evidence, keep_standing
from collector.identity.guards import GuardReason
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.names import Identifier, expand_names
from collector.identity.resolve import resolve
from collector.identity.selection import Statement, read_around
from collector.identity.standing import index
from collector.store.client import StoreClient

MAX_SHOWN = 10_000
MEANINGS: dict[str, str] = {
    GuardReason.BLOCKED: "the value names nobody: it is on the list of such values, or an operator has blocked it",
    GuardReason.FUSED: "the value was seen with too many visitors, or the visitor with too many customers",
    GuardReason.UNCONFIRMED: "a tagged link that no human signal followed",
    GuardReason.REPLAYED: "a tagged link on a third visitor, or a hand-over on a second: the token was passed on",
    GuardReason.SECOND_DEVICE: "a tagged link on a second visitor: it counts, and is marked",
    GuardReason.TWO_PEOPLE: "it would make one person of two, which only level 4 may",
    GuardReason.TOO_MANY_KEYS: "the person has as many values of this kind as one may have",
    GuardReason.OTHER_CUSTOMER: "a tagged link on a visitor that belongs to another customer",
    GuardReason.DISOWNED: "a tagged link withdrawn: whoever followed it said that they are somebody else",
    GuardReason.FORWARDED: "a tagged link withdrawn: another customer signed in on that visitor later",
    GuardReason.SHARED_DEVICE: "a tagged link on a visitor of many people",
    GuardReason.UNPROVED: "who sent it knew the visitor's id and did not prove to have the visitor",
}
"""What the words of the guard log mean."""


class Tied(msgspec.Struct, frozen=True):
    """One identifier of a person. `person_id`: its own. `held`: the times in which it was the person's."""

    person_id: str
    kind: str
    value: str
    held: tuple[Span, ...]
    evidence: int


class Witness(msgspec.Struct, frozen=True):
    """One piece of evidence. `state`: ties, hint (too low to tie), sign-out, refused, or taken back."""

    evidence_id: str
    state: str
    kind: str
    level: int
    source: str
    proof: str
    time_ms: int
    received_at_ms: int
    a_kind: str
    a_person_id: str
    b_kind: str
    b_person_id: str
    site_id: str
    consent: str
    policy_version: int
    actor: str
    verification: str
    campaign: str
    token_id: str
    reason: str = ""  # of a refusal
    meaning: str = ""
    taken_back_by: str = ""
    taken_back_at_ms: int = 0


class Joined(msgspec.Struct, frozen=True):
    """One tie that made the person what it is. `word`: merge, associate or switch."""

    word: str
    at_ms: int
    a_person_id: str
    b_person_id: str
    absorbed_person_id: str
    evidence_id: str


class Explanation(msgspec.Struct, frozen=True):
    """A person as the evidence makes them. `named`: the identifier that was asked for, by its own person id.

    `evidence`: in order of time; `left_out`: how many pieces more there are, of the first MAX_SHOWN.
    """

    named: str
    named_kind: str
    person_id: str
    customer_id: str
    customer_kind: str
    level: int
    provisional: bool
    since_ms: int
    is_blocked: bool
    is_shared: bool  # by too many to tie anybody
    others: tuple[str, ...]  # people to whom the identifier belonged at other times
    identifiers: tuple[Tied, ...]
    merges: tuple[Joined, ...]
    evidence: tuple[Witness, ...]
    left_out: int = 0


def explain(client: StoreClient, config: Config, space_id: str, named: Identifier, most: int) -> Explanation:
    """Explain the person that an identifier belongs to now. `most`: pieces of evidence to show, up to MAX_SHOWN.

    Raises RepairError where there is too much evidence to resolve, StoreError.
    """
    if not 0 < most <= MAX_SHOWN:
        raise RepairError(RepairReason.ARGUMENT, f"between 1 and {MAX_SHOWN:,} pieces of evidence can be shown")
    policy = read_policy(client, config, space_id)
    names_of_it = expand_names(client, space_id, [named.key])
    component = read_component(client, space_id, names_of_it, policy)
    check_size(len(component.rows))
    resolution = resolve(component.rows, policy, component.fused)
    standing = index(resolution)
    states = Spans(standing)
    spans = states.find(named.key)
    person_id = spans[-1].person_id
    # Who is blocked or shared by too many has no rows in the map: its other names are told by the one asked for.
    held = dict.fromkeys(names_of_it, tuple(span for span in spans if span.person_id == person_id))
    held |= _find_held(states, component.keys | {named.key}, person_id)
    rows = read_around(client, space_id, sorted(held), MAX_SHOWN)
    refusals = {note.evidence_id: note.reason for note in resolution.guards}
    # What hangs on a shared value is not read with the component.
    is_shared = not names_of_it.isdisjoint(component.fused)
    shared = component.fused | (names_of_it if is_shared else frozenset())
    for statement in rows:
        if {statement.row.a_key, statement.row.b_key} & shared:
            refusals.setdefault(statement.row.evidence_id, GuardReason.FUSED)
    witnesses = _list_witnesses(rows, refusals)
    counts: defaultdict[str, int] = defaultdict(int)
    names = {named.key: (named.kind, named.value)}
    for statement in rows:
        row = statement.row
        names[row.a_key], names[row.b_key] = (row.a_kind, row.a_value), (row.b_kind, row.b_value)
        for key in {row.a_key, row.b_key}:
            counts[key] += row.op > 0
    customer = standing.customers.get(person_id)
    return Explanation(
        named=named.key,
        named_kind=named.kind,
        person_id=person_id,
        customer_id=customer.customer_id if customer else "",
        customer_kind=customer.customer_kind if customer else "",
        level=customer.level if customer else 0,
        provisional=bool(customer and customer.provisional),
        since_ms=customer.since_ms if customer else 0,
        is_blocked=not names_of_it.isdisjoint(policy.blocked_keys),
        is_shared=is_shared,
        others=tuple(sorted({span.person_id for span in spans} - {person_id, *names_of_it})),
        identifiers=tuple(
            Tied(key, *names.get(key, ("", "")), held[key], counts[key])
            for key in sorted(held, key=lambda key: (_is_visitor(names, key), key != person_id, key))
        ),
        merges=tuple(
            Joined(entry.reason, entry.at_ms, entry.a_key, entry.b_key, entry.other_person_id, entry.evidence_id)
            for entry in sorted(resolution.merges, key=lambda entry: entry.at_ms)
            if entry.person_id == person_id or {entry.a_key, entry.b_key} & held.keys()
        ),
        evidence=tuple(witnesses[:most]),
        left_out=max(0, len(witnesses) - most),
    )


def _is_visitor(names: dict[str, tuple[str, str]], key: str) -> bool:
    return names.get(key, ("", ""))[0] == VISITOR_KIND


def _find_held(states: Spans, keys: Iterable[str], person_id: str) -> dict[str, tuple[Span, ...]]:
    """Return the identifiers that are the person's, or were, with the times; customer keys of others are not."""
    held = {}
    for key in keys:
        spans = tuple(span for span in states.find(key) if span.person_id == person_id)
        if spans:
            held[key] = spans
    return held


def _list_witnesses(rows: Sequence[Statement], refusals: dict[str, str]) -> list[Witness]:
    """Return the pieces of evidence, each once, with what became of it."""
    gone = {statement.row.evidence_id: statement for statement in rows if statement.row.op < 0}
    standing = {row.evidence_id for row in keep_standing(statement.make_evidence() for statement in rows)}
    witnesses = []
    for statement in rows:
        row = statement.row
        if row.op < 0:
            continue
        reason = refusals.get(row.evidence_id, "") if row.evidence_id in standing else ""
        back = gone.get(row.evidence_id)
        witnesses.append(
            Witness(
                evidence_id=row.evidence_id,
                state=_find_state(statement.make_evidence(), row.evidence_id in standing, reason),
                kind=row.kind,
                level=row.level,
                source=row.source,
                proof=row.proof,
                time_ms=row.time_ms,
                received_at_ms=statement.received_at_ms,
                a_kind=row.a_kind,
                a_person_id=row.a_key,
                b_kind=row.b_kind if row.b_key != NIL_ID else "",
                b_person_id=row.b_key,
                site_id=statement.site_id,
                consent=row.consent,
                policy_version=row.policy_version,
                actor=row.actor,
                verification=row.verification,
                campaign=row.campaign,
                token_id=row.token_id,
                reason=reason,
                meaning=MEANINGS.get(reason, ""),
                taken_back_by=back.row.actor if back else "",
                taken_back_at_ms=back.received_at_ms if back else 0,
            )
        )
    return witnesses


def _find_state(row: Evidence, stands: bool, reason: str) -> str:
    if not stands:
        return "taken back"
    if reason and reason != GuardReason.SECOND_DEVICE:
        return "refused"
    if row.is_join:
        return "ties"
    return "hint" if row.level <= CLAIMED and row.kind != "reset" else "sign-out"
