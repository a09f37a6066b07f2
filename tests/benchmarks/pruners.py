"""What pruners save and lose on real runs of 4x4 sudoku: the recorded runs of the diagnosis benchmark, replayed.

    python tests/benchmarks/pruners.py [--png FILE] [--html FILE]

All of them ran to their end, so none is missing: healthy runs of many settings, and runs with a fault of training in
them. Runs whose puzzles or evaluation were tampered with are left out, for their scores mean nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import yaml
from optuna.trial import TrialState
from recorded_runs import Recording
from rich.console import Console

from hrm_sweep.report.pruner_replay import PrunerReplays, print_replays
from hrm_sweep.report.replay_charts import replays_page, replays_png
from hrm_sweep.sweep.replay import replayed_pruners
from hrm_sweep.sweep.space import space_from_mapping
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import Study, create_or_continue

RUNS = Path(__file__).resolve().parents[1] / "fixtures" / "fault_runs"
NO_SCORE = {"test_leaked", "blanks_only_scored", "evaluation_empty", "labels_shuffled"}
PRUNERS = (
    "zero_accuracy at 2, 4, 8, 12, 20; diagnosis; zero_accuracy at 12 + diagnosis; median; percentile; hyperband; "
    "successive_halving"
)


def recordings() -> list[Recording]:
    """The runs of 4x4 sudoku that came to their end with a score, in the order of their names."""
    found = [Recording.read(path) for path in sorted(RUNS.glob("*/*4x4*.json.gz"))]
    return [one for one in found if one.kind not in NO_SCORE and one.status["state"] == "completed" and _curve(one)]


def _curve(recording: Recording) -> dict[int, float]:
    rows = (row for row in recording.rows if row["kind"] == "eval")
    values = {round(row["epoch"]): row.get("exact_accuracy") for row in rows}
    return {epoch: value for epoch, value in values.items() if isinstance(value, float) and math.isfinite(value)}


def make_study(storage_url: str) -> Study:
    """A study of these runs in the current folder. They take turns, so that faults come between healthy runs."""
    space = {"name": "recorded", "base": {"data_path": "nowhere"}, "parameters": {"lr": {"min": 1e-6, "max": 1.0}}}
    study = create_or_continue(storage_url, "recorded", space_from_mapping(space, "recorded"))
    ordered = sorted(recordings(), key=lambda one: (one.meta["seed"], one.meta["name"]))
    for number, one in enumerate(ordered):
        curve = _curve(one)
        trial = optuna.trial.create_trial(
            state=TrialState.COMPLETE, value=max(curve.values()), intermediate_values=curve
        )
        trial.datetime_start = datetime(2026, 1, 1)
        trial.datetime_complete = trial.datetime_start + timedelta(minutes=number)
        study.optuna.add_trial(trial)
        directory = study.run_directory(number)
        directory.path.mkdir(parents=True)
        directory.config.write_text(yaml.safe_dump(dict(one.config)))
        directory.environment.write_text(json.dumps(one.environment))
        directory.metrics.write_text("".join(json.dumps(row) + "\n" for row in one.rows))
    return study


def replayed(pruners: str = PRUNERS) -> PrunerReplays:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return replayed_pruners(make_study("sqlite:///trials/optuna.db"), pruners)
        finally:
            os.chdir(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--png", type=Path)
    parser.add_argument("--html", type=Path)
    wanted = parser.parse_args()
    quiet_optuna()
    found = replayed()
    print_replays(found, [], Console(highlight=False))
    if wanted.png is not None:
        wanted.png.write_bytes(replays_png(found))
    if wanted.html is not None:
        wanted.html.write_text(replays_page(found))


if __name__ == "__main__":
    main()
