"""Whether rules hold for what is known of somebody. Pure; the moment is passed in."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from collector.audiences.configuration import AudienceConfig
from collector.audiences.known import Known
from collector.audiences.rules import (
    AmountRule,
    EventRule,
    KnownRule,
    RfmRule,
    Rule,
    SeenRule,
    TraitRule,
    is_between,
)
from collector.audiences.statement import Plan, strip
from collector.profiles.computed import DAY_MS, Order, classify, find_main_currency, settle_orders, sum_by_currency


class Places(msgspec.Struct, frozen=True):
    """Where in what is known the counts of a rule stand."""

    events: Mapping[EventRule, int]
    session_days: Mapping[float | None, int]


def find_places(plan: Plan) -> Places:
    """Return the places by which the rules of a plan are judged."""
    return Places(
        {rule: place for place, rule in enumerate(plan.events)},
        {days: place for place, days in enumerate(plan.session_days)},
    )


def is_in(audience: AudienceConfig, known: Known, places: Places, now_ms: int) -> bool:
    """Whether somebody is in an audience with rules."""
    if audience.purpose and audience.purpose not in known.granted:
        return False
    return (
        all(holds(rule, known, places, now_ms) for rule in audience.all)
        and (not audience.any or any(holds(rule, known, places, now_ms) for rule in audience.any))
        and not any(holds(rule, known, places, now_ms) for rule in audience.none)
    )


def holds(rule: Rule, known: Known, places: Places, now_ms: int) -> bool:
    """Whether one rule holds."""
    match rule:
        case EventRule():
            return is_between(known.counts[places.events[strip(rule)]], rule.at_least, rule.at_most)
        case AmountRule():
            return is_between(_measure(rule, known, places, now_ms), rule.at_least, rule.at_most)
        case SeenRule():
            return _is_seen(rule, known, now_ms)
        case TraitRule():
            return _has_trait(rule, known)
        case KnownRule():
            return known.is_known == rule.known
        case RfmRule():
            return _find_class(known.orders, now_ms) in rule.classes


def _measure(rule: AmountRule, known: Known, places: Places, now_ms: int) -> float:
    if rule.what == "sessions":
        return known.sessions[places.session_days[rule.within_days]]
    since_ms = 0 if rule.within_days is None else now_ms - int(rule.within_days * DAY_MS)
    counted = [one for one in settle_orders(known.orders) if one[0].time_ms >= since_ms]
    if rule.what == "orders":
        return len(counted)
    return sum_by_currency(counted).get(rule.currency or find_main_currency(counted), 0.0)


def _is_seen(rule: SeenRule, known: Known, now_ms: int) -> bool:
    """Who has no events was never seen: not lately, and not long ago either."""
    if not known.last_ms:
        return False
    since_ms = now_ms - int(rule.days * DAY_MS)
    if rule.what == "seen_within_days":
        return known.last_ms >= since_ms
    if rule.what == "not_seen_for_days":
        return known.last_ms < since_ms
    return known.first_ms >= since_ms


def _has_trait(rule: TraitRule, known: Known) -> bool:
    said = known.traits.get(rule.name)
    if rule.exists is not None:
        return rule.exists == (said is not None)
    if said is None or said.is_closed:
        return False
    if rule.values:
        return any(_is_same(said.value, value) for value in rule.values)
    return is_between(said.value, rule.at_least, rule.at_most)


def _is_same(said: object, wanted: object) -> bool:
    """Whether two values of JSON are the same: 3 is 3.0, and not true."""
    return isinstance(said, bool) == isinstance(wanted, bool) and said == wanted


def _find_class(orders: tuple[Order, ...], now_ms: int) -> str:
    counted = settle_orders(orders)
    last_ms = max((order.time_ms for order, _ in counted), default=0)
    paid = sum_by_currency(counted).get(find_main_currency(counted), 0.0)
    return classify(len(counted), last_ms, paid, now_ms).name
