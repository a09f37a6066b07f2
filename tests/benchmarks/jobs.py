"""What trials at once gain on this machine's cores, against one trial at a time.

    python tests/benchmarks/jobs.py [REPEATS]

First: steps a second of hrm_v1_tiny in two one-thread runs together, and in one run with two threads. Then: the
quickstart with two jobs, and with one. The order alternates and the best of each is taken, for other programs only ever
make it slower. Needs a quiet machine with two cores; takes some minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "fixtures" / "sudoku-4x4"
EPOCHS = 40


def steps_per_second(folder: Path, runs: int, threads: int) -> float:
    """Of all runs together; start-up and the first quarter, in which runs may not yet be side by side, do not count."""
    processes, directories = [], [folder / f"run-{number}" for number in range(runs)]
    for directory in directories:
        command = [sys.executable, "-m", "hrm_sweep", "train", "hrm_v1_tiny", f"data_path={DATA}", f"epochs={EPOCHS}"]
        command += ["eval_interval=10", "log_interval=1", "--run-dir", str(directory)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        processes.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL))
    for process in processes:
        if process.wait():
            raise SystemExit(f"a run ended with exit code {process.returncode}; see {folder}")
    return sum(speed(directory / "metrics.jsonl") for directory in directories)


def speed(metrics: Path) -> float:
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    train = [(row["step"], row["time_s"]) for row in rows if row["kind"] == "train"]
    (first_step, began), (last_step, ended) = train[len(train) // 4], train[-1]
    return float((last_step - first_step) / (ended - began))


def quickstart_s(folder: Path, jobs: int) -> float:
    command = [sys.executable, "-m", "hrm_sweep", "run", "quickstart", "--jobs", str(jobs)]
    began = time.monotonic()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    together, alone, two_jobs, one_job = [], [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            two, one, many, single = (Path(name) / part for part in ("two", "one", "many", "single"))
            for folder in (two, one, many, single):
                folder.mkdir()
            together.append(steps_per_second(two, runs=2, threads=1))
            alone.append(steps_per_second(one, runs=1, threads=2))
            two_jobs.append(quickstart_s(many, jobs=2))
            one_job.append(quickstart_s(single, jobs=1))
    print(f"two runs, one thread each: {max(together):.1f} steps/s")
    print(f"one run, two threads:      {max(alone):.1f} steps/s")
    print(f"gain:                      {max(together) / max(alone):.2f}x")
    print(f"quickstart, two jobs:      {min(two_jobs):.1f} s")
    print(f"quickstart, one job:       {min(one_job):.1f} s")
    print(f"gain:                      {min(one_job) / min(two_jobs):.2f}x")


if __name__ == "__main__":
    main()
