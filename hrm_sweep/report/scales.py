"""Axes of a chart: from numbers to places on the page, and the numbers worth writing beside an axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LOG_FROM_RATIO = 200.0  # values further apart than this cannot be read on a linear axis
_LARGEST, _SMALLEST = 1e150, 1e-150  # beyond them differences and ratios overflow


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] to [begin, end] on the page. A logarithmic scale puts 0 and less at its beginning."""

    low: float
    high: float
    begin: float
    end: float
    is_log: bool = False

    def __call__(self, values: Floats | float) -> Floats:
        """Places of finite values, rounded to a tenth of a unit; a value outside is moved to the edge."""
        numbers = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        low, high = self.low, self.high
        if self.is_log:
            numbers, low, high = np.log10(numbers), math.log10(low), math.log10(high)
        return np.round(self.begin + (numbers - low) / (high - low) * (self.end - self.begin), 1)

    def ticks(self, most: int) -> list[float]:
        """At most `most` + 1 round numbers within the scale."""
        return _decades(self.low, self.high, most) if self.is_log else _round_numbers(self.low, self.high, most)


def linear(low: float, high: float, begin: float, end: float) -> Scale:
    low, high = max(low, -_LARGEST), min(high, _LARGEST)
    if high - low <= _SMALLEST:
        half = max(abs(low) / 2, 0.5)
        low, high = low - half, low + half
    return Scale(low, high, begin, end)


def fitted(values: Floats, begin: float, end: float, *, log: bool | None = None) -> Scale:
    """A scale that holds all finite values with a little room. `log` None: logarithmic when the values ask for it."""
    finite = np.clip(values[np.isfinite(values)], -_LARGEST, _LARGEST)
    finite = np.where(np.abs(finite) < _SMALLEST, 0.0, finite)
    positive = finite[finite > 0]
    if log is None:
        log = len(positive) > 0 and finite.min() >= 0 and positive.max() / np.median(positive) > LOG_FROM_RATIO
    if log and len(positive):
        low, high = math.log10(positive.min()), math.log10(positive.max())
        room = max(0.05 * (high - low), 0.1)
        below = 0.5 if len(positive) < len(finite) else 0.0  # zeros get a place of their own
        return Scale(10 ** (low - room - below), 10 ** (high + room), begin, end, is_log=True)
    if not len(finite):
        return Scale(0.0, 1.0, begin, end)
    low, high = float(finite.min()), float(finite.max())
    if low == high == 0:
        return Scale(0.0, 1.0, begin, end)
    if low >= 0 and (low < 0.5 * high or low == high):
        low = 0.0
    room = 0.04 * (high - low)
    return linear(low - room if low else low, high + room, begin, end)


def _round_numbers(low: float, high: float, most: int) -> list[float]:
    span = high - low
    unit = 10.0 ** math.floor(math.log10(span / most))
    step = next(unit * factor for factor in (1, 2, 5, 10, 20) if span / (unit * factor) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _decades(low: float, high: float, most: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first < 1:
        numbers = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
        return [number for number in numbers if low <= number <= high]
    step = max(1, math.ceil((last - first) / most))
    return [10.0**power for power in range(first, last + 1, step)]


def spelled(value: float) -> str:
    """A number as short as it may be: 0.05, 12, 26,041, 3e-07."""
    if 1e4 <= abs(value) < 1e6 and value == round(value):
        return f"{value:,.0f}"
    return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
