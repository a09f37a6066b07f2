"""`hrm-sweep plan` as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SMALL = ("arch.hidden_size=16", "arch.num_heads=2", "arch.H_layers=1", "arch.L_layers=1", "eval_puzzles=8")


def plan(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hrm_sweep", "plan", *arguments]
    environment = {**os.environ, "HRM_SWEEP_CACHE": str(folder / "cache")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def rows(printed: str) -> dict[str, str]:
    """The rows of the first two blocks, by their name."""
    return {line[:16].strip(): line[16:] for line in printed.splitlines() if line[:16].strip()}


def test_the_published_recipe_is_planned_without_its_data_and_without_measuring(folder: Path) -> None:
    done = plan("hrm_v1", "--no-calibrate", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(folder.iterdir()) == []
    said = rows(done.stdout)
    assert said["parameters"] == "27,275,266"
    assert said["epoch 20"] == "is step 26, where the learning rate is 1.3e-06, 1.3 % of lr"
    assert said["warm-up"] == "ends at step 2,000, epoch 1,536"
    assert said["a train step"] == "28.1 TFLOP"
    assert said["weight decay"].startswith("time constant 1 / (lr wd) 10,000 steps, 0.384 times the run")
    assert said["fresh epochs"].startswith("1,250 to 18,013: ")
    assert said["time"] == "unknown; `hrm-sweep plan hrm_v1` measures it, for at most 8 shapes of model"


def test_names_in_brackets_are_no_markup(folder: Path, sudoku_4x4: Path) -> None:
    shutil.copytree(sudoku_4x4, folder / "[red]puzzles")
    (folder / "[bold].yaml").write_text("data_path: '[red]puzzles'\n")
    done = plan("[bold].yaml", "--no-calibrate", folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[bold].yaml: one run")
    assert "[red]puzzles" in rows(done.stdout)["puzzles"]


def test_a_space_is_measured_once_and_says_what_hours_buy(folder: Path) -> None:
    words = ("act_and_cycles", *SMALL, "arch.H_cycles=1", "arch.L_cycles=1", "--jobs", "1")
    first = plan(*words, "--hours", "0.5", folder=folder)
    assert first.returncode == 0, first.stderr
    assert "measuring this machine, 1 of 1 ..." in first.stderr
    said = rows(first.stdout)
    assert said["time"].startswith("about ")
    assert said["0.5 hours"].startswith("buy ")
    again = plan(*words, "--json", folder=folder)
    assert (again.returncode, again.stderr) == (0, "")
    found: dict[str, Any] = json.loads(again.stdout)
    assert found["trial_seconds"]["least"] > 0
    assert found["study_seconds"] > 0
    assert 0 <= time.time() - found["measured"]["at"] < 600
    (steps,) = [effect for effect in found["effects"] if effect["parameter"] == "arch.halt_max_steps"]
    assert {one["value"]: one["train"] for one in steps["values"] if one["value"] > 1} == {2: 1, 4: 1, 8: 1, 16: 1}
    assert {finding["kind"] for finding in found["findings"]} == {"cannot be judged"}
    assert not (folder / "data").exists()

    (kept,) = (folder / "cache" / "speed").glob("*.json")
    content = json.loads(kept.read_text())
    day = time.mktime((2026, 3, 1, 12, 30, 0, 0, 0, -1))
    kept.write_text(
        json.dumps({**content, "at": day, "measured": [{**one, "waited": 0.43} for one in content["measured"]]})
    )
    busy = " ".join(plan(*words, folder=folder).stdout.split())
    assert (
        "measured 2026-03-01 12:30, when other programs took up to 43 % of its time: once the machine is quiet" in busy
    )


def test_a_single_run_says_how_many_of_its_kind_hours_buy(folder: Path) -> None:
    unknown = plan("hrm_v1", "--hours", "2", "--no-calibrate", folder=folder)
    assert rows(unknown.stdout)["2 hours"] == "buy an unknown number of such runs, because their time is unknown"
    for hours, bought in (("1e-6", "buy less than one such run"), ("1000", " such runs")):
        done = plan("hrm_v1_tiny", *SMALL, "--hours", hours, folder=folder)
        assert rows(done.stdout)[f"{float(hours):g} hours"].endswith(bought), done.stderr


def test_a_word_that_is_a_search_space_and_a_preset_can_be_either(folder: Path) -> None:
    """The space `progressive` has two stages, the preset three."""
    words = ("progressive", "stages.2.epochs=24", "--no-calibrate")
    space = plan(*words, folder=folder)
    assert (space.returncode, space.stdout) == (2, "")
    assert "there is no stage 2" in space.stderr
    assert "progressive is a preset too: --preset plans that" in space.stderr
    preset = plan(*words, "--preset", folder=folder)
    assert (preset.returncode, preset.stderr) == (0, "")
    assert preset.stdout.startswith("progressive: one run")
    assert rows(preset.stdout)["time"].startswith("unknown; `hrm-sweep plan --preset progressive stages.2.epochs=24`")
    other = plan("act_and_cycles", "--preset", folder=folder)
    assert other.returncode == 2
    assert "--preset: expected a preset (hrm_v1, " in other.stderr
    assert "act_and_cycles" in other.stderr


def test_a_learning_rate_far_too_high_is_warned_of(folder: Path) -> None:
    done = plan("hrm_v1_tiny", "lr=3", "--no-calibrate", folder=folder)
    assert "lr: 3 is too high" in done.stdout


def test_a_run_that_cannot_start_is_an_error_whatever_is_asked_for(folder: Path) -> None:
    for words in (("--no-calibrate",), ("--json",)):
        done = plan("hrm_v1_tiny", "global_batch_size=100000", *words, folder=folder)
        assert (done.returncode, done.stdout) == (2, "")
        assert "hrm_v1_tiny: cannot start: global_batch_size: " in done.stderr
        assert "Traceback" not in done.stderr
    endless = plan("hrm_v1_tiny", "--no-calibrate", "--hours", "inf", folder=folder)
    assert (endless.returncode, "--hours: expected a number of hours, found inf" in endless.stderr) == (2, True)


def test_what_cannot_be_planned_is_an_error_that_names_it(folder: Path) -> None:
    (folder / "broken.yaml").write_text("parameters: [")
    (folder / "dead.yaml").write_text(
        json.dumps({"name": "dead", "base": "hrm_v1_tiny", "parameters": {"global_batch_size": {"values": [10**6]}}})
    )
    (folder / "typo.yaml").write_text("name: mine\nbase: hrm_v1_tiny\nparamters:\n  lr: {values: [0.001]}\n")
    for words, message in (
        (("typo.yaml",), "typo.yaml: paramters: unknown key; the nearest valid key is parameters"),
        (("quickstrat",), "did you mean quickstart?"),
        (("broken.yaml",), "broken.yaml, line 1"),
        (("quickstart", "epochs"), "expected key=value after the search space"),
        (("quickstart", "epoch=3"), "unknown key; the nearest valid key is epochs"),
        (("hrm_v1_tiny", "data_path=nowhere"), "nowhere: expected a puzzle folder"),
        (("dead.yaml",), "no combination of this space can start"),
    ):
        done = plan(*words, "--no-calibrate", folder=folder)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert message in done.stderr
        assert "Traceback" not in done.stderr
