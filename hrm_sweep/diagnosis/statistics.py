"""Statistics that rules share. Numbers in, numbers out: nothing here knows an HRM."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

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


def wilson(successes: float, n: float, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share of which `successes` of `n` were seen (Wilson 1927); (0, 1) when nothing was seen."""
    if not n >= 1:
        return 0.0, 1.0
    share = min(1.0, max(0.0, successes / n))
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
