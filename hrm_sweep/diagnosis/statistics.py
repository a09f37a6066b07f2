"""Statistics that rules share. Numbers in, numbers out: nothing here knows an HRM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hrm_sweep.evaluation.share import wilson as wilson  # one of them
from hrm_sweep.runs.formats import Series

Floats = npt.NDArray[np.float64]


def weighted_mean(value: Series, weight: Series | None) -> float:
    """Mean of `value`, each weighted by `weight` at the same step; a step without a weight counts 1. NaN when empty."""
    if not len(value):
        return math.nan
    weights = np.ones(len(value)) if weight is None else np.nan_to_num(weight.at(value.step), nan=1.0)
    total = float(weights.sum())
    return float(value.value @ weights) / total if total > 0 else math.nan


def binomial_sd(share: float, n: float) -> float:
    """Standard deviation of an observed share when n were drawn."""
    return math.sqrt(max(0.0, share * (1 - share)) / n) if n > 0 else math.inf


def chance_of_order(upper: Floats, lower: Floats) -> float:
    """Chance that a random value of `upper` lies above a random one of `lower`, ties counted half (the area under the
    ROC curve). 0.5 means that the values tell nothing; NaN when either is empty."""
    if not len(upper) or not len(lower):
        return math.nan
    below = np.searchsorted(np.sort(lower), upper, side="left") + np.searchsorted(np.sort(lower), upper, side="right")
    return float(below.sum()) / (2 * len(upper) * len(lower))


def rolling_median(values: Floats, width: int) -> Floats:
    """Medians of every `width` neighbours: (N - width + 1,), or the median of all when there are fewer."""
    if len(values) <= width:
        return np.array([np.median(values)]) if len(values) else np.zeros(0)
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(values, width), axis=1), dtype=np.float64)


def tail(series: Series, share: float, least: int = 1) -> Series:
    """The last `share` of a series by step (from its first to its last), at least its last `least` values."""
    if not len(series):
        return series
    begin = series.last_step - share * (series.last_step - int(series.step[0]))
    keep = max(int((series.step >= begin).sum()), min(least, len(series)))
    return Series(series.step[-keep:], series.value[-keep:])


def slope_interval(series: Series, points: int = 120) -> tuple[float, float, float]:
    """(low, median, high) slope per step: the Theil-Sen estimate with its 95 % interval (Sen 1968).

    A long series is thinned to `points` block medians first, because all pairs are taken.
    """
    blocks = np.array_split(np.arange(len(series)), min(points, len(series)))
    x = np.array([series.step[block].mean() for block in blocks])
    y = np.array([np.median(series.value[block]) for block in blocks])
    i, j = np.triu_indices(len(x), k=1)
    keep = x[j] != x[i]
    if not keep.any():
        return 0.0, 0.0, 0.0
    slopes = np.sort((y[j] - y[i])[keep] / (x[j] - x[i])[keep])
    n = len(x)
    half = 1.96 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18) / 2
    low = max(0, math.floor(len(slopes) / 2 - half))
    high = min(len(slopes) - 1, math.ceil(len(slopes) / 2 + half))
    return float(slopes[low]), float(np.median(slopes)), float(slopes[high])


def noise_of_difference(one: float, other: float, n: float, z: float = 1.96) -> float:
    """The largest difference between two shares, each of n, that chance alone explains in 95 of 100 cases: z standard
    errors of a difference, under the hypothesis that both have the same share."""
    pooled = min(1.0, max(0.0, (one + other) / 2))
    return z * math.sqrt(2 * pooled * (1 - pooled) / n) if n > 0 else math.inf


@lru_cache(maxsize=8)
def _log_factorials(n: int) -> Floats:
    return np.array([math.lgamma(k + 1) for k in range(n + 1)])


def fisher_exact(a: int, b: int, c: int, d: int) -> float:
    """p value of the table [[a, b], [c, d]] under independence: Fisher's exact test (Fisher 1935), two-sided.

    The chance of all tables with the same sums by row and column that are no likelier than this one. 1 where a row or
    a column is empty. Raises ValueError for a negative count.
    """
    if min(a, b, c, d) < 0:
        raise ValueError(f"expected counts, found {[[a, b], [c, d]]}")
    row, column, n = a + b, a + c, a + b + c + d
    log_factorial = _log_factorials(n)
    first = np.arange(max(0, row + column - n), min(row, column) + 1)  # what may stand in place of a
    fixed = log_factorial[[row, n - row, column, n - column]].sum() - log_factorial[n]
    cells = (first, row - first, column - first, n - row - column + first)
    chance = np.exp(fixed - sum(log_factorial[cell] for cell in cells))
    observed = chance[a - first[0]]
    # A table that is as likely on paper differs by rounding: by less than 1e-7 of itself for 10,000 trials.
    return min(1.0, float(chance[chance <= observed * (1 + 1e-7)].sum()))


def binomial_tail(successes: int, n: int, share: float) -> float:
    """The chance of at least so many successes in n independent draws, each with the chance `share`."""
    return min(1.0, sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(successes, n + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979): the chance that any true hypothesis among them has a corrected
    value of 0.05 or less is 0.05 at most, whatever they have to do with each other."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
