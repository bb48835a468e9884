"""One statement that reads, of a list of people, what the rules of a space's audiences ask for, and nothing else.

Whose an event is, is decided event by event as `v_timeline` decides it, but by the tables of the map and not by the
dictionaries, which may be a second behind; and ties that are provisional give nobody anything. Traits, consent and
states come by identifier, with the map's rows: whose they are `known` decides as a profile does.

The text is made of our own words alone. What the configuration says is bound: texts as one array, moments as another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from collector.audiences.configuration import AudienceConfig
from collector.audiences.rules import AmountRule, EventRule, RfmRule, Rule, TraitRule
from collector.profiles.computed import DAY_MS

MAX_AT_ONCE = 2_000
"""39 bytes each; a server takes 128 KiB in one field of a form."""
MAX_COUNTS = 500
"""Different kinds of events that one statement counts: a text of 256 KiB is the longest that a store takes."""
SETTINGS: Mapping[str, Any] = {"max_threads": 2, "do_not_merge_across_partitions_select_final": 1}
PARTS = ("seen", "tie", "trait", "consent", "state")

_NOBODY = "toUUID('00000000-0000-0000-0000-000000000000')"
_COLUMNS = {"event": "event_name", "site": "site_id"}
"""Columns that are called otherwise than the words."""
_KEYS = """
    SELECT arrayJoin({people:Array(UUID)})
    UNION ALL
    SELECT key FROM person_keys WHERE space_id = {space:String} AND person_id IN {people:Array(UUID)}
"""
_TIES = f"""
    SELECT map.key AS key, map.person_id AS person_id, valid_from, several, provisional
    FROM identity_map AS map FINAL
    WHERE space_id = {{space:String}} AND map.key IN ({_KEYS})
"""  # noqa: S608  our own words, as everywhere here
_TURNS = f"""
    SELECT held.key AS key, groupArray((valid_from, valid_to, held.person_id, provisional, proved)) AS turns
    FROM identity_intervals AS held FINAL
    WHERE space_id = {{space:String}} AND held.key IN ({_KEYS})
    GROUP BY key
"""  # noqa: S608
_WHOSE = f"""
    arrayFirst(turn -> turn.1 <= time AND time < turn.2 AND (turn.5 = 1 OR visitor_proof = 'script'), turns) AS turn,
    multiIf(
        tie.key = {_NOBODY}, own_person_id,
        tie.several = 1, multiIf(turn.3 = {_NOBODY}, own_person_id, turn.4 = 1, {_NOBODY}, turn.3),
        tie.person_id = own_person_id, own_person_id,
        tie.provisional = 0 AND tie.valid_from <= time, tie.person_id,
        {_NOBODY}) AS whose
"""
_ORDER = """(if(order_id != '', cityHash64(order_id), cityHash64(event_id)), toUnixTimestamp64Milli(time), value,
            toString(currency), if(is_refund, -1, 1))"""
_HAPPENED = """
    lower(replaceAll(toString(event_name), ' ', '_')) AS happened,
    happened IN ('purchase', 'order', 'order_completed') AS is_order,
    happened IN ('refund', 'order_refunded') AS is_refund
"""
# A browser says with each event what holds there. A server that says nothing of marketing has not refused it.
_SPEAKS = """(visitor_proof = 'cookie' OR (has(granted, {purpose})
            AND (visitor_proof = 'server' OR (visitor_proof = 'none' AND assurance >= 4))))"""
_TRAITS = f"""
SELECT 'trait', toJSONString((said.key, name, source, level, value, sealed, toUnixTimestamp64Milli(time), actor,
    version, is_deleted))
FROM traits AS said
WHERE space_id = {{space:String}} AND said.key IN ({_KEYS}) AND name IN {{traits:Array(String)}}
"""  # noqa: S608
_CONSENTS = f"""
SELECT 'consent', toJSONString((entry.key, purpose, state, toUnixTimestamp64Milli(time), source, policy_version,
    toUnixTimestamp64Milli(received_at), consent_id))
FROM consent_ledger AS entry
WHERE space_id = {{space:String}} AND entry.key IN ({_KEYS}) AND purpose IN {{purposes:Array(String)}}
"""  # noqa: S608
_STATES = f"""
SELECT 'state', toJSONString((said.key, state, version, is_deleted))
FROM person_states AS said
WHERE space_id = {{space:String}} AND said.key IN ({_KEYS})
"""  # noqa: S608
_MAP = f"""
SELECT 'tie', toJSONString((tie.key, tie.person_id, kind, from_ms, several, provisional, turns))
FROM
(
    SELECT map.key AS key, map.person_id AS person_id, key_kind AS kind, toUnixTimestamp64Milli(valid_from) AS from_ms,
        several, provisional
    FROM identity_map AS map FINAL
    WHERE space_id = {{space:String}} AND map.key IN ({_KEYS})
) AS tie
LEFT ANY JOIN
(
    SELECT held.key AS key, arraySort(groupArray((toUnixTimestamp64Milli(valid_from), toUnixTimestamp64Milli(valid_to),
        held.person_id, provisional, proved))) AS turns
    FROM identity_intervals AS held FINAL
    WHERE space_id = {{space:String}} AND held.key IN ({_KEYS})
    GROUP BY key
) AS held ON tie.key = held.key
"""  # noqa: S608


class Plan(msgspec.Struct, frozen=True):
    """What is to be read. `events`: what is counted, each once however many audiences ask; its bounds left out."""

    events: tuple[EventRule, ...] = ()
    session_days: tuple[float | None, ...] = ()
    with_orders: bool = False
    traits: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()


def strip(rule: EventRule) -> EventRule:
    """Return what is counted for a rule, whatever its bounds."""
    return EventRule(rule.where, rule.within_days)


def make_plan(audiences: Iterable[AudienceConfig]) -> Plan:
    """Return what is to be read to judge by these."""
    chosen = list(audiences)
    rules: list[Rule] = [rule for audience in chosen for rule in audience.rules]
    amounts = [rule for rule in rules if isinstance(rule, AmountRule)]
    is_money = any(rule.what != "sessions" for rule in amounts) or any(isinstance(rule, RfmRule) for rule in rules)
    return Plan(
        events=tuple(dict.fromkeys(strip(rule) for rule in rules if isinstance(rule, EventRule))),
        session_days=tuple(dict.fromkeys(rule.within_days for rule in amounts if rule.what == "sessions")),
        with_orders=is_money,
        traits=tuple(dict.fromkeys(rule.name for rule in rules if isinstance(rule, TraitRule))),
        purposes=tuple(sorted({audience.purpose for audience in chosen} - {""})),
    )


class _Bound:
    """Values that are bound, by their places. Each stands once."""

    def __init__(self, now_ms: int) -> None:
        self.words: dict[str, int] = {}
        self.moments: dict[int, int] = {}
        self._now_ms = now_ms

    def word(self, text: str) -> str:
        return f"{{words:Array(String)}}[{self.words.setdefault(text, len(self.words) + 1)}]"

    def since(self, days: float) -> str:
        moment = max(0, self._now_ms - int(days * DAY_MS))
        place = self.moments.setdefault(moment, len(self.moments) + 1)
        return f"fromUnixTimestamp64Milli({{moments:Array(Int64)}}[{place}], 'UTC')"


def make_statement(
    plan: Plan, space_id: str, person_ids: Collection[str], *, now_ms: int
) -> tuple[str, dict[str, Any]]:
    """Return the statement and its parameters: rows of `part` and `row`, a text of JSON, see `known`."""
    bound = _Bound(now_ms)
    parts = [_make_seen(plan, bound), _MAP, _STATES]
    params: dict[str, Any] = {"space": space_id, "people": list(person_ids)}
    if plan.traits:
        parts.append(_TRAITS)
        params["traits"] = list(plan.traits)
    if plan.purposes:
        parts.append(_CONSENTS)
        params["purposes"] = list(plan.purposes)
    if bound.words:
        params["words"] = list(bound.words)
    if bound.moments:
        params["moments"] = list(bound.moments)
    return "\nUNION ALL\n".join(parts), params


def _make_seen(plan: Plan, bound: _Bound) -> str:
    counts = [f"countIf({_make_condition(rule, bound)})" for rule in plan.events]
    sessions = []
    for days in plan.session_days:
        window = "" if days is None else f" AND time >= {bound.since(days)}"
        sessions.append(f"uniqExactIf(session_id, session_id != {_NOBODY}{window})")
    orders = f"groupUniqArrayIf({_ORDER}, is_order OR is_refund)" if plan.with_orders else "[]"
    granted = []
    for purpose in plan.purposes:
        word = bound.word(purpose)
        granted.append(f"argMaxIf(has(granted, {word}), (time, event_id), {_SPEAKS.replace('{purpose}', word)})")
    columns = ["event_id", "time"]
    if counts:
        columns += sorted({_COLUMNS.get(word, word) for rule in plan.events for word, _ in rule.where} | {"event_name"})
    columns = [_COLUMNS.get(name, "path" if name == "path_prefix" else name) for name in columns]
    if sessions:
        columns.append("session_id")
    if plan.with_orders:
        columns += ["event_name", "order_id", "value", "currency"]
    if granted:
        columns += ["visitor_proof", "assurance", "splitByChar(',', toString(consent)) AS granted"]
    inner = ", ".join(dict.fromkeys(columns))
    more = f", {_HAPPENED}" if plan.with_orders else ""
    return f"""
SELECT 'seen' AS part, toJSONString((whose, toUnixTimestamp64Milli(min(time)), toUnixTimestamp64Milli(max(time)),
    [{", ".join(counts)}], [{", ".join(sessions)}], {orders}, [{", ".join(granted)}])) AS row
FROM
(
    SELECT {inner}{more}, {_WHOSE}
    FROM (SELECT * FROM timeline FINAL WHERE space_id = {{space:String}} AND own_person_id IN ({_KEYS}) AND is_bot = 0)
        AS happening
    LEFT ANY JOIN ({_TIES}) AS tie ON happening.own_person_id = tie.key
    LEFT ANY JOIN ({_TURNS}) AS held ON happening.own_person_id = held.key
)
WHERE whose IN {{people:Array(UUID)}}
GROUP BY whose
"""  # noqa: S608


def _make_condition(rule: EventRule, bound: _Bound) -> str:
    conditions = []
    for word, value in rule.where:
        if word == "path_prefix":
            conditions.append(f"startsWith(path, {bound.word(value)})")
        else:
            conditions.append(f"{_COLUMNS.get(word, word)} = {bound.word(value)}")
    if rule.within_days is not None:
        conditions.append(f"time >= {bound.since(rule.within_days)}")
    return " AND ".join(conditions)
