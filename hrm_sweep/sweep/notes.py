"""What optuna-dashboard shows on a trial's page, in Markdown."""

from __future__ import annotations

from optuna_dashboard._note import note_ver_key, split_body

from hrm_sweep.sweep.study import Study


def write_note(study: Study, trial_id: int, body: str) -> None:
    """Give a trial its note; one that it has is replaced by one that is at least as long.

    The same as `optuna_dashboard.save_note`, which first reads the notes of all trials: 2 s in a study of 10,000.
    """
    for key, value in {note_ver_key(trial_id): 1, **split_body(body, trial_id)}.items():
        study.storage.set_study_system_attr(study.id, key, value)
