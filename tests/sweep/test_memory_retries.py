"""A trial that runs out of memory goes on in micro-batches, at the same effective batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import limited_training
import stand_in_training
from optuna.trial import FrozenTrial, TrialState
from small_studies import MakeStudy

from hrm_sweep.config import load_config
from hrm_sweep.runs import Owner, read_metrics
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.launch import ChildProcess, ChildThread, Launcher
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.trial import Surroundings, run_trial


def run_all(study: Study, launch: Launcher, training: str) -> list[FrozenTrial]:
    while isinstance(one := claim(study, Owner.this_process()), Claim):
        run_trial(study, one, Surroundings(launch, 1, lambda: None, lambda line: None, training))
    return study.trials()


def short_of_memory(room: int, **changes: Any) -> dict[str, Any]:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": f"memory@{room}"}
    return {"base": {**base, "global_batch_size": 200}, "budget": {"trials": 1}, **changes}


def test_each_retry_has_half_as_many_rows_in_memory(make_study: MakeStudy) -> None:
    study = make_study(**short_of_memory(64, retry={"oom": 2}))
    trials = run_all(study, ChildThread, stand_in_training.NAME)
    assert [trial.user_attrs.get("message") for trial in trials] == [
        "no room for 200 rows",
        "no room for 100 rows",
        None,
    ]
    assert [trial.state for trial in trials] == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]


def test_by_default_there_is_one_retry(make_study: MakeStudy) -> None:
    trials = run_all(make_study(**short_of_memory(64)), ChildThread, stand_in_training.NAME)
    assert [trial.user_attrs["message"] for trial in trials] == ["no room for 200 rows", "no room for 100 rows"]


def test_a_training_that_really_runs_out_of_memory_goes_on_in_less(make_study: MakeStudy, sudoku_4x4: Path) -> None:
    """1000 rows at once ask for some 165 MB, measured by giving less and less; the process gets 110."""
    overrides = {
        "data_path": str(sudoku_4x4),
        "device": "cpu",
        "epochs": 2,
        "eval_interval": 1,
        "eval_puzzles": 20,
        "global_batch_size": 1000,
        "arch.hidden_size": 32,
        "arch.num_heads": 2,
        "arch.halt_max_steps": 2,
        "arch.H_cycles": 1,
        "arch.L_cycles": 1,
    }
    study = make_study(base="hrm_v1_tiny", overrides=overrides, budget={"trials": 1}, retry={"oom": 3})
    *failed, last = run_all(study, ChildProcess, limited_training.NAME)
    assert failed, "it fitted into memory"
    for trial in failed:
        assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, "oom"), trial.user_attrs
        assert "allocate memory" in trial.user_attrs["message"]
    assert last.state is TrialState.COMPLETE, last.user_attrs
    directory = study.run_directory(0)
    config = load_config(directory.config)
    assert (config.global_batch_size, config.micro_batch_size) == (1000, 1000 // 2 ** len(failed))
    assert [row.step for row in read_metrics(directory.metrics) if row.kind == "eval"] == [1, 2]
