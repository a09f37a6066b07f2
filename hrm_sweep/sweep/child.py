"""The process that trains one trial. The only file of the sweep that reaches training, and so torch.

A worker starts it, follows its metrics.jsonl, and asks it to stop through a pipe. The end of that pipe is the end of
the worker: the child then ends itself at once, marking nothing; whoever recovers the trial continues from its
checkpoint.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from hrm_sweep.config import RunConfig
from hrm_sweep.runs import RunDirectory, State, Status, StopReason, write_status
from hrm_sweep.runs.unseen import read_unseen, write_unseen

TRAINING = "hrm_sweep.training.session:run_training"
"""What trains, by name, so that it is imported (with torch) only where it runs."""

UNDER_WAY = "under way"
"""What a child says when its first step is done: from then on metrics.jsonl holds nothing that a resume cuts off."""


@dataclass(frozen=True)
class Job:
    """One attempt at one trial, by so many `processes` with so many CPU `threads` together.

    `training` is `module:function`, called as run_training is. Where `unseen` is given, the best checkpoint is then
    evaluated on the puzzles that no choice was made by, and `unseen` is what the digest of the test split has to be.
    """

    config: RunConfig
    run_dir: Path
    threads: int
    training: str = TRAINING
    processes: int = 1
    unseen: str | None = None


class Control:
    """What the worker wants, as the training asks for it after each step."""

    def __init__(self, say_under_way: Callable[[], None]) -> None:
        self.reason: StopReason | None = None
        self._say_under_way = say_under_way
        self._is_under_way = False

    def stop(self) -> StopReason | None:
        if not self._is_under_way:
            self._is_under_way = True
            self._say_under_way()
        return self.reason


def main(connection: Connection, job: Job) -> None:
    """Entry point of the process. Exit code 0 unless the run failed."""
    if hasattr(os, "setsid"):
        os.setsid()  # a process group of its own, so that a kill reaches whatever the training starts
    _print_into(RunDirectory(job.run_dir).log)
    control = Control(lambda: connection.send(UNDER_WAY))
    threading.Thread(target=_listen, args=(connection, control), daemon=True).start()
    status = train(job, control)
    sys.exit(1 if status.state is State.FAILED else 0)


def train(job: Job, control: Control) -> Status:
    """Train, from the last checkpoint if there is one, and evaluate on unseen puzzles where the job asks for it."""
    module, _, function = job.training.partition(":")
    run_training: Callable[..., Status] = getattr(importlib.import_module(module), function)
    directory = RunDirectory(job.run_dir)
    status = run_training(
        job.config,
        directory,
        resume=True,
        threads=job.threads,
        processes=job.processes,
        stop=control.stop,
    )
    ended_well = status.state in (State.COMPLETED, State.STOPPED) and control.reason is None
    if job.unseen is None or not ended_well or read_unseen(directory.unseen) is not None:
        return status
    return _evaluated(job.config, directory, status, job.unseen)


def _evaluated(config: RunConfig, directory: RunDirectory, status: Status, digest: str) -> Status:
    """Write unseen.json; the status becomes that of a failed run where that cannot be done."""
    from hrm_sweep.evaluation.unseen import evaluate_unseen  # here, for they load torch
    from hrm_sweep.training.session import explain_failure

    try:
        write_unseen(directory.unseen, evaluate_unseen(config, directory.best_checkpoint, digest))
    except Exception as error:  # the border of a run: whatever happened becomes its cause
        cause, message = explain_failure(error)
        print(f"on unseen puzzles: failed ({cause}): {message}")
        status = status.ended(State.FAILED, cause=cause, exit_code=1, message=f"on unseen puzzles: {message}")
        with directory.locked():
            write_status(directory.status, status)
    return status


def _listen(connection: Connection, control: Control) -> None:
    try:
        while True:
            control.reason = StopReason(connection.recv())
    except (EOFError, OSError):
        os._exit(1)  # the worker is gone; every step from here on would be lost work on a machine that is needed


def _print_into(log: Path) -> None:
    """Let everything this process prints, also from C code, go to the run's log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)


def send_holdout(connection: Connection, config: RunConfig, checkpoint: Path) -> None:
    """Entry point of the process that evaluates a checkpoint on the puzzles that selection never saw.

    Sends (exact accuracy or None, number of puzzles), or a text that says what went wrong.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is for the parent, which ends this process
    from hrm_sweep.errors import HrmSweepError
    from hrm_sweep.evaluation.accuracy import evaluate_checkpoint  # here, for it loads torch

    try:
        result = evaluate_checkpoint(config, checkpoint, "holdout")
    except HrmSweepError as error:
        connection.send(str(error))
    else:
        connection.send((result.exact_accuracy, result.count))
