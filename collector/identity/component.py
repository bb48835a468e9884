"""Components: reading from the store all the evidence that touched identifiers hang on, and no more.

From the touched keys outwards, round by round, along evidence that may join. The walk never goes through a fused
key or a blocked value, along a sign-out or along what was taken back; so it ends where people end, not where a
shared account or a test machine would lead it. Sign-outs of the visitors that it meets are read with them.

Invariant: what `resolve` makes of the evidence read here, with the fused keys named here, is what it would make of
all evidence of the space, for every key in `keys`. A test compares the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from collector.event import NIL_ID
from collector.identity.evidence import Evidence, keep_standing, name_row
from collector.identity.guards import find_busy, names_nobody
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.policy import Policy
from collector.store.client import StoreClient

KEYS_PER_QUESTION = 2_500  # 39 bytes each; a server takes 128 KiB in one field of a form
FIELDS = 8
SPARE_VISITORS = 50
ROUNDS_ALONE = 8
"""Real people end sooner. Then a walk asks for TIES_OF_VISITORS, and again after twice as many rounds more."""
MOST_TIES = 500_000  # for whoever reads for one person: about 600 bytes each, as texts
_ALL = 4_294_967_295
_BLOCKED = "arrayConcat(" + ", ".join(f"{{blocked{n}:Array(UUID)}}" for n in range(FIELDS)) + ")"

_SELECT = """
    SELECT
        evidence_id, kind, level, a_kind, a_value, toString(a_key) AS a_key, b_kind, b_value, toString(b_key) AS b_key,
        b_unique, source, proof, toUnixTimestamp64Milli(time) AS time_ms, toString(session_id) AS session_id,
        toUnixTimestamp64Milli(session_started) AS session_started_ms, toString(event_id) AS event_id, token_id,
        campaign, human, consent, policy_version, actor, op, space_id, site_id,
        toUnixTimestamp64Milli(received_at) AS received_at_ms, batch_host, batch_seq
    FROM identity_evidence AS evidence
    WHERE space_id = {space:String} AND (level >= 2 OR kind IN ('reset', 'disown') OR op < 0)
"""
"""Evidence that resolve looks at. The rest are hints, and are never read."""

TIES_OF_VISITORS = """
    SELECT DISTINCT a_key, b_key FROM identity_evidence
    WHERE space_id = {space:String} AND a_kind = 'visitor' AND b_kind = 'visitor' AND level >= 2 AND kind != 'reset'
        AND op > 0
    LIMIT {most:UInt32}
"""
"""Which visitors evidence may tie to each other: for chains of hand-overs, each link of which would cost a round. A
hint, which may name too many or too few: whom a walk touches without need it only reads without need."""

# Two halves, because each finds its rows by an order of its own; one with OR would read the whole space.
_BACK = "SELECT a_key FROM identity_pairs WHERE space_id = {space:String} AND b_key IN {keys:Array(UUID)}"
_AROUND = (
    f"{_SELECT} AND evidence.a_key IN {{keys:Array(UUID)}}"
    f" UNION ALL {_SELECT} AND evidence.a_key IN ({_BACK}) AND evidence.b_key IN {{keys:Array(UUID)}}"
)
# Of rows that share an id and differ the one that `keep_standing` keeps: all that may differ, in its order.
_NAMED = f"""
    SELECT evidence_id, a_key, b_key, any(b_kind) AS named, any(kind) AS word,
        min((proof, time, toString(session_id), session_started, toString(event_id), token_id, human, site_id)) AS said,
        said.2 AS seen, said.5 AS event, said.6 AS token, if(word = 'link', '', said.8) AS site
    FROM identity_evidence
    WHERE space_id = {{space:String}} AND b_key IN {{keys:Array(UUID)}}
        AND a_key IN ({_BACK} LIMIT {{few:UInt32}} BY b_key)
        AND a_kind = 'visitor' AND level >= 2 AND kind != 'reset'
        AND a_key NOT IN {_BLOCKED} AND a_value NOT IN {{listed:Array(String)}}
    GROUP BY b_key, a_key, evidence_id
    HAVING min(op) > 0 AND (word != 'link' OR said.7 != '')
"""  # noqa: S608  our own words
_COUNT = f"""
    SELECT toString(b_key) AS key, named, uniqExact(a_key) AS visitors, uniqExactIf(a_key, token = '') AS bare
    FROM ({_NAMED})
    GROUP BY key, named
    HAVING visitors > {{least:UInt32}}
"""  # noqa: S608  our own words
# A token counts for its first visitors alone, see `guards.find_fused`.
_COUNT_TOKENS = f"""
    SELECT toString(b_key) AS key, length(arrayDistinct(arrayFlatten(groupArray(first)))) AS visitors
    FROM
    (
        SELECT b_key, arrayMap(place -> place.2, arraySlice(
            arraySort(groupArray((place, a_key))), 1, if(token = '', 4294967295, {{most:UInt32}}))) AS first
        FROM
        (
            SELECT b_key, a_key, token, site, min((seen, event, evidence_id)) AS place
            FROM ({_NAMED})
            GROUP BY b_key, a_key, token, site
        )
        GROUP BY b_key, token, site
    )
    GROUP BY key
"""  # noqa: S608  our own words

_LONG = """
    SELECT toString(b_key) AS key FROM identity_pairs
    WHERE space_id = {space:String} AND b_key IN {keys:Array(UUID)} GROUP BY b_key HAVING count() > {few:UInt32}
"""
_BLOCKED_BESIDE = """
    SELECT DISTINCT toString(a_key) AS key FROM identity_pairs
    WHERE space_id = {space:String} AND b_key IN {keys:Array(UUID)} AND a_key IN {blocked:Array(UUID)}
"""

_NOBODIES = (NIL_ID, NIL_ID.replace("0", "f"))  # of visitor ids those that `is_blocked` finds

_decode = msgspec.json.Decoder(Evidence, strict=False).decode


@dataclass(slots=True)
class Component:
    """The evidence around touched keys. `keys`: those for which it is complete; `fused`: those not walked through."""

    rows: list[Evidence] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    fused: set[str] = field(default_factory=set)


def read_component(client: StoreClient, space_id: str, touched: Iterable[str], policy: Policy) -> Component:
    """Read what hangs on the touched keys of a space: one or more components. Raises StoreError."""
    component = Component()
    rows: dict[tuple[object, ...], Evidence] = {}
    frontier = set(touched)
    alone, pause = 0, ROUNDS_ALONE
    while frontier:
        component.keys |= frontier
        component.fused |= ask_fused(client, space_id, frontier, policy)
        for row in _ask_rows(client, space_id, frontier - component.fused):
            rows[name_row(row)] = row
        joins = [
            row
            for row in keep_standing(rows.values())
            if row.is_join
            and not names_nobody(row.a_key, row.a_value, policy)
            and not names_nobody(row.b_key, row.b_value, policy)
        ]
        component.fused |= find_busy(joins, policy)
        frontier = {
            key
            for row in joins
            if row.a_key not in component.fused and row.b_key not in component.fused
            for key in (row.a_key, row.b_key)
        } - component.keys
        alone += 1
        if frontier and alone >= pause:
            frontier |= _find_tied(client, space_id, frontier, policy) - component.keys
            alone, pause = 0, 2 * pause
    component.rows = list(rows.values())
    return component


def _find_tied(client: StoreClient, space_id: str, keys: Iterable[str], policy: Policy) -> set[str]:
    """Return the visitors that hang on these keys by evidence between two visitors, not by way of shared ones."""
    beside: defaultdict[str, set[str]] = defaultdict(set)
    for row in client.query_rows(TIES_OF_VISITORS, {"space": space_id, "most": MOST_TIES}):
        first, second = str(row["a_key"]), str(row["b_key"])
        beside[first].add(second)
        beside[second].add(first)
    return find_hung(beside, keys, policy.count_visitors_allowed(VISITOR_KIND))


def find_hung(beside: Mapping[str, set[str]], keys: Iterable[str], most: int) -> set[str]:
    """Return who hangs on these keys, by way of nobody who has more than `most` beside them."""
    found: set[str] = set()
    ends = list(keys)
    while ends:
        key = ends.pop()
        others = beside.get(key, set())
        if others and key not in found and len(others) <= most:
            found.add(key)
            ends += others
    return found


def ask_fused(client: StoreClient, space_id: str, keys: Iterable[str], policy: Policy) -> set[str]:
    """Return those of the keys that too many visitors were seen with, without reading those visitors.

    Counts as `guards.find_fused` does; what `guards.find_busy` counts is found there, in a visitor's own rows.
    """
    fused: set[str] = set()
    few = max(_list_caps(policy)) + SPARE_VISITORS
    for part in _cut(keys):
        left = set(part)
        rows = client.query_rows(_LONG, {"space": space_id, "keys": part, "few": few})
        if rows:
            # Some of its visitors are too many already: what a test machine was seen with all in all grows for ever.
            sure = _count_fused(client, space_id, [row["key"] for row in rows], policy, few)
            fused |= sure
            left -= sure
        if left:
            fused |= _count_fused(client, space_id, sorted(left), policy, _ALL)
    return fused


def _list_caps(policy: Policy) -> list[int]:
    return [policy.max_visitors, *(kind.max_visitors for kind in policy.kinds)]


def _count_fused(client: StoreClient, space_id: str, part: Sequence[str], policy: Policy, few: int) -> set[str]:
    """Return which of the keys are fused by so many of the visitors that they were seen with.

    With fewer than all: those that are in any case. A token counts for its first visitors, so it needs all of them.
    """
    fused: set[str] = set()
    least = min(_list_caps(policy))
    # Blocked visitors make them fewer: only who has too many with them is counted again without.
    said = {**_say_nobodies(space_id, policy, ()), "few": few}
    rows = client.query_rows(_COUNT, {**said, "keys": part, "least": least})
    if rows and policy.blocked_keys:
        many = [row["key"] for row in rows]
        said |= _say_nobodies(space_id, policy, _ask_blocked_beside(client, space_id, many, policy))
        rows = client.query_rows(_COUNT, {**said, "keys": many, "least": least})
    unsure: dict[str, int] = {}
    for row in rows:
        most = policy.count_visitors_allowed(row["named"])
        if row["bare"] > most or (row["visitors"] > most and row["named"] == VISITOR_KIND):
            fused.add(str(row["key"]))
        elif row["visitors"] > most:
            unsure[str(row["key"])] = most
    if unsure and few == _ALL:
        params = {**said, "keys": sorted(unsure), "most": policy.link_visitors}
        rows = client.query_rows(_COUNT_TOKENS, params)
        fused |= {str(row["key"]) for row in rows if row["visitors"] > unsure[str(row["key"])]}
    return fused


def _ask_blocked_beside(client: StoreClient, space_id: str, keys: list[str], policy: Policy) -> set[str]:
    """Return the blocked identifiers that were seen with these: a space may have blocked more than a question takes."""
    found: set[str] = set()
    for part in _cut(policy.blocked_keys):
        rows = client.query_rows(_BLOCKED_BESIDE, {"space": space_id, "keys": keys, "blocked": part})
        found |= {row["key"] for row in rows}
    return found


def _say_nobodies(space_id: str, policy: Policy, blocked: Iterable[str]) -> dict[str, Any]:
    """Return what the counts leave out: visitors that name nobody, see `guards.names_nobody`. Of `blocked` no more
    than fit, 20,000 beside a few keys: then the others count."""
    parts = [*_cut({*blocked, NIL_ID}), *([[]] * FIELDS)][:FIELDS]
    listed = sorted({*policy.blocked, *_NOBODIES})
    return {"space": space_id, "listed": listed, **{f"blocked{n}": part for n, part in enumerate(parts)}}


def _ask_rows(client: StoreClient, space_id: str, keys: Iterable[str]) -> list[Evidence]:
    found = []
    for part in _cut(keys):
        found += _read(client, _AROUND, {"space": space_id, "keys": part})
    return found


def _read(client: StoreClient, sql: str, params: dict[str, Any]) -> list[Evidence]:
    data = b"".join(client.stream(sql, params))
    return [_decode(line) for line in data.splitlines()]


def _cut(keys: Iterable[str]) -> Iterable[Sequence[str]]:
    """Yield the keys in parts that one question can carry, always cut alike."""
    ordered = sorted(keys)
    for start in range(0, len(ordered), KEYS_PER_QUESTION):
        yield ordered[start : start + KEYS_PER_QUESTION]
