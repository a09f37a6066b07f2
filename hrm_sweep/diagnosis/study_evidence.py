"""StudyEvidence: everything that rules may look at about one study. Whoever knows the storage builds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TypeGuard

from hrm_sweep.diagnosis.evidence import MissingEvidence
from hrm_sweep.diagnosis.statistics import noise_of_difference
from hrm_sweep.runs import Cause
from hrm_sweep.runs.environment import Environment

Scalar = int | float | str | bool | None

LEAST_TRIALS = 10
"""Below this, no split of a study into two groups is significant once all splits are counted (`regions`): of 9 trials,
4 failures that are exactly those above a threshold have p = 0.008, and four parameters make ten splits or more."""

_ACCURACIES = ("exact_accuracy", "accuracy")


class End(StrEnum):
    """How a trial stands."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    OPEN = "open"  # it runs, waits, or will be tried again


@dataclass(frozen=True)
class StudyParameter:
    """One searched parameter: one of `values`, or a number from `low` to `high`.

    log      whether the range is searched by ratio.
    whole    whether it takes whole numbers only.
    least, most  the smallest and the largest value that means anything, whatever the study searches; None: no limit.
    """

    name: str
    values: tuple[Scalar, ...] | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    least: float | None = None
    most: float | None = None

    @property
    def numbers(self) -> tuple[float, ...] | None:
        """The listed values in order, where all of them are numbers."""
        numbers = [value for value in self.values or () if is_number(value)]
        return tuple(sorted(numbers)) if numbers and len(numbers) == len(self.values or ()) else None

    @property
    def is_ordered(self) -> bool:
        """Whether more and less mean something here."""
        return self.values is None or self.numbers is not None


@dataclass(frozen=True)
class StudyTrial:
    """A trial with its retries, which are attempts at the same configuration and count as one.

    number       of the last attempt, by which every verb names the trial.
    values       the parameters that exist for it.
    end          of the last attempt.
    failures     why attempts failed, in order; None for one that gives no cause.
    pruned_by    name of the pruner, or of the rule that a pruner asked.
    leading      id of the rule that leads its diagnosis; None where none fired or nothing is known.
    objective    its value; the best evaluation of a pruned trial.
    is_baseline  whether it is one of the points that the search space names to be tried first.
    environment  what it ran on.
    """

    number: int
    values: Mapping[str, Scalar]
    end: End
    failures: tuple[Cause | None, ...] = ()
    pruned_by: str | None = None
    leading: str | None = None
    objective: float | None = None
    is_baseline: bool = False
    environment: Environment | None = None


@dataclass(frozen=True)
class StudyEvidence:
    """One study as rules see it.

    metric, maximize    what it decides by.
    budget              trials that it may have.
    evaluated_puzzles   puzzles that each objective was measured on; None when not known.
    problems            what was there and could not be read, one sentence each.
    confirms            the study of which this one is a confirmation: its trials are few configurations on many seeds.
                        None for a search.
    """

    name: str
    metric: str
    maximize: bool
    budget: int
    parameters: tuple[StudyParameter, ...]
    trials: tuple[StudyTrial, ...]
    evaluated_puzzles: int | None = None
    problems: tuple[str, ...] = ()
    confirms: str | None = None

    @cached_property
    def ended(self) -> tuple[StudyTrial, ...]:
        return tuple(trial for trial in self.trials if trial.end is not End.OPEN)

    @cached_property
    def ranked(self) -> tuple[StudyTrial, ...]:
        """The completed trials that have a value, the best first and the earlier first of equals."""
        complete = [trial for trial in self.trials if trial.end is End.COMPLETE and trial.objective is not None]
        return tuple(sorted(complete, key=lambda trial: (-self.worth(trial), trial.number)))

    @property
    def is_finished(self) -> bool:
        """Whether nothing runs and the budget is spent."""
        return len(self.ended) == len(self.trials) >= self.budget

    def worth(self, trial: StudyTrial) -> float:
        """The objective, such that more is better. Only for trials that have one."""
        assert trial.objective is not None
        return trial.objective if self.maximize else -trial.objective

    def need_ended(self, least: int = LEAST_TRIALS) -> tuple[StudyTrial, ...]:
        """The trials that have ended. Raises MissingEvidence when there are fewer than `least`."""
        if len(self.ended) < least:
            raise MissingEvidence(f"{least} trials that have ended; there are {len(self.ended)}")
        return self.ended

    def need_ranked(self, least: int = LEAST_TRIALS) -> tuple[StudyTrial, ...]:
        """The completed trials, ranked. Raises MissingEvidence when there are fewer than `least`."""
        if len(self.ranked) < least:
            raise MissingEvidence(f"{least} completed trials with a value; there are {len(self.ranked)}")
        return self.ranked

    @property
    def noise(self) -> int:
        """The number of puzzles behind each value, from which its noise follows.

        Raises MissingEvidence when it is not known, or the objective is no share of them.
        """
        if self.metric not in _ACCURACIES:
            raise MissingEvidence(f"a share of puzzles as objective, whose noise is known; it is {self.metric}")
        if self.evaluated_puzzles is None:
            raise MissingEvidence("the number of puzzles that trials were evaluated on (metrics.jsonl of the best one)")
        return self.evaluated_puzzles

    def need_search(self) -> None:
        """Raises MissingEvidence for a confirmation, in which several trials are one configuration."""
        if self.confirms is not None:
            raise MissingEvidence(
                "a search, whose trials are configurations; here they differ by their seeds, and the verdict of the "
                f"confirmation compares the configurations (`hrm-sweep report {self.confirms}`)"
            )

    def ties(self, trial: StudyTrial) -> Iterator[StudyTrial]:
        """Completed trials that noise alone may have put below or above `trial`, itself among them.

        The noise is that of two independent samples of the puzzles. Trials share theirs, so it is overestimated, which
        errs on the side of a tie; for cell accuracy as well, for whole puzzles cannot vary more than right or wrong.
        Raises MissingEvidence where no noise is known, and for a confirmation.
        """
        self.need_search()
        puzzles, own = self.noise, self.worth(trial)
        for other in self.ranked:
            if abs(own - self.worth(other)) <= noise_of_difference(own, self.worth(other), puzzles):
                yield other


def is_number(value: Scalar) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
