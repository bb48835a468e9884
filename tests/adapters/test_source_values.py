"""A source's values in the form that their field has: what is taken, and what is not guessed at."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.adapters.contract import FieldType
from collector.adapters.values import fit_value

VIENNA = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("kind", "value", "fit"),
    [
        ("text", "Ada", "Ada"),
        ("text", "", ""),
        ("text", 1010, "1010"),
        ("text", date(2026, 9, 21), "2026-09-21"),
        ("number", 1.5, 1.5),
        ("number", 7, 7),
        ("number", " 12.50 ", 12.5),
        ("number", Decimal("3.25"), 3.25),
        ("integer", "007", 7),
        ("integer", "-3", -3),
        ("integer", 4.0, 4),
        ("integer", "9007199254740993", 9007199254740993),
        ("boolean", True, True),
        ("boolean", 0, False),
        ("boolean", "True", True),
        ("boolean", "0", False),
        ("date", "2026-09-21", "2026-09-21"),
        ("date", datetime(2026, 9, 21, 23, tzinfo=VIENNA), "2026-09-21"),
        ("time", "2026-09-21T12:00:00+02:00", "2026-09-21T10:00:00Z"),
        ("time", "2026-09-21T12:00:00Z", "2026-09-21T12:00:00Z"),
        ("time", "2026-09-21 12:00", "2026-09-21T12:00:00Z"),
        ("time", datetime(2026, 9, 21, 12, 0, 0, 500_000, tzinfo=UTC), "2026-09-21T12:00:00.500000Z"),
        ("json", {"a": [1, None]}, {"a": [1, None]}),
    ],
)
def test_what_can_be_told_is_taken(kind: FieldType, value: Any, fit: Any) -> None:
    found = fit_value(kind, value)
    assert found == fit
    assert type(found) is type(fit)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", True),
        ("text", ["Ada"]),
        ("text", {}),
        ("number", True),
        ("number", "twelve"),
        ("number", "1_000"),
        ("number", "nan"),
        ("number", float("inf")),
        ("number", Decimal("NaN")),
        ("number", "9" * 41),
        ("number", "١٢"),
        ("integer", 1.5),
        ("integer", "1.5"),
        ("integer", []),
        ("boolean", "yes"),
        ("boolean", 2),
        ("boolean", None),
        ("date", "21.9.2026"),
        ("date", 20260921),
        ("date", "2026-02-30"),
        ("time", "noon"),
        ("time", 1_790_000_000),
        ("time", date(2026, 9, 21)),
    ],
)
def test_nothing_is_guessed(kind: FieldType, value: Any) -> None:
    with pytest.raises(ValueError):
        fit_value(kind, value)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(get_args(FieldType)), documents.filter(lambda value: value is not None))
def test_whatever_comes(kind: FieldType, value: Any) -> None:
    """It fits or it does not; what fits can be written as JSON, and fits again, as it is."""
    try:
        found = fit_value(kind, value)
    except (ValueError, OverflowError):
        return
    msgspec.json.encode(found)
    if kind != "json":
        assert fit_value(kind, found) == found
