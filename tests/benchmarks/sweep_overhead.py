"""What a sweep costs beside training: seconds a trial spends outside its training loop, and the memory of the parent.

    python tests/benchmarks/sweep_overhead.py

Runs a study of six small trials, one at a time, in a temporary folder. The first trial of each worker also loads torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna

DATA = Path(__file__).resolve().parents[1] / "fixtures" / "sudoku-4x4"
SMALL = ["arch.hidden_size=16", "arch.num_heads=2", "arch.H_layers=1", "arch.L_layers=1", "epochs=4", "eval_interval=2"]


def peak_rss_mib(pid: int) -> float:
    """Largest resident memory of a process so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "hrm_sweep", "run", "quickstart", "--trials", "6", "--jobs", "1"]
        command += [f"data_path={DATA}", *SMALL]
        parent = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        memory = 0.0
        while parent.poll() is None:
            try:
                memory = max(memory, peak_rss_mib(parent.pid))
            except (OSError, StopIteration):  # it ended between the two looks
                break
            time.sleep(0.2)
        parent.wait()
        study = optuna.load_study(study_name="quickstart", storage=f"sqlite:///{folder / 'trials' / 'optuna.db'}")
        print(f"{'trial':>5}  {'seconds':>8}  {'training':>8}  {'beside':>7}")
        for trial in study.trials:
            lines = (folder / trial.user_attrs["run_dir"] / "metrics.jsonl").read_text().splitlines()
            training = max(json.loads(line)["time_s"] for line in lines)
            whole = (trial.datetime_complete - trial.datetime_start).total_seconds()
            print(f"{trial.number:>5}  {whole:>8.2f}  {training:>8.2f}  {whole - training:>7.2f}")
        print(f"parent process: {memory:.0f} MiB at most")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    main()
