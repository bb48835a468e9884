"""One statement that reads, of a list of identifiers, what the rules of a space's audiences ask for, and nothing else.

What happened is summed up by identifier, and where one has changed hands by the times between: whose that is, `known`
decides. The text is made of our own words alone. What the configuration says is bound: texts as one array, moments as
another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from collector.audiences.configuration import AudienceConfig
from collector.audiences.rules import AmountRule, EventRule, RfmRule, Rule, TraitRule
from collector.profiles.computed import DAY_MS
from collector.store.client import FIELD_BYTES

MAX_KEYS = 2_000
"""39 bytes each; a server takes 128 KiB in one field of a form."""
MAX_WORDS = 1_000
"""Rules, and the words of those about events, that one statement counts by: at most some 80 bytes each, and a text of
256 KiB is the longest that a store takes."""
SETTINGS: Mapping[str, Any] = {"max_threads": 2}
PARTS = ("seen", "trait", "consent", "state")

_KEY_BYTES, _CUT_BYTES = 42, 15
_CUTS_OF_A_KEY = (FIELD_BYTES - _KEY_BYTES) // _CUT_BYTES
_NO_SESSION = "toUUID('00000000-0000-0000-0000-000000000000')"
_COLUMNS = {"event": "event_name", "site": "site_id", "path_prefix": "path"}
"""Columns that are called otherwise than the words."""
_ORDER = """(if(order_id != '', cityHash64(order_id), cityHash64(event_id)), toUnixTimestamp64Milli(time), value,
        toString(currency), if(is_refund, -1, 1))"""
# As the view on `timeline` says it, and `profiles.facts`.
_HAPPENED = """
        lower(replaceAll(toString(event_name), ' ', '_')) AS happened,
        happened IN ('purchase', 'order', 'order_completed') AS is_order,
        happened IN ('refund', 'order_refunded') AS is_refund"""
# How many of the cuts have come before. Who has none in a part is not found there, and the array at 0 is empty.
_PASSED = """arrayCount(cut -> cut <= toUnixTimestamp64Milli(time),
            {cuts%d:Array(Array(Int64))}[indexOf({cut_keys%d:Array(UUID)}, own_person_id)])"""
# A browser says with each event what holds there. A server that says nothing of marketing has not refused it.
_SPEAKS = """(visitor_proof = 'cookie' OR (has(granted, {purpose})
        AND (visitor_proof = 'server' OR (visitor_proof = 'none' AND assurance >= 4))))"""
_TRAITS = """
SELECT 'trait', toJSONString((said.key, name, source, level, value, sealed, toUnixTimestamp64Milli(time), actor,
    version, is_deleted))
FROM traits AS said
WHERE space_id = {space:String} AND said.key IN {keys:Array(UUID)} AND name IN {traits:Array(String)}
"""
_CONSENTS = """
SELECT 'consent', toJSONString((entry.key, purpose, state, toUnixTimestamp64Milli(time), source, policy_version,
    toUnixTimestamp64Milli(received_at), consent_id))
FROM consent_ledger AS entry
WHERE space_id = {space:String} AND entry.key IN {keys:Array(UUID)} AND purpose IN {purposes:Array(String)}
"""
_STATES = """
SELECT 'state', toJSONString((said.key, state, version, is_deleted))
FROM person_states AS said
WHERE space_id = {space:String} AND said.key IN {keys:Array(UUID)}
"""


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
    """Values that are bound, by their places. Each stands once. `words`: several lists, because one field of a form
    takes FIELD_BYTES."""

    def __init__(self, now_ms: int) -> None:
        self.words: list[list[str]] = []
        self.moments: dict[int, int] = {}
        self._places: dict[str, str] = {}
        self._left = 0
        self._now_ms = now_ms

    def word(self, text: str) -> str:
        if text not in self._places:
            size = 2 * len(text.encode()) + 4  # were every letter escaped
            if size > self._left:
                self.words.append([])
                self._left = FIELD_BYTES
            self._left -= size
            self.words[-1].append(text)
            self._places[text] = f"{{words{len(self.words) - 1}:Array(String)}}[{len(self.words[-1])}]"
        return self._places[text]

    def since(self, days: float) -> str:
        moment = max(0, self._now_ms - int(days * DAY_MS))
        place = self.moments.setdefault(moment, len(self.moments) + 1)
        return f"fromUnixTimestamp64Milli({{moments:Array(Int64)}}[{place}], 'UTC')"


def make_statement(
    plan: Plan, space_id: str, keys: Sequence[str], cuts: Mapping[str, Sequence[int]], *, now_ms: int
) -> tuple[str, dict[str, Any]]:
    """Return the statement and its parameters: rows of `part` and `row`, a text of JSON, see `known`. `keys`: at most
    MAX_KEYS; `cuts`: when some of them change hands."""
    bound = _Bound(now_ms)
    cut = _part_cuts({key: cuts[key] for key in keys if key in cuts})
    parts = [_make_seen(plan, bound, len(cut)), _STATES]
    params: dict[str, Any] = {"space": space_id, "keys": list(keys)}
    for number, part in enumerate(cut):
        params |= {f"cut_keys{number}": list(part), f"cuts{number}": list(part.values())}
    if plan.traits:
        parts.append(_TRAITS)
        params["traits"] = list(plan.traits)
    if plan.purposes:
        parts.append(_CONSENTS)
        params["purposes"] = list(plan.purposes)
    params |= {f"words{number}": words for number, words in enumerate(bound.words)}
    if bound.moments:
        params["moments"] = list(bound.moments)
    return "\nUNION ALL\n".join(parts), params


def _part_cuts(cuts: Mapping[str, Sequence[int]]) -> list[dict[str, list[int]]]:
    """Return cuts in parts, each of which fits into a field of a form. One identifier's may be in several of them."""
    parts: list[dict[str, list[int]]] = []
    left = 0
    for key, moments in cuts.items():
        for start in range(0, len(moments), _CUTS_OF_A_KEY):
            some = list(moments[start : start + _CUTS_OF_A_KEY])
            size = _KEY_BYTES + _CUT_BYTES * len(some)
            if size > left or key in parts[-1]:
                parts.append({})
                left = FIELD_BYTES
            left -= size
            parts[-1][key] = some
    return parts


def _make_seen(plan: Plan, bound: _Bound, cut_parts: int) -> str:
    counts = [f"countIf({_make_condition(rule, bound)})" for rule in plan.events]
    sessions = []
    for days in plan.session_days:
        window = "" if days is None else f" AND time >= {bound.since(days)}"
        sessions.append(f"groupUniqArrayIf(cityHash64(session_id), session_id != {_NO_SESSION}{window})")
    orders = f"groupUniqArrayIf({_ORDER}, is_order OR is_refund)" if plan.with_orders else "[]"
    words = []
    for purpose in plan.purposes:
        word = bound.word(purpose)
        said = f"(toUnixTimestamp64Milli(time), NOT has(granted, {word}))"
        words.append(f"maxIf({said}, {_SPEAKS.replace('{purpose}', word)})")
    columns = {"own_person_id", "event_id", "time"}
    columns |= {_COLUMNS.get(word, word) for rule in plan.events for word, _ in rule.where}
    columns |= {"session_id"} if sessions else set()
    columns |= {"order_id", "value", "currency", "event_name"} if plan.with_orders else set()
    columns |= {"visitor_proof", "assurance"} if words else set()
    inner = ", ".join(sorted(columns))
    inner += ", splitByChar(',', toString(consent)) AS granted" if words else ""
    inner += f",{_HAPPENED}" if plan.with_orders else ""
    if cut_parts:
        passed = " + ".join(_PASSED % (number, number) for number in range(cut_parts))
        inner += f", {passed} AS segment, segment > 0 AND visitor_proof = 'script' AS is_script"
    else:
        inner += ", 0 AS segment, 0 AS is_script"
    return f"""
SELECT 'seen' AS part, toJSONString((own_person_id, segment, is_script, toUnixTimestamp64Milli(min(time)),
    toUnixTimestamp64Milli(max(time)), [{", ".join(counts)}], [{", ".join(sessions)}], {orders},
    [{", ".join(words)}])) AS row
FROM
(
    SELECT {inner}
    FROM timeline
    PREWHERE space_id = {{space:String}} AND own_person_id IN {{keys:Array(UUID)}}
    WHERE is_bot = 0
    LIMIT 1 BY own_person_id, time, event_id
)
GROUP BY own_person_id, segment, is_script
"""  # noqa: S608  our own words


def _make_condition(rule: EventRule, bound: _Bound) -> str:
    conditions = []
    for word, value in rule.where:
        column, text = _COLUMNS.get(word, word), bound.word(value)
        conditions.append(f"startsWith({column}, {text})" if word == "path_prefix" else f"{column} = {text}")
    if rule.within_days is not None:
        conditions.append(f"time >= {bound.since(rule.within_days)}")
    return " AND ".join(conditions)
