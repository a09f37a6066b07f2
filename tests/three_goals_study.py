"""A study of forty trials with three goals and a constraint that took no time."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.space import space_from_mapping
from hrm_sweep.sweep.study import Study, create_or_continue

SPACE: dict[str, Any] = {
    "name": "two-goals",
    "base": {"data_path": "nowhere", "epochs": 4, "eval_interval": 1},
    "objective": [{"metric": "exact_accuracy"}, {"metric": "train_flops"}, {"metric": "seconds"}],
    "constraints": {"parameters": "<= 3M"},
    "parameters": {"lr": {"min": 1e-4, "max": 1e-1, "log": True}, "arch.H_cycles": {"min": 1, "max": 4}},
    "pruner": {"zero_accuracy": {"epoch": 3}},
    "budget": {"trials": 40},
}
TOO_LARGE = "4 M parameters where parameters <= 3M is asked for"


def make_three_goals_study(storage_url: str) -> Study:
    """In the current folder. More cycles score more and cost more; trials with four violate the constraint, and those
    with a low learning rate are pruned."""
    made = create_or_continue(storage_url, "two-goals", space_from_mapping(SPACE, "two-goals.yaml"))
    draw = random.Random(3)
    distributions = {"lr": FloatDistribution(1e-4, 1e-1, log=True), "arch.H_cycles": IntDistribution(1, 4)}
    for number in range(40):
        values = {"lr": 10 ** draw.uniform(-4, -1), "arch.H_cycles": draw.randint(1, 4)}
        cycles, is_pruned = values["arch.H_cycles"], values["lr"] < 2e-4
        exact = round(0.2 * cycles + 0.2 * draw.random(), 2)
        attrs: dict[str, Any] = (
            {attributes.PRUNED_BY: "zero_accuracy at epoch 3: no puzzle solved"} if is_pruned else {}
        )
        if cycles == 4 and not is_pruned:
            attrs[attributes.VIOLATES] = TOO_LARGE
        trial = create_trial(
            state=TrialState.PRUNED if is_pruned else TrialState.COMPLETE,
            values=None if is_pruned else [exact, 1e12 * cycles * draw.uniform(0.8, 1.2), 10.0 * cycles],
            params=values,
            distributions=distributions,
            user_attrs=attrs,
            system_attrs={attributes.CURVE: [[epoch, exact * epoch / 4] for epoch in (1, 2, 3, 4)]},
            constraints={"parameters": cycles / 3 - 1},
        )
        trial.datetime_start = datetime(2026, 1, 1) + timedelta(minutes=number)
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=90)
        made.optuna.add_trial(trial)
    return made
