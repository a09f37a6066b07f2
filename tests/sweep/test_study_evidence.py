"""What the rules see of a study is what happened in it: chains, foreign trials, run directories, live ones."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial
from small_studies import MakeStudy

from hrm_sweep.diagnosis import StudyEvidence, diagnose_study
from hrm_sweep.diagnosis.study_evidence import End, StudyTrial
from hrm_sweep.runs import Cause, Environment, MetricRow, MetricsWriter, write_environment
from hrm_sweep.sweep.study import Study, open_study
from hrm_sweep.sweep.study_evidence import gather_study_evidence

RECORDED = Path(__file__).parents[1] / "fixtures" / "runs" / "healthy"


def add(study: Study, state: TrialState, lr: float = 1e-3, value: float | None = None, **attrs: Any) -> int:
    """A trial as a worker leaves it, in one transaction."""
    distribution = optuna.distributions.CategoricalDistribution((1e-3, 2e-3))
    study.optuna.add_trial(
        create_trial(
            state=state,
            value=value,
            params={"lr": lr},
            distributions={"lr": distribution},
            user_attrs={key: attr for key, attr in attrs.items() if key != "intermediate"},
            intermediate_values=attrs.get("intermediate", {}),
        )
    )
    return len(study.trials()) - 1


def gather(study: Study) -> StudyEvidence:
    return gather_study_evidence(open_study(study.storage_url, study.name))


def environment(study: Study, number: int, **changes: Any) -> None:
    directory = study.run_directory(number)
    directory.path.mkdir(parents=True, exist_ok=True)
    fields: dict[str, Any] = {field.name: "x" for field in dataclasses.fields(Environment)}
    fields |= {"packages": {"torch": "2.6.0"}, "threads": 1, "attention_error": None}
    write_environment(directory.environment, Environment(**{**fields, **changes}))


def test_a_retry_is_an_attempt_of_one_trial(make_study: MakeStudy) -> None:
    study = make_study()
    add(study, TrialState.FAIL, cause="oom")
    add(study, TrialState.COMPLETE, value=0.4, retry_of=0)
    add(study, TrialState.FAIL, cause="killed")  # it will be tried again
    assert [(trial.number, trial.end, trial.failures) for trial in gather(study).trials] == [
        (1, End.COMPLETE, (Cause.OOM,)),  # as `best` and `report` call it
        (2, End.OPEN, (Cause.KILLED,)),
    ]


def test_the_puzzles_of_a_retried_trial_are_counted_in_the_folder_of_its_first_attempt(make_study: MakeStudy) -> None:
    study = make_study()
    add(study, TrialState.FAIL, cause="preempted")
    add(study, TrialState.COMPLETE, value=0.4, retry_of=0)
    add(study, TrialState.COMPLETE, lr=2e-3, value=0.38)
    directory = study.run_directory(0)
    directory.path.mkdir(parents=True)
    with MetricsWriter(directory.metrics) as writer:
        writer.write(MetricRow("eval", 8, 1, 1.0, {"exact_accuracy": 0.4, "count": 50.0}))
    evidence = gather(study)
    assert evidence.evaluated_puzzles == 50
    tie = next(one for one in diagnose_study(evidence).findings if one.rule == "no_clear_winner")
    assert "1 of 1 other configurations are as good as trial 1 within" in tie.explanation


def test_pruned_trials_say_by_what_and_how_good_they_were(make_study: MakeStudy) -> None:
    study = make_study()
    add(study, TrialState.PRUNED, pruned_by="median at epoch 8: 0.1 is below 0.2", intermediate={4: 0.1, 8: 0.05})
    add(study, TrialState.PRUNED, pruned_by="diagnosis at epoch 8: frozen_module: A part is frozen")
    add(study, TrialState.PRUNED)
    assert [(trial.pruned_by, trial.objective) for trial in gather(study).trials] == [
        ("median", 0.1),
        ("frozen_module", None),
        (None, None),
    ]


def test_a_loss_is_best_where_it_is_lowest(make_study: MakeStudy) -> None:
    study = make_study(objective={"metric": "loss"})
    add(study, TrialState.PRUNED, pruned_by="median at epoch 8: x", intermediate={4: 0.1, 8: 0.05, 12: float("nan")})
    assert gather(study).trials[0].objective == 0.05


def test_trials_of_other_programs_are_there_and_do_no_harm(make_study: MakeStudy) -> None:
    study = make_study()
    study.optuna.add_trial(create_trial(state=TrialState.FAIL))
    study.optuna.add_trial(create_trial(state=TrialState.COMPLETE, value=float("inf")))
    add(study, TrialState.FAIL, cause="of its own")
    study.optuna.ask()
    evidence = gather(study)
    assert evidence.trials == (
        StudyTrial(0, {}, End.FAILED, (None,)),
        StudyTrial(1, {}, End.COMPLETE),
        StudyTrial(2, {"lr": 1e-3}, End.FAILED, (None,)),
        StudyTrial(3, {}, End.OPEN),
    )
    assert diagnose_study(evidence).exit_code == 0


def test_the_leading_rule_comes_from_the_diagnosis_of_a_run_whose_verdict_names_a_fault(make_study: MakeStudy) -> None:
    study = make_study()
    findings = [
        {"rule": "plateau", "verdict": "fired", "severity": "advice"},
        {"rule": "non_finite", "verdict": "clear", "severity": "error"},
        {"rule": "act_constant", "verdict": "fired", "severity": "warning"},
    ]
    verdicts = ["ACT never halts", "Healthy: no rule fired", "ACT never halts", "ACT never halts"]
    for verdict in verdicts:
        add(study, TrialState.COMPLETE, value=0.1, verdict=verdict)
    for number in (0, 1, 2):
        directory = study.run_directory(number)
        directory.path.mkdir(parents=True)
        directory.diagnosis.write_text(json.dumps({"findings": findings}) if number != 2 else '{"findings": [')
    assert [trial.leading for trial in gather(study).trials] == ["act_constant", None, None, None]


def test_environments_are_read_and_their_drift_is_named(make_study: MakeStudy) -> None:
    study = make_study()
    for number in range(4):
        add(study, TrialState.COMPLETE, value=0.1 * number)
    for number in range(3):
        environment(study, number, packages={"torch": "2.7.1" if number == 2 else "2.6.0"})
    diagnosis = diagnose_study(gather(study))
    assert diagnosis.leading is not None
    assert [row.quantity for row in diagnosis.leading.evidence] == [
        "torch: 2.6.0, trials 0, 1",
        "torch: 2.7.1, trial 2",
    ]


def test_the_noise_comes_from_the_puzzles_of_the_best_trial(make_study: MakeStudy) -> None:
    study = make_study()
    add(study, TrialState.COMPLETE, value=0.1)
    add(study, TrialState.COMPLETE, lr=2e-3, value=0.2)
    assert gather(study).evaluated_puzzles is None
    directory = study.run_directory(1)
    directory.path.mkdir(parents=True)
    with MetricsWriter(directory.metrics) as metrics:
        metrics.write(MetricRow("train", 1, 1, 0.1, {"count": 7}))
        metrics.write(MetricRow("eval", 1, 1, 0.1, {"exact_accuracy": 0.2, "count": 100}))
    assert gather(study).evaluated_puzzles == 100


def test_recorded_evaluations_say_on_how_many_puzzles(make_study: MakeStudy) -> None:
    study = make_study()
    add(study, TrialState.COMPLETE, value=0.1)
    shutil.copytree(RECORDED, study.run_directory(0).path)
    assert gather(study).evaluated_puzzles == 100


def test_points_to_be_tried_first_are_baselines_and_limits_are_those_of_the_config(make_study: MakeStudy) -> None:
    study = make_study(
        parameters={"lr": {"values": [1e-3, 2e-3]}, "arch.halt_exploration_prob": {"min": 0.1, "max": 1.0}},
        first=[{"lr": 2e-3}],
    )
    add(study, TrialState.COMPLETE, value=0.1)
    add(study, TrialState.COMPLETE, lr=2e-3, value=0.2)
    evidence = gather(study)
    assert [trial.is_baseline for trial in evidence.trials] == [False, True]
    lr, exploration = evidence.parameters
    assert (lr.values, lr.least, lr.most, lr.whole) == ((1e-3, 2e-3), 0, None, False)
    assert (exploration.low, exploration.high, exploration.least, exploration.most) == (0.1, 1.0, 0, 1)
