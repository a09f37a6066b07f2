"""Whether the best trials of a study lie at the end of a range that could go on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from hrm_sweep.diagnosis.evidence import MissingEvidence
from hrm_sweep.diagnosis.regions import SIGNIFICANT
from hrm_sweep.diagnosis.statistics import binomial_tail, chance_of_order, holm
from hrm_sweep.diagnosis.study_evidence import (
    LEAST_TRIALS,
    End,
    Scalar,
    StudyEvidence,
    StudyParameter,
    StudyTrial,
    is_number,
)

OUTER = 0.2
OUTERMOST = 0.1
"""Most of the best trials have to lie in the outer fifth of a range, where few would by chance, and the very best in
the outer tenth, so that an optimum shortly before the end is not mistaken for one beyond it. docs/thresholds.md."""

OUTER_IS_BETTER = 0.75
"""A sampler that learns crowds somewhere also where it makes no difference. So a trial of the outer fifth also has to
beat one from elsewhere in three of four pairs."""

BEST_SHARE = 0.2
FEWEST_BEST = 3


class Side(StrEnum):
    LOWER = "lower"
    UPPER = "upper"


@dataclass(frozen=True)
class Edge:
    """One end of one range, and how many of the best trials lie there.

    bound      the value at that end.
    best       (how many lie in the outer fifth, of how many) among the best trials.
    others     the same among the other trials that completed or were pruned.
    p          the chance that so many of the best lie there by chance, corrected for all ends of all ranges.
    is_edge    whether they do so beyond chance, the very best in the outer tenth, and are better for it.
    """

    parameter: StudyParameter
    side: Side
    bound: float
    best: tuple[int, int]
    others: tuple[int, int]
    p: float
    is_edge: bool

    def __str__(self) -> str:
        return (
            f"{self.parameter.name} near {self.bound:g}, its {self.side.value} end: {self.best[0]} of the best "
            f"{self.best[1]} trials, {self.others[0]} of the other {self.others[1]}"
        )


def best_trials(study: StudyEvidence) -> tuple[StudyTrial, ...]:
    """The best fifth of the trials that completed or were pruned, at least three, and all that are as good within
    noise.

    Raises MissingEvidence when fewer than ten completed or were pruned, or fewer than three completed.
    """
    judged = _judged(study)
    if len(judged) < LEAST_TRIALS:
        raise MissingEvidence(f"{LEAST_TRIALS} trials that completed or were pruned; there are {len(judged)}")
    ranked = study.need_ranked(FEWEST_BEST)
    last = ranked[min(len(ranked), max(FEWEST_BEST, math.ceil(BEST_SHARE * len(judged)))) - 1]
    best = {trial.number for trial in ranked if study.worth(trial) >= study.worth(last)}
    with contextlib.suppress(MissingEvidence):  # no noise is known of a loss: the ranks have to do
        best |= {trial.number for trial in study.ties(ranked[0])}
    return tuple(trial for trial in ranked if trial.number in best)


def edges(study: StudyEvidence) -> tuple[Edge, ...]:
    """Every end of every range that could go on. None when most trials are as good as the best one, within noise.

    Raises MissingEvidence as `best_trials` does.
    """
    best = best_trials(study)
    if 2 * len(best) > len(_judged(study)):
        return ()
    found = [edge for parameter in study.parameters for edge in _edges_of(parameter, study, best)]
    corrected = holm([edge.p for edge in found])
    return tuple(
        replace(edge, p=p, is_edge=edge.is_edge and p <= SIGNIFICANT) for edge, p in zip(found, corrected, strict=True)
    )


def _judged(study: StudyEvidence) -> list[StudyTrial]:
    return [trial for trial in study.trials if trial.end in (End.COMPLETE, End.PRUNED)]


def _edges_of(parameter: StudyParameter, study: StudyEvidence, best: tuple[StudyTrial, ...]) -> Iterator[Edge]:
    numbers = {trial.number for trial in best}
    having = [trial for trial in _judged(study) if parameter.name in trial.values]
    among = [trial for trial in best if parameter.name in trial.values]
    if not among or len(among) == len(having):
        return
    for side, bound in _open_ends(parameter):
        distance = {trial.number: _distance(parameter, side, trial.values[parameter.name]) for trial in having}
        outer = {number for number, far in distance.items() if far <= OUTER}
        inside = len(outer & numbers)
        worth = {
            is_outer: np.array([_worth(study, trial) for trial in having if (trial.number in outer) is is_outer])
            for is_outer in (True, False)
        }
        is_edge = (
            distance[among[0].number] <= OUTERMOST
            and 2 * inside > len(among)
            and chance_of_order(worth[True], worth[False]) >= OUTER_IS_BETTER
        )
        yield Edge(
            parameter,
            side,
            bound,
            best=(inside, len(among)),
            others=(len(outer) - inside, len(having) - len(among)),
            p=binomial_tail(inside, len(among), _outer_share(parameter, side)),
            is_edge=is_edge,
        )


def _worth(study: StudyEvidence, trial: StudyTrial) -> float:
    """The objective, more is better; a trial that was pruned without a value is worse than all others."""
    return -math.inf if trial.objective is None else study.worth(trial)


def _outer_share(parameter: StudyParameter, side: Side) -> float:
    """The chance that a value drawn without preference lies in the outer fifth."""
    if parameter.values is not None:
        return 1 / len(parameter.values)
    if parameter.whole and not parameter.log:
        every = range(int(parameter.low or 0), int(parameter.high or 0) + 1)
        return sum(_distance(parameter, side, value) <= OUTER for value in every) / len(every)
    return OUTER


def _open_ends(parameter: StudyParameter) -> Iterator[tuple[Side, float]]:
    """The ends of a range, or of a list of three numbers or more, beyond which there is something to try."""
    if parameter.values is not None:
        if parameter.numbers is None or len(parameter.numbers) < 3:
            return
        low, high = parameter.numbers[0], parameter.numbers[-1]
    else:
        assert parameter.low is not None
        assert parameter.high is not None
        low, high = parameter.low, parameter.high
    if high > low and (parameter.least is None or low > parameter.least):
        yield Side.LOWER, low
    if high > low and (parameter.most is None or high < parameter.most):
        yield Side.UPPER, high


def _distance(parameter: StudyParameter, side: Side, value: Scalar) -> float:
    """How far a value lies from an end, as a share of the range on its own scale; of a list, by place.

    A value that the study would not draw (of another program) is infinitely far away.
    """
    if not is_number(value):
        return math.inf
    if parameter.numbers is not None:
        if value not in parameter.numbers:
            return math.inf
        # Only the last value itself is at the end.
        place = parameter.numbers.index(value)
        return 0.0 if place == (0 if side is Side.LOWER else len(parameter.numbers) - 1) else math.inf
    low, high = parameter.low or 0.0, parameter.high or 0.0
    if not low <= value <= high:
        return math.inf
    if parameter.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low if side is Side.LOWER else high - value) / (high - low)
