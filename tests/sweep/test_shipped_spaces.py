"""Every shipped search space is commented, can start in every combination, and really starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hrm_sweep.config import search_spaces_folder, space_names
from hrm_sweep.sweep.pruners import read_pruners
from hrm_sweep.sweep.space import load_space
from hrm_sweep.sweep.space_lint import lint_space

WANTED = {
    "quickstart",
    "act_and_cycles",
    "balanced",
    "easy_dataset",
    "sudoku_extreme_1k",
    "learning_rate_and_batch",
    "progressive",
}

# Everything that costs time made small; what the space itself varies stays.
REDUCED = {
    "arch.hidden_size": 16,
    "arch.num_heads": 2,
    "arch.H_layers": 1,
    "arch.L_layers": 1,
    "epochs": 2,
    "eval_interval": 1,
    "eval_puzzles": 20,
}
# Where a run has stages, they decide its epochs; these are varied, and so pinned here.
REDUCED_STAGES = {**{key: value for key, value in REDUCED.items() if key != "epochs"}, "stages.0.epochs": 1}
REDUCED_STAGES["stages.1.epochs"] = 1


def test_the_promised_spaces_are_shipped() -> None:
    assert set(space_names()) >= WANTED


@pytest.mark.parametrize("name", space_names())
def test_a_space_says_what_it_is_for(name: str) -> None:
    lines = (search_spaces_folder() / f"{name}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert sum("#" in line for line in lines) >= 4
    assert load_space(name).name == name


@pytest.mark.parametrize("name", space_names())
def test_a_space_ends_trials_that_no_further_step_can_mend(name: str) -> None:
    assert load_space(name).pruner["diagnosis"] == read_pruners({"diagnosis": None})["diagnosis"]


@pytest.mark.parametrize("name", space_names())
def test_every_combination_of_a_space_can_start(name: str, sudoku_4x4: Path) -> None:
    """Linted against a folder with as many puzzles as each of them asks for: 1000."""
    space = load_space(name)
    assert space.config(space.first[0], name).data.subsample_size == 1000  # type: ignore[union-attr]
    report = lint_space(space.with_overrides({"data_path": str(sudoku_4x4)}), name)
    assert report.combinations
    assert not report.warnings


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "quickstart" else pytest.mark.proof) for name in space_names()],
)
def test_one_trial_of_a_space_runs_at_reduced_size(folder: Path, sudoku_4x4: Path, name: str) -> None:
    space = load_space(name)
    reduced = REDUCED_STAGES if "stages" in space.overrides else REDUCED
    kept = [key for key in space.parameters if not key.startswith("stages.")]
    overrides = [f"{key}={value}" for key, value in reduced.items() if key not in kept]
    command = [
        sys.executable,
        "-m",
        "hrm_sweep",
        "run",
        name,
        "--trials",
        "1",
        "--jobs",
        "1",
        f"data_path={sudoku_4x4}",
    ]
    done = subprocess.run([*command, *overrides], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    listed = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "studies", "--json"], cwd=folder, capture_output=True, text=True, check=True
    )
    (line,) = json.loads(listed.stdout)
    assert line["name"] == name
    assert line["counts"] == {"complete": 1}
