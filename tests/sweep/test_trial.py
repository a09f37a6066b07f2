"""A trial's life with a training that takes no time: every end it can have, and what is left behind."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import optuna
import pytest
import stand_in_training
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import get_note
from small_studies import MakeStudy

from hrm_sweep.config import load_config
from hrm_sweep.errors import StorageError
from hrm_sweep.runs import Owner, StopReason, read_metrics, read_status
from hrm_sweep.sweep import trial as trial_module
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.launch import ChildProcess, ChildThread, Launcher
from hrm_sweep.sweep.study import ARTIFACTS, Study
from hrm_sweep.sweep.trial import Surroundings, run_trial


def surroundings(launch: Launcher = ChildThread, ending: StopReason | None = None) -> Surroundings:
    return Surroundings(launch, 1, lambda: ending, lambda line: None, stand_in_training.NAME)


def run_next(study: Study, launch: Launcher = ChildThread, ending: StopReason | None = None) -> FrozenTrial:
    one = claim(study, Owner.this_process())
    assert isinstance(one, Claim)
    run_trial(study, one, surroundings(launch, ending))
    return study.trials()[one.number]


def fault(words: str, **changes: Any) -> dict[str, Any]:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": words}
    return {"base": base, "budget": {"trials": 1}, **changes}


def test_a_trial_that_ends_well_is_told_its_best_evaluation(make_study: MakeStudy) -> None:
    study = make_study(parameters={"lr": {"values": [1e-3]}})
    trial = run_next(study)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert trial.intermediate_values == {1: 0.125, 2: 0.25, 3: 0.375, 4: 0.5}
    directory = study.run_directory(0)
    assert load_config(directory.config).lr == 1e-3
    assert load_config(directory.config).seed == 0
    assert sorted(path.name for path in directory.checkpoints.iterdir()) == ["best.pt"]
    assert trial.user_attrs["run_dir"] == "trials/small/0000"


def test_a_trial_is_diagnosed_and_its_files_attached_before_it_is_told(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    tell = optuna.Study.tell
    seen: list[bool] = []

    def watched(self: optuna.Study, *args: Any, **kwargs: Any) -> FrozenTrial:
        seen.append("verdict" in study.trials()[0].user_attrs)
        return tell(self, *args, **kwargs)

    monkeypatch.setattr(optuna.Study, "tell", watched)
    trial = run_next(study)
    assert seen == [True]
    assert trial.user_attrs["verdict"]
    verdict = json.loads(study.run_directory(0).diagnosis.read_text())["verdict"]
    assert verdict in html.unescape(study.run_directory(0).report.read_text())
    names = {json.loads(value)["filename"] for key, value in trial.system_attrs.items() if key.startswith("artifacts:")}
    assert names == {"config.yaml", "diagnosis.json", "report.html", "curves.png", "metrics.csv"}
    assert len(list(ARTIFACTS.iterdir())) == 5


def test_a_worker_that_dies_before_it_has_told_leaves_the_checkpoint_for_the_next(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(parameters={"lr": {"values": [2e-3]}}, budget={"trials": 1})

    def die(*_: Any, **__: Any) -> FrozenTrial:
        raise KeyboardInterrupt

    monkeypatch.setattr(optuna.Study, "tell", die)
    with pytest.raises(KeyboardInterrupt):
        run_next(study)
    assert study.run_directory(0).last_checkpoint.is_file()


def test_a_diagnosis_that_fails_costs_nobody_their_trial(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("hrm_sweep.diagnosis.diagnose_run", broken)
    trial = run_next(make_study())
    assert trial.state is TrialState.COMPLETE
    assert "verdict" not in trial.user_attrs


def test_a_report_that_cannot_be_drawn_costs_nobody_their_verdict(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("hrm_sweep.report.diagnosis_page.write_report", broken)
    trial = run_next(make_study())
    assert trial.state is TrialState.COMPLETE
    assert trial.user_attrs["verdict"]


def test_a_dead_run_is_pruned_with_its_reason_and_keeps_nothing_but_metrics(make_study: MakeStudy) -> None:
    study = make_study(
        base={"data_path": "nowhere", "epochs": 8, "eval_interval": 1, "project_name": "hold@5"},
        parameters={"lr": {"values": [0.0]}},
        pruner={"zero_accuracy": {"epoch": 3}},
    )
    trial = run_next(study)
    assert trial.state is TrialState.PRUNED
    assert trial.user_attrs["pruned_by"] == (
        "zero_accuracy at epoch 3: no puzzle solved in 3 evaluations up to optimizer step 30"
    )
    directory = study.run_directory(0)
    assert not directory.checkpoints.exists()
    assert len(read_metrics(directory.metrics)) == 4  # it waited at the fifth evaluation for the stop to arrive
    assert "cause" not in trial.user_attrs
    note = get_note(optuna.Trial(study.optuna, trial._trial_id))
    assert f"**pruned by**: {trial.user_attrs['pruned_by']}" in note
    assert "`hrm-sweep diagnose trials/small/0000`" in note


def test_a_run_that_is_over_before_it_can_be_stopped_is_pruned_all_the_same(make_study: MakeStudy) -> None:
    study = make_study(parameters={"lr": {"values": [0.0]}}, pruner={"zero_accuracy": {"epoch": 4}})
    trial = run_next(study)
    assert trial.state is TrialState.PRUNED
    assert trial.user_attrs["pruned_by"].startswith("zero_accuracy at epoch 4: ")


FAULTS = [
    ("kill@2", "killed", "ended by SIGKILL"),
    ("segv@1", "bug", "ended by SIGSEGV, having printed last: training with 1 threads from evaluation 0"),
    ("exit@1", "bug", "ended with exit code 3, having printed last: something is wrong"),
    ("oom@1", "oom", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
    ("raise@1", "bug", "ended with exit code 1, having printed last: ZeroDivisionError: a mistake of ours"),
    ("nan@2", "nan", "non-finite at evaluation 2"),
    ("storage@1", "storage", "the disk is full"),
    ("mute", "no_metric", "no exact_accuracy in 4 evaluations; they have loss"),
]


@pytest.mark.parametrize(("words", "cause", "message"), FAULTS, ids=[words for words, *_ in FAULTS])
def test_each_way_to_fail_has_its_cause(make_study: MakeStudy, words: str, cause: str, message: str) -> None:
    study = make_study(**fault(words))
    trial = run_next(study, ChildProcess)
    assert (trial.state, trial.user_attrs["cause"], trial.user_attrs["message"]) == (TrialState.FAIL, cause, message)


def test_a_value_that_is_no_number_reaches_neither_optuna_nor_a_pruner(make_study: MakeStudy) -> None:
    study = make_study(**fault("nan@2"), pruner={"threshold": {"lower": 0.0}, "hyperband": {"min_epoch": 1}})
    trial = run_next(study)
    assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, "nan")
    assert list(trial.intermediate_values) == [1]


def test_a_killed_run_continues_in_its_directory_from_its_checkpoint(make_study: MakeStudy) -> None:
    study = make_study(**fault("kill@3-once", parameters={"lr": {"values": [2e-3]}}))
    first, second = run_next(study, ChildProcess), run_next(study, ChildProcess)
    assert (first.state, first.user_attrs["cause"]) == (TrialState.FAIL, "killed")
    assert (second.state, second.value, second.user_attrs["retry_of"]) == (TrialState.COMPLETE, 1.0, 0)
    assert second.user_attrs["run_dir"] == first.user_attrs["run_dir"]
    assert second.intermediate_values == {1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0}
    directory = study.run_directory(0)
    assert not study.run_directory(1).path.exists()
    assert [row.step for row in read_metrics(directory.metrics)] == [10, 20, 30, 40]
    assert "from evaluation 2" in directory.log.read_text().splitlines()[-1]


def test_a_worker_that_has_to_end_hands_its_trial_back_with_a_checkpoint(make_study: MakeStudy) -> None:
    study = make_study(**fault("hold@2"))
    trial = run_next(study, ending=StopReason.PREEMPTED)
    assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, "preempted")
    Path("go").touch()
    again = run_next(study)
    assert (again.state, again.user_attrs["retry_of"]) == (TrialState.COMPLETE, 0)


def test_a_run_that_gives_no_sign_of_life_is_ended_as_stalled(make_study: MakeStudy) -> None:
    study = make_study(**fault("hold@2", resources={"stall_minutes": 0.005}))
    trial = run_next(study, ChildProcess)
    assert (trial.user_attrs["cause"], trial.user_attrs["message"]) == ("stalled", "no sign of life for 0.005 minutes")


def test_a_child_that_does_not_stop_is_killed_after_its_grace(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_module, "_GRACE_S", dict.fromkeys(StopReason, 0.2))
    study = make_study(**fault("deaf@1"))
    trial = run_next(study, ChildProcess, ending=StopReason.PREEMPTED)
    assert trial.user_attrs["cause"] == "preempted"
    status = read_status(study.run_directory(0).status)
    assert status is not None
    assert not status.owner.is_alive()


def test_values_that_make_no_config_fail_the_trial_as_config(make_study: MakeStudy) -> None:
    study = make_study(parameters={"arch.num_heads": {"values": [7]}})
    trial = run_next(study)
    assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, "config")
    assert "hidden_size 512 is not divisible by num_heads 7" in trial.user_attrs["message"]


def test_a_worker_says_that_it_lives_while_its_trial_runs(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_module, "ALIVE_EVERY_S", 0.0)
    monkeypatch.setattr("time.time", lambda: 12345.0)
    assert run_next(make_study()).user_attrs["alive_at"] == 12345


def test_a_run_directory_that_cannot_be_made_fails_the_trial_as_storage(make_study: MakeStudy) -> None:
    study = make_study(retry={"storage": 0})
    Path("trials/small").write_text("a file where a folder should be")
    trial = run_next(study)
    assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, "storage")


def test_a_trial_that_somebody_else_ended_costs_the_worker_nothing(make_study: MakeStudy) -> None:
    study = make_study()
    one = claim(study, Owner.this_process())
    assert isinstance(one, Claim)
    study.optuna.tell(one.number, state=TrialState.FAIL)
    run_trial(study, one, surroundings())
    assert study.trials()[0].state is TrialState.FAIL


def test_a_database_that_stays_away_ends_the_worker_and_leaves_no_child(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(**fault("hold@2"))
    one = claim(study, Owner.this_process())
    assert isinstance(one, Claim)

    def away(*_: Any, **__: Any) -> None:
        raise StorageError("the storage cannot be used")

    monkeypatch.setattr(optuna.Trial, "report", away)
    with pytest.raises(StorageError):
        run_trial(study, one, surroundings(ChildProcess))
    status = read_status(study.run_directory(0).status)
    assert status is not None
    assert not status.owner.is_alive()
    assert study.trials()[0].state is TrialState.RUNNING  # for the next to recover
