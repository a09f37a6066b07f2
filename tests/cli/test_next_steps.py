"""Which commands are named as next steps, for studies in every state of health."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sweep"))

from small_studies import STORAGE, small_space

from hrm_sweep.cli.next_steps import confirm_step, diagnose_step
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import Study, create_or_continue

quiet_optuna()
Trial = tuple[TrialState, dict[str, Any]]

SICK = {"verdict": "The learning rate is far too low"}
BY_ZERO_RULE = {"pruned_by": "zero_accuracy at epoch 20: no puzzle solved in 5 evaluations"}
BY_DIAGNOSIS = {"pruned_by": "diagnosis at epoch 4: lr_out_of_range: the learning rate is far too low"}
BY_MEDIAN = {"pruned_by": "median at epoch 20: exact_accuracy 0.6692"}
NO_FAULT = {"verdict": "No fault found: the pruner, not a fault, ended the run early, at step 626 of 750."}

healthy: Trial = (TrialState.COMPLETE, {"verdict": "Healthy: no rule fired at warning or above at step 750 of 750."})
behind: Trial = (TrialState.PRUNED, BY_MEDIAN | NO_FAULT)
sick: Trial = (TrialState.PRUNED, BY_ZERO_RULE | SICK)
sick_and_behind: Trial = (TrialState.PRUNED, BY_MEDIAN | SICK)
sick_to_its_end: Trial = (TrialState.COMPLETE, SICK)
dead: Trial = (TrialState.PRUNED, BY_ZERO_RULE | NO_FAULT)
stopped_by_a_rule: Trial = (TrialState.PRUNED, BY_DIAGNOSIS)
pruned_elsewhere: Trial = (TrialState.PRUNED, {})
failed: Trial = (TrialState.FAIL, {"cause": "config", "message": "not to be had"})
to_be_retried: Trial = (TrialState.FAIL, {"cause": "preempted"})


def study_of(*trials: Trial) -> Study:
    study = create_or_continue(STORAGE, "small", small_space())
    for state, attrs in trials:
        value = 0.5 if state is TrialState.COMPLETE else None
        study.optuna.add_trial(create_trial(state=state, value=value, user_attrs=attrs))
    return study


@pytest.mark.parametrize(
    ("trials", "step"),
    [
        ([], None),
        ([healthy, behind, pruned_elsewhere, to_be_retried], None),
        ([sick, healthy, behind], "0000  # why this one did not learn"),
        ([sick, sick, behind, sick_to_its_end], "0001  # why this one did not learn"),
        ([sick_and_behind, dead], "0000  # what is wrong with this one"),
        ([sick_to_its_end, behind], "0000  # what is wrong with this one"),
        ([dead, behind], "0000  # why this one did not learn"),
        ([stopped_by_a_rule, failed, behind], "0000  # why this one did not learn"),
        ([failed, behind, healthy], "0000  # why this one failed"),
    ],
)
def test_the_trial_to_diagnose_is_one_in_bad_health(folder: Path, trials: list[Trial], step: str | None) -> None:
    told = [f"{command}  # {why}" for command, why in diagnose_step(study_of(*trials))]
    assert told == ([] if step is None else [f"hrm-sweep diagnose trials/small/{step}"])


def test_a_best_trial_is_to_be_confirmed_until_it_was(folder: Path) -> None:
    study = study_of(behind)
    assert list(confirm_step(study)) == []
    study = study_of(healthy)
    assert list(confirm_step(study)) == [("hrm-sweep confirm small", "is the best one good, or was it lucky?")]
    known = {"study": "small-confirm", "metric": "exact_accuracy", "verdict": "undecided", "leading": [], "scores": []}
    study.optuna.set_user_attr("confirmed", known)
    assert list(confirm_step(study)) == []
