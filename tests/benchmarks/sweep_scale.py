"""What a sweep costs when it is large: many trials of no length, and a study of 10,000 trials.

    python tests/benchmarks/sweep_scale.py

Runs 200 trials of the stand-in training with one evaluation each in eight workers on SQLite, in a temporary folder, and
then opens, lists and continues a study that was written into the database in bulk. The second part is in processor
seconds too, which a busy machine does not change.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sweep"))

import stand_in_training
from bulk_studies import fill
from small_studies import STORAGE, small_space

from hrm_sweep.runs import Owner
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.conduct import conduct
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import create_or_continue, open_study

TESTS = Path(__file__).resolve().parents[1]
PARAMETERS = {
    "lr": {"min": 1e-4, "max": 1e-2, "log": True},
    "arch.H_cycles": {"min": 1, "max": 3},
    "arch.L_cycles": {"min": 1, "max": 3},
    "global_batch_size": {"values": [32, 64, 128]},
    "weight_decay": {"min": 0.1, "max": 1.0},
}


def many_trials(trials: int, workers: int) -> float:
    """Seconds from the first worker's start to the end of the last trial."""
    base = {"data_path": "nowhere", "epochs": 1, "eval_interval": 1}
    space = small_space(name="many", base=base, parameters=PARAMETERS, budget={"trials": trials})
    study = create_or_continue(STORAGE, "many", space)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS / "sweep"), os.environ.get("PYTHONPATH", "")])
    began = time.monotonic()
    ended = conduct(study, LocalEngine(WorkerPlan(study, threads=1, training=stand_in_training.NAME)), workers)
    took = time.monotonic() - began
    assert (ended.account.ended, ended.account.is_reached) == (trials, True)
    return took


def make_large(trials: int) -> None:
    space = small_space(name="large", parameters=PARAMETERS, budget={"trials": trials + 100}, sampler={"name": "tpe"})
    fill(create_or_continue(STORAGE, "large", space), trials)


def open_large() -> None:
    """Print what each step takes; in a process of its own, as a command would be."""
    began, began_cpu = time.monotonic(), time.process_time()

    def lap(what: str) -> None:
        seconds, cpu = time.monotonic() - began, time.process_time() - began_cpu
        print(f"  {what:<28} after {seconds:6.2f} s, of which {cpu:6.2f} s on the processor")

    study = open_study(STORAGE, "large")
    lap("opened")
    print(f"  {len(study.trials())} trials")
    lap("listed")
    for which in ("first", "second", "third"):
        taken = claim(study, Owner.this_process())
        assert isinstance(taken, Claim)
        lap(f"{which} trial taken")
        study.optuna.tell(taken.trial, 0.5)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        took = many_trials(200, 8)
        print(f"200 trials of no length in 8 workers: {took:.1f} s, {200 / took:.1f} trials a second")
        make_large(10_000)
        print("a study of 10,000 trials, tpe, five parameters:", flush=True)
        subprocess.run([sys.executable, __file__, "open"], check=True)
        os.chdir(TESTS)


if __name__ == "__main__":
    quiet_optuna()
    open_large() if sys.argv[1:] == ["open"] else main()
