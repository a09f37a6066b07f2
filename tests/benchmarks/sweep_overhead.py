"""What a sweep costs beside training: how soon it starts, what lies between two trials, and what the processes cost.

    python tests/benchmarks/sweep_overhead.py [--repeat 3] [--trials 6] [--json FILE]

Prints the best of the repetitions, for other programs only ever make it slower: seconds of `hrm-sweep --help`; seconds
from the start of `run` to the end of the first optimizer step; seconds between the end of one trial and the end of the
first step of the next; what a trial takes beside its training; and, while trials train, the share of a core that the
parent and the worker take, and the parent's memory. One small trial at a time, in a temporary folder. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

import optuna

from hrm_sweep.runs import RunDirectory, read_metrics, read_status

DATA = Path(__file__).resolve().parents[1] / "fixtures" / "sudoku-4x4"
SMALL = ["arch.hidden_size=16", "arch.num_heads=2", "arch.H_layers=1", "arch.L_layers=1", "epochs=4", "eval_interval=2"]
STUDY = Path("trials") / "quickstart"


@dataclass(frozen=True)
class Overhead:
    """Seconds, shares of one core while a trial trains, and MiB. `between_trials_s` and `beside_training_s` are medians
    over the trials after the first."""

    help_s: float
    first_step_s: float
    between_trials_s: float
    beside_training_s: float
    parent_share: float
    worker_share: float
    parent_mib: float


def help_s() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "hrm_sweep", "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def processor_s(pid: int) -> float:
    """Processor time of a process, that of its children left out."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def worker_of(parent: int) -> int:
    for line in subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True
    ).stdout.split():
        return int(line)
    raise SystemExit("the parent has no worker")


def measure(folder: Path, trials: int) -> Overhead:
    command = [sys.executable, "-m", "hrm_sweep", "run", "quickstart", "--trials", str(trials), "--jobs", "1"]
    began = time.perf_counter()
    parent = subprocess.Popen(
        [*command, f"data_path={DATA}", "log_interval=1", *SMALL], cwd=folder, stdout=subprocess.DEVNULL
    )
    first_row = folder / STUDY / "0000" / "metrics.jsonl"
    while not (first_row.is_file() and first_row.stat().st_size):
        if parent.poll() is not None:
            raise SystemExit(f"the study ended with exit code {parent.returncode}")
        time.sleep(0.002)
    first_step = time.perf_counter() - began
    worker = worker_of(parent.pid)
    since, parent_before, worker_before = time.perf_counter(), processor_s(parent.pid), processor_s(worker)
    looked, parent_s, worker_s, memory = 0.0, 0.0, 0.0, 0.0
    # What the last look saw counts: the study goes on to measure its best trial, and ends.
    while not (folder / STUDY / f"{trials - 1:04d}" / "metrics.jsonl").is_file():
        looked = time.perf_counter() - since
        parent_s, worker_s = processor_s(parent.pid) - parent_before, processor_s(worker) - worker_before
        memory = peak_mib(parent.pid)
        time.sleep(0.05)
    parent.wait()
    between, beside = zip(*gaps(folder, trials), strict=True)
    return Overhead(help_s(), first_step, median(between), median(beside), parent_s / looked, worker_s / looked, memory)


def gaps(folder: Path, trials: int) -> Iterator[tuple[float, float]]:
    """Of each trial but the first: seconds from the end of the one before to its own first step, and seconds that it
    took in all, from claim to telling, beside its training loop."""
    study = optuna.load_study(study_name="quickstart", storage=f"sqlite:///{folder / 'trials' / 'optuna.db'}")
    for trial in study.trials[1:trials]:
        runs = [RunDirectory(folder / STUDY / f"{number:04d}") for number in (trial.number - 1, trial.number)]
        before, here = (read_status(run.status) for run in runs)
        times = [row.time_s for row in read_metrics(runs[1].metrics)]
        assert before is not None
        assert here is not None
        assert before.ended_at is not None
        assert trial.datetime_complete is not None
        assert trial.datetime_start is not None
        whole = (trial.datetime_complete - trial.datetime_start).total_seconds()
        yield here.started_at - before.ended_at + times[0], whole - max(times)


def best(measured: list[Overhead]) -> Overhead:
    return Overhead(*(min(getattr(one, field.name) for one in measured) for field in fields(Overhead)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="how often (default 3)")
    parser.add_argument("--trials", type=int, default=6, help="trials of each study (default 6)")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the numbers here too")
    options = parser.parse_args()
    measured = []
    for _ in range(options.repeat):
        with tempfile.TemporaryDirectory() as name:
            measured.append(measure(Path(name), options.trials))
    found = best(measured)
    print(f"hrm-sweep --help:                {found.help_s:7.2f} s")
    print(f"run to the first optimizer step: {found.first_step_s:7.2f} s")
    print(f"from one trial to the next:      {found.between_trials_s:7.2f} s")
    print(f"a trial beside its training:     {found.beside_training_s:7.2f} s")
    print(f"parent, of one core:             {found.parent_share:7.1%}, {found.parent_mib:.0f} MiB")
    print(f"worker, of one core:             {found.worker_share:7.1%}")
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    main()
