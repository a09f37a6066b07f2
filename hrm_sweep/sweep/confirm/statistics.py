"""The statistics of a confirmation. Numbers in, numbers out: nothing here knows a study.

A score is the mean of a run over the unseen puzzles; higher is better everywhere here. What is inferred is the mean
over seeds and puzzles, so both count as drawn: the seeds of training, and the puzzles of the task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from hrm_sweep.diagnosis.statistics import chance_of_order

Floats = npt.NDArray[np.float64]
Solved = npt.NDArray[np.bool_]

BOOTSTRAPS = 2000
FEWEST_FOR_BOOTSTRAP = 5
"""Two or three seeds drawn again are those seeds: an interval of 100 to 100 % would be shown of what nobody knows."""
_SEED = 20251125  # of the resampling, so that the same runs always give the same interval
_POWER = 0.8
MOST_SEEDS = 1000  # beyond so many, saying how many seeds it would take helps nobody


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


def student_t_tail(t: float, df: int) -> float:
    """P(T > t) of Student's t with `df` degrees of freedom, to 1e-15: the finite sums of Abramowitz and Stegun 26.7.3
    and 26.7.4."""
    if df < 1:
        raise ValueError(f"expected a degree of freedom or more, found {df}")
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    angle = math.atan(abs(t) / math.sqrt(df))
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine, cosine) if df % 2 else (1.0, 1.0)
    for k in range(2 + df % 2, df - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if df == 1:
        total = 0.0
    inside = 2 / math.pi * (angle + sine * total) if df % 2 else sine * total
    tail = max(0.0, (1 - inside) / 2)
    return tail if t >= 0 else 1 - tail


@lru_cache(maxsize=1024)
def student_t_quantile(tail: float, df: int) -> float:
    """The t above which a share `tail` (above 0, below 0.5) of Student's t lies: by halving, and beyond a hundred
    degrees of freedom by its expansion around the normal distribution (Abramowitz and Stegun 26.7.5)."""
    if not 0 < tail < 0.5:
        raise ValueError(f"expected a tail between 0 and 0.5, found {tail}")
    if df > 100:
        z = NormalDist().inv_cdf(1 - tail)
        return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    low, high = 0.0, 1.0
    while student_t_tail(high, df) > tail:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_t_tail(middle, df) > tail else (low, middle)
    return (low + high) / 2


def mean_interval(scores: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Student's interval of the mean over seeds, on these puzzles; None for fewer than two scores."""
    if len(scores) < 2:
        return None
    values = np.asarray(scores, dtype=np.float64)
    half = (
        student_t_quantile((1 - confidence) / 2, len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    )
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def interquartile_mean(scores: Floats) -> Floats:
    """The mean of the middle half along the last axis: a quarter of the values, rounded down, is left out at each end
    (as in Agarwal et al. 2021, arXiv 2108.13264)."""
    n = scores.shape[-1]
    cut = n // 4
    return np.asarray(np.sort(scores, axis=-1)[..., cut : n - cut].mean(axis=-1), dtype=np.float64)


def interquartile_interval(scores: Sequence[float]) -> Interval | None:
    """95 % percentile bootstrap over seeds; None for fewer than `FEWEST_FOR_BOOTSTRAP`. Of few seeds it is too narrow,
    as every bootstrap is; the interval of the mean is the one to go by."""
    values = np.asarray(scores, dtype=np.float64)
    if len(values) < FEWEST_FOR_BOOTSTRAP:
        return None
    return _resampled(lambda draw: float(interquartile_mean(values[draw.integers(len(values), size=len(values))])))


def improvement(scores: Sequence[float], over: Sequence[float]) -> tuple[float, Interval | None] | None:
    """The chance that a run of the one beats a run of the other, whatever their seeds, ties counted half, with a 95 %
    percentile bootstrap over the seeds of both (Agarwal et al. 2021). None where one of them has fewer than two seeds;
    no interval where one has fewer than `FEWEST_FOR_BOOTSTRAP`."""
    ours, theirs = np.asarray(scores, dtype=np.float64), np.asarray(over, dtype=np.float64)
    if len(ours) < 2 or len(theirs) < 2:
        return None

    def once(draw: np.random.Generator) -> float:
        return chance_of_order(
            ours[draw.integers(len(ours), size=len(ours))], theirs[draw.integers(len(theirs), size=len(theirs))]
        )

    is_enough = min(len(ours), len(theirs)) >= FEWEST_FOR_BOOTSTRAP
    return chance_of_order(ours, theirs), _resampled(once) if is_enough else None


def _resampled(once: Callable[[np.random.Generator], float]) -> Interval:
    draw = np.random.default_rng(_SEED)
    low, high = np.quantile([once(draw) for _ in range(BOOTSTRAPS)], [0.025, 0.975])
    return Interval(float(low), float(high))


@dataclass(frozen=True)
class Difference:
    """How much better one configuration is than another, from runs of both.

    mean          of the one minus that of the other.
    runs          (of the one, of the other).
    variances     between runs with different seeds: (of the one, of the other).
    puzzle_error  standard error that comes from the puzzles being a sample; 0 where scores are not known by puzzle.
    puzzles       how many; 0 where they are not known.
    """

    mean: float
    runs: tuple[int, int]
    variances: tuple[float, float]
    puzzle_error: float = 0.0
    puzzles: int = 0

    @property
    def is_known(self) -> bool:
        """Whether it can be said how sure it is: two runs of each tell how far runs lie apart."""
        return min(self.runs) >= 2

    @property
    def error(self) -> float:
        """Standard error of the mean over seeds and puzzles: these are crossed, so their variances add up. What they
        have in common is counted in both, which makes it a little too large (Owen 2007)."""
        return math.sqrt(sum(variance for variance, _ in self._parts()))

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the error (Welch 1947, Satterthwaite 1946), rounded down."""
        parts = self._parts()
        total = sum(variance for variance, _ in parts)
        spread = sum(variance**2 / df for variance, df in parts)
        return max(1, math.floor(total**2 / spread)) if spread > 0 else max(1, min(self.runs) - 1)

    def _parts(self) -> list[tuple[float, int]]:
        """(variance, degrees of freedom) of what makes up the error."""
        seeds = [(found / n, n - 1) for found, n in zip(self.variances, self.runs, strict=True) if n >= 2]
        return [*seeds, (self.puzzle_error**2, self.puzzles - 1)] if self.puzzles >= 2 else seeds

    @property
    def p(self) -> float:
        """One-sided p value of "not better", by Welch's t test. 1 where nothing is known.

        It takes runs for roughly normal. Freedom from that would take more seeds than anybody trains: with five seeds a
        sign-flip test cannot go below 1/32. It makes no use of the seeds being the same ones, which can only make it
        more careful where they have something in common, and doubles what it knows of the scatter.
        """
        if not self.is_known or self.mean <= 0:
            return 1.0
        return student_t_tail(self.mean / self.error if self.error > 0 else math.inf, self.freedom)

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """None where nothing is known."""
        if not self.is_known:
            return None
        half = student_t_quantile((1 - confidence) / 2, self.freedom) * self.error
        return Interval(self.mean - half, self.mean + half)

    def seeds_needed(self, level: float) -> int | None:
        """How many seeds it would take to tell a difference of this size at this one-sided level in four of five cases;
        None when it is more than 1000, or when the puzzles are too few however many seeds there are."""
        if not self.is_known or self.mean == 0:
            return None

        def is_enough(n: int) -> bool:
            then = replace(self, runs=(n, n))
            quantiles = student_t_quantile(level, then.freedom) + student_t_quantile(1 - _POWER, then.freedom)
            return quantiles * then.error <= abs(self.mean)

        few, many = 1, MOST_SEEDS
        if not is_enough(many):
            return None
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (few, middle) if is_enough(middle) else (middle, many)
        return many


def difference(
    ours: Sequence[float], theirs: Sequence[float], solved: tuple[Solved, Solved] | None = None
) -> Difference:
    """Compare the runs of two configurations.

    ours, theirs  scores of runs with different seeds.
    solved        both (runs, puzzles): which puzzles each run solved, where scores are shares of puzzles solved.
    """
    if not ours or not theirs:
        return Difference(0.0, (len(ours), len(theirs)), (0.0, 0.0))
    first, second = (float(np.var(scores, ddof=1)) if len(scores) > 1 else 0.0 for scores in (ours, theirs))
    found = Difference(float(np.mean(ours)) - float(np.mean(theirs)), (len(ours), len(theirs)), (first, second))
    if solved is None or solved[0].shape[1] < 2:
        return found
    by_puzzle = solved[0].mean(axis=0) - solved[1].mean(axis=0)  # (puzzles,)
    error = float(by_puzzle.std(ddof=1)) / math.sqrt(len(by_puzzle))
    return replace(found, puzzle_error=error, puzzles=len(by_puzzle))


@dataclass(frozen=True)
class PuzzleComparison:
    """Two configurations on the same puzzles, run by run with the same seed.

    both, only_first, only_second, neither  mean number of puzzles, of a pair of runs.
    difference  in the share solved, with its interval.
    """

    seeds: int
    puzzles: int
    both: float
    only_first: float
    only_second: float
    neither: float
    difference: float
    interval: Interval


def compare_puzzles(first: Solved, second: Solved) -> PuzzleComparison:
    """Puzzles that only one of the two solves, which is what tells two models apart (as in McNemar 1947).

    first, second  (seeds, puzzles), the same seeds and puzzles.

    Answers of one model stand and fall together, so counting all pairs as independent would claim far too much. The
    interval resamples seeds and puzzles, each as a whole: the bootstrap of crossed factors (Owen 2007, "pigeonhole").
    """
    seeds, puzzles = int(first.shape[0]), int(first.shape[1])
    gaps = first.astype(np.float64) - second

    def once(draw: np.random.Generator) -> float:
        by_puzzle = gaps[draw.integers(seeds, size=seeds)].mean(axis=0)
        return float(by_puzzle[draw.integers(puzzles, size=puzzles)].mean())

    def count(which: Solved) -> float:
        return float(np.count_nonzero(which)) / seeds

    return PuzzleComparison(
        seeds=seeds,
        puzzles=puzzles,
        both=count(first & second),
        only_first=count(first & ~second),
        only_second=count(~first & second),
        neither=count(~first & ~second),
        difference=float(gaps.mean()),
        interval=_resampled(once),
    )
