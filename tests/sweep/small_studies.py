"""Studies of runs that take no time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hrm_sweep.sweep.space import SearchSpace, space_from_mapping
from hrm_sweep.sweep.study import Study

STORAGE = "sqlite:///trials/optuna.db"

MakeStudy = Callable[..., Study]


def small_space(**changes: Any) -> SearchSpace:
    """Four evaluations, one parameter; `changes` replace top-level keys."""
    content: dict[str, Any] = {
        "name": "small",
        "base": {"data_path": "nowhere", "epochs": 4, "eval_interval": 1},
        "parameters": {"lr": {"values": [1e-3, 2e-3]}},
        "sampler": {"name": "random", "seed": 0},
        "budget": {"trials": 4},
    }
    return space_from_mapping({**content, **changes}, "small.yaml")
