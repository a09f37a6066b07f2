"""What a study decides by: one goal, or several at once.

objective: {metric: exact_accuracy, goal: maximize}
objective: [{metric: exact_accuracy}, {metric: train_flops}]       what more accuracy costs: a front, not one best trial

The first goal is the main one, and is always something that evaluations measure: trials are compared by it while they
run, the zero rule looks at it, and wherever a single score is needed it is this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, PlainSerializer, ValidationError, WithJsonSchema, model_validator

from hrm_sweep.sweep.parts import Part, PartError, explained

Metric = Literal[
    "exact_accuracy",
    "accuracy",
    "loss",
    "lm_loss",
    "train_flops",
    "evaluation_flops",
    "seconds",
    "parameters",
    "act_steps",
]
EVALUATED: tuple[str, ...] = get_args(Metric)[:4]
"""What every evaluation measures, on the puzzles of the selection subset."""

COSTS: tuple[str, ...] = get_args(Metric)[4:]
"""What a run takes; `hrm_sweep/sweep/measures.py` says how each is measured."""

_MORE_IS_BETTER = ("exact_accuracy", "accuracy")


class Goal(Part):
    """One thing that a study wants as large or as small as possible; without a `goal`, whichever the metric suggests:
    more accuracy, less of everything else."""

    metric: Metric = "exact_accuracy"
    goal: Literal["maximize", "minimize"] = "maximize"

    @model_validator(mode="before")
    @classmethod
    def _goal_follows_metric(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "goal" not in values and "metric" in values:
            return {**values, "goal": "maximize" if values["metric"] in _MORE_IS_BETTER else "minimize"}
        return values

    @property
    def is_maximized(self) -> bool:
        return self.goal == "maximize"

    def worth(self, value: float) -> float:
        """The value, such that more is better."""
        return value if self.is_maximized else -value


class Objective(Goal):
    """The main goal, and those `beside` it. In a search space several are a list, the main one first."""

    beside: tuple[Goal, ...] = ()

    @property
    def goals(self) -> tuple[Goal, ...]:
        """All goals, in the order in which Optuna has their values."""
        return (Goal(metric=self.metric, goal=self.goal), *self.beside)


def _read(value: Any) -> Any:
    if isinstance(value, Objective):
        return value
    if not isinstance(value, list | tuple):
        return Objective(**_goal(value, "").model_dump())
    if not value:
        raise ValueError("expected at least one goal, found none")
    main, *beside = (_goal(one, f"{place}.") for place, one in enumerate(value))
    metrics = [one.metric for one in (main, *beside)]
    twice = next((metric for metric in metrics if metrics.count(metric) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is a goal twice")
    return Objective(**main.model_dump(), beside=tuple(beside))


def _goal(value: Any, prefix: str) -> Goal:
    """`prefix` leads to it inside of `objective`; the first has to be one that evaluations measure."""
    if not isinstance(value, Mapping):
        if prefix:
            raise PartError([f"{prefix[:-1]}: expected keys and values, found {value!r}"])
        raise ValueError(f"expected keys and values, or a list of several goals, found {value!r}")
    try:
        found = Goal.model_validate(value)
    except ValidationError as error:
        raise PartError(f"{prefix}{line}" for line in explained(error, Goal.model_fields)) from None
    if prefix in ("", "0.") and found.metric not in EVALUATED:
        raise PartError(
            [
                f"{prefix}metric: the first goal has to be one that evaluations measure ({', '.join(EVALUATED)}), for "
                f"trials are compared by it while they run; {found.metric} can stand beside it, in a list"
            ]
        )
    return found


def _write(objective: Objective) -> Any:
    goals = [goal.model_dump(mode="json") for goal in objective.goals]
    return goals if objective.beside else goals[0]


_GOAL_SCHEMA = Goal.model_json_schema()
_MAIN_SCHEMA = {**_GOAL_SCHEMA, "properties": {**_GOAL_SCHEMA["properties"], "metric": {"enum": list(EVALUATED)}}}
AnyObjective = Annotated[
    Objective,
    BeforeValidator(_read),
    PlainSerializer(_write),
    WithJsonSchema(
        {
            "anyOf": [
                _MAIN_SCHEMA,
                {"type": "array", "minItems": 1, "prefixItems": [_MAIN_SCHEMA], "items": _GOAL_SCHEMA},
            ]
        }
    ),
]
