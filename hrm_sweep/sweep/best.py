"""The best trial of a study: its configuration, and what its score rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.errors import StudyError
from hrm_sweep.runs import RunDirectory, read_metrics
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.goals import front, score
from hrm_sweep.sweep.holdout import Holdout, best_trial, known_holdout
from hrm_sweep.sweep.remedies import values_of
from hrm_sweep.sweep.study import STATES, Study


@dataclass(frozen=True)
class Best:
    """The completed trial with the best value, or one that was chosen.

    value      of the main goal, on the puzzles that selection used: `puzzles` of them, None where that is not known.
    values     what it has in place of the study's base.
    directory  its run directory, which may lie on another machine.
    holdout    its score on puzzles that selection never saw; None while that was not measured.
    goals      its values of all goals, in their order.
    """

    trial: int
    value: float
    puzzles: int | None
    values: Mapping[str, Any]
    directory: RunDirectory
    config: RunConfig
    holdout: Holdout | None
    goals: tuple[float, ...] = ()


def best_of(study: Study, number: int | None = None) -> Best:
    """Look up the best trial by the main goal, or the completed trial with this number. Raises StudyError when there is
    none."""
    trial = best_trial(study) if number is None else _completed(study, number)
    value = None if trial is None else score(trial)
    if trial is None or value is None:
        raise StudyError(f"{study.name}: {why_no_best(study)}")
    directory = study.run_directory(study.first_attempt_of(trial))
    return Best(
        trial=trial.number,
        value=value,
        puzzles=puzzles_behind(directory),
        values=values_of(trial),
        directory=directory,
        config=config_of(study, trial, directory),
        holdout=known_holdout(study, trial.number),
        goals=tuple(trial.values),
    )


def only_one_of(study: Study, number: int | None) -> Best:
    """The trial with this number or, where a study has one goal, its best. Raises StudyError, naming the front, where
    it has several and no trial was chosen."""
    if number is None and study.space.objective.beside:
        numbers = [str(trial.number) for trial in front(study.space.objective, study.trials())]
        if numbers:
            raise StudyError(
                f"{study.name}: has {len(study.space.objective.goals)} goals, so there is no single best trial; choose "
                f"one of its front with --trial N: {', '.join(numbers)}"
            )
    return best_of(study, number)


def why_no_best(study: Study) -> str:
    """Why a study has no best trial, and what to do."""
    complete = sum(trial.state is TrialState.COMPLETE for trial in study.trials())
    if complete and study.space.constraints:
        bounds = ", ".join(str(one) for one in study.space.constraints.values())
        return (
            f"none of its {complete} completed trials keeps to the constraints ({bounds}), so there is no best "
            f"configuration; `hrm-sweep report {study.name}` says what each one violates"
        )
    return (
        f"no trial has completed, so there is no best configuration; `hrm-sweep status {study.name}` "
        "says where it stands"
    )


def _completed(study: Study, number: int) -> FrozenTrial:
    trials = study.trials()
    if not 0 <= number < len(trials):
        raise StudyError(f"{study.name}: there is no trial {number}; there are {len(trials)}, counted from 0")
    if trials[number].state is not TrialState.COMPLETE:
        state = STATES[trials[number].state]
        last = next(chain.last.number for chain in study.chains() if number in chain.numbers)
        continued = f"; it was continued as trial {last}" if last != number else ""
        raise StudyError(
            f"{study.name}: trial {number} is {state}; only one that has completed can be taken{continued}"
        )
    return trials[number]


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
