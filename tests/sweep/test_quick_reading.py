"""The quick listing of a large study gives the trials that Optuna gives."""

from __future__ import annotations

import dataclasses
from typing import Any

import optuna
import pytest
from bulk_studies import fill
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna_dashboard import get_note
from small_studies import STORAGE, MakeStudy

from hrm_sweep.sweep.holdout import best_trial
from hrm_sweep.sweep.notes import write_note
from hrm_sweep.sweep.storage import open_storage
from hrm_sweep.sweep.study import open_study


def contents(trial: FrozenTrial) -> dict[str, Any]:
    """All that a trial holds, NaN equal to NaN; the order in a dictionary counts for parameters only."""
    shown = {
        key: {inner: repr(one) for inner, one in value.items()} if isinstance(value, dict) else repr(value)
        for key, value in vars(trial).items()
    }
    return {**shown, "order": list(trial.params)}


def test_every_kind_of_trial_is_read_as_optuna_reads_it(make_study: MakeStudy) -> None:
    study = make_study(
        parameters={
            "lr": {"min": 1e-4, "max": 1e-2, "log": True},
            "arch.H_cycles": {"min": 1, "max": 3},
            "global_batch_size": {"values": [32, 64]},
        }
    )
    fill(study, 30)
    odd = study.optuna.ask()
    for step, value in ((3, float("nan")), (1, float("inf")), (2, -float("inf")), (5, 0.25)):
        odd.report(value, step)
    odd.set_user_attr("later", {"nested": [1, None, "ü"]})
    odd.suggest_float("weight_decay", 0.0, 1.0, step=0.25)
    infinite = study.optuna.ask()
    study.optuna.tell(infinite, float("inf"))
    study.optuna.enqueue_trial({"lr": 1e-3})
    study.optuna.add_trial(create_trial(state=TrialState.FAIL))
    other = optuna.create_study(study_name="another", storage=study.storage)
    other.ask()
    ours = open_storage(STORAGE).get_all_trials(study.id)
    theirs = RDBStorage(STORAGE, skip_table_creation=True).get_all_trials(study.id)
    assert len(ours) == 34
    assert [contents(trial) for trial in ours] == [contents(trial) for trial in theirs]
    assert [trial.number for trial in open_storage(STORAGE).get_all_trials(other._study_id)] == [0]


def test_what_changes_after_the_first_listing_is_seen(make_study: MakeStudy) -> None:
    study = make_study()
    fill(study, 5)
    running = study.optuna.ask()
    reader = open_study(STORAGE, "small")
    assert len(reader.trials()) == 6
    study.optuna.tell(running, 0.5)
    study.optuna.ask()
    assert [trial.state.name for trial in reader.trials()[5:]] == ["COMPLETE", "RUNNING"]


@pytest.mark.parametrize("length", [10, 5000])
def test_a_note_is_what_the_dashboard_reads(make_study: MakeStudy, length: int) -> None:
    study = make_study()
    trial, other = study.optuna.ask(), study.optuna.ask()
    write_note(study, trial._trial_id, "x" * length)
    write_note(study, trial._trial_id, "y" * length)
    write_note(study, other._trial_id, "of another")
    assert get_note(trial) == "y" * length


def test_what_is_shown_of_a_study_has_no_password(make_study: MakeStudy) -> None:
    study = dataclasses.replace(make_study(), storage_url="postgresql://me:s3cr3t@host/database")
    assert "s3cr3t" not in repr(study)


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_the_best_trial_is_found_without_a_listing(make_study: MakeStudy, goal: str) -> None:
    study = make_study(objective={"metric": "exact_accuracy", "goal": goal})
    assert best_trial(study) is None
    optuna.create_study(study_name="another", storage=study.storage).add_trial(create_trial(value=-9.0))
    for value in (0.25, float("-inf"), 0.75, float("inf"), 0.75, float("inf"), float("-inf")):
        study.optuna.add_trial(create_trial(value=value))
    study.optuna.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={1: 99.0}))
    best = best_trial(open_study(STORAGE, study.name))
    assert best is not None
    assert (best.number, best.value) == ((3, float("inf")) if goal == "maximize" else (1, float("-inf")))


def test_the_first_attempt_of_a_retry_is_found(make_study: MakeStudy) -> None:
    study = make_study()
    for attrs in ({}, {"retry_of": 0}, {}, {"retry_of": 1}):
        study.optuna.add_trial(create_trial(value=0.5, user_attrs=attrs))
    assert [study.first_attempt_of(trial) for trial in study.trials()] == [0, 0, 2, 0]
