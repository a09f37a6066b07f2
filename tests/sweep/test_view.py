"""What a study looks like, read from its storage; how a machine is shared; the number of the best trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from small_studies import MakeStudy

from hrm_sweep.config import RunConfig, config_from_mapping, load_config, write_config
from hrm_sweep.errors import StudyError
from hrm_sweep.report.pace import TimeLeft
from hrm_sweep.runs import MetricRow, MetricsWriter, Owner
from hrm_sweep.sweep import resources
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.holdout import best_trial, known_holdout, measure_holdout
from hrm_sweep.sweep.paces import Paces
from hrm_sweep.sweep.space import Resources
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.view import importances, study_view


def begin(study: Study) -> Claim:
    one = claim(study, Owner.this_process())
    assert isinstance(one, Claim)
    return one


def test_a_trial_is_shown_with_its_values_its_progress_and_what_is_said_of_it(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 9}, base={"data_path": "nowhere", "epochs": 40, "eval_interval": 10})
    one, two, three, four = (begin(study) for _ in range(4))
    for epoch, value in ((10, 0.1), (20, 0.3), (30, 0.2)):
        one.trial.report(value, epoch)
    study.optuna.tell(one.trial, 0.3)
    two.trial.report(0.0, 20)
    two.trial.set_user_attr("pruned_by", "zero_accuracy at epoch 20: no puzzle solved")
    two.trial.set_user_attr("verdict", "The learning rate is far too low")
    study.optuna.tell(two.trial, state=TrialState.PRUNED)
    three.trial.set_user_attr("cause", "oom")
    three.trial.set_user_attr("message", "out of memory")
    study.optuna.tell(three.trial, state=TrialState.FAIL)
    assert study_view(study, 12.0).trials[2].state == "to be retried"
    retry = begin(study)
    four.trial.report(0.5, 10)
    seen = study_view(study, 12.0)
    assert (seen.ended, seen.budget, seen.metric, seen.maximize) == (2, 9, "exact_accuracy", True)
    assert [(line.number, line.state) for line in seen.trials] == [
        (0, "complete"), (1, "pruned"), (2, "retried"), (3, "running"), (4, "running"),
    ]  # fmt: skip
    first, second, third, fourth, _ = seen.trials
    assert (first.epoch, first.epochs, first.latest, first.best) == (30, 40, 0.2, 0.3)
    assert second.said == "zero_accuracy at epoch 20: no puzzle solved; The learning rate is far too low"
    assert third.said == "oom: out of memory"
    assert (fourth.values, fourth.epoch, fourth.best) == (four.values, 10, 0.5)
    assert retry.retry_of == 2


def test_times_left_are_measured_or_not_told(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 9})
    paces = Paces(study)
    for _ in range(2):
        study.optuna.tell(begin(study).trial, 0.5)
    running, elsewhere = begin(study), begin(study)
    seen = study_view(study, 12.0, paces)
    assert seen.left_s is None  # two ends bound one span of time
    assert [line.left for line in seen.trials] == [None] * 4
    study.optuna.tell(begin(study).trial, 0.5)
    directory = study.run_directory(running.number)
    directory.path.mkdir(parents=True)
    write_config(config_from_mapping({"epochs": 40, "eval_interval": 10}, "test"), directory.config)
    with MetricsWriter(directory.metrics) as writer:
        for epoch in (1.0, 2.0):
            writer.write(MetricRow("train", 5 * round(epoch), epoch, 3 * epoch))
    seen = study_view(study, 13.0, paces)
    assert seen.left_s is not None
    soonest, expected, latest = seen.left_s
    assert 0 < soonest < expected < latest
    assert seen.trials[running.number].left == TimeLeft(3.0 * 38, at_least=True)
    assert seen.trials[elsewhere.number].left is None  # its files cannot be seen from here
    assert study_view(study, 14.0).left_s is None


def test_importances_are_given_with_the_number_of_trials_they_rest_on(make_study: MakeStudy) -> None:
    study = make_study(
        parameters={"lr": {"min": 0.0, "max": 1.0}, "beta1": {"min": 0.0, "max": 0.9}}, budget={"trials": 40}
    )
    for _ in range(3):
        study.optuna.tell(begin(study).trial, 0.5)
    assert importances(study) == ({}, 3)
    for _ in range(37):
        one = begin(study)
        study.optuna.tell(one.trial, one.values["lr"])
    shares, n = importances(study)
    assert n == 40
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["lr"] > 3 * shares["beta1"]


def test_importances_of_equal_values_are_none(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 5})
    for _ in range(5):
        study.optuna.tell(begin(study).trial, 0.0)
    assert importances(study) == ({}, 5)


CORES = 4


@pytest.mark.parametrize(
    ("asked", "width", "gpus", "jobs", "threads", "devices"),
    [
        ({}, 64, (), 4, 1, ()),
        ({}, 512, (), 1, 4, ()),
        ({"jobs": 2}, 64, (), 2, 2, ()),
        ({"jobs": 9}, 64, (), 9, 1, ()),
        ({}, 512, ("0", "1"), 2, 2, ("0", "1")),
        ({"gpus_per_trial": 0.5}, 512, ("0", "1"), 4, 1, ("0", "0", "1", "1")),
        ({"gpus_per_trial": 0.4}, 64, ("3",), 2, 2, ("3", "3")),
        ({"processes": 2}, 64, (), 2, 2, ()),
        ({"processes": 8}, 64, (), 1, 4, ()),
        ({"processes": 2}, 512, ("0", "1", "2", "3", "4"), 2, 2, ("0,1", "2,3")),
        ({"processes": 2}, 512, ("0",), 1, 4, ()),
    ],
)
def test_a_machine_is_shared_without_using_a_core_twice(
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, Any],
    width: int,
    gpus: tuple[str, ...],
    jobs: int,
    threads: int,
    devices: tuple[str, ...],
) -> None:
    monkeypatch.setattr(resources, "available_cores", lambda: CORES)
    monkeypatch.setattr(resources, "visible_gpus", lambda: gpus)
    config = load_config("hrm_v1_tiny", {"arch.hidden_size": width})
    share = resources.share_out(Resources.model_validate(asked), [config])
    assert (share.jobs, share.threads, share.devices) == (jobs, threads, devices)


def test_a_study_on_the_cpu_takes_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "visible_gpus", lambda: ("0",))
    config: RunConfig = load_config("hrm_v1_tiny", {"device": "cpu"})
    assert resources.share_out(Resources(), [config]).devices == ()


@pytest.mark.parametrize(("chosen", "gpus"), [("", ()), ("-1", ()), ("2,5", ("2", "5"))])
def test_the_gpus_that_a_process_may_use_are_those_of_cuda_visible_devices(
    monkeypatch: pytest.MonkeyPatch, chosen: str, gpus: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert resources.visible_gpus() == gpus


def test_the_best_trial_is_the_first_of_equals_and_never_a_pruned_one(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 9})
    assert best_trial(study) is None
    assert measure_holdout(study) is None
    for value in (0.2, 0.7, 0.7):
        study.optuna.tell(begin(study).trial, value)
    pruned = begin(study)
    pruned.trial.report(0.9, 1)
    study.optuna.tell(pruned.trial, state=TrialState.PRUNED)
    best = best_trial(study)
    assert best is not None
    assert best.number == 1


def test_a_best_trial_without_its_checkpoint_cannot_be_measured_and_a_known_number_is_kept(
    make_study: MakeStudy, folder: Path
) -> None:
    study = make_study()
    study.optuna.tell(begin(study).trial, 0.2)
    with pytest.raises(StudyError, match=r"best\.pt: not there, so the best trial cannot be measured again"):
        measure_holdout(study)
    study.optuna.set_user_attr("holdout", {"trial": 0, "exact_accuracy": 0.25, "n": 40})
    known = measure_holdout(study)
    assert known is not None
    assert (known.exact_accuracy, known.n) == (0.25, 40)
    assert known_holdout(study, 1) is None
