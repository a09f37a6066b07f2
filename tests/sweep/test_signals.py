"""A worker that is told to end does so in order, and in time whatever holds it up."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import stand_in_training
from optuna.trial import TrialState
from small_studies import MakeStudy

from hrm_sweep.runs import Owner, State, read_metrics, read_status
from hrm_sweep.sweep.budget import account, owner_of, recover
from hrm_sweep.sweep.study import Study

START = """
import sys
from hrm_sweep.cli import main
from hrm_sweep.sweep import worker
worker.LEAVE_AFTER_S = float(sys.argv.pop(1))
main()
"""

StartWorker = Callable[..., "subprocess.Popen[str]"]


def until(what: Callable[[], object]) -> None:
    give_up = time.monotonic() + 120
    while not what():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    """Starts `hrm-sweep worker` on the study `small`, as a person would; it does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def start(leave_after_s: float = 27.0) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", START, str(leave_after_s), "worker", "--study", "small"]
        command += ["--training", stand_in_training.NAME]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def held(study: Study) -> bool:
    """Whether the first run waits at its second evaluation, after a checkpoint."""
    return len(read_metrics(study.run_directory(0).metrics)) == 1 and study.run_directory(0).best_checkpoint.is_file()


def holding(make_study: MakeStudy) -> Study:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "hold@2"}
    return make_study(base=base, parameters={"lr": {"values": [2e-3]}}, budget={"trials": 2})


def child(study: Study) -> Owner:
    status = read_status(study.run_directory(0).status)
    assert status is not None
    return status.owner


def test_one_ctrl_c_lets_a_worker_end_its_trial(make_study: MakeStudy, start_worker: StartWorker) -> None:
    study = holding(make_study)
    process = start_worker()
    until(lambda: held(study))
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("taking no further trial (Ctrl-C again: checkpoint and end now)" in line for line in lines)
    Path("go").touch()
    assert process.wait(timeout=60) == 0
    assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE]


def test_two_ctrl_c_let_a_worker_hand_its_trial_back(make_study: MakeStudy, start_worker: StartWorker) -> None:
    study = holding(make_study)
    process = start_worker()
    until(lambda: held(study))
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("Ctrl-C again" in line for line in lines)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert [trial.user_attrs["cause"] for trial in study.trials()] == ["preempted"]


def test_a_worker_leaves_in_time_although_the_database_is_locked(
    make_study: MakeStudy, start_worker: StartWorker
) -> None:
    """The database waits for a minute inside of a call that Python does not interrupt. The run has its checkpoint, its
    process ends with the worker, and the trial is recovered by the next."""
    study = holding(make_study)
    process = start_worker(6.0)
    until(
        lambda: held(study) and study.trials()[0].intermediate_values
    )  # else it is the worker that waits for the lock
    worker, training = owner_of(study.trials()[0]), child(study)
    with closing(sqlite3.connect("trials/optuna.db", timeout=60, isolation_level=None)) as locker:
        locker.execute("BEGIN IMMEDIATE")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 1
        until(lambda: not training.is_alive())
        locker.execute("ROLLBACK")
    assert process.stdout is not None
    assert "not done after 6 s: leaving the trial to whoever recovers it" in process.stdout.read()
    assert worker is not None
    assert not worker.is_alive()
    status = read_status(study.run_directory(0).status)
    assert status is not None
    assert status.state is State.STOPPED
    assert study.trials()[0].state is TrialState.RUNNING
    assert recover(study) == [0]
    assert account(study).due == 1


def test_a_child_that_does_not_stop_ends_with_its_worker(make_study: MakeStudy, start_worker: StartWorker) -> None:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "deaf@2"}
    study = make_study(base=base, budget={"trials": 1})
    process = start_worker(1.0)
    until(lambda: held(study))
    training = child(study)
    os.kill(process.pid, signal.SIGUSR2)
    assert process.wait(timeout=30) == 1
    until(lambda: not training.is_alive())
