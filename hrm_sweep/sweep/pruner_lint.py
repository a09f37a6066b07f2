"""What a study's pruners cannot do: looks that come too late or too seldom to end anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hrm_sweep.planning.lint import Kind, Level, LintFinding
from hrm_sweep.sweep.pruners import Pruner
from hrm_sweep.sweep.pruners.optuna import Hyperband, Median, Percentile, SuccessiveHalving, Threshold
from hrm_sweep.sweep.pruners.patient import Patient
from hrm_sweep.sweep.space import SearchSpace
from hrm_sweep.sweep.space_lint import Combination


def lint_pruners(space: SearchSpace, combinations: Iterable[Combination]) -> Iterator[LintFinding]:
    """Pruners that can end no trial of these combinations before its end, or none within the budget."""
    schedules = {(one.config.epochs, one.config.eval_interval) for one in combinations}
    for name, pruner in space.pruner.items():
        key = f"pruner.{name}"
        if schedules and all(first_look(pruner, *schedule) is None for schedule in schedules):
            epochs, interval = min(schedules)
            yield _late(
                key,
                f"{name} never ends a trial before its end: its first look comes with the last of "
                f"{epochs // interval} evaluations (every {interval} of {epochs} epochs) or later; a shorter "
                "eval_interval, or an earlier start, lets it act",
            )
            continue
        startup = getattr(pruner, "startup_trials", 0)
        if startup >= space.budget.trials:
            yield _late(
                key,
                f"{name} waits for {startup} finished trials, and the budget is {space.budget.trials}: it never "
                "prunes; lower startup_trials, or raise budget.trials",
            )


def first_look(pruner: Pruner, epochs: int, interval: int) -> int | None:
    """The epoch of the first evaluation before the last at which this pruner may end a run; None for none. Pruners that
    count no epochs may do so at any."""
    if isinstance(pruner, Patient):
        earliest = (pruner.patience + 2) * interval
        inner = None if pruner.around is None else first_look(pruner.around, epochs, interval)
        if pruner.around is not None and inner is None:
            return None
        earliest = max(earliest, inner or 0)
    elif isinstance(pruner, Hyperband | SuccessiveHalving):
        earliest = pruner.min_epoch
    elif isinstance(pruner, Median | Percentile | Threshold):
        earliest = pruner.warmup_epochs
    else:
        earliest = interval
    at = max(interval, -(-earliest // interval) * interval)
    return at if at < epochs else None


def _late(key: str, message: str) -> LintFinding:
    return LintFinding(Level.WARNING, key, message, Kind.CANNOT_BE_JUDGED)
