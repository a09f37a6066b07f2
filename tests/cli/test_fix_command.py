"""`hrm-sweep fix`: what is written, what is refused, and that a run is better for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from hrm_sweep.cli.app import app
from hrm_sweep.config import DataConfig, load_config
from hrm_sweep.data.build import ensure_data
from hrm_sweep.errors import ConfigError, HrmSweepError, RunDirectoryError, UsageError
from hrm_sweep.runs import RunDirectory, State
from hrm_sweep.training.session import run_training

FIXTURES = Path(__file__).parent.parent / "fixtures"
SUDOKU = FIXTURES / "sudoku-4x4"


def run_with(folder: Path, name: str = "a run", **changes: Any) -> Path:
    """The healthy recorded run, with another configuration; rows are left as they are, but nothing is solved."""
    shutil.copytree(FIXTURES / "runs" / "healthy", folder / name)
    config = yaml.safe_load((folder / name / "config.yaml").read_text())
    (folder / name / "config.yaml").write_text(yaml.safe_dump(config | {"data_path": str(SUDOKU)} | changes))
    rows = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
    unsolved = [row | {"exact_accuracy": 0.0} for row in rows]
    (folder / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in unsolved))
    return Path(name)


def fix(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["fix", *map(str, arguments)], env={"COLUMNS": "80"})


def refused(error: type[HrmSweepError], *arguments: object) -> str:
    result = fix(*arguments)
    assert isinstance(result.exception, error), result.output
    return str(result.exception)


def test_the_patched_configuration_says_what_was_changed_from_what_to_what_and_why(folder: Path) -> None:
    sick = run_with(folder, lr=1e-7)
    result = fix(sick)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1:] == [
        "Sick: the learning rate is far too low (lr_out_of_range, error).",
        "  lr: 1e-07 -> 0.001 (lr_out_of_range)",
        "written: a run-fixed.yaml",
        "next: hrm-sweep train 'a run-fixed.yaml'",
        "  or: hrm-sweep fix 'a run' --run  # and compare",
    ]
    written = (folder / "a run-fixed.yaml").read_text().splitlines()
    comment = [line for line in written if line.startswith("#")]
    assert comment[1:] == [
        "# Sick: the learning rate is far too low (lr_out_of_range, error).",
        "# Changed from the configuration of a run:",
        "#   lr: 1e-07 -> 0.001 (lr_out_of_range)",
    ]
    fixed = load_config(folder / "a run-fixed.yaml")
    assert fixed == load_config(sick).model_copy(update={"lr": 1e-3})


def test_faults_of_their_own_are_mended_together_and_consequences_left_out(folder: Path) -> None:
    sick = run_with(folder, lr_warmup_steps=5000, puzzle_emb_lr=0.0)
    said = json.loads(fix(sick, "--json").stdout)
    assert [one["rule"] for one in said["applied"]] == ["warmup_never_ends", "frozen_puzzle_embedding"]
    assert {one["key"]: one["after"] for one in said["changes"]} == {"lr_warmup_steps": 46, "puzzle_emb_lr": 0.01}
    assert (said["config"], said["after"], said["before"]["leading"]) == ("a run-fixed.yaml", None, "warmup_never_ends")
    assert said["before"]["exact_accuracy"]["share"] == 0.0


def test_what_is_typed_wins_over_the_remedy(folder: Path) -> None:
    assert fix(run_with(folder, lr=1e-7), "lr=5e-4", "epochs=120", "--out", "mine.yaml").exit_code == 0
    fixed = load_config(folder / "mine.yaml")
    assert (fixed.lr, fixed.epochs) == (5e-4, 120)
    assert "#   lr: 1e-07 -> 0.0005 (asked for)\n" in (folder / "mine.yaml").read_text()


def test_a_healthy_run_needs_nothing_and_nothing_is_written(folder: Path) -> None:
    shutil.copytree(FIXTURES / "runs" / "healthy", folder / "healthy")
    result = fix("healthy", "--data", SUDOKU)
    assert (result.exit_code, result.stdout.splitlines()[2]) == (0, "nothing to fix")
    assert [path.name for path in folder.iterdir()] == ["healthy"]


def test_advice_is_applied_when_its_rule_is_named(folder: Path) -> None:
    shutil.copytree(FIXTURES / "runs" / "healthy", folder / "healthy")
    config = folder / "healthy" / "config.yaml"
    config.write_text(config.read_text().replace("halt_max_steps: 8", "halt_max_steps: 1"))
    healthy = fix("healthy", "--data", SUDOKU)
    assert healthy.exit_code == 0
    assert "there is advice, which --rule applies: act_single_step" in healthy.stdout
    assert fix("healthy", "--data", SUDOKU, "--rule", "act_single_step").exit_code == 0
    assert load_config(folder / "healthy-fixed.yaml").arch.halt_max_steps == 8


def test_what_no_configuration_mends_is_said_with_what_to_do_instead(folder: Path) -> None:
    sick = run_with(folder)
    status = json.loads((sick / "status.json").read_text())
    (sick / "status.json").write_text(json.dumps(status | {"state": "failed", "cause": "storage"}))
    result = fix(sick)
    assert result.exit_code == 1
    assert "no configuration mends disk_full, so nothing is written" in result.stdout
    assert "what to do: " in result.stdout
    assert json.loads(fix(sick, "--json").stdout)["what_to_do"]
    assert [path.name for path in folder.iterdir()] == ["a run"]


def test_a_file_that_stands_there_is_left_as_it_is(folder: Path) -> None:
    sick = run_with(folder, lr=1e-7)
    (folder / "a run-fixed.yaml").write_text("precious")
    assert refused(ConfigError, sick) == (
        "a run-fixed.yaml: already exists and is left as it is; name another file with --out"
    )
    assert (folder / "a run-fixed.yaml").read_text() == "precious"


def test_the_same_fix_again_finds_its_own_file(folder: Path) -> None:
    sick = run_with(folder, lr=1e-7)
    assert [fix(sick).exit_code, fix(sick).exit_code] == [0, 0]
    assert refused(ConfigError, sick, "seed=1").startswith("a run-fixed.yaml: already exists")


def test_the_current_folder_can_be_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run_with(folder, lr=1e-7))
    assert fix(".").exit_code == 0
    assert (folder / "a run-fixed.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["nowhere"], RunDirectoryError, "nowhere: there is no such folder"),
        (["a run", "lr"], UsageError, "'lr': expected key=value after the run directory"),
        (["a run", "lr=much"], ConfigError, "lr: input should be a valid number"),
        (["a run", "epochs=61"], ConfigError, "eval_interval 20 does not divide epochs 61"),
        (["a run", "global_batch_size=50000"], ConfigError, "is larger than the data of one evaluation interval"),
        (["a run", "--rule", "lr_out_of_rage"], UsageError, "did you mean lr_out_of_range?"),
        (["a run", "--rule", "nope"], UsageError, "there is no such rule; `hrm-sweep rules` lists those there are"),
        (["a run", "--rule", "disk_full"], UsageError, "--rule disk_full: clear on this run"),
        (["a run", "--run-dir", "x"], UsageError, "--run-dir: only --run trains"),
        (["a run", "--run", "--run-dir", "a run"], RunDirectoryError, "a run: already holds a run; name another"),
        (["a run", "--run", "data_path=missing"], HrmSweepError, "missing"),
        (["a run", "--out", "a run/config.yaml/x.yaml"], ConfigError, "cannot be written"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing_behind(
    folder: Path, arguments: list[str], error: type[HrmSweepError], message: str
) -> None:
    run_with(folder, lr=1e-7)
    assert message in refused(error, *arguments)
    assert [path.name for path in folder.iterdir()] == ["a run"]


def test_a_run_without_a_configuration_is_not_fixed(folder: Path) -> None:
    sick = run_with(folder)
    (sick / "config.yaml").unlink()
    result = fix(sick)
    assert result.exit_code in (0, 1), result.output
    assert [path.name for path in folder.iterdir()] == ["a run"]


# Real training ------------------------------------------------------------------------------------------------------

# Puzzles with one blank each: two seconds of training solve most of them with lr 3e-3, and none with 1e-6.
PUZZLES = DataConfig(size=4, subsample_size=300, test_size=80, min_blanks=1, max_blanks=1)
SMALL: dict[str, Any] = {
    "arch.hidden_size": 16,
    "arch.num_heads": 2,
    "arch.H_cycles": 1,
    "arch.L_cycles": 1,
    "arch.halt_max_steps": 2,
    "global_batch_size": 30,
    "epochs": 22,  # 220 optimizer steps
    "eval_interval": 11,
    "eval_puzzles": 40,
    "lr_warmup_steps": 10,
    "puzzle_emb_lr": 1e-5,
    "lr": 3e-3,
}


@pytest.fixture(scope="module")
def puzzles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_data(PUZZLES, tmp_path_factory.mktemp("puzzles"))


def hrm_sweep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hrm_sweep", *arguments]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )


@pytest.mark.parametrize(
    ("key", "faulty", "rule"),
    [
        ("lr", 1e-6, "lr_out_of_range"),
        pytest.param("lr_warmup_steps", 20000, "warmup_never_ends", marks=pytest.mark.proof),
    ],
)
def test_a_real_run_with_a_fault_is_better_after_its_fix(
    folder: Path, puzzles: Path, key: str, faulty: float, rule: str
) -> None:
    sick = load_config("hrm_v1_tiny", {**SMALL, key: faulty, "data_path": str(puzzles)})
    assert run_training(sick, RunDirectory(Path("r"))).state is State.COMPLETED
    done = hrm_sweep("fix", "r", "--run", "--json", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    before, after = said["before"], said["after"]
    assert (before["leading"], after["leading"]) == (rule, None)
    assert [change["key"] for change in said["changes"]] == [key]
    assert after["accuracy"]["low"] > before["accuracy"]["high"]
    assert after["exact_accuracy"]["share"] >= before["exact_accuracy"]["share"]
    assert (before["steps"], after["steps"], after["exact_accuracy"]["n"]) == (220, 220, 40)
    assert said["after_run"] == "r-fixed"
    assert "done: 220 optimizer steps" in done.stderr
    assert load_config(folder / "r-fixed").get(key) == load_config(folder / "r-fixed.yaml").get(key)


def test_a_run_of_the_reference_is_fixed_beside_it_and_compared_in_80_columns(folder: Path) -> None:
    shutil.copytree(FIXTURES / "official_runs" / "frozen_embeddings", folder / "frozen")
    small = ["epochs=2", "eval_interval=1", "arch.halt_max_steps=2"]
    done = hrm_sweep("fix", "frozen", "--run", "--data", str(SUDOKU), *small, folder=folder)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].startswith("Sick: the puzzle embedding is frozen by configuration")
    assert "  puzzle_emb_lr: 0 -> 0.01 (frozen_puzzle_embedding)" in lines
    assert any(line.startswith("  checkpoint_path: checkpoints/") for line in lines)
    table = lines[next(number for number, line in enumerate(lines) if line.split() == ["before", "after"]) :]
    assert max(map(len, table)) <= 80
    rows = {line[:14].strip(): line[14:].split() for line in table if line[:14].strip()}
    assert rows["time"][0] == "unknown"
    assert rows["steps"] == ["624", "30"]
    assert rows["leading"][0] == "frozen_puzzle_embedding"
    assert rows["puzzle_emb_lr"] == ["0", "0.01"]
    assert "of n = " in next(line for line in table if line.startswith("puzzles solved"))
    assert load_config(folder / "frozen-fixed.yaml").checkpoint_path is None
