"""What goals and constraints look at in one run: predicted before it starts, watched while it trains, measured at its
end.

    parameters        of the model, the puzzle embedding left out; known before.
    evaluation_flops  operations of solving one puzzle, at halt_max_steps ACT steps, of the last stage where a run has
                      several; known before.
    train_flops       operations of the optimizer steps that were really taken: a run that ends early because it has
                      solved its puzzles is cheaper. Predicted before, unless the config lets a run end early.
    seconds           of training, evaluations included and pauses left out.
    act_steps         mean ACT steps of the slots that halted in the last fifth of the train rows.
    peak_memory       bytes, of the GPU or of the machine.
    exact_accuracy, accuracy, loss, lm_loss   at the evaluation at which the goals that evaluations measure are best,
                      the main one first; so that all values of a trial belong to one state of its model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hrm_sweep.config import RunConfig
from hrm_sweep.config.schedule import RunLength
from hrm_sweep.data import SplitMetadata, open_folder
from hrm_sweep.data.resolve import with_data
from hrm_sweep.planning.cost import evaluation_flops, parameter_count, train_flops_of_first
from hrm_sweep.report.goals import quantity_text
from hrm_sweep.runs import MetricRow, RunDirectory, read_metrics, read_status
from hrm_sweep.sweep.constraints import CONSTRAINTS, PEAK_MEMORY, Constraint
from hrm_sweep.sweep.objective import EVALUATED, Objective

FROM_DATA = ("parameters", "evaluation_flops", "train_flops")
"""Quantities that follow from the configuration and the facts of its data, which have to be there."""

_ONLY_GROW = ("train_flops", "seconds")
"""Quantities that never get smaller while a run trains: too large is too large for good."""


@dataclass(frozen=True)
class Violations:
    """Constraints that were looked at, each with its violation (0 or less where it is kept), and in words those that
    are not kept; empty where all are."""

    by_quantity: Mapping[str, float]
    said: str = ""


NO_VIOLATIONS = Violations({})


def predicted(config: RunConfig, data: SplitMetadata) -> dict[str, float]:
    """What is known of a run before it starts, by quantity."""
    known = {
        "parameters": float(parameter_count(config.arch, data.vocab_size, data.seq_len)),
        "evaluation_flops": evaluation_flops(config.last_stage, data.seq_len, puzzles=1),
    }
    if config.stop_when_solved is None and config.max_seconds is None:
        known["train_flops"] = _train_flops(config, data)
    return known


def predicted_violations(
    constraints: Mapping[str, Constraint], config: RunConfig, facts: Callable[[], SplitMetadata]
) -> Violations:
    """Those constraints that can be told before a run starts. `facts` of its data are asked for only where they are
    needed."""
    if not any(name in FROM_DATA for name in constraints):
        return NO_VIOLATIONS
    return _violations(constraints, predicted(config, facts()))


class Measures:
    """The quantities of one run, as far as the goals and constraints of its study ask for them."""

    def __init__(
        self, objective: Objective, constraints: Mapping[str, Constraint], config: RunConfig, directory: RunDirectory
    ) -> None:
        self._objective, self._constraints = objective, constraints
        self._config, self._directory = config, directory

    def refused(self) -> Violations:
        """Before it starts. Raises DataError when the facts of its data are needed and are not to be had; they are kept
        for the end, when nobody could do anything about it."""
        if any(goal.metric in FROM_DATA for goal in self._objective.goals):
            _ = self._data
        return predicted_violations(self._constraints, self._config, lambda: self._data)

    def exceeded(self, row: MetricRow) -> str | None:
        """Why the run cannot keep to a constraint any more, as the reason it is ended for; None while it can."""
        bounds = {name: one for name, one in self._constraints.items() if name in _ONLY_GROW and one.at_most}
        found = _violations(bounds, self._costs(bounds, row.step, row.time_s)) if bounds else NO_VIOLATIONS
        return f"{CONSTRAINTS} at epoch {row.epoch:g}: {found.said}" if found.said else None

    def values(self) -> dict[str, float]:
        """Every goal that the run has a value of, at its end."""
        return self._measured([goal.metric for goal in self._objective.goals])

    def violations(self, *, has_ended: bool) -> Violations:
        """Every constraint that can be told. Of a run that `has_ended` by itself what was not measured counts as
        violated, for nobody knows that it was kept."""
        if not self._constraints:
            return NO_VIOLATIONS
        found = _violations(self._constraints, self._measured(self._constraints))
        missing = [name for name in self._constraints if name not in found.by_quantity] if has_ended else []
        said = [found.said, *(f"{self._constraints[name]}, and was not measured" for name in missing)]
        return Violations({**found.by_quantity, **dict.fromkeys(missing, 1.0)}, "; ".join(filter(None, said)))

    @cached_property
    def _data(self) -> SplitMetadata:
        path = with_data(self._config).data_path
        assert path is not None
        return open_folder(Path(path)).train.metadata

    @cached_property
    def _rows(self) -> Sequence[MetricRow]:
        return read_metrics(self._directory.metrics)

    def _measured(self, names: Iterable[str]) -> dict[str, float]:
        wanted, rows = set(names), self._rows
        status = read_status(self._directory.status)
        steps = max([row.step for row in rows] + [0 if status is None else status.step])
        found = self._costs(wanted, steps, max((row.time_s for row in rows if math.isfinite(row.time_s)), default=None))
        best = _best_evaluation(self._objective, rows)
        for name in EVALUATED:
            value = None if best is None else best.get(name)
            if value is not None and math.isfinite(value):
                found[name] = value
        if status is not None and status.peak_bytes is not None:
            found[PEAK_MEMORY] = float(status.peak_bytes)
        if (steps_at_halting := mean_act_steps(rows)) is not None:
            found["act_steps"] = steps_at_halting
        return {name: value for name, value in found.items() if name in wanted}

    def _costs(self, names: Iterable[str], steps: int, seconds: float | None) -> dict[str, float]:
        found: dict[str, float] = {}
        if any(name in FROM_DATA for name in names):
            found = predicted(self._config, self._data)
            found["train_flops"] = _train_flops(self._config, self._data, steps)
        if seconds is not None:
            found["seconds"] = seconds
        return found


def _train_flops(config: RunConfig, data: SplitMetadata, steps: int | None = None) -> float:
    """Of the first `steps` steps of a run; None: of all."""
    length = RunLength.of(config, data.total_groups, data.mean_puzzle_examples)
    return train_flops_of_first(config, data.seq_len, length, length.trained_steps if steps is None else steps)


def mean_act_steps(rows: Iterable[MetricRow]) -> float | None:
    """Mean ACT steps at halting over the last fifth of the steps of which there is any; None where nothing halted."""
    from hrm_sweep.diagnosis.signals import JUDGED_SHARE  # the diagnosis, whose room takes a while to import

    known = [row for row in rows if row.kind == "train" and math.isfinite(row.get("act_steps") or math.nan)]
    late = [row for row in known if row.step > known[-1].step * (1 - JUDGED_SHARE)]
    halted = [row.get("count") or 0.0 for row in late]
    if not sum(halted):
        return None
    return sum((row.get("act_steps") or 0.0) * count for row, count in zip(late, halted, strict=True)) / sum(halted)


def _best_evaluation(objective: Objective, rows: Iterable[MetricRow]) -> MetricRow | None:
    """The evaluation that is best by the main goal and, among equals, by the other goals that evaluations measure."""
    goals = [goal for goal in objective.goals if goal.metric in EVALUATED]

    def worth(row: MetricRow) -> tuple[float, ...]:
        values = [row.get(goal.metric) for goal in goals]
        return tuple(
            goal.worth(value) if value is not None and math.isfinite(value) else -math.inf
            for goal, value in zip(goals, values, strict=True)
        )

    scored = [row for row in rows if row.kind == "eval" and worth(row)[0] > -math.inf]
    return max(scored, key=worth, default=None)


def _violations(constraints: Mapping[str, Constraint], values: Mapping[str, float]) -> Violations:
    found = {name: one.violation(values[name]) for name, one in constraints.items() if name in values}
    said = [
        f"{quantity_text(name, values[name])} where {constraints[name]} is asked for"
        for name, violation in found.items()
        if violation > 0
    ]
    return Violations(found, "; ".join(said))
