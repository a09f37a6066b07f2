"""Measures how fast this machine trains: short real runs on made-up puzzles, for planning.

A process of its own, `python -m hrm_sweep.training.calibrate`, so that planning needs no torch. It says `ready` once
torch is loaded, reads one line of JSON, measures, and prints one line of JSON. Several of them that are given their
line at once measure what trials beside each other take.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrm_sweep.config import RunConfig, config_from_mapping
from hrm_sweep.data import PuzzleSet, Split, SplitMetadata, write_folder
from hrm_sweep.errors import HrmSweepError, TrainingError
from hrm_sweep.evaluation.accuracy import EVALUATION_ROWS
from hrm_sweep.evaluation.device import Device
from hrm_sweep.runs import MetricRow, RunDirectory, State, StopReason
from hrm_sweep.training.session import run_training

_WARM_UP_STEPS = 1
_FEWEST_STEPS = 4
_OUTLIER = 3.0  # times the median: a step that something else interrupted


class Clock:
    """When each optimizer step of a run was done; asks it to stop after a while."""

    def __init__(self, seconds: float = float("inf")) -> None:
        self.ticks: list[float] = []
        self._seconds = seconds

    def stop(self) -> StopReason | None:
        """Called after every step."""
        self.ticks.append(time.perf_counter())
        steps = len(self.ticks) - _WARM_UP_STEPS
        long_enough = steps >= _FEWEST_STEPS and self.ticks[-1] - self.ticks[_WARM_UP_STEPS - 1] >= self._seconds
        return StopReason.REQUESTED if long_enough else None


def measure(config: RunConfig, facts: SplitMetadata, seconds: float, bytes_before: int | None) -> dict[str, Any]:
    """Seconds of a step, an evaluation, saving and starting, at this configuration, the most memory that this process
    has taken so far beyond `bytes_before`, and the share of the steps' time for which it stood in line for a core.

    Training is timed for `seconds`, at least four steps. Raises TrainingError when such a run fails.
    """
    evaluated = min(config.eval_puzzles, EVALUATION_ROWS)
    with tempfile.TemporaryDirectory(prefix="hrm-sweep-calibrate-") as name:
        root = Path(name)
        _made_up_folder(root / "data", facts, rows=2 * config.global_batch_size, test_rows=2 * evaluated)
        short = config.model_copy(
            update={"data_path": str(root / "data"), "epochs": 2, "eval_interval": 1, "eval_puzzles": evaluated}
        )
        start_s, evaluation_s, saving_s = _timed_evaluation(short, root / "short")
        clock = Clock(seconds)
        endless = short.model_copy(update={"epochs": 10_000, "eval_interval": 10_000, "checkpoint": False})
        waited = _share_waited(lambda: _run(endless, root / "long", clock))
        bytes_after = Device.choose(config).peak_bytes()
    step_s = _step_seconds(clock.ticks, config.log_interval)
    return {
        "step_s": step_s,
        "evaluation_s": evaluation_s,
        "evaluated": evaluated,
        "saving_s": max(0.0, saving_s - step_s),
        "start_s": max(0.0, start_s - step_s),
        "peak_bytes": None if bytes_before is None or bytes_after is None else bytes_after - bytes_before,
        "waited": waited,
    }


def _timed_evaluation(config: RunConfig, directory: Path) -> tuple[float, float, float]:
    """(start with the first step, the second evaluation, saving with the next step) of a run of two intervals."""
    clock, evaluated_at = Clock(), list[float]()

    def on_row(row: MetricRow) -> None:
        if row.kind == "eval":
            evaluated_at.append(time.perf_counter())

    began = time.perf_counter()
    _run(config, directory, clock, on_row)
    per_interval = len(clock.ticks) // 2
    return (
        clock.ticks[0] - began,
        evaluated_at[1] - clock.ticks[-1],
        clock.ticks[per_interval] - evaluated_at[0],
    )


def _run(config: RunConfig, directory: Path, clock: Clock, on_row: Any = lambda row: None) -> None:
    said: list[str] = []
    status = run_training(config, RunDirectory(directory), stop=clock.stop, on_row=on_row, say=said.append)
    if status.state is State.FAILED:
        raise TrainingError(f"a run of a few steps failed ({status.cause}): {status.message}")


def _share_waited(work: Callable[[], None]) -> float | None:
    """The share of the time of `work` for which this thread could have run and other programs had the cores."""
    began, waiting_before = time.perf_counter(), _seconds_in_line()
    work()
    waiting_after = _seconds_in_line()
    if waiting_before is None or waiting_after is None:
        return None
    return (waiting_after - waiting_before) / (time.perf_counter() - began)


def _seconds_in_line() -> float | None:
    """For how long this thread has stood in line for a core so far; None where the system does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # not Linux, or a kernel without these figures
        return None


def _step_seconds(ticks: list[float], log_interval: int) -> float:
    """Mean seconds of a step, those that write a row of metrics in their share."""
    each = [after - before for before, after in itertools.pairwise(ticks)]
    steps = list(enumerate(each, start=2))[_WARM_UP_STEPS - 1 :]  # each with its number; the first has no beginning
    plain = _mean([seconds for number, seconds in steps if number % log_interval])
    with_row = _mean([seconds for number, seconds in steps if number % log_interval == 0])
    if plain is None or with_row is None:
        return plain or with_row or 0.0
    return plain + max(0.0, with_row - plain) / log_interval


def _mean(seconds: list[float]) -> float | None:
    if not seconds:
        return None
    limit = _OUTLIER * statistics.median(seconds)
    return statistics.fmean(one for one in seconds if one <= limit)


def _made_up_folder(path: Path, facts: SplitMetadata, *, rows: int, test_rows: int) -> None:
    rng = np.random.default_rng(0)
    write_folder(path, train=_made_up(facts, rows, rng), test=_made_up(facts, test_rows, rng), identifiers=())


def _made_up(facts: SplitMetadata, rows: int, rng: np.random.Generator) -> Split:
    """A split of random tokens, each row a group of its own; every identifier occurs, as far as there are rows."""
    first = min(1, facts.vocab_size - 1)
    cells = rng.integers(first, facts.vocab_size, (2, rows, facts.seq_len)).astype(np.int32)
    indices = np.arange(rows + 1, dtype=np.int32)
    identifiers = (indices[:-1] % facts.num_puzzle_identifiers).astype(np.int32)
    puzzle_set = PuzzleSet("all", cells[0], cells[1], identifiers, indices, indices)
    made_up = {**vars(facts), "total_groups": rows, "mean_puzzle_examples": 1.0, "sets": ("all",)}
    return Split(SplitMetadata(**made_up), (puzzle_set,))


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """The measurements of every configuration asked for, or what went wrong."""
    if request["threads"] is not None:
        torch.set_num_threads(request["threads"])
    facts = SplitMetadata(**{**request["facts"], "sets": tuple(request["facts"]["sets"])})
    try:
        configs = [config_from_mapping(one, "configuration") for one in request["configs"]]
        device = Device.choose(configs[0])
        taken = device.peak_bytes()
        return {
            "device": device.name,
            "measured": [measure(one, facts, request["seconds"], taken) for one in configs],
        }
    except HrmSweepError as error:
        return {"error": str(error)}


def main() -> None:
    # What a run prints goes to standard error, so that standard output holds our two lines and nothing else.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    print("ready", file=replies, flush=True)
    line = sys.stdin.readline()
    if line:
        print(json.dumps(answer(json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    main()
