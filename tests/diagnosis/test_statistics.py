"""Statistics against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.diagnosis.statistics import chance_of_order, rolling_median, slope_interval, tail, weighted_mean, wilson
from hrm_sweep.runs.formats import Series

VALUES = st.lists(st.integers(-5, 5), min_size=1, max_size=12).map(lambda values: np.array(values, dtype=float))


def series(values: list[float] | np.ndarray, every: int = 10) -> Series:
    return Series(np.arange(1, len(values) + 1) * every, np.array(values, dtype=float))


@given(VALUES, VALUES)
def test_the_chance_of_order_counts_all_pairs(upper: np.ndarray, lower: np.ndarray) -> None:
    pairs = [1.0 if u > v else 0.5 if u == v else 0.0 for u in upper for v in lower]
    assert chance_of_order(upper, lower) == pytest.approx(np.mean(pairs))


@given(st.integers(0, 50), st.integers(1, 50))
def test_the_wilson_interval_holds_the_share_and_stays_a_share(successes: int, more: int) -> None:
    n = successes + more
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1


# Newcombe 1998, table I, method 3: 95 % intervals by Wilson's score method.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_interval_agrees_with_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-4)


def test_the_slope_of_a_line_is_known_exactly_and_outliers_do_not_move_it() -> None:
    line = [5 - 0.02 * step for step in range(10, 410, 10)]
    low, slope, high = slope_interval(series(line))
    assert (low, slope, high) == pytest.approx((-0.02, -0.02, -0.02))
    line[7] = 100.0
    assert slope_interval(series(line))[1] == pytest.approx(-0.02)


def test_the_slope_of_noise_may_be_zero() -> None:
    noise = np.random.default_rng(0).normal(size=200)
    low, _, high = slope_interval(series(noise))
    assert low < 0 < high


def test_a_long_series_is_thinned_without_losing_its_slope() -> None:
    assert slope_interval(series([3.0 * n for n in range(20_000)], every=1))[1] == pytest.approx(3.0)


def test_a_weighted_mean_ignores_what_is_absent() -> None:
    value, weight = series([1.0, 2.0, 3.0]), series([1.0, 3.0])
    assert weighted_mean(value, weight) == pytest.approx((1 + 6 + 3) / 5)
    assert weighted_mean(value, None) == 2
    assert math.isnan(weighted_mean(series([]), None))


def test_rolling_medians_have_one_value_a_window() -> None:
    assert rolling_median(np.array([1.0, 9.0, 2.0, 3.0]), 3).tolist() == [2.0, 3.0]
    assert rolling_median(np.array([1.0, 9.0]), 3).tolist() == [5.0]


def test_the_tail_is_a_share_of_the_steps_and_never_less_than_asked() -> None:
    values = series([float(n) for n in range(1, 101)])
    assert tail(values, 0.2).value.tolist() == [float(n) for n in range(81, 101)]
    assert len(tail(values, 0.0, least=5)) == 5
