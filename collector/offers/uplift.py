"""Shown against held out: how much more, and within which bounds that is known. Pure.

Rates: the difference of two proportions with Newcombe's hybrid score interval, his method 10, which keeps its 95 %
with small arms, unequal ones and shares near 0 as well (R. G. Newcombe, Interval estimation for the difference between
independent proportions, Statistics in Medicine 17, 1998). Values: the difference of two means with Welch's interval,
for arms of unequal size and spread (B. L. Welch, Biometrika 34, 1947). Values of orders are skewed, and their mean is
close to normal only with some dozens of buyers: with fewer no interval is given.
"""

from __future__ import annotations

import math

import msgspec
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
Z = float(ndtri(0.5 + CONFIDENCE / 2))
POWER_Z = float(ndtri(0.8))
LEAST_PEOPLE = 20
"""Fewer in an arm, and nothing is said of the difference, whatever the interval."""
LEAST_BUYERS = 30


class Arm(msgspec.Struct, frozen=True):
    """One side. `value_mean`, `value_deviation`: over all its people, in money."""

    people: int = 0
    converted: int = 0
    value: float = 0.0
    value_mean: float = 0.0
    value_deviation: float = 0.0
    clicked: int = 0
    waiting: int = 0

    @property
    def rate(self) -> float:
        """The share of people who reached the goal."""
        return self.converted / self.people if self.people else 0.0


class Interval(msgspec.Struct, frozen=True):
    """A difference, shown less held out, and the 95 % interval around it."""

    estimate: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        """Whether it leaves no difference out."""
        return self.low > 0 or self.high < 0


def find_wilson(converted: int, people: int) -> tuple[float, float]:
    """Return Wilson's score interval of a share. `people`: at least 1."""
    share = converted / people
    middle = share + Z * Z / (2 * people)
    spread = Z * math.sqrt(share * (1 - share) / people + Z * Z / (4 * people * people))
    whole = 1 + Z * Z / people
    # At the ends it is exact: no rounding may put 0 or 1 outside.
    low = 0.0 if converted == 0 else (middle - spread) / whole
    return low, 1.0 if converted == people else (middle + spread) / whole


def compare_rates(shown: Arm, held_out: Arm) -> Interval | None:
    """Return the difference of the shares of people who reached the goal; None where an arm is empty."""
    if not shown.people or not held_out.people:
        return None
    (low_a, high_a), (low_b, high_b) = (find_wilson(one.converted, one.people) for one in (shown, held_out))
    a, b = shown.rate, held_out.rate
    return Interval(a - b, a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b))


def compare_values(shown: Arm, held_out: Arm) -> Interval | None:
    """Return the difference of the mean values of a person; None with too few buyers in an arm."""
    if min(shown.converted, held_out.converted) < LEAST_BUYERS:
        return None
    a, b = (one.value_deviation**2 / one.people for one in (shown, held_out))
    difference = shown.value_mean - held_out.value_mean
    if a + b == 0:
        return Interval(difference, difference, difference)
    freedom = (a + b) ** 2 / (a * a / (shown.people - 1) + b * b / (held_out.people - 1))
    spread = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * math.sqrt(a + b)
    return Interval(difference, difference - spread, difference + spread)


def count_needed(shown: Arm, held_out: Arm) -> int | None:
    """Return how many people held out would show a difference such as is seen now, with the two arms as unequal as they
    are, four times in five by the normal approximation; None where there is none to be seen."""
    difference = shown.rate - held_out.rate
    if not shown.people or not held_out.people or not difference:
        return None
    ratio = shown.people / held_out.people
    spread = shown.rate * (1 - shown.rate) / ratio + held_out.rate * (1 - held_out.rate)
    return max(LEAST_PEOPLE, math.ceil(((Z + POWER_Z) / difference) ** 2 * spread))


def is_enough(shown: Arm, held_out: Arm) -> bool:
    """Whether anything can be said of the difference of rates."""
    difference = compare_rates(shown, held_out)
    return difference is not None and difference.is_sure and min(shown.people, held_out.people) >= LEAST_PEOPLE


def say(shown: Arm, held_out: Arm) -> str:
    """Return in a sentence or two what can be said."""
    difference = compare_rates(shown, held_out)
    if not shown.people and not held_out.people:
        return "Nobody has come by it in these days."
    if not held_out.people:
        return "Nobody was held out: there is nothing to compare with. Give the offer a hold_out, such as 0.1."
    if difference is None:
        return "Nobody was shown it: there is nothing to compare."
    bounds = f"{_points(difference.low)} to {_points(difference.high)} points"
    if is_enough(shown, held_out):
        way = "more" if difference.estimate > 0 else "less"
        return (
            f"Whoever was shown it reached the goal {way} often: by {_points(difference.estimate)} points"
            f" (95 % interval: {bounds})."
        )
    needed = count_needed(shown, held_out)
    more = f" About {needed:,} people held out would tell a difference such as this one." if needed else ""
    return f"Too few to tell: the difference may be anything from {bounds}.{more}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
