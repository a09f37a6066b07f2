"""Runs that several processes train together: the same rows, stopped, continued, killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.runs import Cause, MetricRow, RunDirectory, State, StopReason, read_metrics
from hrm_sweep.training.session import run_training

SMALL = {
    "arch.hidden_size": 16,
    "arch.num_heads": 2,
    "arch.halt_max_steps": 3,
    "arch.halt_exploration_prob": 0.5,
    "global_batch_size": 50,
    "epochs": 2,
    "eval_interval": 1,
    "eval_puzzles": 21,  # which two ranks cannot share equally
    "log_interval": 7,
}


def small_config(data: Path, **changes: object) -> RunConfig:
    return load_config("hrm_v1_tiny", {**SMALL, "data_path": str(data), "device": "cpu", **changes})


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text of a row by name, but for the time."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{name}.{key}")
    elif name != ".time_s":
        yield name, value


def assert_same_rows(one: RunDirectory, other: RunDirectory) -> None:
    """Counts and histograms are equal, other numbers within the order of floating-point sums."""
    rows, others = read_metrics(one.metrics), read_metrics(other.metrics)
    assert [row.step for row in rows] == [row.step for row in others]
    for row, same in zip(rows, others, strict=True):
        want, got = dict(numbers(json.loads(row.to_json()))), dict(numbers(json.loads(same.to_json())))
        for name in want:
            if isinstance(want[name], float):
                want[name] = pytest.approx(want[name], rel=1e-3, abs=1e-6)
        assert got == want, row.step


def stopped_after(step: int) -> tuple[Any, Any]:
    """`on_row` and `stop` that end a run as preempted some time after its row of `step`."""
    steps = [0]
    return lambda row: steps.append(row.step), lambda: StopReason.PREEMPTED if max(steps) >= step else None


WATCH_IMPORTS = """
import os, pathlib, sys

class Watch:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("torch", "optuna", "sqlalchemy", "hrm_sweep.sweep"):
            pathlib.Path(__file__).with_name(f"{name}-{os.getpid()}").touch()

sys.meta_path.insert(0, Watch)
"""


@pytest.mark.proof
def test_the_number_of_ranks_changes_nothing_even_in_mid_run(
    tmp_path: Path, sudoku_4x4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 steps, with halting and exploration: by one process; begun by two and ended by one; and the other way round.

    On the way, what the ranks imported, although this process has Optuna: none of it.
    """
    assert optuna.__version__
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(WATCH_IMPORTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hooks), os.environ.get("PYTHONPATH", "")]))
    config = small_config(sudoku_4x4)
    whole = RunDirectory(tmp_path / "whole")
    assert run_training(config, whole, threads=1).state is State.COMPLETED

    for first, then in ((2, 1), (1, 2)):
        directory = RunDirectory(tmp_path / f"{first} and {then}")
        on_row, stop = stopped_after(14)
        status = run_training(config, directory, threads=2, processes=first, stop=stop, on_row=on_row)
        assert (status.state, status.cause) == (State.STOPPED, Cause.PREEMPTED), status.message
        assert 14 <= status.step < 40
        status = run_training(config, directory, resume=True, threads=2, processes=then)
        assert (status.state, status.step) == (State.COMPLETED, 40), status.message
        assert status.owner.pid == os.getpid()
        assert_same_rows(whole, directory)

    imported = [path.name.split("-")[0] for path in hooks.glob("*-*")]
    assert imported == ["torch"] * 4  # twice two ranks


def test_a_rank_that_is_killed_ends_the_run_with_its_cause(tmp_path: Path, sudoku_4x4: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    killed: list[int] = []

    def kill_the_second(row: MetricRow) -> None:
        if not killed:
            (pid,) = (one.pid for one in multiprocessing.active_children() if one.name == "rank 1 of 2")
            assert pid is not None
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    said: list[str] = []
    config = small_config(sudoku_4x4, epochs=2000)
    status = run_training(config, directory, threads=2, processes=2, on_row=kill_the_second, say=said.append)
    assert killed
    assert (status.state, status.cause) == (State.FAILED, Cause.KILLED)
    assert status.message == "rank 1 of 2 ended by SIGKILL"
    assert said[-1] == "failed (killed): rank 1 of 2 ended by SIGKILL"
    assert multiprocessing.active_children() == []


def test_an_error_of_every_rank_is_the_error_of_the_run(tmp_path: Path, sudoku_4x4: Path) -> None:
    """A learning rate that breaks the weights: all ranks see the same loss, and no rank waits for another for ever."""
    config = small_config(sudoku_4x4, lr=1e30, lr_warmup_steps=0)
    status = run_training(config, RunDirectory(tmp_path), threads=2, processes=2)
    assert (status.state, status.cause) == (State.FAILED, Cause.NAN), status.message


def test_shares_have_to_be_equal(tmp_path: Path, sudoku_4x4: Path) -> None:
    status = run_training(small_config(sudoku_4x4), RunDirectory(tmp_path), processes=4)
    assert (status.state, status.cause) == (State.FAILED, Cause.CONFIG)
    assert status.message == (
        "global_batch_size: 50 rows cannot be shared equally by 4 processes; use 52 or 48, or another number of "
        "processes"
    )


def test_processes_need_a_device_each(tmp_path: Path, sudoku_4x4: Path) -> None:
    status = run_training(small_config(sudoku_4x4, device="cuda:0"), RunDirectory(tmp_path), processes=2)
    assert (status.state, status.cause) == (State.FAILED, Cause.CONFIG)
    assert "'cuda:0' is one device, and 2 processes need one each" in status.message
