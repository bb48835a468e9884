"""Differences and their intervals, against published examples, another implementation, and by drawing many samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from collector.offers.uplift import (
    LEAST_BUYERS,
    LEAST_PEOPLE,
    Arm,
    compare_rates,
    compare_values,
    count_needed,
    find_wilson,
    is_enough,
    say,
)


def make_arm(converted: int, people: int) -> Arm:
    return Arm(people=people, converted=converted)


@pytest.mark.parametrize(
    ("shown", "held_out", "low", "high"),
    [
        # Newcombe 1998, table II, method 10.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_rates_as_published(shown: tuple[int, int], held_out: tuple[int, int], low: float, high: float) -> None:
    """The examples of the paper, to its four digits."""
    found = compare_rates(make_arm(*shown), make_arm(*held_out))
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


_arms = st.integers(1, 500).flatmap(lambda people: st.tuples(st.integers(0, people), st.just(people)))


@given(_arms, _arms)
def test_rates_keep_their_bounds(one: tuple[int, int], other: tuple[int, int]) -> None:
    """The estimate lies inside, everything between -1 and 1, and the arms exchanged give the same turned round."""
    found = compare_rates(make_arm(*one), make_arm(*other))
    turned = compare_rates(make_arm(*other), make_arm(*one))
    assert found is not None
    assert turned is not None
    assert -1 - 1e-12 <= found.low <= found.estimate <= found.high <= 1 + 1e-12
    assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))
    low, high = find_wilson(*one)
    assert 0 <= low <= one[0] / one[1] <= high <= 1
    interval = stats.binomtest(*one).proportion_ci(method="wilson")
    assert (low, high) == (pytest.approx(interval.low, abs=1e-12), pytest.approx(interval.high, abs=1e-12))


def test_rates_cover_what_they_say() -> None:
    """Of 4,000 experiments with a known difference 95 % have it inside; at most 1 % fewer or 3 % more by the method."""
    draws = np.random.default_rng(7)
    shown, held_out = draws.binomial(900, 0.08, 4_000), draws.binomial(100, 0.05, 4_000)
    inside = 0
    for a, b in zip(shown.tolist(), held_out.tolist(), strict=True):
        found = compare_rates(make_arm(a, 900), make_arm(b, 100))
        assert found is not None
        inside += found.low <= 0.03 <= found.high
    assert 0.94 <= inside / 4_000 <= 0.98


def _sum_up(values: np.ndarray) -> Arm:
    return Arm(
        people=len(values),
        converted=int((values > 0).sum()),
        value_mean=float(values.mean()),
        value_deviation=float(values.std(ddof=1)),
    )


def test_values_as_scipy_has_them() -> None:
    """Welch's interval of two samples, mostly zeros, of unequal size and spread."""
    draws = np.random.default_rng(11)
    shown = draws.binomial(1, 0.1, 2_000) * draws.lognormal(3.5, 0.8, 2_000)
    held_out = draws.binomial(1, 0.2, 250) * draws.lognormal(3, 0.5, 250)
    found = compare_values(_sum_up(shown), _sum_up(held_out))
    expected = stats.ttest_ind(shown, held_out, equal_var=False).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.estimate == pytest.approx(shown.mean() - held_out.mean())


def test_values_of_few_buyers_are_not_compared() -> None:
    """One fewer than is needed, in either arm."""
    enough = Arm(people=400, converted=LEAST_BUYERS, value_mean=1, value_deviation=2)
    few = Arm(people=400, converted=LEAST_BUYERS - 1, value_mean=1, value_deviation=2)
    assert compare_values(enough, enough) is not None
    assert compare_values(enough, few) is None
    assert compare_values(few, enough) is None
    same = Arm(people=400, converted=400, value_mean=5, value_deviation=0)
    found = compare_values(same, same)
    assert found is not None
    assert (found.low, found.high) == (0, 0)


@pytest.mark.parametrize(
    ("shown", "held_out", "words"),
    [
        ((0, 0), (0, 0), "Nobody has come by it"),
        ((5, 100), (0, 0), "Nobody was held out"),
        ((0, 0), (5, 100), "Nobody was shown it"),
        ((10, 200), (4, 100), "Too few to tell: the difference may be anything from -5.3 to +5.6 points. About"),
        ((5, 100), (5, 100), "Too few to tell"),
        ((LEAST_PEOPLE, LEAST_PEOPLE), (0, LEAST_PEOPLE - 1), "Too few to tell"),
        ((1_000, 9_000), (50, 1_000), "more often: by +6.1 points (95 % interval: +4.5 to +7.5 points)."),
        ((450, 9_000), (100, 1_000), "less often: by -5.0 points"),
    ],
)
def test_what_is_said(shown: tuple[int, int], held_out: tuple[int, int], words: str) -> None:
    """In plain words; nothing of a difference that few people show."""
    assert words in say(make_arm(*shown), make_arm(*held_out))


def test_how_many_would_tell() -> None:
    """So many people show a difference of that size about three times in four."""
    needed = count_needed(make_arm(900, 9_000), make_arm(70, 1_000))
    assert needed is not None
    draws = np.random.default_rng(3)
    shown, held_out = draws.binomial(9 * needed, 0.10, 2_000), draws.binomial(needed, 0.07, 2_000)
    told = sum(
        is_enough(make_arm(a, 9 * needed), make_arm(b, needed))
        for a, b in zip(shown.tolist(), held_out.tolist(), strict=True)
    )
    assert 0.68 <= told / 2_000 <= 0.86
    assert count_needed(make_arm(5, 100), make_arm(5, 100)) is None
    assert count_needed(make_arm(5, 100), make_arm(0, 0)) is None
