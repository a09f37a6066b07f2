"""Where in a search space trials end in the same bad way: the best split of a parameter, tested for chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np
import numpy.typing as npt

from hrm_sweep.diagnosis.statistics import fisher_exact, holm
from hrm_sweep.diagnosis.study_evidence import Scalar, StudyEvidence, StudyParameter, StudyTrial, is_number
from hrm_sweep.runs import Cause

SIGNIFICANT = 0.05
MOST_SPLITS = 50
"""Thresholds tried for one parameter: all between neighbours up to here, evenly many trials apart beyond. More cost
time and, by the correction, power; a border is then known to 2 % of the trials."""

MOST_BAND_BORDERS = 12
"""Of two borders every pair is a test, 66 of 12: a learning rate can be too low and too high in one study, and neither
half of the failures stands out against the other. All pairs of 50 would cost more power than the bands bring."""

LEAST_TRIALS_OF_A_KIND = 3
"""Two trials that end alike cannot be significant: of 20 trials, any two have p = 0.005 and there are 20 splits."""

SHARE_INSIDE = 0.5
RATIO_OUTSIDE = 1 / 3
"""In a large study the smallest difference is significant. A region is worth naming where every other trial ends so,
and three times as many as elsewhere."""


class Relation(StrEnum):
    ABOVE = ">"
    BELOW = "<"
    AT_LEAST = ">="
    AT_MOST = "<="
    EQUAL = "="
    OUTSIDE = "outside"


@dataclass(frozen=True)
class Region:
    """A part of a search space: where one parameter is above, below or equal to `value`, or outside `value` to
    `end`."""

    parameter: str
    relation: Relation
    value: Scalar
    end: Scalar = None

    def holds(self, trial: StudyTrial) -> bool:
        """Whether a trial lies inside; one without the parameter does not."""
        return self.parameter in trial.values and self.contains(trial.values[self.parameter])

    def contains(self, value: Scalar) -> bool:
        """Whether a value of the parameter lies inside."""
        if self.relation is Relation.EQUAL:
            return value == self.value
        if not is_number(value) or not is_number(self.value):
            return False  # of another program
        if self.relation is Relation.OUTSIDE:
            return value < self.value or (is_number(self.end) and value > self.end)
        match self.relation:
            case Relation.ABOVE:
                return value > self.value
            case Relation.AT_LEAST:
                return value >= self.value
            case Relation.BELOW:
                return value < self.value
        return value <= self.value

    def __str__(self) -> str:
        if self.relation is Relation.OUTSIDE:
            return f"{self.parameter} < {_short(self.value)} or > {_short(self.end)}"
        return f"{self.parameter} {self.relation.value} {_short(self.value)}"


class Kind(StrEnum):
    """In which way trials end badly."""

    CAUSE = "failed"
    PRUNER = "pruned by"
    RULE = "diagnosed as"


@dataclass(frozen=True)
class Ending:
    """One way in which trials end badly: the cause of a failure, a pruner, or the rule that leads the diagnosis."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value} ({self.name})" if self.kind is Kind.CAUSE else f"{self.kind.value} {self.name}"


@dataclass(frozen=True)
class Concentration:
    """Trials that end alike, and the region in which they do.

    inside, outside  (how many end so, of how many) in the region and elsewhere, among trials that have the parameter.
    p                the chance of such a split or a sharper one without any connection, corrected for all splits of all
                     parameters and endings that were tried.
    """

    ending: Ending
    region: Region
    inside: tuple[int, int]
    outside: tuple[int, int]
    p: float

    def __str__(self) -> str:
        only = "only where" if self.outside[0] == 0 else "where"
        return (
            f"{self.ending} {only} {self.region}: {self.inside[0]} of {self.inside[1]}, "
            f"elsewhere {self.outside[0]} of {self.outside[1]}"
        )


def concentrations(study: StudyEvidence) -> tuple[Concentration, ...]:
    """For each ending that has a region of its own, its sharpest region; the surest first.

    Every split of every parameter into two parts, and into a band and what lies outside, is tested by Fisher's exact
    test, and all tests of the study are corrected together by Holm's method. So the choice of the best threshold is
    paid for.

    Raises MissingEvidence when fewer than ten trials have ended.
    """
    candidates = [
        candidate
        for ending, alike in _endings(study.need_ended()).items()
        for parameter in study.parameters
        for candidate in _splits(ending, alike, parameter, study.ended)
    ]
    corrected = holm([p for _, p in candidates])
    found: dict[Ending, Concentration] = {}
    # In a study of thousands p is 0 for many splits: of these, the one that divides best.
    order = sorted(zip(candidates, corrected, strict=True), key=lambda pair: (pair[0][1], -_difference(pair[0][0])))
    for (candidate, _), p in order:
        if p <= SIGNIFICANT and _is_worth_naming(candidate) and candidate.ending not in found:
            found[candidate.ending] = Concentration(
                candidate.ending, candidate.region, candidate.inside, candidate.outside, p
            )
    return tuple(found.values())


def _short(value: Scalar) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def endings_of(trial: StudyTrial) -> Iterator[Ending]:
    """The bad endings of a trial, what failed first."""
    for cause in dict.fromkeys(trial.failures):
        yield Ending(Kind.CAUSE, cause_name(cause))
    if trial.pruned_by is not None:
        yield Ending(Kind.PRUNER, trial.pruned_by)
    if trial.leading is not None:
        yield Ending(Kind.RULE, trial.leading)


def cause_name(cause: Cause | None) -> str:
    return "no cause given" if cause is None else cause.value


def _endings(trials: Sequence[StudyTrial]) -> Mapping[Ending, frozenset[int]]:
    """Numbers of the trials that end alike. Of two endings of the very same trials (nan and non_finite) the first."""
    alike: dict[Ending, set[int]] = {}
    for trial in trials:
        for ending in endings_of(trial):
            alike.setdefault(ending, set()).add(trial.number)
    by_trials: dict[frozenset[int], Ending] = {}
    order = list(Kind)
    for ending, numbers in sorted(alike.items(), key=lambda item: order.index(item[0].kind)):
        if len(numbers) >= LEAST_TRIALS_OF_A_KIND:
            by_trials.setdefault(frozenset(numbers), ending)
    return {ending: numbers for numbers, ending in by_trials.items()}


def _shares(candidate: Concentration) -> tuple[float, float]:
    return candidate.inside[0] / candidate.inside[1], candidate.outside[0] / candidate.outside[1]


def _difference(candidate: Concentration) -> float:
    inside, outside = _shares(candidate)
    return inside - outside


def _is_worth_naming(candidate: Concentration) -> bool:
    inside, outside = _shares(candidate)
    return inside >= SHARE_INSIDE and outside <= RATIO_OUTSIDE * inside


def _splits(
    ending: Ending, alike: frozenset[int], parameter: StudyParameter, trials: Sequence[StudyTrial]
) -> Iterator[tuple[Concentration, float]]:
    """Every split of one parameter with its p value, not yet corrected; its region is the part with more of them."""
    having = [trial for trial in trials if parameter.name in trial.values]
    if not having:
        return
    ends_so = np.array([trial.number in alike for trial in having], dtype=bool)
    values = [trial.values[parameter.name] for trial in having]
    for upper, lower, is_upper in _parts(parameter, values):
        counts = [int((ends_so & is_upper).sum()), int(is_upper.sum())]
        rest = [int(ends_so.sum()) - counts[0], len(having) - counts[1]]
        p = fisher_exact(counts[0], counts[1] - counts[0], rest[0], rest[1] - rest[0])
        # "Everything but this value" is no region to name. The split counts as a test all the same.
        swapped = lower is not None and counts[0] * rest[1] < rest[0] * counts[1]
        inside, outside = (rest, counts) if swapped else (counts, rest)
        region = lower if swapped and lower is not None else upper
        yield Concentration(ending, region, (inside[0], inside[1]), (outside[0], outside[1]), p), p


def _parts(
    parameter: StudyParameter, values: Sequence[Scalar]
) -> Iterator[tuple[Region, Region | None, npt.NDArray[np.bool_]]]:
    """(region, what is left, which trials lie in the region) for every way to divide the values in two."""
    if not parameter.is_ordered or not all(is_number(value) for value in values):
        regions = {value: Region(parameter.name, Relation.EQUAL, value) for value in values}
        first, *others = regions
        for value in others if len(others) == 1 else regions if others else []:
            rest = regions[first] if len(others) == 1 else None
            yield regions[value], rest, np.array([other == value for other in values], dtype=bool)
        return
    numbers = np.array(values, dtype=np.float64)
    name = parameter.name
    if parameter.whole or parameter.values is not None:
        # Between two values that can be drawn there is nothing to say: the border is one of them.
        exact = {float(value): value for value in values if is_number(value)}
        for below, above in _neighbours(numbers, MOST_SPLITS):
            upper = Region(name, Relation.AT_LEAST, exact[above])
            yield upper, Region(name, Relation.AT_MOST, exact[below]), numbers > below
        for (below, first), (last, _) in combinations(_neighbours(numbers, MOST_BAND_BORDERS), 2):
            region = Region(name, Relation.OUTSIDE, exact[first], exact[last])
            yield region, None, (numbers <= below) | (numbers > last)
        return
    for below, above in _neighbours(numbers, MOST_SPLITS):
        border = short_number_between(below, above, log=parameter.log)
        yield Region(name, Relation.ABOVE, border), Region(name, Relation.BELOW, border), numbers > below
    borders = [
        (below, short_number_between(below, above, log=parameter.log))
        for below, above in _neighbours(numbers, MOST_BAND_BORDERS)
    ]
    for (below, begin), (last, end) in combinations(borders, 2):
        yield Region(name, Relation.OUTSIDE, begin, end), None, (numbers <= below) | (numbers > last)


def _neighbours(numbers: npt.NDArray[np.float64], most: int) -> list[tuple[float, float]]:
    """Neighbouring values; at most `most` pairs, about equally many trials apart."""
    ordered = np.sort(numbers)
    cuts = np.flatnonzero(ordered[1:] > ordered[:-1])
    if len(cuts) > most:
        wanted = np.linspace(0, len(ordered) - 1, most + 2)[1:-1]
        cuts = np.unique(cuts[np.minimum(np.searchsorted(cuts, wanted), len(cuts) - 1)])
    return [(float(ordered[cut]), float(ordered[cut + 1])) for cut in cuts]


def short_number_between(low: float, high: float, *, log: bool) -> float:
    """A number with few digits strictly between two others, near their middle (their geometric one with `log`)."""
    middle = math.sqrt(low) * math.sqrt(high) if log and low > 0 else low + (high - low) / 2
    for digits in range(1, 17):
        short = float(f"{middle:.{digits - 1}e}")
        if low < short < high:
            return short
    return middle
