"""What a confirmation found, whatever it is written as. `hrm_sweep/sweep/confirm/results.py` makes it of the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; low and high are None where there are too few runs for one."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_mapping(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class ConfirmedRun:
    """One run of a candidate.

    trial      its number in the confirmation.
    score      on the unseen puzzles; None where it failed.
    selection  its best score on the puzzles that a search selects by.
    """

    seed: int
    trial: int
    score: float | None
    selection: float | None
    cause: str | None


@dataclass(frozen=True)
class CandidateResult:
    """What one configuration is worth.

    name        `trial 7`, of the search, or `baseline`.
    search      score in the search, by which it was chosen; None where the search did not try it.
    confirmed   mean over seeds on unseen puzzles, with Student's interval.
    optimism    by how much the score of the search was too good: negative where it was too bad.
    selection   mean over the fresh seeds on the puzzles that the search selected by.
    iqm         interquartile mean over seeds, with a bootstrap interval.
    over_baseline  chance that a run of it beats one of the baseline; None for the baseline itself.
    out         why it is out of the race, in words; None while it is in.
    train_flops  operations of a run, the mean; None where they are not known.
    """

    name: str
    trial: int | None
    is_baseline: bool
    values: Mapping[str, Any]
    search: float | None
    runs: Sequence[ConfirmedRun]
    confirmed: Estimate | None
    optimism: Estimate | None
    selection: float | None
    iqm: Estimate | None
    over_baseline: Estimate | None
    out: str | None
    train_flops: float | None

    @property
    def seeds(self) -> int:
        """How many of its runs gave a score."""
        return sum(run.score is not None for run in self.runs)

    @property
    def title(self) -> str:
        return f"{self.name}, the baseline" if self.is_baseline and self.trial is not None else self.name


@dataclass(frozen=True)
class PuzzlePair:
    """Of the unseen puzzles, how many both solve, one alone, or none, on average over pairs of runs with one seed."""

    puzzles: int
    both: float
    only_first: float
    only_second: float
    neither: float
    difference: Estimate


@dataclass(frozen=True)
class PairResult:
    """The leader against another candidate, run by run with the same seed.

    difference    of the means, over seeds and puzzles.
    p             one-sided, not corrected; `level` is what it has to reach at the last look.
    better        chance that a run of the first beats one of the second.
    puzzles       None where scores are no shares of puzzles solved.
    seeds_needed  to tell a difference of this size in four of five cases; None when no number up to 1000 would do.
    """

    first: str
    second: str
    seeds: int
    difference: Estimate
    p: float
    level: float
    better: Estimate | None
    puzzles: PuzzlePair | None
    seeds_needed: int | None


class Verdict(StrEnum):
    WINNER = "winner"
    TIE = "tie"
    UNDECIDED = "undecided"  # runs are still to be made
    NOTHING = "nothing"  # no two candidates gave a score, so nothing was compared


@dataclass(frozen=True)
class ConfirmationReport:
    """A confirmation at one moment.

    name, of    of the confirmation, and of the study that it confirms.
    seeds       planned for each candidate.
    ended, planned  runs; those that candidates which are out do not need are not planned any more.
    puzzles     unseen ones that each run was measured on; None while none was.
    candidates  those in the race first, the best of them first.
    leading     names of those in the race, the best first; the winner alone where there is one.
    pairs       the leader against every other one that has a score.
    spared      runs that the race made unnecessary.
    """

    name: str
    of: str
    metric: str
    maximize: bool
    seeds: int
    ended: int
    planned: int
    spared: int
    puzzles: int | None
    level: float
    verdict: Verdict
    leading: Sequence[str]
    candidates: Sequence[CandidateResult]
    pairs: Sequence[PairResult]

    @property
    def leader(self) -> CandidateResult | None:
        return self.candidates[0] if self.leading else None

    def to_mapping(self) -> dict[str, Any]:
        """For programs."""
        return {
            "schema_version": 1,
            "study": self.name,
            "of": self.of,
            "metric": self.metric,
            "goal": "maximize" if self.maximize else "minimize",
            "level": self.level,
            "seeds": self.seeds,
            "runs": {"ended": self.ended, "planned": self.planned, "spared": self.spared},
            "unseen_puzzles": self.puzzles,
            "verdict": self.verdict.value,
            "leading": list(self.leading),
            "candidates": [_candidate(one) for one in self.candidates],
            "pairs": [_pair(one) for one in self.pairs],
        }


def _candidate(one: CandidateResult) -> dict[str, Any]:
    return {
        "name": one.name,
        "trial": one.trial,
        "baseline": one.is_baseline,
        "values": dict(one.values),
        "search": one.search,
        "confirmed": _maybe(one.confirmed),
        "search_minus_confirmed": _maybe(one.optimism),
        "fresh_seeds_on_selection_puzzles": one.selection,
        "interquartile_mean": _maybe(one.iqm),
        "chance_better_than_baseline": _maybe(one.over_baseline),
        "out": one.out,
        "train_flops": one.train_flops,
        "runs": [
            {
                "seed": run.seed,
                "trial": run.trial,
                "score": run.score,
                "selection": run.selection,
                "cause": run.cause,
            }
            for run in one.runs
        ],
    }


def _pair(one: PairResult) -> dict[str, Any]:
    puzzles = one.puzzles
    return {
        "first": one.first,
        "second": one.second,
        "seeds": one.seeds,
        "difference": one.difference.to_mapping(),
        "p": one.p,
        "level": one.level,
        "chance_better": _maybe(one.better),
        "puzzles": None
        if puzzles is None
        else {
            "n": puzzles.puzzles,
            "both": puzzles.both,
            "only_first": puzzles.only_first,
            "only_second": puzzles.only_second,
            "neither": puzzles.neither,
            "difference": puzzles.difference.to_mapping(),
        },
        "seeds_needed": one.seeds_needed,
    }


def _maybe(estimate: Estimate | None) -> dict[str, float | None] | None:
    return None if estimate is None else estimate.to_mapping()
