"""Ends trials that are RUNNING for nobody."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.budget import owner_of, recover
from hrm_sweep.sweep.storage import study_lock
from hrm_sweep.sweep.study import Study


@dataclass(frozen=True)
class Reaped:
    """What became of the running trials of a study, by number.

    recovered  their worker is gone: failed as killed; the next `run` tries them again.
    ended      they belonged to another program, which left no word of its owner: failed, and not tried again.
    left       such trials that were left alone.
    alive      trials whose worker lives, as far as can be known.
    """

    recovered: tuple[int, ...]
    ended: tuple[int, ...]
    left: tuple[int, ...]
    alive: tuple[int, ...]


def reap(study: Study, *, everything: bool) -> Reaped:
    """Recover what dead workers left; with `everything` also end the running trials of other programs.

    Of those nobody can know whether their program still lives, so it takes a person to say so.
    """
    with study_lock(study.storage_url, study.name):
        recovered = recover(study)
        running = [trial for trial in study.trials() if trial.state is TrialState.RUNNING]
        foreign = [trial for trial in running if owner_of(trial) is None]
        if everything:
            for trial in foreign:
                _end(study, trial)
        numbers = tuple(trial.number for trial in foreign)
        alive = tuple(trial.number for trial in running if owner_of(trial) is not None)
        return Reaped(tuple(recovered), numbers if everything else (), () if everything else numbers, alive)


def _end(study: Study, trial: FrozenTrial) -> None:
    said = "it was left running by another program, and ended by `hrm-sweep reap --all`"
    study.storage.set_trial_user_attr(trial._trial_id, attributes.MESSAGE, said)
    study.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
