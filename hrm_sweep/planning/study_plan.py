"""A study to be, or a single run: what it costs here, what each value of a parameter does to that, what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hrm_sweep.planning.calibration import Setting
from hrm_sweep.planning.lint import LintFinding
from hrm_sweep.planning.run_plan import RunPlan
from hrm_sweep.planning.speed import Conditions


@dataclass(frozen=True)
class ValueEffect:
    """What a run costs with one value of a parameter, as multiples of what the reference costs.

    train, evaluation   operations of the whole run.
    memory              the peak.
    seconds             None where they are not known.
    fresh               effective epochs, at least: where nothing halts early.
    """

    value: Any
    is_reference: bool
    train: float
    evaluation: float
    memory: float
    seconds: float | None
    fresh: float


@dataclass(frozen=True)
class Effect:
    """What the values of one parameter do to the cost, all else as in the reference."""

    name: str
    values: tuple[ValueEffect, ...]

    @property
    def is_any(self) -> bool:
        """Whether the parameter changes what a run costs, or how many puzzles it sees."""
        ones = [(one.train, one.evaluation, one.memory, one.fresh) for one in self.values]
        return any(abs(number - 1) > 1e-9 for one in ones for number in one)


@dataclass(frozen=True)
class StudyPlan:
    """What is planned: `trials` runs (None: one run, no study), one of `runs` each, `setting` saying how many at once.

    effects     against the base of the space, all else equal.
    facts       lines about the zero rule.
    fixed       parameters that have one value only, so that they are not searched, and that value.
    conditions  under which the times were measured; None where none was.
    """

    name: str
    trials: int | None
    setting: Setting
    runs: tuple[RunPlan, ...]
    effects: tuple[Effect, ...]
    facts: tuple[str, ...]
    findings: tuple[LintFinding, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    conditions: Conditions | None = None

    def ends(self, of: Callable[[RunPlan], float]) -> tuple[float, float]:
        """The least and the most of a quantity among the runs."""
        values = [of(run) for run in self.runs]
        return min(values), max(values)

    @property
    def seconds(self) -> tuple[float, float, float] | None:
        """Least, mean and most of a trial; None unless every run's are known."""
        known = [run.trial_seconds for run in self.runs]
        times = [time for time in known if time is not None]
        return (min(times), sum(times) / len(times), max(times)) if times and len(times) == len(known) else None

    @property
    def study_seconds(self) -> float | None:
        """Of the whole study, were no trial pruned, and every combination as likely as any other."""
        if self.seconds is None or self.trials is None:
            return None
        rounds = -(-self.trials // self.setting.jobs)  # of trials beside each other
        return rounds * self.seconds[1]

    def trials_in(self, hours: float) -> int | None:
        """How many whole trials a budget of hours buys."""
        return None if self.seconds is None else self.setting.jobs * int(3600 * hours / self.seconds[1])


def effect(name: str, reference: Any, base: RunPlan, runs: Sequence[tuple[Any, RunPlan]]) -> Effect:
    """What the values of a parameter do, from the plan of a run with each, against the plan of the reference. A value
    with which a run has no step is left out."""
    return Effect(
        name,
        tuple(
            ValueEffect(
                value=value,
                is_reference=value == reference,
                train=run.train_flops / base.train_flops,
                evaluation=run.evaluation_flops / base.evaluation_flops,
                memory=run.memory.total / base.memory.total,
                seconds=_ratio(run.trial_seconds, base.trial_seconds),
                fresh=run.effective_epochs[0] / base.effective_epochs[0],
            )
            for value, run in runs
            if run.steps
        ),
    )


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value / base
