"""Pruners that come too late to end anything are named before the first trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_studies import small_space

from hrm_sweep.config import space_names
from hrm_sweep.planning.lint import Kind
from hrm_sweep.sweep.pruner_lint import first_look, lint_pruners
from hrm_sweep.sweep.pruners import read_pruners
from hrm_sweep.sweep.space import load_space
from hrm_sweep.sweep.space_lint import lint_space


@pytest.mark.parametrize(
    ("pruner", "epoch"),
    [
        ({"median": {}}, 10),
        ({"median": {"warmup_epochs": 25}}, 30),
        ({"median": {"warmup_epochs": 51}}, None),
        ({"percentile": {"warmup_epochs": 50}}, 50),
        ({"threshold": {"lower": 0.1, "warmup_epochs": 60}}, None),
        ({"hyperband": {"min_epoch": 15}}, 20),
        ({"successive_halving": {"min_epoch": 60}}, None),
        ({"patient": {"patience": 3}}, 50),
        ({"patient": {"patience": 4}}, None),
        ({"patient": {"patience": 0, "around": {"median": {"warmup_epochs": 25}}}}, 30),
        ({"patient": {"patience": 0, "around": {"median": {"warmup_epochs": 60}}}}, None),
        ({"diagnosis": None}, 10),
    ],
)
def test_the_first_look_of_each_pruner_in_a_run_of_six_evaluations(pruner: dict[str, Any], epoch: int | None) -> None:
    ((_, read),) = read_pruners(pruner).items()
    assert first_look(read, epochs=60, interval=10) == epoch


def findings(sudoku: Path, pruner: dict[str, Any], trials: int = 20) -> list[tuple[Kind, str]]:
    space = small_space(
        base="hrm_v1_tiny",
        overrides={"data_path": str(sudoku), "epochs": 60, "eval_interval": 20},
        pruner=pruner,
        budget={"trials": trials},
    )
    return [(one.kind, one.key) for one in lint_pruners(space, lint_space(space, "mine").combinations)]


def test_what_never_prunes_is_named_by_its_key(sudoku_4x4: Path) -> None:
    judged = Kind.CANNOT_BE_JUDGED
    assert findings(sudoku_4x4, {"median": {}, "zero_accuracy": {"epoch": 20}}) == []
    assert findings(sudoku_4x4, {"hyperband": {"min_epoch": 41}, "median": {}}) == [(judged, "pruner.hyperband")]
    assert findings(sudoku_4x4, {"median": {"startup_trials": 5}}, trials=5) == [(judged, "pruner.median")]


@pytest.mark.parametrize("name", space_names())
def test_the_pruners_of_shipped_spaces_can_act(name: str, sudoku_4x4: Path) -> None:
    space = load_space(name).with_overrides({"data_path": str(sudoku_4x4)})
    assert list(lint_pruners(space, lint_space(space, name).combinations)) == []
