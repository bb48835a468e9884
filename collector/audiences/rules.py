"""Rules of audiences: one small table of TOML each, read into what is judged.

    { event = "purchase", path_prefix = "/shoes", within_days = 30, at_least = 3 }    how often something happened
    { orders = 2, within_days = 365 }                                                  orders, order_value, sessions
    { seen_within_days = 7 }                                                           not_seen_for_days, first_seen_…
    { trait = "plan", in = ["gold", "platinum"] }                                      is, in, at_least, at_most, exists
    { known = true }                                                                   a customer, or nobody known
    { rfm = "champion" }                                                               the class, see profiles.computed

What a word is called here is what it is called in the file. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from math import isfinite
from typing import Any

import msgspec

MAX_DAYS = 3_660
MAX_COUNT = 1_000_000_000
MAX_TEXT_CHARS = 1_000
MAX_VALUES = 1_000
WHERE = ("event", "path_prefix", "host", "site", "category", "campaign", "channel", "touchpoint", "device")
"""What an event may be asked for: columns of `timeline`, compared as they stand; `path_prefix` by its beginning."""
SPAN = ("within_days", "at_least", "at_most")
SEEN = ("seen_within_days", "not_seen_for_days", "first_seen_within_days")
CLASSES = ("prospect", "champion", "loyal", "at_risk", "lost", "new", "occasional")
"""As `profiles.computed.classify` names them."""
WORDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(WHERE, (*WHERE, *SPAN)),
    "orders": ("orders", *SPAN),
    "order_value": ("order_value", "currency", *SPAN),
    "sessions": ("sessions", *SPAN),
    **{word: (word,) for word in SEEN},
    "trait": ("trait", "is", "in", "at_least", "at_most", "exists"),
    "known": ("known",),
    "rfm": ("rfm",),
}
"""By the word that says what a rule is about: the words that it may have."""

_CURRENCY = re.compile(r"[A-Z]{3}")

Value = str | int | float | bool


class RuleError(ValueError):
    """A rule cannot be used. The message names cause and fix; no value of it."""


class EventRule(msgspec.Struct, frozen=True, tag="event", tag_field="rule"):
    """Events like this happened so often. `where`: column and value, sorted. `within_days`: None for ever."""

    where: tuple[tuple[str, str], ...]
    within_days: float | None = None
    at_least: int = 0
    at_most: int | None = None


class AmountRule(msgspec.Struct, frozen=True, tag="amount", tag_field="rule"):
    """So many orders, sessions, or so much money. `currency`: "" for the one that most of the orders are in."""

    what: str  # orders, order_value or sessions
    within_days: float | None = None
    at_least: float = 0
    at_most: float | None = None
    currency: str = ""


class SeenRule(msgspec.Struct, frozen=True, tag="seen", tag_field="rule"):
    """When somebody was seen first or last. `what`: one of SEEN."""

    what: str
    days: float


class TraitRule(msgspec.Struct, frozen=True, tag="trait", tag_field="rule"):
    """What the value of a trait is that is believed. `values`: one of these; `exists`: whether there is one."""

    name: str
    values: tuple[Value, ...] = ()
    at_least: float | str | None = None
    at_most: float | str | None = None
    exists: bool | None = None


class KnownRule(msgspec.Struct, frozen=True, tag="known", tag_field="rule"):
    """Whether it is a customer of whom the organisation knows who it is."""

    known: bool


class RfmRule(msgspec.Struct, frozen=True, tag="rfm", tag_field="rule"):
    """The class by recency, frequency and monetary value is one of these."""

    classes: tuple[str, ...]


Rule = EventRule | AmountRule | SeenRule | TraitRule | KnownRule | RfmRule


def read_rule(table: Any) -> Rule:
    """Return the rule that a table says. Raises RuleError."""
    if not isinstance(table, Mapping):
        raise RuleError('must be a table, such as { event = "purchase", within_days = 30 }')
    subject = _find_subject(table)
    known = WORDS[subject]
    for word in table:
        if word not in known:
            raise RuleError(f"a rule about {subject} has no word {word!r}; it has {', '.join(known)}")
    if subject in WHERE:
        where = tuple(sorted((word, _text(table[word], word)) for word in WHERE if word in table))
        low, high = _bounds(table, 1)
        return EventRule(where, _days(table, "within_days"), int(low), None if high is None else int(high))
    if subject in ("orders", "order_value", "sessions"):
        return _read_amount(subject, table)
    if subject in SEEN:
        days = _days(table, subject)
        return SeenRule(subject, days or 0.0)
    if subject == "trait":
        return _read_trait(table)
    if subject == "known":
        return KnownRule(_flag(table["known"], "known"))
    return _read_rfm(table["rfm"])


def is_between(value: Any, low: float | str | None, high: float | str | None) -> bool:
    """Whether a value is of the kind of these bounds, and between them; None: no bound on this side."""
    for bound, is_low in ((low, True), (high, False)):
        if bound is None:
            continue
        if isinstance(value, bool) or isinstance(value, str) != isinstance(bound, str):
            return False
        if not isinstance(value, str | int | float) or (value < bound if is_low else value > bound):  # type: ignore[operator]
            return False
    return True


def _find_subject(table: Mapping[str, Any]) -> str:
    said = [word for word in WORDS if word in table]
    subjects = {WORDS[word]: word for word in reversed(said)}
    if not subjects:
        if unknown := [word for word in table if not any(word in words for words in WORDS.values())]:
            raise RuleError(f"there is no word {unknown[0]!r}; a rule is about one of {', '.join(WORDS)}")
        raise RuleError(f"does not say what it is about: one of {', '.join(WORDS)}")
    if len(subjects) > 1:
        names = " and ".join(sorted(subjects.values()))
        raise RuleError(f"is about {names} at once: write two rules")
    return said[0]


def _read_amount(subject: str, table: Mapping[str, Any]) -> AmountRule:
    said = table[subject]
    is_money = subject == "order_value"
    if said is False or not isinstance(said, bool | int | float):
        raise RuleError(f"{subject} must be true, or a number, which is the same as at_least")
    bounds: Mapping[str, Any] = table
    if said is not True:
        if "at_least" in table:
            raise RuleError(f"says at_least twice: write {subject} = true beside it")
        bounds = {**table, "at_least": said}
    low, high = _bounds(bounds, 1, is_whole=not is_money)
    currency = table.get("currency", "")
    if currency and not (isinstance(currency, str) and _CURRENCY.fullmatch(currency)):
        raise RuleError('currency must be three capital letters, such as "EUR"')
    return AmountRule(subject, _days(table, "within_days"), low, high, currency)


def _read_trait(table: Mapping[str, Any]) -> TraitRule:
    name = _text(table["trait"], "trait")
    said = [word for word in ("is", "in", "exists") if word in table]
    if "at_least" in table or "at_most" in table:
        said.append("at_least or at_most")
    if len(said) != 1:
        rest = "says nothing of its value" if not said else f"says {' and '.join(said)}"
        raise RuleError(f"{rest}: write one of is, in, exists, or at_least and at_most")
    if "is" in table:
        return TraitRule(name, values=(_value(table["is"], "is"),))
    if "in" in table:
        listed = table["in"]
        if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_VALUES:
            raise RuleError(f'in must be a list of 1 to {MAX_VALUES:,} values, such as ["gold", "platinum"]')
        return TraitRule(name, values=tuple(_value(one, "in") for one in listed))
    if "exists" in table:
        return TraitRule(name, exists=_flag(table["exists"], "exists"))
    low, high = (_limit(table.get(word), word) for word in ("at_least", "at_most"))
    if low is not None and high is not None:
        if isinstance(low, str) != isinstance(high, str):
            raise RuleError("at_least and at_most must be both numbers, or both texts or dates")
        if not is_between(low, None, high):
            raise RuleError("at_most is less than at_least: nobody could ever be in it")
    return TraitRule(name, at_least=low, at_most=high)


def _read_rfm(said: Any) -> RfmRule:
    names = [said] if isinstance(said, str) else said
    if not isinstance(names, list) or not names or any(name not in CLASSES for name in names):
        raise RuleError(f"rfm must be one of {', '.join(CLASSES)}, or a list of them")
    return RfmRule(tuple(sorted(set(names))))


def _bounds(table: Mapping[str, Any], lowest: int, *, is_whole: bool = True) -> tuple[float, float | None]:
    """Return at_least and at_most. Who says neither means: at all."""
    for word in ("at_least", "at_most"):
        said = table.get(word, 0)
        is_number = isinstance(said, int) if is_whole else isinstance(said, int | float)
        if isinstance(said, bool) or not is_number or not 0 <= said <= MAX_COUNT:
            raise RuleError(f"{word} must be a {'whole ' if is_whole else ''}number from 0 to {MAX_COUNT:,}")
    high = table.get("at_most")
    low = table.get("at_least", lowest if high is None else 0)
    if high is not None and high < low:
        raise RuleError("at_most is less than at_least: nobody could ever be in it")
    if high is None and low == 0:
        raise RuleError("at_least = 0 holds for everybody: leave the rule out, or say at_most")
    return low, high


def _days(table: Mapping[str, Any], word: str) -> float | None:
    said = table.get(word)
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said <= MAX_DAYS:
        raise RuleError(f"{word} must be a number of days, more than 0 and at most {MAX_DAYS:,}")
    return float(said)


def _text(said: Any, word: str) -> str:
    if not isinstance(said, str) or not 1 <= len(said) <= MAX_TEXT_CHARS or "\0" in said:
        raise RuleError(f"{word} must be a text of 1 to {MAX_TEXT_CHARS:,} characters")
    return said


def _flag(said: Any, word: str) -> bool:
    if not isinstance(said, bool):
        raise RuleError(f"{word} must be true or false")
    return said


def _value(said: Any, word: str) -> Value:
    if isinstance(said, date):  # a time is one too
        return _moment(said)
    if not isinstance(said, str | int | float | bool) or not _is_finite(said):
        raise RuleError(f"{word} must be a text, a number, true, false or a date")
    return said


def _limit(said: Any, word: str) -> float | str | None:
    if said is None:
        return None
    if isinstance(said, date):
        return _moment(said)
    if isinstance(said, bool) or not isinstance(said, str | int | float) or not _is_finite(said):
        raise RuleError(f"{word} must be a number, a text or a date")
    return said


def _is_finite(said: Value) -> bool:
    return isinstance(said, str) or isfinite(said)


def _moment(said: date) -> str:
    """Return a date or a time of TOML as traits have it."""
    if isinstance(said, datetime) and said.tzinfo is None:
        raise RuleError("a time needs its zone, such as 2026-11-23T10:00:00Z")
    return said.isoformat().replace("+00:00", "Z")
