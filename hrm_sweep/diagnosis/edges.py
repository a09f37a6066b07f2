"""Whether the best trials of a study lie at the end of a range that could go on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from hrm_sweep.diagnosis.evidence import MissingEvidence
from hrm_sweep.diagnosis.regions import SIGNIFICANT
from hrm_sweep.diagnosis.statistics import fisher_exact, holm
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
"""Of 20 trials spread over a range, four lie in its outer fifth: enough for a test. The best one has to lie in the
outer tenth, so that an optimum shortly before the end is not mistaken for one beyond it."""

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
    p          of Fisher's exact test, corrected for all ends of all ranges.
    is_edge    whether the best trials lie there beyond chance, the very best in the outer tenth.
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
    others = [trial for trial in having if trial.number not in numbers]
    if not among or not others:
        return
    for side, bound in _open_ends(parameter):
        inside = [
            sum(_distance(parameter, side, trial.values[parameter.name]) <= OUTER for trial in group)
            for group in (among, others)
        ]
        p = fisher_exact(inside[0], len(among) - inside[0], inside[1], len(others) - inside[1])
        is_edge = (
            _distance(parameter, side, among[0].values[parameter.name]) <= OUTERMOST
            and 2 * inside[0] > len(among)
            and inside[0] * len(others) > inside[1] * len(among)
        )
        yield Edge(parameter, side, bound, (inside[0], len(among)), (inside[1], len(others)), p, is_edge)


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
