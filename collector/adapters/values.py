"""A source's values in the form that their field has. Pure.

Sources write the same thing in several ways: a number as text, a point in time with or without its offset. What can be
told apart without guessing is taken; the rest does not fit, and is not shown as something that it is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from collector.adapters.contract import FieldType, Record

MAX_DIGITS = 40
UNFIT = object()
"""Stands for a value that nothing can be made of: it fits no field, also none of JSON."""
ALL_FIT: frozenset[str] = frozenset()


def fit_record(key: str, types: Mapping[str, FieldType], values: Iterable[tuple[str, Any]]) -> Record:
    """Return a record of these values, by field; None is no value. What does not fit is named in `unfit`."""
    named = list(values)
    fit = make_fitter([(name, types[name], place) for place, (name, _) in enumerate(named)])
    return fit(key, [value for _, value in named])


def make_fitter(fields: Iterable[tuple[str, FieldType, int]]) -> Callable[[str, Sequence[Any]], Record]:
    """Return what makes records as `fit_record` does, of rows: for many of one form. `fields`: the name of each, its
    type, and its place in a row."""
    steps = [(name, _FITS[kind], place) for name, kind, place in fields]

    def fit(key: str, row: Sequence[Any]) -> Record:
        values: dict[str, Any] = {}
        unfit: list[str] = []
        for name, step, place in steps:
            value = row[place]
            if value is None:
                continue
            try:
                values[name] = step(value)
            except (ValueError, OverflowError):
                unfit.append(name)
        return Record(key, values, frozenset(unfit) if unfit else ALL_FIT)

    return fit


def fit_value(kind: FieldType, value: Any) -> Any:
    """Return a value as the field's type has it: str, float, int, bool, dates and times as text in ISO 8601, the
    latter in UTC. `value` is not None. Raises ValueError or OverflowError, whose words may quote it, for what is not
    of that type."""
    return _FITS[kind](value)


def _fit_json(value: Any) -> Any:
    if value is UNFIT:
        raise ValueError("no JSON")
    return value


def _fit_integer(value: Any) -> int:
    # The first is what nearly all of them are, a million times in a scan.
    if type(value) is str and len(value) <= MAX_DIGITS and value.isascii() and value.isdigit():
        return int(value)
    number = _fit_number(value)
    if isinstance(number, float) and not number.is_integer():
        raise ValueError("no whole number")
    return int(number)


def _fit_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("no text")  # noqa: TRY004 - what comes from a source is data
    return str(value)


def _fit_boolean(value: Any) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False, "1": True, "0": False}.get(value.strip().lower())
    if isinstance(value, int) and value in (0, 1):  # a truth value is one, too
        return bool(value)
    raise ValueError("no truth value")


def _fit_number(value: Any) -> int | float:
    if isinstance(value, bool):
        raise ValueError("no number")  # noqa: TRY004
    if isinstance(value, int):
        return value
    if isinstance(value, str) and len(value) <= MAX_DIGITS and value.strip().isascii() and "_" not in value:
        text = value.strip()
        value = int(text) if text.lstrip("+-").isdigit() else float(text)  # itself raises ValueError
    if isinstance(value, int):
        return value
    if isinstance(value, float | Decimal) and math.isfinite(value):
        return float(value)
    raise ValueError("no number")


def _fit_date(value: Any) -> str:
    if isinstance(value, datetime):
        value = value.date()
    if isinstance(value, str):
        if len(value) == 10 and value[4] == "-":  # the form that it shall have
            date.fromisoformat(value)
            return value
        value = date.fromisoformat(value.strip()[:32])
    if isinstance(value, date):
        day: date = value
        return day.isoformat()
    raise ValueError("no date")


def _fit_time(value: Any) -> str:
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip()[:64])
    if not isinstance(value, datetime):
        raise ValueError("no point in time")  # noqa: TRY004
    # Without an offset it is UTC: what else should a program on another machine take it for?
    instant: datetime = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return instant.isoformat().replace("+00:00", "Z")


_FITS: Mapping[FieldType, Callable[[Any], Any]] = {
    "text": _fit_text,
    "number": _fit_number,
    "integer": _fit_integer,
    "boolean": _fit_boolean,
    "date": _fit_date,
    "time": _fit_time,
    "json": _fit_json,
}
