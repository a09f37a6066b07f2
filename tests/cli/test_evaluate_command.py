"""`hrm-sweep evaluate` on runs of the reference, on bare weights, and on a run of ours."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from hrm_sweep.cli.app import app
from hrm_sweep.config import load_config
from hrm_sweep.data.folder import open_folder
from hrm_sweep.errors import HrmSweepError
from hrm_sweep.evaluation.selection import subset_indices
from hrm_sweep.runs import RunDirectory, State
from hrm_sweep.training.session import run_training

FIXTURES = Path(__file__).parents[1] / "fixtures"
OFFICIAL = FIXTURES / "official_runs" / "healthy"
SUDOKU = FIXTURES / "sudoku-4x4"


def evaluated(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "200"})


def test_a_published_run_from_a_shell(folder: Path) -> None:
    arguments = [OFFICIAL, "--data", SUDOKU, "--puzzles", 20, "--steps", "8,1,16", "--act", "--json"]
    command = [sys.executable, "-m", "hrm_sweep", "evaluate", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["puzzles"], found["test_puzzles"], found["subset"], found["halt_max_steps"]) == (20, 200, "all", 8)
    assert [row["steps"] for row in found["by_steps"]] == [1, 8, 16]
    for row in found["by_steps"]:
        exact = row["exact_accuracy"]
        assert exact["low"] <= exact["share"] <= exact["high"]
        assert row["mistakes"]["solved"] == round(20 * exact["share"])
        assert sum(row["mistakes"].values()) == sum(group["n"] for group in row["by_rating"]) == 20
    assert found["by_steps"][0]["exact_accuracy"]["share"] < found["by_steps"][1]["exact_accuracy"]["share"]
    halting = found["halting"]
    assert sum(halting["steps_histogram"]) == halting["agreement"]["puzzles"] == 20
    assert halting["speed"]["act_steps"] <= found["speed"]["act_steps"] == 16
    assert halting["exact_accuracy"] == found["by_steps"][-1]["when_halting"]["exact_accuracy"]
    assert not list(folder.iterdir())


def test_what_a_person_reads(folder: Path) -> None:
    done = evaluated(OFFICIAL, "--data", SUDOKU, "--puzzles", 12, "--html", "page.html")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == str(OFFICIAL / "step_936")
    assert lines[1].startswith("12 puzzles, evenly spaced over all 200 test puzzles of ")
    assert lines[2].startswith("trained with up to 8 ACT steps")
    at = lines.index("Puzzles solved, by ACT steps")
    assert [line.split()[0] for line in lines[at + 2 : at + 7]] == ["1", "2", "4", "8", "16"]
    assert "Speed" not in lines  # nothing to compare with
    words = " ".join(done.stdout.split())
    said = "No other number of steps is known to solve more than the 8 of training (McNemar's test, corrected for 4"
    assert said in words
    page = (folder / "page.html").read_text()
    assert page.count("<svg") == 1 + page.count('class="key"')
    assert "What became of them" in page


def test_a_checkpoint_that_never_wants_to_halt_is_told_that_halting_saves_nothing(folder: Path) -> None:
    said = "No puzzle halted before the limit of 3 steps: halting saves nothing with this checkpoint."
    arguments = ["--data", SUDOKU, "--config", OFFICIAL, "--puzzles", 4, "--steps", "1,3", "--act"]
    weights = torch.load(OFFICIAL / "step_936", weights_only=True)
    (bias,) = [name for name in weights if name.endswith("q_head.bias")]
    for q_halt, is_told in ((-50.0, True), (50.0, False)):
        torch.save({**weights, bias: torch.tensor([q_halt, 0.0])}, "weights.pt")
        done = evaluated("weights.pt", *arguments)
        assert done.exit_code == 0, done.stderr
        assert (said in done.stdout) == is_told
    limited = evaluated("weights.pt", *arguments[:-2], "1", "--act")
    assert "halting saves nothing" not in limited.stdout, "with one step there is nothing to save"


def test_bare_weights_need_a_configuration(folder: Path) -> None:
    weights = Path(shutil.copy(OFFICIAL / "step_312", folder / "weights.pt"))
    refused = evaluated(weights, "--data", SUDOKU)
    assert isinstance(refused.exception, HrmSweepError)
    assert "weights.pt: no config.yaml or all_config.yaml beside it" in str(refused.exception)
    done = evaluated(weights, "--data", SUDOKU, "--config", OFFICIAL, "--puzzles", 5, "--steps", "2", "--json")
    assert json.loads(done.stdout)["checkpoint"] == str(weights)
    beside = evaluated(OFFICIAL / "step_312", "--data", SUDOKU, "--puzzles", 5, "--steps", "2", "--json")
    assert json.loads(beside.stdout)["by_steps"] == json.loads(done.stdout)["by_steps"]


def test_of_a_run_of_ours_selection_never_saw_the_puzzles(folder: Path) -> None:
    tiny = {"arch.hidden_size": 16, "arch.num_heads": 2, "arch.halt_max_steps": 2, "global_batch_size": 100}
    config = load_config("hrm_v1_tiny", {**tiny, "epochs": 2, "eval_puzzles": 150, "data_path": str(SUDOKU)})
    directory = RunDirectory(folder / "run")
    assert run_training(config, directory, say=lambda line: None).state is State.COMPLETED
    unseen = subset_indices("holdout", open_folder(SUDOKU).test.n_examples, 150)
    done = evaluated(directory.path, "--steps", "1", "--json")
    found = json.loads(done.stdout)
    assert (found["subset"], found["puzzles"]) == ("holdout", len(unseen))
    assert found["checkpoint"] == str(directory.best_checkpoint)
    last = evaluated(directory.last_checkpoint, "--steps", "1", "--all", "--puzzles", 9, "--json")
    assert json.loads(last.stdout)["checkpoint"] == str(directory.last_checkpoint)
    assert (json.loads(last.stdout)["subset"], json.loads(last.stdout)["puzzles"]) == ("all", 9)


def test_a_task_that_is_no_sudoku_has_neither_ratings_nor_rules(folder: Path) -> None:
    """The same tokens with the labels shuffled: no grid is solved any more."""
    data = Path(shutil.copytree(SUDOKU, folder / "data"))
    labels = np.load(data / "test" / "all__labels.npy")
    np.save(data / "test" / "all__labels.npy", np.random.default_rng(0).permuted(labels, axis=1))
    done = evaluated(OFFICIAL, "--data", data, "--puzzles", 6, "--steps", "1", "--json")
    (row,) = json.loads(done.stdout)["by_steps"]
    assert row["by_rating"] is None
    assert row["mistakes"]["rules_broken"] == row["mistakes"]["given_overwritten"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([OFFICIAL], "was not found; name it with --data"),
        ([OFFICIAL, "--data", "nowhere"], "nowhere: expected a puzzle folder, found nothing"),
        ([OFFICIAL, "--data", SUDOKU, "--steps", "1,two"], "--steps 1,two: expected whole numbers from 1 to 1000"),
        ([OFFICIAL, "--data", SUDOKU, "--steps", "0"], "found '0'"),
        ([OFFICIAL, "--data", SUDOKU, "--device", "cuda:77"], "device: 'cuda:77' is not available here"),
        ([OFFICIAL, "--data", FIXTURES / "sudoku-extreme-mini"], "dataset.json: missing"),
        (["nowhere"], "nowhere: there is no such folder"),
        ([FIXTURES / "runs" / "healthy", "--data", SUDOKU], "no checkpoint in it"),
        ([SUDOKU / "train" / "dataset.json", "--data", SUDOKU, "--config", OFFICIAL], "refused: it is not a plain"),
        ([OFFICIAL, "--data", SUDOKU, "--html", "."], "--html .: is a folder"),
    ],
)
def test_bad_input_is_named(folder: Path, arguments: list[object], message: str) -> None:
    done = evaluated(*arguments)
    assert isinstance(done.exception, HrmSweepError)
    assert message in str(done.exception)
    assert done.stdout == ""


def test_weights_of_another_configuration_are_refused(folder: Path) -> None:
    (folder / "other.yaml").write_text("arch: {hidden_size: 32, num_heads: 2, H_layers: 1, L_layers: 1}\n")
    done = evaluated(OFFICIAL / "step_936", "--data", SUDOKU, "--config", "other.yaml")
    assert isinstance(done.exception, HrmSweepError)
    assert "does not fit the configuration" in str(done.exception)
