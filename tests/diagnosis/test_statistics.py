"""Statistics against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.diagnosis.statistics import (
    binomial_tail,
    chance_of_order,
    fisher_exact,
    holm,
    noise_of_difference,
    rolling_median,
    slope_interval,
    tail,
    weighted_mean,
    wilson,
)
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


# Fisher's own example, a lady who told six of eight cups of tea rightly: Fisher 1935, two-sided in Agresti 2013, 3.5.2.
@pytest.mark.parametrize(
    ("table", "p"),
    [
        ((3, 1, 1, 3), 34 / 70),
        ((4, 0, 0, 4), 2 / 70),
        ((7, 0, 0, 17), 1 / math.comb(24, 7)),
        ((0, 5, 0, 9), 1.0),
        ((0, 0, 3, 4), 1.0),
    ],
)
def test_the_exact_test_agrees_with_known_values(table: tuple[int, int, int, int], p: float) -> None:
    assert fisher_exact(*table) == pytest.approx(p)


COUNT = st.integers(0, 12)


@given(COUNT, COUNT, COUNT, COUNT)
def test_the_exact_test_adds_up_all_tables_that_are_no_likelier(a: int, b: int, c: int, d: int) -> None:
    """Whole numbers against whole numbers: ways to draw each table, without a logarithm anywhere."""
    row, column, n = a + b, a + c, a + b + c + d
    ways = {
        x: math.comb(row, x) * math.comb(n - row, column - x)
        for x in range(max(0, row + column - n), min(row, column) + 1)
    }
    expected = sum(each for each in ways.values() if each <= ways[a]) / math.comb(n, column)
    assert fisher_exact(a, b, c, d) == pytest.approx(expected, rel=1e-9)
    assert fisher_exact(c, d, a, b) == pytest.approx(expected, rel=1e-9)
    assert fisher_exact(a, c, b, d) == pytest.approx(expected, rel=1e-9)


def test_the_exact_test_takes_thousands_and_refuses_what_is_no_count() -> None:
    assert fisher_exact(2500, 2500, 2500, 2500) == pytest.approx(1.0)
    assert fisher_exact(5000, 0, 0, 5000) < 1e-300
    with pytest.raises(ValueError, match="expected counts"):
        fisher_exact(1, -1, 2, 3)


def test_holm_agrees_with_an_example_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_never_lowers_a_value(values: list[float]) -> None:
    corrected = holm(values)
    for p, q in zip(values, corrected, strict=True):
        assert p <= q <= 1
    by_value = [corrected[index] for index in sorted(range(len(values)), key=lambda index: values[index])]
    assert by_value == sorted(by_value)
    assert min(corrected) == pytest.approx(min(1.0, len(values) * min(values)))


def test_the_noise_of_a_difference_is_that_of_two_shares() -> None:
    assert noise_of_difference(0.5, 0.5, 200) == pytest.approx(1.96 * math.sqrt(2 * 0.25 / 200))
    assert noise_of_difference(0.0, 0.0, 200) == 0
    assert noise_of_difference(0.2, 0.3, 0) == math.inf


def test_the_tail_of_a_binomial_adds_up_what_is_as_many_or_more() -> None:
    assert binomial_tail(3, 3, 0.2) == pytest.approx(0.008)
    assert binomial_tail(0, 9, 0.3) == pytest.approx(1.0)
    assert binomial_tail(8, 10, 0.5) == pytest.approx((45 + 10 + 1) / 1024)
