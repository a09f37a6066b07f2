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
