"""What a sweep costs when it is large: many trials of no length, and studies of thousands of trials.

    python tests/benchmarks/sweep_scale.py [storage [TRIALS]]

Runs 200 trials of the stand-in training with one evaluation each in eight workers on SQLite, in a temporary folder;
then opens, lists and continues a study of 10,000 trials that was written into the database in bulk. `storage` does
neither: in a study of 5,000 finished trials (or TRIALS) it times what Optuna costs a trial: the claim with all
suggestions of TPE, a report with the question to the pruners, a sign of life and the telling. In processor seconds too,
which a busy machine changes less.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import optuna

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sweep"))

import stand_in_training
from bulk_studies import fill
from small_studies import STORAGE, small_space

from hrm_sweep.runs import MetricRow, Owner
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.conduct import conduct
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.pruners import Progress, first_verdict
from hrm_sweep.sweep.space import load_space
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import Study, create_or_continue, open_study

Result = TypeVar("Result")
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


def storage_costs(finished: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of the clock and of the processor that each deed takes in a study of so many finished trials; the
    median of ten trials with the pruners of a shipped space, the first of which, that lists the study, left out."""
    pruner = load_space("learning_rate_and_batch").model_dump(mode="json")["pruner"]
    space = small_space(
        name="full", parameters=PARAMETERS, budget={"trials": finished + 100}, sampler={"name": "tpe"}, pruner=pruner
    )
    fill(create_or_continue(STORAGE, "full", space), finished)
    study = open_study(STORAGE, "full")
    taken: dict[str, list[tuple[float, float]]] = {}

    def timed(deed: str, action: Callable[[], Result]) -> Result:
        began, began_cpu = time.perf_counter(), time.process_time()
        result = action()
        spent = (1e3 * (time.perf_counter() - began), 1e3 * (time.process_time() - began_cpu))
        taken.setdefault(deed, []).append(spent)
        return result

    for _ in range(11):
        claimed = timed("claim and suggestions", lambda: claim(study, Owner.this_process()))
        assert isinstance(claimed, Claim)
        trial = claimed.trial
        for epoch in range(1, 4):
            row = MetricRow("eval", 10 * epoch, epoch, float(epoch), {"exact_accuracy": 0.1 * epoch, "accuracy": 0.9})
            timed("report and pruners", lambda trial=trial, row=row: _report(study, trial, row))  # type: ignore[misc]
        timed("sign of life", lambda trial=trial: trial.set_user_attr(attributes.ALIVE_AT, study.time()))  # type: ignore[misc]
        timed("telling", lambda trial=trial: study.optuna.tell(trial, 0.5))  # type: ignore[misc]
    return {
        deed: tuple(statistics.median(one) for one in zip(*spent[len(spent) // 11 :], strict=True))  # type: ignore[misc]
        for deed, spent in taken.items()
    }


def _report(study: Study, trial: optuna.Trial, row: MetricRow) -> None:
    """As a worker does it."""
    trial.report(row.values["exact_accuracy"], step=round(row.epoch))
    frozen = study.storage.get_trial(trial._trial_id)
    first_verdict(study.space.pruner, Progress(study.optuna, frozen, (row,), "exact_accuracy", 60))


def print_storage_costs(finished: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        costs = storage_costs(finished)
        os.chdir(TESTS)
    print(f"a trial of a study of {finished:,} finished ones, tpe, five parameters; medians:")
    for deed, (clock, processor) in costs.items():
        print(f"  {deed:<22} {clock:7.1f} ms, of which {processor:7.1f} ms on the processor")


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
    match sys.argv[1:]:
        case ["open"]:
            open_large()
        case ["storage", *number]:
            print_storage_costs(int(number[0]) if number else 5000)
        case _:
            main()
