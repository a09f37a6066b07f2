"""A share of puzzles with the interval that its number of puzzles leaves open."""

from __future__ import annotations

from dataclasses import dataclass

from hrm_sweep.diagnosis.statistics import wilson

_EXACT = "exact_accuracy"


@dataclass(frozen=True)
class Share:
    """A share of `n` puzzles that were solved, with its 95 % interval (Wilson)."""

    share: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.share * self.n, self.n)

    def __str__(self) -> str:
        low, high = self.interval
        solved = round(self.share * self.n)
        return f"{self.share:.1%} ({solved} of {self.n}; 95 % interval {low:.1%} to {high:.1%})"


def share_with_interval(share: float, n: int) -> str:
    """`84.5% (169 of 200; 95 % interval 78.9% to 88.9%)`."""
    return str(Share(share, n))


def is_share(metric: str) -> bool:
    """Whether a metric is a share of puzzles, so that its interval follows from their number. That of cells is none:
    the cells of one puzzle are right or wrong together."""
    return metric == _EXACT
