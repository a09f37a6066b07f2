"""A study of seventy trials that took no time: high learning rates fail, low ones are pruned, the others complete."""

from __future__ import annotations

import json
import math
import random
from datetime import datetime, timedelta
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.space import space_from_mapping
from hrm_sweep.sweep.study import Study, create_or_continue

STEPS = (2, 4, 8, 16)
SPACE: dict[str, Any] = {
    "name": "mixed",
    "base": {"data_path": "nowhere", "epochs": 4, "eval_interval": 1},
    "parameters": {
        "lr": {"min": 1e-4, "max": 1e-1, "log": True},
        "arch.H_cycles": {"min": 1, "max": 3},
        "arch.halt_max_steps": {"values": list(STEPS)},
    },
    "pruner": {"zero_accuracy": {"epoch": 3}},
    "budget": {"trials": 80},
}
FAILS_ABOVE, PRUNED_BELOW = 2.5e-2, 4e-4


def make_mixed_study(storage_url: str, trials: int = 70) -> Study:
    """In the current folder. The best trial has 200 puzzles behind its score, and a score on 200 unseen ones."""
    study = create_or_continue(storage_url, "mixed", space_from_mapping(SPACE, "mixed.yaml"))
    distributions = {
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
        "arch.H_cycles": IntDistribution(1, 3),
        "arch.halt_max_steps": CategoricalDistribution(STEPS),
    }
    draw = random.Random(1)
    for number in range(trials):
        values = {
            "lr": 10 ** draw.uniform(-4, -1),
            "arch.H_cycles": draw.randint(1, 3),
            "arch.halt_max_steps": draw.choice(STEPS),
        }
        attrs: dict[str, Any] = {attributes.SEED: number, attributes.TRAIN_FLOPS: 1e12 * values["arch.H_cycles"]}
        state, value, curve = TrialState.COMPLETE, None, dict.fromkeys((1, 2, 3), 0.0)
        if values["lr"] > FAILS_ABOVE:
            state = TrialState.FAIL
            attrs |= {attributes.CAUSE: "nan", attributes.MESSAGE: "non-finite at <optimizer> step 22"}
        elif values["lr"] < PRUNED_BELOW:
            state = TrialState.PRUNED
            attrs[attributes.PRUNED_BY] = "zero_accuracy at epoch 3: no puzzle solved"
        else:
            value = round(200 * (0.9 - 0.3 * (math.log10(values["lr"]) + 2.7) ** 2 - 0.1 * draw.random())) / 200
            curve = {epoch: value * epoch / 4 for epoch in (1, 2, 3, 4)}
        trial = create_trial(
            state=state,
            value=value,
            params=values,
            distributions=distributions,
            intermediate_values=curve,
            user_attrs=attrs,
        )
        trial.datetime_start = datetime(2026, 1, 1) + timedelta(minutes=number)
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=90)
        study.optuna.add_trial(trial)
    best = study.optuna.best_trial
    directory = study.run_directory(best.number)
    directory.path.mkdir(parents=True)
    row = {"kind": "eval", "step": 9, "epoch": 4, "time_s": 1.0, "exact_accuracy": best.value, "count": 200}
    directory.metrics.write_text(json.dumps(row) + "\n")
    study.optuna.set_user_attr(attributes.HOLDOUT, {"trial": best.number, "exact_accuracy": 0.8, "n": 200})
    return study
