"""Trials that several processes train together: killed in every way, stopped, pruned; and nothing outlives them."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState
from small_studies import MakeStudy

from hrm_sweep.errors import SpaceError
from hrm_sweep.runs import Owner, StopReason, read_metrics, read_status
from hrm_sweep.sweep import trial as trial_module
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.launch import ChildProcess
from hrm_sweep.sweep.pruners import read_pruners
from hrm_sweep.sweep.space_lint import lint_space
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.trial import Surroundings, run_trial

NARROW = {
    "device": "cpu",
    "arch.hidden_size": 16,
    "arch.num_heads": 2,
    "arch.halt_max_steps": 2,
    "global_batch_size": 100,
    "epochs": 5000,
    "eval_interval": 1,
    "eval_puzzles": 20,
}


def members(group: int) -> dict[int, str]:
    """Command lines of the processes that are left in a process group, by pid."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] not in "ZX":
                found[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:
            continue  # it has just ended
    return found


class OneAttempt:
    """Runs the next attempt and, once it has evaluated anew and there is a checkpoint, does something to its child."""

    def __init__(self, study: Study, act: Callable[[int], StopReason | None] | None) -> None:
        self._study, self._act = study, act
        self._directory = study.run_directory(0)
        self._rows_before = self._evaluations()
        self._child = 0

    def _evaluations(self) -> int:
        return sum(row.kind == "eval" for row in read_metrics(self._directory.metrics))

    def ending(self) -> StopReason | None:
        status = read_status(self._directory.status)
        if status is not None and status.owner.is_alive():
            self._child = status.owner.pid
        has_come_far = self._evaluations() > self._rows_before and self._directory.last_checkpoint.is_file()
        if not self._child or not has_come_far or self._act is None:
            return None
        act, self._act = self._act, None
        return act(self._child)

    def run(self) -> FrozenTrial:
        one = claim(self._study, Owner.this_process())
        assert isinstance(one, Claim)
        run_trial(self._study, one, Surroundings(ChildProcess, 2, self.ending, lambda line: None))
        trial = self._study.trials()[one.number]
        assert self._child, trial.user_attrs
        give_up = time.monotonic() + 5
        while left := members(self._child):
            assert time.monotonic() < give_up, f"left after 5 s: {left}"
            time.sleep(0.02)
        return trial


def kill_second_rank(child: int) -> None:
    ranks = sorted(pid for pid, command in members(child).items() if "spawn_main" in command)
    assert len(ranks) == 2, members(child)
    os.kill(ranks[1], signal.SIGKILL)


def kill_child(child: int) -> None:
    os.kill(child, signal.SIGKILL)


@pytest.mark.proof
def test_a_trial_of_two_processes_can_be_killed_stopped_continued_and_pruned(
    make_study: MakeStudy, sudoku_4x4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_module, "_GRACE_S", dict.fromkeys(StopReason, 300.0))  # a busy machine is no failure
    study = make_study(
        base="hrm_v1_tiny",
        overrides={**NARROW, "data_path": str(sudoku_4x4)},
        parameters={"lr": {"values": [0.0]}},
        resources={"processes": 2},
        budget={"trials": 1},
    )
    trial = OneAttempt(study, kill_second_rank).run()
    assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, "killed")
    assert trial.user_attrs["message"] == "rank 1 of 2 ended by SIGKILL"

    trial = OneAttempt(study, kill_child).run()
    assert (trial.user_attrs["cause"], trial.user_attrs["message"]) == ("killed", "ended by SIGKILL")

    trial = OneAttempt(study, lambda child: StopReason.PREEMPTED).run()
    assert trial.user_attrs["cause"] == "preempted"
    status = read_status(study.run_directory(0).status)
    assert status is not None
    assert status.message.startswith("stopped at optimizer step ")

    zero_rule = study.space.model_copy(update={"pruner": read_pruners({"zero_accuracy": {"epoch": 1}})})
    trial = OneAttempt(dataclasses.replace(study, space=zero_rule), None).run()
    assert trial.state is TrialState.PRUNED, trial.user_attrs
    assert [row.epoch for row in read_metrics(study.run_directory(0).metrics) if row.kind == "eval"] == [
        float(epoch) for epoch in range(1, len(trial.intermediate_values) + 1)
    ]
    log = study.run_directory(0).log.read_text()
    assert log.count("continuing at optimizer step ") == 3
    assert log.count(", 2 processes") == 4


def test_a_batch_that_processes_cannot_share_is_found_before_the_first_trial(
    make_study: MakeStudy, sudoku_4x4: Path
) -> None:
    space = make_study(
        base="hrm_v1_tiny",
        overrides={"data_path": str(sudoku_4x4)},
        parameters={"global_batch_size": {"values": [64, 100]}},
        resources={"processes": 8},
    ).space
    with pytest.raises(SpaceError, match=r"1 of 2 combinations cannot start") as caught:
        lint_space(space, "small.yaml")
    assert (
        "global_batch_size=100: global_batch_size: 100 rows cannot be shared equally by 8 processes; use 104 or 96"
    ) in str(caught.value)


def test_processes_of_one_trial_take_a_gpu_each(make_study: MakeStudy) -> None:
    with pytest.raises(SpaceError, match=r"resources: gpus_per_trial 0.5 and processes 2 do not go together"):
        make_study(resources={"processes": 2, "gpus_per_trial": 0.5})
