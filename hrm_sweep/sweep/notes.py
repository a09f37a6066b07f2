"""What optuna-dashboard shows on a study's and on a trial's page, in Markdown.

The dashboard looks through all attributes of a study for each of its trials (at 5,000 trials a hundred notes cost half
a second a page, 5,000 would cost 53 s), so a study keeps notes of a hundred trials at most: the newest of those that
were pruned or failed, and the best. A note that somebody has edited in the dashboard, which raises its version, is
theirs and stays. The dashboard itself cuts long notes and figures into pieces, for databases that we do not use; in one
piece each they are fewer attributes.
"""

from __future__ import annotations

from optuna.trial import TrialState
from optuna_dashboard._note import note_str_key_prefix, note_ver_key

from hrm_sweep.sweep.holdout import best_trial
from hrm_sweep.sweep.storage import study_lock
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.study_attributes import Value, replace_system_attributes, system_attributes

NOTED_TRIALS = 100
OURS = 1  # the version of every note that nobody else has touched


def write_note(study: Study, trial_id: int | None, body: str) -> None:
    """Give a trial its note, or the study where `trial_id` is None, in place of one that it has.

    The same as `optuna_dashboard.save_note`, which first reads the notes of all trials: 2 s in a study of 10,000.
    """
    values: dict[str, Value] = {note_ver_key(trial_id): OURS, f"{note_str_key_prefix(trial_id)}0": body}
    replace_system_attributes(study, values, like=[f"{note_str_key_prefix(trial_id)}%"])


def write_trial_note(study: Study, trial_id: int, body: str, *, is_telling: bool, most: int = NOTED_TRIALS) -> bool:
    """Give a trial its note if there is room, or if it is telling (pruned, failed, the best so far): then another one
    loses its own, first of those that are not telling, then the oldest. Returns whether it has one."""
    with study_lock(study.storage_url, study.name):
        noted = {_trial_id(key): version for key, version in system_attributes(study, "dashboard:%:note_ver").items()}
        if trial_id not in noted and len(noted) >= most:
            if not is_telling:
                return False
            for loser in _least_telling(study, noted)[: len(noted) - most + 1]:
                pieces = [note_ver_key(loser), f"{note_str_key_prefix(loser)}%"]
                replace_system_attributes(study, {}, like=pieces)
        write_note(study, trial_id, body)
        return True


def _trial_id(key: str) -> int:
    return int(key.split(":")[1])


def _least_telling(study: Study, noted: dict[int, Value]) -> list[int]:
    """The trials whose notes are ours, the least telling first."""
    trials = {trial._trial_id: trial for trial in study.trials()}
    best = best_trial(study)

    def key(trial_id: int) -> tuple[int, int]:
        trial = trials.get(trial_id)
        if trial is None or (best is not None and trial.number == best.number):
            return (2, trial_id)
        return (0 if trial.state is TrialState.COMPLETE else 1, trial_id)

    return sorted((each for each, version in noted.items() if version == OURS), key=key)
