"""How a series of measurements is summed up: median, quartiles, least; and the ratio of two series measured in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, first and third quartile, and the least, which is the best guess at an idle machine."""

    median: float
    low: float
    high: float
    least: float
    count: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """One series against another. `value` is the median of the one over the median of the other; `low` and `high` are
    the quartiles of the ratios round by round, which say how far the value may be trusted; `least` compares the
    leasts."""

    value: float
    low: float
    high: float
    least: float | None


def sum_up(values: Sequence[float]) -> Spread:
    """Sum up a series of at least one value. Quartiles are interpolated between the values themselves."""
    low, high = _quartiles(values)
    return Spread(median(values), low, high, min(values), len(values))


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Ratio | None:
    """Compare two series of the same rounds. None where the other's median is nothing: there is no ratio to nothing."""
    if median(theirs) <= 0:
        return None
    by_round = [one / other for one, other in zip(ours, theirs, strict=True) if other > 0]
    low, high = _quartiles(by_round)
    least = min(ours) / min(theirs) if min(theirs) > 0 else None
    return Ratio(median(ours) / median(theirs), low, high, least)


def subtract_baseline(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Take the median of an empty page off each value; what is left is not below nothing."""
    floor = median(baseline) if baseline else 0.0
    return [max(0.0, value - floor) for value in values]


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high
