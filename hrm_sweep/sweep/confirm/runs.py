"""The runs of a confirmation in the storage: which ones have ended and how, and which one comes next.

A run is a trial that is born with its candidate and its seed, as the point that it has to be. Everything that the race
decides by stands in its attributes, because run directories may lie on another machine.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.runs import Cause
from hrm_sweep.runs.unseen import Unseen
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.confirm.entrants import Confirmation
from hrm_sweep.sweep.confirm.race import Bits, EndedRun, standing
from hrm_sweep.sweep.storage import patiently
from hrm_sweep.sweep.study import Chain, Study

SHARES = ("exact_accuracy", "accuracy")
"""Metrics of which a run that diverged has none of: its score is 0. A loss has no worst value, so it has no score."""


@dataclass(frozen=True)
class NextRun:
    """The run of a candidate on a seed, both by their place, that nobody has begun."""

    plan: Confirmation
    candidate: int
    seed: int

    @property
    def parameters(self) -> dict[str, Any]:
        return {"seed": self.plan.seeds[self.seed]}

    @property
    def attributes(self) -> dict[str, Any]:
        """The user attributes that its trial is born with."""
        candidate = self.plan.candidates[self.candidate]
        return {
            attributes.SEED: self.plan.seeds[self.seed],
            attributes.CANDIDATE: self.candidate,
            attributes.OVERRIDES: dict(candidate.values),
        }


def next_run(study: Study, plan: Confirmation, chains: Sequence[Chain]) -> NextRun | None:
    """The run that comes next; None while a look has to be waited for, and when all are begun."""
    begun = {place_of(plan, chain.first) for chain in chains}
    wanted = standing(plan, ended_runs(study, plan, chains)).runs()
    return next((NextRun(plan, *one) for one in wanted if one not in begun), None)


def runs_left(study: Study, plan: Confirmation, chains: Sequence[Chain]) -> int:
    """How many runs nobody has begun, if no further candidate falls."""
    now = standing(plan, ended_runs(study, plan, chains))
    begun = {place_of(plan, chain.first) for chain in chains}
    wanted = {(candidate, seed) for candidate in now.remaining for seed in range(len(plan.seeds))}
    return len(wanted - begun)


def ended_runs(study: Study, plan: Confirmation, chains: Sequence[Chain]) -> list[EndedRun]:
    """Every run of the race that will not be tried again."""
    objective = study.space.objective
    found = []
    for chain in chains:
        place = place_of(plan, chain.first)
        if place is not None and study.has_ended(chain):
            found.append(_ended(chain, *place, objective.metric, maximize=objective.goal == "maximize"))
    puzzles = max((run.solved.puzzles for run in found if run.solved is not None), default=0)
    if not puzzles or objective.metric != "exact_accuracy":
        return [replace(run, solved=None) for run in found]
    none_solved = Bits.of(np.zeros(puzzles, np.bool_))
    return [replace(run, solved=none_solved) if run.solved is None and run.score == 0 else run for run in found]


def place_of(plan: Confirmation, trial: FrozenTrial) -> tuple[int, int] | None:
    """(candidate, seed) of a trial; None for one that is none of the race."""
    candidate, seed = trial.user_attrs.get(attributes.CANDIDATE), trial.user_attrs.get(attributes.SEED)
    if not isinstance(candidate, int) or candidate >= len(plan.candidates) or seed not in plan.seeds:
        return None
    return candidate, plan.seeds.index(seed)


def _ended(chain: Chain, candidate: int, seed: int, metric: str, *, maximize: bool) -> EndedRun:
    trial = chain.last
    if trial.state is TrialState.COMPLETE:
        value = trial.user_attrs.get(attributes.UNSEEN, {}).get(metric)
        score = None if value is None else float(value) if maximize else -float(value)
        return EndedRun(candidate, seed, score, solved_by(trial))
    diverged = chain.cause is Cause.NAN and metric in SHARES and maximize
    return EndedRun(candidate, seed, 0.0 if diverged else None)


def keep_unseen(study: Study, trial: optuna.Trial, unseen: Unseen) -> None:
    """Write an evaluation on unseen puzzles into the storage, before the trial is told."""
    places = np.sort(np.array([*unseen.solved, *unseen.not_solved], dtype=np.int64))
    bits = Bits.of(np.isin(places, np.array(unseen.solved, dtype=np.int64)))
    kept: dict[str, Any] = {"puzzles": bits.puzzles, "bits": base64.b64encode(bits.packed).decode()}
    values = {**unseen.values, "puzzles": unseen.puzzles}
    patiently(lambda: study.storage.set_trial_system_attr(trial._trial_id, attributes.SOLVED, kept))
    patiently(lambda: trial.set_user_attr(attributes.UNSEEN, values))


def solved_by(trial: FrozenTrial) -> Bits | None:
    """Which of the unseen puzzles a run solved, in the order of the test split."""
    kept: Mapping[str, Any] | None = trial.system_attrs.get(attributes.SOLVED)
    return None if kept is None else Bits(base64.b64decode(kept["bits"]), int(kept["puzzles"]))
