"""A share of puzzles, and how sure their number makes it. Needs nothing but arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


def wilson(successes: float, n: float, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share of which `successes` of `n` were seen (Wilson 1927); (0, 1) when nothing was seen."""
    if not n >= 1:
        return 0.0, 1.0
    share = min(1.0, max(0.0, successes / n))
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # The interval holds the share itself, which rounding may leave out at 0 and at 1.
    return max(0.0, min(share, (centre - half) / scale)), min(1.0, max(share, (centre + half) / scale))


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test (1947): the chance that of the puzzles that only one of two solves so uneven
    a part falls to one of them, were both equally good. 1 where there is no such puzzle."""
    n = only_first + only_second
    each = n * math.log(0.5)
    tail = sum(
        math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + each)
        for k in range(max(only_first, only_second), n + 1)
    )
    return min(1.0, 2 * tail)


@dataclass(frozen=True)
class Share:
    """A share of which `n` puzzles tell, with its 95 % interval (Wilson).

    Cells of one puzzle stand and fall together, so for a share of cells, too, n is the number of puzzles: its interval
    is wider than it would have to be, never narrower.
    """

    share: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.share * self.n, self.n)

    @property
    def standard_error(self) -> float:
        """sqrt(p (1 - p) / n). Of a share of 0 or 1 p is smoothed by Laplace's rule of succession, (successes + 1) /
        (n + 2), for the formula would take it to be known without error; the result is about 1 / n, as it is for one
        puzzle more or less."""
        p = self.share if 0 < self.share < 1 else (self.share * self.n + 1) / (self.n + 2)
        return math.sqrt(p * (1 - p) / self.n)

    def __str__(self) -> str:
        low, high = self.interval
        solved = round(self.share * self.n)
        return f"{self.share:.1%} ({solved:,} of {self.n:,}; 95 % interval {low:.1%} to {high:.1%})"

    def to_mapping(self) -> dict[str, Any]:
        low, high = self.interval
        return {"share": self.share, "n": self.n, "low": low, "high": high}


def is_accuracy(metric: str) -> bool:
    """Whether a metric is an accuracy, of puzzles or of cells, of which 0 is nothing at all."""
    return "accuracy" in metric


def is_share(metric: str) -> bool:
    """Whether a metric is a share of puzzles, so that its interval follows from their number. That of cells is none:
    the cells of one puzzle are right or wrong together."""
    return metric == "exact_accuracy"
