"""The best trial of a study: its configuration, and what its score rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.errors import StudyError
from hrm_sweep.runs import RunDirectory, read_metrics
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.holdout import Holdout, best_trial, known_holdout
from hrm_sweep.sweep.remedies import values_of
from hrm_sweep.sweep.study import Study


@dataclass(frozen=True)
class Best:
    """The completed trial with the best value.

    value      of the objective, on the puzzles that selection used: `puzzles` of them, None where that is not known.
    values     what it has in place of the study's base.
    directory  its run directory, which may lie on another machine.
    holdout    its score on puzzles that selection never saw; None while that was not measured.
    """

    trial: int
    value: float
    puzzles: int | None
    values: Mapping[str, Any]
    directory: RunDirectory
    config: RunConfig
    holdout: Holdout | None


def best_of(study: Study) -> Best:
    """Look up the best trial, without reading the others. Raises StudyError when no trial has completed."""
    trial = best_trial(study)
    if trial is None or trial.value is None:
        raise StudyError(
            f"{study.name}: no trial has completed, so there is no best configuration; `hrm-sweep status {study.name}` "
            "says where it stands"
        )
    directory = study.run_directory(study.first_attempt_of(trial))
    return Best(
        trial=trial.number,
        value=trial.value,
        puzzles=puzzles_behind(directory),
        values=values_of(trial),
        directory=directory,
        config=config_of(study, trial, directory),
        holdout=known_holdout(study, trial.number),
    )


def config_of(study: Study, trial: FrozenTrial, directory: RunDirectory) -> RunConfig:
    """The configuration that a trial was run with: as its run directory has it, or as the search space makes it where
    that lies elsewhere."""
    if directory.is_run():
        return load_config(directory.config)
    from hrm_sweep.data.resolve import with_data_path  # a tenth of a second, which is seldom needed

    seed = trial.user_attrs.get(attributes.SEED)
    values = values_of(trial) if seed is None else {"seed": seed, **values_of(trial)}
    return with_data_path(study.space.config(values, where=f"trial {trial.number}"))


def puzzles_behind(directory: RunDirectory) -> int | None:
    """How many puzzles a run was last evaluated on; None where its metrics do not say."""
    counts = [row.get("count") for row in read_metrics(directory.metrics) if row.kind == "eval"]
    return round(counts[-1]) if counts and counts[-1] is not None and math.isfinite(counts[-1]) else None
