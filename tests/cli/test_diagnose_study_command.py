"""`hrm-sweep diagnose --study`, as a user sees it: the report, its JSON, and a search space that is then really run."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from typer.testing import CliRunner, Result

from hrm_sweep.cli.app import app
from hrm_sweep.errors import HrmSweepError
from hrm_sweep.sweep.space import load_space, space_from_mapping
from hrm_sweep.sweep.space_lint import lint_space
from hrm_sweep.sweep.study import create_or_continue

STORAGE = "sqlite:///trials/optuna.db"
SPACE = {
    "name": "hot",
    "base": "hrm_v1_tiny",
    "overrides": {
        "arch": {"hidden_size": 16, "num_heads": 2, "H_cycles": 1, "L_cycles": 1},
        "data_path": str(Path(__file__).parents[1] / "fixtures" / "sudoku-4x4"),
        "global_batch_size": 100,
        "epochs": 2,
        "eval_interval": 1,
        "eval_puzzles": 20,
        "lr_warmup_steps": 2,
    },
    "parameters": {"lr": {"min": 1e-5, "max": 1e1, "log": True}, "arch.halt_max_steps": {"values": [2, 3]}},
    "sampler": {"name": "random", "seed": 0},
    "budget": {"trials": 24},
}
LR, STEPS = FloatDistribution(1e-5, 1e1, log=True), CategoricalDistribution((2, 3))


@pytest.fixture
def hot(folder: Path) -> str:
    """A study in which every trial above lr 0.1 became NaN, and no other."""
    study = create_or_continue(STORAGE, "hot", space_from_mapping(SPACE, "hot.yaml"))
    rng = random.Random(0)
    for _ in range(24):
        values = {"lr": 10 ** rng.uniform(-5, 1), "arch.halt_max_steps": rng.choice((2, 3))}
        is_hot = values["lr"] > 0.1
        study.optuna.add_trial(
            create_trial(
                state=TrialState.FAIL if is_hot else TrialState.COMPLETE,
                value=None if is_hot else round(rng.random(), 2),
                params=values,
                distributions={"lr": LR, "arch.halt_max_steps": STEPS},
                user_attrs={"cause": "nan", "message": "non-finite"} if is_hot else {},
            )
        )
    return "hot"


def diagnose(*arguments: str, columns: int = 120) -> Result:
    return CliRunner().invoke(app, ["diagnose", *arguments], env={"COLUMNS": str(columns)})


def test_a_study_is_reported_verdict_first_and_exits_with_1_when_it_is_sick(hot: str) -> None:
    result = diagnose("--study", hot)
    assert result.exit_code == 1, result.exception
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Sick: trials fail for one cause in one region of the search space")
    assert lines[1] == "study hot"
    assert "failed (nan) only where lr > 0." in result.stdout
    assert lines[-1].startswith("next: hrm-sweep diagnose --study hot --write-space FILE")


@pytest.mark.parametrize("columns", [80, 120])
def test_the_report_fits_the_terminal(hot: str, columns: int) -> None:
    report = diagnose("--study", hot, columns=columns).stdout.partition("\nnext: ")[0]
    verdict, *rest = report.splitlines()  # the verdict stays a line, for who reads it with a program
    assert verdict.endswith(".")
    assert max(map(len, rest)) <= columns


def test_json_names_the_study_and_holds_every_rule_once(hot: str) -> None:
    result = diagnose("--study", hot, "--json")
    printed = json.loads(result.stdout)
    assert list(printed) == ["schema_version", "study", "verdict", "findings"]
    assert printed["study"] == "hot"
    assert printed["findings"][0]["rule"] == "failing_region"
    assert result.exit_code == 1


def test_the_proposed_space_lints_and_a_trial_of_it_runs(hot: str, folder: Path) -> None:
    written = diagnose("--study", hot, "--write-space", "next.yaml")
    assert written.exit_code == 1
    assert "wrote next.yaml:" in written.stdout
    space = load_space("next.yaml")
    assert space.name == "hot-2"
    assert space.parameters["lr"].max < 1
    assert lint_space(space, "next.yaml").combinations
    command = [sys.executable, "-m", "hrm_sweep", "run", "next.yaml", "--trials", "1", "--jobs", "1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hot-2: 1 complete" in done.stdout


def test_an_existing_file_is_left_as_it_is(hot: str, folder: Path) -> None:
    (folder / "next.yaml").write_text("mine")
    result = diagnose("--study", hot, "--write-space", "next.yaml")
    assert isinstance(result.exception, HrmSweepError)
    assert "next.yaml: exists and is left as it is" in str(result.exception)
    assert (folder / "next.yaml").read_text() == "mine"


def test_where_nothing_is_to_be_changed_nothing_is_written(folder: Path) -> None:
    create_or_continue(STORAGE, "hot", space_from_mapping(SPACE, "hot.yaml"))
    result = diagnose("--study", "hot", "--write-space", "next.yaml")
    assert result.exit_code == 0
    assert "so none is written" in result.stdout
    assert not (folder / "next.yaml").exists()


def test_with_json_what_was_written_is_said_elsewhere(hot: str, folder: Path) -> None:
    result = diagnose("--study", hot, "--write-space", "next.yaml", "--json")
    assert json.loads(result.stdout)["study"] == "hot"
    assert "wrote next.yaml" in result.stderr
    assert (folder / "next.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--study", "hut"], "hut: no study of this name; did you mean hot?"),
        (["--study", "hot", "trials/hot/0000"], "diagnose runs in a call of their own"),
        (["--write-space", "next.yaml"], "need --study NAME"),
        (["--study", "hot", "--write-space", "/proc/next.yaml"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_explained(hot: str, arguments: list[str], said: str) -> None:
    result = diagnose(*arguments)
    assert isinstance(result.exception, HrmSweepError), result.exception
    assert said in str(result.exception)
