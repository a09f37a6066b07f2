"""Training without a model: as quick as files can be written, and as faulty as a test asks for.

`project_name` says what happens, in words separated by spaces:

    kill@2     ends itself by SIGKILL at the second evaluation      kill@2-once   only in the first attempt
    segv@1     the same by SIGSEGV                                  exit@1        leaves with exit code 3
    oom@1      prints what torch prints, and leaves (-once too)     raise@1       an error of its own
    nan@2      the second evaluation is NaN, the run fails          storage@1     fails for want of disk
    mute       evaluates, but without any accuracy                  hold@2        waits there for a file `go`
    deaf@1     goes on for ever and never asks whether to stop      memory@64     room for so many rows at once, no more
    slow       takes 0.2 s for each evaluation                      silent@2      sleeps there for ever
    large      checkpoints of half a megabyte                       still         its puzzle embedding never moves
    unseen     solves of 100 unseen puzzles what it does of others, and a few more or less, by its seed
    late@3     solves nothing before the third evaluation

Where each attempt went on, and each checkpoint, is in the file `history` of the run directory.

The exact accuracy of evaluation k of n is min(1, 500 lr) * k / n, so lr 0 is a dead run and lr 2e-3 solves all.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hrm_sweep.config import RunConfig, write_config
from hrm_sweep.errors import DiskFullError
from hrm_sweep.runs import (
    Cause,
    MetricRow,
    MetricsWriter,
    RunDirectory,
    State,
    Status,
    StopReason,
    cut_back,
    replaced_atomically,
    write_status,
)
from hrm_sweep.runs.unseen import Unseen, write_unseen

NAME = "stand_in_training:run_training"
STEPS_PER_EVALUATION = 10
STILL = {"rows_visited": 1.0, "mean_abs_movement": 0.0, "expected_movement": 0.1, "grad_norm": 0.5}


def run_training(
    config: RunConfig,
    directory: RunDirectory,
    *,
    resume: bool = False,
    threads: int | None = None,
    stop: Callable[[], StopReason | None] = lambda: None,
    **_: Any,
) -> Status:
    with directory.locked():
        status = Status.starting()
        if not directory.is_run():
            write_config(config, directory.config)
        write_status(directory.status, status)
        try:
            status = _train(config, directory, status, stop)
        except DiskFullError as error:
            status = status.ended(State.FAILED, cause=Cause.STORAGE, exit_code=1, message=str(error))
        write_status(directory.status, status)
        return status


def _train(config: RunConfig, directory: RunDirectory, status: Status, stop: Callable[[], StopReason | None]) -> Status:
    evaluations = config.epochs // config.eval_interval
    done = evaluations_done(directory)
    cut_back(directory.metrics, done * STEPS_PER_EVALUATION, directory.lost_metrics)
    print(f"training with {os.environ.get('OMP_NUM_THREADS')} threads from evaluation {done}", flush=True)
    rows = config.micro_batch_size or config.global_batch_size
    words = (config.project_name or "").split()
    if any(rows > int(word.removeprefix("memory@")) for word in words if word.startswith("memory@")):
        return status.ended(State.FAILED, cause=Cause.OOM, exit_code=1, message=f"no room for {rows} rows")
    _note(directory, f"from {done}")
    for k in range(done + 1, evaluations + 1):
        if reason := stop():
            return _stopped(directory, status, reason, k - 1)
        if f"hold@{k}" in words:
            while not Path("go").exists():
                time.sleep(0.01)
                if reason := stop():
                    return _stopped(directory, status, reason, k - 1)
        if "slow" in words:
            time.sleep(0.2)
        if f"silent@{k}" in words:
            time.sleep(600)
        while f"deaf@{k}" in words:
            time.sleep(0.01)
        if failed := _fault(words, k, directory, status):
            return failed
        row = MetricRow("eval", k * STEPS_PER_EVALUATION, k * config.eval_interval, 0.1 * k, _values(config, words, k))
        with MetricsWriter(directory.metrics) as metrics:
            if "still" in words:
                metrics.write(MetricRow("train", row.step, row.epoch, row.time_s, {"loss": 1.0}, {"puzzle_emb": STILL}))
            metrics.write(row)
        if f"nan@{k}" in words:
            return status.ended(State.FAILED, cause=Cause.NAN, exit_code=1, message=f"non-finite at evaluation {k}")
        _save(directory, k, weights=500_000 if "large" in words else 0)
    if "unseen" in words:
        write_unseen(directory.unseen, unseen(config))
    return status.ended(State.COMPLETED, exit_code=0)


def unseen(config: RunConfig) -> Unseen:
    solved = max(0, min(100, round(100 * min(1.0, 500 * config.lr)) + config.seed % 7 - 3))
    values = {"exact_accuracy": solved / 100, "accuracy": 0.5 + solved / 200}
    return Unseen(values, tuple(range(solved)), tuple(range(solved, 100)), digest="stand-in")


def evaluations_done(directory: RunDirectory) -> int:
    if not directory.last_checkpoint.is_file():
        return 0
    return int(json.loads(directory.last_checkpoint.read_text())["evaluation"])


def _save(directory: RunDirectory, evaluation: int, weights: int = 0) -> None:
    for path in (directory.last_checkpoint, directory.best_checkpoint):
        with replaced_atomically(path) as temporary:
            temporary.write_text(json.dumps({"evaluation": evaluation, "weights": " " * weights}))
    _note(directory, f"saved {evaluation}")


def _note(directory: RunDirectory, line: str) -> None:
    with (directory.path / "history").open("a") as history:
        history.write(line + "\n")


def _values(config: RunConfig, words: list[str], k: int) -> dict[str, float]:
    if f"nan@{k}" in words:
        return {"exact_accuracy": float("nan"), "accuracy": float("nan"), "count": 100}
    if "mute" in words:
        return {"loss": 1.0}
    share = k / (config.epochs // config.eval_interval)
    learns = all(k >= int(word.removeprefix("late@")) for word in words if word.startswith("late@"))
    exact = min(1.0, 500 * config.lr) * share if learns else 0.0
    return {"exact_accuracy": exact, "accuracy": 0.5 + exact / 2, "loss": 2 - exact, "count": 100}


def _stopped(directory: RunDirectory, status: Status, reason: StopReason, evaluation: int) -> Status:
    if reason is StopReason.PRUNED:
        return status.ended(State.PRUNED, exit_code=0)
    if evaluation:
        _save(directory, evaluation)
    cause = Cause.PREEMPTED if reason is StopReason.PREEMPTED else None
    return status.ended(State.STOPPED, cause=cause, exit_code=0)


def _fault(words: list[str], k: int, directory: RunDirectory, status: Status) -> Status | None:
    marker = directory.path / "faulted"
    if f"kill@{k}" in words or (f"kill@{k}-once" in words and not marker.exists()):
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if f"segv@{k}" in words:
        os.kill(os.getpid(), signal.SIGSEGV)
    if f"exit@{k}" in words:
        print("something is wrong", flush=True)
        sys.stdout.flush()
        os._exit(3)
    if f"oom@{k}" in words or (f"oom@{k}-once" in words and not marker.exists()):
        marker.touch()
        print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", flush=True)
        os._exit(1)
    if f"raise@{k}" in words:
        raise ZeroDivisionError("a mistake of ours")
    if f"storage@{k}" in words:
        return status.ended(State.FAILED, cause=Cause.STORAGE, exit_code=1, message="the disk is full")
    return None
