"""What the audit of a study's pruners says: did they end a trial that would have won, and what did they save?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from hrm_sweep.evaluation.share import Share, is_accuracy, is_share, wilson
from hrm_sweep.report.progress import duration

SURE_BELOW = 0.1
"""A share of condemned winners that one would call small."""

MOST_NEAR_MISSES = 5
"""So many pruned trials are told of by themselves."""


@dataclass(frozen=True)
class AuditedTrial:
    """A trial that a pruner condemned at `epoch` and that went on. value: of the objective, None before its end."""

    number: int
    condemned_by: str
    epoch: float
    state: str
    value: float | None

    @property
    def pruner(self) -> str:
        return self.condemned_by.partition(" at ")[0]


@dataclass(frozen=True)
class PrunedTrial:
    """A trial that was ended early, but for those that violated a constraint.

    pruner     None where something ended it that gave no reason.
    epoch      of its last evaluation, and `value` what it scored there; None where it had none.
    completed  what the trials that ran to their end, condemned by no pruner, scored at that epoch.
    """

    number: int
    pruner: str | None
    epoch: int | None = None
    value: float | None = None
    completed: Sequence[float] = ()


@dataclass(frozen=True)
class OfOnePruner:
    """What is known of one pruner of a study: how many trials it condemned, those of them that went on (`audited`) and
    that ran to their end (`ended`), how many of these ended in the better half, and their share; None where it cannot
    be told."""

    name: str
    condemned: int
    audited: int
    ended: int
    better: int
    wrongly_condemned: Share | None


@dataclass(frozen=True)
class RanToItsEnd:
    """A trial with a whole curve, condemned or not. solves_from: the first epoch at which it had solved a puzzle; None
    where it never did, or where the study decides by something else."""

    number: int
    value: float
    is_audited: bool
    solves_from: int | None


@dataclass(frozen=True)
class PrunerAudit:
    """What is known of the price of pruning.

    share          of the condemned trials that are to go on, as the search space has it.
    pruned_trials  those that were ended.
    audited        those that pruners condemned and that went on.
    completed      every trial that ran to its end.
    trained_s      seconds of training in all, as far as known.
    saved_s        the same that the pruned ones would still have taken to their last epochs, at their own pace.
    spent_s        the same that the audited ones took after they were condemned.
    """

    metric: str
    maximize: bool
    share: float
    pruned_trials: Sequence[PrunedTrial]
    audited: Sequence[AuditedTrial]
    completed: Sequence[RanToItsEnd]
    trained_s: float
    saved_s: float
    spent_s: float

    @property
    def pruned(self) -> int:
        return len(self.pruned_trials)

    @property
    def condemned(self) -> int:
        return self.pruned + len(self.audited)

    @cached_property
    def ended(self) -> list[RanToItsEnd]:
        """The audited trials that ran to their end."""
        return [trial for trial in self.completed if trial.is_audited]

    @cached_property
    def median(self) -> float | None:
        """Of the scores of trials that no pruner condemned; None where there is none."""
        kept = [trial.value for trial in self.completed if not trial.is_audited]
        return median(kept) if kept else None

    def is_better_half(self, value: float) -> bool:
        """Whether a score is better than the median of what no pruner condemned."""
        if self.median is None:
            return False
        return value > self.median if self.maximize else value < self.median

    @property
    def better(self) -> list[RanToItsEnd]:
        """The audited trials that would have been among the better half: winners that a pruner would have ended."""
        return [trial for trial in self.ended if self.is_better_half(trial.value)]

    @property
    def above_zero(self) -> list[RanToItsEnd] | None:
        """The audited trials that solved something; None where the objective is no accuracy."""
        return [trial for trial in self.ended if trial.value > 0] if self._has_zero else None

    @property
    def _has_zero(self) -> bool:
        return self.maximize and is_accuracy(self.metric)

    @cached_property
    def by_pruner(self) -> list[OfOnePruner]:
        """The same account for each pruner that condemned a trial, by name."""
        pruned = Counter(trial.pruner for trial in self.pruned_trials if trial.pruner is not None)
        audited = Counter(trial.pruner for trial in self.audited)
        of_trial = {trial.number: trial.pruner for trial in self.audited}
        ended, better = (Counter(of_trial[trial.number] for trial in trials) for trials in (self.ended, self.better))
        return [
            OfOnePruner(
                name=name,
                condemned=pruned[name] + audited[name],
                audited=audited[name],
                ended=ended[name],
                better=better[name],
                wrongly_condemned=self._share_of(better[name], ended[name]),
            )
            for name in sorted(pruned | audited)
        ]

    def _share_of(self, better: int, ended: int) -> Share | None:
        """None where no audited trial has come to its end, or where there is no median to hold them to."""
        return Share(better / ended, ended) if ended and self.median is not None else None

    @property
    def unknown(self) -> list[OfOnePruner]:
        """The pruners of which nothing is known, for no trial that they condemned ran to its end."""
        return [one for one in self.by_pruner if not one.ended]

    @property
    def near_misses(self) -> list[PrunedTrial]:
        """The pruned trials that had come furthest, the best first; none that had solved nothing."""
        scored = [
            trial
            for trial in self.pruned_trials
            if trial.pruner is not None and trial.value is not None and (trial.value > 0 or not self._has_zero)
        ]
        return sorted(scored, key=lambda trial: trial.value or 0.0, reverse=self.maximize)[:MOST_NEAR_MISSES]

    @property
    def wrongly_condemned(self) -> Share | None:
        """Which share of the condemned trials would have been among the better half; None while nothing is known of
        one of the pruners, for the others do not speak for it."""
        return None if self.unknown else self._share_of(len(self.better), len(self.ended))

    @property
    def winners_condemned(self) -> tuple[float, float, float] | None:
        """Which share of all trials of the better half these pruners condemn: (estimate, low, high).

        With p the share of condemned trials that are winners, of which `wrongly_condemned` is the estimate, it is
        p c / (p c + w), where c trials were condemned and w winners were not. That rises with p, so the ends of p's
        95 % interval (Wilson) are the ends of this one.
        """
        wrong = self.wrongly_condemned
        if wrong is None:
            return None
        kept = sum(self.is_better_half(trial.value) for trial in self.completed if not trial.is_audited)

        def of_all(share: float) -> float:
            winners = share * self.condemned
            return winners / (winners + kept) if winners + kept else 0.0

        low, high = wrong.interval
        return of_all(wrong.share), of_all(low), of_all(high)

    def zero_rule_safe_from(self, *, winners_only: bool) -> int | None:
        """The earliest epoch at which `zero_accuracy` ends no trial that ended above 0 %, or that ended in the better
        half; None where there is no such trial, or where it cannot be told."""
        wanted = [
            trial.solves_from
            for trial in self.completed
            if trial.solves_from is not None and (not winners_only or self.is_better_half(trial.value))
        ]
        return max(wanted, default=None)

    # In words ---------------------------------------------------------------------------------------------------------

    def sentences(self) -> Iterator[str]:
        """All of it, a sentence each."""
        yield self.standing()
        if len(self.by_pruner) > 1:
            yield f"By pruner: {'; '.join(map(self._of_one, self.by_pruner))}."
        if self.ended:
            yield from self._verdict()
        yield from map(self._near_miss, self.near_misses)
        yield from self._compute()
        yield from self._zero_rule()

    def standing(self) -> str:
        """In one sentence: how many were condemned and audited, and how those ended. Empty where there are none."""
        if not self.condemned:
            return ""
        pruned = f"{_trials(self.pruned)} pruned"
        if not self.audited:
            missing = (
                "none of them was let go on yet"
                if self.share
                else "none is let go on; `audit: 0.1` in the search space lets one in ten, and at least one of five"
            )
            return f"{pruned}; whether one of them would have won is not known, for {missing}."
        went_on = f"{pruned}, {len(self.audited):,} more condemned but let go on, to audit the pruners"
        if not self.ended:
            states = sorted({trial.state for trial in self.audited})
            return f"{went_on}: no audited trial has come to its end yet ({', '.join(states)}), so nothing is known."
        solved = "" if self.above_zero is None else f", {len(self.above_zero):,} above 0 %"
        side = "above" if self.maximize else "below"
        if self.median is None:
            rest = solved.removeprefix(", ") or "and there is no other trial to compare with"
        else:
            rest = f"{len(self.better):,} ended {side} the median of the others ({self.median:.3g}){solved}"
        silent = " and ".join(f"{one.name} ({one.condemned:,} condemned)" for one in self.unknown)
        beyond = f" That tells nothing of {silent}." if silent else ""
        return f"{went_on}: of {len(self.ended):,} audited, {rest}.{beyond}"

    def _of_one(self, one: OfOnePruner) -> str:
        """`median: 3 condemned, 0 audited: whether it ends winners cannot be told`."""
        counted = f"{one.name}: {one.condemned:,} condemned, {one.audited:,} audited"
        so_far = f", {one.ended or 'none'} to the end" if one.ended < one.audited else ""
        if one.wrongly_condemned is None:
            return f"{counted}{so_far}: whether it ends winners cannot be told"
        low, high = one.wrongly_condemned.interval
        side = "above" if self.maximize else "below"
        return f"{counted}{so_far}, {one.better:,} {side} the median (95 % interval {low:.0%} to {high:.0%})"

    def _near_miss(self, trial: PrunedTrial) -> str:
        said = f"Trial {trial.number} was pruned by {trial.pruner} with {trial.value:.3f} at epoch {trial.epoch}"
        if not trial.completed:
            return f"{said}, at which no completed one was evaluated."
        if len(trial.completed) == 1:
            return f"{said}, where the completed one had {trial.completed[0]:.3f}."
        best = max(trial.completed) if self.maximize else min(trial.completed)
        return f"{said}, where completed ones had {median(trial.completed):.3f} (median) to {best:.3f} (best)."

    def _verdict(self) -> Iterator[str]:
        if self.median is None:
            yield "No trial has completed without being condemned, so there is no median to hold the audited ones to."
            return
        wrong, winners = self.wrongly_condemned, self.winners_condemned
        if wrong is None or winners is None:
            return  # the pruners one by one have been told of
        share, low, high = winners
        yield f"Condemned trials that would have been in the better half: {wrong}."
        yield f"So of all trials in the better half pruners condemn an estimated {share:.0%} ({low:.0%} to {high:.0%})."
        if len(self.ended) == 1:
            yield "One audited trial tells next to nothing: read the interval, not the estimate."
        elif wrong.interval[1] > SURE_BELOW and not self.better:
            yield (
                f"{len(self.ended):,} audited trials are too few to call that safe: to be sure of less than "
                f"{SURE_BELOW:.0%} it takes {audited_for(SURE_BELOW)} of them without a winner."
            )

    def _compute(self) -> Iterator[str]:
        if not self.saved_s:
            return
        share = self.saved_s / (self.saved_s + self.trained_s)
        yield (
            f"Pruning saved an estimated {duration(self.saved_s)} of training, {share:.0%} of what it would have taken "
            f"to train all trials to their last epochs; auditing took {duration(self.spent_s)}."
        )

    def _zero_rule(self) -> Iterator[str]:
        if not self.ended:
            return  # the others are those that a zero rule has let live, which tells nothing about it
        solved, winners = (self.zero_rule_safe_from(winners_only=only) for only in (False, True))
        if solved is None:
            return
        of = f"{len(self.completed):,} trials that ran to their end, {len(self.ended):,} of them audited"
        text = f"From epoch {solved} on the zero rule would have ended no trial that ended above 0 %"
        if winners is not None and winners < solved:
            text += f"; from epoch {winners} on none of the better half"
        yield f"{text} ({of})."

    def to_mapping(self) -> dict[str, Any]:
        """For programs."""
        wrong, winners = self.wrongly_condemned, self.winners_condemned
        return {
            "share": self.share,
            "pruned": self.pruned,
            "condemned": self.condemned,
            "audited": [
                {
                    "trial": trial.number,
                    "condemned_by": trial.condemned_by,
                    "epoch": trial.epoch,
                    "state": trial.state,
                    "value": trial.value,
                }
                for trial in self.audited
            ],
            "by_pruner": [
                {
                    "pruner": one.name,
                    "condemned": one.condemned,
                    "audited": one.audited,
                    "ended": one.ended,
                    "above_median": one.better,
                    "wrongly_condemned": one.wrongly_condemned and one.wrongly_condemned.to_mapping(),
                }
                for one in self.by_pruner
            ],
            "near_misses": [
                {"trial": trial.number, "pruner": trial.pruner, "epoch": trial.epoch, "value": trial.value}
                for trial in self.near_misses
            ],
            "ended": len(self.ended),
            "median_of_others": self.median,
            "above_median": [trial.number for trial in self.better],
            "above_zero": None if self.above_zero is None else [trial.number for trial in self.above_zero],
            "wrongly_condemned": None if wrong is None else wrong.to_mapping(),
            "winners_condemned": None if winners is None else dict(zip(("share", "low", "high"), winners, strict=True)),
            "saved_s": self.saved_s,
            "spent_s": self.spent_s,
            "trained_s": self.trained_s,
            "zero_rule_safe_from": self.zero_rule_safe_from(winners_only=False),
            "zero_rule_safe_from_for_better_half": self.zero_rule_safe_from(winners_only=True),
        }


def audited_for(share: float) -> int:
    """So many audited trials without a winner bound the share of winners among the condemned to below `share`."""
    n = 1
    while wilson(0, n)[1] >= share:
        n += 1
    return n


def _trials(count: int) -> str:
    return "1 trial was" if count == 1 else f"{count:,} trials were"


def first_above_zero(curve: Sequence[tuple[int, float]], metric: str) -> int | None:
    """The first epoch of a curve at which a puzzle was solved; None where none was, or the metric does not tell."""
    if not is_share(metric):
        return None
    return next((epoch for epoch, value in sorted(curve) if math.isfinite(value) and value > 0), None)
